"""The commands about finished runs, ``presage report`` and ``presage compare``: options only, all else is lazy."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import Annotated

import typer


def report(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run: its folder or record.json.")],
    output: Annotated[Path | None, typer.Option(help="Render here instead of beside the record.")] = None,
) -> None:
    """Render a finished run again, without simulating."""
    from reports import store, text
    from simulator.cli import _check_folder, _console

    record = store.read(path)
    target = output or (path if path.is_dir() else path.parent)
    _check_folder(target)
    folder = store.write(record, target)
    text.render(record, _console())
    typer.echo(f"\nReport: {folder / 'report.html'}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A finished run: its folder or record.json.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
) -> None:
    """Put the figures of two finished runs side by side."""
    from reports import store
    from reports.compare import compare as side_by_side

    typer.echo(side_by_side(store.read(first), store.read(second)))
