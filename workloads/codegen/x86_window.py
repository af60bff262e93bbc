"""Sliding windows on x86 vectors, and depthwise convolutions: lanes are channels, a tile is a few pixels of a row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import x86
from workloads.codegen.common import Image, fixed, loop, nest, padded_copy, split
from workloads.codegen.geometry import product
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import ConvSpec, PoolSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

UNROLLED_TAPS = 8  # a kernel row up to this width is written out


def taps(isa: InstructionSet, kernel: tuple[int, int], tap: Body) -> Body:
    """Repeat a tap over a window; its addresses move with "ky" and "kx"."""
    if kernel[1] > UNROLLED_TAPS:
        row = loop(isa, "kx", kernel[1], tap)
    else:
        row = tuple(statement for kx in range(kernel[1]) for statement in fixed(tap, "kx", value=kx))
    return loop(isa, "ky", kernel[0], row)


def padded_image(
    isa: InstructionSet, dialect: Dialect, spec: ConvSpec | PoolSpec, table: Constants
) -> tuple[Image, Body, tuple[Buffer, ...]]:
    """Return the image to read, padded with the byte of region "pad" where windows leave it."""
    value = dialect.register(0)
    image, body, buffers = padded_copy(
        isa,
        spec,
        lambda address, nbytes: x86.fill_run(isa, dialect, value, address, nbytes),
        lambda target, source, nbytes: x86.copy_run(isa, dialect, target, source, nbytes),
    )
    if body:
        body = (Instruction("vpbroadcastb.load", value, (table.address("pad"),)), *body)
    return image, body, buffers


def sweep(
    isa: InstructionSet,
    dialect: Dialect,
    spec: ConvSpec | PoolSpec,
    piece_width: int,
    image: Image,
    tile: Callable[[x86.Piece, int, int, Address, Address], Body],
) -> Body:
    """Visit each output row, each piece of ``piece_width`` channels, each tile of pixels.

    ``tile(piece, first, pixels, input, output)`` gets its pixels and the addresses of its first window and result.
    """
    pixels = math.ceil(spec.width_out / math.ceil(spec.width_out / x86.PIXELS))
    row: Body = ()
    dilation = getattr(spec, "dilation", (1, 1))
    for piece in x86.pieces(spec.channels, (piece_width,), dialect):
        for first, size, trips in split(spec.width_out, pixels):
            source = image.address(
                first * spec.stride[1] * image.pixel_bytes + piece.offset,
                image=image.image_bytes, row=spec.stride[0] * image.row_bytes, block=piece.size,
                tile=size * spec.stride[1] * image.pixel_bytes, ky=dilation[0] * image.row_bytes,
                kx=dilation[1] * image.pixel_bytes,
            )  # fmt: skip
            line = spec.width_out * spec.channels
            target = Address("output", first * spec.channels + piece.offset).plus(
                image=spec.height_out * line, row=line, block=piece.size, tile=size * spec.channels
            )
            row += nest(isa, [("block", piece.trips), ("tile", trips)], tile(piece, first, size, source, target))
    return nest(isa, [("image", spec.batch), ("row", spec.height_out)], row)


def buffers_of(
    spec: ConvSpec | PoolSpec, table: Constants, scratch: tuple[Buffer, ...], weights: int = 0
) -> tuple[Buffer, ...]:
    """Declare the buffers of a window kernel."""
    return (
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, role="input"),
        *((Buffer("weights", weights, role="weights"),) if weights else ()),
        Buffer("parameters", table.nbytes, role="parameters"),
        *scratch,
        Buffer("output", spec.batch * spec.height_out * spec.width_out * spec.channels, role="output"),
    )


def _padded_channels(channels: int, dialect: Dialect) -> int:
    """Channels of per-channel constants, so that whole vectors can be loaded from any piece on."""
    return (math.ceil(channels / dialect.lanes) + 1) * dialect.lanes


def depthwise_table(spec: ConvSpec, dialect: Dialect) -> Constants:
    """Place the per-channel vectors and the bounds of a depthwise convolution."""
    channels = 4 * _padded_channels(spec.channels, dialect)
    return constants({"bias": channels, "scale": channels, **x86.bound_regions(dialect), "pad": 1})


def generate_depthwise(name: str, spec: ConvSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a depthwise convolution with one output per channel.

    A byte sign-extended to 32 bits times a 16-bit weight with zero above it is one exact VPMADDWD or VPDPWSSD.
    """
    table = depthwise_table(spec, dialect)
    image, body, scratch = padded_image(isa, dialect, spec, table)
    channels = _padded_channels(spec.channels, dialect)

    def tile(piece: x86.Piece, _: int, pixels: int, source: Address, target: Address) -> Body:
        sums = [dialect.register(pixel) for pixel in range(pixels)]
        weight, *spare = (dialect.register(pixels + index) for index in range(x86.TEMPORARIES + 2))
        bias = table.address("bias", 4 * piece.offset, block=4 * piece.size)
        start = x86.load(dialect, sums[0], bias, dialect.vector_bytes)
        packed = Address("weights", 2 * piece.offset).plus(
            block=2 * piece.size, ky=2 * spec.kernel[1] * channels, kx=2 * channels
        )
        tap: Body = (Instruction("vpmovzxwd.load", weight, (packed,)),)
        for pixel, total in enumerate(sums):
            value, product = spare[pixel % 2], spare[2 + pixel % 2]
            at = source.plus(pixel * spec.stride[1] * spec.channels)
            tap += x86.widen(dialect, value, at, piece.size, spare[4])
            if dialect.masked:
                tap += (Instruction("vpdpwssd", total, (value, weight)),)
            else:
                tap += (
                    Instruction("vpmaddwd", product, (value, weight)),
                    Instruction("vpaddd", total, (total, product)),
                )
        scale = table.address("scale", 4 * piece.offset, block=4 * piece.size)
        results = [
            x86.Result(total, target.plus(pixel * spec.channels), piece.size, x86.scaled(total, weight))
            for pixel, total in enumerate(sums)
        ]
        return (
            start,
            *(x86.move(dialect, total, sums[0]) for total in sums[1:]),
            *taps(isa, spec.kernel, tap),
            x86.load(dialect, weight, scale, dialect.vector_bytes),
            *x86.finish(dialect, table, results, spare),
        )

    body += sweep(isa, dialect, spec, dialect.lanes, image, tile)
    weights = 2 * math.prod(spec.kernel) * channels
    return Program(name, isa, buffers_of(spec, table, scratch, weights), body, spec.macs, x86.PROFILE)


def pack_depthwise(spec: ConvSpec, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the packed weights and parameters of a depthwise convolution."""
    conv = product(spec)
    filters = conv.filters(operands)[..., 0].transpose(1, 2, 0)
    channels = _padded_channels(spec.channels, dialect)
    weights = np.zeros((*spec.kernel, channels), np.int16)
    weights[..., : spec.channels] = filters
    bias, scale = np.zeros(channels, np.int32), np.zeros(channels, np.float32)
    bias[: spec.channels] = conv.bias(operands, operands.input_zero_points[0])
    scale[: spec.channels] = effective_scales(operands, x86.PROFILE)
    values: dict[str, Array] = {"bias": bias, "scale": scale, "pad": np.array([operands.input_zero_points[0]], np.int8)}
    values |= x86.offset_bounds(dialect, operands)
    return {"weights": weights, "parameters": depthwise_table(spec, dialect).pack(values)}
