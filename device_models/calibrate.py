"""Calibrate: measured rows of one runtime become its multipliers, its band, and the error to expect on new networks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from device_models.amounts import COMPUTE
from device_models.estimate import Setting, working_set
from device_models.fitting import Fit, HeldOut, Prior, band_factor, fit, held_out
from device_models.grey_box import demand, multipliers, runtime_graph
from device_models.networks import family
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from device_models.matching import Matched
    from device_models.networks import Models
    from device_models.runtime import Runtime


@dataclass(frozen=True)
class Sample:
    """A matched row, its family, and what it asks of its device: times by term with multipliers of one. [s]"""

    matched: Matched
    family: str
    seconds: NDArray[np.float64]

    @property
    def measured_s(self) -> float:
        """Latency. [s]"""
        return self.matched.row.latency_s or 0.0

    @property
    def key(self) -> tuple[str, str, float, int, str]:
        """What rows of the same measurement have in common."""
        found = self.matched
        return (found.place, found.device.name, found.frequency_hz, found.threads, found.row.precision)


@dataclass(frozen=True)
class Calibration:
    """A fit of one runtime.

    Parameters
    ----------
    start
        The runtime that the fit was drawn towards: its terms are fitted.
    held
        Each sample predicted without its family.
    factor
        Predicted standard deviations to either side that hold 80 % of the held-out rows.
    """

    start: Runtime
    samples: tuple[Sample, ...]
    found: Fit
    held: HeldOut
    factor: float

    @property
    def measured_s(self) -> NDArray[np.float64]:
        """Latencies, (samples,). [s]"""
        return np.array([sample.measured_s for sample in self.samples])

    @property
    def fitted_s(self) -> NDArray[np.float64]:
        """What the fit makes of them, (samples,). [s]"""
        return matrix(self.samples) @ self.found.multipliers

    @property
    def before_s(self) -> NDArray[np.float64]:
        """What the start makes of them, (samples,). [s]"""
        return matrix(self.samples) @ multipliers(self.start)


def sample(matched: Matched, models: Models, terms_of: Runtime) -> Sample:
    """Return what a row asks of its device, in the terms of a runtime.

    Raises
    ------
    InputError
        The network cannot be read, or has operators without a term.
    """
    row, runtime = matched.row, matched.runtime
    graph = models.graph(row.model, row.runtime, drops_dead_channels=runtime.drops_dead_channels)
    prepared = runtime_graph(graph, runtime, row.precision, row.batch)
    setting = Setting(matched.device, matched.threads, matched.frequency_hz)
    found = demand(prepared, terms_of, setting, working_set(prepared), row.precision)
    if found.uncovered:
        ops = ", ".join(sorted({each.layer.op for each in found.uncovered}))
        raise InputError(row.model, [f"operators without a cost in {terms_of.name}: {ops}"])
    return Sample(matched, family(row.model), found.total_s)


def matrix(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return the amounts of samples, (samples, terms). [s]"""
    return np.array([each.seconds for each in samples])


def counts(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return how much each sample counts: those that repeat one measurement share one, (samples,).

    Duty-cycled rows count nothing: what ran beside the network is not known. Nor do kernels searched on the board.
    """
    rows = [each.matched.row for each in samples]
    used = [row.period_s is None and not row.tuned for row in rows]
    times = Counter(each.key for each, counts in zip(samples, used, strict=True) if counts)
    return np.array([1.0 / times[each.key] if counts else 0.0 for each, counts in zip(samples, used, strict=True)])


def prior_of(start: Runtime) -> Prior:
    """Return what a runtime's file says of its multipliers, as the prior of a fit."""
    terms = start.terms.values()
    return Prior(
        multipliers(start),
        np.array([term.spread for term in terms]),
        np.array([term.bounds[0] for term in terms]),
        np.array([term.bounds[1] for term in terms]),
        np.array([term.quantity in COMPUTE for term in terms]),
    )


def calibrate(samples: Sequence[Sample], start: Runtime) -> Calibration:
    """Return the fit of samples whose amounts are in the terms of ``start``.

    Raises
    ------
    InputError
        There are no samples.
    """
    if not samples:
        raise InputError("calibrate", ["no row could be matched to a device and a network"])
    seconds, weights, prior = matrix(samples), counts(samples), prior_of(start)
    measured_s = np.array([each.measured_s for each in samples])
    held = held_out(seconds, measured_s, [each.family for each in samples], prior, weights)
    return Calibration(
        start, tuple(samples), fit(seconds, measured_s, prior, weights), held, band_factor(measured_s, held, weights)
    )
