"""The command ``presage predict``: what is asked for beside the rows, and how they are printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.arguments import LONGEST
from simulator.predict import Options, predict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console


@dataclass(frozen=True)
class Request:
    """The options of the command as the user gave them; ``explain`` names a layer, or is ``LONGEST``."""

    models: Sequence[str]
    devices: Sequence[str]
    options: Options
    layers: bool
    numerics: bool
    explain: str | None
    memory_plot: Path | None


def answer(request: Request) -> list[dict[str, Any]]:
    """Return the rows, and draw the memory if that is asked for.

    Raises
    ------
    InputError
        A model, a device or an option is wrong.
    """
    rows = predict(
        request.models,
        request.devices,
        request.options,
        layers=request.layers,
        numerics=request.numerics,
        explain=request.explain is not None,
        layer=None if request.explain == LONGEST else request.explain,
    )
    if request.memory_plot is not None:
        from simulator.memory_map import write_plot

        write_plot(request.models, request.devices, request.options, request.memory_plot)
    return rows


def show(request: Request, rows: list[dict[str, Any]], console: Console) -> None:
    """Print the rows for people."""
    from reports.text import predictions_table

    predictions_table(rows, console, layers=request.layers)
    if request.numerics:
        from simulator.fuzz_command import show_agreement

        for found in {row["model"]: row["numerics"] for row in rows}.values():
            show_agreement(found, console)
    for row in rows if request.explain is not None else ():
        from reports.explanation import render

        console.print()
        console.print(render(row["explanation"]), markup=False, highlight=False, soft_wrap=True)
