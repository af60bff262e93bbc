"""The state of an in-order pipeline, one instruction after another, and the rate at which a block repeats on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_models.cores.inorder import Timing
    from device_models.cores.timing import Issue

EARLY = "early"  # the name of operands that are read before the late ALU
_MOST = 48  # iterations after which a block that finds no rhythm is averaged


@dataclass
class Placed:
    """When and where an instruction issued.

    Parameters
    ----------
    came
        From when it only waited for operands or ports. [cycle]
    ports
        One per micro-operation; while the cycle lasts, a younger instruction may still move it to another.
    waited_for
        What held it last; empty if nothing did.
    paired
        It issued beside an older one.
    """

    issue: Issue
    came: int
    cycle: int
    ports: tuple[str, ...] = ()
    waited_for: str = ""
    paired: bool = False


@dataclass(frozen=True)
class _Result:
    """What was written to a register: by which instruction, when it issued, and when early consumers may read it."""

    issue: Issue
    at: int
    early: float

    def ready(self, reads_as: str) -> float:
        """Return when consumers whose operands go by a name may read it."""
        return self.early if reads_as == EARLY else self.at + self.issue.latency_for(reads_as)


class Pipeline:
    """What an in-order pipeline remembers between two instructions."""

    def __init__(self, tables: Timing) -> None:
        self.cycle = 0
        self._width = tables.issue_width.value
        self._taken = tables.branch.taken.value if tables.branch.taken else None
        self._never = frozenset(frozenset(conflict.ports) for conflict in tables.conflicts)
        self._free = dict.fromkeys(tables.ports, 0.0)  # when, as this cycle found it
        self._holder: dict[str, str] = {}
        self._written: dict[str, _Result] = {}
        self._together: list[Placed] = []  # in this cycle, oldest first
        self._refill = 0  # cycles that fetch has just taken

    def issue(self, issue: Issue) -> Placed:
        """Issue one instruction as early as order, operands and ports allow."""
        if self._together and sum(older.issue.slots for older in self._together) + issue.slots > self._width:
            self._advance(self.cycle + 1)
        came, self._refill = self.cycle - self._refill, 0
        reason = "fetch after a taken branch"
        while isinstance(found := self._find(issue), str):
            reason = found
            self._advance(self.cycle + 1)
        ready, operand = self._operands(issue)
        if ready > self.cycle:
            reason = operand
            self._advance(math.ceil(ready))
            found = self._fit([issue]) or []
        waited_for = reason if self.cycle > came else ""
        placed = Placed(issue, came, self.cycle, waited_for=waited_for, paired=bool(self._together))
        self._together.append(placed)
        for each, ports in zip(self._together, found, strict=True):
            each.ports = ports
        result = _Result(issue, self.cycle, self._early(issue))
        self._written.update(dict.fromkeys(issue.writes, result))
        return placed

    def branch(self) -> None:
        """Take a branch back: the next instruction comes after the refill, or seamlessly where there is none."""
        if self._taken is not None:
            self._refill = math.ceil(self._taken)
            self._advance(self.cycle + 1 + self._refill)

    def end(self) -> float:
        """Return when whatever comes next could issue at the earliest: in its own cycle, on a port that is free."""
        self._advance(self.cycle + 1)
        return float(max(self.cycle, math.ceil(min(self._free.values()) - 1e-9)))

    def state(self) -> tuple[object, ...]:
        """Return all that later issues depend on, relative to the current cycle."""
        free = tuple(round(max(0.0, when - self.cycle), 6) for when in self._free.values())
        pending = sorted(
            (register, result.at - self.cycle, result.early - self.cycle)
            for register, result in self._written.items()
            if max(result.at + result.issue.longest, result.early) > self.cycle
        )
        return free, tuple(pending), tuple(placed.ports for placed in self._together)

    def _advance(self, cycle: int) -> None:
        """Close the current cycle: what issued in it occupies its ports."""
        for placed in self._together:
            for port, (_, busy) in zip(placed.ports, placed.issue.micros, strict=True):
                self._hold(port, max(self._free[port], placed.cycle) + busy, placed.issue.op)
            for port, busy in placed.issue.holds:
                self._hold(port, max(self._free[port], placed.cycle + busy), placed.issue.op)
        self.cycle, self._together = cycle, []

    def _hold(self, port: str, until: float, op: str) -> None:
        self._free[port], self._holder[port] = until, op

    def _operands(self, issue: Issue) -> tuple[float, str]:
        """Return when all operands are there, and which comes last; accumulators and late operands may come late."""
        last, reason = 0.0, ""
        for registers, late, name in (
            (issue.reads, issue.late, issue.reads_as),
            (issue.accumulates, issue.latency - issue.accumulator_latency, ""),
        ):
            for register in registers:
                if register in self._written:
                    result = self._written[register]
                    if (ready := result.ready(name) - late) > last:
                        last, reason = ready, f"{register} of {result.issue.op}"
        return last, reason

    def _early(self, issue: Issue) -> float:
        """Return when an early consumer may read the result of an instruction that issues now.

        A skewed one executes in whichever stage its operands reach; that there is a stage for each cycle in between
        gives away at most one cycle, and keeps earlier operands from ever meaning later results.
        """
        late = self.cycle + issue.latency_for(EARLY)
        if not issue.skewed:
            return late
        operands = [self._written[register].ready(EARLY) for register in issue.reads if register in self._written]
        return max(self.cycle, min(late - issue.latency, max(operands, default=0.0))) + issue.latency

    def _find(self, issue: Issue) -> list[tuple[str, ...]] | str:
        """Return ports for an instruction and those it issues beside in this cycle, or why it must wait."""
        older = [placed.issue for placed in self._together]
        if older and issue.pairing != "any":
            return "only first of a pair" if issue.pairing == "older" else "never in a pair"
        if older and older[0].pairing == "alone":
            return f"{older[0].op} never in a pair"
        found = self._fit([*older, issue])
        if found is not None:
            return found
        if self._fit([issue]) is not None:
            return f"not beside {older[-1].op}"
        asked = (port for ports, _ in issue.micros for port in ports)
        held = next(port for port in asked if self._free[port] >= self.cycle + 1)
        return f"{held}, held by {self._holder[held]}"

    def _fit(self, together: Sequence[Issue]) -> list[tuple[str, ...]] | None:
        """Return ports for instructions that issue in this cycle, in order; None when they do not all find theirs."""
        wanted = [(index, ports) for index, issue in enumerate(together) for ports, _ in issue.micros]
        free = {port for port, when in self._free.items() if when < self.cycle + 1}
        chosen = _choose(wanted, (), free, self._never)
        if chosen is None:
            return None
        left = iter(chosen)
        return [tuple(next(left) for _ in issue.micros) for issue in together]


def _choose(
    wanted: Sequence[tuple[int, tuple[str, ...]]],
    chosen: tuple[str, ...],
    free: set[str],
    never: frozenset[frozenset[str]],
) -> tuple[str, ...] | None:
    """Return distinct free ports, one per (instruction, candidates), so that no two instructions conflict."""
    if len(chosen) == len(wanted):
        return chosen
    owner, candidates = wanted[len(chosen)]
    for port in candidates:
        if port not in free or port in chosen:
            continue
        if never and any(
            other != owner and frozenset((port, taken)) in never
            for (other, _), taken in zip(wanted, chosen, strict=False)
        ):
            continue
        found = _choose(wanted, (*chosen, port), free, never)
        if found is not None:
            return found
    return None


def alone(pipeline: Pipeline, block: tuple[Issue, ...]) -> float:
    """Return the cycles of a block that runs once on a fresh pipeline. [cycle]"""
    for issue in block:
        pipeline.issue(issue)
    return pipeline.end()


def settle(pipeline: Pipeline, block: tuple[Issue, ...]) -> float:
    """Repeat a block on a fresh pipeline until its state recurs, and return the cycles per iteration from then on."""
    seen: dict[tuple[object, ...], int] = {}
    ends: list[int] = []
    while len(ends) < _MOST:
        for issue in block:
            pipeline.issue(issue)
        pipeline.branch()
        ends.append(pipeline.cycle)
        state = pipeline.state()
        if state in seen:
            start = seen[state]
            return (ends[-1] - ends[start]) / (len(ends) - 1 - start)
        seen[state] = len(ends) - 1
    start = _MOST // 2
    return (ends[-1] - ends[start]) / (_MOST - 1 - start)
