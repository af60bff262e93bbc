"""Softmax on x86 vectors as onnxruntime computes it: a table of float32 exponentials, summed in order, divided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import x86
from workloads.codegen.common import loop
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import SoftmaxSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

TABLE_ENTRIES = 256  # by difference to the maximum, from -255 to 0
MAXIMUM, INDEX, FOUND, ONES, MASK, SUM, TERM, SCALE = range(8)  # numbers of registers
TEMPORARIES = range(8, 8 + x86.TEMPORARIES)


def table_of(dialect: Dialect) -> Constants:
    """Place the vectors of the results, the table, the lowest byte and the output's scale."""
    vector = dialect.vector_bytes
    return constants({
        **x86.bound_regions(dialect), "lowest": vector, "ones": vector, "scale": vector, "table": 4 * TABLE_ENTRIES,
    })  # fmt: skip


def generate(spec: SoftmaxSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a softmax over rows; each row is copied to where vectors may reach beyond its end.

    Raises
    ------
    NotImplementedError
        The rows have one column, which the runtime leaves to overflow.
    """
    if spec.columns == 1:
        raise NotImplementedError(f"{isa.name} generates no softmax over one column")
    vector, table = dialect.vector_bytes, table_of(dialect)
    padded = -(-spec.columns // vector) * vector
    body = _row(spec, isa, dialect, table) + _maximum(padded, isa, dialect) + _exponentials(padded, isa, dialect, table)
    body += _sum(spec.columns, isa, dialect) + _shares(padded, isa, dialect, table)
    target = Address("output", 0, (("row", spec.columns),))
    body += x86.copy_run(isa, dialect, target, Address("bytes"), spec.columns)
    buffers = (
        Buffer("input", spec.rows * spec.columns, role="input"),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("bytes", padded),
        Buffer("fold", 2 * vector),
        Buffer("exponentials", 4 * padded),
        Buffer("output", spec.rows * spec.columns, role="output"),
    )
    nest = loop(isa, "row", spec.rows, body)
    return Program("softmax", isa, buffers, nest, 0, x86.PROFILE)


def _row(spec: SoftmaxSpec, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
    """Copy a row; the lowest byte follows it."""
    vector = dialect.vector_bytes
    body: Body = ()
    if spec.columns % vector:
        lowest, last = dialect.register(TERM), Address("bytes", spec.columns // vector * vector)
        body += (x86.load(dialect, lowest, table.address("lowest"), vector),)
        body += x86.store(dialect, lowest, last, vector)
    source = Address("input", 0, (("row", spec.columns),))
    return body + x86.copy_run(isa, dialect, Address("bytes"), source, spec.columns)


def _maximum(padded: int, isa: InstructionSet, dialect: Dialect) -> Body:
    """Leave the largest byte of a row in all 32-bit lanes; halves of a vector meet in memory."""
    vector, fold = dialect.vector_bytes, Address("fold")
    largest, term = dialect.register(MAXIMUM), dialect.register(TERM)
    body: Body = (x86.load(dialect, largest, Address("bytes"), vector),)
    more = (
        x86.load(dialect, term, Address("bytes", vector, (("vector", vector),)), vector),
        Instruction("vpmaxsb", largest, (largest, term)),
    )
    body += loop(isa, "vector", padded // vector - 1, more)
    half = vector // 2
    while half:
        body += x86.store(dialect, largest, fold, vector)
        body += (x86.load(dialect, term, fold.plus(half), vector), Instruction("vpmaxsb", largest, (largest, term)))
        half //= 2
    body += x86.store(dialect, largest, fold, vector)
    body += (Instruction("vpbroadcastb.load", largest, (fold,)), *x86.store(dialect, largest, fold, vector))
    return body + x86.widen(dialect, largest, fold, dialect.lanes, term)


def _exponentials(padded: int, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
    """Look up the exponentials of a row."""
    lanes = dialect.lanes
    largest, index, found, term = (dialect.register(each) for each in (MAXIMUM, INDEX, FOUND, TERM))
    ones, mask = dialect.register(ONES), dialect.register(MASK)
    source, target = Address("bytes", 0, (("group", lanes),)), Address("exponentials", 0, (("group", 4 * lanes),))
    fresh = Instruction("kxnorw") if dialect.masked else x86.move(dialect, mask, ones)
    group = (
        *x86.widen(dialect, index, source, lanes, term),
        Instruction("vpsubd", index, (index, largest)),
        fresh,  # a gather clears its mask
        Instruction("vgatherdps", found, (table.address("table", 4 * (TABLE_ENTRIES - 1)), index)),
        *x86.store(dialect, found, target, dialect.vector_bytes),
    )
    before = () if dialect.masked else (x86.load(dialect, ones, table.address("ones"), dialect.vector_bytes),)
    return (*before, *loop(isa, "group", padded // lanes, group))


def _sum(columns: int, isa: InstructionSet, dialect: Dialect) -> Body:
    """Add up the exponentials of a row one after the other and leave the sum in all lanes."""
    total, term = dialect.register(SUM), dialect.register(TERM)
    body: Body = (x86.load(dialect, total, Address("exponentials"), 4),)
    add = (
        x86.load(dialect, term, Address("exponentials", 4, (("column", 4),)), 4),
        Instruction("vaddps", total, (total, term)),  # what the other lanes hold is not used
    )
    body += loop(isa, "column", columns - 1, add)
    return (
        *body,
        *x86.store(dialect, total, Address("fold"), 4),
        Instruction("vpbroadcastd.load", total, (Address("fold"),)),
    )


def _shares(padded: int, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
    """Divide, scale and round the exponentials of a row to bytes."""
    lanes, vector = dialect.lanes, dialect.vector_bytes
    total, scale, value = (dialect.register(each) for each in (SUM, SCALE, FOUND))
    prepared = (
        x86.load(dialect, value, Address("exponentials", 0, (("group", vector),)), vector),
        Instruction("vmulps", value, (value, scale)),
        Instruction("vdivps", value, (value, total)),
    )
    result = x86.Result(value, Address("bytes", 0, (("group", lanes),)), lanes, prepared)
    temporaries = [dialect.register(each) for each in TEMPORARIES]
    group = x86.finish(dialect, table, [result], temporaries)
    return (x86.load(dialect, scale, table.address("scale"), vector), *loop(isa, "group", padded // lanes, group))


def pack(spec: SoftmaxSpec, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the bounds, the output's scale and the exponentials."""
    from workloads.kernels.onnx_ops import softmax_scale, softmax_table

    values = {
        **x86.offset_bounds(dialect, operands),
        "lowest": np.full(dialect.vector_bytes, -128, np.int8),
        "ones": np.full(dialect.lanes, -1, np.int32),
        "scale": np.full(dialect.lanes, softmax_scale(operands), np.float32),
        "table": softmax_table(spec.columns, operands),
    }
    return {"parameters": table_of(dialect).pack(values)}
