"""Accuracy: predicted against measured, as tables and scatter plots, for validations and calibrations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from reports.accuracy_plots import residuals, scatter
from reports.formats import MISSING, engineering, percent, significant
from reports.page import Page
from reports.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Pair:
    """A measured value and what is predicted for it; all times in seconds, energies in joules.

    Parameters
    ----------
    block
        What rows are summed up by: device and runtime.
    low_s, high_s
        The band that should hold 80 % of the measurements.
    held_out_s
        Predicted without the network's family, with its own band; None where that is not possible.
    baselines_s
        By name, without the family likewise.
    """

    label: str
    family: str
    block: str
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


def summary(pairs: Sequence[Pair], title: str = "Errors by device and runtime") -> Table:
    """Return a row per block: how far predictions are off, with the family known and left out, beside baselines."""
    names = list(dict.fromkeys(name for each in pairs for name in each.baselines_s))
    blocks = list(dict.fromkeys(each.block for each in pairs))
    rows = [_summary_row(block, [each for each in pairs if each.block == block], names) for block in blocks]
    if len(blocks) > 1:
        rows.append(_summary_row("all", list(pairs), names))
    columns = (
        "device, runtime", "rows", "median", "p90", "worst", "left out: median", "p90", "worst", "rank",
        "in the band", *(f"{name}: median" for name in names), "energy: median",
    )  # fmt: skip
    note = (
        "Absolute errors of latency. Left out: the runtime is fitted again without the network's family. The band "
        "should hold 80 % of the rows left out. Baselines are fitted to the device and runtime, the family left out; "
        "one that is better than presage is marked."
    )
    return Table(title, columns, tuple(rows), (False, *[True] * (len(columns) - 1)), note)


def _summary_row(block: str, pairs: list[Pair], names: list[str]) -> tuple[Cell, ...]:
    fitted = errors(known(pairs, lambda each: each.predicted_s))
    held = errors(known(pairs, lambda each: each.held_out_s))
    inside = coverage(pairs, held_out=held is not None)
    baselines = [errors(_baseline(pairs, name)) for name in names]
    joules = [(each.predicted_j, each.measured_j) for each in pairs if each.predicted_j and each.measured_j is not None]
    return (
        Cell(block),
        Cell(str(len(pairs))),
        *_errors(fitted),
        *_errors(held),
        Cell(_number(rank_correlation(known(pairs, lambda each: each.predicted_s)))),
        Cell(percent(inside, 0) if inside is not None else MISSING),
        *(
            Cell(_share(found), alarm=found is not None and held is not None and found.median < held.median)
            for found in baselines
        ),
        Cell(_share(errors(joules))),
    )


def _baseline(pairs: Sequence[Pair], name: str) -> list[tuple[float, float]]:
    """Return (predicted, measured) of a baseline."""
    return known(pairs, lambda each: each.baselines_s.get(name))


def _errors(found: Errors | None) -> tuple[Cell, Cell, Cell]:
    if found is None:
        return (Cell(MISSING), Cell(MISSING), Cell(MISSING))
    return (Cell(percent(found.median)), Cell(percent(found.p90)), Cell(percent(found.worst)))


def _share(found: Errors | None) -> str:
    return MISSING if found is None else percent(found.median)


def _number(value: float | None) -> str:
    return MISSING if value is None else significant(value)


def every_row(pairs: Sequence[Pair]) -> Table:
    """Return each measurement beside its predictions."""
    rows = tuple(
        (
            Cell(each.label),
            Cell(each.block),
            Cell(engineering(each.measured_s, "s")),
            Cell(engineering(each.predicted_s, "s"), alarm=not each.low_s <= each.measured_s <= each.high_s),
            Cell(signed(each.predicted_s, each.measured_s)),
            Cell(MISSING if each.held_out_s is None else signed(each.held_out_s, each.measured_s)),
            Cell(MISSING if not each.measured_j else engineering(each.measured_j, "J")),
            Cell(MISSING if not each.measured_j or not each.predicted_j else signed(each.predicted_j, each.measured_j)),
        )
        for each in pairs
    )
    columns = ("network", "device, runtime", "measured", "predicted", "error", "left out", "energy", "error")
    note = "A prediction whose band misses the measurement is marked."
    return Table("Every row", columns, rows, (False, False, *[True] * 6), note)


def signed(predicted: float, measured: float) -> str:
    """Return an error with its sign: "+3.1 %"."""
    return f"{100 * (predicted / measured - 1.0):+.1f} %"


def validation_page(title: str, pairs: Sequence[Pair], unmatched: Sequence[tuple[str, str]]) -> Page:
    """Return the page of a validation; ``unmatched`` are rows and the reasons why they cannot be predicted."""
    held = errors(known(pairs, lambda each: each.held_out_s))
    inside = coverage(pairs, held_out=True)
    headline = [f"{len(pairs)} rows predicted, {len(unmatched)} not."]
    if held is not None and inside is not None:
        headline.append(
            f"Families the fit never saw are missed by {percent(held.median)} in the median and {percent(held.p90)} "
            f"at the 90 % quantile; {percent(inside, 0)} of them lie inside the band that should hold 80 %."
        )
    reasons = tuple((Cell(row), Cell(reason)) for row, reason in unmatched)
    tables = [summary(pairs)] if pairs else []
    tables += [every_row(pairs)] if pairs else []
    tables += [Table("Not predicted", ("row", "reason"), reasons, (False, False))] if unmatched else []
    return Page(title, tuple(headline), tuple(tables), tuple(scatter(pairs)))


@dataclass(frozen=True)
class Multiplier:
    """A multiplier before and after a fit, with the range that holds the true one in 80 of 100 cases."""

    name: str
    meaning: str
    before: float
    after: float
    low: float
    high: float


def calibration_page(title: str, pairs: Sequence[Pair], before_s: Sequence[float], found: Sequence[Multiplier]) -> Page:
    """Return the page of a calibration: errors before and after, multipliers, every row with its residuals."""
    measured = [each.measured_s for each in pairs]
    stages = {
        "before, as the prior has it": list(zip(before_s, measured, strict=True)),
        "fitted": known(pairs, lambda each: each.predicted_s),
        "each family left out": known(pairs, lambda each: each.held_out_s),
    }
    rows = tuple((Cell(name), *_all_errors(errors(stage))) for name, stage in stages.items())
    after = errors(stages["each family left out"]) or errors(stages["fitted"])
    headline = f"{len(pairs)} rows of {len({each.family for each in pairs})} families."
    if after is not None:
        headline += f" Expect a mean error of {percent(after.mean)} on networks of other families."
    multipliers = tuple(
        (
            Cell(each.name),
            Cell(each.meaning),
            Cell(significant(each.before)),
            Cell(significant(each.after)),
            Cell("fixed" if each.low == each.high else f"{significant(each.low)} to {significant(each.high)}"),
        )
        for each in found
    )
    tables = (
        Table("Errors", ("latency", "median", "mean", "p90", "worst"), rows, (False, *[True] * 4)),
        Table(
            "Multipliers", ("term", "of", "before", "after", "range (80 %)"), multipliers, (False, False, *[True] * 3)
        ),
        every_row(pairs),
    )
    return Page(title, (headline,), tables, (*scatter(pairs), *residuals(pairs)))


def _all_errors(found: Errors | None) -> tuple[Cell, ...]:
    if found is None:
        return tuple(Cell(MISSING) for _ in range(4))
    return tuple(Cell(percent(value)) for value in (found.median, found.mean, found.p90, found.worst))
