"""Depthwise convolutions on x86 vectors: each pixel of a kernel row is widened once and meets all its taps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import x86, x86_sums, x86_window
from workloads.codegen.common import fixed, loop
from workloads.codegen.geometry import product
from workloads.codegen.regions import constants
from workloads.options import DEFAULT, Options
from workloads.program import Address, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import ConvSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

VALUES, PRODUCTS = 2, 2  # registers of widened pixels, and of products where they are added apart
HELD = 5  # taps of a kernel row whose weights stay in registers
_ROWS = (8, 12, 4)  # pixels of a tile that are offered where they fit


def _vectors(channels: int, dialect: Dialect) -> int:
    """Vectors of channels."""
    return math.ceil(channels / dialect.lanes)


def _padded_channels(channels: int, dialect: Dialect) -> int:
    """Channels of per-channel constants, so that whole vectors can be loaded from any piece on."""
    return (_vectors(channels, dialect) + 1) * dialect.lanes


def table_of(spec: ConvSpec, dialect: Dialect) -> Constants:
    """Place the per-channel vectors and the bounds."""
    channels = 4 * _padded_channels(spec.channels, dialect)
    return constants({"bias": channels, "scale": channels, **x86.bound_regions(dialect), "pad": 1})


def _held(spec: ConvSpec) -> int:
    """Taps of a kernel row that are computed together."""
    return min(spec.kernel[1], HELD)


def _room(spec: ConvSpec, dialect: Dialect) -> int:
    """Pixels that fit the registers beside weights, widened pixels and products."""
    return dialect.registers - max(_held(spec) + VALUES + PRODUCTS, x86.TEMPORARIES + 1)


def choices(spec: ConvSpec, dialect: Dialect) -> tuple[Options, ...]:
    """Return the options offered, the set's own choice first."""
    rows = dict.fromkeys(min(rows, _room(spec, dialect), spec.width_out) for rows in _ROWS)
    fused = [Options(rows=number, columns=dialect.lanes, lowering="direct", fuse=True) for number in rows]
    return *fused, Options(rows=next(iter(rows)), columns=dialect.lanes, lowering="direct", fuse=False)


def generate(name: str, spec: ConvSpec, isa: InstructionSet, dialect: Dialect, options: Options = DEFAULT) -> Program:
    """Return the Program of a depthwise convolution with one output per channel.

    A byte sign-extended to 32 bits times a 16-bit weight with zero above it is one exact VPMADDWD or VPDPWSSD.
    """
    chosen = choices(spec, dialect)[0] if options == DEFAULT else options
    fuse = chosen.fuse is not False
    table = table_of(spec, dialect)
    image, body, scratch = x86_window.padded_image(isa, dialect, spec, table)

    def tile(piece: x86.Piece, first: int, pixels: int, source: Address, target: Address) -> Body:
        sums = [dialect.register(pixel) for pixel in range(pixels)]
        bias = table.address("bias", 4 * piece.offset, block=4 * piece.size)
        start = x86.load(dialect, sums[0], bias, dialect.vector_bytes)
        moves = (x86.move(dialect, total, sums[0]) for total in sums[1:])
        window = loop(isa, "ky", spec.kernel[0], _row(spec, dialect, piece, sums, source))
        if not fuse:
            return (start, *moves, *window, *_stored(spec, dialect, piece, first, sums))
        scale = table.address("scale", 4 * piece.offset, block=4 * piece.size)
        held, *spare = (dialect.register(pixels + index) for index in range(1 + x86.TEMPORARIES))
        results = [
            x86.Result(total, target.plus(pixel * spec.channels), piece.size, x86.scaled(total, held))
            for pixel, total in enumerate(sums)
        ]
        load = x86.load(dialect, held, scale, dialect.vector_bytes)
        return (start, *moves, *window, load, *x86.finish(dialect, table, results, spare))

    body += x86_window.sweep(isa, dialect, spec, dialect.lanes, image, tile, chosen.rows or 1)
    weights = 4 * math.prod(spec.kernel) * _padded_channels(spec.channels, dialect)
    buffers = x86_window.buffers_of(spec, table, scratch, weights)
    if not fuse:
        pixels = spec.batch * spec.height_out * spec.width_out
        body += x86_sums.requantize(pixels, 1, spec.channels, isa, dialect, table)
        buffers += (x86_sums.buffer(pixels, 1, _vectors(spec.channels, dialect), dialect),)
    return Program(name, isa, buffers, body, spec.macs, x86.PROFILE)


