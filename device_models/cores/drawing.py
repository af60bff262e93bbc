"""Timelines as text: a line per instruction, a column per cycle; what each one waited for, and what binds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from workloads.listing import text
from workloads.program import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workloads.program import Instruction, Loop, Operand, Program

_COLUMNS = 64  # cycles beside each other; a longer iteration goes on under a new ruler
_TEXT = 44  # characters of an instruction
_WAITS, _ISSUES, _FLIES, _GOES_ON = ".", "#", "=", ">"
LEGEND = f"{_WAITS} waits   {_ISSUES} issues   {_FLIES} under way   + beside the one above"


@dataclass(frozen=True)
class Step:
    """One instruction of a timeline.

    Parameters
    ----------
    iteration
        Of the loop, from 0.
    text
        The instruction as in a listing.
    came
        From when it only waited: in order, when its predecessor issued; out of order, when it was dispatched. [cycle]
    issue
        When it issues. [cycle]
    done
        When its result can be used and its ports are free; ``issue`` if at once. [cycle]
    ports
        What it issues to, in words.
    waited_for
        What held it from ``came`` to ``issue``; empty if nothing did.
    paired
        It issues in the second (or a later) slot of its cycle.
    """

    iteration: int
    text: str
    came: float
    issue: float
    done: float
    ports: str = ""
    waited_for: str = ""
    paired: bool = False


def draw(title: str, steps: Sequence[Step], last: str) -> str:
    """Return a timeline: the title, a line per step, and the last line. Cycle 0 is the first issue.

    Steps stand in program order. An iteration that is wider than the page goes on under a new ruler.
    """
    if not steps:
        return f"{title}\n{last}\n"
    start = min(step.issue for step in steps)
    width_of_text = min(_TEXT, max(len(step.text) for step in steps))
    ports = max(2, *(len(step.ports) for step in steps))
    lines = [title, LEGEND]
    for base, page in _pages(steps):
        width = min(_COLUMNS, max(3, *(_column(step.done, base) for step in page)) + 1)
        for iteration, mine in groupby(page, key=lambda step: step.iteration):
            lines.append("")
            name = f"iteration {iteration}"
            ruler = _ruler(base - start, width)
            lines.append(f"{'cycle':>5}   {name:<{width_of_text}}  {'on':<{ports}}  {ruler}  waited for".rstrip())
            for step in mine:
                mark, lane = "+" if step.paired else " ", _lane(step, base, width)
                cut = step.text if len(step.text) <= width_of_text else step.text[: width_of_text - 1] + "~"
                left = f"{step.issue - start:>5g} {mark} {cut:<{width_of_text}}  {step.ports:<{ports}}"
                lines.append(f"{left}  {lane:<{width}}  {step.waited_for}".rstrip())
    return "\n".join((*lines, "", last, ""))


def heading(core: str, program: Program, loop: Loop, times: int, spent: float, whole: float) -> str:
    """Return the title of a timeline; a loop without a variable stands for a Program without loops. [cycle]"""
    often = "once" if times == 1 else f"{times} times"
    where = f"loop {loop.variable} of {loop.trips} trips, {often}" if loop.variable else "no loop"
    return f"{core}, {program.name}, {where}: {spent:.0f} of {whole:.0f} cycles"


def shown(instruction: Instruction, variable: str) -> str:
    """Return an instruction as in a listing, with addresses that show only how they move with one loop variable."""

    def near(operand: Operand | None) -> Any:
        if not isinstance(operand, Address):
            return operand
        return replace(operand, strides=tuple(stride for stride in operand.strides if stride[0] == variable))

    sources = tuple(near(source) for source in instruction.sources)
    return text(replace(instruction, destination=near(instruction.destination), sources=sources))


def binding(bound: str, cycles: float, by_resource: Mapping[str, float]) -> str:
    """Return the last line of a timeline: what binds, and what each resource alone would need. [cycle/iteration]"""
    named = sorted(by_resource.items(), key=lambda item: (-item[1], item[0]))
    needs = ", ".join(f"{name} {round(value, 2):g}" for name, value in named if round(value, 2))
    return f"{bound} binds: {round(cycles, 2):g} cycles per iteration; by resource: {needs or 'nothing'}"


def _pages(steps: Sequence[Step]) -> Iterator[tuple[float, list[Step]]]:
    """Yield runs of steps that fit one page, with the page's first cycle."""
    base, page = min(steps[0].came, steps[0].issue), list[Step]()
    for step in steps:
        if page and step.issue >= base + _COLUMNS:
            yield base, page
            base, page = step.issue, []
        page.append(step)
    yield base, page


def _column(cycle: float, base: float) -> int:
    """Return the column of a cycle on a page, fractions rounded down."""
    return int(cycle - base)


def _ruler(first: float, width: int) -> str:
    """Return a ruler with a number at every fifth cycle."""
    line = ""
    for column in range(width):
        cycle = int(first) + column
        if cycle % 5 == 0 and len(line) <= column and column + len(str(cycle)) <= width:
            line = line.ljust(column) + str(cycle)
    return line.ljust(width)


def _lane(step: Step, base: float, width: int) -> str:
    """Return the lane of a step: waiting, issue, under way."""
    came, issue = max(0, _column(step.came, base)), max(0, _column(step.issue, base))
    done = max(_column(step.done, base), issue + 1)
    lane = " " * came + _WAITS * (issue - came) + _ISSUES + _FLIES * (done - issue - 1)
    return lane if len(lane) <= width else lane[: width - 1] + _GOES_ON
