"""Softmax on RVV: the fixed-point steps over strips of 32-bit lanes; a row's maximum and sum are folded in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import rvv_base as base
from workloads.codegen import softmax_words as words
from workloads.codegen.common import loop, split
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs import SoftmaxSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

GROUP = 2  # registers of a word: nine words and the bytes take ten groups of sixteen
_BYTES, _LARGEST = base.vector(18), base.vector(20)
_MAXIMUM, _INVERSE, _AMOUNT, _SPARE = "x5", "x6", "x7", "x8"
_OFTEN = (
    "one", "largest", "exp_of_eighth", *(f"power_{place}" for place in range(7)), "third", "multiplier", "shift",
    "smallest", "fraction", "quarter", "eighth", "lowest", "highest",
)  # fmt: skip
_HELD = {name: f"x{number}" for number, name in enumerate(_OFTEN, 9)}
_INSTRUCTIONS = {"add": "vadd", "subtract": "vsub", "and": "vand", "xor": "vxor", "high": "vsmul", "left_by": "vsll"}
_SHIFTS = {"left": "vsll.vi.e32", "right": "vsra.vi.e32"}


def generate(spec: SoftmaxSpec, isa: InstructionSet) -> Program:
    """Return the Program of a softmax over rows.

    Raises
    ------
    NotImplementedError
        The rows are too long for the sum to fit a word.
    """
    if spec.columns > words.MOST_COLUMNS:
        raise NotImplementedError(f"{isa.name}: softmax over {spec.columns} columns; at most {words.MOST_COLUMNS}")
    lanes = _power_of_two(min(base.lanes(isa, GROUP), spec.columns))
    body = _maximum(spec, isa) + _exponentials(spec, isa, lanes) + _sum(spec, isa, lanes) + _inverse()
    body += _shares(spec, isa, lanes)
    constants = tuple(Instruction("lw", register, (_constant(name),)) for name, register in _HELD.items())
    buffers = (
        Buffer("input", spec.rows * spec.columns, role="input"),
        Buffer("parameters", words.PARAMETER_BYTES, role="parameters"),
        Buffer("exponentials", 4 * -(-spec.columns // lanes) * lanes),
        Buffer("fold", max(4 * lanes, _byte_lanes(isa))),
        Buffer("output", spec.rows * spec.columns, role="output"),
    )
    nest = (base.ROUND_HALF_UP, *constants, *loop(isa, "row", spec.rows, body))
    return Program("softmax", isa, buffers, nest, 0, base.PROFILE)


def pack(operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a softmax."""
    return {"parameters": words.pack(operands)}


def _constant(name: str) -> Address:
    return Address("parameters", 4 * words.NAMES.index(name))


def _byte_lanes(isa: InstructionSet) -> int:
    """Bytes of the group that takes the maximum of a row."""
    return base.lanes(isa, GROUP, 8)


def _power_of_two(most: int) -> int:
    """Return the largest power of two up to ``most``: groups of as many lanes fold in halves."""
    return 1 << (most.bit_length() - 1)


def _maximum(spec: SoftmaxSpec, isa: InstructionSet) -> Body:
    """Leave the largest byte of a row in a scalar register; the last strip overlaps the one before."""
    at = Address("input", 0, (("row", spec.columns),))
    lanes = _power_of_two(min(_byte_lanes(isa), spec.columns))
    body: Body = (base.SET_VL, Instruction("vle8.v", _LARGEST, (at,), lanes))
    whole, rest = divmod(spec.columns, lanes)
    for first, trips in ((lanes, whole - 1), (spec.columns - lanes, min(rest, 1))):
        strip = (
            base.SET_VL,
            Instruction("vle8.v", _BYTES, (at.plus(first, strip=lanes),), lanes),
            Instruction("vmax.vv.e8", _LARGEST, (_LARGEST, _BYTES), lanes),
        )
        body += loop(isa, "strip", trips, strip)
    fold = Address("fold")
    while lanes > 1:
        half = lanes // 2
        body += (
            base.SET_VL,
            Instruction("vse8.v", fold, (_LARGEST,), lanes),
            base.SET_VL,
            Instruction("vle8.v", _BYTES, (fold.plus(half),), half),
            Instruction("vmax.vv.e8", _LARGEST, (_LARGEST, _BYTES), half),
        )
        lanes = half
    return (*body, base.SET_VL, Instruction("vse8.v", fold, (_LARGEST,), 1), Instruction("lb", _MAXIMUM, (fold,)))


