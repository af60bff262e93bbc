"""Plots of networks on devices: the roofline with every layer, and the layers that take the time."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from reports.canvas import Plot, drawing, grid, legend_below, log_axis, svg_text, tidy
from reports.formats import band, engineering, percent
from reports.palette import bound_colors
from reports.templating import template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.record import LayerRow, ModelRow, Record

LONGEST = 16
BARS_WIDTH = 880


def plots(record: Record) -> list[Plot]:
    """Draw a roofline over all devices, then the layers of each model on each device."""
    rows = distinct(record)
    # One color per resource on the whole page.
    colors = bound_colors([layer.bound for row in rows for layer in row.layers])
    return [plot for plot in (roofline(rows, colors), *(layers(row, colors) for row in rows)) if plot]


def distinct(record: Record) -> list[ModelRow]:
    """Return the rows with layers, once for each model, device, runtime and precision."""
    keyed = {(row.model, row.device, row.runtime, row.precision): row for row in record.models if row.layers}
    return list(keyed.values())


def roofline(rows: list[ModelRow], colors: dict[str, str]) -> Plot | None:
    """Rate of every layer over its arithmetic intensity, under the limits of its device."""
    shown = [row for row in rows if row.peak_macs_per_s > 0 and row.memory_bytes_per_s > 0 and _points(row)]
    if not shown:
        return None
    with drawing("roofline"):
        columns = 2 if len(shown) in (2, 4) else min(3, len(shown))
        lines = -(-len(shown) // columns)
        present = [bound for bound in colors if any(layer.bound == bound for row in shown for layer in _points(row))]
        figure, axes = grid(lines, columns, 2.1, left_in=1.1, entries=len(present), title_in=0.5)
        for axis, row in zip(tidy(axes, len(shown)), shown, strict=True):
            _roofline_axis(axis, row, colors)
        handles = [_dot(colors[bound]) for bound in present]
        legend_below(figure, handles, [f"bound by {bound}" for bound in present])
        svg = svg_text(figure)
    caption = (
        "Each dot is a layer, its area the share of the time it takes; the line is the limit that peak rate and memory "
        "bandwidth set; what lies above its slope works from a nearer memory. Layers without multiply-accumulates are "
        "not shown."
    )
    words = [
        f"{row.model} on {row.device}: peak {engineering(row.peak_macs_per_s, 'MAC/s')}, "
        f"memory {engineering(row.memory_bytes_per_s, 'B/s')}, "
        f"reached {engineering(row.macs / row.latency_s if row.latency_s else 0.0, 'MAC/s')}"
        for row in shown
    ]
    return Plot("Roofline", caption, f"Roofline. {'; '.join(words)}.", svg)


def _points(row: ModelRow) -> list[LayerRow]:
    return [layer for layer in row.layers if layer.macs > 0 and layer.bytes > 0 and layer.latency_s > 0]


def _dot(color: str) -> object:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker="o", color=color)


def _roofline_axis(axis: Axes, row: ModelRow, colors: dict[str, str]) -> None:
    points = _points(row)
    total_s = sum(layer.latency_s for layer in row.layers)
    ridge = row.peak_macs_per_s / row.memory_bytes_per_s
    intensities = [layer.macs / layer.bytes for layer in points]
    left, right = min(*intensities, ridge) / 3, max(*intensities, ridge) * 3
    limit = [min(row.peak_macs_per_s, x * row.memory_bytes_per_s) for x in (left, ridge, right)]
    axis.plot([left, ridge, right], limit, color="#8a8a8a", linewidth=1.5, zorder=1)
    rates = [layer.macs / layer.latency_s for layer in points]
    areas = [14 + 220 * layer.latency_s / total_s for layer in points]
    axis.scatter(intensities, rates, s=areas, c=[colors[x.bound] for x in points], alpha=0.75, linewidths=0, zorder=2)
    bottom = min(*rates, *limit) / 3
    axis.set(xlim=(left, right), ylim=(bottom, row.peak_macs_per_s * 3), title=f"{row.device}\n{row.model}")
    log_axis(axis.xaxis, "")
    log_axis(axis.yaxis, "MAC/s")
    axis.set(xlabel="arithmetic intensity [MAC/B]", ylabel="rate")
    peak = f"peak {engineering(row.peak_macs_per_s, 'MAC/s')}"
    axis.annotate(
        peak, (right, row.peak_macs_per_s), xytext=(-2, 3), textcoords="offset points", ha="right", fontsize=8
    )


def layers(row: ModelRow, colors: dict[str, str]) -> Plot:
    """Time of the longest layers as bars, colored by what binds them; the caption sums up the rest."""
    ordered = sorted(row.layers, key=lambda layer: -layer.latency_s)
    shown, rest = ordered[:LONGEST], ordered[LONGEST:]
    # The longest are shown in the order in which they run.
    shown = [layer for layer in row.layers if layer in shown]
    total_s = sum(layer.latency_s for layer in row.layers)
    bounds = list(dict.fromkeys(layer.bound for layer in shown))
    svg = _bars(shown, total_s, {bound: colors[bound] for bound in bounds})
    latency = band(row.latency_s, row.latency_low_s, row.latency_high_s, calibrated=row.calibrated)
    rest_s = sum(layer.latency_s for layer in rest)
    share = f" ({percent(rest_s / total_s)})" if total_s else ""
    remark = f" {len(rest)} shorter layers, {engineering(rest_s, 's')}{share} together, are not shown." if rest else ""
    title = f"Layers of {row.model} on {row.device}"
    longest = ordered[0]
    alt = f"{title}: {latency}; the longest is {longest.name} with {engineering(longest.latency_s, 's')}."
    return Plot(title, f"Runtime {row.runtime}, {row.precision}: {latency} in all.{remark}", alt, svg)


def _bars(shown: Sequence[LayerRow], total_s: float, colors: dict[str, str]) -> str:
    """Draw one bar per layer; a template does it in a hundredth of the time that a plotting library takes."""
    names = [_short(f"{layer.name} ({layer.op})") for layer in shown]
    left = 20 + 6.8 * max(map(len, names))
    room = BARS_WIDTH - left - 110  # for the text behind the longest bar
    longest_s = max(layer.latency_s for layer in shown) or 1.0
    bars = [
        {
            "y": 20 + 19 * index,
            "name": name,
            "length": room * layer.latency_s / longest_s,
            "color": colors[layer.bound],
            "text": engineering(layer.latency_s, "s") + (f", {percent(layer.latency_s / total_s)}" if total_s else ""),
        }
        for index, (layer, name) in enumerate(zip(shown, names, strict=True))
    ]
    starts = accumulate((len(bound) * 7 + 95 for bound in colors), initial=left + 5)
    legend = [
        {"x": x, "bound": bound, "color": color} for x, (bound, color) in zip(starts, colors.items(), strict=False)
    ]
    height = 20 + 19 * len(shown) + 26
    return template("bars.svg.j2").render(width=BARS_WIDTH, height=height, left=left, bars=bars, legend=legend).strip()


def _short(name: str, limit: int = 46) -> str:
    return name if len(name) <= limit else f"{name[: limit // 2 - 1]}…{name[-(limit // 2) :]}"
