"""Accuracy: predicted against measured, and what their errors amount to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Pair:
    """A measured value and what is predicted for it; all times in seconds, energies in joules.

    Parameters
    ----------
    label
        The network.
    low_s, high_s
        The band that should hold 80 % of the measurements.
    held_out_s
        Predicted without the network's family, with its own band; None where that is not possible.
    baselines_s
        By name, without the family likewise.
    """

    label: str
    family: str
    runtime: str
    device: str
    measured_s: float
    predicted_s: float
    low_s: float
    high_s: float
    held_out_s: float | None = None
    held_out_low_s: float = 0.0
    held_out_high_s: float = 0.0
    baselines_s: dict[str, float | None] = field(default_factory=dict)
    measured_j: float | None = None
    predicted_j: float | None = None


@dataclass(frozen=True)
class Errors:
    """Absolute errors as shares of the measurement: median, 90 % quantile, mean, worst."""

    median: float
    p90: float
    mean: float
    worst: float


def errors(pairs: Sequence[tuple[float, float]]) -> Errors | None:
    """Return the errors of (predicted, measured); None without any."""
    if not pairs:
        return None
    shares = np.array([abs(predicted / measured - 1.0) for predicted, measured in pairs])
    return Errors(float(np.median(shares)), float(np.quantile(shares, 0.9)), float(shares.mean()), float(shares.max()))


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's coefficient; None where either side has fewer than three different values."""
    if min((len({pair[side] for pair in pairs}) for side in (0, 1)), default=0) < 3:
        return None
    ranks = [_ranks([pair[side] for pair in pairs]) for side in (0, 1)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Sequence[float]) -> list[float]:
    """Return ranks, equal values sharing their mean."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def coverage(pairs: Sequence[Pair], *, held_out: bool) -> float | None:
    """Return the share of measurements inside their band; None without any."""
    if held_out:
        inside = [
            each.held_out_low_s <= each.measured_s <= each.held_out_high_s
            for each in pairs
            if each.held_out_s is not None
        ]
    else:
        inside = [each.low_s <= each.measured_s <= each.high_s for each in pairs]
    return sum(inside) / len(inside) if inside else None


def known(pairs: Sequence[Pair], value: Callable[[Pair], float | None]) -> list[tuple[float, float]]:
    """Return (predicted, measured) of the rows that have a prediction."""
    found = ((value(each), each.measured_s) for each in pairs)
    return [(predicted, measured) for predicted, measured in found if predicted is not None]


def energies(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """Return (predicted, measured) of the rows with an energy. [J]"""
    return [(each.predicted_j, each.measured_j) for each in pairs if each.predicted_j and each.measured_j]


def signed(predicted: float, measured: float) -> str:
    """Return an error with its sign: "+3.1 %"."""
    return f"{100 * (predicted / measured - 1.0):+.1f} %"
