"""Sums, differences, products and clamps of float32, element by element; the second operand may repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import nest
from workloads.codegen.float_set import FLOAT_BYTES
from workloads.codegen.float_sums import bounded
from workloads.codegen.regions import constants
from workloads.options import Options
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_spec import FloatOperands
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import ElementwiseSpec
    from workloads.tensor import Array

_ROLES = {"add": "add", "sub": "subtract"}
_UNROLL = 4  # vectors per iteration, where registers allow


def choices(kit: FloatSet) -> tuple[Options, ...]:
    """Return the one option offered for a set."""
    return (Options(columns=kit.lanes, lmul=kit.lmul),)


def table_of(kit: FloatSet) -> Constants:
    """Place zeros, which products begin with, and the bounds."""
    return constants({"zeros": kit.vector_bytes, "low": FLOAT_BYTES, "high": FLOAT_BYTES})


def generate(spec: ElementwiseSpec, bounds: tuple[str, ...], kit: FloatSet) -> Program:
    """Return the Program of an operator on two inputs, or of a clamp of one.

    Raises
    ------
    NotImplementedError
        The kind is none of them.
    """
    if spec.kind not in ("add", "sub", "mul", "clamp"):
        raise NotImplementedError(f"{kit.isa.name}: no kernel is generated in float32 for {spec.kind!r}")
    table, width = table_of(kit), max(1, min(_UNROLL, (len(kit.vectors) - 2) // 3))
    limits = tuple((name, table.address(name)) for name in bounds)
    repeats = spec.elements // spec.period
    body: Body = ()
    for first, vectors, trips in kit.pieces(spec.period, width):
        inner = _block(spec.kind, kit, table, FLOAT_BYTES * first, vectors, FLOAT_BYTES * spec.period, limits)
        body += nest(kit.isa, [("run", trips)], inner)
    inputs = [Buffer("input", FLOAT_BYTES * spec.elements, role="input")]
    if spec.kind != "clamp":
        inputs.append(Buffer("input2", FLOAT_BYTES * spec.period, role="input"))
    output = Buffer("output", FLOAT_BYTES * spec.elements, role="output")
    buffers = (*inputs, Buffer("parameters", table.nbytes, role="parameters"), output)
    return Program(f"{spec.kind}_f32", kit.isa, buffers, nest(kit.isa, [("repeat", repeats)], body))


def _block(
    kind: str, kit: FloatSet, table: Constants, first: int, vectors: tuple[int, ...], period_bytes: int,
    limits: tuple[tuple[str, Address], ...],
) -> Body:  # fmt: skip
    """Return some vectors of results, from byte ``first`` of each repetition on."""
    number, moved = len(vectors), FLOAT_BYTES * sum(vectors)
    a, b, made = (kit.vectors[place * number : (place + 1) * number] for place in range(3))
    offsets = [first + FLOAT_BYTES * sum(vectors[:place]) for place in range(number)]

    def at(buffer: str, place: int) -> Address:
        repeat = 0 if buffer == "input2" else period_bytes
        return Address(buffer, offsets[place]).plus(repeat=repeat, run=moved)

    body = kit.begin()
    for place, lanes in enumerate(vectors):
        body += kit.load(a[place], at("input", place), lanes)
        if kind != "clamp":
            body += kit.load(b[place], at("input2", place), lanes)
        if kind == "mul":
            body += kit.load(made[place], table.address("zeros"), lanes)
    results = made if kind == "mul" else a
    for place, lanes in enumerate(vectors):
        if kind == "mul":
            body += (kit.multiply_add(made[place], a[place], b[place], lanes, "multiply_add_each"),)
        elif kind != "clamp":
            body += (kit.emit(_ROLES[kind], a[place], a[place], b[place], lanes=lanes),)
    held = kit.factors or kit.vectors[-2:]
    body += bounded(kit, list(zip(results, vectors, strict=True)), limits, held)
    for place, lanes in enumerate(vectors):
        body += kit.store(results[place], at("output", place), lanes)
    return body


def pack(operands: FloatOperands, kit: FloatSet) -> dict[str, Array]:
    """Return the bounds."""
    values = {"low": np.full(1, operands.low, np.float32), "high": np.full(1, operands.high, np.float32)}
    return {"parameters": table_of(kit).pack(values)}
