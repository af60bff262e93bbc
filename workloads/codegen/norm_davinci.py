"""Layer normalisation on the davinci vector unit: a row at a time in single precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop
from workloads.codegen.davinci_tiles import copies_of, move, on_chip
from workloads.codegen.regions import constants
from workloads.codegen.softmax_davinci import HALF, IN, OTHER, OUT, SINGLE, TOTAL, summed
from workloads.kernels.ascend import SUM_LANES
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs_rows import LayerNormSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

SCALE, SHIFT = Address("ub_scale"), Address("ub_shift")
# Factors in the parameters, each in a scalar register: half precision, then single.
_HALVES, _SINGLES = ("low", "high"), ("minus_inverse", "inverse", "epsilon", "tiny", "nothing")
_REGISTERS = {name: f"x{number}" for number, name in enumerate((*_HALVES, *_SINGLES))}
_MEAN, _DEVIATION = "x7", "x8"


def table_of(spec: LayerNormSpec) -> Constants:
    """Place the factors and the scales and shifts of the columns."""
    return constants({**dict.fromkeys(_REGISTERS, 4), "scale": 4 * spec.columns, "shift": 4 * spec.columns})


def generate(spec: LayerNormSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a layer normalisation of rows.

    Raises
    ------
    ValueError
        A row does not fit the vector buffer.
    """
    columns, table = spec.columns, table_of(spec)
    used = {
        "ub:in": columns, "ub:half": 2 * columns, "ub:single": 4 * columns, "ub:other": 4 * columns, "ub:out": columns,
        "ub:total": 4 * SUM_LANES, "ub:scale": 4 * columns, "ub:shift": 4 * columns,
    }  # fmt: skip
    copies = copies_of(used, options) or {"ub:scale": 1, "ub:shift": 1}
    before: Body = tuple(
        Instruction("s_load_f16" if name in _HALVES else "s_load_f32", register, (table.address(name),))
        for name, register in _REGISTERS.items()
    )
    before += tuple(
        move("mte2_ub", to, table.address(name), (1, 4 * columns)) for name, to in (("scale", SCALE), ("shift", SHIFT))
    )
    buffers = (
        Buffer("input", spec.rows * columns, "global", "input"),
        Buffer("parameters", table.nbytes, "global", "parameters"),
        Buffer("output", spec.rows * columns, "global", "output"),
        *on_chip(isa, used, copies),
    )
    body = (*before, *loop(isa, "row", spec.rows, _row(columns)))
    return Program("davinci_layer_norm", isa, buffers, body, profile="ascend-vector")


def _row(columns: int) -> Body:
    """Normalise one row."""
    at = (("row", columns),)
    nothing = _REGISTERS["nothing"]
    return (
        move("mte2_ub", IN, Address("input", 0, at), (1, columns)),
        _vector("vconv_s8_f16", HALF, columns, IN),
        _vector("vconv_f16_f32", SINGLE, columns, HALF),
        *summed(SINGLE, columns, nothing),
        _vector("vmuls_f32", TOTAL, 1, TOTAL, _REGISTERS["minus_inverse"]),
        Instruction("s_get_f32", _MEAN, (TOTAL,)),
        _vector("vadds_f32", SINGLE, columns, SINGLE, _MEAN),
        _vector("vmul_f32", OTHER, columns, SINGLE, SINGLE),
        *summed(OTHER, columns, nothing),
        _vector("vmuls_f32", TOTAL, 1, TOTAL, _REGISTERS["inverse"]),
        _vector("vadds_f32", TOTAL, 1, TOTAL, _REGISTERS["epsilon"]),
        _vector("vsqrt_f32", TOTAL, 1, TOTAL),
        _vector("vmaxs_f32", TOTAL, 1, TOTAL, _REGISTERS["tiny"]),
        Instruction("s_get_f32", _DEVIATION, (TOTAL,)),
        _vector("vdup_f32", OTHER, columns, _DEVIATION),
        _vector("vdiv_f32", SINGLE, columns, SINGLE, OTHER),
        _vector("vmul_f32", SINGLE, columns, SINGLE, SCALE),
        _vector("vadd_f32", SINGLE, columns, SINGLE, SHIFT),
        _vector("vconv_f32_s32", OTHER, columns, SINGLE),
        _vector("vconv_s32_f16", HALF, columns, OTHER),
        _vector("vmaxs_f16", HALF, columns, HALF, _REGISTERS["low"]),
        _vector("vmins_f16", HALF, columns, HALF, _REGISTERS["high"]),
        _vector("vconv_f16_s8", OUT, columns, HALF),
        move("mte3", Address("output", 0, at), OUT, (1, columns)),
    )


def _vector(op: str, target: Address, count: int, *sources: Address | str) -> Instruction:
    return Instruction(op, target, sources, count=count)


def pack(spec: LayerNormSpec, operands: Operands) -> dict[str, Array]:
    """Return the constants.

    Raises
    ------
    ValueError
        The operands have no scale and shift.
    """
    from workloads.kernels.ascend import norm_columns, norm_factors

    own = operands.normalization
    if own is None:
        raise ValueError("a layer normalisation needs its scale and shift")
    inverse, epsilon, tiny = norm_factors(spec.columns, operands, own.epsilon)
    singles = dict(zip(_SINGLES, (-inverse, inverse, epsilon, tiny, 0), strict=True))
    values = {name: np.array([value], np.float32) for name, value in singles.items()}
    values |= {"low": np.array([operands.low], np.float16), "high": np.array([operands.high], np.float16)}
    values |= dict(zip(("scale", "shift"), norm_columns(own.scale, own.shift, operands), strict=True))
    return {"parameters": table_of(spec).pack(values)}
