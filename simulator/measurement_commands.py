"""The commands about measurements, ``presage calibrate`` and ``presage validate``: options only, all else is lazy."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from simulator.progress import Bar

ModelsOption = Annotated[
    list[Path] | None, typer.Option("--models", help="A folder of model files or layer tables. May be repeated.")
]


class Form(StrEnum):
    """For people or for programs."""

    TEXT = "text"
    JSON = "json"


class PageFormat(StrEnum):
    """How a page is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


def calibrate(
    measured: Annotated[
        Path | None,
        typer.Argument(metavar="CSV", help="Rows of model, latency_ms, and what else is known; none: only a prior."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The runtime file (TOML) to write; default: the CSV's name.")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="The runtime's name in the file, or a pattern of it.")] = None,
    on: Annotated[str | None, typer.Option("--on", help="The device of all rows: name or TOML file.")] = None,
    prior: Annotated[str | None, typer.Option(help="Where the fit starts; default: that of the device's core.")] = None,
    precision: Annotated[str, typer.Option(help="Of the prior, where there are no timings.")] = "int8",
    drops_dead_channels: Annotated[
        bool, typer.Option("--drops-dead-channels", help="The runtime leaves out channels that always hold zero.")
    ] = False,
    title: Annotated[str | None, typer.Option(help="What the runtime is called; default: as in the file.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="Another name of it. May be repeated.")] = None,
    years: Annotated[str | None, typer.Option(help="Take rows of these years only, e.g. 2022-2023.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the residuals here (.html or .md).")] = None,
    models: ModelsOption = None,
    format: Annotated[Form, typer.Option("--format")] = Form.TEXT,  # noqa: A002 (the option's public name)
) -> None:
    """Fit a runtime to measured latencies, and say what error to expect of it on other networks."""
    from reports import page
    from simulator.calibrate_command import Request, answer
    from simulator.cli import _console
    from simulator.validate_command import with_images
    from workloads.errors import InputError

    path = output or Path(f"{measured.stem if measured else 'prior'}.toml")
    if path.suffix != ".toml":
        raise InputError("--output", [f"{path} does not end in .toml"])
    if report is not None and report.suffix not in (".html", ".md"):
        raise InputError("--report", [f"{report} ends neither in .html nor in .md"])
    asked = Request(
        measured, path.stem, runtime, on, prior, precision, tuple(models or ()), drops_dead_channels, title,
        tuple(alias or ()), _years(years),
    )  # fmt: skip
    found = answer(asked)
    if report is not None:
        write(report, page.html(found.page) if report.suffix == ".html" else with_images(found.page, report))
    write(path, found.text)
    if format is Form.JSON:
        typer.echo(json.dumps({"runtime": str(path), **found.data}, indent=2, allow_nan=False))
        return
    if found.pairs:
        page.show(found.page, _console())
    else:
        typer.echo(f"No timings: {path} is where a fit would start, {found.title}, with a wide band.")
    for each in found.unmatched:
        typer.echo(f"not used, line {each.row.line}: {each.reason}")
    typer.echo(f"\nUse it with --runtime {path}")


def _years(text: str | None) -> tuple[int, int] | None:
    """Return the first and last year of a range."""
    from workloads.errors import InputError

    if text is None:
        return None
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first)):
        raise InputError("--years", [f"{text!r} is no range of years; write it like 2022-2023"])
    return int(first), int(last or first)


def validate(
    measured: Annotated[
        list[Path], typer.Option("--measured", help="A CSV of measured latencies and energies. May be repeated.")
    ],
    models: ModelsOption = None,
    on: Annotated[str | None, typer.Option("--on", help="Predict for this device instead of those named.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Predict with this runtime instead of those named.")] = None,
    format: Annotated[PageFormat, typer.Option("--format")] = PageFormat.TEXT,  # noqa: A002 (the option's public name)
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of printing.")] = None,
) -> None:
    """Put predictions beside measurements: errors by device and runtime, and every row."""
    from simulator.cli import _console
    from simulator.validate_command import Request, answer

    with Bar(shown=format is PageFormat.TEXT and sys.stderr.isatty()) as progress:
        found = answer(Request(tuple(measured), tuple(models or ()), on, runtime), progress)
    if format is PageFormat.TEXT:
        found.show(_console())
    elif output is None:
        typer.echo(found.text(format.value, None), nl=False)
    else:
        write(output, found.text(format.value, output))


def runtimes(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="A runtime's name or file.")] = None,
    format: Annotated[Form, typer.Option("--format")] = Form.TEXT,  # noqa: A002 (the option's public name)
) -> None:
    """List the runtimes with the errors to expect of them, or show the figures of some with their sources."""
    from simulator.cli import _console
    from simulator.show_runtimes import describe, overview

    if format is Form.JSON:
        found = [describe(name) for name in names] if names else [asdict(each) for each in overview()]
        typer.echo(json.dumps(found, indent=2))
        return
    from reports import page
    from reports.runtime_tables import runtime_table
    from reports.text import device_tables

    for name in names or []:
        device_tables(describe(name), _console())
    if not names:
        page.show_table(runtime_table(overview()), _console())


def write(path: Path, text: str) -> None:
    """Write a file.

    Raises
    ------
    InputError
        It cannot be written.
    """
    from workloads.errors import InputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(path, [f"cannot be written: {error.strerror}"]) from None
