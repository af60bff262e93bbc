"""A report as one self-contained page: the answer, the comparison, the evidence; opens without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import evidence, plots, summary, tables
from reports.formats import duration
from reports.templating import source, template

if TYPE_CHECKING:
    from reports.canvas import Plot
    from reports.record import Record


def render(record: Record) -> str:
    """HTML of a whole report; every text of the record is escaped, the plots are inline SVG."""
    run_plots, model_plots = _split(plots.plots(record))
    page = template("report.html.j2").render(
        record=record,
        style=source("report.css"),
        headline=summary.headline(record),
        caveats=summary.caveats(record),
        comparison=tables.comparison(record),
        verdicts=tables.verdicts(record),
        models=tables.models(record),
        evidence=evidence.evidence(record),
        run_plots=run_plots,
        model_plots=model_plots,
        duration=duration(record.duration_s),
    )
    return f"{page.rstrip()}\n"


def _split(found: list[Plot]) -> tuple[list[Plot], list[Plot]]:
    """Part plots of the deployment from plots of the models, which stand in different sections."""
    own = [plot for plot in found if not plot.title.startswith(("Roofline", "Layers of"))]
    return own, [plot for plot in found if plot not in own]
