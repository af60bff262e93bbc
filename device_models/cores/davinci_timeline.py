"""The steady state of DaVinci queues as text: a line per queue, and what each one waits for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from device_models.cores.davinci_queues import Nest, Step, product
from device_models.cores.davinci_tables import QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from device_models.cores.davinci_queues import Machine
    from workloads.tensor import Array

COLUMNS = 64
AHEAD = 10  # trips behind those drawn: a queue is ahead by as many tiles as a buffer has copies, at most 8
BUSY, IDLE = ".", " "  # a column that is busy for less than half of its time; not at all
LEGEND = f"digits: the trip that a queue works on   {BUSY} busy for less than half of the column   blank: waits"


@dataclass(frozen=True)
class Turn:
    """One instruction on its queue: when the queue was free for it, when it started and ended, what held it."""

    trip: int
    queue: str
    free: float
    start: float
    end: float
    why: str


@dataclass(frozen=True)
class Window:
    """The cycles that are drawn, and the first trip whose work they show."""

    start: float
    end: float
    first: int
    trips: int


def draw(title: str, nest: Nest, machine: Machine, bound: str, iterations: int) -> str:
    """Return the timeline of ``iterations`` trips of the innermost loop that holds most of the binding queue's work."""
    path = _hottest(nest, bound, iterations + 2)
    loop = path[-1]
    turns = _turns(path, machine, iterations)
    window = _window(turns, bound, iterations, loop.trips)
    step = _column((window.end - window.start) / COLUMNS)
    shown = [turn for turn in turns if turn.end > window.start and turn.start < window.end]
    queues = [queue for queue in QUEUES if queue in loop.busy]
    width = max(len(queue) for queue in queues)
    count = int(-(-(window.end - window.start) // step))
    where = f"loop {loop.variable!r}, {_trips(window)} of 0..{loop.trips - 1}" if loop.variable else "all of it"
    ruler = "".join(f"{round(place * step):<10,}" for place in range(0, count, 10))
    lines = [f"{title}: {where}", LEGEND, "", f"{'cycle':<{width}}   {'busy':>5}  {ruler}".rstrip()]
    for queue in queues:
        own = [turn for turn in shown if turn.queue == queue]
        busy = sum(min(turn.end, window.end) - max(turn.start, window.start) for turn in own)
        share = busy / (window.end - window.start)
        lane = "".join(_cell(own, window.start + place * step, step) for place in range(count))
        lines.append(f"{queue:<{width}}   {share:>5.0%} |{lane}| {_waits(turns, queue, window)}".rstrip())
    cycles = round((window.end - window.start) / window.trips, 1)
    return "\n".join((*lines, "", f"{bound} binds: {cycles:,g} cycles a trip, {step:g} a column", ""))


def _hottest(nest: Nest, bound: str, trips: int) -> tuple[Nest, ...]:
    """Return the loops down to the one with most of a queue's work among those of so many trips.

    Of loops inside that one, the innermost that still holds half of its work.
    """
    found = [(path, work) for path, work in _loops((nest,), bound, 1) if path[-1].trips >= trips]
    if not found:
        return (nest,)
    most, work = max(found, key=lambda item: item[1])
    inside = [(path, own) for path, own in found if path[: len(most)] == most and 2 * own >= work]
    return max(inside, key=lambda item: (len(item[0]), item[1]))[0]


def _loops(path: tuple[Nest, ...], bound: str, times: int) -> Iterator[tuple[tuple[Nest, ...], float]]:
    """Yield each loop, with those around it, and its cycles on a queue in all that it is entered."""
    for part in path[-1].parts:
        if isinstance(part, Nest):
            yield (*path, part), part.busy.get(bound, 0.0) * times
            yield from _loops((*path, part), bound, times * part.trips)


def _turns(path: tuple[Nest, ...], machine: Machine, iterations: int) -> list[Turn]:
    """Return the turns of some trips from the middle of the last loop of a path, inside the middle trips of the others.

    One trip more before them and some behind, because queues work ahead of each other.
    """
    state, seen = machine.start(), frozenset[str]()
    skipped = 0
    for outer, inner in pairwise(path):
        before = outer.parts[: outer.parts.index(inner)]
        state, seen = machine.run(before, state, seen)
        skipped = max(0, (inner.trips - (iterations + AHEAD if inner is path[-1] else 0)) // 2)
        if skipped:
            matrix, seen = machine.passage(inner, seen, skipped)
            state = product(matrix, state)
    turns: list[Turn] = []
    for trip in range(skipped, min(path[-1].trips, skipped + iterations + AHEAD)):

        def watch(step: Step, state: Array, seen: frozenset[str], trip: int = trip) -> None:
            turns.extend(_taken(step, state, seen, machine, trip))

        state, seen = machine.run(path[-1].parts, state, seen, watch)
    return turns


def _taken(step: Step, state: Array, seen: frozenset[str], machine: Machine, trip: int) -> Iterator[Turn]:
    """Yield the turn of the scalar unit and of the queue that an instruction takes."""
    issued = state[0].item() + step.issue
    if step.issue:
        yield Turn(trip, "SCALAR", state[0].item(), state[0].item(), issued, "")
    if step.held:
        waits = {wait.why: issued if wait.row == 0 else state[wait.row].item() for wait in machine.waits(step, seen)}
        start = max(waits.values())
        why = next(why for why, time in waits.items() if time == start)
        yield Turn(trip, step.queue, state[QUEUES.index(step.queue)].item(), start, start + step.held, why)


def _window(turns: Sequence[Turn], bound: str, iterations: int, trips: int) -> Window:
    """Return whole periods of the binding queue; everything where there are no trips enough for that."""
    starts: dict[int, float] = {}
    for turn in turns:
        if turn.queue == bound:
            starts.setdefault(turn.trip, turn.start)
    first = min(starts) + 1
    if trips >= iterations + 2:
        return Window(starts[first], starts[first + iterations], first, iterations)
    return Window(min(turn.start for turn in turns), max(turn.end for turn in turns), first - 1, len(starts))


def _trips(window: Window) -> str:
    last = window.first + window.trips - 1
    return f"trip {window.first}" if window.trips == 1 else f"trips {window.first} to {last}"


def _column(cycles: float) -> float:
    """Round the cycles of a column up to 1, 2 or 5 times a power of ten; fractions of a cycle are not drawn."""
    power = 1.0
    while True:
        for digit in (1, 2, 5):
            if digit * power >= cycles:
                return digit * power
        power *= 10


def _cell(turns: Sequence[Turn], start: float, step: float) -> str:
    """Return what a queue does during one column."""
    covered: defaultdict[int, float] = defaultdict(float)
    for turn in turns:
        covered[turn.trip] += max(0.0, min(turn.end, start + step) - max(turn.start, start))
    busy = sum(covered.values())
    if 2 * busy >= step:
        return str(max(covered, key=lambda trip: covered[trip]) % 10)
    return BUSY if busy else IDLE


def _waits(turns: Sequence[Turn], queue: str, window: Window) -> str:
    """Return what a queue waits for longest inside the window."""
    idle: defaultdict[str, float] = defaultdict(float)
    for turn in turns:
        if turn.queue == queue and turn.start > turn.free:
            idle[turn.why] += max(0.0, min(turn.start, window.end) - max(turn.free, window.start))
    longest = max(idle, key=lambda why: idle[why], default=None)
    if longest is None or not idle[longest]:
        return ""
    share = idle[longest] / (window.end - window.start)
    return f"{share:.0%} until {longest}" if share >= 0.005 else ""
