"""Products of two activations on RVV: lanes are columns; the second is widened once, less its zero point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import rvv_base as base
from workloads.codegen.common import loop, split
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.codegen.regions import Constants
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs import MatMulSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

_GROUP = 4  # registers of 32-bit lanes
_ROWS, _UNROLL = 5, 4
_SUMS = tuple(base.vector(_GROUP * number) for number in range(_ROWS))  # v0 to v19
_START, _WIDE, _NARROW = base.vector(20), (base.vector(24), base.vector(26)), base.vector(28)
_FACTORS = ("x5", "x6", "x7", "x8")  # activations in flight
_ZEROS = {"minus_zero_a": "x9", "zero_b": "x10"}


def table_of() -> Constants:
    """Place the bounds, the scale and both zero points."""
    return constants({**base.BOUND_REGIONS, **base.SCALE_REGIONS, **dict.fromkeys(_ZEROS, 4)})


def generate(spec: MatMulSpec, isa: InstructionSet) -> Program:
    """Return the Program of a matrix product.

    The panel of a block of columns holds y - b in 16 bits; -a sum (y - b) starts the sums of all rows.
    """
    table, lanes = table_of(), base.lanes(isa, _GROUP)
    blocks: Body = ()
    for first, count, trips in split(spec.columns, lanes):
        block = _panel(spec, isa, first, count)
        for row, rows, times in split(spec.rows, _ROWS):
            block += loop(isa, "rows", times, _tile(spec, isa, (first, count), (row, rows)))
        blocks += loop(isa, "block", trips, block)
    head = (base.ROUND_HALF_UP, *base.load_bounds(table), *base.load_scale(table))
    body = (*head, *base.load_scalars(table, *_ZEROS.items()), *loop(isa, "batch", spec.batch, blocks))
    buffers = (
        Buffer("input", spec.batch * spec.rows * spec.depth, role="input"),
        Buffer("input2", spec.batch * spec.depth * spec.columns, role="input"),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("panel", 2 * spec.depth * min(lanes, spec.columns)),
        Buffer("output", spec.batch * spec.rows * spec.columns, role="output"),
    )
    return Program("matmul", isa, buffers, body, spec.macs, base.PROFILE)


def _panel(spec: MatMulSpec, isa: InstructionSet, first: int, count: int) -> Body:
    """Widen the columns of a block and leave what starts their sums."""
    source = Address("input2", first, (("batch", spec.depth * spec.columns), ("block", count)))
    row = (
        Instruction("vle8.v", _NARROW, (source.plus(depth=spec.columns),), count),
        Instruction("vsext.vf2.e16", _WIDE[0], (_NARROW,), count),
        Instruction("vsub.vx.e16", _WIDE[0], (_WIDE[0], _ZEROS["zero_b"]), count),
        Instruction("vse16.v", Address("panel", 0, (("depth", 2 * count),)), (_WIDE[0],), count),
        Instruction("vwadd.wv.e16", _START, (_START, _WIDE[0]), count),
    )
    return (
        base.SET_VL,
        Instruction("vmv.v.x.e32", _START, ("x0",), count),
        base.SET_VL,
        *loop(isa, "depth", spec.depth, row),
        base.SET_VL,
        Instruction("vmul.vx.e32", _START, (_START, _ZEROS["minus_zero_a"]), count),
    )


def _tile(spec: MatMulSpec, isa: InstructionSet, block: tuple[int, int], row: tuple[int, int]) -> Body:
    """Compute some rows of a block of columns."""
    (first, count), (first_row, rows) = block, row
    sums = _SUMS[:rows]
    body: Body = (base.SET_VL, *base.copies(_START, sums, count), base.SET_VL)
    inputs = [
        Address("input", (first_row + number) * spec.depth).plus(batch=spec.rows * spec.depth, rows=rows * spec.depth)
        for number in range(rows)
    ]
    for step, size, trips in split(spec.depth, _UNROLL):
        panel = Address("panel", 2 * step * count, (("depth", 2 * size * count),))
        moved = [at.plus(step, depth=size) for at in inputs]
        body += loop(isa, "depth", trips, _steps(panel, moved, size, count))
    outputs = [
        Address("output", (first_row + number) * spec.columns + first).plus(
            batch=spec.rows * spec.columns, rows=rows * spec.columns, block=count
        )
        for number in range(rows)
    ]
    return (*body, base.SET_VL, *base.requantize_all(sums, count), *base.finish(sums, outputs, count))


def _steps(panel: Address, inputs: list[Address], steps: int, count: int) -> Iterator[Instruction]:
    """Yield some steps: columns are loaded one step, activations two multiply-adds before their use."""
    rows = len(inputs)

    def columns(step: int) -> Instruction:
        return Instruction("vle16.v", _WIDE[step % 2], (panel.plus(2 * step * count),), count)

    def activation(place: int) -> Instruction:
        step, row = divmod(place, rows)
        return Instruction("lb", _FACTORS[place % len(_FACTORS)], (inputs[row].plus(step),))

    yield columns(0)
    yield from (activation(place) for place in range(min(2, steps * rows)))
    for place in range(steps * rows):
        step, row = divmod(place, rows)
        if row == 0 and step + 1 < steps:
            yield columns(step + 1)
        if place + 2 < steps * rows:
            yield activation(place + 2)
        factor = _FACTORS[place % len(_FACTORS)]
        yield Instruction("vwmacc.vx.e16", _SUMS[row], (factor, _WIDE[step % 2]), count)


def pack(operands: Operands) -> dict[str, Array]:
    """Return the bounds, the scale and both zero points."""
    first, second = operands.input_zero_points
    values = base.bound_values(operands, 0) | base.scale_value(float(effective_scales(operands, base.PROFILE)[0]))
    values |= {"minus_zero_a": np.array([-first], np.int32), "zero_b": np.array([second], np.int32)}
    return {"parameters": table_of().pack(values)}
