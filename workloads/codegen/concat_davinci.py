"""Concatenation with requantisation on the davinci vector unit: scaled in single precision, rounded half to even."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, fp19
from workloads.codegen import concat
from workloads.codegen.davinci_moves import ROWS, copied
from workloads.codegen.davinci_tiles import copies_of, half, on_chip
from workloads.codegen.moves import boxes
from workloads.options import DEFAULT, Options
from workloads.program import Address, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.specs import ConcatSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

PROFILE = "ascend-fixpipe"
HALF, SINGLE = Address("ub_half"), Address("ub_single")
LANE_BYTES = {"ub:rows": 1, "ub:half": 2, "ub:single": 4}
LANES = 128  # half-precision lanes of one repeat
WORD = 4
_MINUS_ZERO, _SCALE, _OFFSET = "x0", "x1", "x2"


def generate(spec: ConcatSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a concatenation; a tile that is not rescaled passes the vector buffer as it is."""
    room = half(isa, "ub") // sum(LANE_BYTES.values()) // LANES * LANES
    inputs, elements = len(spec.shapes), max(box.run * _trips(box.loops) for box in boxes(spec.moved))
    body: Body = (Instruction("s_load_f16", _OFFSET, (Address("parameters", 2 * WORD * inputs),)),)
    for box in boxes(spec.moved):
        if not spec.rescaled[box.source]:
            body += copied(box, isa, room)
            continue
        at = Address("parameters", 2 * WORD * box.source)
        body += (
            Instruction("s_load_f16", _MINUS_ZERO, (at,)),
            Instruction("s_load_f32", _SCALE, (at.plus(WORD),)),
            *copied(box, isa, room, _rescaled),
        )
    used = {key: min(room, elements) * size for key, size in LANE_BYTES.items()}
    buffers = (
        *concat.buffers(spec, "global", WORD * (2 * inputs + 1)),
        *on_chip(isa, used, copies_of(used, options)),
    )
    return Program("davinci_concat", isa, buffers, body, profile=PROFILE)


def _trips(loops: tuple[tuple[int, int, int], ...]) -> int:
    return int(np.prod([trips for trips, _, _ in loops]))


def _rescaled(count: int) -> Body:
    """Requantise bytes where they lie; what single precision leaves beyond 16 bits is beyond 8 bits too."""
    return (
        Instruction("vconv_s8_f16", HALF, (ROWS,), count),
        Instruction("vadds_f16", HALF, (HALF, _MINUS_ZERO), count),
        Instruction("vconv_f16_f32", SINGLE, (HALF,), count),
        Instruction("vmuls_f32", SINGLE, (SINGLE, _SCALE), count),
        Instruction("vconv_f32_s32", SINGLE, (SINGLE,), count),
        Instruction("vconv_s32_f16", HALF, (SINGLE,), count),
        Instruction("vadds_f16", HALF, (HALF, _OFFSET), count),
        Instruction("vconv_f16_s8", ROWS, (HALF,), count),
    )


def pack(operands: Operands) -> dict[str, Array]:
    """Return each input's negative zero point and scale, then the output's zero point, each in a word of its own."""
    words = np.zeros(2 * len(operands.input_scales) + 1, np.uint32)
    for number, one in enumerate(concat.each_input(operands)):
        words[2 * number] = np.float16(-one.input_zero_points[0]).view(np.uint16)
        words[2 * number + 1] = fp19(effective_scales(one, PROFILE).astype(np.float32)).view(np.uint32)[0]
    words[-1] = np.float16(operands.output_zero_point).view(np.uint16)
    return {"parameters": words.view(np.uint8)}
