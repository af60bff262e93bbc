"""Dependence chains that a loop carries from one iteration to the next, exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device_models.cores.timing import Issue

_NEVER = -math.inf


def chain_cycles(block: Sequence[Issue]) -> float:
    """Return the cycles per iteration that results waiting for each other need, however much could run beside.

    An iteration maps when registers are ready before it to when they are ready after it, in sums and maxima; its rate
    is the largest mean of a cycle of registers. Dependences through memory are not seen.

    References
    ----------
    .. [1] R. M. Karp, "A characterization of the minimum cycle mean in a digraph", Discrete Mathematics 23(3), 1978.
    """
    reached = _passages(block)
    return _largest_mean(
        {
            end: {start: cycles for start, cycles in starts.items() if start in reached}
            for end, starts in reached.items()
        }
    )


def _passages(block: Sequence[Issue]) -> dict[str, dict[str, float]]:
    """Return, per register written, the longest way to it from each register as it was before the block. [cycle]"""
    reached: dict[str, dict[str, float]] = {}
    for issue in block:
        done: dict[str, float] = {}
        waits = [(register, issue.latency) for register in issue.reads]
        waits += [(register, issue.accumulator_latency) for register in issue.accumulates]
        for register, latency in waits:
            for start, cycles in reached.get(register, {register: 0.0}).items():
                done[start] = max(done.get(start, 0.0), cycles + latency)
        reached |= dict.fromkeys(issue.writes, done)
    return reached


def _largest_mean(edges: Mapping[str, Mapping[str, float]]) -> float:
    """Return the largest mean weight of a cycle, 0 without one; ``edges[end][start]`` is a weight."""
    walks = [dict.fromkeys(edges, 0.0)]
    for _ in edges:
        last = walks[-1]
        walks.append(
            {
                end: max((last[start] + cycles for start, cycles in into.items()), default=_NEVER)
                for end, into in edges.items()
            }
        )
    count = len(edges)
    means = (
        min((walks[count][end] - walks[steps][end]) / (count - steps) for steps in range(count))
        for end in edges
        if walks[count][end] > _NEVER
    )
    return max(means, default=0.0)
