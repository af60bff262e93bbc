"""Depthwise convolution on scalar sets with many registers: each byte of a row is loaded once for all its taps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.codegen import scalar as shared
from workloads.codegen import scalar_sums
from workloads.codegen.common import Body, Image, loop, padded_copy, split
from workloads.codegen.geometry import product
from workloads.codegen.specs import ConvSpec
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import Spec
    from workloads.operands import Operands
    from workloads.tensor import Array

_ROWS = (8, 4)  # pixels of a tile
_UNROLLED = 8  # kernel rows that are written out


@dataclass(frozen=True)
class Slide:
    """Registers of inputs and of one kernel row's weights; ``multiply_add`` takes (sum, input, weight, number)."""

    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    multiply_add: Callable[[str, str, str, int], Body]


def takes(spec: Spec, slide: Slide | None) -> TypeGuard[ConvSpec]:
    """Whether a specification is a depthwise convolution whose kernel rows fit the registers."""
    return (
        slide is not None
        and isinstance(spec, ConvSpec)
        and spec.depthwise
        and spec.channels == spec.channels_out
        and spec.kernel[1] <= len(slide.weights)
        and spec.kernel[0] <= _UNROLLED
    )


def choices(spec: ConvSpec) -> tuple[Options, ...]:
    """Return the options offered, the set's own choice first."""
    rows = dict.fromkeys(min(rows, spec.width_out) for rows in _ROWS)
    fused = [Options(rows=number, columns=1, lowering="direct", fuse=True) for number in rows]
    return *fused, Options(rows=next(iter(rows)), columns=1, lowering="direct", fuse=False)


def generate(spec: ConvSpec, scalar: Scalar, slide: Slide, options: Options = DEFAULT) -> Program:
    """Return the Program of a depthwise convolution with one output per channel."""
    chosen = choices(spec)[0] if options == DEFAULT else options
    fuse, isa, space = chosen.fuse is not False, scalar.isa, scalar.isa.spaces[0]
    image, padding, scratch = padded_copy(
        isa, spec,
        lambda target, nbytes: shared.fill_run(scalar, target, nbytes),
        lambda target, source, nbytes: shared.copy_run(scalar, target, source, nbytes),
    )  # fmt: skip
    tiles: Body = ()
    for first, pixels, trips in split(spec.width_out, chosen.rows or 1):
        tile = _tile(spec, image, scalar, slide, first, pixels, fuse=fuse)
        tiles += loop(isa, "tile_column", trips, loop(isa, "channel", spec.channels, tile))
    body = (*(shared.load_filler(scalar) if padding else ()), *padding, *scalar.load_constants())
    body += loop(isa, "image", spec.batch, loop(isa, "row", spec.height_out, tiles))
    pixels = spec.batch * spec.height_out * spec.width_out
    outputs = pixels * spec.channels
    if not fuse:
        body += scalar_sums.requantize(pixels, spec.channels, scalar)
        scratch += (scalar_sums.buffer(outputs, scalar),)
    buffers = (
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, space, "input"),
        Buffer("weights", spec.channels * spec.kernel[0] * spec.kernel[1], space, "weights"),
        Buffer("parameters", shared.HEADER_BYTES + spec.channels * scalar.record_bytes, space, "parameters"),
        *scratch,
        Buffer("output", outputs, space, "output"),
    )
    return Program(f"{isa.name}_depthwise_conv2d", isa, buffers, body, spec.macs, scalar.profile)


def _tile(spec: ConvSpec, image: Image, scalar: Scalar, slide: Slide, first: int, pixels: int, *, fuse: bool) -> Body:
    """Compute one channel of some neighbouring pixels."""
    sums = scalar.values[:pixels]
    step, size = spec.stride[1] * image.channels, 1 if fuse else 4
    read = image.address(
        first * step, image=image.image_bytes, row=spec.stride[0] * image.row_bytes, tile_column=pixels * step,
        channel=1,
    )  # fmt: skip
    row = spec.width_out * spec.channels
    moves = {"image": spec.height_out * row, "row": row, "tile_column": pixels * spec.channels, "channel": 1}
    write = Address("output" if fuse else "sums", size * first * spec.channels)
    write = write.plus(**{name: size * stride for name, stride in moves.items()})
    record = scalar.record(0, channel=scalar.record_bytes)
    body: Body = (scalar.emit("load_word", sums[0], record),)
    body += tuple(scalar.emit("move", total, sums[0]) for total in sums[1:])
    for tap_row in range(spec.kernel[0]):
        weights = Address("weights", tap_row * spec.kernel[1], (("channel", spec.kernel[0] * spec.kernel[1]),))
        body += _row(spec, scalar, slide, sums, read.plus(tap_row * spec.dilation[0] * image.row_bytes), weights)
    if fuse:
        body += scalar.load_parameters(record.plus(8))
    for pixel, total in enumerate(sums):
        target = write.plus(size * pixel * spec.channels)
        body += scalar.finish(total, target) if fuse else (scalar.emit("store_word", target, total),)
    return body


def _row(spec: ConvSpec, scalar: Scalar, slide: Slide, sums: tuple[str, ...], read: Address, weights: Address) -> Body:
    """Accumulate one kernel row: each input column is loaded once and meets every pixel that it lies under."""
    held = slide.weights[: spec.kernel[1]]
    body: Body = tuple(scalar.emit("load_byte", register, weights.plus(tap)) for tap, register in enumerate(held))
    uses: dict[int, list[tuple[str, str]]] = {}
    for pixel, total in enumerate(sums):
        for tap, weight in enumerate(held):
            uses.setdefault(pixel * spec.stride[1] + tap * spec.dilation[1], []).append((total, weight))
    number = 0
    for index, (column, pairs) in enumerate(sorted(uses.items())):
        value = slide.inputs[index % len(slide.inputs)]
        body += (scalar.emit("load_byte", value, read.plus(column * spec.channels)),)
        for total, weight in pairs:
            body += slide.multiply_add(total, value, weight, number)
            number += 1
    return body


def pack(spec: ConvSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Lay out weights channel by channel, and the parameters per channel."""
    conv = product(spec)
    zero_point = operands.input_zero_points[0]
    scales = np.broadcast_to(effective_scales(operands, scalar.profile), (spec.channels,))
    head = shared.header(zero_point, operands.output_zero_point, operands.low, operands.high)
    body = shared.records(scalar, conv.bias(operands, zero_point), *quantize_multipliers(scales))
    return {"weights": conv.filters(operands).reshape(-1).copy(), "parameters": shared.as_bytes(head + body)}
