"""Concatenation with requantisation on RVV: an input's scale is held in scalar registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import concat
from workloads.codegen import rvv_base as base
from workloads.codegen.common import loop, split
from workloads.codegen.regions import constants
from workloads.codegen.rvv_elementwise import copy
from workloads.program import Instruction

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs import ConcatSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Address, Program
    from workloads.tensor import Array

_PARTS = 4  # groups per iteration, to hide latency
_ZERO = "x5"
_HELD = {"zero": _ZERO, "left": base.LEFT, "multiplier": base.MULTIPLIER, "right": base.RIGHT}


def table_of(inputs: int) -> Constants:
    """Place the bounds, and a zero point and a scale per input."""
    names = [f"{name}{number}" for number in range(inputs) for name in _HELD]
    return constants({**base.BOUND_REGIONS, **dict.fromkeys(names, 4)})


def generate(spec: ConcatSpec, isa: InstructionSet) -> Program:
    """Return the Program of a concatenation."""
    table, lanes = table_of(len(spec.shapes)), base.lanes(isa)

    def begin(number: int) -> Body:
        return base.load_scalars(table, *((f"{name}{number}", register) for name, register in _HELD.items()))

    def emit(target: Address, source: Address, nbytes: int) -> Body:
        body: Body = ()
        for first, size, trips in split(nbytes, lanes):
            for start, parts, times in split(trips, _PARTS):
                steps = [first + (start + number) * size for number in range(parts)]
                inputs, outputs = ([at.plus(step, run=parts * size) for step in steps] for at in (source, target))
                body += loop(isa, "run", times, _strip(inputs, outputs, size))
        return body

    rescale = concat.Rescale((base.ROUND_HALF_UP, *base.load_bounds(table)), begin, emit)
    return concat.generate(spec, isa, base.PROFILE, copy(isa), rescale, table.nbytes)


def _strip(inputs: list[Address], outputs: list[Address], count: int) -> Body:
    """Requantise some groups of lanes, each of ``count``."""
    values = [base.vector(16 + 4 * number) for number in range(len(inputs))]
    sums = [base.vector(4 * number) for number in range(len(inputs))]
    body: Body = (base.SET_VL,)
    body += tuple(Instruction("vle8.v", value, (at,), count) for value, at in zip(values, inputs, strict=True))
    body += tuple(Instruction("vsext.vf4.e32", total, (v,), count) for total, v in zip(sums, values, strict=True))
    body += tuple(Instruction("vsub.vx.e32", total, (total, _ZERO), count) for total in sums)
    return body + base.requantize_all(sums, count) + base.finish(sums, outputs, count)


def pack(operands: Operands) -> dict[str, Array]:
    """Return the bounds, and each input's zero point and scale."""
    values = base.bound_values(operands, 0)
    for number, one in enumerate(concat.each_input(operands)):
        held = base.scale_value(float(effective_scales(one, base.PROFILE)[0]))
        held["zero"] = np.array(one.input_zero_points, np.int32)
        values |= {f"{name}{number}": value for name, value in held.items()}
    return {"parameters": table_of(len(operands.input_scales)).pack(values)}
