"""In-order cores: instructions issue in program order, up to the issue width, when operands and ports allow."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.cores import Core, CoreCost
from device_models.cores.drawing import Step, binding, draw, heading, shown
from device_models.cores.pipeline import Pipeline, alone, settle
from device_models.cores.timing import Issue, Split, Tables, blocks, exit_cost, innermost, instructions_of, issues_of
from device_models.figures import Sourced
from workloads.program import Instruction, Loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workloads.program import Program, Statement


class Conflict(Sourced):
    """Two ports whose instructions never issue in the same cycle."""

    ports: tuple[str, str]
    source: str


class Timing(Tables):
    """The tables of an in-order core."""

    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True)
class BlockCost:
    """Cycles of one straight-line block: alone, each further time in a row, and what each resource alone needs."""

    alone: Split
    again: Split
    by_resource: tuple[tuple[str, float], ...]

    @property
    def first(self) -> float:
        """Cycles of the block alone."""
        return self.alone.cycles

    @property
    def steady(self) -> float:
        """Cycles of each further execution in a row."""
        return self.again.cycles


def cost(program: Program, core: Core) -> CoreCost:
    """Return the cycles of a Program on an in-order core.

    Each straight-line block is scheduled once and, in a loop, repeated until its rate is steady; a loop whose
    end the predictor cannot know adds a mispredict. A block ends when whatever follows could issue at the earliest;
    the next one begins with all results there and all ports free, so blocks and loops in sequence add up.
    """
    split, resources = _cost(program.body, program, core)
    needs = _needs(split, resources)
    bound = max(needs, key=lambda name: needs[name]) if any(split) else "issue"
    return CoreCost(split.cycles, bound, needs, split._asdict())


def timeline(program: Program, core: Core, iterations: int = 2) -> str:
    """Return the steady state of the costliest innermost loop, or a Program without loops once."""
    loops = list(innermost(program.body)) or [(Loop("", 1, program.body), 1)]
    found = [block_cost(issues_of(instructions_of(loop), core, program.isa), core) for loop, _ in loops]
    spent = [times * _repeated(block, loop).cycles for block, (loop, times) in zip(found, loops, strict=True)]
    costliest = spent.index(max(spent))
    (loop, times), block = loops[costliest], found[costliest]
    title = heading(core.title, program, loop, times, spent[costliest], cost(program, core).cycles)
    split = block.again if loop.trips > 1 else block.alone
    needs = _needs(split, dict(block.by_resource))
    steps = list(_steps(loop, core, program, iterations))
    return draw(title, steps, binding(max(needs, key=lambda name: needs[name]), split.cycles, needs))


def _steps(loop: Loop, core: Core, program: Program, iterations: int) -> Iterator[Step]:
    """Yield the instructions of a loop's steady iterations; of a single trip, those of the first."""
    instructions = instructions_of(loop)
    issues = issues_of(instructions, core, program.isa)
    pipeline = Pipeline(core.timing)
    if loop.trips > 1:
        settle(pipeline, issues)
    placed = []
    for _ in range(iterations if loop.trips > 1 else 1):
        placed += [pipeline.issue(issue) for issue in issues]
        pipeline.branch()
    for number, each in enumerate(placed):
        iteration, index = divmod(number, len(issues))
        busy = max((cycles for _, cycles in each.issue.micros), default=1.0)
        done = each.cycle + max(busy, each.issue.latency if each.issue.writes else 0.0)
        yield Step(
            iteration, shown(instructions[index], loop.variable), each.came, each.cycle, done,
            " ".join(each.ports), each.waited_for, each.paired,
        )  # fmt: skip


def _needs(split: Split, resources: Mapping[str, float]) -> dict[str, float]:
    """Return resources and waits side by side; "order" is what program order costs beyond the busiest resource."""
    within = {name: min(value, split.cycles) for name, value in resources.items()}  # a port may be busy beyond the end
    order = max(0.0, split.issue - max(within.values(), default=0.0))
    return {**within, "order": order, "latency": split.latency, "branch": split.branch}


def _cost(body: tuple[Statement, ...], program: Program, core: Core) -> tuple[Split, defaultdict[str, float]]:
    """Return the cycles of one execution of a loop body, and by resource."""
    tables: Timing = core.timing
    parts: list[Split] = []
    resources: defaultdict[str, float] = defaultdict(float)
    for part in blocks(body):
        trips = part.trips if isinstance(part, Loop) else 1
        if not isinstance(part, Loop):
            block = block_cost(issues_of(part, core, program.isa), core)
            split, inner = block.alone, dict(block.by_resource)
        elif all(isinstance(statement, Instruction) for statement in part.body):
            block = block_cost(issues_of(instructions_of(part), core, program.isa), core)
            split, inner = _repeated(block, part), dict(block.by_resource)
        else:
            once, inner = _cost(part.body, program, core)
            taken = tables.branch.taken.value * (trips - 1) if tables.branch.taken else 0.0
            split = Split(once.issue * trips, once.latency * trips, once.branch * trips + taken)
        leave = exit_cost(tables, trips) if isinstance(part, Loop) else 0.0
        parts.append(split._replace(branch=split.branch + leave))
        for name, value in inner.items():
            resources[name] += value * trips
    return Split(*(sum(each) for each in zip(*parts, strict=True))) if parts else Split(0.0, 0.0, 0.0), resources


def _repeated(block: BlockCost, loop: Loop) -> Split:
    """Return the cycles of a loop of one block, without leaving it; the last trip takes no branch back."""
    last = max(block.alone, block.again._replace(branch=0.0), key=lambda split: split.cycles)
    return Split(*(once + each * (loop.trips - 1) for once, each in zip(last, block.again, strict=True)))


@lru_cache(maxsize=8192)
def block_cost(block: tuple[Issue, ...], core: Core) -> BlockCost:
    """Return the schedule of a straight-line block: its length alone, and per iteration when repeated.

    What waits for results is what would be gained were each there at once; the same for fetch after a taken branch.
    """
    tables: Timing = core.timing
    at_once = tuple(replace(issue, latency=0.0, accumulator_latency=0.0, latency_to=(), late=0.0) for issue in block)
    once = alone(Pipeline(tables), block)
    issued = min(once, alone(Pipeline(tables), at_once))
    plain, real = settle(Pipeline(tables), at_once), settle(Pipeline(tables), block)
    fetched = plain
    if tables.branch.taken is not None:
        seamless = tables.branch.model_copy(update={"taken": None})
        plain = settle(Pipeline(tables.model_copy(update={"branch": seamless})), at_once)
    plain, fetched = min(plain, real), min(fetched, real)
    use = defaultdict(float, {"issue": sum(each.slots for each in block) / tables.issue_width.value})
    widths = Counter(port_class(port) for port in tables.ports)
    for each in block:
        for ports, cycles in each.micros:
            use[port_class(ports[0])] += cycles / widths[port_class(ports[0])]
    return BlockCost(
        Split(issued, once - issued, 0.0), Split(plain, real - fetched, fetched - plain), tuple(use.items())
    )


def port_class(port: str) -> str:
    """Return the name of a port without its number: load0 and load1 are one resource."""
    return port.rstrip("0123456789") or port
