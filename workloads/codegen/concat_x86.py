"""Concatenation with requantisation on x86 vectors, in float32 as all requantisations there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import concat, x86
from workloads.codegen.common import loop
from workloads.codegen.regions import constants
from workloads.codegen.x86_elementwise import copy
from workloads.program import Instruction

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import ConcatSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Address, Program
    from workloads.tensor import Array

_GROUPS = 4  # vectors per iteration, so that neighbouring chains overlap
_ZERO, _SCALE = _GROUPS + x86.TEMPORARIES, _GROUPS + x86.TEMPORARIES + 1


def table_of(inputs: int, dialect: Dialect) -> Constants:
    """Place the bounds, and a zero point and a scale per input."""
    names = [f"{name}{number}" for number in range(inputs) for name in ("zero", "scale")]
    return constants({**x86.bound_regions(dialect), **dict.fromkeys(names, dialect.vector_bytes)})


def generate(spec: ConcatSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a concatenation."""
    table = table_of(len(spec.shapes), dialect)
    zero, scale = dialect.register(_ZERO), dialect.register(_SCALE)
    spare = [dialect.register(_GROUPS + index) for index in range(x86.TEMPORARIES)]

    def begin(number: int) -> Body:
        places = ((zero, table.address(f"zero{number}")), (scale, table.address(f"scale{number}")))
        return tuple(x86.load(dialect, register, at, dialect.vector_bytes) for register, at in places)

    def emit(target: Address, source: Address, nbytes: int) -> Body:
        body: Body = ()
        for piece in x86.pieces(nbytes, (_GROUPS * dialect.lanes, dialect.lanes), dialect):
            part: Body = ()
            results = []
            for number, first in enumerate(range(0, piece.size, dialect.lanes)):
                size, register = min(dialect.lanes, piece.size), dialect.register(number)
                at = source.plus(piece.offset + first, run=piece.size)
                part += x86.widen(dialect, register, at, size, spare[0])
                prepared = (Instruction("vpsubd", register, (register, zero)), *x86.scaled(register, scale))
                to = target.plus(piece.offset + first, run=piece.size)
                results.append(x86.Result(register, to, size, prepared))
            body += loop(isa, "run", piece.trips, part + x86.finish(dialect, table, results, spare))
        return body

    return concat.generate(spec, isa, x86.PROFILE, copy(isa, dialect), concat.Rescale((), begin, emit), table.nbytes)


def pack(operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the bounds, and each input's zero point and scale."""
    values = x86.offset_bounds(dialect, operands)
    for number, one in enumerate(concat.each_input(operands)):
        values[f"zero{number}"] = np.full(dialect.lanes, one.input_zero_points[0], np.int32)
        values[f"scale{number}"] = np.full(dialect.lanes, effective_scales(one, x86.PROFILE)[0], np.float32)
    return {"parameters": table_of(len(operands.input_scales), dialect).pack(values)}
