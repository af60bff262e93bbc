"""Runtime files: a calibration written as TOML, ready to be named on the command line or shipped."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device_models.runtime import Z80, Runtime, runtime_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from device_models.calibrate import Calibration, Sample
    from device_models.figures import Figure
    from device_models.runtime import Term


@dataclass(frozen=True)
class Heading:
    """What a runtime file says of itself.

    Parameters
    ----------
    origin
        Where the rows are from, for rows that name no source.
    years
        First and last year of the rows, where the name alone does not tell the generation of kernels.
    """

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    drops_dead_channels: bool = False
    origin: str = "the user's own measurements"
    years: tuple[int, int] | None = None


def calibrated_runtime(calibration: Calibration, heading: Heading) -> Runtime:
    """Return the calibration as a runtime, the same as from its file."""
    return runtime_of(tomllib.loads(runtime_toml(calibration, heading)), Path(f"{heading.name}.toml"))


def runtime_toml(calibration: Calibration, heading: Heading) -> str:
    """Return the text of a runtime file: multipliers with their ranges, the band, and every row with its residuals."""
    start, samples = calibration.start, calibration.samples
    sources = {"fit": _fit_words(calibration)}
    keys = _row_sources(samples, heading.origin, sources)
    lines = [
        f"# {heading.title}: fitted multipliers; see the rows for what they make of each measurement.",
        "schema = 1",
        f"title = {_text(heading.title)}",
        f"aliases = {_texts(heading.aliases)}",
        f"cores = {_texts(sorted({each.matched.device.core.name for each in samples}))}",
        f"precisions = {_texts(sorted({each.matched.row.precision for each in samples}))}",
        f"prior = {_text(start.name)}",
        *([] if heading.years is None else [f"years = {list(heading.years)}"]),
        f"drops_dead_channels = {json.dumps(heading.drops_dead_channels)}",
        "",
        *_factors(start.core_factors, start.sources, sources),
    ]
    spread = np.sqrt(np.diag(calibration.found.covariance))
    for (name, term), value, each in zip(start.terms.items(), calibration.found.multipliers, spread, strict=True):
        lines += _term(name, term, float(value), float(each), start.sources, sources)
    lines += [*_band(calibration, start, sources), *_rows(calibration, keys)]
    lines += ["[sources]", *(f"{key} = {_text(words)}" for key, words in sources.items())]
    return "\n".join(lines) + "\n"


def _fit_words(calibration: Calibration) -> str:
    """Say how the multipliers were found."""
    families = len({each.family for each in calibration.samples})
    held = np.abs(calibration.held.predicted_s / calibration.measured_s - 1.0)
    return (
        f"Fitted by presage to {len(calibration.samples)} rows of {families} families of networks: relative least "
        f"squares within bounds, drawn towards {calibration.start.name}; with each family left out in turn the rows "
        f"are missed by {100 * held.mean():.1f} % on average and {100 * held.max():.1f} % at worst"
    )


def _row_sources(samples: Iterable[Sample], origin: str, sources: dict[str, str]) -> list[str]:
    """Return the key of each row's source, and add the sources."""
    keys: list[str] = []
    for each in samples:
        words = each.matched.row.source or f"{origin}, line {each.matched.row.line}"
        known = next((key for key, text in sources.items() if text == words), None)
        key = known or f"row-{sum(name.startswith('row-') for name in sources) + 1}"
        sources[key] = words
        keys.append(key)
    return keys


def _factors(factors: Mapping[str, Figure[float]], known: Mapping[str, str], sources: dict[str, str]) -> list[str]:
    """Write the factors of cores, as the start has them."""
    if not factors:
        return []
    for figure in factors.values():
        sources[figure.source] = known[figure.source]
    return ["[core_factors]", *(f"{_text(core)} = {_figure(figure)}" for core, figure in factors.items()), ""]


def _term(
    name: str, term: Term, value: float, spread: float, known: Mapping[str, str], sources: dict[str, str]
) -> list[str]:
    """Write one term: fitted with its range, fixed ones as the start has them."""
    if spread > 0:
        low, high = (min(max(value + sign * Z80 * spread, term.bounds[0]), term.bounds[1]) for sign in (-1, 1))
        multiplier = f'[{_number(value)}, "fit", "{_number(low)} .. {_number(high)}"]'
    elif value != term.multiplier.value:
        multiplier = f'[{_number(value)}, "fit"]'
    else:
        multiplier = _figure(term.multiplier)
        sources[term.multiplier.source] = known[term.multiplier.source]
    return [
        f"[terms.{name}]",
        f"layers = {_texts(term.layers)}",
        f'quantity = "{term.quantity}"',
        f"multiplier = {multiplier}",
        f"bounds = [{_number(term.bounds[0])}, {_number(term.bounds[1])}]",
        "",
    ]


def _band(calibration: Calibration, start: Runtime, sources: dict[str, str]) -> list[str]:
    """Write the band."""
    covariance = calibration.found.covariance
    spread = np.sqrt(np.diag(covariance))
    free = np.flatnonzero(spread)
    correlation = covariance[np.ix_(free, free)] / np.outer(spread[free], spread[free])
    sources[start.band.elsewhere.source] = start.sources[start.band.elsewhere.source]
    rows = [f"    [{', '.join(f'{value:.3f}' for value in row)}]," for row in correlation]
    return [
        "[band]",
        f'residual = [{_number(calibration.found.residual)}, "fit"]',
        f'factor = [{_number(calibration.factor)}, "fit"]',
        f"elsewhere = {_figure(start.band.elsewhere)}",
        "correlation = [",
        *rows,
        "]",
        "",
    ]


def _rows(calibration: Calibration, keys: list[str]) -> list[str]:
    """Write every row that was fitted."""
    lines = []
    reach = calibration.factor * calibration.held.spread
    columns = (calibration.samples, keys, calibration.fitted_s, calibration.held.predicted_s, reach)
    for each, key, fitted_s, held_s, around in zip(*columns, strict=True):
        found = each.matched
        lines += [
            "[[rows]]",
            f"model = {_text(found.row.model)}",
            f"device = {_text(found.device.name)}",
            f"family = {_text(each.family)}",
            f'frequency = "{found.frequency_hz / 1e6:g} MHz"',
            f"threads = {found.threads}",
            *([f"batch = {found.row.batch}"] if found.row.batch > 1 else []),
            *([f"precision = {_text(found.row.precision)}"] if found.row.precision != "int8" else []),
            f'measured = "{1e3 * each.measured_s:.6g} ms"',
            f'fitted = "{1e3 * fitted_s:.6g} ms"',
            f'held_out = "{1e3 * held_s:.6g} ms"',
            f"reach = {_number(around)}",
            f"source = {_text(key)}",
            "",
        ]
    return lines


def _figure(figure: Figure[float]) -> str:
    """Write a figure as it was read."""
    if figure.low is None:
        return f"[{_number(figure.value)}, {_text(figure.source)}]"
    return f'[{_number(figure.value)}, {_text(figure.source)}, "{_number(figure.lowest)} .. {_number(figure.highest)}"]'


def _number(value: float) -> str:
    """Write a number with four digits, always as a float."""
    return str(float(f"{value:.4g}"))


def _text(words: str) -> str:
    """Write a text; JSON's escapes are TOML's."""
    return json.dumps(words, ensure_ascii=False)


def _texts(words: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, words))}]"
