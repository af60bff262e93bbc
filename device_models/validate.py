"""Validate: every measured row beside its prediction, with its family known and left out, and beside baselines."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from device_models.baselines import by_features, by_macs, features, left_out
from device_models.calibrate import Sample, calibrate, sample
from device_models.energy import idle_power
from device_models.estimate import estimate, prepared_for
from device_models.matching import Matched, Unmatched, match
from device_models.networks import family
from device_models.runtime import load_runtime
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from device_models.device import Device
    from device_models.measured import Measured
    from device_models.networks import Models
    from device_models.result import Estimate
    from device_models.runtime import Runtime

K = TypeVar("K")


@dataclass(frozen=True)
class HeldOutTime:
    """A latency predicted without the family of the network, with its band. [s]"""

    latency_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Prediction:
    """A measured row and what is predicted for it.

    Parameters
    ----------
    energy_j
        Of the inference; of the whole period for a duty-cycled row.
    held_out
        Without the network's family; None where the file has no other family with that runtime.
    macs_s, features_s
        What the two baselines say without the family, None likewise.
    """

    matched: Matched
    family: str
    estimate: Estimate
    energy_j: float
    held_out: HeldOutTime | None = None
    macs_s: float | None = None
    features_s: float | None = None

    @property
    def block(self) -> tuple[str, str]:
        """Device and runtime."""
        return (self.matched.device.name, self.matched.runtime.name)


@dataclass(frozen=True)
class Validation:
    """All rows of a file: predicted, or not, with the reason."""

    rows: tuple[Prediction, ...]
    unmatched: tuple[Unmatched, ...]


def validate(
    measured: Sequence[Measured],
    models: Models,
    *,
    device: Device | None = None,
    runtime: Runtime | None = None,
    tick: Callable[[int, int, str], None] | None = None,
) -> Validation:
    """Predict every row that can be matched.

    Parameters
    ----------
    device, runtime
        Instead of those that the rows name.
    tick
        Told how many of how many rows are done, and what comes next.
    """
    found: list[Prediction] = []
    unmatched: list[Unmatched] = []
    for index, row in enumerate(measured):
        if tick is not None:
            tick(index, len(measured), row.model)
        matched = match(row, models, device=device, runtime=runtime)
        answer = matched if isinstance(matched, Unmatched) else _predicted(matched, models)
        if isinstance(answer, Unmatched):
            unmatched.append(answer)
        else:
            found.append(answer)
    return Validation(tuple(_with_baselines(_with_held_out(found, models), models)), tuple(unmatched))


def _predicted(matched: Matched, models: Models) -> Prediction | Unmatched:
    """Return the prediction of one row."""
    row, runtime = matched.row, matched.runtime
    try:
        result = estimate(
            models.graph(row.model, drops_dead_channels=runtime.drops_dead_channels),
            matched.device,
            runtime=runtime,
            precision=row.precision,
            batch=row.batch,
            threads=matched.threads,
            frequency_hz=matched.frequency_hz,
        )
    except InputError as error:
        return Unmatched(row, "; ".join(error.problems))
    waiting_s = max(0.0, (row.period_s or 0.0) - result.latency_s)
    energy_j = result.energy_j + idle_power(matched.device, matched.frequency_hz) * waiting_s
    return Prediction(matched, family(row.model), result, energy_j)


def _with_held_out(found: Sequence[Prediction], models: Models) -> list[Prediction]:
    """Add what each runtime predicts when it is fitted again, to the file's rows of other families."""
    times: dict[int, HeldOutTime] = {}
    for runtime, rows in _grouped(found, lambda each: each.matched.runtime).items():
        if runtime.prior is None or len({each.family for each in rows}) < 2:
            continue
        start = load_runtime(runtime.prior)
        samples: list[Sample] = [sample(each.matched, models, start) for each in rows]
        fitted = calibrate(samples, start)
        reach = np.exp(fitted.factor * fitted.held.spread)
        for each, latency_s, factor in zip(rows, fitted.held.predicted_s, reach, strict=True):
            times[id(each)] = HeldOutTime(float(latency_s), float(latency_s / factor), float(latency_s * factor))
    return [replace(each, held_out=times.get(id(each))) for each in found]


def _with_baselines(found: Sequence[Prediction], models: Models) -> list[Prediction]:
    """Add what the baselines predict, each fitted to the rows of one device and runtime."""
    result = []
    for rows in _grouped(found, lambda each: each.block).values():
        counted = np.array([_features(each, models) for each in rows])
        measured_s = np.array([each.matched.row.latency_s for each in rows])
        families = [each.family for each in rows]
        macs, nine = (left_out(counted, measured_s, families, learn) for learn in (by_macs, by_features))
        result += [
            replace(each, macs_s=_known(one), features_s=_known(other))
            for each, one, other in zip(rows, macs, nine, strict=True)
        ]
    return result


def _features(each: Prediction, models: Models) -> NDArray[np.float64]:
    """Return the nine features of a row's network."""
    row, runtime = each.matched.row, each.matched.runtime
    graph = models.graph(row.model, drops_dead_channels=runtime.drops_dead_channels)
    return features(prepared_for(graph, row.precision, row.batch))


def _known(value: float) -> float | None:
    """Return a number, None for nan."""
    return None if math.isnan(value) else float(value)


def _grouped(found: Iterable[Prediction], key: Callable[[Prediction], K]) -> dict[K, list[Prediction]]:
    """Return rows by a key, in their order."""
    groups: defaultdict[K, list[Prediction]] = defaultdict(list)
    for each in found:
        groups[key(each)].append(each)
    return groups
