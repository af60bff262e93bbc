"""Plots of predicted against measured: a scatter with its band, and the errors by runtime or family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reports.canvas import Plot, drawing, grid, label_room_in, legend_below, log_axis, svg_text, tidy
from reports.palette import BLUE, GREY, VERMILION, run_styles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from reports.accuracy import Pair

COLORS = (GREY, BLUE, VERMILION)  # of stages, the last ones first
MANY = 8  # runtimes with a color each; more are told apart by their table
LEFT_OUT = "the network's family left out"


def scatter(pairs: Sequence[Pair], stage: str) -> list[Plot]:
    """Predicted over measured latency: of a ``stage``, and with the network's family left out."""
    if not pairs:
        return []
    groups = _groups(pairs)
    held = [each.held_out_s for each in pairs if each.held_out_s is not None]
    seen = [*(each.measured_s for each in pairs), *(each.predicted_s for each in pairs), *held]
    with drawing("accuracy"):
        panels = [(stage, False), (LEFT_OUT, True)][: 2 if held else 1]
        figure, axes = grid(1, len(panels), 3.6, left_in=0.9, entries=len(groups) * (len(groups) > 1))
        colors = {name: style[0] for name, style in run_styles(list(groups)).items()}
        for axis, (title, left_out) in zip(tidy(axes, len(panels)), panels, strict=True):
            for name, rows in groups.items():
                _dots(axis, rows, colors[name], left_out=left_out)
            _equal_axes(axis, (min(seen) / 1.4, max(seen) * 1.4), title)
        if len(groups) > 1:
            legend_below(figure, [_dot(color) for color in colors.values()], list(groups))
        svg = svg_text(figure)
    caption = "Each dot is a measured row with its band; on the line, prediction and measurement are equal."
    alt = f"Predicted over measured latency of {len(pairs)} rows in {len(groups)} groups."
    return [Plot("Predicted against measured", caption, alt, svg)]


def residuals(
    pairs: Sequence[Pair], by: Literal["runtime", "family"], stages: Mapping[str, Sequence[float | None]]
) -> list[Plot]:
    """How far each row is off, by runtime or family.

    Parameters
    ----------
    stages
        By name, what is predicted for each row, None where nothing is. [s]
    """
    if not pairs:
        return []
    names = sorted({getattr(each, by) for each in pairs}, reverse=True)
    shown = {name: values for name, values in stages.items() if any(value is not None for value in values)}
    with drawing(f"residuals by {by}"):
        figure, axes = grid(1, 1, max(1.0, 0.28 * len(names)), left_in=label_room_in(names), entries=len(shown))
        axis, colors = axes[0], COLORS[-len(shown) :]
        axis.axvline(0.0, color=GREY, linewidth=1)
        for index, (color, values) in enumerate(zip(colors, shown.values(), strict=True)):
            lift = 0.14 * (len(shown) - 1) - 0.28 * index
            found = [(each, value) for each, value in zip(pairs, values, strict=True) if value is not None]
            axis.plot(
                [100 * (value / each.measured_s - 1) for each, value in found],
                [names.index(getattr(each, by)) + lift for each, _ in found],
                linestyle="none", marker="o", markersize=4, alpha=0.6, color=color,
            )  # fmt: skip
        axis.set(xlabel="predicted beyond measured, per cent", ylim=(-0.6, len(names) - 0.4))
        axis.set_yticks(range(len(names)), names)
        legend_below(figure, [_dot(color) for color in colors], list(shown))
        svg = svg_text(figure)
    caption = "How far each prediction is from its measured row."
    alt = f"Errors of {len(pairs)} rows by {by}, of which there are {len(names)}."
    return [Plot(f"Errors by {by}", caption, alt, svg)]


def _groups(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Return rows by runtime, or all together where there are too many for a color each."""
    names = list(dict.fromkeys(each.runtime for each in pairs))
    if len(names) > MANY:
        return {"all rows": list(pairs)}
    return {name: [each for each in pairs if each.runtime == name] for name in names}


def _dots(axis: Axes, rows: Sequence[Pair], color: str, *, left_out: bool) -> None:
    """Draw rows with their bands."""
    for each in rows:
        found = each.held_out_s if left_out else each.predicted_s
        if found is not None:
            band = (each.held_out_low_s, each.held_out_high_s) if left_out else (each.low_s, each.high_s)
            axis.plot([each.measured_s] * 2, band, color=color, linewidth=0.8, alpha=0.5)
            axis.plot([each.measured_s], [found], marker="o", markersize=3.5, color=color)


def _equal_axes(axis: Axes, ends: tuple[float, float], title: str) -> None:
    """Give both axes the same range of times, and draw where they are equal."""
    axis.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
    axis.set(title=title, xlim=ends, ylim=ends, ylabel="predicted")
    for side in (axis.xaxis, axis.yaxis):
        log_axis(side, "s")
    axis.set_xlabel("measured (log scale)")


def _dot(color: str) -> object:
    """Return a legend's mark."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker="o", markersize=5, color=color)
