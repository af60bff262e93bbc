"""Convolutions and products with constant weights on scalar sets: tiles of pixels by channels over runs of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.codegen import scalar as shared
from workloads.codegen.common import Body, Image, loop, padded_copy, split
from workloads.codegen.geometry import Convolution, product
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import ConvSpec, MatrixSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

_STEP = 4  # depth of one ``Scalar.step``
_UNROLLED = 8  # taps of a kernel row that are written out when each has few bytes


@dataclass(frozen=True)
class Window:
    """The window of one output as ``rows * columns`` runs of ``run`` contiguous bytes of the (padded) image."""

    rows: int
    columns: int
    run: int
    row_stride: int
    column_stride: int

    @property
    def depth(self) -> int:
        """Products per output."""
        return self.rows * self.columns * self.run


@dataclass(frozen=True)
class Tile:
    """One tile: output pixels by channels, and where its operands begin."""

    pixels: int
    channels: int
    inputs: tuple[Address, ...]
    weights: Address
    record: Address
    outputs: tuple[Address, ...]


def window_of(conv: Convolution, image: Image) -> Window:
    """Return the runs of a window; a row of taps is one run when all channels belong to one group."""
    depth = conv.channels // conv.groups
    row_stride, column_stride = conv.dilation[0] * image.row_bytes, conv.dilation[1] * image.channels
    if conv.groups == 1 and (conv.dilation[1] == 1 or conv.kernel[1] == 1):
        return Window(conv.kernel[0], 1, conv.kernel[1] * depth, row_stride, 0)
    return Window(*conv.kernel, depth, row_stride, column_stride)


def generate(spec: ConvSpec | MatrixSpec, scalar: Scalar) -> Program:
    """Return the Program of a convolution, a depthwise one or a product."""
    conv = product(spec)
    image, padding, scratch = padded_copy(
        scalar.isa, conv,
        lambda target, nbytes: shared.fill_run(scalar, target, nbytes),
        lambda target, source, nbytes: shared.copy_run(scalar, target, source, nbytes),
    )  # fmt: skip
    body = (*(shared.load_filler(scalar) if padding else ()), *padding, *_nest(conv, image, scalar))
    space = scalar.isa.spaces[0]
    outputs = conv.batch * conv.height_out * conv.width_out * conv.channels_out
    buffers = (
        Buffer("input", conv.batch * conv.height * conv.width * conv.channels, space, "input"),
        Buffer("weights", conv.channels_out * window_of(conv, image).depth, space, "weights"),
        Buffer("parameters", shared.HEADER_BYTES + conv.channels_out * scalar.record_bytes, space, "parameters"),
        *scratch,
        Buffer("output", outputs, space, "output"),
    )
    name = f"{scalar.isa.name}_{'depthwise_' if conv.groups == conv.channels > 1 else ''}conv2d"
    return Program(name, scalar.isa, buffers, body, conv.macs, scalar.profile)


def tile_extents(conv: Convolution, scalar: Scalar) -> tuple[int, int]:
    """Return (pixels, channels) of a full tile."""
    per_group = conv.channels_out // conv.groups
    return scalar.depthwise_tile if per_group == 1 else (scalar.tile[0], min(scalar.tile[1], per_group))


def _nest(conv: Convolution, image: Image, scalar: Scalar) -> Body:
    """Loop over images, rows, tiles of pixels, groups and tiles of channels."""
    isa = scalar.isa
    columns: Body = ()
    for first, pixels, trips in split(conv.width_out, tile_extents(conv, scalar)[0]):
        tiles = _channels(conv, image, scalar, first, pixels)
        columns += loop(isa, "tile_column", trips, loop(isa, "group", conv.groups, tiles))
    return loop(isa, "image", conv.batch, loop(isa, "row", conv.height_out, columns))


def _channels(conv: Convolution, image: Image, scalar: Scalar, first_pixel: int, pixels: int) -> Body:
    """Loop over the tiles of channels of one group."""
    window = window_of(conv, image)
    per_group, depth = conv.channels_out // conv.groups, conv.channels // conv.groups
    step = conv.stride[1] * image.channels
    read = image.address(
        first_pixel * step, image=image.image_bytes, row=conv.stride[0] * image.row_bytes,
        tile_column=pixels * step, group=depth,
    )  # fmt: skip
    out_row = conv.width_out * conv.channels_out
    write = Address(
        "output", first_pixel * conv.channels_out,
        (("image", conv.height_out * out_row), ("row", out_row), ("tile_column", pixels * conv.channels_out),
         ("group", per_group)),
    )  # fmt: skip
    body: Body = ()
    for first, channels, trips in split(per_group, tile_extents(conv, scalar)[1]):
        weights = Address("weights", first * window.depth, (("group", per_group * window.depth),))
        record = scalar.record(first, group=per_group * scalar.record_bytes)
        tile = Tile(
            pixels, channels,
            tuple(read.plus(pixel * step) for pixel in range(pixels)),
            weights.plus(tile_channel=channels * window.depth),
            record.plus(tile_channel=channels * scalar.record_bytes),
            tuple(write.plus(pixel * conv.channels_out + first, tile_channel=channels) for pixel in range(pixels)),
        )  # fmt: skip
        body += loop(scalar.isa, "tile_channel", trips, _tile(tile, window, scalar))
    return body


def _tile(tile: Tile, window: Window, scalar: Scalar) -> Body:
    """Load biases, accumulate the window, requantise and store."""
    names = iter(scalar.values)
    accumulators = tuple(tuple(next(names) for _ in range(tile.channels)) for _ in range(tile.pixels))
    body: Body = ()
    for channel in range(tile.channels):
        bias = tile.record.plus(channel * scalar.record_bytes)
        body += (scalar.emit("load_word", accumulators[0][channel], bias),)
        body += tuple(scalar.emit("move", row[channel], accumulators[0][channel]) for row in accumulators[1:])
    body += _accumulate(tile, window, scalar, accumulators)
    body += scalar.load_constants()
    for channel in range(tile.channels):
        body += scalar.load_parameters(tile.record.plus(channel * scalar.record_bytes + 8))
        for pixel in range(tile.pixels):
            body += scalar.finish(accumulators[pixel][channel], tile.outputs[pixel].plus(channel))
    return body


def _accumulate(tile: Tile, window: Window, scalar: Scalar, accumulators: tuple[tuple[str, ...], ...]) -> Body:
    """Multiply-accumulate all runs of the window."""
    taps = window.columns
    unrolled = window.run < _STEP and taps <= _UNROLLED
    row: Body = ()
    for tap in range(taps) if unrolled else (0,):
        strides = {} if unrolled else {"tap": window.column_stride}
        weights_strides = {} if unrolled else {"tap": tile.channels * window.run}
        inputs = tuple(
            address.plus(tap * window.column_stride, tap_row=window.row_stride, **strides) for address in tile.inputs
        )
        weights = tile.weights.plus(
            tap * tile.channels * window.run, tap_row=tile.channels * window.run * taps, **weights_strides
        )
        row += _run(inputs, weights, window.run, tile.channels, scalar, accumulators)
    return loop(scalar.isa, "tap_row", window.rows, row if unrolled else loop(scalar.isa, "tap", taps, row))


def _run(
    inputs: tuple[Address, ...], weights: Address, run: int, channels: int, scalar: Scalar,
    accumulators: tuple[tuple[str, ...], ...],
) -> Body:  # fmt: skip
    """Multiply-accumulate one run: steps of four, then single products."""
    steps, rest = divmod(run, _STEP)
    deep = scalar.step(
        accumulators, tuple(address.plus(depth=_STEP) for address in inputs), weights.plus(depth=_STEP * channels)
    )
    body = loop(scalar.isa, "depth", steps, deep)
    for k in range(rest):
        place = tuple(address.plus(steps * _STEP + k) for address in inputs)
        body += scalar.single(accumulators, place, weights.plus((steps * _STEP + k) * channels))
    return body


def pack(spec: ConvSpec | MatrixSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Lay out weights as the tiles read them, and parameters with the input's zero point folded into the biases."""
    conv = product(spec)
    filters = conv.filters(operands)
    zero_point = operands.input_zero_points[0]
    scales = np.broadcast_to(effective_scales(operands, scalar.profile), (conv.channels_out,))
    head = shared.header(zero_point, operands.output_zero_point, operands.low, operands.high)
    body = shared.records(scalar, conv.bias(operands, zero_point), *quantize_multipliers(scales))
    return {"weights": pack_weights(conv, filters, scalar), "parameters": shared.as_bytes(head + body)}


def pack_weights(conv: Convolution, filters: Array, scalar: Scalar) -> Array:
    """Return weights by group, tile of channels, run, step: four bytes a channel, then the rest byte by byte."""
    window = window_of(conv, Image("input", 1, 1, conv.channels))
    per_group = conv.channels_out // conv.groups
    runs = filters.reshape(conv.groups, per_group, window.rows * window.columns, window.run)
    whole = window.run // _STEP * _STEP
    parts = []
    for first, channels, trips in split(per_group, tile_extents(conv, scalar)[1]):
        shape = (conv.groups, trips, channels, runs.shape[2])
        part = runs[:, first : first + trips * channels].reshape(*shape, window.run)
        deep = part[..., :whole].reshape(*shape, whole // _STEP, _STEP).transpose(0, 1, 3, 4, 2, 5)
        rest = part[..., whole:].transpose(0, 1, 3, 4, 2)
        lead = (conv.groups, trips, runs.shape[2], -1)
        both = np.concatenate([deep.reshape(*lead[:3], whole * channels), rest.reshape(lead)], axis=3)
        parts.append(both.reshape(conv.groups, -1))
    return np.ascontiguousarray(np.concatenate(parts, axis=1)).reshape(-1)
