"""Layer normalisation on scalar sets: sums in integer registers, the rest in doubles, or in words where none are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import norm_soft
from workloads.codegen.common import Body, loop, split
from workloads.codegen.norm_doubles import check_columns, doubles
from workloads.codegen.regions import Constants, constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs_rows import LayerNormSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

_SUM, _SQUARES, _COUNT, _ZERO_POINT = "x5", "x6", "x7", "x8"
_VALUES, _PRODUCTS = ("x10", "x11", "x12", "x13"), ("x14", "x15", "x16", "x17")  # bytes of as many columns at once
_DEVIATION, _VALUE, _COLUMN = "d0", "d1", "d2"
_HELD = {"epsilon": "d3", "tiny": "d4", "output_scale": "d5", "low": "d6", "high": "d7"}


def table_of(spec: LayerNormSpec) -> Constants:
    """Place the zero point, the doubles of the layer and those of the columns."""
    columns = {"scale": 8 * spec.columns, "shift": 8 * spec.columns}
    return constants({"zero_point": 4, **dict.fromkeys(_HELD, 8), **columns})


def generate(spec: LayerNormSpec, scalar: Scalar) -> Program:
    """Return the Program of a normalisation of rows.

    Raises
    ------
    NotImplementedError
        The rows are too long.
    """
    isa, space, table = scalar.isa, scalar.isa.spaces[0], table_of(spec)
    check_columns(spec, isa.name)
    if not _computes_doubles(scalar):
        return norm_soft.generate(spec, scalar)
    before: Body = (
        Instruction("li", _COUNT, (spec.columns,)),
        Instruction("lw", _ZERO_POINT, (table.address("zero_point"),)),
        *(Instruction("fld", register, (table.address(name),)) for name, register in _HELD.items()),
    )
    row = _sums(spec, scalar) + _deviation() + loop(isa, "column", spec.columns, _result(spec, table))
    buffers = (
        Buffer("input", spec.rows * spec.columns, space, "input"),
        Buffer("parameters", table.nbytes, space, "parameters"),
        Buffer("output", spec.rows * spec.columns, space, "output"),
    )
    body = (*before, *loop(isa, "row", spec.rows, row))
    return Program(f"{isa.name}_layer_norm", isa, buffers, body, profile=scalar.profile)


def _sums(spec: LayerNormSpec, scalar: Scalar) -> Body:
    """Add up the elements of a row and their squares."""
    body: Body = (Instruction("li", _SUM, (0,)), Instruction("li", _SQUARES, (0,)))
    for first, size, trips in split(spec.columns, len(_VALUES)):
        part: Body = ()
        for place, (value, product) in enumerate(zip(_VALUES[:size], _PRODUCTS, strict=False)):
            part += (
                Instruction("lb", value, (Address("input", first + place, (("row", spec.columns), ("run", size))),)),
                Instruction("mul", product, (value, value)),
                Instruction("add", _SUM, (_SUM, value)),
                Instruction("add", _SQUARES, (_SQUARES, product)),
            )
        body += loop(scalar.isa, "run", trips, part)
    return body


def _deviation() -> Body:
    """Leave the deviation of a row, times its columns."""
    product = _PRODUCTS[0]
    return (
        Instruction("mul", _SQUARES, (_SQUARES, _COUNT)),
        Instruction("mul", product, (_SUM, _SUM)),
        Instruction("sub", _SQUARES, (_SQUARES, product)),
        Instruction("fcvt.d.l", _DEVIATION, (_SQUARES,)),
        Instruction("fadd.d", _DEVIATION, (_DEVIATION, _HELD["epsilon"])),
        Instruction("fsqrt.d", _DEVIATION, (_DEVIATION,)),
        Instruction("fmax.d", _DEVIATION, (_DEVIATION, _HELD["tiny"])),
    )


def _result(spec: LayerNormSpec, table: Constants) -> Body:
    """Compute one element of a row."""
    at, value = (("row", spec.columns), ("column", 1)), _VALUES[0]
    return (
        Instruction("lb", value, (Address("input", 0, at),)),
        Instruction("mul", value, (value, _COUNT)),
        Instruction("sub", value, (value, _SUM)),
        Instruction("fcvt.d.l", _VALUE, (value,)),
        Instruction("fdiv.d", _VALUE, (_VALUE, _DEVIATION)),
        Instruction("fld", _COLUMN, (table.address("scale", column=8),)),
        Instruction("fmul.d", _VALUE, (_VALUE, _COLUMN)),
        Instruction("fld", _COLUMN, (table.address("shift", column=8),)),
        Instruction("fadd.d", _VALUE, (_VALUE, _COLUMN)),
        Instruction("fdiv.d", _VALUE, (_VALUE, _HELD["output_scale"])),
        Instruction("fmax.d", _VALUE, (_VALUE, _HELD["low"])),
        Instruction("fmin.d", _VALUE, (_VALUE, _HELD["high"])),
        Instruction("fcvt.l.d", value, (_VALUE,)),
        Instruction("add", value, (value, _ZERO_POINT)),
        Instruction("sb", Address("output", 0, at), (value,)),
    )


def _computes_doubles(scalar: Scalar) -> bool:
    """Whether a set has floating point of 64 bits."""
    return "fdiv.d" in scalar.isa.instructions


def pack(spec: LayerNormSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Return the constants."""
    if not _computes_doubles(scalar):
        return norm_soft.pack(spec, operands)
    own = doubles(spec, operands)
    reals = (own.epsilon, own.tiny, own.output_scale, own.low, own.high)
    values: dict[str, Array] = {name: np.array([real], np.float64) for name, real in zip(_HELD, reals, strict=True)}
    values |= {"scale": own.scale, "shift": own.shift, "zero_point": np.array([operands.output_zero_point], np.int32)}
    return {"parameters": table_of(spec).pack(values)}
