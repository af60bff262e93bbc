"""Plots of predicted against measured: a scatter with its band, and the residuals by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.canvas import Plot, drawing, grid, legend_below, log_axis, svg_text, tidy
from reports.palette import run_styles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.accuracy import Pair

MANY = 8  # runtimes with a color each; more are told apart by their table


def scatter(pairs: Sequence[Pair]) -> list[Plot]:
    """Predicted over measured latency, fitted on the left and with the family left out on the right."""
    if not pairs:
        return []
    groups = _groups(pairs)
    with drawing("accuracy"):
        held = [each for each in pairs if each.held_out_s is not None]
        panels = [("all families known", False), ("the network's family left out", True)][: 2 if held else 1]
        figure, axes = grid(1, len(panels), 3.2, left_in=0.9, entries=len(groups))
        styles = run_styles(list(groups))
        for axis, (title, left_out) in zip(tidy(axes, len(panels)), panels, strict=True):
            _scatter_axis(axis, title, groups, {name: styles[name][0] for name in groups}, left_out=left_out)
        handles = [_dot(styles[name][0]) for name in groups]
        legend_below(figure, handles, list(groups))
        svg = svg_text(figure)
    caption = "Each dot is a measured row with its band; on the line, prediction and measurement are equal."
    alt = f"Predicted over measured latency of {len(pairs)} rows in {len(groups)} groups."
    return [Plot("Predicted against measured", caption, alt, svg)]


def residuals(pairs: Sequence[Pair]) -> list[Plot]:
    """How far each row is off, by family: fitted, and with the family left out."""
    if not pairs:
        return []
    families = list(dict.fromkeys(each.family for each in pairs))
    with drawing("residuals"):
        figure, axes = grid(1, 1, max(1.2, 0.28 * len(families)), left_in=1.6, entries=2)
        axis = axes[0]
        for name, color in (("fitted", "#4477aa"), ("left out", "#cc6677")):
            values = [
                (100 * ((each.predicted_s if name == "fitted" else each.held_out_s) or 0.0) / each.measured_s - 100)
                for each in pairs
            ]
            places = [families.index(each.family) + (0.12 if name == "fitted" else -0.12) for each in pairs]
            axis.plot(values, places, linestyle="none", marker="o", markersize=4, color=color, label=name)
        axis.axvline(0.0, color="#8a8a8a", linewidth=1)
        axis.set(title="residuals", xlabel="predicted beyond measured, per cent")
        axis.set_yticks(range(len(families)), families)
        legend_below(figure, axis.lines[:2], ["fitted", "left out"])
        svg = svg_text(figure)
    caption = "What the fit leaves of each measured row; left out means fitted without the row's family."
    alt = f"Residuals of {len(pairs)} rows in {len(families)} families."
    return [Plot("Residuals by family", caption, alt, svg)]


def _groups(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Return rows by block, or all together where there are too many blocks for a color each."""
    blocks = list(dict.fromkeys(each.block for each in pairs))
    if len(blocks) > MANY:
        return {"all rows": list(pairs)}
    return {block: [each for each in pairs if each.block == block] for block in blocks}


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
    axis.plot(ends, ends, color="#8a8a8a", linewidth=1, linestyle=(0, (2, 2)))
    axis.set(title=title, xlim=ends, ylim=ends, ylabel="predicted")
    for side in (axis.xaxis, axis.yaxis):
        log_axis(side, "s")
    axis.set_xlabel("measured (log scale)")


def _dot(color: str) -> object:
    """Return a legend's mark."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker="o", markersize=5, color=color)
