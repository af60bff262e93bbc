"""Layer normalisation on RVV: sums over 32-bit lanes, folded in memory, the rest in strips of doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import rvv_base as base
from workloads.codegen.common import loop, split
from workloads.codegen.norm_doubles import check_columns, doubles
from workloads.codegen.regions import Constants, constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs_rows import LayerNormSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

GROUP = 4  # registers of doubles, and of the 32-bit sums
_VALUE, _COLUMN, _DEVIATION, _SCALE, _LOW, _HIGH = (base.vector(GROUP * number) for number in range(6))
_WORDS, _BYTES = base.vector(24), base.vector(28)  # half a group of words; bytes, then halfwords
_SUMS, _SQUARES = base.vector(0), base.vector(4)  # before any double is there
_ZERO, _COUNT, _TOTAL, _ZERO_POINT, _BITS = "x0", "x5", "x6", "x7", "x8"
_REAL = ("epsilon", "tiny", "output_scale", "low", "high")


def table_of(spec: LayerNormSpec) -> Constants:
    """Place the words, the doubles of the layer and those of the columns."""
    columns = {"scale": 8 * spec.columns, "shift": 8 * spec.columns}
    return constants({"count": 4, "zero_point": 4, **dict.fromkeys(_REAL, 8), **columns})


def generate(spec: LayerNormSpec, isa: InstructionSet) -> Program:
    """Return the Program of a normalisation of rows.

    Raises
    ------
    NotImplementedError
        The rows are too long.
    """
    check_columns(spec, isa.name)
    table, lanes, doubled = table_of(spec), base.lanes(isa, GROUP), base.lanes(isa, GROUP, 64)
    row = _row(spec, isa, lanes) + _sums(spec, isa, lanes) + _deviation(table) + _results(spec, isa, doubled, table)
    buffers = (
        Buffer("input", spec.rows * spec.columns, role="input"),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("bytes", _padded(spec, lanes)),
        Buffer("fold", 4 * lanes),
        Buffer("output", spec.rows * spec.columns, role="output"),
    )
    words = base.load_scalars(table, ("count", _COUNT), ("zero_point", _ZERO_POINT))
    body = (base.ROUND_HALF_UP, *words, *loop(isa, "row", spec.rows, row))
    return Program("layer_norm", isa, buffers, body, 0, base.PROFILE)


def _padded(spec: LayerNormSpec, lanes: int) -> int:
    """Elements of whole groups that hold a row."""
    return -(-spec.columns // lanes) * lanes


def _row(spec: LayerNormSpec, isa: InstructionSet, lanes: int) -> Body:
    """Copy a row to where whole groups can be read; zeros follow it."""
    body: Body = ()
    if spec.columns % lanes:
        last = Address("bytes", _padded(spec, lanes) - lanes)
        body += (
            base.SET_VL,
            Instruction("vmv.v.x.e8", _BYTES, (_ZERO,), lanes),
            Instruction("vse8.v", last, (_BYTES,), lanes),
        )
    source = Address("input", 0, (("row", spec.columns),))
    return body + base.copy_run(isa, Address("bytes"), source, spec.columns)


def _sums(spec: LayerNormSpec, isa: InstructionSet, lanes: int) -> Body:
    """Leave the sum of a row, and the sum of its squares, in the first lanes, the sum in a scalar register too."""
    halves = base.vector(8)
    zero = (base.SET_VL, *(Instruction("vmv.v.x.e32", each, (_ZERO,), lanes) for each in (_SUMS, _SQUARES)))
    group = (
        base.SET_VL,
        Instruction("vle8.v", _BYTES, (Address("bytes", 0, (("group", lanes),)),), lanes),
        Instruction("vsext.vf2.e16", halves, (_BYTES,), lanes),
        Instruction("vwadd.wv.e16", _SUMS, (_SUMS, halves), lanes),
        Instruction("vwmacc.vv.e16", _SQUARES, (halves, halves), lanes),
    )
    body = (*zero, *loop(isa, "group", _padded(spec, lanes) // lanes, group))
    return body + _folded(_SUMS, lanes) + (Instruction("lw", _TOTAL, (Address("fold"),)),) + _folded(_SQUARES, lanes)


def _folded(total: str, lanes: int) -> Body:
    """Add up the lanes of a group in its first lane, and leave it in memory too."""
    fold, other = Address("fold"), base.vector(12)
    body: Body = ()
    while lanes > 1:
        half = lanes // 2
        body += (
            base.SET_VL,
            Instruction("vse32.v", fold, (total,), lanes),
            base.SET_VL,
            Instruction("vle32.v", other, (fold.plus(4 * half),), half),
            Instruction("vadd.vv.e32", total, (total, other), half),
        )
        lanes = half
    return (*body, Instruction("vse32.v", fold, (total,), 1))


def _deviation(table: Constants) -> Body:
    """Leave the deviation of a row, times its columns, in memory."""
    total, squares, real = base.vector(8), base.vector(12), base.vector(16)

    def of_constant(name: str) -> Body:
        return (
            Instruction("ld", _BITS, (table.address(name),)),
            Instruction("vmv.v.x.e64", _COLUMN, (_BITS,), 1),
        )

    return (
        base.SET_VL,
        Instruction("vsext.vf2.e64", total, (_SUMS,), 1),
        Instruction("vsext.vf2.e64", squares, (_SQUARES,), 1),
        Instruction("vmul.vv.e64", total, (total, total), 1),
        Instruction("vmul.vx.e64", squares, (squares, _COUNT), 1),
        Instruction("vsub.vv.e64", squares, (squares, total), 1),
        Instruction("vfcvt.f.x.v.e64", real, (squares,), 1),
        *of_constant("epsilon"),
        Instruction("vfadd.vv.e64", real, (real, _COLUMN), 1),
        Instruction("vfsqrt.v.e64", real, (real,), 1),
        *of_constant("tiny"),
        Instruction("vfmax.vv.e64", real, (real, _COLUMN), 1),
        Instruction("vse64.v", Address("fold"), (real,), 1),
    )


def _results(spec: LayerNormSpec, isa: InstructionSet, lanes: int, table: Constants) -> Body:
    """Turn the elements of a row into results, a group of doubles at a time."""
    body: Body = ()
    for first, size, trips in split(spec.columns, lanes):
        held: Body = (base.SET_VL,)
        for register, address in (
            (_DEVIATION, Address("fold")), (_SCALE, table.address("output_scale")), (_LOW, table.address("low")),
            (_HIGH, table.address("high")),
        ):  # fmt: skip
            held += (
                Instruction("ld", _BITS, (address,)),
                Instruction("vmv.v.x.e64", register, (_BITS,), size),
            )
        body += held + loop(isa, "strip", trips, _strip(spec, first, size, table))
    return body


def _strip(spec: LayerNormSpec, first: int, size: int, table: Constants) -> Body:
    """Compute ``size`` results."""
    source = Address("bytes", first, (("strip", size),))
    target = Address("output", first, (("row", spec.columns), ("strip", size)))

    def column(name: str) -> Instruction:
        return Instruction("vle64.v", _COLUMN, (table.address(name, 8 * first, strip=8 * size),), size)

    return (
        base.SET_VL,
        Instruction("vle8.v", _BYTES, (source,), size),
        Instruction("vsext.vf4.e32", _WORDS, (_BYTES,), size),
        Instruction("vmul.vx.e32", _WORDS, (_WORDS, _COUNT), size),
        Instruction("vsub.vx.e32", _WORDS, (_WORDS, _TOTAL), size),
        Instruction("vfwcvt.f.x.v.e32", _VALUE, (_WORDS,), size),
        base.SET_VL,
        Instruction("vfdiv.vv.e64", _VALUE, (_VALUE, _DEVIATION), size),
        column("scale"),
        Instruction("vfmul.vv.e64", _VALUE, (_VALUE, _COLUMN), size),
        column("shift"),
        Instruction("vfadd.vv.e64", _VALUE, (_VALUE, _COLUMN), size),
        Instruction("vfdiv.vv.e64", _VALUE, (_VALUE, _SCALE), size),
        Instruction("vfmax.vv.e64", _VALUE, (_VALUE, _LOW), size),
        Instruction("vfmin.vv.e64", _VALUE, (_VALUE, _HIGH), size),
        base.SET_VL,
        Instruction("vfncvt.x.f.w.e32", _WORDS, (_VALUE,), size),
        Instruction("vadd.vx.e32", _WORDS, (_WORDS, _ZERO_POINT), size),
        base.SET_VL,
        Instruction("vnclip.wi.e16", _BYTES, (_WORDS, 0), size),
        base.SET_VL,
        Instruction("vnclip.wi.e8", _BYTES, (_BYTES, 0), size),
        Instruction("vse8.v", target, (_BYTES,), size),
    )


def pack(spec: LayerNormSpec, operands: Operands) -> dict[str, Array]:
    """Return the constants."""
    own = doubles(spec, operands)
    reals = (own.epsilon, own.tiny, own.output_scale, own.low, own.high)
    values: dict[str, Array] = {name: np.array([real], np.float64) for name, real in zip(_REAL, reals, strict=True)}
    words = {"count": spec.columns, "zero_point": operands.output_zero_point}
    values |= {name: np.array([word], np.int32) for name, word in words.items()}
    return {"parameters": table_of(spec).pack(values | {"scale": own.scale, "shift": own.shift})}
