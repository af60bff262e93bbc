"""Elementwise kernels and copies on the davinci vector unit: tiles of the vector buffer, half precision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop
from workloads.codegen.davinci_tiles import HEADER_BYTES, Part, copies_of, half, move, on_chip, split
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.specs import CopySpec, ElementwiseSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Statement
    from workloads.tensor import Array

Body = tuple["Statement", ...]
A, B, HALF_A, HALF_B, OUT = "ub_a", "ub_b", "ub_half_a", "ub_half_b", "ub_out"
KINDS = frozenset({"add", "sub", "mul", "requantize", "clamp"})
_TWO = frozenset({"add", "sub", "mul"})
LANE_BYTES = {"ub:a": 1, "ub:b": 1, "ub:half_a": 2, "ub:half_b": 2, "ub:out": 1}
REPEAT_LANES = 128  # half-precision lanes of one repeat: 256 bytes
SCALARS = ("minus_zero_a", "scale_a", "minus_zero_b", "scale_b", "inverse_scale", "zero", "low", "high")


def scalar(name: str) -> str:
    """Return the scalar register that holds a named factor."""
    return f"x{SCALARS.index(name)}"


def load_scalars() -> Body:
    """Load every half-precision factor from the parameter buffer."""
    return tuple(
        Instruction("s_load_f16", scalar(name), (Address("parameters", 2 * place),))
        for place, name in enumerate(SCALARS)
    )


def generate(spec: ElementwiseSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate add, sub, mul, requantise or clamp.

    Raises
    ------
    NotImplementedError
        The kind of operation has no kernel.
    ValueError
        The second operand does not repeat a whole number of times.
    """
    if spec.kind not in KINDS:
        raise NotImplementedError(f"davinci: no kernel is generated for elementwise {spec.kind!r}")
    two = spec.kind in _TWO
    period = spec.period if two else spec.elements
    if spec.elements % period:
        raise ValueError(f"{spec.elements} elements are no multiple of the period {period}")
    lanes = half(isa, "ub") // sum(LANE_BYTES.values()) // REPEAT_LANES * REPEAT_LANES
    body = _streamed(spec, isa, lanes, two) if period == spec.elements else _repeated(spec, isa, lanes)
    largest = min(lanes, spec.elements)
    inputs = [Buffer("input", spec.elements, "global", "input")]
    if two:
        inputs.append(Buffer("input2", period, "global", "input"))
    used = {key: largest * size for key, size in LANE_BYTES.items() if two or not key.endswith("b")}
    buffers = (
        *inputs,
        Buffer("parameters", HEADER_BYTES, "global", "parameters"),
        Buffer("output", spec.elements, "global", "output"),
        *on_chip(isa, used, copies_of(used, options)),
    )
    return Program(f"davinci_{spec.kind}", isa, buffers, (*load_scalars(), *body), profile="ascend-vector")


def _streamed(spec: ElementwiseSpec, isa: InstructionSet, lanes: int, two: bool) -> Body:
    """Walk both operands together."""
    body: list[Statement] = []
    for part in split(spec.elements, lanes):
        at = {"tile": part.size}
        moves = [move("mte2_ub", Address(A), Address("input", part.start).plus(0, **at), (1, part.size))]
        if two:
            moves.append(move("mte2_ub", Address(B), Address("input2", part.start).plus(0, **at), (1, part.size)))
        tile = (*moves, *compute(spec.kind, part.size), _store(Address("output", part.start).plus(0, **at), part.size))
        body += loop(isa, "tile", part.trips, tile)
    return tuple(body)


