"""Out-of-order cores: a block takes the largest of the front-end, port-pressure and dependence-chain bounds."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import combinations

from device_models.cores import Core, CoreCost
from device_models.cores.timing import BlockCost, Issue, Tables, blocks, exit_cost, issues_of
from workloads.program import Loop, Program, Statement

_WARM, _REPEATS = 8, 8  # iterations before and while a dependence chain is measured


class Timing(Tables):
    """The tables of an out-of-order core."""


def cost(program: Program, core: Core) -> CoreCost:
    """Return the cycles of a Program on an out-of-order core.

    The innermost loops repeat, so they are bound by their dependence chains too; straight-line code between
    loops overlaps with its surroundings and is bound by issue and ports alone.

    References
    ----------
    .. [1] J. Laukemann et al., "Automatic Throughput and Critical Path Analysis of x86 and ARM Assembly Kernels",
       PMBS 2019: the same three bounds for one loop body.
    """
    total, resources = _cost(program.body, program, core)
    bound = max(resources, key=lambda name: resources[name]) if total else "issue"
    return CoreCost(total, bound, dict(resources))


def _cost(body: tuple[Statement, ...], program: Program, core: Core) -> tuple[float, defaultdict[str, float]]:
    """Return the cycles of one execution of a loop body, and what each bound alone would need."""
    tables: Timing = core.timing
    total = 0.0
    resources: defaultdict[str, float] = defaultdict(float)
    for part in blocks(body):
        if not isinstance(part, Loop):
            found = block_cost(issues_of(part, core, program.isa), core)
            cycles, trips, inner, leave = found.first, 1, defaultdict(float, found.by_resource), 0.0
            inner.pop("chain", None)
        elif all(not isinstance(statement, Loop) for statement in part.body):
            block = tuple(statement for statement in part.body if not isinstance(statement, Loop))
            found = block_cost(issues_of(block, core, program.isa), core)
            cycles, trips, inner = found.steady * part.trips, part.trips, defaultdict(float, found.by_resource)
            leave = exit_cost(tables, trips)
        else:
            once, inner = _cost(part.body, program, core)
            cycles, trips, leave = once * part.trips, part.trips, exit_cost(tables, part.trips)
        total += cycles + leave
        for name, value in inner.items():
            resources[name] += value * trips
        resources["branch"] += leave
    return total, resources


@lru_cache(maxsize=8192)
def block_cost(block: tuple[Issue, ...], core: Core) -> BlockCost:
    """Return the bounds of a straight-line block: alone (issue and ports), and repeated (chains too)."""
    tables: Timing = core.timing
    micros = [micro for issue in block for micro in issue.micros]
    issue_bound = sum(issue.slots for issue in block) / tables.issue_width.value
    pressure = port_pressure(tuple(micros))
    chain = chain_length(block)
    alone = max([issue_bound, *pressure.values()])
    return BlockCost(alone, max(alone, chain), (("issue", issue_bound), *pressure.items(), ("chain", chain)))


def port_pressure(micros: tuple[tuple[tuple[str, ...], float], ...]) -> dict[str, float]:
    """Return, per set of ports that is asked for and for the set that binds, the cycles of the work only it can do.

    The largest entry is exactly the optimum of the fractional assignment (Hall's theorem): no linear programme.
    """
    work: defaultdict[frozenset[str], float] = defaultdict(float)
    for ports, cycles in micros:
        work[frozenset(ports)] += cycles
    groups = list(work)
    unions = {
        frozenset[str]().union(*chosen) for size in range(1, len(groups) + 1) for chosen in combinations(groups, size)
    }
    loads = {union: sum(cycles for ports, cycles in work.items() if ports <= union) / len(union) for union in unions}
    binding = max(loads, key=lambda union: (loads[union], -len(union)), default=None)
    return {"+".join(sorted(union)): load for union, load in loads.items() if union in work or union == binding}


def chain_length(block: tuple[Issue, ...]) -> float:
    """Return the cycles per iteration of the longest dependence chain carried around a loop."""
    ready: dict[str, float] = {}
    ends = []
    for _ in range(_WARM + _REPEATS):
        for issue in block:
            late = issue.latency - issue.accumulator_latency
            operands = [ready.get(register, 0.0) for register in issue.reads]
            accumulators = [ready.get(register, 0.0) - late for register in issue.accumulates]
            done = max((*operands, *accumulators), default=0.0) + issue.latency
            for register in issue.writes:
                ready[register] = done
        ends.append(max(ready.values(), default=0.0))
    return (ends[-1] - ends[_WARM - 1]) / _REPEATS
