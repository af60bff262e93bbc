"""Convolutions and fully connected layers on x86 vectors: an implicit matrix product over a padded copy of the input.

Lanes are output channels; a register tile is a few pixels by a few vectors. Weights are packed [group][vector][kernel
row][tap][step][lane][products per lane], so that one step is one load per vector and one broadcast per pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import x86
from workloads.codegen.common import nest
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

SLACK = 64  # bytes after the image, for the last broadcast of a row of channels and for whole-vector fills
FLIP = 0x80  # xor with it makes a signed byte the unsigned one that is 128 higher


@dataclass(frozen=True)
class Tile:
    """Output pixels and vectors of output channels kept in registers."""

    pixels: int
    vectors: int


@dataclass(frozen=True)
class Depth:
    """How the sum over a window is cut: ``taps`` runs of ``steps`` multiply-adds per kernel row."""

    elements: int
    taps: int
    steps: int

    @property
    def unroll(self) -> int:
        """Steps per iteration: all of a short run, else a number that leaves no remainder where one exists."""
        if self.steps <= 6:
            return self.steps
        return next((number for number in (4, 6, 5, 3) if self.steps % number == 0), 4)


def depth_of(conv: Convolution, dialect: Dialect) -> Depth:
    """Join the taps of a kernel row when they are neighbours in memory."""
    joined = conv.groups == 1 and (conv.dilation[1] == 1 or conv.kernel[1] == 1)
    elements = conv.kernel[1] * conv.channels if joined else conv.channels // conv.groups
    return Depth(elements, 1 if joined else conv.kernel[1], math.ceil(elements / dialect.step))


def vectors_of(conv: Convolution, dialect: Dialect) -> int:
    """Vectors of output channels per group."""
    return math.ceil(conv.channels_out // conv.groups / dialect.lanes)


def choose_tile(conv: Convolution, dialect: Dialect) -> Tile:
    """Return the tile whose full and partial tiles take the fewest cycles per step, then the fewest loads."""
    vectors = vectors_of(conv, dialect)
    best: tuple[float, int, Tile] | None = None
    for width in range(1, vectors + 1):
        room = (dialect.registers - x86.TEMPORARIES - width) // width
        for pixels in range(1, min(room, conv.width_out) + 1):
            cycles, loads = 0.0, 0
            for p, columns in ((pixels, conv.width_out // pixels), (conv.width_out % pixels, 1)):
                for v, blocks in ((width, vectors // width), (vectors % width, 1)):
                    if p and v:
                        cycles += columns * blocks * _step_cycles(p, v, dialect)
                        loads += columns * blocks * (p + v)
            if best is None or (cycles, loads) < best[:2]:
                best = (cycles, loads, Tile(pixels, width))
    if best is None:
        raise ValueError(f"no tile fits {conv}")
    return best[2]


def _step_cycles(pixels: int, vectors: int, dialect: Dialect) -> float:
    """Cycles of one step: bound by the multiply-adds, by two loads a cycle, or by the chain of one accumulator."""
    return max(pixels * vectors * dialect.multiply_cycles, (pixels + vectors) / 2, dialect.latency)


def _weights_bytes(conv: Convolution, dialect: Dialect) -> int:
    depth = depth_of(conv, dialect)
    return conv.kernel[0] * depth.taps * depth.steps * dialect.step_bytes


def table_of(conv: Convolution, dialect: Dialect) -> Constants:
    """Place the per-channel vectors and the bounds."""
    channels = 4 * conv.groups * vectors_of(conv, dialect) * dialect.lanes
    return constants({"bias": channels, "scale": channels, **x86.bound_regions(dialect), "pad": 2, "flip": 1})


def generate(name: str, conv: Convolution, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a convolution."""
    table = table_of(conv, dialect)
    row = conv.padded_width * conv.channels * dialect.input_bytes
    filled = -(-conv.padded_height * row // 64) * 64
    body = _fill(isa, dialect, table, filled) if conv.pads else ()
    image = _copy(conv, isa, dialect, table)
    tile = choose_tile(conv, dialect)
    for block in _channel_blocks(conv, dialect, tile):
        columns: Body = ()
        for first, pixels, trips in _columns(conv, tile):
            inner = _tile(conv, isa, dialect, table, Tile(pixels, block[1]), first, block, tile)
            columns += nest(isa, [("tile", trips)], inner)
        image += nest(isa, [("group", conv.groups), ("block", block[2]), ("row", conv.height_out)], columns)
    body += nest(isa, [("image", conv.batch)], image)
    buffers = (
        Buffer("input", conv.batch * conv.height * conv.width * conv.channels, role="input"),
        Buffer("weights", conv.groups * vectors_of(conv, dialect) * _weights_bytes(conv, dialect), role="weights"),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("scratch", filled + SLACK),
        Buffer("output", conv.batch * conv.height_out * conv.width_out * conv.channels_out, role="output"),
    )
    return Program(name, isa, buffers, body, conv.macs, x86.PROFILE)


Block = tuple[int, int, int, int]  # first vector, vectors, trips, channels in the last vector


def _channel_blocks(conv: Convolution, dialect: Dialect, tile: Tile) -> list[Block]:
    """Cut the vectors of a group into blocks; the last block holds the channel tail."""
    vectors = vectors_of(conv, dialect)
    tail = conv.channels_out // conv.groups % dialect.lanes
    whole = (vectors - (1 if tail else 0)) // tile.vectors
    rest = vectors - whole * tile.vectors
    blocks = [(0, tile.vectors, whole, dialect.lanes), (whole * tile.vectors, rest, 1, tail or dialect.lanes)]
    return [block for block in blocks if block[1] and block[2]]


def _columns(conv: Convolution, tile: Tile) -> list[tuple[int, int, int]]:
    """Cut an output row into (first pixel, pixels, trips)."""
    whole, rest = divmod(conv.width_out, tile.pixels)
    cuts = [(0, tile.pixels, whole), (whole * tile.pixels, rest, 1)]
    return [cut for cut in cuts if cut[1] and cut[2]]


def _fill(isa: InstructionSet, dialect: Dialect, table: Constants, nbytes: int) -> Body:
    """Fill the padded image with the zero point, once: the copies leave the borders alone."""
    value = dialect.register(0)
    op = "vpbroadcastb.load" if dialect.input_bytes == 1 else "vpbroadcastw.load"
    pad = Instruction(op, value, (table.address("pad"),))
    return (pad, *x86.fill_run(isa, dialect, value, Address("scratch"), nbytes))


def _copy(conv: Convolution, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
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
    if count == dialect.vector_bytes // 2:
        return (Instruction("vpmovsxbw.load", register, (source,)),)
    return (x86.load(dialect, flip, source, count), Instruction("vpmovsxbw.xmm", register, (flip,)))


def _tile(
    conv: Convolution, isa: InstructionSet, dialect: Dialect, table: Constants, tile: Tile, first: int,
    block: Block, full: Tile,
) -> Body:  # fmt: skip
    """Return one register tile: bias in, the sums over the window, requantised bytes out."""
    p, v = tile.pixels, tile.vectors
    sums = [[dialect.register(pixel * v + vector) for vector in range(v)] for pixel in range(p)]
    weights = [dialect.register(p * v + vector) for vector in range(v)]
    spare = [dialect.register(p * v + v + index) for index in range(x86.TEMPORARIES)]
    vector_bytes = dialect.vector_bytes
    channel = (("group", vectors_of(conv, dialect) * vector_bytes), ("block", full.vectors * vector_bytes))

    def parameters(name: str, vector: int) -> Address:
        return table.address(name, (block[0] + vector) * vector_bytes, **dict(channel))

    body: Body = tuple(x86.load(dialect, sums[0][n], parameters("bias", n), vector_bytes) for n in range(v))
    body += tuple(x86.move(dialect, sums[pixel][n], sums[0][n]) for pixel in range(1, p) for n in range(v))
    body += _window(conv, isa, dialect, first, block[0], full, sums, weights, spare)
    body += tuple(x86.load(dialect, weights[n], parameters("scale", n), vector_bytes) for n in range(v))
    per_group = conv.channels_out // conv.groups
    strides = (
        ("image", conv.height_out * conv.width_out * conv.channels_out), ("row", conv.width_out * conv.channels_out),
        ("tile", full.pixels * conv.channels_out), ("group", per_group), ("block", full.vectors * dialect.lanes),
    )  # fmt: skip
    output = Address("output", first * conv.channels_out + block[0] * dialect.lanes, strides)
    results = [
        x86.Result(
            sums[pixel][n],
            output.plus(pixel * conv.channels_out + n * dialect.lanes),
            block[3] if n == v - 1 else dialect.lanes,
            x86.scaled(sums[pixel][n], weights[n]),
        )
        for pixel in range(p)
        for n in range(v)
    ]
    return body + x86.finish(dialect, table, results, spare)


def _window(
    conv: Convolution, isa: InstructionSet, dialect: Dialect, first: int, vector: int, full: Tile,
    sums: list[list[str]], weights: list[str], spare: list[str],
) -> Body:  # fmt: skip
    """Return the loops over kernel rows, taps and steps of one tile."""
    depth = depth_of(conv, dialect)
    pixel, row = conv.channels * dialect.input_bytes, conv.padded_width * conv.channels * dialect.input_bytes
    per_vector = _weights_bytes(conv, dialect)
    run = depth.steps * dialect.step_bytes
    consumed = dialect.step * dialect.input_bytes
    image = Address("scratch", first * conv.stride[1] * pixel, (
        ("row", conv.stride[0] * row), ("tile", full.pixels * conv.stride[1] * pixel),
        ("group", conv.channels // conv.groups * dialect.input_bytes), ("ky", conv.dilation[0] * row),
        ("kx", conv.dilation[1] * pixel),
    ))  # fmt: skip
    packed = Address("weights", vector * per_vector, (
        ("group", vectors_of(conv, dialect) * per_vector), ("block", full.vectors * per_vector),
        ("ky", depth.taps * run), ("kx", run),
    ))  # fmt: skip

    def step(index: int, **moving: int) -> Body:
        loads = tuple(
            _load_weights(dialect, weights[n], packed.plus(n * per_vector + index * dialect.step_bytes,
                          **{name: steps * dialect.step_bytes for name, steps in moving.items()}))
            for n in range(len(weights))
        )  # fmt: skip
        products: Body = ()
        for number, accumulators in enumerate(sums):
            source = image.plus(number * conv.stride[1] * pixel + index * consumed,
                                **{name: steps * consumed for name, steps in moving.items()})  # fmt: skip
            products += _multiply(dialect, accumulators, weights, source, spare, number)
        return loads + products

    unroll = depth.unroll
    whole = depth.steps // unroll
    steps: Body = tuple(s for index in range(unroll) for s in step(index, step=unroll))
    body = nest(isa, [("step", whole)], steps)
    body += tuple(s for index in range(whole * unroll, depth.steps) for s in step(index))
    return nest(isa, [("ky", conv.kernel[0]), ("kx", depth.taps)], body)


def _load_weights(dialect: Dialect, register: str, address: Address) -> Instruction:
    """Load one vector's weights of one step."""
    if dialect.input_bytes == 1:
        return x86.load(dialect, register, address, dialect.step_bytes)
    return Instruction("vpmovsxbw.load", register, (address,))


def _multiply(
    dialect: Dialect, sums: list[str], weights: list[str], source: Address, spare: list[str], number: int
) -> Body:
    """Multiply one pixel's activations of one step with every vector of weights."""
    if dialect.input_bytes == 1:
        held = spare[number % len(spare)]
        dots = tuple(
            Instruction("vpdpbusd", total, (held, weight)) for total, weight in zip(sums, weights, strict=True)
        )
        return (Instruction("vpbroadcastd.load", held, (source,)), *dots)
    held = spare[number % 2]
    body: Body = (Instruction("vpbroadcastd.load", held, (source,)),)
    for index, (total, weight) in enumerate(zip(sums, weights, strict=True)):
        product = spare[2 + index % 2]
        body += (Instruction("vpmaddwd", product, (held, weight)), Instruction("vpaddd", total, (total, product)))
    return body


def pack(conv: Convolution, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the packed weights and parameters of a convolution."""
    filters = conv.filters(operands)
    depth, vectors = depth_of(conv, dialect), vectors_of(conv, dialect)
    per_group = conv.channels_out // conv.groups
    runs = filters.reshape(conv.groups, per_group, conv.kernel[0] * depth.taps, depth.elements)
    padded = np.zeros((conv.groups, vectors * dialect.lanes, runs.shape[2], depth.steps * dialect.step), np.int8)
    padded[:, :per_group, :, : depth.elements] = runs
    split = padded.reshape(conv.groups, vectors, dialect.lanes, runs.shape[2], depth.steps, dialect.step)
    offset = FLIP if dialect.input_bytes == 1 else 0
    zero_point = operands.input_zero_points[0]
    table = table_of(conv, dialect)
    values = {
        "bias": _per_lane(conv, conv.bias(operands, zero_point + offset), dialect, np.int32),
        "scale": _per_lane(conv, effective_scales(operands, x86.PROFILE), dialect, np.float32),
        "pad": np.array([zero_point + offset], np.uint8 if offset else np.int16),
        "flip": np.array([FLIP], np.uint8),
    }
    values |= x86.offset_bounds(dialect, operands)
    return {"weights": split.transpose(0, 1, 3, 4, 2, 5).copy(), "parameters": table.pack(values)}


def _per_lane(conv: Convolution, values: Array, dialect: Dialect, dtype: type[np.generic]) -> Array:
    """Lay per-channel values out by group, each group filled up to whole vectors."""
    channels = np.broadcast_to(values, (conv.channels_out,)).reshape(conv.groups, -1)
    result = np.zeros((conv.groups, vectors_of(conv, dialect) * dialect.lanes), dtype)
    result[:, : channels.shape[1]] = channels
    return result
