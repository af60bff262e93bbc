"""Tiles of the davinci kernels: equal pieces of an extent, windows with their padding, moves between buffers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from workloads.codegen.common import readdressed
from workloads.program import Address, Buffer, Instruction, Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.isa import InstructionSet
    from workloads.options import Options

Body = tuple[Statement, ...]
HEADER_BYTES = 64  # scalars at the start of every parameter buffer


def round_up(value: int, step: int) -> int:
    """Return the smallest multiple of ``step`` that is at least ``value``."""
    return -(-value // step) * step


@dataclass(frozen=True)
class Part:
    """``trips`` pieces of ``size`` elements each, the first one at ``start``."""

    start: int
    size: int
    trips: int


def split(extent: int, size: int) -> tuple[Part, ...]:
    """Cut an extent into pieces of ``size`` and, where it does not divide, one smaller last piece."""
    size = min(size, extent)
    whole, rest = divmod(extent, size)
    parts = (Part(0, size, whole),)
    return (*parts, Part(whole * size, rest, 1)) if rest else parts


@dataclass(frozen=True)
class Windows:
    """One axis of an image: where the windows of a kernel lie.

    Parameters
    ----------
    span
        Elements from the first to the last tap of a window.
    padding
        Elements before the first one of the image.
    """

    extent: int
    extent_out: int
    stride: int
    span: int
    padding: int

    def needed(self, outputs: int) -> int:
        """Return the elements, padding included, that consecutive ``outputs`` read."""
        return (outputs - 1) * self.stride + self.span


@dataclass(frozen=True)
class Segment:
    """``trips`` tiles of ``size`` outputs from ``start``, alike in what they read.

    Parameters
    ----------
    first
        The first element of the image that the first tile reads; the next tile reads ``size * stride`` further.
    elements
        Elements of the image that one tile reads; 0 when it lies in the padding.
    before
        Elements of padding in front of them.
    padded
        Whether a tile reads padding at all.
    """

    start: int
    size: int
    trips: int
    first: int
    elements: int
    before: int
    padded: bool


def segments(axis: Windows, size: int) -> tuple[Segment, ...]:
    """Cut the outputs of one axis into tiles and gather equal neighbours, so that borders stand apart."""
    tiles = []
    for start in range(0, axis.extent_out, size):
        outputs = min(size, axis.extent_out - start)
        begin = start * axis.stride - axis.padding
        end = begin + axis.needed(outputs)
        low, high = max(begin, 0), min(end, axis.extent)
        inside = max(high - low, 0)
        interior = inside == end - begin
        tiles.append(
            Segment(start, outputs, 1, low if inside else 0, inside, low - begin if inside else 0, not interior)
        )
    found: list[Segment] = []
    for (outputs, padded), run in groupby(tiles, key=lambda tile: (tile.size, tile.padded)):
        members = list(run)
        if padded:
            found += members  # a border tile's place in the image is not affine in its index
        else:
            head = members[0]
            found.append(Segment(head.start, outputs, len(members), head.first, head.elements, 0, padded=False))
    return tuple(found)


def move(
    op: str, destination: Address, source: Address, extent: tuple[int, int], pitches: tuple[int, int] | None = None
) -> Instruction:
    """Copy (rows, elements per row) from ``source`` to ``destination``.

    ``pitches`` are the bytes from row to row of source and destination; without them both are dense.
    """
    if pitches is None:
        return Instruction(op, destination, (source,), shape=(1, extent[0] * extent[1], 0, 0))
    return Instruction(op, destination, (source,), shape=(*extent, *pitches))


def on_chip(
    isa: InstructionSet, used: Mapping[str, int], copies: Mapping[str, int] | None = None
) -> tuple[Buffer, ...]:
    """Declare one scratch buffer per named ``space:purpose``; two copies of each unless ``copies`` says otherwise.

    Two, because the queues overlap only when each space holds the tile in use and the next one.

    Raises
    ------
    ValueError
        A space would overflow.
    """
    counts = {key: (copies or {}).get(key, 2) for key in used}
    totals: dict[str, int] = {}
    for key, nbytes in used.items():
        space = key.partition(":")[0]
        totals[space] = totals.get(space, 0) + counts[key] * nbytes
    for space, nbytes in totals.items():
        if nbytes > isa.parameters[f"{space}_bytes"]:
            raise ValueError(f"{space} holds {isa.parameters[f'{space}_bytes']} bytes; {nbytes} are needed")
    return tuple(
        Buffer(name_of(key), nbytes, key.partition(":")[0], copies=counts[key]) for key, nbytes in used.items()
    )


def copies_of(used: Mapping[str, int], options: Options) -> dict[str, int] | None:
    """Return the copies of each buffer that options ask for: None for the usual two, else one of each."""
    return dict.fromkeys(used, 1) if options.buffers == 1 else None


def name_of(key: str) -> str:
    """Return the buffer name of a ``space:purpose`` key."""
    return key.replace(":", "_")


def half(isa: InstructionSet, space: str) -> int:
    """Bytes of a space that one of two tiles in flight may use."""
    return isa.parameters[f"{space}_bytes"] // 2


def largest(*uses: Mapping[str, int]) -> dict[str, int]:
    """Return for each buffer the most that any of several tile shapes needs."""
    keys = {key: None for use in uses for key in use}
    return {key: max(use.get(key, 0) for use in uses) for key in keys}


def rebased(body: Body, variable: str, step: int, first: int) -> Body:
    """Return ``body`` with a loop variable v read as step * v + first."""

    def change(address: Address) -> Address:
        moved = sum(stride for name, stride in address.strides if name == variable) * first
        strides = tuple((name, stride * (step if name == variable else 1)) for name, stride in address.strides)
        return Address(address.buffer, address.offset + moved, strides)

    return readdressed(body, change)


def renamed(body: Body, old: str, new: str) -> Body:
    """Return ``body`` with one buffer in the place of another."""

    def change(address: Address) -> Address:
        return Address(new, address.offset, address.strides) if address.buffer == old else address

    return readdressed(body, change)
