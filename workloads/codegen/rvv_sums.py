"""Requantisation as a pass of its own on RVV, over int32 sums that a convolution stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import rvv_base as base
from workloads.codegen.common import nest, split
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.rvv_base import Body
    from workloads.isa import InstructionSet

_PIXELS = 6  # in v0 to v23; the scale is held in v28 to v31


def requantize(pixels: int, channels: int, isa: InstructionSet, table: Constants) -> Body:
    """Requantise the sums (pixel, channel), a block of channels of some pixels at a time."""
    body: Body = ()
    for first, size, trips in split(pixels, _PIXELS):
        for channel, count, blocks in split(channels, base.lanes(isa)):
            at = Address("sums", 4 * (first * channels + channel)).plus(pixels=4 * size * channels, block=4 * count)
            to = Address("output", first * channels + channel).plus(pixels=size * channels, block=count)
            tile = _tile(table, channel, count, [at.plus(4 * p * channels) for p in range(size)],
                         [to.plus(p * channels) for p in range(size)])  # fmt: skip
            body += nest(isa, (("pixels", trips), ("block", blocks)), tile)
    return body


def _tile(table: Constants, channel: int, count: int, stored: list[Address], outputs: list[Address]) -> Body:
    """Requantise one block of channels of a few pixels."""
    sums = [base.vector(4 * number) for number in range(len(stored))]
    body: Body = (base.SET_VL,)
    body += tuple(Instruction("vle32.v", total, (at,), count) for total, at in zip(sums, stored, strict=True))
    body += base.requantize_each(
        sums, base.vector(28), count, lambda name: table.address(name, 4 * channel, block=4 * count)
    )
    return body + base.finish(sums, outputs, count)
