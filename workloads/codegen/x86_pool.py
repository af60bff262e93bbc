"""Pooling on x86 vectors with onnxruntime's arithmetic: maxima of bytes, float32 means of windows, global sums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import x86, x86_window
from workloads.codegen.common import needs_padding
from workloads.codegen.regions import constants
from workloads.program import Address, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import PoolSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array


def _divisors(spec: PoolSpec) -> Array:
    """Return how many positions each window counts, float32 (rows, columns); one number where all are equal."""
    if spec.count_padding or not needs_padding(spec):
        return np.full((1, 1), math.prod(spec.kernel), np.float32)
    inside = []
    for axis, extent, windows in ((0, spec.height, spec.height_out), (1, spec.width, spec.width_out)):
        first = np.arange(windows) * spec.stride[axis] - spec.padding[axis]
        inside.append(np.clip(first + spec.kernel[axis], 0, extent) - np.clip(first, 0, extent))
    return np.outer(*inside).astype(np.float32)


def table_of(spec: PoolSpec, dialect: Dialect) -> Constants:
    """Place what the kind of pooling needs."""
    vector = dialect.vector_bytes
    if spec.kind == "max":
        names = ("start", "shift", "scale") if spec.rescale else ("start", "highest")
        regions = {**dict.fromkeys(names, vector), "pad": 1}
        return constants(regions | x86.bound_regions(dialect) if spec.rescale else regions)
    regions = {**x86.bound_regions(dialect), "pad": 1, "scale": vector, "start": vector}
    if not spec.mean:
        names = ("input_zero_point", "output_scale", "output_offset")
        regions |= {**dict.fromkeys(names, vector), "divisors": _divisors(spec).nbytes}
    return constants(regions)


@dataclass(frozen=True)
class Tile:
    """Neighbouring pixels of one piece of ``size`` channels: accumulators, free registers, addresses per pixel."""

    size: int
    first: int
    sums: tuple[str, ...]
    spare: tuple[str, ...]
    inputs: tuple[Address, ...]
    outputs: tuple[Address, ...]


def generate(spec: PoolSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a pooling layer."""
    table = table_of(spec, dialect)
    image, body, scratch = x86_window.padded_image(isa, dialect, spec, table)

    def emit(piece: x86.Piece, first: int, pixels: int, source: Address, target: Address) -> Body:
        tile = Tile(
            piece.size,
            first,
            tuple(dialect.register(pixel) for pixel in range(pixels)),
            tuple(dialect.register(pixels + index) for index in range(8)),
            tuple(source.plus(pixel * spec.stride[1] * spec.channels) for pixel in range(pixels)),
            tuple(target.plus(pixel * spec.channels) for pixel in range(pixels)),
        )
        start = x86.load(dialect, tile.sums[0], table.address("start"), dialect.vector_bytes)
        moves = (x86.move(dialect, total, tile.sums[0]) for total in tile.sums[1:])
        if spec.kind == "max" and spec.rescale:
            before, tap, after = _rescaled_maximum(dialect, table, tile)
        elif spec.kind == "max":
            before, tap, after = _maximum(dialect, table, tile)
        elif spec.mean:
            before, tap, after = _mean(dialect, table, tile)
        else:
            before, tap, after = _average(spec, dialect, table, tile)
        return (start, *moves, *before, *x86_window.taps(isa, spec.kernel, tap), *after)

    width = dialect.vector_bytes if spec.kind == "max" and not spec.rescale else dialect.lanes
    body += x86_window.sweep(isa, dialect, spec, width, image, emit)
    return Program(f"{spec.kind}_pool2d", isa, x86_window.buffers_of(spec, table, scratch), body, 0, x86.PROFILE)


def _maximum(dialect: Dialect, table: Constants, tile: Tile) -> tuple[Body, Body, Body]:
    """Return what runs before, for and after the taps: maxima that start at the lower bound."""
    count = None if tile.size == dialect.vector_bytes or not dialect.masked else tile.size
    tap: Body = ()
    for total, source in zip(tile.sums, tile.inputs, strict=True):
        if dialect.masked or tile.size == dialect.vector_bytes:
            tap += (Instruction("vpmaxsb", total, (total, source), count),)
        else:
            tap += (
                x86.load(dialect, tile.spare[0], source, tile.size),
                Instruction("vpmaxsb", total, (total, tile.spare[0])),
            )
    after: Body = (x86.load(dialect, tile.spare[1], table.address("highest"), dialect.vector_bytes),)
    for total, target in zip(tile.sums, tile.outputs, strict=True):
        after += (Instruction("vpminsb", total, (total, tile.spare[1])), *x86.store(dialect, total, target, tile.size))
    return (), tap, after


