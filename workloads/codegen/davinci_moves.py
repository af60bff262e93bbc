"""Data movement on davinci cores: rows of bytes into the vector buffer with one stride and out of it with another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop, nest
from workloads.codegen.davinci_tiles import HEADER_BYTES, copies_of, half, move, on_chip, split
from workloads.codegen.moves import FILLED, boxes, buffer_name
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.common import Body
    from workloads.codegen.moves import Box
    from workloads.codegen.specs import MoveSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

ROWS, FILL = Address("ub_rows"), Address("ub_fill")


def generate(spec: MoveSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a data movement; what surrounds a padded tensor is written first, over the whole output."""
    elements, padded = math.prod(spec.output_shape), spec.kind in FILLED
    fill = min(half(isa, "ub") // 2, elements) // HEADER_BYTES * HEADER_BYTES or HEADER_BYTES
    room = half(isa, "ub") - (fill if padded else 0)
    body: Body = _filled(elements, fill, isa) if padded else ()
    for box in boxes(spec):
        body += copied(box, isa, room)
    inputs = tuple(
        Buffer(buffer_name(number), math.prod(shape), "global", "input") for number, shape in enumerate(spec.shapes)
    )
    used = {"ub:rows": min(room, elements)}
    buffers = (
        *inputs,
        *((Buffer("parameters", HEADER_BYTES, "global", "parameters"),) if padded else ()),
        Buffer("output", elements, "global", "output"),
        *on_chip(isa, used, copies_of(used, options)),
        *((Buffer("ub_fill", fill, "ub"),) if padded else ()),
    )
    return Program(f"davinci_{spec.kind}", isa, buffers, body, profile="none")


def _filled(elements: int, fill: int, isa: InstructionSet) -> Body:
    """Write the output's zero point over the whole output."""
    lines = fill // HEADER_BYTES
    body: Body = (move("mte2_ub", FILL, Address("parameters"), (lines, HEADER_BYTES), (0, HEADER_BYTES)),)
    for part in split(elements, fill):
        target = Address("output", part.start, (("tile", part.size),))
        body += loop(isa, "tile", part.trips, (move("mte3", target, FILL, (1, part.size)),))
    return body


def copied(box: Box, isa: InstructionSet, room: int, work: Callable[[int], Body] | None = None) -> Body:
    """Copy a box in tiles: as many of its inner loops as fit, and a part of the next one.

    Parameters
    ----------
    room
        Bytes of a tile. [B]
    work
        Emit what becomes of a tile of so many bytes before it leaves the vector buffer.
    """
    around, size = [*box.loops, (box.run, 1, 1)], 1
    tile: list[tuple[int, int, int]] = []
    while around and size * around[-1][0] <= room:
        tile.insert(0, around.pop())
        size *= tile[0][0]
    trips, read, written = around.pop() if around else (1, 0, 0)
    source, target = Address(buffer_name(box.source), box.source_offset), Address("output", box.target_offset)
    for number, (_, first, second) in enumerate(around):
        source, target = source.plus(**{f"axis{number}": first}), target.plus(**{f"axis{number}": second})
    body: Body = ()
    for part in split(trips, room // size):
        extents = [(part.size, read, written), *tile]
        body += loop(isa, "tile", part.trips, (
            *_moved(isa, source.plus(part.start * read, tile=part.size * read), [extent[:2] for extent in extents]),
            *(work(part.size * size) if work else ()),
            *_moved(
                isa, target.plus(part.start * written, tile=part.size * written),
                [(extent[0], extent[2]) for extent in extents], out=True,
            ),
        ))  # fmt: skip
    return nest(isa, [(f"axis{number}", trips) for number, (trips, _, _) in enumerate(around)], body)


def _moved(isa: InstructionSet, place: Address, extents: list[tuple[int, int]], *, out: bool = False) -> Body:
    """Move a tile between the vector buffer, where it is dense, and loops of (trips, stride) over bytes elsewhere."""
    *loops, (rows, pitch), (run, _) = [(1, 0), *extents]
    held, size = ROWS, rows * run
    for number, (trips, stride) in reversed(list(enumerate(loops))):
        held, place = held.plus(**{f"inner{number}": size}), place.plus(**{f"inner{number}": stride})
        size *= trips
    if out:
        one = move("mte3", place, held, (rows, run), (run, pitch))
    else:
        near = rows == 1 or pitch == run
        one = move("mte2_ub" if near else "mte2_ub_runs", held, place, (rows, run), (pitch, run))
    return nest(isa, [(f"inner{number}", trips) for number, (trips, _) in enumerate(loops)], (one,))


def pack(spec: MoveSpec, operands: Operands) -> dict[str, Array]:
    """Return the byte that surrounds what is padded: the output's zero point."""
    if spec.kind not in FILLED:
        return {}
    return {"parameters": np.full(HEADER_BYTES, operands.output_zero_point, np.int8).view(np.uint8)}
