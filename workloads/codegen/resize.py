"""Bilinear resizing as two steps of exact sums: down the columns into a line, then across it.

An output lies between two neighbours of an axis, with weights in 1/1024. Neighbours are not affine in the output, but
outputs between the same two follow each other, and such blocks repeat: loops run over blocks that are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop, nest, split
from workloads.kernels.resize import ONE, positions
from workloads.operators import Resize2d
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workloads.codegen.common import Body
    from workloads.codegen.specs_images import ResizeSpec
    from workloads.isa import InstructionSet
    from workloads.tensor import Array

SHIFT = 20  # bits behind the point once both steps are done
HALF = 1 << (SHIFT - 1)
WORD = 4
PAIR = 2 * WORD  # bytes of the weights of one output row or column
_MOST_PERIOD = 8  # of blocks that repeat


@dataclass(frozen=True)
class Run:
    """Outputs ``place`` + ``apart`` * j + k, between inputs ``first`` + ``step`` * j and the next; k < ``size``."""

    place: int
    apart: int
    first: int
    step: int
    number: int
    size: int


@dataclass(frozen=True)
class Pixel:
    """Where the weights of a pixel lie, the sums to its left and right, and its output."""

    weights: Address
    left: Address
    right: Address
    output: Address


@dataclass(frozen=True)
class Kit:
    """How a set computes.

    Parameters
    ----------
    head
        What it loads first.
    down
        Emit a line of sums of two rows: (weights, upper row, lower row).
    across
        Emit the channels of ``together`` pixels or fewer.
    nbytes, spare
        Of the buffer "parameters"; read and written beyond the end of a line. [B]
    """

    head: Body
    down: Callable[[Address, Address, Address], Body]
    across: Callable[[Sequence[Pixel]], Body]
    nbytes: int
    spare: int = 0
    together: int = 1


def generate(spec: ResizeSpec, isa: InstructionSet, profile: str, kit: Kit) -> Program:
    """Return the Program of a bilinear resize."""
    space, channels = isa.spaces[0], spec.channels
    line, line_out = spec.width * channels, spec.width_out * channels
    body: Body = ()
    for row in runs(sides(spec, 0)[0]):
        upper = Address("input", row.first * line).plus(image=spec.height * line, rows=row.step * line)
        out = Address("output", row.place * line_out).plus(
            image=spec.height_out * line_out, rows=row.apart * line_out, row=line_out
        )
        weights = Address("parameters", PAIR * row.place).plus(rows=PAIR * row.apart, row=PAIR)
        inner = kit.down(weights, upper, upper.plus(min(1, spec.height - 1) * line))
        for column in runs(sides(spec, 1)[0]):
            for first, size, trips in split(column.number, kit.together):
                pixels = [_pixel(spec, out, column, number, size) for number in range(first, first + size)]
                inner += nest(isa, (("columns", trips), ("column", column.size)), kit.across(pixels))
        body += nest(isa, (("rows", row.number), ("row", row.size)), inner)
    buffers = (
        Buffer("input", spec.batch * spec.height * line, space, "input"),
        Buffer("parameters", kit.nbytes, space, "parameters"),
        Buffer("line", WORD * line + kit.spare, space),
        Buffer("output", spec.batch * spec.height_out * line_out, space, "output"),
    )
    return Program(f"{isa.name}_resize", isa, buffers, (*kit.head, *loop(isa, "image", spec.batch, body)), 0, profile)


def _pixel(spec: ResizeSpec, out: Address, column: Run, number: int, together: int) -> Pixel:
    """Return a pixel of block ``number`` of a run, of which ``together`` are taken a trip."""
    channels, place = spec.channels, column.place + number * column.apart
    step = together * column.step * WORD * channels
    left = Address("line", WORD * (column.first + number * column.step) * channels).plus(columns=step)
    weights = Address("parameters", PAIR * (spec.height_out + place))
    return Pixel(
        weights.plus(columns=together * PAIR * column.apart, column=PAIR),
        left,
        left.plus(min(1, spec.width - 1) * WORD * channels),
        out.plus(place * channels, columns=together * column.apart * channels, column=channels),
    )


def sides(spec: ResizeSpec, axis: int) -> tuple[Array, Array]:
    """Return the input in front of each output of an axis, and the weight of the next one in 1/1024.

    The last input is the next one of the last but one, with all the weight.

    Raises
    ------
    NotImplementedError
        Rounded to 1/1024, the factor is so small that the last outputs lie outside the image.
    """
    extent, wanted = ((spec.height, spec.height_out), (spec.width, spec.width_out))[axis]
    operator = Resize2d("bilinear", (spec.height_out, spec.width_out), spec.align_corners, spec.half_pixel_centers)
    before, after, part = positions(extent, wanted, operator)
    if before.max() >= extent:
        raise NotImplementedError(f"bilinear from {extent} to {wanted}: in steps of 1/1024 that leaves the image")
    part = np.where(before == after, 0, part)
    last = (before == extent - 1) & (extent > 1)
    return np.where(last, extent - 2, before), np.where(last, ONE, part)


def runs(firsts: Sequence[int] | Array) -> tuple[Run, ...]:
    """Return the fewest runs that hold all outputs, given the input in front of each."""
    blocks, place = [], 0
    for first, members in groupby(int(value) for value in firsts):
        blocks.append(Run(place, 0, first, 0, 1, len(list(members))))
        place += blocks[-1].size
    periods = range(1, min(_MOST_PERIOD, len(blocks)) + 1)
    ways = [tuple(run for start in range(period) for run in _joined(blocks[start::period])) for period in periods]
    return min(ways, key=len)


def _joined(blocks: list[Run]) -> Iterator[Run]:
    """Join neighbours of one size at equal distances."""
    begin = 0
    while begin < len(blocks):
        head, end = blocks[begin], begin + 1
        apart = step = 0
        if end < len(blocks):
            apart, step = blocks[end].place - head.place, blocks[end].first - head.first
        while end < len(blocks) and blocks[end] == Run(
            head.place + apart * (end - begin), 0, head.first + step * (end - begin), 0, 1, head.size
        ):
            end += 1
        yield Run(head.place, apart, head.first, step, end - begin, head.size)
        begin = end


def words(spec: ResizeSpec) -> Array:
    """Return the weights of the one in front and the next, int32, per output row and then per output column."""
    parts = np.concatenate([sides(spec, axis)[1] for axis in range(2)])
    return np.stack([ONE - parts, parts], axis=1).astype(np.int32)
