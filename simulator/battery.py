"""Battery: energy counting or the kinetic battery model, both in closed form between events."""

from __future__ import annotations

import math
from dataclasses import dataclass

ROOT_STEPS = 200  # bisection halves an interval of doubles to nothing well before this


@dataclass(frozen=True)
class BatterySpec:
    """What a battery is; energies count what the cells store.

    Parameters
    ----------
    state_of_charge, cutoff
        At the start, and where the node browns out: shares of the capacity, 0..1. With two wells the cut-off is
        compared with the available well, which is what the terminals show.
    efficiency
        Share of the stored energy that reaches the load, 0..1.
    charge_efficiency
        Share of the charged energy that is stored, 0..1; only carbon uses it.
    available_share
        Share of the capacity in the available well; 1 means energy counting.
    rate_per_s
        k' of the kinetic model: how fast the wells level out. [1/s]
    """

    capacity_j: float
    state_of_charge: float
    cutoff: float
    efficiency: float
    charge_efficiency: float
    available_share: float = 1.0
    rate_per_s: float = 0.0

    @property
    def floor_j(self) -> float:
        """What the available well holds at the cut-off. [J]"""
        return self.cutoff * self.capacity_j * self.available_share


def kibam_step(
    available_j: float, bound_j: float, drain_w: float, duration_s: float, share: float, rate_per_s: float
) -> tuple[float, float]:
    """Return both wells after a constant drain; exact, so that splitting an interval changes nothing. [J]

    References
    ----------
    .. [1] M. Jongerden, B. Haverkort, "Which battery model to use?", IET Software 3(6), 2009.
    """
    total_j = available_j + bound_j
    kt = rate_per_s * duration_s
    gone = -math.expm1(-kt)
    # Energy the drain takes from the available well before the bound one follows: kt - 1 + e^-kt, over k'.
    lag_j = drain_w * (kt - gone) / rate_per_s
    refill_j = total_j * share * gone - drain_w * gone / rate_per_s
    after_j = available_j * (1.0 - gone) + refill_j - share * lag_j
    return after_j, total_j - drain_w * duration_s - after_j


def kibam_time_to_s(
    available_j: float, bound_j: float, drain_w: float, floor_j: float, share: float, rate_per_s: float
) -> float:
    """Time until the available well falls to ``floor_j`` under a constant drain; infinite without one. [s]"""
    if drain_w <= 0.0:
        return math.inf
    low_s, high_s = 0.0, (available_j + bound_j) / drain_w
    for _ in range(ROOT_STEPS):
        middle_s = 0.5 * (low_s + high_s)
        if middle_s in (low_s, high_s):
            break
        if kibam_step(available_j, bound_j, drain_w, middle_s, share, rate_per_s)[0] > floor_j:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s


class Battery:
    """The state of one battery: two wells, of which energy counting uses the first."""

    __slots__ = ("available_j", "bound_j", "floor_j", "spec")

    def __init__(self, spec: BatterySpec) -> None:
        stored_j = spec.capacity_j * spec.state_of_charge
        self.spec = spec
        self.available_j = stored_j * spec.available_share
        self.bound_j = stored_j - self.available_j
        self.floor_j = spec.floor_j

    @property
    def state_of_charge(self) -> float:
        """Stored energy as a share of the capacity, 0..1."""
        return (self.available_j + self.bound_j) / self.spec.capacity_j

    def drain(self, draw_w: float, duration_s: float) -> float:
        """Supply ``draw_w`` for up to ``duration_s``; return how long it lasted, less only at the cut-off. [s]"""
        drain_w = draw_w / self.spec.efficiency
        if self.spec.available_share >= 1.0:
            return self._count(drain_w, duration_s)
        share, rate_per_s = self.spec.available_share, self.spec.rate_per_s
        wells = kibam_step(self.available_j, self.bound_j, drain_w, duration_s, share, rate_per_s)
        # Under a constant drain the available well, once falling, never rises again: the end decides.
        if wells[0] < self.floor_j:
            duration_s = kibam_time_to_s(self.available_j, self.bound_j, drain_w, self.floor_j, share, rate_per_s)
            wells = kibam_step(self.available_j, self.bound_j, drain_w, duration_s, share, rate_per_s)
        self.available_j, self.bound_j = wells
        return duration_s

    def _count(self, drain_w: float, duration_s: float) -> float:
        left_j = self.available_j - drain_w * duration_s
        if left_j >= self.floor_j:
            self.available_j = left_j
            return duration_s
        lasted_s = (self.available_j - self.floor_j) / drain_w
        self.available_j = self.floor_j
        return lasted_s
