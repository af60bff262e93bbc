"""Elementwise layers and copies on scalar sets, a few elements a trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multiplier
from workloads.codegen import moves
from workloads.codegen import scalar as shared
from workloads.codegen.common import Body, loop, split
from workloads.operands import ADD_LEFT_SHIFT
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import CopySpec, ElementwiseSpec, MoveSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

_TRIP = {"add": 4, "sub": 4, "mul": 2, "requantize": 4, "clamp": 4}  # elements a trip; mul holds both factors
_RECORDS = {"add": 3, "sub": 3, "mul": 1, "requantize": 1, "clamp": 1}
_SUMS = frozenset({"add", "sub"})
_TWO_INPUTS = frozenset({"add", "sub", "mul"})


def generate(spec: ElementwiseSpec, scalar: Scalar) -> Program:
    """Return the Program of an elementwise layer.

    Raises
    ------
    NotImplementedError
        The kind of operation has no kernel.
    """
    if spec.kind not in _TRIP:
        raise NotImplementedError(f"{scalar.isa.name}: no kernel is generated for elementwise {spec.kind!r}")
    isa, space = scalar.isa, scalar.isa.spaces[0]
    period = spec.period if spec.kind in _TWO_INPUTS else spec.elements
    body: Body = ()
    for first, elements, trips in split(period, _TRIP[spec.kind]):
        places = tuple(
            Address("", first + place, (("repeat", period), ("element", elements))) for place in range(elements)
        )
        body += loop(isa, "element", trips, _elements(spec.kind, scalar, places))
    buffers = (
        Buffer("input", spec.elements, space, "input"),
        *((Buffer("input2", period, space, "input"),) if spec.kind in _TWO_INPUTS else ()),
        Buffer("parameters", shared.HEADER_BYTES + _RECORDS[spec.kind] * scalar.record_bytes, space, "parameters"),
        Buffer("output", spec.elements, space, "output"),
    )
    nest = (*_before(spec.kind, scalar), *loop(isa, "repeat", spec.elements // period, body))
    return Program(f"{isa.name}_{spec.kind}", isa, buffers, nest, profile=scalar.profile)


def _at(buffer: str, place: Address) -> Address:
    """Return an element's place in a buffer; the second input repeats, so it does not move with ``repeat``."""
    strides = place.strides if buffer != "input2" else tuple(item for item in place.strides if item[0] != "repeat")
    return Address(buffer, place.offset, strides)


def _before(kind: str, scalar: Scalar) -> Body:
    """Load what stays in registers for the whole layer."""
    if kind in _SUMS:
        return ()
    body = scalar.load_constants(offset=kind != "clamp")
    if kind in ("mul", "requantize"):
        body += scalar.load_parameters(scalar.record(0).plus(8))
    if kind == "requantize":
        body += (scalar.emit("load_word", scalar.spare, Address("parameters", shared.FIRST_ZERO_POINT)),)
    return body


def _elements(kind: str, scalar: Scalar, places: tuple[Address, ...]) -> Body:
    """Compute the elements of one trip."""
    values = scalar.values[: len(places)]
    match kind:
        case "add" | "sub":
            body = _added(kind, scalar, places)
        case "mul":
            body = _multiplied(scalar, places)
        case _:
            body = _loads(scalar, values, "input", places)
    if kind == "requantize":
        body += tuple(scalar.emit("subtract", value, value, scalar.spare) for value in values)
    store = scalar.clamp_store if kind == "clamp" else scalar.finish
    return body + tuple(
        statement
        for value, place in zip(values, places, strict=True)
        for statement in store(value, _at("output", place))
    )


def _loads(scalar: Scalar, values: tuple[str, ...], buffer: str, places: tuple[Address, ...]) -> Body:
    """Load elements of a buffer."""
    return tuple(
        scalar.emit("load_byte", value, _at(buffer, place)) for value, place in zip(values, places, strict=True)
    )


