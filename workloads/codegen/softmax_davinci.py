"""Softmax on the davinci vector unit: a row at a time, half precision to its maximum, single precision beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop
from workloads.codegen.davinci_tiles import copies_of, move, on_chip
from workloads.kernels.ascend import SUM_LANES
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.codegen.common import Body
    from workloads.codegen.specs import SoftmaxSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

MAXIMUM_LANES = 128  # half-precision lanes of one repeat
IN, HALF, SINGLE, OTHER, OUT, TOP, TOTAL = (
    Address(f"ub_{name}") for name in ("in", "half", "single", "other", "out", "top", "total")
)
# Factors in the parameters, each in a scalar register: half precision, then single.
HALVES = ("minus_one", "zero", "low", "high")
SINGLES = ("scale", "nothing", "inverse_scale", "zero_point")
REGISTERS = {name: f"x{number}" for number, name in enumerate((*HALVES, *SINGLES))}
LARGEST, SUM = "x8", "x9"
PARAMETER_BYTES = 4 * (len(HALVES) + len(SINGLES))


def generate(spec: SoftmaxSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a softmax over rows.

    Raises
    ------
    ValueError
        A row does not fit the vector buffer.
    """
    columns = spec.columns
    used = {
        "ub:in": columns, "ub:half": 2 * columns, "ub:single": 4 * columns, "ub:other": 4 * columns, "ub:out": columns,
        "ub:top": 2 * MAXIMUM_LANES, "ub:total": 4 * SUM_LANES,
    }  # fmt: skip
    at = (("row", columns),)
    row: Body = (
        move("mte2_ub", IN, Address("input", 0, at), (1, columns)),
        _vector("vconv_s8_f16", HALF, columns, IN),
        *_maximum(columns),
        _vector("vadds_f16", HALF, columns, HALF, LARGEST),
        _vector("vconv_f16_f32", SINGLE, columns, HALF),
        _vector("vmuls_f32", SINGLE, columns, SINGLE, REGISTERS["scale"]),
        _vector("vexp_f32", SINGLE, columns, SINGLE),
        *_sum(columns),
        _vector("vdup_f32", OTHER, columns, SUM),
        _vector("vdiv_f32", SINGLE, columns, SINGLE, OTHER),
        _vector("vmuls_f32", SINGLE, columns, SINGLE, REGISTERS["inverse_scale"]),
        _vector("vadds_f32", SINGLE, columns, SINGLE, REGISTERS["zero_point"]),
        _vector("vconv_f32_s32", OTHER, columns, SINGLE),
        _vector("vconv_s32_f16", HALF, columns, OTHER),
        _vector("vmaxs_f16", HALF, columns, HALF, REGISTERS["low"]),
        _vector("vmins_f16", HALF, columns, HALF, REGISTERS["high"]),
        _vector("vconv_f16_s8", OUT, columns, HALF),
        move("mte3", Address("output", 0, at), OUT, (1, columns)),
    )
    buffers = (
        Buffer("input", spec.rows * columns, "global", "input"),
        Buffer("parameters", PARAMETER_BYTES, "global", "parameters"),
        Buffer("output", spec.rows * columns, "global", "output"),
        *on_chip(isa, used, copies_of(used, options)),
    )
    factors = tuple(
        Instruction("s_load_f16" if name in HALVES else "s_load_f32", register, (Address("parameters", 4 * place),))
        for place, (name, register) in enumerate(REGISTERS.items())
    )
    return Program(
        "davinci_softmax", isa, buffers, (*factors, *loop(isa, "row", spec.rows, row)), profile="ascend-vector"
    )


def _vector(op: str, target: Address, count: int, *sources: Address | str) -> Instruction:
    return Instruction(op, target, sources, count=count)


def _chunks(columns: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Yield (first lane, lanes) of all chunks but the first."""
    for first in range(lanes, columns, lanes):
        yield first, min(lanes, columns - first)


def _maximum(columns: int) -> Body:
    """Leave the negative of the largest element in a scalar register."""
    lanes = min(columns, MAXIMUM_LANES)
    body: Body = (_vector("vadds_f16", TOP, lanes, HALF, REGISTERS["zero"]),)
    body += tuple(
        _vector("vmax_f16", TOP, size, TOP, HALF.plus(2 * first)) for first, size in _chunks(columns, MAXIMUM_LANES)
    )
    return (
        *body,
        _vector("vcmax_f16", TOP, lanes, TOP),
        _vector("vmuls_f16", TOP, 1, TOP, REGISTERS["minus_one"]),
        Instruction("s_get_f16", LARGEST, (TOP,)),
    )


def _sum(columns: int) -> Body:
    """Leave the sum of the exponentials in a scalar register."""
    return (*summed(SINGLE, columns, REGISTERS["nothing"]), Instruction("s_get_f32", SUM, (TOTAL,)))


def summed(row: Address, columns: int, nothing: str) -> Body:
    """Leave the sum of a row of floats in the first lane of TOTAL: chunks onto the first, then its lanes.

    ``nothing`` is a register that holds zero.
    """
    lanes = min(columns, SUM_LANES)
    body: Body = (_vector("vadds_f32", TOTAL, lanes, row, nothing),)
    body += tuple(
        _vector("vadd_f32", TOTAL, size, TOTAL, row.plus(4 * first)) for first, size in _chunks(columns, SUM_LANES)
    )
    return (*body, _vector("vcadd_f32", TOTAL, lanes, TOTAL))


def pack(operands: Operands) -> dict[str, Array]:
    """Return the factors, each in a word of its own."""
    from workloads.kernels.ascend import softmax_factors

    scale, inverse, zero_point = softmax_factors(operands)
    result = np.zeros(PARAMETER_BYTES, np.uint8)
    for place, value in enumerate((-1, 0, operands.low, operands.high)):
        result[4 * place : 4 * place + 2] = np.array([value], np.float16).view(np.uint8)
    result[4 * len(HALVES) :] = np.array([scale, 0, inverse, zero_point], np.float32).view(np.uint8)
    return {"parameters": result}
