"""A bench as text, Markdown, JSON and JUnit: what every kernel costs, what changed since the baseline, and why."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from reports import bench_record, bench_tables
from reports.bench_compare import FIGURES, sentence
from reports.formats import engineering, integer, percent, significant
from reports.markdown import bullets, escape, table_block

if TYPE_CHECKING:
    from rich.console import Console

    from reports.bench_compare import Comparison, Difference
    from reports.bench_record import Bench, Measured

NOTHING = "Nothing was measured."
NOTHING_COMPARED = "Nothing was compared: no kernel of this bench is in the baseline."
TITLES = {
    "regression": "Regressions",
    "worse": "Worse within the limit",
    "improvement": "Better",
    "other": "Changed at the same cost",
}


def failure(bench: Bench, compared: Comparison | None) -> str | None:
    """Say why the gate fails; None when it passes."""
    if not bench.kernels:
        return NOTHING
    if compared is None:
        return None
    if not compared.compared:
        return NOTHING_COMPARED
    if compared.regressions:
        count = len(compared.regressions)
        return f"{count} of {compared.compared} kernels {'is' if count == 1 else 'are'} worse: {compared.gate}."
    return None


def verdict(bench: Bench, compared: Comparison | None) -> str:
    """Say in one sentence how many kernels were measured and compared, and what came of it."""
    if (failed := failure(bench, compared)) is not None:
        return f"FAILED: {failed}"
    count = f"{len(bench.kernels)} kernel{'s' if len(bench.kernels) != 1 else ''} measured"
    if compared is None:
        return f"OK: {count}, none compared: there is no baseline; write one with --accept."
    kinds = Counter(found.kind for found in compared.differences)
    words = [f"{kinds[kind]} {title.lower()}" for kind, title in TITLES.items() if kinds[kind]]
    return f"OK: {count}, {compared.compared} compared: {', '.join(words) or 'no difference'}."


def render(bench: Bench, compared: Comparison | None, console: Console, *, brief: bool = False) -> None:
    """Print every kernel, the totals, the differences and the verdict; without the kernels if ``brief``."""
    from rich.text import Text

    from reports.text import print_table

    tables = [*([] if brief else bench_tables.kernels(bench, compared)), *bench_tables.totals(bench, compared)]
    for table in tables:
        console.print(Text(table.title, "bold"))  # a title inside the table would be as narrow as it
        print_table(replace(table, title="", note=""), console, wrap_first=True)
        console.print(Text(f"{table.note}\n" if table.note else ""))
    for title, lines in sections(compared):
        console.print(Text(title, "bold"))
        for line in lines:
            console.print(Text(f"  {line}"))
        console.print()
    failed = failure(bench, compared) is not None
    console.print(Text(verdict(bench, compared), "bold red" if failed else "bold"))


def sections(compared: Comparison | None) -> list[tuple[str, list[str]]]:
    """List what differs from the baseline, under a title each; nothing that is empty."""
    if compared is None:
        return []
    found = {
        title: [sentence(one) for one in compared.differences if one.kind == kind] for kind, title in TITLES.items()
    }
    found |= {
        "New, not in the baseline": list(compared.appeared),
        "In the baseline, but no longer measured": list(compared.vanished),
        "What else changed": list(compared.notes),
    }
    return [(title, lines) for title, lines in found.items() if lines]


def markdown(bench: Bench, compared: Comparison | None) -> str:
    """Markdown for a pull request: the verdict, the differences and the totals; every kernel folded away."""
    blocks = [f"## {escape(bench.suite)}", f"**{escape(verdict(bench, compared))}**"]
    for title, lines in sections(compared):
        blocks += [f"### {title}", *bullets(lines)]
    blocks += map(table_block, bench_tables.totals(bench, compared))
    tables = bench_tables.kernels(bench, compared)
    if tables:
        blocks += ["<details><summary>Every kernel</summary>", *map(table_block, tables), "</details>"]
    return "\n\n".join(blocks) + "\n"


def data(bench: Bench, compared: Comparison | None) -> str:
    """JSON: the record as data, every field of it, with ``comparison``, ``verdict`` and ``failed`` beside it."""
    table = bench_record.to_data(bench)
    table |= {"verdict": verdict(bench, compared), "failed": failure(bench, compared) is not None, "comparison": None}
    if compared is not None:
        table["comparison"] = {
            "gate": str(compared.gate), "compared": compared.compared, "appeared": list(compared.appeared),
            "vanished": list(compared.vanished), "notes": list(compared.notes),
            "differences": [_difference(found) for found in compared.differences],
        }  # fmt: skip
    return json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _difference(found: Difference) -> dict[str, Any]:
    def delta(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        names = sorted({*before, *after})
        values = {name: round(after.get(name, 0) - before.get(name, 0), 3) for name in names}
        return {name: value for name, value in values.items() if value}

    before, after = found.before, found.after
    return {
        "name": after.name, "kind": found.kind, "failed": list(found.failed), "sentence": sentence(found),
        "before": {name: value(before) for name, value in FIGURES.items()},
        "after": {name: value(after) for name, value in FIGURES.items()},
        "causes": delta(before.causes, after.causes), "resources": delta(before.resources, after.resources),
        "instructions": delta(before.instructions, after.instructions),
        "same_program": before.program == after.program,
    }  # fmt: skip


def junit(bench: Bench, compared: Comparison | None) -> str:
    """JUnit XML: a test case per kernel and device; ``time`` is the predicted time of one call. [s]"""
    differences = {} if compared is None else {found.after.name: found for found in compared.differences}
    suite = ET.Element("testsuite", name=bench.suite)
    for row in bench.kernels:
        _case(suite, row, differences.get(row.name), compared)
    for name in () if compared is None else compared.vanished:
        case = ET.SubElement(suite, "testcase", classname=_classname(suite, "vanished"), name=name, time="0")
        ET.SubElement(case, "skipped", message="in the baseline, but no longer measured")
    failed = failure(bench, compared)
    if failed in (NOTHING, NOTHING_COMPARED):
        case = ET.SubElement(suite, "testcase", classname=_classname(suite, "bench"), name="the gate ran", time="0")
        ET.SubElement(case, "failure", message=str(failed), type="nothing")
    cases = suite.findall("testcase")
    for owner in (root := ET.Element("testsuites", name="presage bench"), suite):
        owner.set("tests", str(len(cases)))
        owner.set("failures", str(sum(case.find("failure") is not None for case in cases)))
        owner.set("errors", "0")
        owner.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.9f}")
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _classname(suite: ET.Element, last: str) -> str:
    """Return "suite.device": what comes after the last dot is shown as the class."""
    return f"{suite.get('name', '').replace('.', ' ').strip()}.{last.replace('.', '_')}"


def _case(suite: ET.Element, row: Measured, found: Difference | None, compared: Comparison | None) -> None:
    name = f"{row.group}: {row.title} ({row.isa})"
    case = ET.SubElement(suite, "testcase", classname=_classname(suite, row.device), name=name)
    case.set("time", f"{row.time_s:.9f}")
    if found is not None and found.failed:
        failed = ET.SubElement(case, "failure", message=sentence(found), type="regression")
        failed.text = f"{' and '.join(found.failed)} grew"
    elif compared is not None and row.name in compared.appeared:
        ET.SubElement(case, "skipped", message="not in the baseline")
    lines = [] if found is None else [f"{TITLES[found.kind]}: {sentence(found)}"]
    ET.SubElement(case, "system-out").text = "\n".join([*lines, _figures(row)])


def _figures(row: Measured) -> str:
    rate = f", {significant(row.macs_per_cycle)} MAC/cycle ({percent(row.share_of_peak)} of peak)" if row.macs else ""
    code = "" if row.code_bytes is None else f", {integer(row.code_bytes)} B of code"
    energy = engineering(row.energy_j, "J")
    return (
        f"{integer(round(row.cycles))} cycles, {energy}, {integer(row.bytes)} B moved{code}{rate}, bound by {row.bound}"
    )
