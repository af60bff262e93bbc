"""Depthwise convolutions and pooling on RVV: lanes are channels, a tile is a few neighbouring pixels of a row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import rvv_base as base
from workloads.codegen.common import fixed, loop, split
from workloads.codegen.geometry import product
from workloads.codegen.regions import constants
from workloads.codegen.rvv_product import channel_values
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.common import Image
    from workloads.codegen.regions import Constants
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs import ConvSpec, PoolSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Statement
    from workloads.tensor import Array

PIXELS = 4  # accumulators v0, v4, v8, v12; v16 to v23 16-bit values, v24 to v27 bytes, v28 to v31 weights and scales
UNROLLED_TAPS = 8  # a kernel row up to this width is written out


def taps(isa: InstructionSet, kernel: tuple[int, int], tap: Body) -> Body:
    """Repeat a tap over a window; its addresses move with "ky" and "kx"."""
    row: tuple[Statement, ...]
    if kernel[1] > UNROLLED_TAPS:
        row = loop(isa, "kx", kernel[1], tap)
    else:
        row = tuple(statement for kx in range(kernel[1]) for statement in fixed(tap, "kx", value=kx))
    return loop(isa, "ky", kernel[0], row)


def sweep(
    isa: InstructionSet,
    spec: ConvSpec | PoolSpec,
    lanes: int,
    image: Image,
    tile: Callable[[int, int, int, list[Address], list[Address]], Body],
    most: int = PIXELS,
) -> Body:
    """Visit each output row, each block of ``lanes`` channels, each tile of at most ``most`` pixels.

    ``tile(first channel, channels, first pixel, inputs, outputs)`` gets the addresses of each pixel.
    """
    pixels = math.ceil(spec.width_out / math.ceil(spec.width_out / most))
    dilation = getattr(spec, "dilation", (1, 1))
    line, step = spec.width_out * spec.channels, spec.stride[1] * image.pixel_bytes
    row: Body = ()
    for channel, count, trips in split(spec.channels, lanes):
        columns: Body = ()
        for first, size, times in split(spec.width_out, pixels):
            source = image.address(
                first * step + channel, image=image.image_bytes, row=spec.stride[0] * image.row_bytes, block=count,
                tile=size * step, ky=dilation[0] * image.row_bytes, kx=dilation[1] * image.pixel_bytes,
            )  # fmt: skip
            target = Address("output", first * spec.channels + channel).plus(
                image=spec.height_out * line, row=line, block=count, tile=size * spec.channels
            )
            inputs = [source.plus(pixel * step) for pixel in range(size)]
            outputs = [target.plus(pixel * spec.channels) for pixel in range(size)]
            columns += loop(isa, "tile", times, tile(channel, count, first, inputs, outputs))
        row += loop(isa, "block", trips, columns)
    return loop(isa, "image", spec.batch, loop(isa, "row", spec.height_out, row))


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


def depthwise_table(spec: ConvSpec) -> Constants:
    """Place the per-channel words and the bounds."""
    words = dict.fromkeys(("bias", "left", "multiplier", "right"), 4 * spec.channels)
    return constants({**words, **base.BOUND_REGIONS})


def choices(spec: ConvSpec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return what is offered for a depthwise convolution: pixels of a tile by registers of an accumulator."""
    rows = [size for size in (PIXELS, 2, 1) if size == PIXELS or size < spec.width_out]
    groups = [size for size in (4, 2, 1) if size == 4 or base.lanes(isa, size) < spec.channels]
    first = [Options(rows=rows[0], lmul=size) for size in groups]
    return (*first, *(Options(rows=size, lmul=groups[0]) for size in rows[1:]))


def generate_depthwise(spec: ConvSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a depthwise convolution with one output per channel."""
    table = depthwise_table(spec)
    image, padding, scratch = base.padded_image(isa, spec, table)

    def tile(channel: int, count: int, first: int, inputs: list[Address], outputs: list[Address]) -> Body:  # noqa: ARG001 - one signature for all windows
        sums = accumulators(len(inputs))

        def words(name: str) -> Address:
            return table.address(name, 4 * channel, block=4 * count)

        body: Body = (base.SET_VL, Instruction("vle32.v", sums[0], (words("bias"),), count))
        body += base.copies(sums[0], sums[1:], count)
        weights = Address("weights", channel).plus(block=count, ky=spec.kernel[1] * spec.channels, kx=spec.channels)
        body += _products(isa, spec.kernel, sums, weights, inputs, count)
        return body + base.requantize_each(sums, "v28", count, words) + base.finish(sums, outputs, count)

    nest = sweep(isa, spec, base.lanes(isa, options.lmul or 4), image, tile, options.rows or PIXELS)
    body = (base.ROUND_HALF_UP, *base.load_bounds(table), *padding, *nest)
    buffers = buffers_of(spec, table, scratch, math.prod(spec.kernel) * spec.channels)
    return Program("depthwise_conv2d", isa, buffers, body, spec.macs, base.PROFILE)


def _products(
    isa: InstructionSet, kernel: tuple[int, int], sums: list[str], weights: Address, inputs: list[Address], count: int
) -> Body:
    """Return the loops over a depthwise window: bytes multiplied to 16 bits, added to 32, loads one tap ahead."""
    pixels = len(sums)
    load: Body = (Instruction("vle8.v", "v28", (weights,), count),)
    loads = (*load, *load_bytes(inputs, count))
    multiply: Body = (base.SET_VL,)
    multiply += tuple(Instruction("vwmul.vv.e8", wide(p), (f"v{24 + p}", "v28"), count) for p in range(pixels))
    multiply += (base.SET_VL,)
    add = [Instruction("vwadd.wv.e16", total, (total, wide(p)), count) for p, total in enumerate(sums)]
    if kernel[1] > UNROLLED_TAPS:
        return loop(isa, "ky", kernel[0], loop(isa, "kx", kernel[1], (*loads, *multiply, *add)))
    row: Body = fixed(loads, "kx")
    for kx in range(1, kernel[1]):
        ahead = fixed(loads, "kx", value=kx)
        row += (*multiply, ahead[0])
        row += tuple(statement for pair in zip(ahead[1:], add, strict=True) for statement in pair)
    return loop(isa, "ky", kernel[0], (*row, *multiply, *add))


def pack_depthwise(spec: ConvSpec, operands: Operands) -> dict[str, Array]:
    """Return the weights, channels last, and the parameters of a depthwise convolution."""
    conv = product(spec)
    weights = np.ascontiguousarray(conv.filters(operands)[..., 0].transpose(1, 2, 0))
    values = channel_values(conv, operands) | base.bound_values(operands, operands.input_zero_points[0])
    return {"weights": weights, "parameters": depthwise_table(spec).pack(values)}


def accumulators(pixels: int) -> list[str]:
    """Name the accumulators of a tile."""
    return [base.vector(4 * pixel) for pixel in range(pixels)]


def wide(pixel: int) -> str:
    """Name the widened activations of a pixel."""
    return base.vector(16 + 2 * pixel)


def load_bytes(inputs: list[Address], count: int) -> Body:
    """Load one tap of each pixel."""
    return tuple(Instruction("vle8.v", f"v{24 + pixel}", (at,), count) for pixel, at in enumerate(inputs))


def widen(pixels: int, count: int) -> Body:
    """Widen one tap of each pixel to 16 bits."""
    return tuple(Instruction("vsext.vf2.e16", wide(pixel), (f"v{24 + pixel}",), count) for pixel in range(pixels))
