"""Plots of predicted against measured: a scatter with its band, and the errors by runtime or family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reports.canvas import Plot, drawing, grid, label_room_in, legend_below, log_axis, svg_text, tidy
from reports.palette import BLUE, GREY, VERMILION, run_styles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.accuracy import Pair

MANY = 8  # runtimes with a color each; more are told apart by their table
KNOWN, LEFT_OUT = "as it is", "family left out"


def scatter(pairs: Sequence[Pair]) -> list[Plot]:
    """Predicted over measured latency: of the runtimes as they are, and with the network's family left out."""
    if not pairs:
        return []
    groups = _groups(pairs)
    with drawing("accuracy"):
        held = any(each.held_out_s is not None for each in pairs)
        panels = [("runtimes as they are", False), ("the network's family left out", True)][: 2 if held else 1]
        figure, axes = grid(1, len(panels), 3.6, left_in=0.9, entries=len(groups) * (len(groups) > 1))
        styles = run_styles(list(groups))
        for axis, (title, left_out) in zip(tidy(axes, len(panels)), panels, strict=True):
            _scatter_axis(axis, title, groups, {name: styles[name][0] for name in groups}, left_out=left_out)
        if len(groups) > 1:
            legend_below(figure, [_dot(styles[name][0]) for name in groups], list(groups))
        svg = svg_text(figure)
    caption = "Each dot is a measured row with its band; on the line, prediction and measurement are equal."
    alt = f"Predicted over measured latency of {len(pairs)} rows in {len(groups)} groups."
    return [Plot("Predicted against measured", caption, alt, svg)]


def residuals(pairs: Sequence[Pair], by: Literal["runtime", "family"]) -> list[Plot]:
    """How far each row is off, by runtime or family: as predicted, and with the network's family left out."""
    if not pairs:
        return []
    names = sorted({getattr(each, by) for each in pairs}, reverse=True)
    stages = {
        KNOWN: (BLUE, 0.14, [(getattr(each, by), each.predicted_s, each.measured_s) for each in pairs]),
        LEFT_OUT: (
            VERMILION, -0.14,
            [(getattr(each, by), each.held_out_s, each.measured_s) for each in pairs if each.held_out_s is not None],
        ),
    }  # fmt: skip
    with drawing(f"residuals by {by}"):
        figure, axes = grid(1, 1, max(1.0, 0.26 * len(names)), left_in=label_room_in(names), entries=len(stages))
        axis = axes[0]
        axis.axvline(0.0, color=GREY, linewidth=1)
        for stage, (color, lift, found) in stages.items():
            places = [names.index(name) + lift for name, _, _ in found]
            values = [100 * (predicted / measured - 1) for _, predicted, measured in found]
            axis.plot(values, places, linestyle="none", marker="o", markersize=4, alpha=0.6, color=color, label=stage)
        axis.set(xlabel="predicted beyond measured, per cent", ylim=(-0.6, len(names) - 0.4))
        axis.set_yticks(range(len(names)), names)
        legend_below(figure, [_dot(color) for color, _, _ in stages.values()], list(stages))
        svg = svg_text(figure)
    caption = "How far each prediction is from its measured row; left out: fitted again without the network's family."
    alt = f"Errors of {len(pairs)} rows by {by}, of which there are {len(names)}."
    return [Plot(f"Errors by {by}", caption, alt, svg)]


def _groups(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Return rows by runtime, or all together where there are too many for a color each."""
    names = list(dict.fromkeys(each.runtime for each in pairs))
    if len(names) > MANY:
        return {"all rows": list(pairs)}
    return {name: [each for each in pairs if each.runtime == name] for name in names}


def _scatter_axis(
    axis: Axes, title: str, groups: dict[str, list[Pair]], colors: dict[str, str], *, left_out: bool
) -> None:
    everything = []
    for name, rows in groups.items():
        for each in rows:
            found = each.held_out_s if left_out else each.predicted_s
            if found is None:
                continue
            low, high = (each.held_out_low_s, each.held_out_high_s) if left_out else (each.low_s, each.high_s)
            axis.plot([each.measured_s] * 2, [low, high], color=colors[name], linewidth=0.8, alpha=0.5)
            axis.plot([each.measured_s], [found], marker="o", markersize=3.5, color=colors[name])
            everything += [each.measured_s, found]
    ends = [min(everything) / 1.4, max(everything) * 1.4]
    axis.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
    axis.set(title=title, xlim=ends, ylim=ends, ylabel="predicted")
    for side in (axis.xaxis, axis.yaxis):
        log_axis(side, "s")
    axis.set_xlabel("measured (log scale)")


def _dot(color: str) -> object:
    """Return a legend's mark."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker="o", markersize=5, color=color)
