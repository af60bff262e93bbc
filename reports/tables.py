"""The tables of a report as data: text, Markdown and HTML show the same cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reports.formats import MISSING, band, duration, engineering, integer, percent, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reports.record import ModelRow, NodeResult, Record, Run


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and whether it is the best of its column or needs attention."""

    text: str
    best: bool = False
    alarm: bool = False


@dataclass(frozen=True)
class Table:
    """A titled table; ``numeric`` says which columns align right, ``note`` how to read it.

    Parameters
    ----------
    grouped
        The first column says what rows belong to; where there is little room it stands above them.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""
    grouped: bool = False


@dataclass(frozen=True)
class Metric:
    """A column of the comparison: how to get it, how to show it, and which end is better (if any)."""

    title: str
    value: Callable[[NodeResult], float | None]
    show: Callable[[float | None], str]
    better: str = ""  # "low", "high", or "" when neither is better as such


def _joules(value: float | None) -> str:
    return engineering(value, "J")


def _watts(value: float | None) -> str:
    return engineering(value, "W")


def grams(value: float | None) -> str:
    """Text of a mass of greenhouse gas."""
    return engineering(value, "g")


def _count(value: float | None) -> str:
    return integer(None if value is None else round(value))


def energy_j(result: NodeResult) -> float:
    """Energy the node drew in the run, all parts. [J]."""
    return sum(result.energy_by_part_j.values())


METRICS = (
    Metric("requests", lambda r: r.requests, _count),
    Metric("in time", lambda r: r.served / r.requests if r.requests else None, percent, "high"),
    Metric("late", lambda r: r.missed, _count, "low"),
    Metric("lost", lambda r: r.lost, _count, "low"),
    Metric("median", lambda r: r.latency_p50_s, duration, "low"),
    Metric("p95", lambda r: r.latency_p95_s, duration, "low"),
    Metric("p99", lambda r: r.latency_p99_s, duration, "low"),
    Metric("local", lambda r: r.local / (r.local + r.remote) if r.local + r.remote else None, percent),
    Metric("energy", energy_j, _joules, "low"),
    Metric("mean power", lambda r: r.average_power_w, _watts, "low"),
    Metric("battery left", lambda r: r.battery_end, percent, "high"),
    Metric("battery life", lambda r: r.battery_life_s, duration, "high"),
    Metric("carbon", lambda r: r.carbon_g, grams, "low"),
)
_NOTE = (
    "late: answered after the deadline; lost: not answered. Latencies are from arrival to result, of answered "
    "requests. local: share computed on the node. Energy and mean power are the node's own. Carbon in gCO2e."
)


def nodes(record: Record) -> list[str]:
    """Names of all nodes, in the order of their first appearance."""
    return list(dict.fromkeys(result.node for run in record.runs for result in run.nodes))


def results(record: Record, node: str) -> list[tuple[Run, NodeResult]]:
    """Every run that has the node, with the node's totals."""
    return [(run, result) for run in record.runs for result in run.nodes if result.node == node]


def comparison(record: Record) -> list[Table]:
    """One table per node: its runs as rows, every metric that any run has as columns."""
    found = [_node_table(node, results(record, node)) for node in nodes(record)]
    # How to read them is the same for all and said once.
    return [*found[:-1], *(replace(table, note=_NOTE) for table in found[-1:])]


def _node_table(node: str, pairs: Sequence[tuple[Run, NodeResult]]) -> Table:
    shown = [metric for metric in METRICS if any(metric.value(result) is not None for _, result in pairs)]
    columns = [_metric_cells(metric, [result for _, result in pairs]) for metric in shown]
    labels = [Cell(run.label) for run, _ in pairs]
    rows = tuple(zip(labels, *columns, strict=True))
    titles = ("run", *(metric.title for metric in shown))
    return Table(f"On {node}", titles, rows, (False, *(True for _ in shown)))


def _metric_cells(metric: Metric, found: Sequence[NodeResult]) -> list[Cell]:
    values = [metric.value(result) for result in found]
    cells = [Cell(metric.show(value)) for value in values]
    present = [value for value in values if value is not None]
    if metric.better and present:
        target = metric.show(min(present) if metric.better == "low" else max(present))
        # Equal text is a tie, and where all tie nobody is best.
        if any(cell.text != target for cell in cells):
            cells = [replace(cell, best=cell.text == target) for cell in cells]
    if metric.title in ("late", "lost"):
        cells = [replace(cell, alarm=bool(value)) for cell, value in zip(cells, values, strict=True)]
    return cells


def verdicts(record: Record) -> Table | None:
    """Put expectations and published claims beside the predictions; None without any."""
    if not record.verdicts:
        return None
    good, bad = {"met", "supported"}, {"violated", "optimistic", "impossible", "inconsistent"}
    rows = tuple(
        (
            Cell({"expect": "expectation"}.get(verdict.kind, verdict.kind)),
            Cell(verdict.metric),
            Cell(verdict.run),
            Cell(verdict.stated),
            Cell(verdict.predicted),
            Cell(verdict.verdict, best=verdict.verdict in good, alarm=verdict.verdict in bad),
            Cell(verdict.explanation or MISSING),
        )
        for verdict in record.verdicts
    )
    titles = ("kind", "metric", "run", "stated", "predicted", "verdict", "why")
    return Table("Expectations and claims", titles, rows, (False, False, False, True, True, False, False))


def models(record: Record) -> Table | None:
    """Say what runs where, and what one inference of it is predicted to cost."""
    if not record.models:
        return None
    titles = (
        "for", "model", "device", "runtime", "precision", "work", "weights", "peak RAM", "fits", "latency (error band)",
        "energy",
    )  # fmt: skip
    rows = tuple(_model_cells(row) for row in record.models)
    note = "One inference. 1 MAC = one multiply-accumulate. Sizes are binary (1 KiB = 1024 B)."
    return Table("Models and devices", titles, rows, (*(False,) * 5, *(True,) * 6), note)


def _model_cells(row: ModelRow) -> tuple[Cell, ...]:
    latency = band(row.latency_s, row.latency_low_s, row.latency_high_s, calibrated=row.calibrated)
    names = (row.role, row.model, row.device, row.runtime, row.precision)
    numbers = (engineering(row.macs, "MAC"), size(row.weights_bytes), size(row.peak_ram_bytes))
    costs = (latency, engineering(row.energy_j, "J"))
    return (*cells(names), *cells(numbers), Cell("yes" if row.fits else "no", alarm=not row.fits), *cells(costs))


def cells(texts: Iterable[str]) -> tuple[Cell, ...]:
    """Plain cells of these texts."""
    return tuple(Cell(text) for text in texts)
