"""Functions of one value on the davinci vector unit: places in a half-precision table, gathered from its buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop
from workloads.codegen.davinci_tiles import copies_of, half, move, on_chip, split
from workloads.codegen.lookup_tables import BYTES, CENTER, table_of
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.specs import LookupSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

IN, HALF, SINGLE, OUT, TABLE = (Address(f"ub_{name}") for name in ("in", "half", "single", "out", "table"))
LANE_BYTES = {"ub:in": 1, "ub:half": 2, "ub:single": 4, "ub:out": 1}
LANES = 128  # half-precision lanes of one repeat
ENTRY_BYTES = 2


def generate(spec: LookupSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a lookup; single precision carries the places, in bytes, from half precision to integers.

    Raises
    ------
    NotImplementedError
        The core's vector unit gathers nothing.
    """
    if not isa.parameters["vector_gather"]:
        raise NotImplementedError(f"{isa.name}: this core's vector unit has no gather for a table of 256 results")
    room = half(isa, "ub") - ENTRY_BYTES * BYTES
    lanes = min(room // sum(LANE_BYTES.values()) // LANES * LANES, spec.elements)
    body: Body = (move("mte2_ub", TABLE, Address("parameters"), (1, ENTRY_BYTES * BYTES)),)
    for part in split(spec.elements, lanes):
        at, size = (("tile", part.size),), part.size
        body += loop(isa, "tile", part.trips, (
            move("mte2_ub", IN, Address("input", part.start, at), (1, size)),
            Instruction("vconv_s8_f16", HALF, (IN,), size),
            Instruction("vadds_f16", HALF, (HALF, float(CENTER)), size),
            Instruction("vmuls_f16", HALF, (HALF, float(ENTRY_BYTES)), size),
            Instruction("vconv_f16_f32", SINGLE, (HALF,), size),
            Instruction("vconv_f32_s32", SINGLE, (SINGLE,), size),
            Instruction("vgather_f16", HALF, (TABLE, SINGLE), size),
            Instruction("vconv_f16_s8", OUT, (HALF,), size),
            move("mte3", Address("output", part.start, at), OUT, (1, size)),
        ))  # fmt: skip
    used = {key: lanes * size for key, size in LANE_BYTES.items()}
    table = Buffer("ub_table", ENTRY_BYTES * BYTES, "ub")
    buffers = (
        Buffer("input", spec.elements, "global", "input"),
        Buffer("parameters", ENTRY_BYTES * BYTES, "global", "parameters"),
        Buffer("output", spec.elements, "global", "output"),
        *on_chip(isa, used, copies_of(used, options)),
        table,
    )
    return Program("davinci_lookup", isa, buffers, body, profile="ascend-vector")


def pack(operands: Operands) -> dict[str, Array]:
    """Return the table as half-precision numbers."""
    return {"parameters": table_of(operands).astype(np.float16).view(np.uint8)}
