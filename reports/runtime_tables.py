"""Tables of runtimes: how far off each is, what a fit made of its multipliers, the errors before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.accuracy import Errors, Pair, errors, known
from reports.accuracy_tables import spread_cells
from reports.formats import MISSING, percent, significant
from reports.tables import Cell, Table, cells

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class RuntimeErrors:
    """What the rows of a runtime say of it when their family is left out; None where it has no rows."""

    runtime: str
    cores: tuple[str, ...]
    precisions: tuple[str, ...]
    rows: int
    families: int
    held_out: Errors | None
    coverage: float | None


def _first(names: Sequence[str]) -> str:
    """Return the first three names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def runtime_table(found: Sequence[RuntimeErrors]) -> Table:
    """Return a row per runtime: rows, families, errors, and the share of rows inside the band."""
    rows = tuple(
        (
            *cells((each.runtime, ", ".join(each.precisions), _first(each.cores))),
            *cells((str(each.rows or MISSING), str(each.families or MISSING))),
            *spread_cells(each.held_out),
            Cell(MISSING if each.coverage is None else f"{100 * each.coverage:.0f}"),
        )
        for each in found
    )
    note = (
        "Errors of latency in %, each row predicted by a fit without the network's family; band: share of rows inside "
        "the band that should hold 80 %. Without rows: where a fit for such a core starts."
    )
    columns = ("runtime", "precision", "cores", "rows", "families", "median", "p90", "max", "band")
    return Table("Runtimes", columns, rows, (False, False, False, *[True] * 6), note)


@dataclass(frozen=True)
class Multiplier:
    """A multiplier before and after a fit, with the range that holds the true one in 80 of 100 cases.

    Parameters
    ----------
    layers, quantity, meaning
        Of which layers it multiplies what, and what that is in words.
    """

    name: str
    layers: str
    quantity: str
    meaning: str
    before: float
    after: float
    low: float
    high: float


def multiplier_table(found: Sequence[Multiplier]) -> Table:
    """Return the multipliers of a runtime before and after the fit."""
    rows = tuple(
        (
            Cell(each.name),
            Cell(each.layers),
            Cell(each.quantity),
            Cell(significant(each.before)),
            Cell(significant(each.after)),
            Cell("fixed" if each.low == each.high else f"{significant(each.low)} to {significant(each.high)}"),
        )
        for each in found
    )
    columns = ("term", "of layers", "times", "before", "after", "range (80 %)")
    note = "; ".join(dict.fromkeys(f"{each.quantity}: {each.meaning}" for each in found))
    return Table("Multipliers", columns, rows, (False, False, False, *[True] * 3), note)


def stages(pairs: Sequence[Pair], before_s: Sequence[float]) -> Table:
    """Return the errors before a fit, after it, and with each family left out."""
    measured = [each.measured_s for each in pairs]
    found = {
        "before, as the prior has it": list(zip(before_s, measured, strict=True)),
        "fitted": known(pairs, lambda each: each.predicted_s),
        "each family left out": known(pairs, lambda each: each.held_out_s),
    }
    rows = tuple((Cell(name), *_all_errors(errors(stage))) for name, stage in found.items())
    return Table("Errors", ("latency", "median", "mean", "p90", "max"), rows, (False, *[True] * 4))


def _all_errors(found: Errors | None) -> tuple[Cell, ...]:
    values = (found.median, found.mean, found.p90, found.worst) if found else (None,) * 4
    return cells(map(percent, values))
