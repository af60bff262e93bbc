"""In-order cores: instructions issue in program order, up to the issue width, when operands and ports allow."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from functools import lru_cache

from device_models.cores import Core, CoreCost
from device_models.cores.timing import BlockCost, Issue, Tables, blocks, exit_cost, issues_of
from device_models.figures import Sourced
from workloads.program import Loop, Program, Statement

_WARM, _REPEATS = 3, 8  # iterations before and while the steady state is measured


class Conflict(Sourced):
    """Two ports whose instructions never issue in the same cycle."""

    ports: tuple[str, str]
    source: str


class Timing(Tables):
    """The tables of an in-order core."""

    conflicts: tuple[Conflict, ...] = ()


def cost(program: Program, core: Core) -> CoreCost:
    """Return the cycles of a Program on an in-order core.

    Each straight-line block is scheduled once and, in a loop, repeated until its rate is steady; a loop whose
    end the predictor cannot know adds a mispredict.
    """
    total, resources = _cost(program.body, program, core)
    resources["stalls"] = max(0.0, total - max(resources.values(), default=0.0))
    bound = max(resources, key=lambda name: resources[name]) if total else "issue"
    return CoreCost(total, bound, dict(resources))


def _cost(body: tuple[Statement, ...], program: Program, core: Core) -> tuple[float, defaultdict[str, float]]:
    """Return the cycles of one execution of a loop body, and by resource."""
    tables: Timing = core.timing
    total = 0.0
    resources: defaultdict[str, float] = defaultdict(float)
    for part in blocks(body):
        if not isinstance(part, Loop):
            found = block_cost(issues_of(part, core, program.isa), core)
            cycles, trips, inner = found.first, 1, defaultdict(float, found.by_resource)
        elif all(not isinstance(statement, Loop) for statement in part.body):
            block = tuple(statement for statement in part.body if not isinstance(statement, Loop))
            found = block_cost(issues_of(block, core, program.isa), core)
            cycles = max(found.first, found.steady) + found.steady * (part.trips - 1)
            trips, inner = part.trips, defaultdict(float, found.by_resource)
        else:
            once, inner = _cost(part.body, program, core)
            cycles, trips = once * part.trips, part.trips
        leave = exit_cost(tables, part.trips) if isinstance(part, Loop) else 0.0
        total += cycles + leave
        for name, value in inner.items():
            resources[name] += value * trips
        resources["branch"] += leave
    return total, resources


@lru_cache(maxsize=8192)
def block_cost(block: tuple[Issue, ...], core: Core) -> BlockCost:
    """Return the schedule of a straight-line block: its length alone, and per iteration when repeated."""
    tables: Timing = core.timing
    ends = _schedule(block, tables, _WARM + _REPEATS)
    steady = (ends[-1] - ends[_WARM - 1]) / _REPEATS
    use = defaultdict(float, {"issue": len(block) / tables.issue_width.value})
    widths = Counter(_class(port) for port in tables.ports)
    for issue in block:
        for ports, cycles in issue.micros:
            use[_class(ports[0])] += cycles / widths[_class(ports[0])]
    return BlockCost(ends[0], steady, tuple(use.items()))


def _class(port: str) -> str:
    """Return the name of a port without its number: load0 and load1 are one resource."""
    return port.rstrip("0123456789") or port


def _schedule(block: tuple[Issue, ...], tables: Timing, iterations: int) -> list[float]:
    """Return the cycle after the last issue of each iteration."""
    pairs = {frozenset(conflict.ports) for conflict in tables.conflicts}
    width = tables.issue_width.value
    free = dict.fromkeys(tables.ports, 0.0)
    ready: dict[str, tuple[float, float]] = {}  # register -> when a consumer, and an early consumer, may issue
    cycle, together, ends = 0, list[tuple[Issue, tuple[str, ...]]](), []
    for _ in range(iterations):
        for issue in block:
            at = max(cycle, math.ceil(_ready(issue, ready)))
            if at > cycle:
                cycle, together = at, []
            while (ports := _place(issue, cycle, together, width, free, pairs)) is None:
                cycle, together = cycle + 1, []
            for port, (_, busy) in zip(ports, issue.micros, strict=True):
                free[port] = max(free[port], cycle) + busy
            together.append((issue, ports))
            for register in issue.writes:
                ready[register] = (cycle + issue.latency, cycle + issue.early_latency)
        ends.append(cycle + 1.0)
    return ends


def _ready(issue: Issue, ready: dict[str, tuple[float, float]]) -> float:
    """Return when all operands of an instruction are there; the accumulator may come late."""
    late = issue.latency - issue.accumulator_latency
    operands = (ready[register][issue.early] for register in issue.reads if register in ready)
    accumulators = (ready[register][0] - late for register in issue.accumulates if register in ready)
    return max((*operands, *accumulators), default=0.0)


def _place(
    issue: Issue,
    cycle: int,
    together: list[tuple[Issue, tuple[str, ...]]],
    width: int,
    free: dict[str, float],
    pairs: set[frozenset[str]],
) -> tuple[str, ...] | None:
    """Return the ports an instruction takes if it issues in this cycle; None when it must wait."""
    if len(together) >= width or (together and (issue.pairing != "any" or together[0][0].pairing == "alone")):
        return None
    taken: list[str] = []
    for ports, _ in issue.micros:
        port = next((port for port in ports if free[port] < cycle + 1 and port not in taken), None)
        if port is None:
            return None
        taken.append(port)
    if any(frozenset((mine, other)) in pairs for mine in taken for _, others in together for other in others):
        return None
    return tuple(taken)