def _added(kind: str, scalar: Scalar, places: tuple[Address, ...]) -> Body:
    """Bring both inputs to the common scale and add or subtract them, then load what the result needs."""
    zero_point = scalar.constants[0]
    values = scalar.values[: len(places)]
    body: Body = ()
    for number, (buffer, offset) in enumerate(
        (("input", shared.FIRST_ZERO_POINT), ("input2", shared.SECOND_ZERO_POINT))
    ):
        body += (scalar.emit("load_word", zero_point, Address("parameters", offset)),)
        body += scalar.load_parameters(scalar.record(number).plus(8))
        for value, place in zip(values, places, strict=True):
            term = value if number == 0 else scalar.spare
            body += (
                scalar.emit("load_byte", term, _at(buffer, place)),
                scalar.emit("subtract", term, term, zero_point),
                scalar.emit("shift_left", term, term, ADD_LEFT_SHIFT[1]),
                *scalar.scale(term),
            )
            if number:
                body += (scalar.emit("add" if kind == "add" else "subtract", value, value, term),)
    return (*body, *scalar.load_constants(), *scalar.load_parameters(scalar.record(2).plus(8)))


def _multiplied(scalar: Scalar, places: tuple[Address, ...]) -> Body:
    """Multiply the elements of both inputs, each with its zero point subtracted."""
    values, others = scalar.values[: len(places)], scalar.values[len(places) : 2 * len(places)]
    body: Body = ()
    for registers, buffer, offset in (
        (values, "input", shared.FIRST_ZERO_POINT),
        (others, "input2", shared.SECOND_ZERO_POINT),
    ):
        body += _loads(scalar, registers, buffer, places)
        body += (scalar.emit("load_word", scalar.spare, Address("parameters", offset)),)
        body += tuple(scalar.emit("subtract", register, register, scalar.spare) for register in registers)
    return body + tuple(scalar.emit("multiply", a, a, b) for a, b in zip(values, others, strict=True))


def pack(spec: ElementwiseSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Return zero points, bounds and the requantisation parameters."""
    zero_points = (*operands.input_zero_points, 0)[:2]
    factors = effective_scales(operands, scalar.profile)[:1]
    if spec.kind in _SUMS:
        common = 2 * max(operands.input_scales)
        inputs = [scale / common for scale in operands.input_scales]
        factors = np.array([*inputs, common / (2.0 ** ADD_LEFT_SHIFT[1] * operands.output_scale)])
    pairs = [quantize_multiplier(float(factor)) for factor in factors]
    head = shared.header(0, operands.output_zero_point, operands.low, operands.high, *zero_points)
    body = shared.records(scalar, np.zeros(len(pairs), np.int32), *zip(*pairs, strict=True))
    return {"parameters": shared.as_bytes(head + body)}


def generate_move(spec: MoveSpec, scalar: Scalar) -> Program:
    """Return the Program of a data movement."""
    fill = moves.Fill(
        shared.load_filler(scalar), shared.HEADER_BYTES, lambda target, nbytes: shared.fill_run(scalar, target, nbytes)
    )
    return moves.generate(spec, scalar.isa, scalar.profile, copy(scalar), fill)


def copy(scalar: Scalar) -> Callable[[Address, Address, int, int], Body]:
    """Return what copies a run, through one of the registers for values."""
    return lambda target, source, nbytes, number: shared.copy_run(scalar, target, source, nbytes, scalar.values[number])


def pack_move(spec: MoveSpec, operands: Operands) -> dict[str, Array]:
    """Return the byte that surrounds what is padded: the output's zero point."""
    return (
        {"parameters": shared.as_bytes(shared.header(operands.output_zero_point, 0, 0, 0))}
        if spec.kind in moves.FILLED
        else {}
    )


def generate_copy(spec: CopySpec, scalar: Scalar) -> Program:
    """Return the Program that moves bytes run by run."""
    isa, space = scalar.isa, scalar.isa.spaces[0]
    body: Body = ()
    for first, nbytes, trips in split(spec.elements, max(min(spec.run, spec.elements), 1)):
        place = Address("", first, (("line", nbytes),))
        source, target = Address("input", first, place.strides), Address("output", first, place.strides)
        body += loop(isa, "line", trips, shared.copy_run(scalar, target, source, nbytes))
    buffers = (Buffer("input", spec.elements, space, "input"), Buffer("output", spec.elements, space, "output"))
    return Program(f"{isa.name}_copy", isa, buffers, body, profile=scalar.profile)
