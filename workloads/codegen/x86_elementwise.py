"""Elementwise kernels and copies on x86 vectors, with onnxruntime's float32 arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales
from workloads.codegen import moves, x86
from workloads.codegen.common import loop
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import CopySpec, ElementwiseSpec, MoveSpec
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

GROUPS = 4  # vectors per iteration, so that neighbouring chains overlap
_BINARY = frozenset({"add", "sub", "mul"})
_REGIONS = {
    "add": ("factor_a", "factor_b", "fixed"),
    "sub": ("zero_a", "zero_b", "factor_a", "factor_b"),
    "mul": ("zero_a", "zero_b", "scale", "fixed"),
    "requantize": ("zero_a", "scale"),
    "clamp": ("lowest", "highest"),
}


def table_of(spec: ElementwiseSpec, dialect: Dialect) -> Constants:
    """Place the vectors that the kind needs."""
    extra = ("output_scale",) if spec.kind == "sub" else ()
    names = dict.fromkeys((*_REGIONS[spec.kind], *extra), dialect.vector_bytes)
    return constants(names if spec.kind == "clamp" else {**x86.bound_regions(dialect), **names})


def generate(spec: ElementwiseSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of an elementwise layer.

    Raises
    ------
    NotImplementedError
        The kind of operation has no kernel.
    ValueError
        The second operand does not repeat a whole number of times.
    """
    if spec.kind not in _REGIONS:
        raise NotImplementedError(f"{isa.name}: no kernel is generated for elementwise {spec.kind!r}")
    binary = spec.kind in _BINARY
    period = spec.period if binary else spec.elements
    if spec.elements % period:
        raise ValueError(f"{spec.kind}: {spec.elements} elements are no multiple of the second operand's {period}")
    table = table_of(spec, dialect)
    held = {name: dialect.register(2 * GROUPS + x86.TEMPORARIES + i) for i, name in enumerate(_REGIONS[spec.kind])}
    loads = tuple(x86.load(dialect, held[name], table.address(name), dialect.vector_bytes) for name in held)
    body: Body = ()
    lanes = dialect.vector_bytes if spec.kind == "clamp" else dialect.lanes
    for piece in x86.pieces(period, (GROUPS * lanes, lanes), dialect):
        if spec.kind == "clamp":
            group = _clamp(dialect, held, piece)
        else:
            group = _group(spec.kind, dialect, table, held, piece, period)
        body += loop(isa, "run", piece.trips, group)
    buffers = (
        Buffer("input", spec.elements, role="input"),
        *((Buffer("input2", period, role="input"),) if binary else ()),
        Buffer("parameters", table.nbytes, role="parameters"),
        Buffer("output", spec.elements, role="output"),
    )
    body = loads + loop(isa, "repeat", spec.elements // period, body)
    return Program(spec.kind, isa, buffers, body, 0, x86.PROFILE)


def _clamp(dialect: Dialect, held: Mapping[str, str], piece: x86.Piece) -> Body:
    """Return one iteration of bounds on bytes."""
    body: Body = ()
    for number, part in enumerate(range(0, piece.size, dialect.vector_bytes)):
        size, register = min(dialect.vector_bytes, piece.size), dialect.register(number)
        source = Address("input", piece.offset + part, (("run", piece.size),))
        body += (
            x86.load(dialect, register, source, size),
            Instruction("vpmaxsb", register, (register, held["lowest"])),
            Instruction("vpminsb", register, (register, held["highest"])),
            *x86.store(dialect, register, replace(source, buffer="output"), size),
        )
    return body


def _group(
    kind: str, dialect: Dialect, table: Constants, held: Mapping[str, str], piece: x86.Piece, period: int
) -> Body:
    """Return one iteration over up to ``GROUPS`` vectors."""
    body: Body = ()
    results = []
    spare = [dialect.register(2 * GROUPS + index) for index in range(x86.TEMPORARIES)]
    for number, part in enumerate(range(0, piece.size, dialect.lanes)):
        size = min(dialect.lanes, piece.size)
        first, second = dialect.register(2 * number), dialect.register(2 * number + 1)
        target = Address("output", piece.offset + part, (("repeat", period), ("run", piece.size)))
        body += x86.widen(dialect, first, replace(target, buffer="input"), size, spare[0])
        if kind in _BINARY:
            other = Address("input2", piece.offset + part, (("run", piece.size),))
            body += x86.widen(dialect, second, other, size, spare[0])
        results.append(x86.Result(first, target, size, _prepared(kind, held, table, first, second)))
    return body + x86.finish(dialect, table, results, spare, offset=kind not in ("add", "mul"))


def _prepared(kind: str, held: Mapping[str, str], table: Constants, first: str, second: str) -> Body:
    """Turn int32 lanes of one or two operands into the float32 result, before bounds and rounding."""
    match kind:
        case "add":
            return (
                Instruction("vcvtdq2ps", first, (first,)),
                Instruction("vfmadd213ps", first, (first, held["factor_a"], held["fixed"])),
                Instruction("vcvtdq2ps", second, (second,)),
                Instruction("vfmadd231ps", first, (second, held["factor_b"])),
            )
        case "sub":
            return (
                Instruction("vpsubd", first, (first, held["zero_a"])),
                Instruction("vpsubd", second, (second, held["zero_b"])),
                *x86.scaled(first, held["factor_a"]),
                *x86.scaled(second, held["factor_b"]),
                Instruction("vaddps", first, (first, second)),
                Instruction("vdivps", first, (first, table.address("output_scale"))),
            )
        case "mul":
            return (
                Instruction("vpsubd", first, (first, held["zero_a"])),
                Instruction("vpsubd", second, (second, held["zero_b"])),
                Instruction("vpmulld", first, (first, second)),
                *x86.scaled(first, held["scale"]),
                Instruction("vaddps", first, (first, held["fixed"])),
            )
    return (Instruction("vpsubd", first, (first, held["zero_a"])), *x86.scaled(first, held["scale"]))


def pack(spec: ElementwiseSpec, operands: Operands, dialect: Dialect) -> dict[str, Array]:
    """Return the parameters of an elementwise layer."""
    if spec.kind == "clamp":
        bounds = {"lowest": operands.low, "highest": operands.high}
        filled = {name: np.full(dialect.vector_bytes, bound, np.int8) for name, bound in bounds.items()}
        return {"parameters": table_of(spec, dialect).pack(filled)}
    real = np.float32
    zeros = [np.int32(zero_point) for zero_point in operands.input_zero_points]
    output_zero_point = real(operands.output_zero_point)
    held: tuple[np.generic, ...]
    if spec.kind == "add":
        ratios = [real(scale) / real(operands.output_scale) for scale in operands.input_scales]
        centre = ratios[0] * real(zeros[0]) + ratios[1] * real(zeros[1])
        held = (*ratios, output_zero_point - centre)
    elif spec.kind == "sub":
        first, second = map(real, operands.input_scales)
        held = (*zeros, first, -second)
    else:
        scale = real(effective_scales(operands, x86.PROFILE)[0])
        held = (*zeros, scale, output_zero_point)
    if spec.kind in ("add", "mul"):
        values = x86.bound_values(dialect, operands.low, operands.high, 0)
    else:
        values = x86.offset_bounds(dialect, operands)
    values |= {"output_scale": np.full(dialect.lanes, operands.output_scale, real)} if spec.kind == "sub" else {}
    values |= {name: np.full(dialect.lanes, value) for name, value in zip(_REGIONS[spec.kind], held, strict=False)}
    return {"parameters": table_of(spec, dialect).pack(values)}


def generate_move(spec: MoveSpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program of a data movement."""
    table, value = constants({"pad": 1}), dialect.register(0)
    fill = moves.Fill(
        (Instruction("vpbroadcastb.load", value, (table.address("pad"),)),),
        table.nbytes,
        lambda target, nbytes: x86.fill_run(isa, dialect, value, target, nbytes),
    )
    return moves.generate(spec, isa, x86.PROFILE, copy(isa, dialect), fill)


def copy(isa: InstructionSet, dialect: Dialect) -> Callable[[Address, Address, int, int], Body]:
    """Return what copies a run, through registers after the first."""
    return lambda target, source, nbytes, number: x86.copy_run(isa, dialect, target, source, nbytes, 1 + number)


def pack_move(spec: MoveSpec, operands: Operands) -> dict[str, Array]:
    """Return the byte that surrounds what is padded: the output's zero point."""
    if spec.kind not in moves.FILLED:
        return {}
    return {"parameters": constants({"pad": 1}).pack({"pad": np.array([operands.output_zero_point], np.int8)})}


def generate_copy(spec: CopySpec, isa: InstructionSet, dialect: Dialect) -> Program:
    """Return the Program that moves bytes run by run."""
    run = min(spec.run, spec.elements)
    source = Address("input", 0, (("line", run),))
    body: Body = x86.copy_run(isa, dialect, replace(source, buffer="output"), source, run)
    body = loop(isa, "line", spec.elements // run if run else 0, body)
    if run and spec.elements % run:
        offset = spec.elements - spec.elements % run
        body += x86.copy_run(isa, dialect, Address("output", offset), Address("input", offset), spec.elements % run)
    buffers = (Buffer("input", spec.elements, role="input"), Buffer("output", spec.elements, role="output"))
    return Program("copy", isa, buffers, body, 0, x86.PROFILE)
