"""In-order queues with event flags as a linear system over (max, +): a loop is a power of its body's matrix.

The state is a column of times: when the scalar unit is done issuing, when each queue is free, and for each buffer when
its tile is filled and when each of its copies was last read. An instruction starts at the largest of a few of them
and moves some; so a loop body is a matrix that adds and takes maxima, exact for any number of trips.

References
----------
.. [1] F. Baccelli et al., "Synchronization and Linearity", Wiley, 1992, chapter 2: timed event graphs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from device_models.cores.davinci_tables import QUEUES, Timing, held, known
from workloads.errors import InputError, did_you_mean
from workloads.program import Address, Instruction, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device_models.cores import Core
    from workloads.program import Program, Statement
    from workloads.tensor import Array

NEVER = -np.inf


@dataclass(frozen=True)
class Step:
    """One hardware instruction.

    Parameters
    ----------
    issue, held
        Cycles of the scalar unit to issue it, and cycles that it holds its queue.
    delay
        Cycles from the end of its turn until what it wrote can be read.
    reads, writes
        Buffers; one that it both reads and writes is updated in place.
    """

    op: str
    queue: str
    issue: float
    held: float
    delay: float
    reads: tuple[str, ...]
    writes: str | None


@dataclass(frozen=True, eq=False)
class Nest:
    """A loop of steps and inner loops; the whole Program is one with a single trip."""

    variable: str
    trips: int
    parts: tuple[Step | Nest, ...]

    @cached_property
    def busy(self) -> Mapping[str, float]:
        """Cycles of each queue in all trips."""
        total: defaultdict[str, float] = defaultdict(float)
        for part in self.parts:
            if isinstance(part, Nest):
                own = part.busy
            else:
                own = {part.queue: part.held}
                own["SCALAR"] = own.get("SCALAR", 0.0) + part.issue
            for queue, cycles in own.items():
                total[queue] += cycles * self.trips
        return {queue: total[queue] for queue in QUEUES if total[queue]}


def nest_of(program: Program, core: Core) -> Nest:
    """Return a Program as hardware instructions of a core.

    Raises
    ------
    InputError
        The core has no timing for an instruction.
    """
    return Nest("", 1, _parts(program.body, program, core))


def _parts(body: Sequence[Statement], program: Program, core: Core) -> tuple[Step | Nest, ...]:
    parts: list[Step | Nest] = []
    for statement in body:
        if not isinstance(statement, Loop):
            parts.append(_step(statement, 1, program, core))
        elif (single := _single(statement)) is not None:
            parts.append(_step(*single, program, core))
        elif statement.trips:
            parts.append(Nest(statement.variable, statement.trips, _parts(statement.body, program, core)))
    return tuple(parts)


def _single(loop: Loop) -> tuple[Instruction, int] | None:
    """Return (move, times) of a nest around one move: the hardware has strides and repeats for it, and no loop."""
    inner = [part for part in loop.body if isinstance(part, Loop) or part.op != "s_loop"]
    if len(inner) != 1 or not loop.trips:
        return None
    if isinstance(inner[0], Loop):
        found = _single(inner[0])
        return None if found is None else (found[0], found[1] * loop.trips)
    return (inner[0], loop.trips) if len(inner[0].shape) == 4 and len(inner[0].sources) == 1 else None


def _step(instruction: Instruction, times: int, program: Program, core: Core) -> Step:
    """Price one instruction, or one move that repeats ``times``."""
    timing: Timing = core.timing
    op, isa = instruction.op, program.isa
    found = held(timing, instruction, isa, times)
    if found is None:
        raise InputError(core.name, [f"{op!r} of {isa.name} has no timing; {did_you_mean(op, known(timing))}"])
    queue, cycles = found
    reads = [operand.buffer for operand in instruction.sources if isinstance(operand, Address)]
    writes = instruction.destination.buffer if isinstance(instruction.destination, Address) else None
    if isa.meaning(op).accumulate and writes is not None:
        reads.append(writes)
    issue = 0.0 if any(op in row.instructions for row in timing.free) else timing.scalar.issue.value
    delay = timing.latency.value if queue == "MTE2" and cycles else 0.0
    return Step(op, queue, issue, cycles, delay, tuple(dict.fromkeys(reads)), writes)


@dataclass(frozen=True)
class Rows:
    """Where a buffer's times stand in the state: its tile is filled; each copy was last read, newest first."""

    filled: int
    read: tuple[int, ...]


@dataclass(frozen=True)
class Wait:
    """One of the times that a step waits for, and why: "in turn", "issued", "<buffer> is filled" or "... is free"."""

    row: int
    why: str


