"""Functions of one value on RVV: the bytes of a strip are indices of a load from the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import rvv_base as base
from workloads.codegen.common import loop, split
from workloads.codegen.lookup_tables import BYTES
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs import LookupSpec
    from workloads.isa import InstructionSet

_PLACES, _FOUND = base.vector(8), base.vector(16)


def generate(spec: LookupSpec, isa: InstructionSet) -> Program:
    """Return the Program of a lookup, in strips of eight registers."""
    body: Body = ()
    for first, size, trips in split(spec.elements, base.lanes(isa, 8, 8)):
        at = (("run", size),)
        strip = (
            base.SET_VL,
            Instruction("vle8.v", _PLACES, (Address("input", first, at),), size),
            Instruction("vluxei8.v", _FOUND, (Address("parameters"), _PLACES), size),
            Instruction("vse8.v", Address("output", first, at), (_FOUND,), size),
        )
        body += loop(isa, "run", trips, strip)
    buffers = (
        Buffer("input", spec.elements, role="input"),
        Buffer("parameters", BYTES, role="parameters"),
        Buffer("output", spec.elements, role="output"),
    )
    return Program("lookup", isa, buffers, body, 0, base.PROFILE)