def _rescaled_maximum(dialect: Dialect, table: Constants, tile: Tile) -> tuple[Body, Body, Body]:
    """Return what runs before, for and after the taps: maxima of exact float32 values, requantised."""
    tap: Body = ()
    for index, (total, source) in enumerate(zip(tile.sums, tile.inputs, strict=True)):
        value = tile.spare[index % 2]
        tap += x86.widen(dialect, value, source, tile.size, tile.spare[2])
        tap += (Instruction("vcvtdq2ps", value, (value,)), Instruction("vmaxps", total, (total, value)))
    results = []
    for total, target in zip(tile.sums, tile.outputs, strict=True):
        shift = Instruction("vaddps", total, (total, table.address("shift")))
        scale = Instruction("vmulps", total, (total, table.address("scale")))
        results.append(x86.Result(total, target, tile.size, (shift, scale)))
    return (), tap, x86.finish(dialect, table, results, tile.spare)


def _mean(dialect: Dialect, table: Constants, tile: Tile) -> tuple[Body, Body, Body]:
    """Return what runs before, for and after the taps: int32 sums, requantised once."""
    tap: Body = ()
    for index, (total, source) in enumerate(zip(tile.sums, tile.inputs, strict=True)):
        value = tile.spare[index % 2]
        tap += (
            *x86.widen(dialect, value, source, tile.size, tile.spare[2]),
            Instruction("vpaddd", total, (total, value)),
        )
    results = [
        x86.Result(total, target, tile.size, x86.scaled(total, table.address("scale")))
        for total, target in zip(tile.sums, tile.outputs, strict=True)
    ]
    return (), tap, x86.finish(dialect, table, results, tile.spare)


def _average(spec: PoolSpec, dialect: Dialect, table: Constants, tile: Tile) -> tuple[Body, Body, Body]:
    """Return what runs before, for and after the taps: float32 sums in order, divided, quantised."""
    zero_point, scale, *values, narrow = tile.spare[:5]
    before = (
        x86.load(dialect, zero_point, table.address("input_zero_point"), dialect.vector_bytes),
        x86.load(dialect, scale, table.address("scale"), dialect.vector_bytes),
    )
    tap: Body = ()
    for index, (total, source) in enumerate(zip(tile.sums, tile.inputs, strict=True)):
        value = values[index % 2]
        tap += (
            *x86.widen(dialect, value, source, tile.size, narrow),
            Instruction("vpsubd", value, (value, zero_point)),
            Instruction("vcvtdq2ps", value, (value,)),
            Instruction("vmulps", value, (value, scale)),
            Instruction("vaddps", total, (total, value)),
        )
    divisors, divisor = _divisors(spec), tile.spare[5]
    results = []
    for pixel, (total, target) in enumerate(zip(tile.sums, tile.outputs, strict=True)):
        at = table.address("divisors")
        if divisors.size > 1:
            at = at.plus(4 * (tile.first + pixel), row=4 * spec.width_out, tile=4 * len(tile.sums))
        prepared = (
            Instruction("vpbroadcastd.load", divisor, (at,)),
            Instruction("vdivps", total, (total, divisor)),
            Instruction("vdivps", total, (total, table.address("output_scale"))),
            Instruction("vaddps", total, (total, table.address("output_offset"))),
        )
        results.append(x86.Result(total, target, tile.size, prepared))
    return before, tap, x86.finish(dialect, table, results, tile.spare, offset=False)


def pack(spec: PoolSpec, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the parameters of a pooling layer."""
    (scale,), (zero_point,) = operands.input_scales, operands.input_zero_points

    def vector(value: float | np.generic, dtype: type[np.generic] = np.float32) -> Array:
        return np.full(dialect.lanes, value, dtype)

    values = {"pad": np.array([-128 if spec.kind == "max" and not spec.count_padding else zero_point], np.int8)}
    if spec.kind == "max" and not spec.rescale:
        bounds = {"start": operands.low, "highest": operands.high}
        values |= {name: np.full(dialect.vector_bytes, bound, np.int8) for name, bound in bounds.items()}
        return {"parameters": table_of(spec, dialect).pack(values)}
    output_scale = np.float32(operands.output_scale)
    if spec.kind == "max":
        factor = effective_scales(operands, x86.PROFILE)[0]
        values |= x86.offset_bounds(dialect, operands)
        values |= {"start": vector(-128), "shift": vector(-zero_point), "scale": vector(factor)}
    elif spec.mean:
        area = math.prod(spec.kernel)
        values |= x86.offset_bounds(dialect, operands)
        values |= {
            "start": vector(-zero_point * area, np.int32),
            "scale": vector(np.float32(scale) / (output_scale * np.float32(area))),
        }
    else:
        values |= x86.bound_values(dialect, operands.low, operands.high, 0)
        values |= {
            "start": vector(0), "scale": vector(scale), "input_zero_point": vector(zero_point, np.int32),
            "output_scale": vector(output_scale), "output_offset": vector(operands.output_zero_point),
            "divisors": _divisors(spec),
        }  # fmt: skip
    return {"parameters": table_of(spec, dialect).pack(values)}
