"""Functions of one value on scalar sets: a byte is loaded, is the place of its result in a table, and is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen.common import Body, loop, split
from workloads.codegen.lookup_tables import BYTES, CENTER
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import LookupSpec

_ADDS, _ADDED = "ldrsb.indexed", "lb.indexed"  # a load that adds an index to its address; one that follows the sum


def generate(spec: LookupSpec, scalar: Scalar) -> Program:
    """Return the Program of a lookup, as many bytes a trip as there are registers for values."""
    isa, space = scalar.isa, scalar.isa.spaces[0]
    before = _ADDED in isa.instructions
    # Where the result of 0 lies in the table, to which the input is added.
    body: Body = (scalar.emit("immediate", scalar.spare, CENTER),) if before else ()
    table = Address("parameters", 0 if before else CENTER)
    for first, size, trips in split(spec.elements, len(scalar.values)):
        part: Body = ()
        for number, value in enumerate(scalar.values[:size]):
            at = Address("input", first + number, (("run", size),))
            part += (scalar.emit("load_byte", value, at),)
            part += (scalar.emit("add", value, value, scalar.spare),) if before else ()
            part += (
                Instruction(_ADDED if before else _ADDS, value, (table, value)),
                scalar.emit("store_byte", Address("output", at.offset, at.strides), value),
            )
        body += loop(isa, "run", trips, part)
    buffers = (
        Buffer("input", spec.elements, space, "input"),
        Buffer("parameters", BYTES, space, "parameters"),
        Buffer("output", spec.elements, space, "output"),
    )
    return Program(f"{isa.name}_lookup", isa, buffers, body, profile=scalar.profile)
