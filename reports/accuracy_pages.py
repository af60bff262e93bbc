"""Pages of predicted against measured: of a validation, and of a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.accuracy import coverage, errors, known
from reports.accuracy_plots import LEFT_OUT, residuals, scatter
from reports.accuracy_tables import as_it_is, energy, every_energy, every_row, left_out, not_predicted
from reports.formats import percent
from reports.page import Page
from reports.runtime_tables import multiplier_table, stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.accuracy import Pair
    from reports.accuracy_tables import Unpredicted
    from reports.runtime_tables import Multiplier
    from reports.tables import Table

AS_IT_IS = "runtimes as they are"


def validation_page(title: str, pairs: Sequence[Pair], unpredicted: Sequence[Unpredicted]) -> Page:
    """Return the page of a validation: errors by runtime and device, every row, and the rows without a prediction."""
    held = errors(known(pairs, lambda each: each.held_out_s))
    inside = coverage(pairs, held_out=True)
    headline = [f"{len(pairs)} rows predicted, {len(unpredicted)} not."]
    if held is not None and inside is not None:
        headline.append(
            f"Families the fit never saw are missed by {percent(held.median)} in the median and {percent(held.p90)} "
            f"at the 90 % quantile; {percent(inside, 0)} of them lie inside the band that should hold 80 %."
        )
    tables = (
        left_out(pairs),
        as_it_is(pairs),
        energy(pairs),
        not_predicted(unpredicted),
        every_row(pairs),
        every_energy(pairs),
    )
    predicted: dict[str, Sequence[float | None]] = {
        AS_IT_IS: [each.predicted_s for each in pairs],
        LEFT_OUT: [each.held_out_s for each in pairs],
    }
    plots = (
        *scatter(pairs, AS_IT_IS),
        *residuals(pairs, "runtime", predicted),
        *residuals(pairs, "family", predicted),
    )
    return Page(title, tuple(headline), _present(tables), plots)


def _present(tables: Sequence[Table | None]) -> tuple[Table, ...]:
    """Return the tables that there is something to put into."""
    return tuple(table for table in tables if table is not None)


def _counted(number: int, name: str, names: str) -> str:
    return f"{number} {name if number == 1 else names}"


def calibration_page(title: str, pairs: Sequence[Pair], before_s: Sequence[float], found: Sequence[Multiplier]) -> Page:
    """Return the page of a calibration: errors before and after, multipliers, every row with its residuals."""
    held, families = errors(known(pairs, lambda each: each.held_out_s)), len({each.family for each in pairs})
    headline = (
        f"Fitted to {_counted(len(pairs), 'row', 'rows')} of {_counted(families, 'family', 'families')} of networks."
    )
    if held is None:
        headline += " How far it carries to other families is not known: time a network of another one."
    else:
        headline += f" Expect a mean error of {percent(held.mean)} on networks of other families."
    tables = (stages(pairs, before_s), multiplier_table(found), every_row(pairs))
    predicted: dict[str, Sequence[float | None]] = {
        "before": before_s,
        "fitted": [each.predicted_s for each in pairs],
        LEFT_OUT: [each.held_out_s for each in pairs],
    }
    return Page(
        title, (headline,), _present(tables), (*scatter(pairs, "fitted"), *residuals(pairs, "family", predicted))
    )