@dataclass(frozen=True, eq=False)
class Machine:
    """The queues of one core while it runs one Program.

    Parameters
    ----------
    buffers
        Rows of the buffers that are both written and read: only they need flags.
    kept
        Matrices of loops already taken, by loop and the buffers that had been read before it.
    """

    buffers: Mapping[str, Rows]
    size: int
    kept: dict[tuple[int, frozenset[str]], tuple[Array, frozenset[str]]] = field(default_factory=dict)

    def start(self) -> Array:
        """Return the state before the first instruction: everything free at cycle 0."""
        return np.zeros((self.size, 1))

    def waits(self, step: Step, seen: frozenset[str]) -> list[Wait]:
        """Return what a step waits for, given the buffers whose tile has been read."""
        found = [Wait(QUEUES.index(step.queue), "in turn"), Wait(0, "issued")]
        found += [Wait(self.buffers[name].filled, f"{name} is filled") for name in step.reads if name in self.buffers]
        if step.writes is not None and step.writes in self.buffers:
            copies = self.buffers[step.writes].read
            # A new tile takes the copy read longest ago; what fills or updates a tile waits for its own readers.
            found.append(Wait(copies[-1 if self._opens(step, seen) else 0], f"{step.writes} is free"))
        return found

    def _opens(self, step: Step, seen: frozenset[str]) -> bool:
        """Whether a step begins a new tile: it writes over one that has been read."""
        return step.writes in seen and step.writes not in step.reads

    def take(self, step: Step, state: Array, seen: frozenset[str]) -> frozenset[str]:
        """Let a step pass: change the state, return the buffers whose tile has been read."""
        state[0] += step.issue
        if step.queue == "SCALAR":
            return seen
        end = np.maximum.reduce([state[wait.row] for wait in self.waits(step, seen)]) + step.held
        state[QUEUES.index(step.queue)] = end
        opens = self._opens(step, seen)
        for name in step.reads:
            if name in self.buffers:
                newest = self.buffers[name].read[0]
                state[newest] = np.maximum(state[newest], end)
                if name != step.writes:
                    seen |= {name}
        if step.writes is not None and step.writes in self.buffers:
            rows = self.buffers[step.writes]
            filled = end + step.delay
            if opens:
                state[list(rows.read[1:])] = state[list(rows.read[:-1])]
                state[rows.read[0]] = end
                seen -= {step.writes}
            state[rows.filled] = filled if opens else np.maximum(state[rows.filled], filled)
        return seen

    def run(
        self,
        parts: Sequence[Step | Nest],
        state: Array,
        seen: frozenset[str],
        watch: Callable[[Step, Array, frozenset[str]], None] | None = None,
    ) -> tuple[Array, frozenset[str]]:
        """Return the state after a body; ``watch`` sees each step of it, and of its loops, before it passes."""
        state = state.copy()
        for part in parts:
            if isinstance(part, Step):
                if watch is not None:
                    watch(part, state, seen)
                seen = self.take(part, state, seen)
            elif watch is not None:
                for _ in range(part.trips):
                    state, seen = self.run(part.parts, state, seen, watch)
            else:
                matrix, seen = self.passage(part, seen)
                state = product(matrix, state)
        return state, seen

    def passage(self, nest: Nest, seen: frozenset[str], trips: int | None = None) -> tuple[Array, frozenset[str]]:
        """Return the matrix of a loop, of all its trips unless told, and the buffers read after it."""
        trips = nest.trips if trips is None else trips
        matrix, after = self._body(nest, seen)
        if trips > 1:
            again, _ = self._body(nest, after)
            matrix = product(power(again, trips - 1), matrix)
        return matrix, after

    def _body(self, nest: Nest, seen: frozenset[str]) -> tuple[Array, frozenset[str]]:
        """Return the matrix of one trip."""
        key = (id(nest), seen)
        if key not in self.kept:
            identity = np.full((self.size, self.size), NEVER)
            np.fill_diagonal(identity, 0.0)
            self.kept[key] = self.run(nest.parts, identity, seen)
        return self.kept[key]


def machine_of(program: Program, nest: Nest) -> Machine:
    """Return the queues at rest for a Program."""
    read, written = set[str](), set[str]()
    _touched(nest, read, written)
    size, buffers = len(QUEUES), {}
    for buffer in program.buffers:
        if buffer.name in read & written:
            buffers[buffer.name] = Rows(size, tuple(range(size + 1, size + 1 + buffer.copies)))
            size += 1 + buffer.copies
    return Machine(buffers, size)


def _touched(nest: Nest, read: set[str], written: set[str]) -> None:
    for part in nest.parts:
        if isinstance(part, Nest):
            _touched(part, read, written)
        else:
            read.update(part.reads)
            written.update(() if part.writes is None else (part.writes,))


def product(first: Array, second: Array) -> Array:
    """Return the (max, +) product of matrices (n, n) and (n, m): largest sum over the inner index."""
    total: Array = (first[:, :, None] + second[None, :, :]).max(axis=1)
    return total


def power(matrix: Array, exponent: int) -> Array:
    """Return a (max, +) power by squaring; ``exponent`` is at least 1."""
    result, left = matrix, exponent - 1
    while left:
        if left & 1:
            result = product(matrix, result)
        left >>= 1
        if left:
            matrix = product(matrix, matrix)
    return result
