"""What each VSETVLI of a Program sets: element width, register group and length, from the instructions that follow."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from workloads.program import Instruction, Loop, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.program import Program, Statement

_WIDTH = re.compile(r"v.*\.e(\d+)")
_MEMORY = re.compile(r"v[ls]e(\d+)\.v")


def typed(program: Program) -> Program:
    """Return a Program whose VSETVLI name SEW, LMUL and vl; one before no vector instruction stays as it is."""
    flat = [instruction for instruction, _ in walk(program.body)]
    starts = [place for place, instruction in enumerate(flat) if instruction.op == "vsetvli"]
    runs = zip(starts, [*starts[1:], len(flat)], strict=True)
    types = iter([_type(flat[start + 1 : end], program.isa.parameters["vlen"]) for start, end in runs])
    return replace(program, body=_replaced(program.body, types))


def _type(run: list[Instruction], vlen: int) -> Instruction:
    """Return the VSETVLI of a run: the smallest group that holds its lanes."""
    vectors = [instruction for instruction in run if instruction.op.startswith("v")]
    widths = [int(match[1]) for one in vectors if (match := _WIDTH.fullmatch(one.op) or _MEMORY.fullmatch(one.op))]
    exact = [int(match[1]) for one in vectors if (match := _WIDTH.fullmatch(one.op))]
    if not widths or vectors[0].count is None:
        return Instruction("vsetvli")
    width, lanes = (exact or widths)[0], vectors[0].count
    group = Fraction(1 << (lanes * width - 1).bit_length(), vlen)
    group = max(group, Fraction(width, 64))
    name = f"m{group}" if group >= 1 else f"mf{1 / group}"
    return Instruction("vsetvli", None, (f"e{width}", name), lanes)


def _replaced(body: tuple[Statement, ...], types: Iterator[Instruction]) -> tuple[Statement, ...]:
    """Return a body with each VSETVLI replaced by the next of ``types``."""
    return tuple(
        Loop(item.variable, item.trips, _replaced(item.body, types))
        if isinstance(item, Loop)
        else next(types)
        if item.op == "vsetvli"
        else item
        for item in body
    )
