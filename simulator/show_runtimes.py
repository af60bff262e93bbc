"""Runtimes as the command shows them: how far off each was on families it was not fitted to, or every figure of one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from device_models.figures import figures
from device_models.runtime import GENERATED, load_runtime, runtime_names
from reports.accuracy import errors
from reports.formats import duration
from reports.runtime_tables import RuntimeErrors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_models.runtime import FittedRow, Runtime


def overview() -> list[RuntimeErrors]:
    """Return what the rows recorded in each shipped runtime say of it, and all together; then where fits start."""
    found = [load_runtime(name) for name in runtime_names() if name != GENERATED]
    fitted, starts = ([each for each in found if each.calibrated is known] for known in (True, False))
    rows = [row for each in fitted for row in each.rows]
    return [
        *(_errors(each.name, each, each.rows) for each in fitted),
        _errors("all", None, rows),
        *(_errors(each.name, each, ()) for each in starts),
    ]


def _errors(name: str, runtime: Runtime | None, rows: Sequence[FittedRow]) -> RuntimeErrors:
    return RuntimeErrors(
        runtime=name,
        cores=runtime.cores if runtime else (),
        precisions=runtime.precisions if runtime else (),
        rows=len(rows),
        families=len({row.family for row in rows}),
        held_out=errors([(row.held_out, row.measured) for row in rows]),
        coverage=_coverage(rows),
    )


def _coverage(rows: Sequence[FittedRow]) -> float | None:
    """Return the share of rows inside the band of the fit without their family."""
    inside = [abs(math.log(row.measured / row.held_out)) <= row.reach for row in rows if row.reach is not None]
    return sum(inside) / len(inside) if inside else None


def describe(name: str) -> dict[str, Any]:
    """Return every figure of a runtime with its source, its rows, and the references.

    Raises
    ------
    InputError
        There is no such runtime, or its file is wrong.
    """
    runtime = load_runtime(name)
    sections = {
        "terms": [
            (f"{term}: {each.quantity} of {', '.join(each.layers)}", *figure[1:])
            for term, each in runtime.terms.items()
            for figure in _rows(each)
        ]
    }
    sections["factors of cores"] = [row for core, each in runtime.core_factors.items() for row in _rows({core: each})]
    sections["band"] = _rows(runtime.band)
    sections["rows: measured, and the fit without the family"] = [_measured(row) for row in runtime.rows]
    return {
        "name": runtime.name,
        "title": f"{runtime.title} ({', '.join(runtime.precisions)} on {', '.join(runtime.cores)})",
        "sections": {title: rows for title, rows in sections.items() if rows},
        "sources": dict(runtime.sources),
    }


def _rows(record: Any) -> list[tuple[str, str, str, str]]:
    """Read the figures of a table as name, value, source and range."""
    rows = []
    for place, text, source in figures(record):
        value, _, spread = text.partition(" (")
        rows.append((place, value, source, spread.removesuffix(")")))
    return rows


def _measured(row: FittedRow) -> tuple[str, str, str, str]:
    """Return a fitted row as name, measured time, source, and what the fit without its family says."""
    at = f"{row.frequency / 1e6:g} MHz" + (f", {row.threads} threads" if row.threads > 1 else "")
    return f"{row.model} on {row.device}, {at}", duration(row.measured), row.source, duration(row.held_out)
