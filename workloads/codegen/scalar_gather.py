"""Windows gathered ahead of the products on scalar sets, so that each byte is extended once and not per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen.common import Body, loop
from workloads.codegen.scalar_plan import STEP
from workloads.program import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.scalar import Multiply
    from workloads.codegen.scalar_plan import Window
    from workloads.isa import InstructionSet


@dataclass(frozen=True)
class Gather:
    """How a set gathers windows, and what it multiplies then.

    Parameters
    ----------
    blocks
        Pixels by channels of a tile, its own choice first.
    together
        Pixels that share the words of one stream.
    element_bytes
        Of one pixel's element. [B]
    align
        Elements that a run is filled up to a multiple of; the weights there are zero.
    limit
        Depth from which sums no longer fit.
    collect
        Emit up to four elements of every pixel: (source addresses, target address, elements).
    step, single
        Multiply-accumulate 4 deep, or 1 deep: (accumulators[stream][channel], stream addresses, weight address).
    unpack
        Take one pixel's sum from its accumulator and add the bias: (accumulator, pixel, bias, register) -> statements;
        None where accumulators start with the bias.
    """

    blocks: tuple[tuple[int, int], ...]
    together: int
    element_bytes: int
    align: int
    limit: int
    collect: Callable[[tuple[Address, ...], Address, int], Body]
    step: Multiply
    single: Multiply
    unpack: Callable[[str, int, str, str], Body] | None = None

    def streams(self, pixels: int) -> int:
        """Streams of words for some pixels."""
        return -(-pixels // self.together)

    def run(self, run: int) -> int:
        """Elements of a run once it is filled up."""
        return -(-run // self.align) * self.align

    def pitch(self, pixels: int) -> int:
        """Bytes of one element of all streams. [B]"""
        return self.streams(pixels) * self.together * self.element_bytes


def collect(gather: Gather, isa: InstructionSet, inputs: tuple[Address, ...], window: Window) -> Body:
    """Copy the windows of some pixels to the buffer "columns"."""
    pitch, run = gather.pitch(len(inputs)), gather.run(window.run)
    rows = {"tap_row": window.columns * run * pitch, "tap": run * pitch}
    target = Address("columns").plus(**rows)
    sources = tuple(address.plus(tap_row=window.row_stride, tap=window.column_stride) for address in inputs)
    steps, rest = divmod(window.run, STEP)
    body = loop(isa, "gather", steps, gather.collect(
        tuple(source.plus(gather=STEP) for source in sources), target.plus(gather=STEP * pitch), STEP
    ))  # fmt: skip
    if rest:
        last = tuple(source.plus(steps * STEP) for source in sources)
        body += gather.collect(last, target.plus(steps * STEP * pitch), rest)
    return loop(isa, "tap_row", window.rows, loop(isa, "tap", window.columns, body))


def streams(gather: Gather, pixels: int) -> tuple[Address, ...]:
    """Return where each stream of words begins."""
    width = gather.together * gather.element_bytes * gather.align
    return tuple(Address("columns", index * width) for index in range(gather.streams(pixels)))
