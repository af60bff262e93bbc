"""Fitting: multipliers from few measurements by relative least squares, within bounds, drawn towards a prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from device_models.runtime import Z80

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MODEL_ERROR = 0.06  # what one row is trusted to: noise of boards (1 to 5 %) and of eight numbers for a library
ORDINARY = 1.3  # a median row within this factor of the prior is what the prior expects
PRIOR_ROWS = 4.0  # so many rows' worth of belief in MODEL_ERROR and in a normal distribution


@dataclass(frozen=True)
class Prior:
    """What is believed of the multipliers before any measurement; each (terms,).

    Parameters
    ----------
    spread
        Standard deviation; zero fixes a multiplier at its mean.
    leveled
        Which of them rise and fall with how good a library is in all it does.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    leveled: NDArray[np.bool_]


def at_level(
    seconds: NDArray[np.float64], measured_s: NDArray[np.float64], prior: Prior, weights: NDArray[np.float64]
) -> Prior:
    """Return the prior of a library that is as good as the median row says: five times slower in one thing, so in all.

    A median within ``ORDINARY`` changes nothing: then each multiplier stands for itself. Else one row more, as the
    prior has it, keeps a single timing from deciding alone.
    """
    logarithms = np.log(measured_s / (seconds @ prior.mean))
    order = np.argsort(logarithms)
    share = np.cumsum(weights[order]) / weights.sum()
    median = float(logarithms[order][np.searchsorted(share, 0.5)])
    if abs(median) <= np.log(ORDINARY):
        return prior
    rows = float(weights.sum())
    level = np.where(prior.leveled, np.exp(median * rows / (rows + 1.0)), 1.0)
    mean = np.clip(prior.mean * level, prior.low, prior.high)
    return Prior(mean, prior.spread * level, prior.low, prior.high, prior.leveled)


@dataclass(frozen=True)
class Fit:
    """Multipliers (terms,), their covariance (terms, terms), and the standard deviation of ln(measured / fitted)."""

    multipliers: NDArray[np.float64]
    covariance: NDArray[np.float64]
    residual: float

    def spread(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of ln(measured / predicted) for rows of amounts (rows, terms)."""
        shares = seconds / (seconds @ self.multipliers)[:, None]
        return np.asarray(np.sqrt(self.residual**2 + np.einsum("ri,ij,rj->r", shares, self.covariance, shares)))


def fit(
    seconds: NDArray[np.float64],
    measured_s: NDArray[np.float64],
    prior: Prior,
    weights: NDArray[np.float64] | None = None,
) -> Fit:
    """Return the multipliers that minimise the squared relative errors and the squared distance from the prior.

    Parameters
    ----------
    seconds
        Amounts with a multiplier of one, float64, (rows, terms). [s]
    measured_s
        float64, (rows,), above zero. [s]
    weights
        How much each row counts, (rows,); rows that repeat a measurement share one.

    References
    ----------
    .. [1] A. Gelman et al., "Bayesian Data Analysis", 3rd ed., chapter 14: a normal prior is rows of data.
    """
    from scipy.optimize import lsq_linear

    counts = np.ones(len(measured_s)) if weights is None else weights
    if counts.sum() > 0:
        prior = at_level(seconds, measured_s, prior, counts)
    free = np.flatnonzero(prior.spread > 0)
    relative = seconds / measured_s[:, None]
    trust = np.sqrt(counts)[:, None] / MODEL_ERROR
    target = (1.0 - np.delete(relative, free, axis=1) @ np.delete(prior.mean, free))[:, None] * trust
    # Steps are counted in prior spreads from the prior's mean, so that all columns are alike.
    rows = relative[:, free] * trust * prior.spread[free]
    offset = (relative[:, free] @ prior.mean[free])[:, None] * trust
    system = np.vstack([rows, np.eye(len(free))])
    right = np.concatenate([(target - offset)[:, 0], np.zeros(len(free))])
    bounds = [(edge[free] - prior.mean[free]) / prior.spread[free] for edge in (prior.low, prior.high)]
    found = prior.mean.copy()
    if len(free):
        steps = lsq_linear(system, right, bounds=(bounds[0] - 1e-9, bounds[1] + 1e-9)).x
        found[free] = np.clip(prior.mean[free] + steps * prior.spread[free], prior.low[free], prior.high[free])
    shape = np.linalg.inv(system.T @ system)
    residual = _residual(relative @ found, counts, rows, shape)
    covariance = np.zeros((len(found), len(found)))
    scale = max(1.0, residual / MODEL_ERROR) ** 2
    covariance[np.ix_(free, free)] = shape * scale * np.outer(prior.spread[free], prior.spread[free])
    return Fit(found, covariance, residual)


def _residual(
    ratio: NDArray[np.float64], counts: NDArray[np.float64], rows: NDArray[np.float64], shape: NDArray[np.float64]
) -> float:
    """Return the standard deviation of ln(measured / fitted), MODEL_ERROR counting as some rows."""
    used = float(np.trace(rows @ shape @ rows.T))  # degrees of freedom that the fit took from the rows
    squares = float(counts @ np.log(np.maximum(ratio, 1e-12)) ** 2)
    freedom = max(0.0, float(counts.sum()) - used)
    return float(np.sqrt((squares + PRIOR_ROWS * MODEL_ERROR**2) / (freedom + PRIOR_ROWS)))


@dataclass(frozen=True)
class HeldOut:
    """Each row predicted by a fit without its group: times [s], and standard deviations of their logarithms."""

    predicted_s: NDArray[np.float64]
    spread: NDArray[np.float64]


def held_out(
    seconds: NDArray[np.float64],
    measured_s: NDArray[np.float64],
    groups: Sequence[str],
    prior: Prior,
    weights: NDArray[np.float64] | None = None,
) -> HeldOut:
    """Return the predictions of all rows, each from the rows of the other groups only."""
    names = np.array(groups)
    predicted, spread = np.zeros(len(names)), np.zeros(len(names))
    for name in dict.fromkeys(groups):
        out = names == name
        found = fit(seconds[~out], measured_s[~out], prior, None if weights is None else weights[~out])
        predicted[out], spread[out] = seconds[out] @ found.multipliers, found.spread(seconds[out])
    return HeldOut(predicted, spread)


def band_factor(measured_s: NDArray[np.float64], held: HeldOut, weights: NDArray[np.float64] | None = None) -> float:
    """Return how many predicted standard deviations to either side hold 80 % of the held-out measurements.

    The quantile of the rows, drawn towards that of a normal distribution as if that were PRIOR_ROWS rows; at least
    one, because rows with few kinds of layers left out say little of networks that have them all.
    """
    reached = np.abs(np.log(measured_s / held.predicted_s)) / held.spread
    counts = np.ones(len(reached)) if weights is None else weights
    order = np.argsort(reached)
    share = (np.cumsum(counts[order]) - counts[order] / 2) / counts.sum()
    quantile = float(np.interp(0.8, share, reached[order]))
    total = float(counts.sum())
    return max(1.0, (quantile * total + Z80 * PRIOR_ROWS) / (total + PRIOR_ROWS))
