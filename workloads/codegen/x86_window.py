"""Sliding windows on x86 vectors: lanes are channels, a tile is a few pixels of a row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.codegen import x86
from workloads.codegen.common import Image, fixed, loop, nest, padded_copy, split
from workloads.program import Address, Buffer, Instruction

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import ConvSpec, PoolSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet

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
    pixels: int = x86.PIXELS,
) -> Body:
    """Visit each output row, each piece of ``piece_width`` channels, each tile of at most ``pixels`` pixels.

    ``tile(piece, first, pixels, input, output)`` gets its pixels and the addresses of its first window and result.
    """
    pixels = math.ceil(spec.width_out / math.ceil(spec.width_out / pixels))
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
