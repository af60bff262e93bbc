"""Plots of a record's runs: latency, power over time, state of charge, energy and carbon."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from reports import layer_plots, statistics
from reports.canvas import Plot, drawing, grid, label_room_in, legend_below, log_axis, svg_text, tidy, unit_ticks
from reports.evidence import column, latencies_s, parts
from reports.formats import duration, engineering, percent
from reports.palette import part_colors, run_styles
from reports.tables import energy_j, grams, nodes, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.record import Record, Timeline

BINS = 300


def plots(record: Record) -> list[Plot]:
    """Every plot that the record has material for, in reading order."""
    found = [latency(record), *(power(record, node) for node in nodes(record)), charge(record), bars(record)]
    return [plot for plot in [*found, *layer_plots.plots(record)] if plot]


def latency(record: Record) -> Plot | None:
    """Share of all requests answered within a time, per node; None without a single answer."""
    shown = [node for node in nodes(record) if any(latencies_s(run, node) for run, _ in results(record, node))]
    if not shown:
        return None
    with drawing("latency"):
        columns = min(2, len(shown))
        rows = -(-len(shown) // columns)
        figure, axes = grid(rows, columns, 2.2, left_in=0.8, entries=len(record.runs) + 1)
        for axis, node in zip(tidy(axes, len(shown)), shown, strict=True):
            _latency_axis(axis, record, node)
        entries = {str(line.get_label()): line for axis in axes[: len(shown)] for line in axis.lines}
        legend_below(figure, list(entries.values()), list(entries))
        svg = svg_text(figure)
    medians = [
        f"{node}, {run.label}: median {duration(result.latency_p50_s)}, p95 {duration(result.latency_p95_s)}"
        for node in shown
        for run, result in results(record, node)
    ]
    caption = (
        "Share of all requests answered within a time. A curve that ends below 100 % has lost requests; "
        "curves of policies that decided alike lie on each other."
    )
    return Plot("Latency", caption, f"Latency distribution. {'; '.join(medians)}.", svg)


def _latency_axis(axis: Axes, record: Record, node: str) -> None:
    styles = run_styles([run.label for run in record.runs])
    samples = {run.label: latencies_s(run, node) for run, _ in results(record, node)}
    values = [value for sample in samples.values() for value in sample]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > 20
    left, right = (low / 1.3, high * 1.3) if logarithmic else (max(0.0, low - 0.1 * high), 1.1 * high or 1.0)
    deadlines = {value for run in record.runs for value in column(run, node, "deadline_s") if value is not None}
    if len(deadlines) == 1:
        deadline_s = deadlines.pop()
        axis.axvline(deadline_s, color="#8a8a8a", linewidth=1, linestyle=(0, (2, 2)), label="deadline of a request")
        left, right = (left, max(right, deadline_s * 1.1)) if logarithmic or deadline_s < 3 * right else (left, right)
    for run, result in results(record, node):
        steps_s, shares = statistics.ecdf(samples[run.label], result.requests)
        if steps_s:
            color, dash = styles[run.label]
            times_s, heights = _thinned([steps_s[0], *steps_s, right], [0.0, *shares, shares[-1]])
            axis.step(times_s, heights, where="post", color=color, linestyle=dash, label=run.label)
    axis.set(title=node, xlim=(left, right), ylim=(0, 1.03), ylabel="share of requests")
    axis.yaxis.set_major_formatter(_percent_ticks())
    if logarithmic:
        log_axis(axis.xaxis, "s")
    else:
        axis.xaxis.set_major_formatter(unit_ticks("s"))
    axis.set_xlabel(f"latency, arrival to result{' (log scale)' if logarithmic else ''}")


def _thinned(times_s: Sequence[float], shares: Sequence[float]) -> tuple[list[float], list[float]]:
    """Drop steps too small to see, a five-hundredth of the height; first and last stay."""
    kept = [0]
    kept += [
        index
        for index in range(1, len(shares) - 1)
        if int(500 * shares[index]) != int(500 * shares[index - 1]) or len(shares) < 500
    ]
    kept.append(len(shares) - 1)
    return [times_s[index] for index in kept], [shares[index] for index in kept]


def power(record: Record, node: str) -> Plot | None:
    """Power of one node over time, stacked by part; runs in which it went alike share a panel."""
    panels: list[tuple[Timeline, list[str]]] = []
    for run in record.runs:
        if node in run.timelines and run.timelines[node].time_s:
            alike = (labels for timeline, labels in panels if timeline == run.timelines[node])
            labels = next(alike, None)
            if labels is None:
                panels.append((run.timelines[node], [run.label]))
            else:
                labels.append(run.label)
    if not panels:
        return None
    names = list(dict.fromkeys(part for timeline, _ in panels for part in timeline.power_w))
    colors = part_colors(names)
    # The steady part lies at the bottom, pulses on top of it.
    order = sorted(names, key=lambda part: (part not in ("idle", "sleep"), names.index(part)))
    with drawing(f"power {node}"):
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        figure, axes = grid(rows, columns, 1.2, left_in=0.85, entries=len(names), gap_in=0.08)
        axes = tidy(axes, len(panels))
        for axis, (timeline, labels) in zip(axes, panels, strict=True):
            _power_axis(axis, timeline, record.duration_s, [(part, colors[part]) for part in order])
            axis.set_title(f"{', '.join(labels)}: {_power_words(timeline, record.duration_s)}")
        top = 1.05 * max(axis.dataLim.ymax for axis in axes) or 1
        for index, axis in enumerate(axes):
            lowest = index >= len(axes) - columns
            axis.set(xlabel="time since the start" if lowest else "", ylabel="power", ylim=(0, top))
            axis.tick_params(labelbottom=lowest)
        legend_below(figure, list(axes[0].collections)[::-1], order[::-1])
        svg = svg_text(figure)
    bin_s = record.duration_s / BINS
    caption = (
        f"Each step is the exact mean over {duration(bin_s)}, so that areas are energies; "
        "pulses shorter than that look lower than the peak in the panel's title."
    )
    unseen = [part for part in parts(record) if part not in names]
    if unseen:
        caption += f" Not a power over time, but in the energies below: {', '.join(unseen)}."
    means = [f"{', '.join(labels)} {_power_words(timeline, record.duration_s)}" for timeline, labels in panels]
    return Plot(f"Power of {node}", caption, f"Power over time by part. {'; '.join(means)}.", svg)


def _power_axis(axis: Axes, timeline: Timeline, duration_s: float, layers: Sequence[tuple[str, str]]) -> None:
    scale_s, unit = _time_scale(duration_s)
    edges_s = [duration_s * index / BINS for index in range(BINS + 1)]
    below = [0.0] * (BINS + 1)
    for part, color in layers:
        signal = timeline.power_w.get(part) or [0.0] * len(timeline.time_s)
        means = statistics.step_mean(timeline.time_s, signal, edges_s)
        above = [base + mean for base, mean in zip(below, [*means, means[-1]], strict=True)]
        kept = [i for i in range(BINS + 1) if i in (0, BINS) or (below[i], above[i]) != (below[i - 1], above[i - 1])]
        ticks = [edges_s[i] / scale_s for i in kept]
        low, high = [below[i] for i in kept], [above[i] for i in kept]
        axis.fill_between(ticks, low, high, step="post", color=color, linewidth=0)
        below = above
    axis.set_xlim(0, duration_s / scale_s)
    axis.yaxis.set_major_formatter(unit_ticks("W"))
    axis.xaxis.set_major_formatter(_suffixed(unit))


def _power_words(timeline: Timeline, duration_s: float) -> str:
    """Mean and peak; no peak where the series is one of means over equal intervals, which hide it."""
    totals = [sum(step) for step in zip(*timeline.power_w.values(), strict=True)]
    mean = statistics.step_mean(timeline.time_s, totals, [0.0, duration_s])[0]
    gaps_s = [later - earlier for earlier, later in pairwise(timeline.time_s)]
    averaged = len(gaps_s) > BINS and max(gaps_s) - min(gaps_s) < 1e-3 * max(gaps_s)
    peak = "" if averaged else f", peak {engineering(max(totals), 'W')}"
    return f"mean {engineering(mean, 'W')}{peak}"


def charge(record: Record) -> Plot | None:
    """State of charge over time, one panel per node with a battery, one curve per run."""
    shown = [
        node
        for node in nodes(record)
        if any(node in run.timelines and run.timelines[node].state_of_charge for run in record.runs)
    ]
    if not shown:
        return None
    styles = run_styles([run.label for run in record.runs])
    scale_s, unit = _time_scale(record.duration_s)
    with drawing("charge"):
        columns = min(2, len(shown))
        rows = -(-len(shown) // columns)
        figure, axes = grid(rows, columns, 1.9, left_in=0.85, entries=len(record.runs))
        for axis, node in zip(tidy(axes, len(shown)), shown, strict=True):
            for run, result in results(record, node):
                timeline = run.timelines.get(node)
                if timeline and timeline.state_of_charge:
                    times_s, levels = _charge_curve(timeline, record.duration_s, result.battery_end)
                    color, dash = styles[run.label]
                    axis.plot([t / scale_s for t in times_s], levels, color=color, linestyle=dash, label=run.label)
            axis.set(title=node, xlim=(0, record.duration_s / scale_s), ylabel="state of charge")
            axis.yaxis.set_major_formatter(_percent_ticks())
            axis.xaxis.set_major_formatter(_suffixed(unit))
            axis.set_xlabel("time since the start")
        entries = {str(line.get_label()): line for axis in axes[: len(shown)] for line in axis.lines}
        legend_below(figure, list(entries.values()), list(entries))
        svg = svg_text(figure)
    ends = [
        f"{node}, {run.label}: from {percent(result.battery_start)} to {percent(result.battery_end)}"
        for node in shown
        for run, result in results(record, node)
    ]
    caption = "The axes do not start at zero: they show the range that the runs cover."
    return Plot("State of charge", caption, f"State of charge. {'; '.join(ends)}.", svg)


def _charge_curve(timeline: Timeline, duration_s: float, end: float | None) -> tuple[list[float], list[float]]:
    """Levels at the changes, at most two per bin so that nothing visible is lost, and at the end of the run."""
    times_s, levels = timeline.time_s, timeline.state_of_charge
    bins = [int(BINS * time_s / duration_s) for time_s in times_s]
    last = len(times_s) - 1
    kept = [i for i in range(last + 1) if i in (0, last) or bins[i] != bins[i - 1] or bins[i] != bins[i + 1]]
    shown_s, shown = [times_s[i] for i in kept], [levels[i] for i in kept]
    if end is not None and times_s[-1] < duration_s:
        shown_s, shown = [*shown_s, duration_s], [*shown, end]
    return shown_s, shown


def bars(record: Record) -> Plot | None:
    """Energy by part and carbon, one row of panels per node, one bar per run."""
    shown = nodes(record)
    if not shown:
        return None
    names = [*parts(record), "network", "cloud"]
    colors = part_colors(names)
    with drawing("bars"):
        most = max(len(results(record, node)) for node in shown)
        left_in = label_room_in([run.label for run in record.runs])
        figure, axes = grid(len(shown), 2, 0.1 + 0.27 * most, left_in=left_in, entries=len(names), gap_in=0.35)
        for row, node in enumerate(shown):
            _energy_axis(axes[2 * row], record, node, colors)
            _carbon_axis(axes[2 * row + 1], record, node)
        entries = {str(bar.get_label()): bar for axis in axes[::2] for bar in axis.containers}
        legend_below(figure, list(entries.values()), list(entries))
        svg = svg_text(figure)
    totals = [
        f"{node}, {run.label}: {engineering(energy_j(result), 'J')}, {grams(result.carbon_g)} CO2e"
        for node in shown
        for run, result in results(record, node)
    ]
    caption = "Energy of the whole run by part; hatched parts are drawn elsewhere, in the network and the cloud."
    return Plot("Energy and carbon", caption, f"Energy and carbon. {'; '.join(totals)}.", svg)


def _energy_axis(axis: Axes, record: Record, node: str, colors: dict[str, str]) -> None:
    pairs = results(record, node)
    labels = [run.label for run, _ in pairs]
    left = [0.0] * len(pairs)
    own = {part: [found.energy_by_part_j.get(part, 0.0) for _, found in pairs] for part in parts(record)}
    elsewhere = {
        "network": [found.network_energy_j or 0.0 for _, found in pairs],
        "cloud": [found.cloud_energy_j for _, found in pairs],
    }
    for part, values in {**own, **elsewhere}.items():
        if not any(values):
            continue
        hatch = "////" if part in elsewhere else None
        edge = "#ffffff" if hatch else "none"
        axis.barh(labels, values, left=left, color=colors[part], hatch=hatch, edgecolor=edge, label=part, linewidth=0)
        left = [start + value for start, value in zip(left, values, strict=True)]
    _finish_bars(axis, left, [engineering(value, "J") for value in left], f"{node}: energy", "J")


def _carbon_axis(axis: Axes, record: Record, node: str) -> None:
    pairs = results(record, node)
    styles = run_styles([run.label for run in record.runs])
    values = [found.carbon_g for _, found in pairs]
    axis.barh([run.label for run, _ in pairs], values, color=[styles[run.label][0] for run, _ in pairs])
    _finish_bars(axis, values, [grams(value) for value in values], f"{node}: carbon (CO2e)", "g")


def _finish_bars(axis: Axes, ends: Sequence[float], texts: Sequence[str], title: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for row, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axis.annotate(text, (end, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set(title=title, xlim=(0, 1.25 * max(ends) if any(ends) else 1))
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(unit_ticks(unit))


def _time_scale(duration_s: float) -> tuple[float, str]:
    for limit_s, scale_s, unit in ((300, 1, "s"), (2 * 3600, 60, "min"), (3 * 86400, 3600, "h")):
        if duration_s <= limit_s:
            return float(scale_s), unit
    return 86400.0, "d"


def _suffixed(unit: str) -> str:
    return f"{{x:g}} {unit}"


def _percent_ticks() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0, symbol=" %")
