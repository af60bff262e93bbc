"""Functions of one value on x86 vectors: sixteen steps, each of which chooses among sixteen bytes of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import x86
from workloads.codegen.common import loop
from workloads.codegen.lookup_tables import STEPS
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.specs import LookupSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet

GROUPS = 4  # vectors that share the load of a step's bytes
_FOUND, _STEP, _BYTES = range(2 * GROUPS, 2 * GROUPS + 3)  # registers after the inputs and the results


def generate(spec: LookupSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a lookup; without masks the last vector may cover some bytes a second time."""
    vector = dialect.vector_bytes
    parts = x86.pieces(spec.elements, (GROUPS * vector, vector), dialect)
    if not dialect.masked and spec.elements > vector and spec.elements % vector:
        parts = [part for part in parts if part.size >= vector]
        parts.append(x86.Piece(spec.elements - vector, vector, 1))
    body: Body = (x86.load(dialect, dialect.register(_STEP), Address("parameters", STEPS * vector), vector),)
    for part in parts:
        body += loop(isa, "run", part.trips, _group(part, dialect))
    buffers = (
        Buffer("input", spec.elements, role="input"),
        Buffer("parameters", (STEPS + 1) * vector, role="parameters"),
        Buffer("output", spec.elements, role="output"),
    )
    return Program("lookup", isa, buffers, body, 0, x86.PROFILE)


def _group(part: x86.Piece, dialect: Dialect) -> Body:
    """Return one iteration: the input rises in steps of 16, is loaded anew, and falls."""
    vector = dialect.vector_bytes
    found, step, table = (dialect.register(each) for each in (_FOUND, _STEP, _BYTES))
    size = min(vector, part.size)
    numbers = range(-(-part.size // vector))
    inputs, results = [dialect.register(n) for n in numbers], [dialect.register(GROUPS + n) for n in numbers]
    places = [Address("input", part.offset + vector * n, (("run", part.size),)) for n in numbers]
    loads = tuple(x86.load(dialect, x, at, size) for x, at in zip(inputs, places, strict=True))
    body: Body = loads
    for number in range(STEPS):
        rises = number < STEPS // 2
        body += loads if number == STEPS // 2 else ()
        body += (x86.load(dialect, table, Address("parameters", number * vector), vector),)
        for x, y in zip(inputs, results, strict=True):
            if number != STEPS // 2:
                body += (Instruction("vpaddb" if rises else "vpsubsb", x, (x, step)),)
            if number == 0:
                body += (Instruction("vpshufb.table", y, (table, x)),)
                continue
            body += (Instruction("vpshufb.table", found, (table, x)), _differ(dialect, y, found))
    for y, at in zip(results, places, strict=True):
        body += x86.store(dialect, y, Address("output", at.offset, at.strides), size)
    return body


def _differ(dialect: Dialect, register: str, other: str) -> Instruction:
    return Instruction("vpxord" if dialect.masked else "vpxor", register, (register, other))
