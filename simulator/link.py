"""Link: rates over time with weak-signal spells and outages, and when a transfer over them ends."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

Interval = tuple[float, float]


class Signal(IntEnum):
    """What a device's signal bars show."""

    NONE = 0
    WEAK = 1
    GOOD = 2


@dataclass(frozen=True)
class Spells:
    """Random spells: on average one begins every ``every_s`` and lasts ``last_s``, both exponential."""

    every_s: float
    last_s: float


@dataclass(frozen=True)
class Link:
    """Rates as steps: ``signal[i]`` holds from ``starts_s[i]``; a rate per signal, ``up_bps[signal]``.

    Parameters
    ----------
    rtt_s
        Round trip between the device and the server, without transfer times. [s]
    patience_s
        How long a transfer waits without signal before it is given up. [s]
    """

    starts_s: tuple[float, ...]
    signal: tuple[Signal, ...]
    up_bps: tuple[float, float, float]
    down_bps: tuple[float, float, float]
    rtt_s: float
    patience_s: float

    def signal_at(self, time_s: float) -> Signal:
        """Return the signal at a time."""
        return self.signal[bisect_right(self.starts_s, time_s) - 1]

    def coverage_from_s(self, time_s: float) -> float:
        """Return the first time from ``time_s`` on at which there is a signal. [s]"""
        index = bisect_right(self.starts_s, time_s) - 1
        if self.signal[index]:
            return time_s
        return next(start for start, signal in zip(self.starts_s[index:], self.signal[index:], strict=True) if signal)


@dataclass(frozen=True)
class Transfer:
    """How a transfer goes: rates until times, all bits delivered or given up at the end of the last one."""

    pieces: tuple[tuple[float, float], ...]  # (until_s, rate_bps)
    start_s: float
    finish_s: float
    bits: float
    delivered: bool


def draw_spells(rng: np.random.Generator, spells: Spells, horizon_s: float) -> list[Interval]:
    """Return the spells that begin before the horizon, (start, end) each. [s]"""
    found = []
    time_s = float(rng.exponential(spells.every_s - spells.last_s))
    while time_s < horizon_s:
        end_s = time_s + float(rng.exponential(spells.last_s))
        found.append((time_s, end_s))
        time_s = end_s + float(rng.exponential(spells.every_s - spells.last_s))
    return found


def steps(weak: Sequence[Interval], outages: Sequence[Interval]) -> tuple[tuple[float, ...], tuple[Signal, ...]]:
    """Merge weak spells and outages into steps; an outage hides a weak spell, and the last step is good."""
    edges = sorted({0.0, *(edge for interval in (*weak, *outages) for edge in interval)})
    starts_s: list[float] = []
    signals: list[Signal] = []
    for edge_s in edges:
        signal = Signal.NONE if _inside(outages, edge_s) else Signal.WEAK if _inside(weak, edge_s) else Signal.GOOD
        if not signals or signals[-1] is not signal:
            starts_s.append(edge_s)
            signals.append(signal)
    return tuple(starts_s), tuple(signals)


def _inside(intervals: Sequence[Interval], time_s: float) -> bool:
    index = bisect_right(intervals, (time_s, math.inf)) - 1
    return index >= 0 and time_s < intervals[index][1]


def plan_transfer(link: Link, start_s: float, bits: float, rates_bps: Sequence[float]) -> Transfer:
    """Return how a transfer that starts at ``start_s`` goes on through the link's steps.

    It pauses in an outage and is given up when one outage lasts longer than the link's patience.
    """
    index = bisect_right(link.starts_s, start_s) - 1
    pieces: list[tuple[float, float]] = []
    now_s, left = start_s, bits
    while True:
        rate_bps = rates_bps[link.signal[index]]
        end_s = link.starts_s[index + 1] if index + 1 < len(link.starts_s) else math.inf
        if rate_bps > 0.0 and now_s + left / rate_bps <= end_s:
            finish_s = now_s + left / rate_bps
            pieces.append((finish_s, rate_bps))
            return Transfer(tuple(pieces), start_s, finish_s, bits, delivered=True)
        if rate_bps <= 0.0 and end_s - now_s > link.patience_s:
            finish_s = now_s + link.patience_s
            pieces.append((finish_s, 0.0))
            return Transfer(tuple(pieces), start_s, finish_s, bits - left, delivered=False)
        left -= rate_bps * (end_s - now_s)
        pieces.append((end_s, rate_bps))
        now_s, index = end_s, index + 1
