"""What stands behind the comparison: decisions, phases, energies, and how far sampling can be trusted."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from reports import statistics
from reports.formats import MISSING, duration, engineering, integer, percent
from reports.tables import Cell, Table, cells, grams, nodes, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.record import Record, Run

PHASES = ("queueing", "compute", "promotion", "uplink", "network", "cloud_queueing", "cloud", "downlink")


def evidence(record: Record) -> list[Table]:
    """All tables of evidence that the record has material for."""
    found = (decisions(record), phases(record), energies(record), sampling(record))
    return [table for table in found if table.rows]


def column(run: Run, node: str, name: str) -> list[Any]:
    """One node's cells of a request column, None where the run lacks the column; in order of the record."""
    columns = run.requests.columns
    owners = columns.get("node", [])
    found = columns.get(name) or [None] * len(owners)
    return [cell for owner, cell in zip(owners, found, strict=True) if owner == node]


def latencies_s(run: Run, node: str) -> list[float]:
    """Latencies of the node's answered requests. [s]."""
    return [value for value in column(run, node, "latency_s") if value is not None]


def decisions(record: Record) -> Table:
    """Where requests went and why, per run and node."""
    rows = []
    for node in nodes(record):
        for run, _ in results(record, node):
            answers = zip(column(run, node, "place"), column(run, node, "reason"), strict=True)
            counts = Counter(answers)
            total = sum(counts.values())
            for (place, reason), count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))):
                texts = (node, run.label, place or MISSING, reason or MISSING, integer(count), percent(count / total))
                rows.append(cells(texts))
    titles = ("node", "run", "where", "why", "requests", "share")
    return Table("Where requests went, and why", titles, tuple(rows), (False, False, False, False, True, True))


def phases(record: Record) -> Table:
    """Mean time of each phase of the requests that went through it, per run and place."""
    rows = []
    for node in nodes(record):
        for run, _ in results(record, node):
            places = column(run, node, "place")
            for place in sorted({place for place in places if place}):
                inside = [_mean(_chosen(column(run, node, f"{phase}_s"), places, place)) for phase in PHASES]
                rows.append(cells((node, run.label, place, *(duration(value) for value in inside))))
    titles = ("node", "run", "where", *(phase.replace("_", " ") for phase in PHASES))
    note = "Mean over the requests that went there; a dash where none spent time so."
    return Table("Where the time goes", titles, tuple(rows), (False, False, False, *(True for _ in PHASES)), note)


def _chosen(values: Sequence[float | None], places: Sequence[str], place: str) -> list[float]:
    return [value for value, where in zip(values, places, strict=True) if value is not None and where == place]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values and any(values) else None


def parts(record: Record) -> list[str]:
    """Names of the parts that draw energy in any node, in the order of their first appearance."""
    return list(dict.fromkeys(part for run in record.runs for found in run.nodes for part in found.energy_by_part_j))


def energies(record: Record) -> Table:
    """Energy by part of each node, and what it causes elsewhere."""
    names = parts(record)
    rows = []
    for node in nodes(record):
        for run, found in results(record, node):
            own = [found.energy_by_part_j.get(name) for name in names]
            shown = [engineering(value, "J") for value in (*own, found.network_energy_j, found.cloud_energy_j)]
            rows.append(cells((node, run.label, *shown, grams(found.carbon_g))))
    titles = ("node", "run", *names, "network (elsewhere)", "cloud (elsewhere)", "carbon")
    note = (
        "Energy of the whole run. Parts of the node come from its battery or socket; a dash where it is not modelled."
    )
    numeric = (False, False, *(True for _ in titles[2:]))
    return Table("Where the energy goes", titles, tuple(rows), numeric, note)


def sampling(record: Record) -> Table:
    """Confidence intervals of the observed figures: what another seed could have given."""
    rows = []
    for node in nodes(record):
        for run, found in results(record, node):
            latencies = latencies_s(run, node)
            late = found.missed + found.lost
            rows.append(
                (
                    *cells((node, run.label, integer(found.requests))),
                    _interval_cell(latencies, 0.5),
                    _interval_cell(latencies, 0.95),
                    Cell(_share(late, found.requests)),
                )
            )
    titles = ("node", "run", "requests", "median within", "p95 within", "late or lost within")
    note = (
        "95 % confidence, requests taken as independent: order statistics for percentiles, Wilson's score for shares. "
        "A dash means too few requests to bound the percentile on both sides. Percentiles interpolate linearly."
    )
    numeric = (False, False, True, True, True, True)
    return Table("What the sample can tell", titles, tuple(rows), numeric, note)


def _interval_cell(values: Sequence[float], share: float) -> Cell:
    interval = statistics.percentile_interval(values, share) if values else None
    return Cell(MISSING if interval is None else " .. ".join(duration(bound) for bound in interval))


def _share(hits: int, count: int) -> str:
    if not count:
        return MISSING
    return " .. ".join(percent(bound) for bound in statistics.share_interval(hits, count))
