"""Two records side by side: every figure of the one, of the other, and the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.formats import MISSING, UNCHANGED, change, duration, engineering, percent
from reports.markdown import bullets, escape, table_block
from reports.tables import METRICS, Cell, Metric, Table, cells, nodes, results

if TYPE_CHECKING:
    from reports.record import ModelRow, NodeResult, Record, Run


def compare(first: Record, second: Record) -> str:
    """Markdown of two records: what was asked, each node under each policy, each model; and what has no partner."""
    blocks = [f"# {escape(first.title)} (A) and {escape(second.title)} (B)"]
    blocks += bullets(_differences(first, second))
    tables = comparison(first, second)
    changed = [table for table in tables if _changes(table)]
    blocks += [table_block(table) for table in changed]
    same = [f"{table.title}: nothing changed." for table in tables if table not in changed]
    if same:
        blocks += ["### Unchanged", *bullets(same)]
    alone = [*_alone(first, second, "A"), *_alone(second, first, "B")]
    if alone:
        blocks += ["### Without a partner", *bullets(alone)]
    return "\n\n".join(blocks) + "\n"


def comparison(first: Record, second: Record) -> list[Table]:
    """One table per run and node that both records have, then one of the models that both use."""
    tables = [
        _run_table(node, before, after)
        for node in nodes(first)
        for before, after in _pairs(results(first, node), results(second, node))
    ]
    models = _model_table(first, second)
    return [*tables, models] if models.rows else tables


def _changes(table: Table) -> bool:
    return any(row[-1].text != UNCHANGED for row in table.rows)


Found = tuple["Run", "NodeResult"]


def _pairs(first: list[Found], second: list[Found]) -> list[tuple[Found, Found]]:
    """Pair runs of the same label; where both have just one run, these two, whatever their labels."""
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    by_label = {run.label: (run, result) for run, result in second}
    return [((run, result), by_label[run.label]) for run, result in first if run.label in by_label]


def _run_table(node: str, first: Found, second: Found) -> Table:
    labels = list(dict.fromkeys((first[0].label, second[0].label)))
    rows = tuple(_row(metric, first[1], second[1]) for metric in METRICS if _has(metric, first[1], second[1]))
    columns = ("metric", "A", "B", "B - A", "change")
    return Table(f"{node}, {' and '.join(labels)}", columns, rows, (False, True, True, True, True))


def _has(metric: Metric, first: NodeResult, second: NodeResult) -> bool:
    return metric.value(first) is not None or metric.value(second) is not None


def _row(metric: Metric, first: NodeResult, second: NodeResult) -> tuple[Cell, ...]:
    before, after = metric.value(first), metric.value(second)
    shown = cells((metric.title, metric.show(before), metric.show(after)))
    if before is None or after is None:
        return (*shown, Cell(MISSING), Cell(MISSING))
    better = (after < before) == (metric.better == "low") if metric.better and after != before else None
    relative = Cell(change(before, after), best=better is True, alarm=better is False)
    difference = metric.show(after - before)
    if metric.show is percent:
        difference = difference.replace("%", "points")
    return (*shown, Cell(_signed(difference, after - before)), relative)


def _signed(text: str, difference: float) -> str:
    return f"+{text}" if difference > 0 else text


def _key(row: ModelRow) -> tuple[str, str, str, str]:
    return row.model, row.device, row.runtime, row.precision


def _model_table(first: Record, second: Record) -> Table:
    after = {_key(row): row for row in second.models}
    rows = tuple(
        cells(
            (
                " ".join(_key(row)), label, show(before), show(now), _signed(show(now - before), now - before),
                change(before, now),
            )
        )
        for row in {_key(row): row for row in first.models}.values()
        if _key(row) in after
        for label, before, now, show in (
            ("latency", row.latency_s, after[_key(row)].latency_s, duration),
            ("energy", row.energy_j, after[_key(row)].energy_j, lambda value: engineering(value, "J")),
        )
    )  # fmt: skip
    columns = ("model, device, runtime", "figure", "A", "B", "B - A", "change")
    return Table("One inference", columns, rows, (False, False, True, True, True, True))


def _differences(first: Record, second: Record) -> list[str]:
    """Say what was asked or used differently."""
    found = []
    if first.seed != second.seed:
        found.append(f"The seeds differ: {first.seed} and {second.seed}; part of any change is chance.")
    if first.duration_s != second.duration_s:
        found.append(f"The durations differ: {duration(first.duration_s)} and {duration(second.duration_s)}.")
    if first.scenario != second.scenario:
        found.append("The scenario files differ.")
    for name in sorted({*first.versions, *second.versions}):
        versions = [record.versions.get(name, "absent") for record in (first, second)]
        if versions[0] != versions[1]:
            found.append(f"The version of {name} differs: {versions[0]} and {versions[1]}.")
    return found or ["Scenario, seed, duration and versions are the same."]


def _alone(record: Record, other: Record, name: str) -> list[str]:
    lines = []
    for node in nodes(record):
        own, others = results(record, node), results(other, node)
        matched = {run.label for (run, _), _ in _pairs(own, others)}
        lines += [f"Only in {name}: {node}, {run.label}" for run, _ in own if run.label not in matched]
    keys = {_key(row) for row in other.models}
    return lines + [
        f"Only in {name}: {' '.join(_key(row))}" for row in record.models if _key(row) not in keys
    ]  # fmt: skip
