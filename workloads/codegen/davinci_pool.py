"""Pooling on the davinci vector unit: img2col brings one tap of a row of windows at a time.

Windows that reach into the padding are generated apart, over the taps that lie inside the image; so no padding is read,
and every average has its own number of positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop, needs_padding
from workloads.codegen.davinci_tiles import (
    HEADER_BYTES,
    Part,
    Segment,
    Windows,
    copies_of,
    half,
    move,
    on_chip,
    segments,
    split,
)
from workloads.codegen.davinci_vector import clamp, header, load_scalars
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.specs import PoolSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Statement
    from workloads.tensor import Array

Body = tuple["Statement", ...]
IMAGE, TAP, HALF, SINGLE, SUM, OUT = "l1_image", "ub_tap", "ub_half", "ub_single", "ub_sum", "ub_out"
MAXIMUM_BYTES = {"ub:tap": 1, "ub:half": 2, "ub:sum": 2, "ub:out": 1}
AVERAGE_BYTES = {"ub:tap": 1, "ub:half": 2, "ub:single": 4, "ub:sum": 4, "ub:out": 1}
LOWEST = -128.0
ZERO, RATIO, OFFSET, INVERSE = "x8", "x9", "x10", "x11"  # factors of an average, in single precision
CHANNEL_STEP = 32


def generate(spec: PoolSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate average or maximum pooling.

    Raises
    ------
    ValueError
        A window lies in the padding, or one row of windows exceeds L1.
    NotImplementedError
        An average counts the padding.
    """
    if spec.count_padding and needs_padding(spec):
        raise NotImplementedError(f"{isa.name} generates no average that counts the padding")
    rows, columns = _segments(spec)
    lane_bytes = AVERAGE_BYTES if spec.kind == "average" else MAXIMUM_BYTES
    channels = _channels(spec, isa)
    pixels = max(1, half(isa, "ub") // (sum(lane_bytes.values()) * channels))
    tallest = max(row.elements for row in rows)
    widest = min(pixels, max(column.trips for column in columns))
    used = {"l1:image": tallest * spec.width * channels}
    used |= {key: widest * channels * size for key, size in lane_bytes.items()}
    buffers = (
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, "global", "input"),
        Buffer("parameters", HEADER_BYTES + 4 * (3 + len(rows) * len(columns)), "global", "parameters"),
        Buffer("output", spec.batch * spec.height_out * spec.width_out * spec.channels, "global", "output"),
        *on_chip(isa, used, copies_of(used, options)),
    )
    body: list[Statement] = []
    for part in split(spec.channels, channels):
        inner: list[Statement] = []
        for index, row in enumerate(rows):
            image = (_load(spec, part, row),)
            spans = tuple(
                statement
                for place, column in enumerate(columns)
                for statement in _span(spec, isa, part, row, column, index * len(columns) + place, pixels)
            )
            inner += loop(isa, "y", row.trips, (*image, *spans))
        body += loop(isa, "part", part.trips, tuple(inner))
    nest = loop(isa, "image", spec.batch, tuple(body))
    single = tuple(
        Instruction("s_load_f32", register, (Address("parameters", HEADER_BYTES + 4 * place),))
        for place, register in enumerate((ZERO, RATIO, OFFSET))
    )
    factors = (*load_scalars(), *(single if spec.kind == "average" else ()))
    return Program(f"davinci_{spec.kind}_pool", isa, buffers, (*factors, *nest), profile="ascend-vector")


def _segments(spec: PoolSpec) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """Return runs of output rows and of output columns that see equally many taps inside the image."""
    height = Windows(spec.height, spec.height_out, spec.stride[0], spec.kernel[0], spec.padding[0])
    width = Windows(spec.width, spec.width_out, spec.stride[1], spec.kernel[1], spec.padding[1])
    rows, columns = segments(height, 1), segments(width, 1)
    if any(segment.elements == 0 for segment in (*rows, *columns)):
        raise ValueError("a pooling window lies outside the image")
    return rows, columns


