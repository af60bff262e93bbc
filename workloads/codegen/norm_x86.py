"""Layer normalisation on x86 vectors: sums in integers, the rest in doubles, half as many lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import x86
from workloads.codegen.common import loop
from workloads.codegen.norm_doubles import check_columns, doubles
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs_rows import LayerNormSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

# Numbers of registers; runs are copied through those from VALUE on.
SUM, SQUARES, DEVIATION, COUNT, SCALE, LOW, HIGH, VALUE, SPARE, ONES = range(10)
_REAL = ("epsilon", "tiny", "output_scale", "low", "high", "columns")


def table_of(spec: LayerNormSpec, dialect: Dialect) -> Constants:
    """Place vectors of the constants, and those of the columns as doubles."""
    vector = dialect.vector_bytes
    names = ("ones", "count", "zero_point", *_REAL, *(() if dialect.masked else ("bytes_of_lanes",)))
    columns = 8 * _padded(spec, dialect)
    return constants({**dict.fromkeys(names, vector), "scale": columns, "shift": columns})


def generate(spec: LayerNormSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a normalisation; each row is worked on where vectors may reach beyond its end.

    Raises
    ------
    NotImplementedError
        The rows are too long.
    """
    check_columns(spec, isa.name)
    padded, table = _padded(spec, dialect), table_of(spec, dialect)
    body = _row(spec, isa, dialect) + _sums(padded, isa, dialect, table) + _deviation(dialect, table)
    body += _results(padded, isa, dialect, table)
    target = Address("output", 0, (("row", spec.columns),))
    body += x86.copy_run(isa, dialect, target, Address("bytes"), spec.columns, VALUE)
    buffers = (
        Buffer("input", spec.rows * spec.columns, role="input"),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("bytes", padded),
        Buffer("fold", 2 * dialect.vector_bytes),
        Buffer("output", spec.rows * spec.columns, role="output"),
    )
    held = tuple(
        x86.load(dialect, dialect.register(register), table.address(name), dialect.vector_bytes)
        for name, register in (("output_scale", SCALE), ("low", LOW), ("high", HIGH), ("count", COUNT))
    )
    return Program("layer_norm", isa, buffers, (*held, *loop(isa, "row", spec.rows, body)), 0, x86.PROFILE)


