"""Statements of one kernel as a part of another: what its buffers are there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from workloads.program import Address, Instruction, Loop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.codegen.common import Body

T = TypeVar("T")


def placed(body: Body, places: Mapping[str, Address]) -> Body:
    """Return ``body`` with each buffer that ``places`` names lying at the address given for it."""
    return tuple(
        Loop(item.variable, item.trips, placed(item.body, places)) if isinstance(item, Loop) else _placed(item, places)
        for item in body
    )


def _placed(instruction: Instruction, places: Mapping[str, Address]) -> Instruction:
    """Place the operands of one instruction."""
    sources = tuple(_operand(source, places) for source in instruction.sources)
    return replace(instruction, destination=_operand(instruction.destination, places), sources=sources)


def _operand(operand: T, places: Mapping[str, Address]) -> T:
    """Place an operand; what is no address in such a buffer stays as it is."""
    if not isinstance(operand, Address) or operand.buffer not in places:
        return operand
    to = places[operand.buffer]
    return replace(operand, buffer=to.buffer, offset=to.offset + operand.offset, strides=to.strides + operand.strides)
