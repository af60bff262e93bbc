"""Convolutions and products with constant weights on scalar sets: tiles of pixels by channels over runs of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen import scalar as shared
from workloads.codegen import scalar_gather, scalar_sums
from workloads.codegen.common import Body, Image, loop, padded_copy, split
from workloads.codegen.geometry import Convolution, product
from workloads.codegen.scalar_plan import STEP, Plan, Window, plan_of, window_of
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.scalar import Accumulators, Multiply, Scalar
    from workloads.codegen.specs import ConvSpec, MatrixSpec

_UNROLLED = 8  # taps of a kernel row that are written out when each has few bytes


@dataclass(frozen=True)
class Tile:
    """One tile: output pixels by channels, and where its operands begin; sums are stored at ``outputs``."""

    pixels: int
    channels: int
    inputs: tuple[Address, ...]
    weights: Address
    record: Address
    outputs: tuple[Address, ...]


def generate(spec: ConvSpec | MatrixSpec, scalar: Scalar, options: Options = DEFAULT) -> Program:
    """Return the Program of a convolution, a depthwise one or a product."""
    conv, plan = product(spec), plan_of(spec, scalar, options)
    image, padding, scratch = padded_copy(
        scalar.isa, conv,
        lambda target, nbytes: shared.fill_run(scalar, target, nbytes),
        lambda target, source, nbytes: shared.copy_run(scalar, target, source, nbytes),
    )  # fmt: skip
    body = (*(shared.load_filler(scalar) if padding else ()), *padding)
    if scalar.keeps_constants:
        body += scalar.load_constants()
    body += _nest(conv, image, scalar, plan)
    space = scalar.isa.spaces[0]
    pixels = conv.batch * conv.height_out * conv.width_out
    outputs = pixels * conv.channels_out
    if not plan.fuse:
        body += scalar_sums.requantize(pixels, conv.channels_out, scalar)
        scratch += (scalar_sums.buffer(outputs, scalar),)
    window = window_of(conv, image)
    depth = plan.depth(window)
    if plan.gather is not None:
        scratch += (Buffer("columns", depth * plan.gather.pitch(plan.pixels), space),)
    buffers = (
        Buffer("input", conv.batch * conv.height * conv.width * conv.channels, space, "input"),
        Buffer("weights", conv.channels_out * depth, space, "weights"),
        Buffer("parameters", shared.HEADER_BYTES + conv.channels_out * scalar.record_bytes, space, "parameters"),
        *scratch,
        Buffer("output", outputs, space, "output"),
    )
    name = f"{scalar.isa.name}_{'depthwise_' if conv.groups == conv.channels > 1 else ''}conv2d"
    return Program(name, scalar.isa, buffers, body, conv.macs, scalar.profile)


def sums(spec: MatrixSpec, scalar: Scalar, plan: Plan) -> Body:
    """Return the statements that leave the sums of a product, unscaled, in the buffer "sums"."""
    conv = product(spec)
    return _nest(conv, Image("input", conv.height, conv.width, conv.channels), scalar, plan)


def _nest(conv: Convolution, image: Image, scalar: Scalar, plan: Plan) -> Body:
    """Loop over images, rows, tiles of pixels, groups and tiles of channels."""
    isa, window = scalar.isa, window_of(conv, image)
    step = conv.stride[1] * image.channels
    columns: Body = ()
    for first, pixels, trips in split(conv.width_out, plan.pixels):
        read = image.address(
            first * step, image=image.image_bytes, row=conv.stride[0] * image.row_bytes,
            tile_column=pixels * step, group=conv.channels // conv.groups,
        )  # fmt: skip
        inputs = tuple(read.plus(pixel * step) for pixel in range(pixels))
        tiles = _channels(conv, inputs, window, scalar, plan, first)
        if plan.gather is not None:
            tiles = scalar_gather.collect(plan.gather, isa, inputs, window) + tiles
        columns += loop(isa, "tile_column", trips, loop(isa, "group", conv.groups, tiles))
    return loop(isa, "image", conv.batch, loop(isa, "row", conv.height_out, columns))


def _channels(
    conv: Convolution, inputs: tuple[Address, ...], window: Window, scalar: Scalar, plan: Plan, first_pixel: int
) -> Body:
    """Loop over the tiles of channels of one group."""
    per_group, pixels = conv.channels_out // conv.groups, len(inputs)
    depth = plan.depth(window)
    size = 1 if plan.fuse else 4
    out_row = size * conv.width_out * conv.channels_out
    write = Address(
        "output" if plan.fuse else "sums", size * first_pixel * conv.channels_out,
        (("image", conv.height_out * out_row), ("row", out_row),
         ("tile_column", size * pixels * conv.channels_out), ("group", size * per_group)),
    )  # fmt: skip
    body: Body = ()
    for first, channels, trips in split(per_group, plan.channels):
        weights = Address("weights", first * depth, (("group", per_group * depth),))
        record = scalar.record(first, group=per_group * scalar.record_bytes)
        moves = {"tile_channel": size * channels}
        tile = Tile(
            pixels, channels, inputs,
            weights.plus(tile_channel=channels * depth),
            record.plus(tile_channel=channels * scalar.record_bytes),
            tuple(write.plus(size * (pixel * conv.channels_out + first), **moves) for pixel in range(pixels)),
        )  # fmt: skip
        body += loop(scalar.isa, "tile_channel", trips, _tile(tile, window, scalar, plan))
    return body


def _tile(tile: Tile, window: Window, scalar: Scalar, plan: Plan) -> Body:
    """Start the sums, accumulate the window, requantise and store, or store the sums."""
    names, gather = iter(scalar.values), plan.gather
    rows = tile.pixels if gather is None else gather.streams(tile.pixels)
    accumulators = tuple(tuple(next(names) for _ in range(tile.channels)) for _ in range(rows))
    body: Body = ()
    for channel in range(tile.channels):
        if gather is not None and gather.unpack is not None:
            body += tuple(scalar.emit("immediate", row[channel], 0) for row in accumulators)
            continue
        body += (scalar.emit("load_word", accumulators[0][channel], _record(tile, scalar, channel)),)
        body += tuple(scalar.emit("move", row[channel], accumulators[0][channel]) for row in accumulators[1:])
    if gather is None:
        body += _accumulate(tile, window, scalar, accumulators, plan.unroll)
    else:
        places = scalar_gather.streams(gather, tile.pixels)
        run = Run(places, tile.weights, tile.channels, plan.depth(window), gather.pitch(tile.pixels))
        body += _products(run, gather.step, gather.single, scalar, accumulators, plan.unroll)
    if plan.fuse and not scalar.keeps_constants:
        body += scalar.load_constants()
    for channel in range(tile.channels):
        body += _finish(tile, channel, scalar, accumulators, plan)
    return body


def _record(tile: Tile, scalar: Scalar, channel: int) -> Address:
    """Return the address of a channel's bias."""
    return tile.record.plus(channel * scalar.record_bytes)


