"""Products of two activations on x86 vectors: both become 16-bit numbers less their zero points, then pair by pair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import x86
from workloads.codegen.common import loop, nest, split
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import MatMulSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

_VECTORS, _UNROLL = 2, 4  # vectors of columns of a tile; pairs of products a trip
_HELD, _MASK, _SPARE = 4, 5, 6  # registers while operands are widened


def table_of(dialect: Dialect) -> Constants:
    """Place the zero points as 16 and 32 bits, a mask of the low half of a lane, the scale, the bounds."""
    names = ("zero_a", "zero_b", "low_half", "scale")
    return constants({**dict.fromkeys(names, dialect.vector_bytes), **x86.bound_regions(dialect)})


def generate(spec: MatMulSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a matrix product; without masks its last columns may be computed a second time."""
    table, pairs = table_of(dialect), -(-spec.depth // 2)
    blocks = tuple(_blocks(spec.columns, dialect))
    body = _left(spec, isa, dialect, table) + _right(spec, isa, dialect, table, blocks)
    tallest = 8 if dialect.masked else 4
    for row, rows, times in split(spec.rows, tallest):
        tiles: Body = ()
        for block in blocks:
            tiles += loop(isa, "block", block.trips, _tile(spec, isa, dialect, table, block, (row, rows)))
        body += loop(isa, "rows", times, tiles)
    number = sum(block.trips * block.vectors for block in blocks)
    buffers = (
        Buffer("input", spec.batch * spec.rows * spec.depth, role="input"),
        Buffer("input2", spec.batch * spec.depth * spec.columns, role="input"),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("left", 4 * pairs * spec.rows),
        Buffer("right", dialect.vector_bytes * pairs * number),
        Buffer("output", spec.batch * spec.rows * spec.columns, role="output"),
    )
    return Program("matmul", isa, buffers, loop(isa, "batch", spec.batch, body), spec.macs, x86.PROFILE)


@dataclass(frozen=True)
class _Block:
    """``trips`` times ``vectors`` vectors of ``count`` columns each, from a column and a place among the packed on."""

    first: int
    count: int
    vectors: int
    trips: int
    place: int


def _blocks(columns: int, dialect: Dialect) -> Iterator[_Block]:
    """Cut the columns: whole vectors, then what is left in the way that the set can load it."""
    lanes = dialect.lanes
    whole, rest = divmod(columns, lanes)
    for first, vectors, trips in split(whole, _VECTORS):
        yield _Block(first * lanes, lanes, vectors, trips, first)
    if rest and whole and not dialect.masked:
        yield _Block(columns - lanes, lanes, 1, 1, whole)
    elif rest:
        for number, piece in enumerate(x86.pieces(rest, (), dialect)):
            yield _Block(whole * lanes + piece.offset, piece.size, 1, 1, whole + number)


def _left(spec: MatMulSpec, isa: InstructionSet, dialect: Dialect, table: Constants) -> Body:
    """Widen the first operand; each row is filled up to whole pairs, whose second half meets zero."""
    lanes, pitch = dialect.vector_bytes // 2, 4 * -(-spec.depth // 2)
    rows, run = (spec.rows, spec.depth) if spec.depth % 2 else (1, spec.rows * spec.depth)
    held, spare = dialect.register(_HELD), dialect.register(_SPARE)
    body: Body = ()
    for piece in x86.pieces(run, (_UNROLL * lanes, lanes), dialect):
        source = Address("input", piece.offset, (("batch", spec.rows * spec.depth), ("line", run), ("run", piece.size)))
        target = Address("left", 2 * piece.offset, (("line", pitch), ("run", 2 * piece.size)))
        part: Body = ()
        for number, first in enumerate(range(0, piece.size, lanes)):
            size, register = min(lanes, piece.size), dialect.register(number)
            part += x86.widen_half(dialect, register, source.plus(first), size, spare)
            part += (Instruction("vpsubw", register, (register, held)),)
            part += x86.store(dialect, register, target.plus(2 * first), 2 * size)
        body += loop(isa, "run", piece.trips, part)
    zero = x86.load(dialect, held, table.address("zero_a"), dialect.vector_bytes)
    return (zero, *loop(isa, "line", rows, body))


def _right(
    spec: MatMulSpec, isa: InstructionSet, dialect: Dialect, table: Constants, blocks: tuple[_Block, ...]
) -> Body:
    """Widen the second operand and lay two rows side by side, column by column."""
    vector, held, mask = dialect.vector_bytes, dialect.register(_HELD), dialect.register(_MASK)
    body: Body = (
        x86.load(dialect, held, table.address("zero_b"), vector),
        x86.load(dialect, mask, table.address("low_half"), vector),
    )
    pairs, odd = divmod(spec.depth, 2)
    for block in blocks:
        source = Address("input2", block.first, (("batch", spec.depth * spec.columns),))
        source = source.plus(block=block.vectors * block.count, vector=block.count)
        target = _panel(spec, dialect, block)
        inner = loop(isa, "pair", pairs, _pair(spec, dialect, source.plus(pair=2 * spec.columns), target, block.count))
        if odd:
            last = replace(target, strides=target.strides[:-1]).plus(pairs * vector)
            inner += _pair(spec, dialect, source.plus(2 * pairs * spec.columns), last, block.count, alone=True)
        body += nest(isa, [("block", block.trips), ("vector", block.vectors)], inner)
    return body


def _panel(spec: MatMulSpec, dialect: Dialect, block: _Block) -> Address:
    """Return where the packed pairs of a block's vectors lie."""
    vector, pairs = dialect.vector_bytes, -(-spec.depth // 2)
    at = Address("right", block.place * pairs * vector, (("block", block.vectors * pairs * vector),))
    return at.plus(vector=pairs * vector, pair=vector)


def _pair(
    spec: MatMulSpec, dialect: Dialect, source: Address, target: Address, count: int, *, alone: bool = False
) -> Body:
    """Join two rows of some columns, the second in the high half of each lane; one that is alone meets zero."""
    held, mask, spare = (dialect.register(each) for each in (_HELD, _MASK, _SPARE))
    low, high = dialect.register(0), dialect.register(1)
    suffix = "d" if dialect.masked else ""
    body = (
        *x86.widen(dialect, low, source, count, spare),
        Instruction("vpsubd", low, (low, held)),
        Instruction(f"vpand{suffix}", low, (low, mask)),
    )
    if not alone:
        body += (
            *x86.widen(dialect, high, source.plus(spec.columns), count, spare),
            Instruction("vpsubd", high, (high, held)),
            Instruction("vpslld", high, (high, 16)),
            Instruction(f"vpxor{suffix}", low, (low, high)),
        )
    return body + x86.store(dialect, low, target, dialect.vector_bytes)


def _tile(
    spec: MatMulSpec, isa: InstructionSet, dialect: Dialect, table: Constants, block: _Block, row: tuple[int, int]
) -> Body:
    """Compute some rows of a block: sums from zero on, requantised bytes out."""
    first_row, rows = row
    names = [dialect.register(number) for number in range(rows * block.vectors)]
    sums = [names[number * block.vectors : (number + 1) * block.vectors] for number in range(rows)]
    others = [dialect.register(len(names) + number) for number in range(x86.TEMPORARIES)]
    clear = "vpxord" if dialect.masked else "vpxor"
    body: Body = tuple(Instruction(clear, name, (name, name)) for name in names)
    pairs, vector = -(-spec.depth // 2), dialect.vector_bytes
    left = Address("left", 4 * first_row * pairs, (("rows", 4 * rows * pairs),))
    right = _panel(spec, dialect, block)
    right = replace(right, strides=right.strides[:1])
    for first, size, trips in split(pairs, _UNROLL):
        part: Body = ()
        for pair in range(first, first + size):
            at = left.plus(4 * pair, pair=4 * size)
            moved = right.plus(vector * pair, pair=vector * size)
            part += _products(dialect, sums, at, moved, pairs, others)
        body += loop(isa, "pair", trips, part)
    results = []
    for number, held in enumerate(sums):
        out = Address("output", (first_row + number) * spec.columns + block.first)
        out = out.plus(batch=spec.rows * spec.columns, rows=rows * spec.columns, block=block.vectors * block.count)
        for place, name in enumerate(held):
            scaled = x86.scaled(name, table.address("scale"))
            results.append(x86.Result(name, out.plus(place * block.count), block.count, scaled))
    return body + x86.finish(dialect, table, results, others)


def _products(
    dialect: Dialect, sums: list[list[str]], left: Address, right: Address, pairs: int, others: list[str]
) -> Body:
    """Add the products of one pair: columns in vectors, each row's pair in all lanes."""
    *columns, activation, product = others[: len(sums[0])] + others[_VECTORS:]
    body: Body = tuple(
        x86.load(dialect, register, right.plus(number * pairs * dialect.vector_bytes), dialect.vector_bytes)
        for number, register in enumerate(columns)
    )
    for row, held in enumerate(sums):
        body += (Instruction("vpbroadcastd.load", activation, (left.plus(4 * row * pairs),)),)
        for total, column in zip(held, columns, strict=True):
            if dialect.masked:
                body += (Instruction("vpdpwssd", total, (activation, column)),)
            else:
                body += (Instruction("vpmaddwd", product, (activation, column)),)
                body += (Instruction("vpaddd", total, (total, product)),)
    return body


def pack(operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the zero points, the mask, the scale and the bounds."""
    lanes = dialect.lanes
    first, second = operands.input_zero_points
    values = {
        **x86.offset_bounds(dialect, operands),
        "zero_a": np.full(2 * lanes, first, np.int16),
        "zero_b": np.full(lanes, second, np.int32),
        "low_half": np.full(lanes, 0xFFFF, np.int32),
        "scale": np.full(lanes, effective_scales(operands, x86.PROFILE)[0], np.float32),
    }
    return {"parameters": table_of(dialect).pack(values)}
