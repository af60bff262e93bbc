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
from device_models.estimate import estimate
from device_models.grey_box import runtime_graph
from device_models.matching import Matched, Unmatched, match
from device_models.networks import family
from device_models.runtime import load_runtime
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from device_models.baselines import Learn
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

    @property
    def setting(self) -> tuple[str, str, str, int, float]:
        """Device, runtime, precision, threads and clock. [Hz]"""
        found = self.matched
        return (found.device.name, found.runtime.name, found.row.precision, found.threads, found.frequency_hz)


@dataclass(frozen=True)
class _Answer:
    """A prediction; what its network asks in the prior's terms, None without a prior; and the baselines' features."""

    prediction: Prediction
    asked: Sample | None
    features: NDArray[np.float64]


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
    found = _once([match(row, models, device=device, runtime=runtime) for row in measured])
    answers: dict[int, _Answer | Unmatched] = {}
    for done, index in enumerate(sorted(range(len(found)), key=lambda index: _shared(found[index]))):
        if tick is not None:
            tick(done, len(measured), measured[index].model)
        each = found[index]
        answers[index] = each if isinstance(each, Unmatched) else _answer(each, models)
    ordered = [answers[index] for index in range(len(found))]
    rows = [each for each in ordered if not isinstance(each, Unmatched)]
    return Validation(_completed(rows), tuple(each for each in ordered if isinstance(each, Unmatched)))


def _once(found: Sequence[Matched | Unmatched]) -> list[Matched | Unmatched]:
    """Return rows without those that another file has too: what is counted twice weighs twice."""
    first: dict[tuple[str, str, str], Measured] = {}
    rows: list[Matched | Unmatched] = []
    for each in found:
        kept = each.row
        if isinstance(each, Matched):
            kept = first.setdefault((each.place, each.device.name, f"{each.row.latency_s:.3e}"), each.row)
        same = kept.file == each.row.file
        rows.append(each if same else Unmatched(each.row, f"the same measurement as {kept.place}"))
    return rows


def _shared(found: Matched | Unmatched) -> tuple[str, ...]:
    """Return what to order rows by, so that those of one network, runtime and device share their work."""
    if isinstance(found, Unmatched):
        return ()
    row, runtime = found.row, found.runtime
    return (found.place, row.precision, str(row.batch), str(runtime.drops_dead_channels), found.device.name)


def _answer(matched: Matched, models: Models) -> _Answer | Unmatched:
    """Return the prediction of one row, and what is learned from it for others."""
    row, runtime = matched.row, matched.runtime
    try:
        graph = models.graph(row.model, row.runtime, drops_dead_channels=runtime.drops_dead_channels)
        result = estimate(
            graph,
            matched.device,
            runtime=runtime,
            precision=row.precision,
            batch=row.batch,
            threads=matched.threads,
            frequency_hz=matched.frequency_hz,
        )
        asked = None if runtime.prior is None else sample(matched, models, load_runtime(runtime.prior))
    except InputError as error:
        return Unmatched(row, "; ".join(error.problems))
    waiting_s = max(0.0, (row.period_s or 0.0) - result.latency_s)
    energy_j = result.energy_j + idle_power(matched.device, matched.frequency_hz) * waiting_s
    counted = features(runtime_graph(graph, runtime, row.precision, row.batch))
    return _Answer(Prediction(matched, family(row.model), result, energy_j), asked, counted)


def _completed(rows: Sequence[_Answer]) -> tuple[Prediction, ...]:
    """Return the predictions with what they are without the family, and what the baselines say."""
    held, macs, nine = _held_out(rows), _baseline(rows, by_macs), _baseline(rows, by_features)
    return tuple(
        replace(each.prediction, held_out=held.get(index), macs_s=macs.get(index), features_s=nine.get(index))
        for index, each in enumerate(rows)
    )


def _held_out(rows: Sequence[_Answer]) -> dict[int, HeldOutTime]:
    """Return what each runtime predicts when it is fitted again, to the rows of other families."""
    times: dict[int, HeldOutTime] = {}
    for runtime, places in _grouped(rows, lambda each: each.prediction.matched.runtime).items():
        samples = [asked for asked in (rows[place].asked for place in places) if asked is not None]
        if runtime.prior is None or len({each.family for each in samples}) < 2:
            continue
        fitted = calibrate(samples, load_runtime(runtime.prior))
        reach = np.exp(fitted.factor * fitted.held.spread)
        for place, latency_s, factor in zip(places, fitted.held.predicted_s, reach, strict=True):
            times[place] = HeldOutTime(float(latency_s), float(latency_s / factor), float(latency_s * factor))
    return times


def _baseline(rows: Sequence[_Answer], learn: Learn) -> dict[int, float]:
    """Return what a baseline predicts, fitted to the other families in the same setting: it knows of no other."""
    times: dict[int, float] = {}
    for places in _grouped(rows, lambda each: each.prediction.setting).values():
        counted = np.array([rows[place].features for place in places])
        measured_s = np.array([rows[place].prediction.matched.row.latency_s for place in places])
        found = left_out(counted, measured_s, [rows[place].prediction.family for place in places], learn)
        times |= {place: float(each) for place, each in zip(places, found, strict=True) if not math.isnan(each)}
    return times


def _grouped(rows: Iterable[_Answer], key: Callable[[_Answer], K]) -> dict[K, list[int]]:
    """Return the places of rows by a key, in their order."""
    groups: defaultdict[K, list[int]] = defaultdict(list)
    for place, each in enumerate(rows):
        groups[key(each)].append(place)
    return groups
