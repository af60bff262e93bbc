"""Meter: the powers of one node as steps, integrated exactly at each change, and the battery that supplies them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.battery import Battery

Step = tuple[float, float, float, float, float]  # time_s, compute_w, radio_w, idle_w, state_of_charge


class Meter:
    """Powers and energies of one node.

    Changes that nothing else depends on (the radio's tail, falling asleep) need no event: they are a plan of steps
    that ``advance`` walks through. So is the cut-off: it is found, exactly, at the node's next event, before which
    nothing outside the node can have depended on it.

    Parameters
    ----------
    battery
        None for a node on mains.
    idle_w, sleep_w, sleep_after_s
        What the chip draws waiting, and what after ``sleep_after_s`` of waiting. [W], [W], [s]
    radio_w
        What the radio draws before its first transfer. [W]
    """

    __slots__ = (
        "_plan", "_plan_index", "_radio_until_s", "_sleep_at_s", "battery", "brownout_s", "change_s", "compute_j",
        "compute_w", "idle_j", "idle_w", "now_s", "radio_j", "radio_w", "rest_w", "sleep_after_s", "sleep_w", "steps",
    )  # fmt: skip

    def __init__(
        self, battery: Battery | None, idle_w: float, sleep_w: float, sleep_after_s: float, radio_w: float
    ) -> None:
        self.battery = battery
        self.idle_w, self.sleep_w, self.sleep_after_s = idle_w, sleep_w, sleep_after_s
        self.compute_w, self.radio_w, self.rest_w = 0.0, radio_w, idle_w
        self.compute_j = self.radio_j = self.idle_j = 0.0
        self.now_s = 0.0
        self.brownout_s: float | None = None
        self._plan: Sequence[tuple[float, float]] = ()
        self._plan_index = 0
        self._radio_until_s = math.inf
        self._sleep_at_s = sleep_after_s
        self.change_s = sleep_after_s
        self.steps: list[Step] = []
        self._mark()

    @property
    def state_of_charge(self) -> float:
        """State of charge, 0..1; a node on mains counts as full."""
        return 1.0 if self.battery is None else self.battery.state_of_charge

    def advance(self, now_s: float) -> bool:
        """Integrate up to ``now_s``; False when the node browned out on the way or before."""
        if self.brownout_s is not None:
            return False
        while self.now_s < now_s:
            end_s = min(self.change_s, now_s)
            if not self._spend(end_s - self.now_s):
                return False
            self.now_s = end_s
            if end_s == self.change_s:
                self._turn()
        return True

    def compute(self, draw_w: float) -> None:
        """Draw ``draw_w`` for computing from now on; 0 means waiting. [W]"""
        self.compute_w = draw_w
        if draw_w > 0.0:
            self.rest_w, self._sleep_at_s = 0.0, math.inf
        else:
            self.rest_w, self._sleep_at_s = self.idle_w, self.now_s + self.sleep_after_s
        self._turn()

    def transmit(self, plan: Sequence[tuple[float, float]]) -> None:
        """Let the radio follow a plan of (until_s, draw_w), in order; the last one holds for ever."""
        self._plan, self._plan_index = plan, 0
        self._radio_until_s, self.radio_w = plan[0]
        self._turn()

    def _turn(self) -> None:
        """Apply what is due now, and find the next change."""
        now_s = self.now_s
        while self._radio_until_s <= now_s:
            self._plan_index += 1
            self._radio_until_s, self.radio_w = self._plan[self._plan_index]
        if self._sleep_at_s <= now_s:
            self.rest_w, self._sleep_at_s = self.sleep_w, math.inf
        radio_until_s, sleep_at_s = self._radio_until_s, self._sleep_at_s
        self.change_s = min(sleep_at_s, radio_until_s)
        self._mark()

    def _spend(self, duration_s: float) -> bool:
        battery = self.battery
        if battery is not None:
            lasted_s = battery.drain(self.compute_w + self.radio_w + self.rest_w, duration_s)
            if lasted_s < duration_s:
                self._count(lasted_s)
                self._brown_out(self.now_s + lasted_s)
                return False
        self._count(duration_s)
        return True

    def _count(self, duration_s: float) -> None:
        self.compute_j += self.compute_w * duration_s
        self.radio_j += self.radio_w * duration_s
        self.idle_j += self.rest_w * duration_s

    def _brown_out(self, now_s: float) -> None:
        self.now_s = self.brownout_s = now_s
        self.compute_w = self.radio_w = self.rest_w = 0.0
        self.change_s = math.inf
        self._mark()

    def _mark(self) -> None:
        self.steps.append((self.now_s, self.compute_w, self.radio_w, self.rest_w, self.state_of_charge))
