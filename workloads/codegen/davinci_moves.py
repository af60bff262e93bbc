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
    """Copy a box: as many runs at once as fit, or a run in pieces.

    Parameters
    ----------
    room
        Bytes of a tile. [B]
    work
        Emit what becomes of a tile of so many bytes before it leaves the vector buffer.
    """
    *around, (trips, read, written) = box.loops or ((1, 0, 0),)
    source, target = Address(buffer_name(box.source), box.source_offset), Address("output", box.target_offset)
    for number, (_, first, second) in enumerate(around):
        source, target = source.plus(**{f"axis{number}": first}), target.plus(**{f"axis{number}": second})
    body: Body = ()
    if box.run <= room:
        op = "mte2_ub" if read == box.run else "mte2_ub_runs"
        for part in split(trips, room // box.run):
            at, to = (
                a.plus(part.start * step, tile=part.size * step) for a, step in ((source, read), (target, written))
            )
            tile = (
                move(op, ROWS, at, (part.size, box.run), (read, box.run)),
                *(work(part.size * box.run) if work else ()),
                move("mte3", to, ROWS, (part.size, box.run), (box.run, written)),
            )
            body += loop(isa, "tile", part.trips, tile)
    else:
        for part in split(box.run, room):
            at, to = (a.plus(part.start, row=step, tile=part.size) for a, step in ((source, read), (target, written)))
            between = work(part.size) if work else ()
            tile = (move("mte2_ub", ROWS, at, (1, part.size)), *between, move("mte3", to, ROWS, (1, part.size)))
            body += nest(isa, [("row", trips), ("tile", part.trips)], tile)
    return nest(isa, [(f"axis{number}", trips) for number, (trips, _, _) in enumerate(around)], body)


def pack(spec: MoveSpec, operands: Operands) -> dict[str, Array]:
    """Return the byte that surrounds what is padded: the output's zero point."""
    if spec.kind not in FILLED:
        return {}
    return {"parameters": np.full(HEADER_BYTES, operands.output_zero_point, np.int8).view(np.uint8)}
