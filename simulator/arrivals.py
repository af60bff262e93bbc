"""Arrivals: when requests come, drawn before the run so that compared points share them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.schema import Arrivals

# Streams of one node: an argument that changes one draw leaves the others as they were.
ARRIVALS, OUTAGES, WEAK, LOCAL_SERVICE, REMOTE_SERVICE = range(5)


def stream(seed: int, replication: int, node: int, purpose: int) -> np.random.Generator:
    """Return the random numbers of one purpose; the same for every compared point."""
    return np.random.default_rng([seed, replication, node, purpose])


def draw_arrivals(arrivals: Arrivals, rng: np.random.Generator, duration_s: float, folder: Path) -> list[float]:
    """Return the times of arrival within a duration, rising. [s]"""
    if arrivals.rate_per_s is not None:
        return poisson(rng, arrivals.rate_per_s, duration_s)
    if arrivals.every_s is not None:
        return periodic(arrivals.every_s, arrivals.first_s or 0.0, duration_s)
    return [time_s for time_s in read_trace(folder / str(arrivals.file)) if time_s < duration_s]


def poisson(rng: np.random.Generator, rate_per_s: float, duration_s: float) -> list[float]:
    """Return a Poisson process: exponential gaps with the rate's mean."""
    times: list[float] = []
    now_s = 0.0
    block = max(16, min(100_000, math.ceil(1.1 * rate_per_s * duration_s)))
    while now_s < duration_s:
        chunk = now_s + np.cumsum(rng.standard_exponential(block)) / rate_per_s
        times.extend(chunk.tolist())
        now_s = times[-1]
    return times[: int(np.searchsorted(times, duration_s))]


def periodic(every_s: float, first_s: float, duration_s: float) -> list[float]:
    """Return arrivals in step, beginning with the first. [s]"""
    count = max(0, math.ceil((duration_s - first_s) / every_s))
    times = (first_s + every_s * np.arange(count)).tolist()
    return [time_s for time_s in times if time_s < duration_s]


def read_trace(path: Path) -> list[float]:
    """Return the times of a file with one time in seconds per line; a first line of text is a heading.

    Raises
    ------
    InputError
        The file cannot be read, or a line is no time, or comes before the one above it.
    """
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, [f"{path} cannot be read: {error}"]) from None
    times: list[float] = []
    for number, line in enumerate(lines, start=1):
        time_s = _number(line)
        if time_s is None and number == 1:
            continue
        if time_s is None or not 0.0 <= time_s < math.inf:
            raise InputError(path, [f"{path}, line {number}: {line!r} is no time in seconds of at least 0"])
        if times and time_s < times[-1]:
            raise InputError(path, [f"{path}, line {number}: {line!r} comes before the time above it; sort the file"])
        times.append(time_s)
    return times


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
