"""Convolutions and fully connected layers on x86 vectors: an implicit matrix product over a padded copy of the input.

Lanes are output channels; a register tile is a few pixels by a few vectors. Weights are packed [group][vector][kernel
row][tap][step][lane][products per lane], so that one step is one load per vector and one broadcast per pixel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import x86, x86_image, x86_sums
from workloads.codegen.common import nest
from workloads.codegen.regions import constants
from workloads.codegen.x86_image import FLIP
from workloads.codegen.x86_tiles import Depth, Plan, Tile, choose_tile, depth_of, plan_of, vectors_of
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

__all__ = ["Tile", "choose_tile", "depth_of", "generate", "pack", "vectors_of"]
SLACK = 64  # bytes after the image, for the last broadcast of a row of channels and for whole-vector fills


def _weights_bytes(depth: Depth, dialect: Dialect) -> int:
    """Bytes of the weights of one vector of channels. [B]"""
    return depth.rows * depth.taps * depth.steps * dialect.step_bytes


def table_of(conv: Convolution, dialect: Dialect) -> Constants:
    """Place the per-channel vectors and the bounds."""
    channels = 4 * conv.groups * vectors_of(conv, dialect) * dialect.lanes
    return constants({"bias": channels, "scale": channels, **x86.bound_regions(dialect), "pad": 2, "flip": 1})


def generate(
    name: str, conv: Convolution, isa: InstructionSet, dialect: Dialect, options: Options = DEFAULT
) -> Program:
    """Return the Program of a convolution."""
    table, plan = table_of(conv, dialect), plan_of(conv, dialect, options)
    filled = _filled(conv, dialect)
    body = x86_image.fill(isa, dialect, table, filled) if conv.pads else ()
    body += _nest(conv, isa, dialect, table, plan)
    pixels, vectors = conv.batch * conv.height_out * conv.width_out, vectors_of(conv, dialect)
    buffers: tuple[Buffer, ...] = (
        Buffer("input", conv.batch * conv.height * conv.width * conv.channels, role="input"),
        Buffer("weights", conv.groups * vectors * _weights_bytes(plan.depth, dialect), role="weights"),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("scratch", filled + SLACK),
        Buffer("output", pixels * conv.channels_out, role="output"),
    )
    if plan.gather:
        buffers += (Buffer("columns", conv.width_out * x86_image.window_bytes(plan.depth, dialect)),)
    if not plan.fuse:
        body += x86_sums.requantize(pixels, conv.groups, conv.channels_out // conv.groups, isa, dialect, table)
        buffers += (x86_sums.buffer(pixels, conv.groups, vectors, dialect),)
    return Program(name, isa, buffers, body, conv.macs, x86.PROFILE)


def _filled(conv: Convolution, dialect: Dialect) -> int:
    """Bytes of the padded image. [B]"""
    row = conv.padded_width * conv.channels * dialect.input_bytes
    return -(-conv.padded_height * row // 64) * 64


def _nest(conv: Convolution, isa: InstructionSet, dialect: Dialect, table: Constants, plan: Plan) -> Body:
    """Loop over images, which are copied first, groups, blocks of channels, rows and tiles of pixels."""
    products: Body = ()
    for block in _channel_blocks(conv, dialect, plan.tile):
        columns: Body = ()
        for first, pixels, trips in _columns(conv, plan.tile):
            inner = _tile(conv, isa, dialect, table, Tile(pixels, block[1]), first, block, plan)
            columns += nest(isa, [("tile", trips)], inner)
        loops = [("group", conv.groups), ("block", block[2])]
        products += nest(isa, loops if plan.gather else [*loops, ("row", conv.height_out)], columns)
    if plan.gather:
        gathered = x86_image.gather(conv, isa, dialect, plan.depth)
        products = nest(isa, [("row", conv.height_out)], (*gathered, *products))
    return nest(isa, [("image", conv.batch)], (*x86_image.copy(conv, isa, dialect, table), *products))


def starts_of(conv: Convolution, dialect: Dialect) -> Constants:
    """Place what ``sums`` reads: what the sums of the channels start from, and the bit that it flips."""
    return constants({"bias": 4 * conv.groups * vectors_of(conv, dialect) * dialect.lanes, "flip": 1})


def sums(conv: Convolution, isa: InstructionSet, dialect: Dialect) -> Body:
    """Return the statements that leave the sums of a product, unscaled, by whole vectors in "sums"."""
    return _nest(conv, isa, dialect, starts_of(conv, dialect), replace(plan_of(conv, dialect, DEFAULT), fuse=False))


def sums_bytes(conv: Convolution, dialect: Dialect) -> tuple[int, int, int]:
    """Return the bytes of the weights of ``sums``, of its results and of "scratch". [B]"""
    vectors, depth = conv.groups * vectors_of(conv, dialect), plan_of(conv, dialect, DEFAULT).depth
    results = conv.batch * conv.height_out * conv.width_out * vectors * dialect.vector_bytes
    return vectors * _weights_bytes(depth, dialect), results, _filled(conv, dialect) + SLACK


def pack_sums(conv: Convolution, filters: Array, starts: Array, dialect: Dialect) -> tuple[Array, Array]:
    """Return weights and parameters of ``sums``: what is flipped is 128 higher."""
    if dialect.input_bytes == 1:
        starts = (starts.astype(np.int64) - FLIP * filters.astype(np.int64).sum(axis=(1, 2, 3))).astype(np.int32)
    values = {"bias": _per_lane(conv, starts, dialect, np.int32), "flip": np.array([FLIP], np.uint8)}
    return _packed(conv, filters, dialect, DEFAULT), starts_of(conv, dialect).pack(values)


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


def _tile(
    conv: Convolution, isa: InstructionSet, dialect: Dialect, table: Constants, tile: Tile, first: int,
    block: Block, plan: Plan,
) -> Body:  # fmt: skip
    """Return one register tile: bias in, the sums over the window, requantised bytes out."""
    p, v, full = tile.pixels, tile.vectors, plan.tile
    sums = [[dialect.register(pixel * v + vector) for vector in range(v)] for pixel in range(p)]
    weights = [dialect.register(p * v + vector) for vector in range(v)]
    spare = [dialect.register(p * v + v + index) for index in range(x86.TEMPORARIES)]
    vector_bytes = dialect.vector_bytes
    channel = (("group", vectors_of(conv, dialect) * vector_bytes), ("block", full.vectors * vector_bytes))

    def parameters(name: str, vector: int) -> Address:
        return table.address(name, (block[0] + vector) * vector_bytes, **dict(channel))

    body: Body = tuple(x86.load(dialect, sums[0][n], parameters("bias", n), vector_bytes) for n in range(v))
    body += tuple(x86.move(dialect, sums[pixel][n], sums[0][n]) for pixel in range(1, p) for n in range(v))
    body += _window(conv, isa, dialect, first, block[0], plan, sums, weights, spare)
    if not plan.fuse:
        return body + _stored(conv, dialect, first, block[0], plan, sums)
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


def _stored(conv: Convolution, dialect: Dialect, first: int, vector: int, plan: Plan, sums: list[list[str]]) -> Body:
    """Store the sums of one tile."""
    size = dialect.vector_bytes
    group = vectors_of(conv, dialect) * size
    pixel = conv.groups * group
    target = Address("sums", first * pixel + vector * size).plus(
        image=conv.height_out * conv.width_out * pixel, row=conv.width_out * pixel, tile=plan.tile.pixels * pixel,
        group=group, block=plan.tile.vectors * size,
    )  # fmt: skip
    return tuple(
        statement
        for number, row in enumerate(sums)
        for index, total in enumerate(row)
        for statement in x86.store(dialect, total, target.plus(number * pixel + index * size), size)
    )


def _image(conv: Convolution, dialect: Dialect, first: int, plan: Plan) -> tuple[Address, int]:
    """Return where the first pixel of a tile reads, and how far apart its pixels are."""
    if plan.gather:
        window = x86_image.window_bytes(plan.depth, dialect)
        return Address("columns", first * window, (("tile", plan.tile.pixels * window),)), window
    pixel, row = conv.channels * dialect.input_bytes, conv.padded_width * conv.channels * dialect.input_bytes
    step = conv.stride[1] * pixel
    return Address("scratch", first * step, (
        ("row", conv.stride[0] * row), ("tile", plan.tile.pixels * step),
        ("group", conv.channels // conv.groups * dialect.input_bytes), ("ky", conv.dilation[0] * row),
        ("kx", conv.dilation[1] * pixel),
    )), step  # fmt: skip


def _window(
    conv: Convolution, isa: InstructionSet, dialect: Dialect, first: int, vector: int, plan: Plan,
    sums: list[list[str]], weights: list[str], spare: list[str],
) -> Body:  # fmt: skip
    """Return the loops over kernel rows, taps and steps of one tile."""
    depth, full = plan.depth, plan.tile
    per_vector = _weights_bytes(depth, dialect)
    run = depth.steps * dialect.step_bytes
    consumed = dialect.step * dialect.input_bytes
    image, apart = _image(conv, dialect, first, plan)
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
            source = image.plus(number * apart + index * consumed,
                                **{name: steps * consumed for name, steps in moving.items()})  # fmt: skip
            products += _multiply(dialect, accumulators, weights, source, spare, number)
        return loads + products

    unroll = min(plan.unroll, depth.steps)
    whole = depth.steps // unroll
    steps: Body = tuple(s for index in range(unroll) for s in step(index, step=unroll))
    body = nest(isa, [("step", whole)], steps)
    body += tuple(s for index in range(whole * unroll, depth.steps) for s in step(index))
    return nest(isa, [("ky", depth.rows), ("kx", depth.taps)], body)


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


def pack(conv: Convolution, operands: Operands, dialect: Dialect, options: Options = DEFAULT) -> dict[str, Array]:
    """Return the packed weights and parameters of a convolution."""
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
    weights = _packed(conv, conv.filters(operands), dialect, options)
    return {"weights": weights, "parameters": table.pack(values)}


def _packed(conv: Convolution, filters: Array, dialect: Dialect, options: Options) -> Array:
    """Return weights by group, vector of channels, kernel row, tap and step."""
    depth, vectors = plan_of(conv, dialect, options).depth, vectors_of(conv, dialect)
    per_group = conv.channels_out // conv.groups
    runs = filters.reshape(conv.groups, per_group, depth.rows * depth.taps, depth.elements)
    padded = np.zeros((conv.groups, vectors * dialect.lanes, runs.shape[2], depth.steps * dialect.step), np.int8)
    padded[:, :per_group, :, : depth.elements] = runs
    split = padded.reshape(conv.groups, vectors, dialect.lanes, runs.shape[2], depth.steps, dialect.step)
    return np.asarray(split.transpose(0, 1, 3, 4, 2, 5).copy())


def _per_lane(conv: Convolution, values: Array, dialect: Dialect, dtype: type[np.generic]) -> Array:
    """Lay per-channel values out by group, each group filled up to whole vectors."""
    channels = np.broadcast_to(values, (conv.channels_out,)).reshape(conv.groups, -1)
    result = np.zeros((conv.groups, vectors_of(conv, dialect) * dialect.lanes), dtype)
    result[:, : channels.shape[1]] = channels
    return result
