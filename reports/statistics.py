"""Order statistics and confidence intervals of simulated samples, with their definitions stated."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Interval = tuple[float, float]


def percentile(values: Sequence[float], share: float) -> float:
    """Percentile by linear interpolation between order statistics (definition 7 of [1]_, numpy's default).

    Parameters
    ----------
    values
        The sample, in any order, at least one.
    share
        0..1; 0.95 for the 95th percentile.

    References
    ----------
    .. [1] R. Hyndman, Y. Fan, "Sample quantiles in statistical packages", Am. Stat. 50(4), 1996.
    """
    if not values:
        raise ValueError("a percentile needs at least one value")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be within 0..1, found {share!r}")
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    # Written as a sum of low and step so that equal neighbours give exactly their value.
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Confidence interval of a mean by Student's t; the values are taken as independent, at least two."""
    count = len(values)
    if count < 2:
        raise ValueError(f"an interval of the mean needs at least two values, found {count}")
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = student_t_quantile((1 + confidence) / 2, count - 1) * math.sqrt(variance / count)
    return mean - half, mean + half


def percentile_interval(values: Sequence[float], share: float, confidence: float = 0.95) -> Interval | None:
    """Distribution-free confidence interval of a percentile, between two order statistics.

    The ranks come from the binomial law of how many of the values lie below the true percentile [1]_.
    None when the sample is too small to bound the percentile on both sides.

    References
    ----------
    .. [1] H. David, H. Nagaraja, "Order Statistics", 3rd ed., 2003, section 7.1.
    """
    ordered = sorted(values)
    count = len(ordered)
    tail = (1 - confidence) / 2
    cumulative = _binomial_cumulative(count, share)
    # P(B <= lower - 1) <= tail and P(B >= upper) <= tail, ranks from 1.
    lower = max((rank for rank in range(1, count + 1) if cumulative[rank - 1] <= tail), default=None)
    upper = min((rank for rank in range(1, count + 1) if 1 - cumulative[rank - 1] <= tail), default=None)
    if lower is None or upper is None:
        return None
    return ordered[lower - 1], ordered[upper - 1]


def share_interval(hits: int, count: int, confidence: float = 0.95) -> Interval:
    """Confidence interval of a share by Wilson's score; meaningful for no hits and for all hits too.

    References
    ----------
    .. [1] E. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    if not 0 <= hits <= count or count == 0:
        raise ValueError(f"hits must be within 0..count and count > 0, found {hits!r} of {count!r}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / count
    scale = 1 + z * z / count
    center = (share + z * z / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / scale
    return (0.0 if hits == 0 else center - half), (1.0 if hits == count else center + half)


def ecdf(values: Sequence[float], count: int | None = None) -> tuple[list[float], list[float]]:
    """Return the steps of the empirical distribution: each distinct value and the share at or below it.

    Parameters
    ----------
    count
        Size of the whole population when some members have no value, so that the curve ends below 1.
    """
    ordered = sorted(values)
    total = len(ordered) if count is None else count
    steps: dict[float, float] = {}
    for rank, value in enumerate(ordered, start=1):
        steps[value] = rank / total
    return list(steps), list(steps.values())


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count the values within each pair of neighbouring edges; half-open bins, the last one closed, as numpy's."""
    if len(edges) < 2 or any(low >= high for low, high in itertools.pairwise(edges)):
        raise ValueError("edges must be at least two, increasing")
    counts = [0] * (len(edges) - 1)
    for value in values:
        if not edges[0] <= value <= edges[-1]:
            continue
        inside = bisect_right(edges, value) - 1
        counts[min(inside, len(counts) - 1)] += 1
    return counts


def step_mean(time_s: Sequence[float], values: Sequence[float], edges_s: Sequence[float]) -> list[float]:
    """Exact mean of a step signal within each bin: its integral over the bin divided by the bin's length.

    Parameters
    ----------
    time_s
        When the signal changes, not decreasing; the signal is 0 before the first change. [s]
    values
        The signal from each change on.
    edges_s
        Bin edges, increasing. [s]
    """
    import numpy as np

    # Between changes the integral is a straight line, so its values at the edges are exact.
    changes_s = np.array([*time_s, max(edges_s[-1], time_s[-1])])
    integral = np.concatenate(([0.0], np.cumsum(np.diff(changes_s) * np.array(values))))
    at_edges = np.interp(edges_s, changes_s, integral)
    means: list[float] = (np.diff(at_edges) / np.diff(edges_s)).tolist()
    return means


def student_t_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t for ``share`` above 0.5, by bisection of its distribution function."""
    low, high = 0.0, 1.0
    while student_t_cumulative(high, freedom) < share:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_t_cumulative(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def student_t_cumulative(t: float, freedom: int) -> float:
    """Distribution function of Student's t for t >= 0 and whole degrees of freedom, as a finite sum.

    References
    ----------
    .. [1] M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 1964, formulas 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine_squared = math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine_squared * (step + 1) / (step + 2)
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 + inside) / 2


def _binomial_cumulative(count: int, share: float) -> list[float]:
    """P(B <= k) for k = 0..count, B binomial; through logarithms so that large counts do not underflow."""
    if share in (0, 1):
        return [1.0 - share] * count + [1.0]
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(share) + (count - k) * math.log1p(-share)
        for k in range(count + 1)
    ]  # fmt: skip
    cumulative, total = [], 0.0
    for log in logs:
        total += math.exp(log)
        cumulative.append(min(1.0, total))
    return cumulative