def _channels(spec: PoolSpec, isa: InstructionSet) -> int:
    """Return the channels of one tile: all, or as many as let the rows of one window fit L1 and one pixel fit UB."""
    lane_bytes = sum((AVERAGE_BYTES if spec.kind == "average" else MAXIMUM_BYTES).values())
    room = min(half(isa, "l1") // (min(spec.kernel[0], spec.height) * spec.width), half(isa, "ub") // lane_bytes)
    if room >= spec.channels:
        return spec.channels
    if room == 0:
        raise ValueError(f"{spec.kernel[0]} rows of {spec.width} pixels exceed L1 ({half(isa, 'l1')} bytes)")
    return room // CHANNEL_STEP * CHANNEL_STEP or room


def _load(spec: PoolSpec, part: Part, row: Segment) -> Instruction:
    """Bring the rows of one row of windows to L1."""
    line = spec.width * spec.channels
    source = Address("input", row.first * line + part.start).plus(
        image=spec.height * line, part=part.size, y=spec.stride[0] * line
    )
    pixels = row.elements * spec.width
    return move("mte2_l1", Address(IMAGE), source, (pixels, part.size), (spec.channels, part.size))


def _span(
    spec: PoolSpec, isa: InstructionSet, part: Part, row: Segment, column: Segment, place: int, pixels: int
) -> Body:
    """Pool neighbouring windows of one row together."""
    body: list[Statement] = []
    if spec.kind == "average":
        body.append(Instruction("s_load_f32", INVERSE, (Address("parameters", HEADER_BYTES + 4 * (3 + place)),)))
    channels, step = part.size, spec.stride[1] * part.size
    for run in split(column.trips, pixels):
        count = run.size * channels
        source = Address(IMAGE, column.first * channels + run.start * step).plus(
            x=run.size * step, ky=spec.width * channels, kx=channels
        )
        tap = move("img2col_ub", Address(TAP), source, (run.size, channels), (step, channels))
        taps = loop(isa, "ky", row.elements, loop(isa, "kx", column.elements, (tap, *_combine(spec.kind, count))))
        line = spec.width_out * spec.channels
        target = Address("output", row.start * line + (column.start + run.start) * spec.channels + part.start).plus(
            image=spec.height_out * line, part=part.size, y=line, x=run.size * spec.channels
        )
        store = move("mte3", target, Address(OUT), (run.size, channels), (channels, spec.channels))
        body += loop(isa, "x", run.trips, (_start(spec.kind, count), *taps, *_finish(spec.kind, count), store))
    return tuple(body)


def _start(kind: str, count: int) -> Instruction:
    """Clear the sum, or set the maximum to the lowest value."""
    if kind == "average":
        return Instruction("vdup_f32", Address(SUM), (0.0,), count=count)
    return Instruction("vdup_f16", Address(SUM), (LOWEST,), count=count)


def _combine(kind: str, count: int) -> Body:
    """Take one tap into the sum or the maximum."""
    widen = Instruction("vconv_s8_f16", Address(HALF), (Address(TAP),), count=count)
    if kind != "average":
        return widen, Instruction("vmax_f16", Address(SUM), (Address(SUM), Address(HALF)), count=count)
    return (
        widen,
        Instruction("vconv_f16_f32", Address(SINGLE), (Address(HALF),), count=count),
        Instruction("vadd_f32", Address(SUM), (Address(SUM), Address(SINGLE)), count=count),
    )


def _finish(kind: str, count: int) -> Body:
    """Scale an average, clamp, and return to bytes."""
    narrow = Instruction("vconv_f16_s8", Address(OUT), (Address(HALF),), count=count)
    if kind != "average":
        bounded = clamp(SUM, count)
        return (*bounded, Instruction("vconv_f16_s8", Address(OUT), (Address(SUM),), count=count))
    factors = (("vmuls_f32", INVERSE), ("vadds_f32", ZERO), ("vmuls_f32", RATIO), ("vadds_f32", OFFSET))
    scaled = tuple(Instruction(op, Address(SUM), (Address(SUM), register), count=count) for op, register in factors)
    return (
        *scaled,
        Instruction("vconv_f32_s32", Address(SINGLE), (Address(SUM),), count=count),
        Instruction("vconv_s32_f16", Address(HALF), (Address(SINGLE),), count=count),
        *clamp(HALF, count),
        narrow,
    )


def pack(program: Program, spec: PoolSpec, operands: Operands) -> dict[str, Array]:
    """Return the factors, and for averages the inverse of the number of positions of each kind of window.

    Raises
    ------
    ValueError
        A maximum changes the quantisation.
    """
    from workloads.kernels.ascend import average_factors, check_maximum

    result = np.zeros(program.buffer("parameters").bytes, np.uint8)
    result[:HEADER_BYTES] = header(operands)
    if spec.kind != "average":
        check_maximum(operands)
        return {"parameters": result}
    rows, columns = _segments(spec)
    zero, ratio, offset = average_factors(operands)
    inverses = [1 / (row.elements * column.elements) for row in rows for column in columns]
    values = np.array([-zero, ratio, offset, *inverses], np.float32)
    result[HEADER_BYTES:] = values.view(np.uint8)
    return {"parameters": result}
