"""A report as Markdown: readable in a terminal, a pull request or an editor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reports import evidence, summary, tables
from reports.formats import duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reports.record import Record
    from reports.tables import Cell, Table


def render(record: Record) -> str:
    """Markdown of a whole report: the answer, the comparison, the evidence."""
    blocks = [f"# {escape(record.title)}"]
    if record.question:
        blocks.append(f"*{escape(record.question)}*")
    blocks += ["## Answer", *(f"**{escape(sentence)}**" for sentence in summary.headline(record))]
    blocks += bullets(summary.caveats(record))
    blocks += ["## Comparison", *map(table_block, tables.comparison(record))]
    blocks += [table_block(table) for table in (tables.verdicts(record),) if table]
    blocks += ["## Evidence", *(table_block(table) for table in (tables.models(record),) if table)]
    blocks += map(table_block, evidence.evidence(record))
    blocks += [*_section("Assumptions", record.assumptions)]
    blocks += [*_section("Sources", (f"{name}: {text}" for name, text in record.sources.items()))]
    blocks += [*_section("Versions", (f"{name} {version}" for name, version in record.versions.items()))]
    blocks.append(f"Simulated {duration(record.duration_s)} with seed {record.seed}.")
    if record.scenario:
        blocks += ["### Scenario", fenced(record.scenario, "toml")]
    return "\n\n".join(blocks) + "\n"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    found = bullets(lines)
    return [f"### {title}", *found] if found else []


def bullets(lines: Iterable[str]) -> list[str]:
    """One block with a bullet per line, or no block at all."""
    found = [f"- {escape(line)}" for line in lines]
    return ["\n".join(found)] if found else []


def table_block(table: Table) -> str:
    """Markdown of one table under its title; the best of a column is bold, what needs attention is marked."""
    head = "| " + " | ".join(escape(title) for title in table.columns) + " |"
    rule = "|" + "|".join("---:" if numeric else "---" for numeric in table.numeric) + "|"
    body = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    note = f"\n\n{escape(table.note)}" if table.note else ""
    return "\n".join([f"### {escape(table.title)}", "", head, rule, *body]) + note


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"**{text}**" if cell.best else f"{text} (!)" if cell.alarm else text


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, no HTML, no table bar."""
    flat = re.sub(r"\s+", " ", text)
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", flat)


def fenced(text: str, language: str) -> str:
    """Text as a code block, with a fence longer than any inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
