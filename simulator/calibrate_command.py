"""The command ``presage calibrate``: timings of a board become a runtime, ready to be named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from device_models.amounts import QUANTITIES
from device_models.calibrate import Calibration, Sample, calibrate, sample
from device_models.device import load_device
from device_models.matching import Matched, Unmatched, find_device, match
from device_models.measured import Measured, read_measured
from device_models.runtime import Z80, Runtime, load_runtime, prior_for
from device_models.runtime_file import Heading, runtime_toml
from reports.accuracy import Pair
from reports.accuracy_pages import calibration_page
from reports.accuracy_tables import Multiplier
from simulator.validate_command import models_beside
from workloads.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from device_models.networks import Models
    from reports.page import Page


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Parameters
    ----------
    runtime
        Pattern of the runtime's name in the file; None where the file has only one.
    on
        The device of all rows; None where the rows name it.
    prior
        Where the fit starts; None for that of the device's core.
    """

    measured: Path
    name: str
    runtime: str | None = None
    on: str | None = None
    prior: str | None = None
    models: tuple[Path, ...] = ()
    drops_dead_channels: bool = False


@dataclass(frozen=True)
class Answer:
    """A calibration: the runtime's file, the report, and the rows that were not used, with the reason."""

    text: str
    page: Page
    unmatched: tuple[Unmatched, ...]


def answer(asked: Request) -> Answer:
    """Fit a runtime to the rows of a file.

    Raises
    ------
    InputError
        The file, a name or a folder is wrong, or no row can be used; with every reason.
    """
    rows = _chosen(read_measured(asked.measured), asked)
    models = models_beside([asked.measured], asked.models)
    device = None if asked.on is None else load_device(asked.on)
    start = load_runtime(asked.prior) if asked.prior else prior_for((device or find_device(rows[0].device)).core.name)
    stand_in = replace(start, drops_dead_channels=asked.drops_dead_channels)
    found = [match(row, models, device=device, runtime=stand_in) for row in rows]
    samples, unmatched = _samples(found, models, start)
    if not samples:
        raise InputError(asked.measured, [f"line {each.row.line}: {each.reason}" for each in unmatched])
    fitted = calibrate(samples, start)
    title = asked.runtime or rows[0].runtime or asked.name
    aliases = tuple(dict.fromkeys(row.runtime for row in rows))
    heading = Heading(asked.name, title, aliases, asked.drops_dead_channels, asked.measured.name)
    return Answer(runtime_toml(fitted, heading), _page(fitted, title), tuple(unmatched))


def _chosen(rows: tuple[Measured, ...], asked: Request) -> list[Measured]:
    """Return the rows of one runtime."""
    names = sorted({row.runtime for row in rows})
    if asked.runtime is None and len(names) > 1:
        shown = ", ".join(map(repr, names[:6])) + (" ..." if len(names) > 6 else "")
        raise InputError("--runtime", [f"the file has rows of {len(names)} runtimes ({shown}); name one"])
    pattern = "*" if asked.runtime is None else asked.runtime.lower()
    chosen = [row for row in rows if fnmatchcase(row.runtime.lower(), pattern)]
    if not chosen:
        raise InputError("--runtime", [f"no row is of {asked.runtime!r}; there are {', '.join(map(repr, names))}"])
    return chosen


def _samples(found: list[Matched | Unmatched], models: Models, start: Runtime) -> tuple[list[Sample], list[Unmatched]]:
    """Return what can be fitted, and the rest with its reasons."""
    samples, unmatched = [], []
    for each in found:
        if isinstance(each, Unmatched):
            unmatched.append(each)
        elif each.row.period_s is not None:
            unmatched.append(Unmatched(each.row, "duty-cycled: what runs beside the network is not known"))
        else:
            try:
                samples.append(sample(each, models, start))
            except InputError as error:
                unmatched.append(Unmatched(each.row, "; ".join(error.problems)))
    return samples, unmatched


def _page(fitted: Calibration, title: str) -> Page:
    """Return the report of a fit."""
    reach = np.exp(fitted.factor * fitted.held.spread)
    own = np.exp(fitted.factor * fitted.found.spread(np.array([each.seconds for each in fitted.samples])))
    families = len({each.family for each in fitted.samples})
    columns = (fitted.samples, fitted.fitted_s, fitted.held.predicted_s, own, reach)
    pairs = [
        Pair(
            label=each.matched.row.model,
            family=each.family,
            runtime=title,
            device=each.matched.device.name,
            measured_s=each.measured_s,
            predicted_s=float(fitted_s),
            low_s=float(fitted_s / around),
            high_s=float(fitted_s * around),
            held_out_s=float(held_s) if families > 1 else None,
            held_out_low_s=float(held_s / factor),
            held_out_high_s=float(held_s * factor),
        )
        for each, fitted_s, held_s, around, factor in zip(*columns, strict=True)
    ]
    spread = Z80 * np.sqrt(np.diag(fitted.found.covariance))
    multipliers = [
        Multiplier(
            name,
            QUANTITIES[term.quantity],
            term.multiplier.value,
            float(value),
            float(value - each),
            float(value + each),
        )
        for (name, term), value, each in zip(fitted.start.terms.items(), fitted.found.multipliers, spread, strict=True)
    ]
    return calibration_page(f"Calibration of {title}", pairs, list(fitted.before_s), multipliers)
