"""Bilinear resizing on x86 vectors: weights in all lanes, sums of 32 bits, a few vectors a trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import resize, x86
from workloads.codegen.common import loop
from workloads.codegen.regions import constants
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workloads.codegen.regions import Constants
    from workloads.codegen.specs_images import ResizeSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.program import Program
    from workloads.tensor import Array

_GROUPS = 4  # vectors per iteration, so that neighbouring chains overlap
_FRONT, _AFTER, _HALF, _HALVES, _SPARE = range(2 * _GROUPS, 2 * _GROUPS + 5)  # registers after the sums


def table_of(spec: ResizeSpec, dialect: Dialect) -> Constants:
    """Place the weights, half of the last bit kept, and what narrows lanes."""
    names = ("half",) if dialect.masked else ("half", "bytes_of_lanes", "halves")
    return constants({"weights": resize.words(spec).nbytes, **dict.fromkeys(names, dialect.vector_bytes)})


def generate(spec: ResizeSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a bilinear resize; a sum less one below zero rounds half away from it."""
    table, vector = table_of(spec, dialect), dialect.vector_bytes
    front, after, half, halves, spare = (
        dialect.register(number) for number in (_FRONT, _AFTER, _HALF, _HALVES, _SPARE)
    )

    def weights(at: Address) -> Body:
        places = ((front, at), (after, at.plus(resize.WORD)))
        return tuple(Instruction("vpbroadcastd.load", register, (place,)) for register, place in places)

    def mixed(total: str, other: str) -> Body:
        return (
            Instruction("vpmulld", total, (total, front)),
            Instruction("vpmulld", other, (other, after)),
            Instruction("vpaddd", total, (total, other)),
        )

    def down(at: Address, upper: Address, lower: Address) -> Body:
        def group(place: int, count: int, size: int, total: str, other: str) -> Body:
            target = Address("line", resize.WORD * place).plus(run=resize.WORD * size)
            return (
                *x86.widen(dialect, total, upper.plus(place, run=size), count, spare),
                *x86.widen(dialect, other, lower.plus(place, run=size), count, spare),
                *mixed(total, other),
                *x86.store(dialect, total, target, vector),
            )

        return weights(at) + _each(spec.width * spec.channels, isa, dialect, group)

    def across(pixels: Sequence[resize.Pixel]) -> Body:
        (pixel,) = pixels

        def group(place: int, count: int, size: int, total: str, other: str) -> Body:
            sides = [side.plus(resize.WORD * place, run=resize.WORD * size) for side in (pixel.left, pixel.right)]
            return (
                x86.load(dialect, total, sides[0], vector),
                x86.load(dialect, other, sides[1], vector),
                *mixed(total, other),
                Instruction("vpsrad", other, (total, 31)),
                Instruction("vpaddd", total, (total, half)),
                Instruction("vpaddd", total, (total, other)),
                Instruction("vpsrad", total, (total, resize.SHIFT)),
                *_narrowed(dialect, table, total, other, halves),
                *x86.store(dialect, total, pixel.output.plus(place, run=size), count),
            )

        return weights(pixel.weights) + _each(spec.channels, isa, dialect, group)

    held = {"half": half} if dialect.masked else {"half": half, "halves": halves}
    head = tuple(x86.load(dialect, register, table.address(name), vector) for name, register in held.items())
    return resize.generate(spec, isa, x86.PROFILE, resize.Kit(head, down, across, table.nbytes, vector))


def _narrowed(dialect: Dialect, table: Constants, total: str, spare: str, halves: str) -> Body:
    """Bring lanes, which fit bytes, to the low bytes of a register."""
    if dialect.masked:
        return (Instruction("vpmovsdb", total, (total,)),)
    return (
        Instruction("vpshufb", spare, (total, table.address("bytes_of_lanes"))),
        Instruction("vpermd", total, (spare, halves)),
    )


def _each(
    elements: int, isa: InstructionSet, dialect: Dialect, group: Callable[[int, int, int, str, str], Body]
) -> Body:
    """Emit a run: (first element, elements, elements a trip, two registers) of each vector."""
    body: Body = ()
    for piece in x86.pieces(elements, (_GROUPS * dialect.lanes, dialect.lanes), dialect):
        part: Body = ()
        for number, first in enumerate(range(0, piece.size, dialect.lanes)):
            registers = (dialect.register(2 * number), dialect.register(2 * number + 1))
            part += group(piece.offset + first, min(dialect.lanes, piece.size), piece.size, *registers)
        body += loop(isa, "run", piece.trips, part)
    return body


def pack(spec: ResizeSpec, dialect: Dialect) -> dict[str, Array]:
    """Return the constants."""
    values = x86.bound_values(dialect, 0, 0, 0)
    values = {name: value for name, value in values.items() if name in ("bytes_of_lanes", "halves")}
    values |= {"weights": resize.words(spec), "half": np.full(dialect.lanes, resize.HALF, np.int32)}
    return {"parameters": table_of(spec, dialect).pack(values)}
