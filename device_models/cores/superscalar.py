"""Out-of-order cores: a block takes the largest of its front-end, port and dependence-chain bounds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.cores import Core, CoreCost
from device_models.cores.chains import chain_cycles
from device_models.cores.dispatch import steps
from device_models.cores.drawing import binding, draw, heading
from device_models.cores.sharing import port_loads, shared
from device_models.cores.timing import Issue, Split, Tables, blocks, exit_cost, innermost, instructions_of, issues_of
from device_models.figures import Figure  # noqa: TC001 - pydantic reads it
from workloads.program import Loop, Program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.program import Statement


class Timing(Tables):
    """The tables of an out-of-order core.

    Parameters
    ----------
    port_sharing
        The exponent of ``sharing.shared``; without one, ports that several kinds of work share lose nothing.
    """

    port_sharing: Figure[float] | None = None


@dataclass(frozen=True)
class BlockCost:
    """Cycles of one straight-line block: for the front end and the ports, and what waiting for results adds.

    Waiting counts only where the block repeats: elsewhere, code before and after it overlaps.
    """

    issue: float
    latency: float
    by_resource: tuple[tuple[str, float], ...]

    @property
    def steady(self) -> float:
        """Cycles of each of many executions in a row."""
        return self.issue + self.latency


def cost(program: Program, core: Core) -> CoreCost:
    """Return the cycles of a Program on an out-of-order core.

    The innermost loops repeat, so they are bound by their dependence chains too; straight-line code between
    loops overlaps with its surroundings and is bound by issue and ports alone.

    References
    ----------
    .. [1] J. Laukemann et al., "Automatic Throughput and Critical Path Analysis of x86 and ARM Assembly Kernels",
       PMBS 2019: the same three bounds for one loop body.
    """
    split, resources = _cost(program.body, program, core)
    bound = max(resources, key=lambda name: resources[name]) if any(split) else "issue"
    return CoreCost(split.cycles, bound, dict(resources), split._asdict())


def timeline(program: Program, core: Core, iterations: int = 2) -> str:
    """Return the steady state of the costliest innermost loop, or a Program without loops once.

    Iterations enter at the rate at which they leave; what they wait for inside is then in sight.
    """
    loops = list(innermost(program.body)) or [(Loop("", 1, program.body), 1)]
    found = [block_cost(issues_of(instructions_of(loop), core, program.isa), core) for loop, _ in loops]
    spent = [times * loop.trips * block.steady for block, (loop, times) in zip(found, loops, strict=True)]
    costliest = spent.index(max(spent))
    (loop, times), block = loops[costliest], found[costliest]
    title = heading(core.title, program, loop, times, spent[costliest], cost(program, core).cycles)
    placed = list(steps(loop, block.steady, core, program.isa, iterations if loop.trips > 1 else 1))
    needs = dict(block.by_resource)
    bound = max(needs, key=lambda name: needs[name])
    return draw(title, placed, binding(bound, block.steady, needs))


def _cost(body: tuple[Statement, ...], program: Program, core: Core) -> tuple[Split, defaultdict[str, float]]:
    """Return the cycles of one execution of a loop body by cause, and what each bound alone would need."""
    parts: list[Split] = []
    resources: defaultdict[str, float] = defaultdict(float)
    for part in blocks(body):
        trips, leave = 1, 0.0
        inner: Mapping[str, float]
        if not isinstance(part, Loop):
            once, inner = _once(block_cost(issues_of(part, core, program.isa), core), repeats=False)
        else:
            trips, leave = part.trips, exit_cost(core.timing, part.trips)
            if any(isinstance(statement, Loop) for statement in part.body):
                once, inner = _cost(part.body, program, core)
            else:
                block = block_cost(issues_of(instructions_of(part), core, program.isa), core)
                once, inner = _once(block, repeats=True)
        parts.append(Split(once.issue * trips, once.latency * trips, once.branch * trips + leave))
        for name, value in inner.items():
            resources[name] += value * trips
        resources["branch"] += leave
    return Split(*(sum(each) for each in zip(*parts, strict=True))) if parts else Split(0.0, 0.0, 0.0), resources


def _once(block: BlockCost, *, repeats: bool) -> tuple[Split, dict[str, float]]:
    """Return the cycles of one execution of a block, and what each bound alone would need."""
    needs = dict(block.by_resource)
    if not repeats:
        needs.pop("chain")
    return Split(block.issue, block.latency if repeats else 0.0, 0.0), needs


@lru_cache(maxsize=8192)
def block_cost(block: tuple[Issue, ...], core: Core) -> BlockCost:
    """Return the bounds of a straight-line block: front end and ports alone, and dependences where it repeats."""
    tables: Timing = core.timing
    front = sum(issue.slots for issue in block) / tables.issue_width.value
    loads = port_loads(micro for issue in block for micro in issue.micros)
    sharing = tables.port_sharing
    issue = max(front, shared(loads, sharing.value if sharing else None))
    chain = chain_cycles(block)
    ports = (("+".join(sorted(union)), load) for union, load in loads.items())
    return BlockCost(issue, max(0.0, chain - issue), (("issue", front), *ports, ("chain", chain)))
