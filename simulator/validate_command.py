"""The command ``presage validate``: measured rows beside predictions, as text, JSON, Markdown or a page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device_models.device import load_device
from device_models.measured import read_measured
from device_models.networks import find_models
from device_models.runtime import load_runtime
from device_models.validate import validate
from reports import page as pages
from reports.accuracy import Pair, coverage, energies, errors, known, rank_correlation
from reports.accuracy_pages import validation_page
from reports.accuracy_tables import Unpredicted
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from device_models.measured import Measured
    from device_models.networks import Models
    from device_models.validate import Prediction, Validation
    from reports.page import Page
    from simulator.progress import Bar


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    measured: tuple[Path, ...]
    models: tuple[Path, ...] = ()
    on: str | None = None
    runtime: str | None = None


@dataclass(frozen=True)
class Answer:
    """A validation, and the ways to show it."""

    title: str
    found: Validation

    @property
    def pairs(self) -> list[Pair]:
        """The rows as reports know them."""
        return [pair_of(each) for each in self.found.rows]

    @property
    def page(self) -> Page:
        """The page, with its plots."""
        unmatched = [
            Unpredicted(each.row.file, each.row.line, _what(each.row), each.reason) for each in self.found.unmatched
        ]
        return validation_page(self.title, self.pairs, unmatched)

    def text(self, form: str, output: Path | None) -> str:
        """Return JSON, Markdown or HTML; plots of Markdown are written beside ``output``."""
        if form == "json":
            return json.dumps(self.data, indent=2, allow_nan=False) + "\n"
        return pages.html(self.page) if form == "html" else with_images(self.page, output)

    def show(self, console: Console) -> None:
        """Print the tables."""
        pages.show(self.page, console)

    @property
    def data(self) -> dict[str, Any]:
        """Rows, unmatched rows, and the summary by device and runtime, as JSON."""
        pairs = self.pairs
        blocks = sorted({(each.runtime, each.device) for each in pairs})
        return {
            "rows": [_row(each) for each in self.found.rows],
            "unmatched": [
                {
                    "file": each.row.file,
                    "line": each.row.line,
                    "device": each.row.device,
                    "runtime": each.row.runtime,
                    "model": each.row.model,
                    "precision": each.row.precision,
                    "reason": each.reason,
                }
                for each in self.found.unmatched
            ],
            "summary": [
                _block(runtime, device, [each for each in pairs if (each.runtime, each.device) == (runtime, device)])
                for runtime, device in blocks
            ],
        }


def with_images(page: Page, output: Path | None) -> str:
    """Return a page as Markdown; its plots are written beside the file, if there is one."""
    if output is None:
        return pages.markdown(page)
    names = [f"{output.stem}-{index}.svg" for index in range(1, len(page.plots) + 1)]
    for name, plot in zip(names, page.plots, strict=True):
        output.with_name(name).write_text(pages.image(plot), encoding="utf-8")
    return pages.markdown(page, tuple(names))


def models_beside(measured: Sequence[Path], folders: Sequence[Path]) -> Models:
    """Return the networks of the folders named, and of those that the measurements lie in."""
    return find_models(dict.fromkeys([*(path.parent for path in measured), *folders]))


def answer(asked: Request, progress: Bar) -> Answer:
    """Predict every row of files of measurements.

    Raises
    ------
    InputError
        A file, a folder, the device or the runtime is wrong; with the faults of all files.
    """
    rows = _read(asked.measured)
    models = models_beside(asked.measured, asked.models)
    device = None if asked.on is None else load_device(asked.on)
    runtime = None if asked.runtime is None else load_runtime(asked.runtime)
    found = validate(rows, models, device=device, runtime=runtime, tick=progress)
    return Answer(f"Predicted and measured: {', '.join(path.name for path in asked.measured)}", found)


def _read(files: Sequence[Path]) -> list[Measured]:
    """Return the rows of all files."""
    rows: list[Measured] = []
    wrong: list[InputError] = []
    for path in files:
        try:
            rows += read_measured(path)
        except InputError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise InputError("--measured", [f"{error.path}: {problem}" for error in wrong for problem in error.problems])
    if not rows:
        raise InputError("--measured", ["there are no rows below the names of the columns"])
    return rows


def _what(row: Measured) -> str:
    """Return what a row names: device, runtime, precision."""
    return ", ".join(name for name in (row.device, row.runtime, row.precision) if name)


def pair_of(each: Prediction) -> Pair:
    """Return a prediction as reports know it."""
    row, held = each.matched.row, each.held_out
    return Pair(
        label=row.model,
        family=each.family,
        runtime=each.matched.runtime.name,
        device=each.matched.device.name,
        measured_s=row.latency_s or 0.0,
        predicted_s=each.estimate.latency_s,
        low_s=each.estimate.latency_low_s,
        high_s=each.estimate.latency_high_s,
        held_out_s=None if held is None else held.latency_s,
        held_out_low_s=0.0 if held is None else held.low_s,
        held_out_high_s=0.0 if held is None else held.high_s,
        baselines_s={"MACs": each.macs_s, "nine features": each.features_s},
        measured_j=row.energy_j,
        predicted_j=each.energy_j,
    )


def _row(each: Prediction) -> dict[str, Any]:
    """Return a row as JSON."""
    found, row, held = each.matched, each.matched.row, each.held_out
    return {
        "file": row.file,
        "line": row.line,
        "device": found.device.name,
        "runtime": found.runtime.name,
        "model": row.model,
        "network": found.place,
        "family": each.family,
        "precision": row.precision,
        "batch": row.batch,
        "threads": found.threads,
        "frequency_hz": found.frequency_hz,
        "measured_device": row.device,
        "measured_runtime": row.runtime,
        "measured_latency_s": row.latency_s,
        "predicted_latency_s": each.estimate.latency_s,
        "predicted_latency_low_s": each.estimate.latency_low_s,
        "predicted_latency_high_s": each.estimate.latency_high_s,
        "held_out_latency_s": None if held is None else held.latency_s,
        "held_out_latency_low_s": None if held is None else held.low_s,
        "held_out_latency_high_s": None if held is None else held.high_s,
        "baseline_macs_latency_s": each.macs_s,
        "baseline_features_latency_s": each.features_s,
        "measured_energy_j": row.energy_j,
        "predicted_energy_j": each.energy_j,
        "peak_ram_bytes": each.estimate.peak_ram_bytes,
        "weights_bytes": each.estimate.weights_bytes,
        "source": row.source,
    }


def _block(runtime: str, device: str, pairs: list[Pair]) -> dict[str, Any]:
    """Return the errors of one runtime and device as JSON."""
    stages = {
        "fitted": known(pairs, lambda each: each.predicted_s),
        "held_out": known(pairs, lambda each: each.held_out_s),
        "energy": energies(pairs),
        "baseline_macs": known(pairs, lambda each: each.baselines_s.get("MACs")),
        "baseline_features": known(pairs, lambda each: each.baselines_s.get("nine features")),
    }
    found = {stage: errors(values) for stage, values in stages.items()}
    return {
        "device": device,
        "runtime": runtime,
        "rows": len(pairs),
        **{stage: None if value is None else vars(value) for stage, value in found.items()},
        "rank_correlation": rank_correlation(stages["fitted"]),
        "held_out_rank_correlation": rank_correlation(stages["held_out"]),
        "coverage": coverage(pairs, held_out=False),
        "held_out_coverage": coverage(pairs, held_out=True),
    }