def _exponentials(spec: SoftmaxSpec, isa: InstructionSet, lanes: int) -> Body:
    """Store the exponentials of a row, and zeros up to whole groups."""
    at, kept = Address("input", 0, (("row", spec.columns),)), Address("exponentials")
    body: Body = ()
    if spec.columns % lanes:
        w = _words(lanes)
        last = kept.plus(4 * (spec.columns // lanes) * lanes)
        body += (base.SET_VL, *w.word(w.result, "zero"), Instruction("vse32.v", last, (w.result,), lanes))
    for first, size, trips in split(spec.columns, lanes):
        w = _words(size)
        strip: Body = (
            base.SET_VL,
            Instruction("vle8.v", _BYTES, (at.plus(first, strip=size),), size),
            Instruction("vsext.vf4.e32", w.value, (_BYTES,), size),
            Instruction("vsub.vx.e32", w.value, (w.value, _MAXIMUM), size),
            *words.exponential(w),
            Instruction("vse32.v", kept.plus(4 * first, strip=4 * size), (w.result,), size),
        )
        body += loop(isa, "strip", trips, strip)
    return body


def _sum(spec: SoftmaxSpec, isa: InstructionSet, lanes: int) -> Body:
    """Add up the exponentials of a row in one lane."""
    w, kept = _words(lanes), Address("exponentials", 0, (("group", 4 * lanes),))
    body: Body = (base.SET_VL, *w.word(w.total, "zero"))
    group = (Instruction("vle32.v", w.result, (kept,), lanes), *words.accumulate(w))
    body += loop(isa, "group", -(-spec.columns // lanes), group)
    fold = Address("fold")
    while lanes > 1:
        half = lanes // 2
        w = _words(half)
        body += (
            base.SET_VL,
            Instruction("vse32.v", fold, (w.total,), lanes),
            base.SET_VL,
            Instruction("vle32.v", w.other, (fold.plus(4 * half),), half),
            *w.emit("add", w.total, w.total, w.other),
        )
        lanes = half
    return body


def _inverse() -> Body:
    """Bring the reciprocal of the sum, and the bits to shift by, to scalar registers."""
    w, fold = _words(1), Address("fold")
    return (
        base.SET_VL,
        *words.reciprocal(w),
        Instruction("vse32.v", fold, (w.result,), 1),
        Instruction("vse32.v", fold.plus(4), (w.rest,), 1),
        Instruction("lw", _INVERSE, (fold,)),
        Instruction("lw", _AMOUNT, (fold.plus(4),)),
    )


def _shares(spec: SoftmaxSpec, isa: InstructionSet, lanes: int) -> Body:
    """Turn the exponentials of a row into bytes."""
    body: Body = ()
    for first, size, trips in split(spec.columns, lanes):
        w = _words(size)
        target = Address("output", first, (("row", spec.columns), ("strip", size)))
        strip = (
            base.SET_VL,
            Instruction("vle32.v", w.other, (Address("exponentials", 4 * first, (("strip", 4 * size),)),), size),
            *words.share(w, w.other, _INVERSE, _AMOUNT),
            base.SET_VL,
            Instruction("vnclip.wi.e16", w.other, (w.other, 0), size),
            base.SET_VL,
            Instruction("vnclip.wi.e8", w.other, (w.other, 0), size),
            Instruction("vse8.v", target, (w.other,), size),
        )
        body += loop(isa, "strip", trips, strip)
    return body


def _words(count: int) -> words.Words:
    """Return how the set computes on ``count`` lanes of its groups."""

    def emit(role: str, destination: str, a: str, b: str | int) -> Body:
        if isinstance(b, int):
            return (Instruction(_SHIFTS[role], destination, (a, b), count),)
        if role == "right_by":  # of numbers that are not negative
            return (Instruction("vsrl.vx.e32", destination, (a, b), count),)
        if role == "minimum":
            return (Instruction("vmin.vx.e32", destination, (a, b), count),)
        form = "vx" if b.startswith("x") else "vv"
        return (Instruction(f"{_INSTRUCTIONS[role]}.{form}.e32", destination, (a, b), count),)

    def constant(name: str) -> tuple[Body, str]:
        if name in _HELD:
            return (), _HELD[name]
        return (Instruction("lw", _SPARE, (_constant(name),)),), _SPARE

    def word(destination: str, name: str) -> Body:
        before, operand = constant(name)
        return (*before, Instruction("vmv.v.x.e32", destination, (operand,), count))

    value, rest, x, square, other, mask, result, dropped, total = (base.vector(GROUP * number) for number in range(9))
    return words.Words(value, rest, x, square, other, mask, result, dropped, total, 31, emit, constant, word)
