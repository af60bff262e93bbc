"""DaVinci cores: concurrent in-order queues; the busiest one sets the time, plus filling and draining the pipeline."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from device_models.cores import Core, CoreCost
from device_models.figures import Figure, Sourced
from device_models.quantities import Bytes, BytesPerCycle, Cycles  # noqa: TC001 - pydantic reads annotations
from workloads.errors import InputError, did_you_mean
from workloads.isa import ELEMENT_BYTES
from workloads.program import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workloads.isa import InstructionSet
    from workloads.program import Instruction, Program, Statement

Queue = Literal["MTE1", "MTE2", "MTE3", "CUBE", "VECTOR", "FIXPIPE", "SCALAR"]
CUBE, VECTOR, SCALAR = "CUBE", "VECTOR", "SCALAR"


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
    """Instructions that another one's cost includes, with the source that says so."""

    instructions: tuple[str, ...]
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
        From the first request to global memory to its data; later ones overlap. [cycle]
    """

    repeat: Figure[Bytes]
    burst: Figure[Bytes]
    latency: Figure[Cycles]
    cube: Cube
    scalar: Scalar
    vector: tuple[Vector, ...] = Field(min_length=1)
    move: tuple[Move, ...] = Field(min_length=1)
    free: tuple[Free, ...] = ()


@dataclass(frozen=True)
class Step:
    """One hardware instruction: its queue, the cycles it holds it, and the cycles to issue it."""

    queue: str
    held: float
    issue: float

    @property
    def parts(self) -> tuple[Step, ...]:
        """Nothing inside."""
        return ()

    @property
    def busy(self) -> Mapping[str, float]:
        """Cycles of each queue."""
        return {queue: cycles for queue, cycles in ((self.queue, self.held), (SCALAR, self.issue)) if cycles}

    @property
    def cycles(self) -> float:
        """From its issue to its end."""
        return self.held + self.issue


def cost(program: Program, core: Core) -> CoreCost:
    """Return the cycles of a Program on one core whose data lie in the L2 cache.

    All queues work at the same time because every buffer is one of two. So each queue bounds the time by its own work,
    plus what precedes its first instruction in program order (filling), plus what follows its last (draining); the
    largest bound is taken, and the latency of global memory added. Never less than the busiest queue, never more than
    all of them in turn.
    """
    nest = _nest(program.body, program.isa, core)
    if not nest.busy:
        return CoreCost(0.0, SCALAR, {SCALAR: 0.0})
    timing: Timing = core.timing
    waiting = nest.cycles - nest.busy[nest.bound] + timing.latency.value
    return CoreCost(nest.cycles + timing.latency.value, nest.bound, {**nest.busy, "fill and drain": waiting})


@dataclass(frozen=True, eq=False)
class Nest:
    """A loop with its hardware instructions and inner loops in order.

    Parameters
    ----------
    busy
        Cycles of each queue in all trips.
    cycles, bound
        Time of all trips, and the busiest queue.
    """

    parts: tuple[Step | Nest, ...]
    busy: Mapping[str, float]
    cycles: float
    bound: str


def _nest(body: Sequence[Statement], isa: InstructionSet, core: Core, trips: int = 1) -> Nest:
    """Price a loop body."""
    parts: list[Step | Nest] = []
    for statement in body:
        if not isinstance(statement, Loop):
            parts.append(_step(statement, isa, core, 1))
        elif (single := _single(statement)) is not None:
            parts.append(_step(single[0], isa, core, single[1]))
        else:
            parts.append(_nest(statement.body, isa, core, statement.trips))
    busy: defaultdict[str, float] = defaultdict(float)
    for part in parts:
        for queue, cycles in part.busy.items():
            busy[queue] += cycles * trips
    times = [own + _outside(parts, queue) + _outside(parts[::-1], queue, last=True) for queue, own in busy.items()]
    bound = max(busy, key=lambda queue: busy[queue], default=SCALAR)
    return Nest(tuple(parts), dict(busy), max(times, default=0.0), bound)


def _outside(parts: Sequence[Step | Nest], queue: str, *, last: bool = False) -> float:
    """Return the cycles before one queue's first instruction; after its last one, given the parts in reverse."""
    total = 0.0
    for part in parts:
        if queue in part.busy:
            inner = part.parts[::-1] if last else part.parts
            return total + _outside(inner, queue, last=last)
        total += part.cycles
    return total


def _single(loop: Loop) -> tuple[Instruction, int] | None:
    """Return (move, times) of a nest around one move: the hardware has strides and repeats for it, and no loop."""
    inner = [part for part in loop.body if isinstance(part, Loop) or part.op != "s_loop"]
    if len(inner) != 1:
        return None
    if isinstance(inner[0], Loop):
        found = _single(inner[0])
        return None if found is None else (found[0], found[1] * loop.trips)
    return (inner[0], loop.trips) if len(inner[0].shape) == 4 and len(inner[0].sources) == 1 else None


def _step(instruction: Instruction, isa: InstructionSet, core: Core, times: int) -> Step:
    """Price one instruction, or one move that repeats ``times``.

    Raises
    ------
    InputError
        The core has no timing for it.
    """
    timing: Timing = core.timing
    issue = timing.scalar.issue.value
    op = instruction.op
    if op in timing.scalar.instructions:
        return Step(SCALAR, 0.0, issue)
    if any(op in row.instructions for row in timing.free):
        return Step(SCALAR, 0.0, 0.0)
    if op in timing.cube.instructions:
        m, k, n = instruction.shape[:3]
        return Step(CUBE, mad_cycles(timing.cube, (m, k, n), ELEMENT_BYTES[isa.meaning(op).sources[0]]), issue)
    for row in timing.vector:
        if op in row.instructions:
            return Step(VECTOR, vector_cycles(timing, row, instruction, isa), issue)
    for move in timing.move:
        if op in move.instructions:
            return Step(move.queue, times * moved_bytes(timing, move, instruction, isa) / move.rate.value, issue)
    raise InputError(core.name, [f"{op!r} of {isa.name} has no timing; {did_you_mean(op, _known(timing))}"])


def _known(timing: Timing) -> Iterator[str]:
    """Yield every mnemonic with a timing."""
    yield from timing.cube.instructions
    yield from timing.scalar.instructions
    for group in (timing.vector, timing.move, timing.free):
        for row in group:
            yield from row.instructions


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