def _padded(spec: LayerNormSpec, dialect: Dialect) -> int:
    """Bytes of whole vectors that hold a row. [B]"""
    return -(-spec.columns // dialect.vector_bytes) * dialect.vector_bytes


def _zero(dialect: Dialect, number: int) -> Instruction:
    register = dialect.register(number)
    return Instruction("vpxord" if dialect.masked else "vpxor", register, (register, register))


def _row(spec: LayerNormSpec, isa: InstructionSet, dialect: Dialect) -> Body:
    """Copy a row; zeros follow it."""
    vector = dialect.vector_bytes
    body: Body = ()
    if spec.columns % vector:
        last = Address("bytes", spec.columns // vector * vector)
        body += (_zero(dialect, VALUE), *x86.store(dialect, dialect.register(VALUE), last, vector))
    source = Address("input", 0, (("row", spec.columns),))
    return body + x86.copy_run(isa, dialect, Address("bytes"), source, spec.columns, VALUE)


def _sums(padded: int, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
    """Leave the sum and the sum of squares of a row in all lanes."""
    total, squares, value, spare, ones = map(dialect.register, (SUM, SQUARES, VALUE, SPARE, ONES))
    lanes = 2 * dialect.lanes
    group = x86.widen_half(dialect, value, Address("bytes", 0, (("group", lanes),)), lanes, spare)
    for register, other in ((total, ones), (squares, value)):
        if dialect.masked:
            group += (Instruction("vpdpwssd", register, (value, other)),)
        else:
            group += (
                Instruction("vpmaddwd", spare, (value, other)),
                Instruction("vpaddd", register, (register, spare)),
            )
    body: Body = (_zero(dialect, SUM), _zero(dialect, SQUARES))
    body += (x86.load(dialect, ones, table.address("ones"), dialect.vector_bytes),)
    body += loop(isa, "group", padded // lanes, group)
    return body + _folded(dialect, total) + _folded(dialect, squares)


def _folded(dialect: Dialect, register: str) -> Body:
    """Add up the 32-bit lanes of a register, halves of which meet in memory."""
    vector, fold, spare = dialect.vector_bytes, Address("fold"), dialect.register(SPARE)
    body: Body = ()
    half = vector // 2
    while half >= 4:
        body += x86.store(dialect, register, fold, vector)
        body += (
            x86.load(dialect, spare, fold.plus(half), vector),
            Instruction("vpaddd", register, (register, spare)),
        )
        half //= 2
    return (*body, *x86.store(dialect, register, fold, 4), Instruction("vpbroadcastd.load", register, (fold,)))


def _deviation(dialect: Dialect, table: Constants) -> Body:
    """Leave the deviation of a row, times its columns, in all lanes; its products of sums are exact in doubles."""
    total, squares, deviation, spare = map(dialect.register, (SUM, SQUARES, DEVIATION, SPARE))
    return (
        Instruction("vcvtdq2pd", deviation, (squares,)),
        Instruction("vmulpd", deviation, (deviation, table.address("columns"))),
        Instruction("vcvtdq2pd", spare, (total,)),
        Instruction("vmulpd", spare, (spare, spare)),
        Instruction("vsubpd", deviation, (deviation, spare)),
        Instruction("vaddpd", deviation, (deviation, table.address("epsilon"))),
        Instruction("vsqrtpd", deviation, (deviation,)),
        Instruction("vmaxpd", deviation, (deviation, table.address("tiny"))),
    )


def _results(padded: int, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
    """Replace the bytes of a row by their results."""
    value, spare, deviation, total = map(dialect.register, (VALUE, SPARE, DEVIATION, SUM))
    count, scale, low, high = map(dialect.register, (COUNT, SCALE, LOW, HIGH))
    lanes = dialect.lanes // 2
    at = Address("bytes", 0, (("group", lanes),))
    group: Body = (
        *x86.widen(dialect, value, at, lanes, spare),
        Instruction("vpmulld", value, (value, count)),
        Instruction("vpsubd", value, (value, total)),
        Instruction("vcvtdq2pd", value, (value,)),
        Instruction("vdivpd", value, (value, deviation)),
        Instruction("vmulpd", value, (value, table.address("scale", group=8 * lanes))),
        Instruction("vaddpd", value, (value, table.address("shift", group=8 * lanes))),
        Instruction("vdivpd", value, (value, scale)),
        Instruction("vmaxpd", value, (value, low)),
        Instruction("vminpd", value, (value, high)),
        Instruction("vcvtpd2dq", value, (value,)),
        Instruction("vpaddd", value, (value, table.address("zero_point"))),
    )
    if dialect.masked:
        group += (Instruction("vpmovsdb", value, (value,)),)
    else:  # every value fits a byte
        group += (Instruction("vpshufb", value, (value, table.address("bytes_of_lanes"))),)
    return loop(isa, "group", padded // lanes, group + x86.store(dialect, value, at, lanes))


def pack(spec: LayerNormSpec, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the constants."""
    own, table = doubles(spec, operands), table_of(spec, dialect)
    words = {"count": spec.columns, "zero_point": operands.output_zero_point}
    values = {name: np.full(dialect.lanes, word, np.int32) for name, word in words.items()}
    reals = (own.epsilon, own.tiny, own.output_scale, own.low, own.high, spec.columns)
    values |= {name: np.full(dialect.lanes // 2, real, np.float64) for name, real in zip(_REAL, reals, strict=True)}
    values |= {"ones": np.ones(2 * dialect.lanes, np.int16), "scale": own.scale, "shift": own.shift}
    if not dialect.masked:
        values["bytes_of_lanes"] = np.tile(np.arange(0, 16, 4, dtype=np.uint8), 8)
    return {"parameters": table.pack(values)}