def _finish(tile: Tile, channel: int, scalar: Scalar, accumulators: Accumulators, plan: Plan) -> Body:
    """Turn the sums of one channel into bytes, or store them."""
    unpack, together = (None, 1) if plan.gather is None else (plan.gather.unpack, plan.gather.together)
    body: Body = scalar.load_parameters(_record(tile, scalar, channel).plus(8)) if plan.fuse else ()
    if unpack is not None:
        body += (scalar.emit("load_word", scalar.spare, _record(tile, scalar, channel)),)
    for pixel in range(tile.pixels):
        target = tile.outputs[pixel].plus(channel * (1 if plan.fuse else 4))
        if unpack is None:
            value = accumulators[pixel][channel]
        else:
            value = scalar.unpacked[pixel % len(scalar.unpacked)]
            body += unpack(accumulators[pixel // together][channel], pixel % together, scalar.spare, value)
        body += scalar.finish(value, target) if plan.fuse else (scalar.emit("store_word", target, value),)
    return body


@dataclass(frozen=True)
class Run:
    """``length`` products per output in a row: elements lie ``pitch`` bytes apart, weights ``channels`` apart."""

    inputs: tuple[Address, ...]
    weights: Address
    channels: int
    length: int
    pitch: int

    def at(self, element: int, moves: int = 0) -> tuple[tuple[Address, ...], Address]:
        """Return the addresses of an element; each trip of "depth" moves them by ``moves`` elements."""
        strides = {"depth": moves} if moves else {}
        inputs = tuple(
            address.plus(element * self.pitch, **{name: count * self.pitch for name, count in strides.items()})
            for address in self.inputs
        )
        weights = self.weights.plus(
            element * self.channels, **{name: count * self.channels for name, count in strides.items()}
        )
        return inputs, weights


def _accumulate(tile: Tile, window: Window, scalar: Scalar, accumulators: Accumulators, unroll: int) -> Body:
    """Multiply-accumulate all runs of the window where they lie."""
    taps, tap_bytes = window.columns, tile.channels * window.run
    unrolled = window.run < STEP and taps <= _UNROLLED
    row: Body = ()
    for tap in range(taps) if unrolled else (0,):
        inputs = tuple(address.plus(tap * window.column_stride, tap_row=window.row_stride) for address in tile.inputs)
        weights = tile.weights.plus(tap * tap_bytes, tap_row=tap_bytes * taps)
        if not unrolled:
            inputs = tuple(address.plus(tap=window.column_stride) for address in inputs)
            weights = weights.plus(tap=tap_bytes)
        run = Run(inputs, weights, tile.channels, window.run, 1)
        row += _products(run, scalar.step, scalar.single, scalar, accumulators, unroll)
    return loop(scalar.isa, "tap_row", window.rows, row if unrolled else loop(scalar.isa, "tap", taps, row))


def _products(
    run: Run, step: Multiply, single: Multiply, scalar: Scalar, accumulators: Accumulators, unroll: int
) -> Body:
    """Multiply-accumulate one run: steps of four, ``unroll`` of them a trip, then single products."""
    steps = run.length // STEP
    trips = steps // unroll
    deep: Body = ()
    for index in range(unroll):
        deep += step(accumulators, *run.at(index * STEP, unroll * STEP))
    body = loop(scalar.isa, "depth", trips, deep)
    for index in range(trips * unroll, steps):
        body += step(accumulators, *run.at(index * STEP))
    for element in range(steps * STEP, run.length):
        body += single(accumulators, *run.at(element))
    return body
