"""Timing tables of DaVinci cores, and the cycles that one instruction holds its queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from device_models.figures import Figure, Sourced
from device_models.quantities import Bytes, BytesPerCycle, Cycles  # noqa: TC001 - pydantic reads annotations
from workloads.isa import ELEMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.isa import InstructionSet
    from workloads.program import Instruction

Queue = Literal["MTE1", "MTE2", "MTE3", "CUBE", "VECTOR", "FIXPIPE", "SCALAR"]
QUEUES: tuple[Queue, ...] = ("SCALAR", "MTE2", "MTE1", "CUBE", "FIXPIPE", "VECTOR", "MTE3")  # in the order of data


class Cube(Sourced):
    """The matrix unit: one block of rows x depth x columns per cycle, and cycles to start an instruction."""

    instructions: tuple[str, ...]
    rows: Figure[int]
    depth: Figure[Bytes]
    columns: Figure[int]
    start: Figure[Cycles]


class Vector(Sourced):
    """A group of vector instructions: cycles to start, per repeat, and to finish."""

    instructions: tuple[str, ...]
    start: Figure[Cycles]
    per_repeat: Figure[Cycles]
    finish: Figure[Cycles]


class Move(Sourced):
    """A group of moves on one queue.

    Parameters
    ----------
    rate
        Bytes of the source per cycle.
    bursts
        "near": rows that touch share a burst; "apart": each row has its own; "none": no bursts on this route.
    """

    instructions: tuple[str, ...]
    queue: Queue
    rate: Figure[BytesPerCycle]
    bursts: Literal["none", "near", "apart"] = "none"

    @field_validator("rate", mode="after")
    @classmethod
    def _moves(cls, rate: Figure[float]) -> Figure[float]:
        if rate.value <= 0:
            raise ValueError(f"{rate.text!r} moves nothing; expected more than 0")
        return rate


class Free(Sourced):
    """Instructions that another one of the same queue includes, with the source that says so."""

    instructions: tuple[str, ...]
    queue: Queue
    source: str


class Scalar(Sourced):
    """The scalar unit, which issues every instruction: cycles for each."""

    instructions: tuple[str, ...]
    issue: Figure[Cycles]


class Timing(Sourced):
    """The tables of a DaVinci core.

    Parameters
    ----------
    repeat, burst
        Bytes of one vector repeat; smallest transfer to or from global memory. [B]
    latency
        From a request to global memory until its data can be used; the queue goes on meanwhile. [cycle]
    functions
        How many times longer the library's functions (exponentials, divisions, normalisations) take than the
        instructions of their formulas; as long where absent. A Program's instructions are priced by themselves.
    vectors
        Vector units beside each matrix unit, one where absent; a Program uses one.
    """

    repeat: Figure[Bytes]
    burst: Figure[Bytes]
    latency: Figure[Cycles]
    functions: Figure[float] | None = None
    vectors: Figure[int] | None = None
    cube: Cube
    scalar: Scalar
    vector: tuple[Vector, ...] = ()
    move: tuple[Move, ...] = ()
    free: tuple[Free, ...] = ()


def known(timing: Timing) -> Iterator[str]:
    """Yield every mnemonic with a timing."""
    yield from timing.cube.instructions
    yield from timing.scalar.instructions
    for group in (timing.vector, timing.move, timing.free):
        for row in group:
            yield from row.instructions


def held(timing: Timing, instruction: Instruction, isa: InstructionSet, times: int) -> tuple[Queue, float] | None:
    """Return an instruction's queue and the cycles it holds it; None without a timing. A move may repeat ``times``."""
    op = instruction.op
    if op in timing.scalar.instructions:
        return "SCALAR", 0.0
    if op in timing.cube.instructions:
        m, k, n = instruction.shape[:3]
        return "CUBE", mad_cycles(timing.cube, (m, k, n), ELEMENT_BYTES[isa.meaning(op).sources[0]])
    for vector in timing.vector:
        if op in vector.instructions:
            return "VECTOR", vector_cycles(timing, vector, instruction, isa)
    for move in timing.move:
        if op in move.instructions:
            return move.queue, times * moved_bytes(timing, move, instruction, isa) / move.rate.value
    return next(((row.queue, 0.0) for row in timing.free if op in row.instructions), None)


def mad_cycles(cube: Cube, extent: tuple[int, int, int], element_bytes: int) -> float:
    """Cycles of a product of (m, k) by (k, n): one per block, and the start. [cycle]

    Parameters
    ----------
    element_bytes
        Of the operands; the block is 32 bytes deep, so wider elements make it shallower. [B]

    References
    ----------
    .. [1] hw-native-sys/pto-isa@3186c381bd49:include/pto/costmodel, for the 910B.
    """
    m, k, n = extent
    blocks = -(-m // cube.rows.value) * -(-(k * element_bytes) // int(cube.depth.value)) * -(-n // cube.columns.value)
    return blocks + cube.start.value


def vector_cycles(timing: Timing, row: Vector, instruction: Instruction, isa: InstructionSet) -> float:
    """Cycles of a vector instruction: start, repeats of its widest operand, finish. [cycle]"""
    meaning = isa.meaning(instruction.op)
    widest = max(ELEMENT_BYTES[kind] for kind in (meaning.result, *meaning.sources))
    repeats = -(-(instruction.count or meaning.lanes) * widest // int(timing.repeat.value))
    return row.start.value + repeats * row.per_repeat.value + row.finish.value


def moved_bytes(timing: Timing, move: Move, instruction: Instruction, isa: InstructionSet) -> float:
    """Bytes of the source that one execution of a move reads, in whole bursts where the route has them. [B]"""
    rows, elements, *pitches = instruction.shape
    size = ELEMENT_BYTES[isa.meaning(instruction.op).sources[0]]
    row = elements * size
    if move.bursts == "none":
        return float(rows * row)
    burst = int(timing.burst.value)
    apart = rows * -(-row // burst) * burst
    if move.bursts == "apart":
        return float(apart)
    pitch = pitches[1] if move.queue == "MTE3" else pitches[0]  # the side that lies in global memory
    span = (rows - 1) * pitch + row
    return float(min(apart, -(-span // burst) * burst))
