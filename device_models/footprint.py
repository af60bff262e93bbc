"""Footprints: the distinct bytes that a part of a loop nest touches, in closed form from its affine addresses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from workloads.program import Instruction, Loop, accesses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.program import Program, Statement


@dataclass(frozen=True)
class Access:
    """Accesses of one buffer that differ by their offset only.

    Parameters
    ----------
    moves
        (depth of the loop, bytes per step, trips) of each loop that moves the address.
    offsets
        Distinct first bytes, ascending. [B]
    nbytes
        Of one access. [B]
    """

    buffer: str
    moves: tuple[tuple[int, int, int], ...]
    offsets: tuple[int, ...]
    nbytes: int
    is_store: bool


@dataclass(frozen=True, eq=False)
class Nest:
    """A loop (or the whole Program, with one trip) and the bytes that it touches.

    Parameters
    ----------
    own
        Distinct bytes that the loop's own instructions touch in all its trips, by buffer. [B]
    once, whole
        Distinct bytes that one trip, and all trips, touch, loops inside included, by buffer. [B]
    """

    trips: int
    children: tuple[Nest, ...]
    accesses: tuple[Access, ...]
    own: Mapping[str, int]
    once: Mapping[str, int]
    whole: Mapping[str, int]

    @property
    def loads(self) -> frozenset[str]:
        """The buffers that are read."""
        return frozenset(access.buffer for access in self.accesses if not access.is_store)

    @property
    def stores(self) -> frozenset[str]:
        """The buffers that are written."""
        return frozenset(access.buffer for access in self.accesses if access.is_store)


def nest_of(program: Program, space: str, line: int = 1) -> Nest:
    """Return a Program's accesses to one memory space as a tree of loops, in transfers of ``line`` bytes."""
    sizes = {buffer.name: buffer.bytes for buffer in program.buffers if buffer.space == space}
    return _nest((Loop("", 1, program.body),), program, sizes, line)


def _nest(path: tuple[Loop, ...], program: Program, sizes: Mapping[str, int], line: int) -> Nest:
    """Return the innermost loop of ``path``; equal accesses at other offsets are merged."""
    loop, depth = path[-1], len(path) - 1
    children = tuple(_nest((*path, item), program, sizes, line) for item in loop.body if isinstance(item, Loop))
    offsets: defaultdict[tuple[str, tuple[tuple[int, int, int], ...], int, bool], set[int]] = defaultdict(set)
    for statement in loop.body:
        for access in _accesses(statement, path, program, sizes):
            offsets[access.buffer, access.moves, access.nbytes, access.is_store].update(access.offsets)
    own = tuple(
        Access(name, moves, tuple(sorted(found)), size, is_store)
        for (name, moves, size, is_store), found in offsets.items()
    )
    everything = (*own, *(access for child in children for access in child.accesses))
    return Nest(
        loop.trips,
        children,
        everything,
        own=_touched(own, depth, sizes, line),
        once=_touched(everything, depth + 1, sizes, line),
        whole=_touched(everything, depth, sizes, line),
    )


def _accesses(statement: Statement, path: tuple[Loop, ...], program: Program, sizes: Mapping[str, int]) -> list[Access]:
    """Return the accesses of one instruction to the buffers in ``sizes``."""
    if not isinstance(statement, Instruction):
        return []
    depths = {loop.variable: (depth, loop.trips) for depth, loop in enumerate(path)}
    found: list[Access] = []
    for address, nbytes, is_store in accesses(statement, program.isa):
        if address.buffer in sizes:
            strides: defaultdict[str, int] = defaultdict(int)
            for variable, stride in address.strides:
                strides[variable] += stride
            moves = sorted(
                (depths[variable][0], stride, depths[variable][1]) for variable, stride in strides.items() if stride
            )
            found.append(Access(address.buffer, tuple(moves), (address.offset,), nbytes, is_store))
    return found


def _touched(found: tuple[Access, ...], depth: int, sizes: Mapping[str, int], line: int) -> dict[str, int]:
    """Return the distinct bytes that accesses touch while the loops from ``depth`` inwards run, by buffer. [B]"""
    total: defaultdict[str, int] = defaultdict(int)
    seen: set[tuple[str, tuple[tuple[int, int, int], ...], tuple[int, ...]]] = set()
    for access in found:
        key = (access.buffer, access.moves, access.offsets)
        if key not in seen:
            seen.add(key)
            total[access.buffer] += _distinct(access, depth, line)
    return {name: min(nbytes, sizes[name]) for name, nbytes in total.items()}


def _distinct(access: Access, depth: int, line: int) -> int:
    """Return the distinct bytes of one group of accesses, counting whole lines where they lie apart. [B]

    Strides are added from the smallest on: one that is no longer than the run so far lengthens it, one that is a
    multiple of the distance between pieces adds pieces, any other repeats everything.
    """
    length, pieces, distance, repeats = access.nbytes, 1, 0, 1
    moving = [(abs(stride), trips) for level, stride, trips in access.moves if level >= depth and trips > 1]
    for stride, trips in sorted([*moving, *_offset_strides(access.offsets)]):
        if pieces == 1 and stride <= max(length, line):
            length += stride * (trips - 1)
        elif pieces > 1 and stride % distance == 0 and stride // distance <= pieces:
            pieces += stride // distance * (trips - 1)
        else:
            repeats, pieces, distance = repeats * pieces, trips, stride
    apart = repeats * pieces > 1
    return (-(-length // line) * line if apart else length) * pieces * repeats


def _offset_strides(offsets: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return offsets as (stride, trips): evenly spaced ones exactly, others by runs of near ones."""
    if len(offsets) < 2:
        return []
    gaps = [second - first for first, second in pairwise(offsets)]
    small = min(gaps)
    if max(gaps) == small:
        return [(small, len(offsets))]
    jumps = [index + 1 for index, gap in enumerate(gaps) if gap > 2 * small]
    if not jumps:
        return [(-(-sum(gaps) // len(gaps)), len(offsets))]
    inner = -(-len(offsets) // (len(jumps) + 1))
    starts = tuple(offsets[index] for index in (0, *jumps))
    return [(small, inner), *_offset_strides(starts)]
