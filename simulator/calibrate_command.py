"""The command ``presage calibrate``: timings of a board become a runtime, ready to be named."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device_models.amounts import QUANTITIES
from device_models.calibrate import Calibration, Sample, calibrate, sample
from device_models.device import load_device
from device_models.matching import Matched, Unmatched, device_of, match
from device_models.measured import Measured, read_measured
from device_models.runtime import Z80, Runtime, load_runtime, prior_for
from device_models.runtime_file import Heading, runtime_toml
from reports.accuracy import Pair, errors, known
from reports.accuracy_pages import calibration_page
from reports.runtime_tables import Multiplier
from simulator.validate_command import models_beside
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_models.device import Device
    from device_models.networks import Models
    from reports.page import Page


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Parameters
    ----------
    measured
        None where there are no timings: the answer is where a fit would start.
    runtime
        Pattern of the runtime's name in the file; None where the file has only one.
    on
        The device of all rows; None where the rows name it.
    prior
        Where the fit starts; None for that of the device's core and the rows' precision.
    precision
        Where there are no rows.
    title, aliases
        What the runtime is called, and by what other names; the file's where not said.
    years
        First and last year of the rows to take; rows without one are not taken.
    """

    measured: Path | None
    name: str
    runtime: str | None = None
    on: str | None = None
    prior: str | None = None
    precision: str = "int8"
    models: tuple[Path, ...] = ()
    drops_dead_channels: bool = False
    title: str | None = None
    aliases: tuple[str, ...] = ()
    years: tuple[int, int] | None = None


@dataclass(frozen=True)
class Answer:
    """A runtime's file, how it was found, and the rows that were not used, with the reason.

    Parameters
    ----------
    before_s
        What the start of the fit makes of the rows. [s]
    """

    title: str
    text: str
    pairs: tuple[Pair, ...] = ()
    before_s: tuple[float, ...] = ()
    multipliers: tuple[Multiplier, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()

    @property
    def page(self) -> Page:
        """The report of the fit, with its plots."""
        return calibration_page(self.title, self.pairs, self.before_s, self.multipliers)

    @property
    def data(self) -> dict[str, Any]:
        """The fit as JSON."""
        measured = [each.measured_s for each in self.pairs]
        stages = {
            "before": list(zip(self.before_s, measured, strict=True)),
            "fitted": known(self.pairs, lambda each: each.predicted_s),
            "held_out": known(self.pairs, lambda each: each.held_out_s),
        }
        found = {name: errors(stage) for name, stage in stages.items()}
        return {
            "title": self.title,
            "errors": {name: None if each is None else asdict(each) for name, each in found.items()},
            "multipliers": [asdict(each) for each in self.multipliers],
            "rows": [asdict(each) for each in self.pairs],
            "unmatched": [{"line": each.row.line, "reason": each.reason} for each in self.unmatched],
        }


def answer(asked: Request) -> Answer:
    """Fit a runtime to the rows of a file; without any, say where a fit for the device would start.

    Raises
    ------
    InputError
        The file, a name or a folder is wrong, or no row can be used; with every reason.
    """
    measured = () if asked.measured is None else read_measured(asked.measured)
    device = None if asked.on is None else load_device(asked.on)
    if asked.measured is None or not measured:
        start = _start((), asked, device)
        return Answer(start.title, _file(asked.prior or start.name).read_text(encoding="utf-8"))
    rows = _chosen(measured, asked)
    start = _start(rows, asked, device)
    models = models_beside([asked.measured], asked.models)
    stand_in = replace(start, drops_dead_channels=asked.drops_dead_channels)
    found = [match(row, models, device=device, runtime=stand_in) for row in rows]
    samples, unmatched = _samples(found, models, start)
    if not samples:
        raise InputError(asked.measured, [f"line {each.row.line}: {each.reason}" for each in unmatched])
    fitted = calibrate(samples, start)
    title = asked.title or asked.runtime or rows[0].runtime or asked.name
    aliases = tuple(dict.fromkeys((*(row.runtime for row in rows if row.runtime), *asked.aliases)))
    heading = Heading(asked.name, title, aliases, asked.drops_dead_channels, asked.measured.name, asked.years)
    return Answer(
        f"Calibration of {title}",
        runtime_toml(fitted, heading),
        _pairs(fitted, title),
        tuple(map(float, fitted.before_s)),
        _multipliers(fitted),
        tuple(unmatched),
    )


def _file(name: str) -> Path:
    """Return where a runtime's file is."""
    return Path(name) if name.endswith(".toml") else Path(str(files("device_models") / "runtimes" / f"{name}.toml"))


def _start(rows: Sequence[Measured], asked: Request, device: Device | None) -> Runtime:
    """Return where a fit starts: what the user named, else the prior of the core."""
    if asked.prior:
        return load_runtime(asked.prior)
    if device is not None:
        return prior_for(device.core.name, rows[0].precision if rows else asked.precision)
    faults = {}
    for row in rows:
        try:
            return prior_for(device_of(row).core.name, row.precision)
        except InputError as error:
            faults[row.device] = f"line {row.line}: {'; '.join(error.problems)}"
    named = [fault for name, fault in faults.items() if name]
    raise InputError(
        "--on", [*named, "no row names a board that presage knows; name it: a device, or your own TOML file"]
    )


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
    if asked.years is None:
        return chosen
    first, last = asked.years
    dated = [row for row in chosen if row.year is not None and first <= row.year <= last]
    if not dated:
        raise InputError("--years", [f"no row of these is from {first} to {last}"])
    return dated


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


def _pairs(fitted: Calibration, title: str) -> tuple[Pair, ...]:
    """Return the rows with what the fit makes of them."""
    reach = np.exp(fitted.factor * fitted.held.spread)
    own = np.exp(fitted.factor * fitted.found.spread(np.array([each.seconds for each in fitted.samples])))
    families = len({each.family for each in fitted.samples})
    columns = (fitted.samples, fitted.fitted_s, fitted.held.predicted_s, own, reach)
    return tuple(
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
    )


def _multipliers(fitted: Calibration) -> tuple[Multiplier, ...]:
    """Return the multipliers before and after the fit."""
    spread = Z80 * np.sqrt(np.diag(fitted.found.covariance))
    return tuple(
        Multiplier(
            name,
            ", ".join(term.layers),
            term.quantity,
            QUANTITIES[term.quantity],
            term.multiplier.value,
            float(value),
            float(value - each),
            float(value + each),
        )
        for (name, term), value, each in zip(fitted.start.terms.items(), fitted.found.multipliers, spread, strict=True)
    )
