"""DaVinci cores: concurrent in-order queues that wait for each other's event flags; the binding one sets the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.cores import CoreCost
from device_models.cores.davinci_queues import Machine, Nest, Step, machine_of, nest_of
from device_models.cores.davinci_tables import QUEUES, Timing, mad_cycles
from workloads.errors import InputError
from workloads.legality import overflows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_models.cores import Core
    from workloads.program import Program
    from workloads.tensor import Array

__all__ = ["Timing", "cost", "mad_cycles", "timeline"]


def cost(program: Program, core: Core) -> CoreCost:
    """Return the cycles of a Program on one core whose data lie in the L2 cache.

    The scalar unit issues in program order into queues that work at the same time, each in order. An event flag holds a
    reader until its tile is filled, and a writer until the copy that it fills has been read. Queues hold any number of
    instructions: what a full queue would hold up is not modelled.

    Raises
    ------
    InputError
        The core has no timing for an instruction, or a space of it is too small for the Program's buffers.
    """
    nest, machine = prepare(program, core)
    busy = nest.busy
    if not busy:
        return CoreCost(0.0, "SCALAR", {"SCALAR": 0.0}, {"issue": 0.0, "latency": 0.0, "launch": 0.0, "branch": 0.0})
    bound = _bound(nest)
    end, _ = machine.run(nest.parts, machine.start(), frozenset())
    total, last = float(end.max()), float(end[QUEUES.index(bound)].item())
    launch = _first(machine, nest.parts, machine.start(), frozenset(), bound) + total - last
    # Scalar loops are not predicted and not speculated upon: their instructions are work of the scalar unit.
    causes = {
        "issue": busy[bound],
        "latency": max(0.0, total - launch - busy[bound]),
        "launch": launch,
        "branch": 0.0,
    }
    return CoreCost(sum(causes.values()), bound, busy, causes)


def prepare(program: Program, core: Core) -> tuple[Nest, Machine]:
    """Return a Program as a core's hardware instructions, and its queues at rest; see ``cost`` for errors."""
    if faults := list(overflows(program, core.isa(program.isa.name).parameters)):
        raise InputError(core.name, [f"program {program.name!r}: {fault}" for fault in faults])
    nest = nest_of(program, core)
    return nest, machine_of(program, nest)


def _bound(nest: Nest) -> str:
    """Return the queue with most work."""
    return max(nest.busy, key=lambda queue: nest.busy[queue])


def _first(machine: Machine, parts: Sequence[Step | Nest], state: Array, seen: frozenset[str], queue: str) -> float:
    """Return when a queue's first instruction starts."""
    for part in parts:
        if isinstance(part, Nest) and queue in part.busy:
            return _first(machine, part.parts, state, seen, queue)
        if queue == "SCALAR":
            return 0.0
        if isinstance(part, Step) and part.queue == queue and part.held:
            started = state.copy()
            machine.take(part, started, seen)
            return float(started[QUEUES.index(queue)].item()) - part.held
        state, seen = machine.run((part,), state, seen)
    raise ValueError(f"queue {queue!r} has no work")


def timeline(program: Program, core: Core, iterations: int = 2) -> str:
    """Return the steady state of the costliest loop: a line per queue, digits for the trips whose tiles it works on.

    Raises
    ------
    InputError
        As ``cost``.
    """
    from device_models.cores.davinci_timeline import draw

    nest, machine = prepare(program, core)
    if not nest.busy:
        return f"{program.name} on {core.name}: nothing to do\n"
    return draw(f"{program.name} on {core.name}", nest, machine, _bound(nest), iterations)
