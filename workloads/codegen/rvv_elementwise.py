"""Elementwise kernels and copies on RVV: TFLite's fixed-point sums and products, rounded half up twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import moves
from workloads.codegen import rvv_base as base
from workloads.codegen.common import loop, split
from workloads.codegen.regions import constants
from workloads.operands import ADD_LEFT_SHIFT
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.regions import Constants
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs import CopySpec, ElementwiseSpec, MoveSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

KINDS = frozenset({"add", "sub", "mul", "requantize", "clamp"})
_SUMS = frozenset({"add", "sub"})
PARTS = 2  # independent groups per iteration, to hide latency on an in-order core
_ZERO = ("x5", "x6")
_TERM_SCALE = (("x7", "x8", "x9"), ("x10", "x11", "x12"))
_NAMES = ("left", "multiplier", "right")


def table_of() -> Constants:
    """Place bounds, scales and zero points of up to two operands."""
    regions = {**base.BOUND_REGIONS, **base.SCALE_REGIONS}
    for suffix in "ab":
        regions |= {f"zero_{suffix}": 4, **{f"{name}_{suffix}": 4 for name in _NAMES}}
    return constants(regions)


def generate(spec: ElementwiseSpec, isa: InstructionSet) -> Program:
    """Return the Program of an elementwise layer.

    Raises
    ------
    NotImplementedError
        The kind of operation has no kernel.
    ValueError
        The second operand does not repeat a whole number of times.
    """
    if spec.kind not in KINDS:
        raise NotImplementedError(f"rvv: no kernel is generated for elementwise {spec.kind!r}")
    two = spec.kind in ("add", "sub", "mul")
    period = spec.period if two else spec.elements
    if spec.elements % period:
        raise ValueError(f"{spec.kind}: {spec.elements} elements are no multiple of the second operand's {period}")
    table = table_of()
    head: Body = (base.ROUND_HALF_UP, *base.load_bounds(table, offset=spec.kind != "clamp"))
    if spec.kind != "clamp":
        zeros = (("zero_a", _ZERO[0]), ("zero_b", _ZERO[1]))
        head += (*base.load_scale(table), *base.load_scalars(table, *zeros[: 1 + two]))
    if spec.kind in _SUMS:
        for suffix, registers in zip("ab", _TERM_SCALE, strict=True):
            named = zip(_NAMES, registers, strict=True)
            head += base.load_scalars(table, *((f"{name}_{suffix}", register) for name, register in named))
    lanes = base.lanes(isa, 4, 8) if spec.kind == "clamp" else base.lanes(isa)
    body: Body = ()
    for first, size, trips in _parts(period, lanes):
        body += loop(isa, "run", trips, _group(spec.kind, first, size, lanes, period))
    buffers = (
        Buffer("input", spec.elements, role="input"),
        *((Buffer("input2", period, role="input"),) if two else ()),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("output", spec.elements, role="output"),
    )
    nest = loop(isa, "repeat", spec.elements // period, body)
    return Program(spec.kind, isa, buffers, (*head, *nest), 0, base.PROFILE)


def _parts(extent: int, lanes: int) -> list[tuple[int, int, int]]:
    """Cut into iterations of ``PARTS`` groups, of one group, and a tail."""
    found = []
    for first, size, trips in split(extent, PARTS * lanes):
        if trips > 1 or size == PARTS * lanes:
            found.append((first, size, trips))
        else:
            found += [(first + more, part, times) for more, part, times in split(size, lanes)]
    return found


def _group(kind: str, first: int, size: int, lanes: int, period: int) -> Body:
    """Return one iteration."""
    count = min(size, lanes)
    starts = range(0, size, lanes)
    outputs = [Address("output", first + start, (("repeat", period), ("run", size))) for start in starts]
    inputs = [replace(output, buffer="input") for output in outputs]
    others = [Address("input2", first + start, (("run", size),)) for start in starts]
    values = [base.vector(16 + 8 * number) for number in range(len(outputs))]
    if kind == "clamp":
        loads = tuple(Instruction("vle8.v", v, (at,), count) for v, at in zip(values, inputs, strict=True))
        return (base.SET_VL, *loads, *base.bound(values, outputs, count))
    sums = [base.vector(8 * number) for number in range(len(outputs))]
    seconds = [base.vector(8 * number + 4) for number in range(len(outputs))]
    body: Body = (base.SET_VL,)
    if kind == "mul":
        body += _halves(values, inputs, count, 0) + _halves(values, others, count, 4)
        body += tuple(
            Instruction("vwmul.vv.e16", total, (_register(value, 2), _register(value, 6)), count)
            for total, value in zip(sums, values, strict=True)
        )
        body += (base.SET_VL,)
    elif kind in _SUMS:
        body += _term(sums, values, inputs, count, 0) + _term(seconds, values, others, count, 1)
        op = "vadd.vv.e32" if kind == "add" else "vsub.vv.e32"
        body += tuple(Instruction(op, a, (a, b), count) for a, b in zip(sums, seconds, strict=True))
    else:
        body += _words(sums, values, inputs, count, 0)
    return body + base.requantize_all(sums, count) + base.finish(sums, outputs, count)


def _register(name: str, more: int) -> str:
    return base.vector(int(name[1:]) + more)


def _halves(values: list[str], inputs: list[Address], count: int, more: int) -> Body:
    """Load bytes and leave their distance from the zero point in 16 bits, two registers further."""
    body: Body = ()
    for value, at in zip(values, inputs, strict=True):
        narrow, wide = _register(value, more), _register(value, more + 2)
        body += (
            Instruction("vle8.v", narrow, (at,), count),
            Instruction("vsext.vf2.e16", wide, (narrow,), count),
            Instruction("vsub.vx.e16", wide, (wide, _ZERO[more // 4]), count),
        )
    return body


def _words(sums: list[str], values: list[str], inputs: list[Address], count: int, operand: int) -> Body:
    """Load bytes and leave their distance from the zero point in 32 bits."""
    body: Body = tuple(Instruction("vle8.v", v, (at,), count) for v, at in zip(values, inputs, strict=True))
    body += tuple(Instruction("vsext.vf4.e32", t, (v,), count) for t, v in zip(sums, values, strict=True))
    return body + tuple(Instruction("vsub.vx.e32", total, (total, _ZERO[operand]), count) for total in sums)


def _term(sums: list[str], values: list[str], inputs: list[Address], count: int, operand: int) -> Body:
    """Bring one operand of a sum to the common scale: shifted left, then requantised."""
    body = _words(sums, values, inputs, count, operand)
    body += tuple(Instruction("vsll.vi.e32", total, (total, ADD_LEFT_SHIFT[1]), count) for total in sums)
    left, factor, right = _TERM_SCALE[operand]
    return body + base.requantize_all(sums, count, left, factor, right)


def pack(spec: ElementwiseSpec, operands: Operands) -> dict[str, Array]:
    """Return the parameters of an elementwise layer."""
    values = base.bound_values(operands, 0)
    for suffix, zero_point in zip("ab", operands.input_zero_points, strict=False):
        values[f"zero_{suffix}"] = np.array([zero_point], np.int32)
    if spec.kind not in _SUMS:
        values |= base.scale_value(float(effective_scales(operands, base.PROFILE)[0]))
        return {"parameters": table_of().pack(values)}
    common = 2 * max(operands.input_scales)
    for suffix, scale in zip("ab", operands.input_scales, strict=True):
        term = base.scale_value(scale / common)
        values |= {f"{name}_{suffix}": term[name] for name in _NAMES}
    values |= base.scale_value(common / (2.0 ** ADD_LEFT_SHIFT[1] * operands.output_scale))
    return {"parameters": table_of().pack(values)}


def generate_move(spec: MoveSpec, isa: InstructionSet) -> Program:
    """Return the Program of a data movement."""
    table = constants({"pad": 1})
    fill = moves.Fill(
        (Instruction("lb", base.FILLER, (table.address("pad"),)),),
        table.nbytes,
        lambda target, nbytes: base.fill_run(isa, base.FILLER, target, nbytes),
    )
    return moves.generate(spec, isa, base.PROFILE, copy(isa), fill)


def copy(isa: InstructionSet) -> Callable[[Address, Address, int, int], Body]:
    """Return what copies a run."""
    return lambda target, source, nbytes, _: base.copy_run(isa, target, source, nbytes)


def pack_move(spec: MoveSpec, operands: Operands) -> dict[str, Array]:
    """Return the byte that surrounds what is padded: the output's zero point."""
    if spec.kind not in moves.FILLED:
        return {}
    return {"parameters": constants({"pad": 1}).pack({"pad": np.array([operands.output_zero_point], np.int8)})}


def generate_copy(spec: CopySpec, isa: InstructionSet) -> Program:
    """Return the Program that moves bytes run by run."""
    body: Body = ()
    for first, run, trips in split(spec.elements, max(1, min(spec.run, spec.elements))):
        source = Address("input", first, (("line", run),))
        body += loop(isa, "line", trips, base.copy_run(isa, replace(source, buffer="output"), source, run))
    buffers = (Buffer("input", spec.elements, role="input"), Buffer("output", spec.elements, role="output"))
    return Program("copy", isa, buffers, body, 0, base.PROFILE)
