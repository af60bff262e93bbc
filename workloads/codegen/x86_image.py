"""Copies of the input that products on x86 read: padded, made unsigned or widened, and windows side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import x86
from workloads.codegen.common import nest
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.codegen.x86 import Body, Dialect
    from workloads.codegen.x86_tiles import Depth
    from workloads.isa import InstructionSet

FLIP = 0x80  # xor with it makes a signed byte the unsigned one that is 128 higher


def fill(isa: InstructionSet, dialect: Dialect, table: Constants, nbytes: int) -> Body:
    """Fill the padded image with the zero point, once: the copies leave the borders alone."""
    value = dialect.register(0)
    op = "vpbroadcastb.load" if dialect.input_bytes == 1 else "vpbroadcastw.load"
    pad = Instruction(op, value, (table.address("pad"),))
    return (pad, *x86.fill_run(isa, dialect, value, Address("scratch"), nbytes))


def copy(conv: Convolution, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
    """Copy one image into the padded one: made unsigned by a flip of the top bit, or widened to 16 bits."""
    size = dialect.input_bytes
    into = size * conv.channels * (conv.padding[0] * conv.padded_width + conv.padding[1])
    pitch, padded_pitch = conv.width * conv.channels, conv.padded_width * conv.channels
    rows, run = conv.copied_rows, conv.copied_columns * conv.channels
    if run == pitch == padded_pitch:
        rows, run = 1, rows * run
    flip = dialect.register(x86.UNROLL)
    body: Body = ()
    if size == 1:
        body = (Instruction("vpbroadcastb.load", flip, (table.address("flip"),)),)
    vector = dialect.vector_bytes // size
    row: Body = ()
    for piece in x86.pieces(run, (x86.UNROLL * vector, vector), dialect):
        image = conv.height * conv.width * conv.channels
        source = Address("input", piece.offset, (("image", image), ("line", pitch), ("run", piece.size)))
        strides = (("line", padded_pitch * size), ("run", piece.size * size))
        target = Address("scratch", into + piece.offset * size, strides)
        inner: Body = ()
        for part in range(0, piece.size, vector):
            register = dialect.register(part // vector)
            count = min(vector, piece.size)
            inner += _convert(dialect, register, source.plus(part), count, flip)
            inner += x86.store(dialect, register, target.plus(part * size), count * size)
        row += nest(isa, [("run", piece.trips)], inner)
    return body + nest(isa, [("line", rows)], row)


def _convert(dialect: Dialect, register: str, source: Address, count: int, flip: str) -> Body:
    """Load activations as the product wants them."""
    if dialect.input_bytes == 1:
        return (x86.load(dialect, register, source, count), Instruction("vpxord", register, (register, flip)))
    return x86.widen_half(dialect, register, source, count, flip)


def gather(conv: Convolution, isa: InstructionSet, dialect: Dialect, depth: Depth) -> Body:
    """Copy the windows of one output row side by side into "columns", each filled up to whole steps.

    What lies between the end of a window and the next one meets weights of zero.
    """
    pixel, row = conv.channels * dialect.input_bytes, conv.padded_width * conv.channels * dialect.input_bytes
    joined = conv.dilation[1] == 1 or conv.kernel[1] == 1
    taps, run = (1, conv.kernel[1] * pixel) if joined else (conv.kernel[1], pixel)
    source = Address("scratch", 0, (
        ("row", conv.stride[0] * row), ("column", conv.stride[1] * pixel), ("ky", conv.dilation[0] * row),
        ("kx", conv.dilation[1] * pixel),
    ))  # fmt: skip
    target = Address("columns", 0, (("column", window_bytes(depth, dialect)), ("ky", taps * run), ("kx", run)))
    loops = (("column", conv.width_out), ("ky", conv.kernel[0]), ("kx", taps))
    return nest(isa, loops, x86.copy_run(isa, dialect, target, source, run))


def window_bytes(depth: Depth, dialect: Dialect) -> int:
    """Distance of gathered windows. [B]"""
    return depth.steps * dialect.step * dialect.input_bytes