def _row(spec: ConvSpec, dialect: Dialect, piece: x86.Piece, sums: list[str], source: Address) -> Body:
    """Accumulate one kernel row; ``source`` moves with "ky".

    The taps of a wide row are taken a few at a time, so that their weights fit the registers.
    """
    channels = _padded_channels(spec.channels, dialect)
    registers = [dialect.register(len(sums) + index) for index in range(_held(spec) + VALUES + PRODUCTS)]
    packed = Address("weights", 4 * piece.offset).plus(block=4 * piece.size, ky=4 * spec.kernel[1] * channels)
    body: Body = ()
    for first in range(0, spec.kernel[1], HELD):
        taps = range(first, min(first + HELD, spec.kernel[1]))
        weights, spare = registers[: len(taps)], registers[_held(spec) :]
        for tap, weight in zip(taps, weights, strict=True):
            body += (x86.load(dialect, weight, packed.plus(4 * tap * channels), dialect.vector_bytes),)
        uses: dict[int, list[tuple[str, str]]] = {}
        for pixel, total in enumerate(sums):
            for tap, weight in zip(taps, weights, strict=True):
                uses.setdefault(pixel * spec.stride[1] + tap * spec.dilation[1], []).append((total, weight))
        for number, (column, pairs) in enumerate(sorted(uses.items())):
            value = spare[number % VALUES]
            body += x86.widen(dialect, value, source.plus(column * spec.channels), piece.size, spare[VALUES])
            for index, (total, weight) in enumerate(pairs):
                body += _multiply(dialect, total, value, weight, spare[VALUES + index % PRODUCTS])
    return fixed(body, "kx")  # all columns are written out


def _multiply(dialect: Dialect, total: str, value: str, weight: str, product: str) -> Body:
    """Accumulate one product per lane."""
    if dialect.masked:
        return (Instruction("vpdpwssd", total, (value, weight)),)
    return (Instruction("vpmaddwd", product, (value, weight)), Instruction("vpaddd", total, (total, product)))


def _stored(spec: ConvSpec, dialect: Dialect, piece: x86.Piece, first: int, sums: list[str]) -> Body:
    """Store the sums of one tile by whole vectors of channels."""
    pixel = _vectors(spec.channels, dialect) * dialect.vector_bytes
    target = Address("sums", first * pixel + 4 * piece.offset).plus(
        image=spec.height_out * spec.width_out * pixel, row=spec.width_out * pixel, block=4 * piece.size,
        tile=len(sums) * pixel,
    )  # fmt: skip
    return tuple(
        statement
        for number, total in enumerate(sums)
        for statement in x86.store(dialect, total, target.plus(number * pixel), 4 * piece.size)
    )


def pack(spec: ConvSpec, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the packed weights, one 32-bit lane each, and parameters of a depthwise convolution."""
    conv = product(spec)
    filters = conv.filters(operands)[..., 0].transpose(1, 2, 0)
    channels = _padded_channels(spec.channels, dialect)
    weights = np.zeros((*spec.kernel, channels, 2), np.int16)
    weights[..., : spec.channels, 0] = filters
    bias, scale = np.zeros(channels, np.int32), np.zeros(channels, np.float32)
    bias[: spec.channels] = conv.bias(operands, operands.input_zero_points[0])
    scale[: spec.channels] = effective_scales(operands, x86.PROFILE)
    values: dict[str, Array] = {"bias": bias, "scale": scale, "pad": np.array([operands.input_zero_points[0]], np.int8)}
    values |= x86.offset_bounds(dialect, operands)
    return {"weights": weights, "parameters": table_of(spec, dialect).pack(values)}