def _repeated(spec: ElementwiseSpec, isa: InstructionSet, lanes: int) -> Body:
    """Keep as much as fits of the repeating operand and walk the other one past it."""
    repeats = spec.elements // spec.period
    body: list[Statement] = []
    together = max(1, lanes // spec.period)
    for chunk in split(spec.period, lanes):
        inner: list[Statement] = []
        for part in split(repeats, together):
            size = part.size * chunk.size
            at = {"chunk": chunk.size, "tile": part.size * spec.period}
            start = chunk.start + part.start * spec.period
            tile = (
                move("mte2_ub", Address(A), Address("input", start).plus(0, **at), (1, size)),
                *compute(spec.kind, size),
                _store(Address("output", start).plus(0, **at), size),
            )
            inner += loop(isa, "tile", part.trips, tile)
        source = Address("input2", chunk.start).plus(chunk=chunk.size)
        kept = min(together, repeats)
        load = move("mte2_ub", Address(B), source, (kept, chunk.size), (0, chunk.size))
        body += loop(isa, "chunk", chunk.trips, (load, *inner))
    return tuple(body)


def compute(kind: str, count: int) -> Body:
    """Dequantise, combine and requantise ``count`` elements of the vector buffer."""
    body = [*_dequantize(HALF_A, A, "a", count)]
    if kind in _TWO:
        body += _dequantize(HALF_B, B, "b", count)
        op = "vmul_f16" if kind == "mul" else "vadd_f16"  # a difference adds what has a negative scale
        body.append(_vector(op, HALF_A, (Address(HALF_A), Address(HALF_B)), count))
    body += [
        _vector("vmuls_f16", HALF_A, (Address(HALF_A), scalar("inverse_scale")), count),
        _vector("vadds_f16", HALF_A, (Address(HALF_A), scalar("zero")), count),
        *clamp(HALF_A, count),
        _vector("vconv_f16_s8", OUT, (Address(HALF_A),), count),
    ]
    return tuple(body)


def clamp(name: str, count: int) -> Body:
    """Bound half-precision values before they become integers; the bounds are integers, so the order is free."""
    return (
        _vector("vmaxs_f16", name, (Address(name), scalar("low")), count),
        _vector("vmins_f16", name, (Address(name), scalar("high")), count),
    )


def _dequantize(target: str, source: str, which: str, count: int) -> Body:
    return (
        _vector("vconv_s8_f16", target, (Address(source),), count),
        _vector("vadds_f16", target, (Address(target), scalar(f"minus_zero_{which}")), count),
        _vector("vmuls_f16", target, (Address(target), scalar(f"scale_{which}")), count),
    )


def _vector(op: str, target: str, sources: tuple[Address | str, ...], count: int) -> Instruction:
    return Instruction(op, Address(target), sources, count=count)


def _store(target: Address, count: int) -> Instruction:
    return move("mte3", target, Address(OUT), (1, count))


def pack(spec: ElementwiseSpec, operands: Operands) -> dict[str, Array]:
    """Return the factors as half-precision numbers.

    Raises
    ------
    ValueError
        The number of quantised inputs does not fit the kernel.
    """
    needed = 2 if spec.kind in _TWO else 1
    if len(operands.input_scales) != needed:
        raise ValueError(f"{spec.kind} takes {needed} quantised inputs, given {len(operands.input_scales)}")
    if spec.kind == "sub":
        first, second = operands.input_scales
        operands = replace(operands, input_scales=(first, -second))
    return {"parameters": header(operands)}


def header(operands: Operands) -> Array:
    """Return the start of a parameter buffer, the factors in the order of ``SCALARS``."""
    from workloads.kernels.ascend import half_factors

    result = np.zeros(HEADER_BYTES, np.uint8)
    factors = np.array(half_factors(operands), np.float16)
    result[: factors.nbytes] = factors.view(np.uint8)
    return result


def generate_copy(spec: CopySpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate a copy through the vector buffer; short runs cost a burst each."""
    room = half(isa, "ub")
    whole, rest = divmod(spec.elements, spec.run)
    pieces = [(Part(0, spec.run, whole), part) for part in split(spec.run, room)] if whole else []
    body: list[Statement] = []
    if spec.run <= room and whole:
        for part in split(whole, room // spec.run):
            extent, at = (part.size, spec.run), part.start * spec.run
            body += loop(isa, "tile", part.trips, _through(at, {"tile": part.size * spec.run}, extent, spec.run))
    else:
        for runs, part in pieces:
            steps = {"run": spec.run, "tile": part.size}
            inner = loop(isa, "tile", part.trips, _through(part.start, steps, (1, part.size), part.size))
            body += loop(isa, "run", runs.trips, inner)
    if rest:
        body += [
            statement
            for part in split(rest, room)
            for statement in loop(
                isa, "tile", part.trips,
                _through(whole * spec.run + part.start, {"tile": part.size}, (1, part.size), part.size),
            )
        ]  # fmt: skip
    used = {"ub:out": min(room, spec.elements)}
    buffers = (
        Buffer("input", spec.elements, "global", "input"),
        Buffer("output", spec.elements, "global", "output"),
        *on_chip(isa, used, copies_of(used, options)),
    )
    return Program("davinci_copy", isa, buffers, tuple(body), profile="none")


def _through(at: int, steps: dict[str, int], extent: tuple[int, int], pitch: int) -> Body:
    """Move rows in and out of the vector buffer."""
    rows = (pitch, pitch)
    return (
        move("mte2_ub_runs", Address(OUT), Address("input", at).plus(0, **steps), extent, rows),
        move("mte3", Address("output", at).plus(0, **steps), Address(OUT), extent, rows),
    )
