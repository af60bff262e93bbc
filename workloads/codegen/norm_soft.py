"""Layer normalisation on scalar sets without doubles: every double operation of its definition on 32-bit words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import soft_doubles as soft
from workloads.codegen.allocate import Code, Machine, allocated
from workloads.codegen.common import Body, loop
from workloads.codegen.norm_doubles import Doubles, doubles
from workloads.codegen.regions import Constants, constants
from workloads.codegen.soft_doubles import Soft
from workloads.program import Address, Buffer, Instruction, Program, walk

if TYPE_CHECKING:
    from workloads.codegen.allocate import Word
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.soft_doubles import Pair
    from workloads.codegen.specs_rows import LayerNormSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

# Words of a row that stay in memory; those that registers have no room for follow them.
_FRAME = (
    "sum", "squares", "high", "low", "exponent", "inverse_high", "inverse_low", "rest_high", "rest_low", "root_high",
    "root_low", "value_high", "value_low",
)  # fmt: skip
_COLUMN = ("scale_sign", "scale", "scale_exponent", "shift_sign", "shift_high", "shift_low", "shift_exponent")
_LAYER = (
    "epsilon_high", "epsilon_low", "epsilon_exponent", "output_high", "output_low", "output_exponent", "inverse_high",
    "inverse_low", "zero_point", "low", "high",
)  # fmt: skip
_ROOT_BITS, _INVERSE_BITS = 55, 64


def table_of(spec: LayerNormSpec) -> Constants:
    """Place the words of the layer and those of the columns."""
    return constants({"layer": 4 * len(_LAYER), "columns": 4 * len(_COLUMN) * spec.columns})


def generate(spec: LayerNormSpec, scalar: Scalar) -> Program:
    """Return the Program of a normalisation of rows."""
    isa, space, table = scalar.isa, scalar.isa.spaces[0], table_of(spec)
    machine = machine_of(scalar)

    def made(code: Code) -> Body:
        return allocated(code, machine, lambda number: Address("frame", 4 * (len(_FRAME) + number)))

    row = _sums(spec, scalar, machine) + made(_variance(spec, table)) + loop(isa, "bit", _ROOT_BITS, made(_root_bit()))
    row += made(_deviation()) + loop(isa, "bit", _INVERSE_BITS, made(_inverse_bit()))
    row += loop(isa, "column", spec.columns, made(_result(spec, table)))
    buffers = (
        Buffer("input", spec.rows * spec.columns, space, "input"),
        Buffer("parameters", table.nbytes, space, "parameters"),
        Buffer("frame", _frame_bytes(row), space),
        Buffer("output", spec.rows * spec.columns, space, "output"),
    )
    body = loop(isa, "row", spec.rows, row)
    return Program(f"{isa.name}_layer_norm", isa, buffers, body, profile=scalar.profile)


def _frame_bytes(body: Body) -> int:
    """Return the bytes that statements touch of the frame. [B]"""
    operands = (operand for one, _ in walk(body) for operand in (one.destination, *one.sources))
    return max(one.offset + 4 for one in operands if isinstance(one, Address) and one.buffer == "frame")


def _frame(name: str) -> Address:
    return Address("frame", 4 * _FRAME.index(name))


def _sums(spec: LayerNormSpec, scalar: Scalar, machine: Machine) -> Body:
    """Add up the elements of a row and their squares."""
    total, squares, value, product = machine.registers[:4]
    body: Body = (scalar.emit("immediate", total, 0), scalar.emit("immediate", squares, 0))
    body += loop(scalar.isa, "column", spec.columns, (
        scalar.emit("load_byte", value, Address("input", 0, (("row", spec.columns), ("column", 1)))),
        scalar.emit("multiply", product, value, value),
        scalar.emit("add", total, total, value),
        scalar.emit("add", squares, squares, product),
    ))  # fmt: skip
    return (
        *body,
        scalar.emit("store_word", _frame("sum"), total),
        scalar.emit("store_word", _frame("squares"), squares),
    )


def _pair(c: Code, name: str) -> Pair:
    return c.load(_frame(f"{name}_high")), c.load(_frame(f"{name}_low"))


def _keep(c: Code, name: str, pair: Pair) -> None:
    for word, part in zip(pair, ("high", "low"), strict=True):
        c.store(word, _frame(f"{name}_{part}"))


def _variance(spec: LayerNormSpec, table: Constants) -> Code:
    """Leave n**2 times the variance and epsilon, shifted to the top of 64 bits, and what begins its root."""
    c = Code()
    total, squares, count = c.load(_frame("sum")), c.load(_frame("squares")), c.number(spec.columns)
    sign = c.do("signs", total, 31)
    magnitude = c.do("subtract", c.do("xor", total, sign), sign)
    first = c.do("high", squares, count), c.do("multiply", squares, count)
    spread = soft.minus(c, first, (c.do("high", magnitude, magnitude), c.do("multiply", magnitude, magnitude)))
    mantissa, right = soft.normal(c, spread)
    positive = c.number(0)
    variance = soft.summed(
        c, Soft(positive, mantissa, soft.exponent_of(c, right, mantissa)),
        Soft(positive, _layer_pair(c, table, "epsilon"), c.load(_layer(table, "epsilon_exponent"))),
    )  # fmt: skip
    # A root halves the exponent, which an odd one takes a bit from the mantissa for.
    odd = c.do("and", variance.exponent, c.number(1))
    high, low = soft.doubled_left(c, variance.mantissa, 10)
    high = c.do("or", c.do("left_by", high, odd), c.do("and", c.do("right", low, 31), odd))
    _keep(c, "value", (high, c.do("left_by", low, odd)))
    half = c.do("signs", c.do("subtract", variance.exponent, odd), 1)
    c.store(c.do("subtract", half, c.number(28)), _frame("exponent"))
    for name in ("rest", "root"):
        _keep(c, name, (c.number(0), c.number(0)))
    return c


def _layer(table: Constants, name: str) -> Address:
    return table.address("layer", 4 * _LAYER.index(name))


def _layer_pair(c: Code, table: Constants, name: str) -> Pair:
    return c.load(_layer(table, f"{name}_high")), c.load(_layer(table, f"{name}_low"))


def _root_bit() -> Code:
    """Find one more bit of a root: whether four times the root and one fits into what is left."""
    c = Code()
    value, rest, root = (_pair(c, name) for name in ("value", "rest", "root"))
    high, low = soft.doubled_left(c, rest, 2)
    more = high, c.do("or", low, c.do("right", value[0], 30))
    high, low = soft.doubled_left(c, root, 2)
    left = soft.minus(c, more, (high, c.do("or", low, c.number(1))))
    fits = c.do("xor", c.do("signs", left[0], 31), c.number(-1))
    high, low = soft.doubled_left(c, root, 1)
    found = high, c.do("or", low, c.do("right", fits, 31))
    kept = soft.chosen(c, more[0], left[0], fits), soft.chosen(c, more[1], left[1], fits)
    moved = soft.doubled_left(c, value, 2)
    for name, pair in (("value", moved), ("rest", kept), ("root", found)):
        _keep(c, name, pair)
    return c


def _deviation() -> Code:
    """Round the root to a mantissa, and begin its reciprocal."""
    c = Code()
    (high, low), rest = _pair(c, "root"), _pair(c, "rest")
    mantissa, right = soft.rounded(c, (high, c.do("or", low, soft.some(c, c.do("or", *rest)))))
    exponent = c.do("add", c.load(_frame("exponent")), right)
    c.store(mantissa[0], _frame("high"))
    c.store(mantissa[1], _frame("low"))
    c.store(exponent, _frame("exponent"))
    _keep(c, "rest", (c.number((1 << 20) - 1), c.number(-1)))
    return c


def _inverse_bit() -> Code:
    """Find one more bit of a reciprocal, by long division of ones."""
    c = Code()
    divisor = c.load(_frame("high")), c.load(_frame("low"))
    high, low = soft.doubled_left(c, _pair(c, "rest"), 1)
    more = high, c.do("or", low, c.number(1))
    left = soft.minus(c, more, divisor)
    fits = c.do("xor", c.do("signs", left[0], 31), c.number(-1))
    high, low = soft.doubled_left(c, _pair(c, "inverse"), 1)
    found = high, c.do("or", low, c.do("right", fits, 31))
    kept = soft.chosen(c, more[0], left[0], fits), soft.chosen(c, more[1], left[1], fits)
    _keep(c, "inverse", found)
    _keep(c, "rest", kept)
    return c


def _result(spec: LayerNormSpec, table: Constants) -> Code:
    """Compute one element of a row."""
    c = Code()
    at = (("row", spec.columns), ("column", 1))

    def column(name: str) -> Word:
        return c.load(table.address("columns", 4 * _COLUMN.index(name), column=4 * len(_COLUMN)))

    value = c.do("multiply", c.do("load_byte", Address("input", 0, at)), c.number(spec.columns))
    value = c.do("subtract", value, c.load(_frame("sum")))
    positive = c.number(0)
    deviation = Soft(positive, (c.load(_frame("high")), c.load(_frame("low"))), c.load(_frame("exponent")))
    found = soft.divided_integer(c, value, deviation, _pair(c, "inverse"))
    found = soft.scaled(c, found, column("scale_sign"), column("scale"), column("scale_exponent"))
    shift = Soft(column("shift_sign"), (column("shift_high"), column("shift_low")), column("shift_exponent"))
    found = soft.summed(c, found, shift)
    scale = Soft(positive, _layer_pair(c, table, "output"), c.load(_layer(table, "output_exponent")))
    number = soft.whole(c, soft.divided(c, found, scale, _layer_pair(c, table, "inverse")))
    number = c.do("add", number, c.load(_layer(table, "zero_point")))
    number = c.do("minimum", c.do("maximum", number, c.load(_layer(table, "low"))), c.load(_layer(table, "high")))
    c.do("store_byte", number, Address("output", 0, at))
    return c


def machine_of(scalar: Scalar) -> Machine:
    """Return how a scalar set writes operations on words."""
    thumb = scalar.isa.name == "thumb2-dsp"
    named = {
        "add": "add", "subtract": "sub", "multiply": "mul", "and": "and", "or": "orr" if thumb else "or",
        "xor": scalar.op["xor"], "left": scalar.op["shift_left"], "right": "lsr" if thumb else "srli",
        "signs": scalar.op["shift_right"], "left_by": "lsl" if thumb else "sll", "right_by": "lsr" if thumb else "srl",
        "high": "mulhu", "zeros": "clz", "less": "sltu",
    }  # fmt: skip
    moved = {"load": "load_word", "load_byte": "load_byte", "immediate": "immediate"}

    def emit(role: str, destination: str, operands: tuple[str | int | Address, ...]) -> Body:
        if role.startswith("store"):
            word, address = operands
            if not isinstance(address, Address):
                raise TypeError(f"{role} needs an address")
            return (scalar.emit("store_word" if role == "store" else role, address, word),)
        if role in moved:
            return (scalar.emit(moved[role], destination, *operands),)
        if role in ("minimum", "maximum"):
            value, limit = map(str, operands)
            return (scalar.emit("move", destination, value), *scalar.bound(role, destination, limit))
        if thumb and role == "high":
            return Instruction("umull", "r10", operands), Instruction("mov", destination, ("r11",))
        if thumb and role == "less":
            compared = (
                Instruction("cmp", None, operands),
                Instruction("it"),
                Instruction("movlo", destination, operands),
            )
            return (Instruction("mov", destination, (0,)), *compared)
        if role == "zeros" and not thumb:
            return _zeros_rv32(destination, str(operands[0]))
        return (Instruction(named[role], destination, operands),)

    apart = frozenset(("less", "minimum", "maximum", "zeros"))
    if thumb:
        return Machine((*(f"r{number}" for number in range(10)), "r12", "r14"), emit, apart)
    return Machine(tuple(f"x{number}" for number in (*range(5, 21), *range(25, 30))), emit, apart)


def _zeros_rv32(destination: str, value: str) -> Body:
    """Count zero bits from the top, 31 of zero: shift left by 16, 8, 4, 2, 1 wherever as many are zero."""
    left, step = "x30", "x31"
    body: Body = (Instruction("li", destination, (0,)), Instruction("mv", left, (value,)))
    for place in reversed(range(5)):
        body += (
            Instruction("li", step, ((1 << (32 - (1 << place))) if place else -(1 << 31),)),
            Instruction("sltu", step, (left, step)),
            Instruction("slli", step, (step, place)),
            Instruction("sll", left, (left, step)),
            Instruction("add", destination, (destination, step)),
        )
    return body


def pack(spec: LayerNormSpec, operands: Operands) -> dict[str, Array]:
    """Return the constants as words.

    Raises
    ------
    ValueError
        A scale has more bits than single precision.
    """
    own = doubles(spec, operands)
    return {"parameters": table_of(spec).pack({"layer": _layer_words(own, operands), "columns": _column_words(own)})}


def _words(*values: int) -> list[int]:
    """Return 64-bit numbers as high and low words."""
    return [word for value in values for word in (value >> 32, value & 0xFFFFFFFF)]


def _as_int32(words: object) -> Array:
    """Return words as int32, whatever their sign."""
    return (np.array(words, np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def _layer_words(own: Doubles, operands: Operands) -> Array:
    """Return the words of the layer."""
    _, epsilon, epsilon_exponent = soft.unpacked(own.epsilon)
    _, output, output_exponent = soft.unpacked(own.output_scale)
    return _as_int32([
        *_words(epsilon), epsilon_exponent, *_words(output), output_exponent, *_words(soft.reciprocal(output)),
        operands.output_zero_point, operands.low, operands.high,
    ])  # fmt: skip


def _column_words(own: Doubles) -> Array:
    """Return the words of the columns; scales are of single precision, so that 29 bits of their mantissas are zero."""
    found = []
    for scale, shift in zip(own.scale.tolist(), own.shift.tolist(), strict=True):
        sign, mantissa, exponent = soft.unpacked(scale)
        if mantissa % (1 << 29):
            raise ValueError(f"scale {scale!r} is not of single precision")
        other, long, power = soft.unpacked(shift)
        found.append([sign, mantissa >> 29, exponent + 29, other, *_words(long), power])
    return _as_int32(found)
