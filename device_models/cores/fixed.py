"""A core that costs a fixed number of cycles per multiply-accumulate: the test doubles ``null`` and ``unit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.cores import Core, CoreCost
from device_models.figures import Figure, Sourced

if TYPE_CHECKING:
    from workloads.program import Program


class Timing(Sourced):
    """The one figure of a test double."""

    cycles_per_mac: Figure[float]


def cost(program: Program, core: Core) -> CoreCost:
    """Return the multiply-accumulates of a Program times the core's figure."""
    timing: Timing = core.timing
    cycles = program.macs * timing.cycles_per_mac.value
    return CoreCost(cycles, "macs", {"macs": cycles})
