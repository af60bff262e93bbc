"""What an out-of-order core does cycle by cycle in the steady state of a loop, for its timeline."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from device_models.cores.drawing import Step, shown
from device_models.cores.timing import Issue, instructions_of, issues_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from device_models.cores import Core
    from workloads.isa import InstructionSet
    from workloads.program import Loop

_WARM = 12  # iterations before those shown


def steps(loop: Loop, steady: float, core: Core, isa: InstructionSet, iterations: int) -> Iterator[Step]:
    """Yield the instructions of an innermost loop's steady iterations, each ``steady`` cycles after the one before.

    An instruction comes when it is dispatched, in order, and issues when its operands are there and a port is free.
    """
    instructions = instructions_of(loop)
    issues = issues_of(instructions, core, isa)
    warm = _WARM if loop.trips > 1 else 0
    window = _Window(core)
    for iteration in range(warm + iterations):
        slots = 0
        for instruction, issue in zip(instructions, issues, strict=True):
            came = math.floor(iteration * steady + slots / core.timing.issue_width.value)
            slots += issue.slots
            step = window.step(issue, came, shown(instruction, loop.variable), iteration - warm)
            if iteration >= warm:
                yield step


class _Window:
    """When registers are ready and which cycles of the ports are taken."""

    def __init__(self, core: Core) -> None:
        self.ready: dict[str, float] = {}
        self.taken: defaultdict[str, set[int]] = defaultdict(set)
        self.core = core

    def step(self, issue: Issue, came: int, text: str, iteration: int) -> Step:
        """Issue an instruction that was dispatched in cycle ``came``."""
        late = issue.latency - issue.accumulator_latency
        operands = [(self.ready.get(register, 0.0), register) for register in issue.reads]
        operands += [(self.ready.get(register, 0.0) - late, register) for register in issue.accumulates]
        when, register = max(operands, default=(0.0, ""))
        ready = max(came, math.ceil(when))
        at, ports = self.place(issue, ready)
        done = max(at + issue.latency if issue.writes else at, at)
        self.ready |= dict.fromkeys(issue.writes, done)
        waited_for = "" if at == came else register if at == ready else "a port"
        return Step(iteration, text, came, at, done, " ".join(ports), waited_for)

    def place(self, issue: Issue, at: int) -> tuple[int, tuple[str, ...]]:
        """Take the first cycle from ``at`` on in which each micro-operation has a free port of its own."""
        while True:
            ports: list[str] = []
            for choices, cycles in issue.micros:
                held = range(at, at + math.ceil(cycles))
                free = (each for each in choices if each not in ports and self.taken[each].isdisjoint(held))
                chosen = min(free, key=lambda port: len(self.taken[port]), default=None)
                if chosen is None:
                    break
                ports.append(chosen)
            else:
                for port, (_, cycles) in zip(ports, issue.micros, strict=True):
                    self.taken[port].update(range(at, at + math.ceil(cycles)))
                return at, tuple(ports)
            at += 1
