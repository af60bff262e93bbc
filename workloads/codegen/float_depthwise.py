"""Depthwise convolutions in float32: lanes are channels, a tile is some pixels of a row, read once per kernel row.

Every sum begins with its bias and adds the products in the order of kernel row and tap, each fused into one rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import Image, loop, nest, split
from workloads.codegen.float_pack import parameters
from workloads.codegen.float_product import buffers_of, padded, table_of
from workloads.codegen.float_set import FLOAT_BYTES
from workloads.codegen.float_sums import bounded
from workloads.options import Options
from workloads.program import Address, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_spec import FloatOperands
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.tensor import Array

_HELD = 5  # taps of a kernel row whose weights stay in registers
_VALUES = 2  # registers of pixels: one is loaded while the other is used
_ROWS = (8, 12, 4)  # pixels of a tile that are offered where they fit


def choices(conv: Convolution, kit: FloatSet) -> tuple[Options, ...]:
    """Return the options offered, the set's own choice first."""
    room = len(kit.vectors) - min(conv.kernel[1], _HELD) - _VALUES
    rows = dict.fromkeys(max(1, min(rows, room, conv.width_out)) for rows in _ROWS)
    return tuple(Options(number, kit.lanes, lowering="direct", lmul=kit.lmul) for number in rows)


def generate(name: str, conv: Convolution, bounds: tuple[str, ...], kit: FloatSet, options: Options) -> Program:
    """Return the Program of a depthwise convolution with one output per channel."""
    table = table_of(kit, conv.channels_out)
    image, padding, scratch = padded(kit, conv, table)
    limits = tuple((bound, table.address(bound)) for bound in bounds)
    row: Body = ()
    for first, (lanes,), trips in kit.pieces(conv.channels):
        for pixel, pixels, times in split(conv.width_out, options.rows or 1):
            tile = _tile(conv, image, table, kit, (FLOAT_BYTES * first, lanes), (pixel, pixels), limits)
            row += nest(kit.isa, [("block", trips), ("tile", times)], tile)
    body = nest(kit.isa, [("image", conv.batch), ("row", conv.height_out)], row)
    return Program(name, kit.isa, buffers_of(conv, table, scratch), padding + body, conv.macs)


def _tile(
    conv: Convolution, image: Image, table: Constants, kit: FloatSet, channels: tuple[int, int],
    columns: tuple[int, int], limits: tuple[tuple[str, Address], ...],
) -> Body:  # fmt: skip
    """Return the sums of some pixels of a vector of channels, given as (first, number) each."""
    (at, lanes), (first, pixels) = channels, columns
    size, pixel_out = FLOAT_BYTES * lanes, FLOAT_BYTES * conv.channels
    sums, spare = kit.vectors[:pixels], kit.vectors[pixels:]
    step = conv.stride[1] * image.pixel_bytes
    source = image.address(first * step + at).plus(
        image=image.image_bytes, row=conv.stride[0] * image.row_bytes, block=size, tile=pixels * step,
        ky=conv.dilation[0] * image.row_bytes,
    )  # fmt: skip
    line = conv.width_out * pixel_out
    target = Address("output", first * pixel_out + at).plus(
        image=conv.height_out * line, row=line, block=size, tile=pixels * pixel_out
    )
    body = kit.begin()
    body += kit.load(sums[0], table.address("bias", at, block=size), lanes) + kit.copies(sums[0], sums[1:], lanes)
    weights = Address("weights", at).plus(block=size, ky=conv.kernel[1] * pixel_out)
    body += loop(kit.isa, "ky", conv.kernel[0], _row(conv, image, kit, lanes, sums, spare, source, weights))
    body += bounded(kit, [(total, lanes) for total in sums], limits, kit.factors or spare)
    for pixel, total in enumerate(sums):
        body += kit.store(total, target.plus(pixel * pixel_out), lanes)
    return body


def _row(
    conv: Convolution, image: Image, kit: FloatSet, lanes: int, sums: tuple[str, ...], spare: tuple[str, ...],
    source: Address, packed: Address,
) -> Body:  # fmt: skip
    """Accumulate one kernel row: a few taps at a time; each pixel that they see is loaded once, ahead of its use."""
    body: Body = ()
    held = min(conv.kernel[1], _HELD)
    weights, values = spare[:held], spare[held:]
    for first in range(0, conv.kernel[1], held):
        taps = range(first, min(first + held, conv.kernel[1]))
        for tap, weight in zip(taps, weights, strict=False):
            body += kit.load(weight, packed.plus(tap * FLOAT_BYTES * conv.channels), lanes)
        uses: dict[int, list[tuple[str, str]]] = {}
        for pixel, total in enumerate(sums):
            for tap, weight in zip(taps, weights, strict=False):
                uses.setdefault(pixel * conv.stride[1] + tap * conv.dilation[1], []).append((total, weight))
        columns = sorted(uses)
        loads = [
            kit.load(values[number % len(values)], source.plus(column * image.pixel_bytes), lanes)
            for number, column in enumerate(columns)
        ]
        body += loads[0]
        for number, column in enumerate(columns):
            body += loads[number + 1] if number + 1 < len(loads) else ()
            value = values[number % len(values)]
            body += tuple(
                kit.multiply_add(total, value, weight, lanes, "multiply_add_each") for total, weight in uses[column]
            )
    return body


def pack(conv: Convolution, operands: FloatOperands, kit: FloatSet, options: Options) -> dict[str, Array]:  # noqa: ARG001 - as others
    """Return the weights by tap and channel, and the parameters."""
    weights = conv.arranged(operands.weights)[..., 0].transpose(1, 2, 0)
    return {
        "weights": np.ascontiguousarray(weights, np.float32),
        "parameters": parameters(conv.channels_out, operands, kit),
    }
