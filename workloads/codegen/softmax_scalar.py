"""Softmax on scalar sets: a pass for the maximum, one for the exponentials and their sum, one for the shares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.codegen import softmax_words as words
from workloads.codegen.common import Body, loop
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import SoftmaxSpec
    from workloads.operands import Operands
    from workloads.tensor import Array


@dataclass(frozen=True)
class Set:
    """What a scalar set adds to its ``Scalar`` for softmax.

    Parameters
    ----------
    registers
        Of the nine words of ``Words``, in its order, and of the maximum.
    held
        Registers for constants that stay, most used first; the others pass through ``spare``.
    spare
        A register for a constant.
    before
        Loads what ``high`` needs.
    high
        The rounded high half of the doubled product of two registers.
    logical_and, left_by, right_by
        Mnemonics.
    """

    registers: tuple[str, ...]
    held: tuple[str, ...]
    spare: str
    before: Body
    high: Callable[[str, str, str], Body]
    logical_and: str
    left_by: str
    right_by: str


_ROLES = {"add": "add", "subtract": "subtract", "xor": "xor", "left": "shift_left", "right": "shift_right"}
_OFTEN = (
    "one", "largest", "exp_of_eighth", *(f"power_{place}" for place in range(7)), "third", "multiplier", "shift",
    "smallest", "fraction", "quarter", "eighth",
)  # fmt: skip


def generate(spec: SoftmaxSpec, scalar: Scalar) -> Program:
    """Return the Program of a softmax over rows.

    Raises
    ------
    NotImplementedError
        The rows are too long for the sum to fit a word.
    """
    if spec.columns > words.MOST_COLUMNS:
        raise NotImplementedError(
            f"{scalar.isa.name}: softmax over {spec.columns} columns; at most {words.MOST_COLUMNS}"
        )
    isa, space, own = scalar.isa, scalar.isa.spaces[0], _SETS[scalar.isa.name]
    held = dict(zip(_OFTEN, own.held, strict=False))
    w, largest = _words(scalar, own, held), own.registers[-1]
    at = Address("input", 0, (("row", spec.columns), ("column", 1)))
    kept = Address("exponentials", 0, (("column", 4),))
    first = Address("input", 0, (("row", spec.columns),))
    body: Body = (scalar.emit("load_byte", largest, first),)
    body += loop(isa, "column", spec.columns, (
        scalar.emit("load_byte", w.value, at), *scalar.bound("maximum", largest, w.value)
    ))  # fmt: skip
    body += w.word(w.total, "zero")
    body += loop(isa, "column", spec.columns, (
        scalar.emit("load_byte", w.value, at), *w.emit("subtract", w.value, w.value, largest), *words.exponential(w),
        scalar.emit("store_word", kept, w.result), *words.accumulate(w),
    ))  # fmt: skip
    body += words.reciprocal(w)
    body += loop(isa, "column", spec.columns, (
        scalar.emit("load_word", w.other, kept), *words.share(w, w.other, w.result, w.rest),
        scalar.emit("store_byte", replace(at, buffer="output"), w.other),
    ))  # fmt: skip
    constants = tuple(scalar.emit("load_word", register, _constant(name)) for name, register in held.items())
    buffers = (
        Buffer("input", spec.rows * spec.columns, space, "input"),
        Buffer("parameters", words.PARAMETER_BYTES, space, "parameters"),
        Buffer("exponentials", 4 * spec.columns, space),
        Buffer("output", spec.rows * spec.columns, space, "output"),
    )
    nest = (*own.before, *constants, *loop(isa, "row", spec.rows, body))
    return Program(f"{isa.name}_softmax", isa, buffers, nest, profile=scalar.profile)


def pack(operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a softmax."""
    return {"parameters": words.pack(operands)}


def _constant(name: str) -> Address:
    return Address("parameters", 4 * words.NAMES.index(name))


def _words(scalar: Scalar, own: Set, held: Mapping[str, str]) -> words.Words:
    """Return how the set computes on its registers."""

    def emit(role: str, destination: str, a: str, b: str | int) -> Body:
        if role == "high":
            return own.high(destination, a, str(b))
        if role == "minimum":
            return scalar.bound("minimum", destination, str(b))
        named = {"and": own.logical_and, "left_by": own.left_by, "right_by": own.right_by}
        return (Instruction(named.get(role) or scalar.op[_ROLES[role]], destination, (a, b)),)

    def constant(name: str) -> tuple[Body, str]:
        if name in held:
            return (), held[name]
        return (scalar.emit("load_word", own.spare, _constant(name)),), own.spare

    def word(destination: str, name: str) -> Body:
        return (scalar.emit("load_word", destination, _constant(name)),)

    value, rest, x, square, other, mask, result, dropped, total, _ = own.registers
    return words.Words(
        value, rest, x, square, other, mask, result, dropped, total, scalar.sign_shift, emit, constant, word
    )


def _high_thumb2(destination: str, a: str, b: str) -> Body:
    """Accumulate the product onto half of the last bit and take the 32 bits from bit 31 on."""
    low, high = "r10", "r11"
    return (
        Instruction("mov", low, (1 << 30,)),
        Instruction("mov", high, (0,)),
        Instruction("smlal", low, (a, b)),
        Instruction("lsr", low, (low, 31)),
        Instruction("lsl", high, (high, 1)),
        Instruction("orr", destination, (high, low)),
    )


def _high_rv64(destination: str, a: str, b: str) -> Body:
    """Multiply in 64 bits and add half of the last bit."""
    return (
        Instruction("mul", destination, (a, b)),
        Instruction("add", destination, (destination, "x30")),
        Instruction("srai", destination, (destination, 31)),
    )


def _high_rv32(destination: str, a: str, b: str) -> Body:
    """Multiply both halves and add half of the last bit with its carry."""
    low, high, carry = "x21", "x22", "x23"
    return (
        Instruction("mulh", high, (a, b)),
        Instruction("mul", low, (a, b)),
        Instruction("add", low, (low, "x30")),
        Instruction("sltu", carry, (low, "x30")),
        Instruction("add", high, (high, carry)),
        Instruction("srli", low, (low, 31)),
        Instruction("slli", high, (high, 1)),
        Instruction("or", destination, (high, low)),
    )


_RISC_V = tuple(f"x{number}" for number in range(5, 15))
_SETS = {
    "thumb2-dsp": Set(
        (*(f"r{number}" for number in range(9)), "r12"), (), "r9", (), _high_thumb2, "and", "lsl", "asr",
    ),
    "rv64gc": Set(
        _RISC_V, tuple(f"x{number}" for number in range(15, 30)), "x31", (Instruction("li", "x30", (1 << 30,)),),
        _high_rv64, "and", "sll", "sra",
    ),
    "rv64im": Set(
        _RISC_V, tuple(f"x{number}" for number in range(15, 30) if number != 20), "x31",
        (Instruction("li", "x30", (1 << 30,)),), _high_rv64, "and", "sll", "sra",
    ),
    "rv32im": Set(
        _RISC_V, ("x15", "x16", "x17", "x18", "x19", "x20", "x25", "x26", "x27", "x28", "x29"), "x31",
        (Instruction("li", "x30", (1 << 30,)),), _high_rv32, "and", "sll", "sra",
    ),
}  # fmt: skip
