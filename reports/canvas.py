"""Figures as inline SVG: a common look, text that follows the page's colors, nothing fetched, same bytes each time."""

from __future__ import annotations

import io
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from reports.formats import prefix_power, prefixed_unit, trimmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, LEGEND_COLUMNS = 9.2, 6
TICKS = 5  # at most per axis: each costs as much time as a curve
_RIGHT_IN = 0.3
# Two colors no plot uses, so that they can be handed over to the page's style.
_INK, _LINE = "#1b1b1c", "#d3d3d4"
_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 9.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titley": 1.0, "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK,
    "ytick.color": _INK, "axes.edgecolor": _LINE, "grid.color": _LINE, "axes.grid": True, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none", "svg.fonttype": "none", "text.parse_math": False,
    "xtick.bottom": False, "ytick.left": False, "grid.linewidth": 0.6, "lines.linewidth": 1.8,
    "hatch.linewidth": 0.8,
}  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """A figure of the report: ``svg`` is safe markup, everything else plain text."""

    title: str
    caption: str
    alt: str
    svg: str


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Use the report's look while a figure is made; ``name`` keeps the SVG's inner references apart."""
    import matplotlib

    with matplotlib.rc_context(cast(Any, {**_STYLE, "svg.hashsalt": name})):
        yield


def grid(
    rows: int,
    columns: int,
    panel_in: float,
    *,
    left_in: float,
    entries: int,
    title_in: float = 0.32,
    gap_in: float = 0.5,
) -> tuple[Figure, list[Axes]]:
    """Make a figure of the report's width with so many axes, row by row.

    The margins are given, not found by measuring all text: that would take longer than everything else.

    Parameters
    ----------
    panel_in, left_in, title_in, gap_in
        Height of one panel, room to its left for tick labels, above for its title, below for its axis. [inch]
    entries
        Number of entries in the legend, for which room is left at the bottom.
    """
    from matplotlib.figure import Figure

    legend_in = 0.1 + 0.24 * math.ceil(entries / LEGEND_COLUMNS)
    height_in = rows * (title_in + panel_in) + (rows - 1) * gap_in + 0.5 + legend_in
    panel_width_in = (WIDTH_IN - columns * (left_in + _RIGHT_IN)) / columns
    figure = Figure(figsize=(WIDTH_IN, height_in))
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left_in / WIDTH_IN,
            "right": 1 - _RIGHT_IN / WIDTH_IN,
            "top": 1 - title_in / height_in,
            "bottom": (0.5 + legend_in) / height_in,
            "wspace": (left_in + _RIGHT_IN) / panel_width_in,
            "hspace": (title_in + gap_in) / panel_in,
        },
    )
    flat = [axis for row in axes for axis in row]
    for axis in flat:
        axis.locator_params(nbins=TICKS)
    return figure, flat


def label_room_in(labels: Sequence[str], size_pt: float = 9) -> float:
    """Width that the longest of these tick labels needs, with its tick. [inch]."""
    return 0.15 + max((len(label) for label in labels), default=0) * size_pt * 0.62 / 72


def tidy(axes: list[Axes], used: int) -> list[Axes]:
    """Take away the axes of a grid that hold nothing."""
    for axis in axes[used:]:
        axis.remove()
    return axes[:used]


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put one legend for all axes under the figure, where it covers no data."""
    if handles:
        figure.legend(list(handles), list(labels), loc="lower center", ncols=min(len(labels), LEGEND_COLUMNS))


def unit_ticks(unit: str) -> Any:
    """Tick labels of SI values with prefix and unit: "5 ms"."""
    from matplotlib.ticker import FuncFormatter

    def label(value: float, _: int | None) -> str:
        if not unit:
            return trimmed(value, 3)
        if abs(value) < 1e-18:
            return f"0 {unit}"
        power = prefix_power(value)
        return f"{trimmed(value / 10.0**power, 3)} {prefixed_unit(power, unit)}"

    return FuncFormatter(label)


def log_axis(axis: Any, unit: str) -> None:
    """Make an x or y axis logarithmic with labels at decades, and between them where few decades show."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    span = high / low
    subs = (1.0, 2.0, 5.0) if span < 60 else (1.0, 3.0) if span < 300 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(unit_ticks(unit))
    axis.set_minor_locator(NullLocator())


def svg_text(figure: Figure) -> str:
    """Markup of a figure for use inside a page."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    # Not savefig, which draws everything twice.
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None})
    return _inline(buffer.getvalue())


def _inline(text: str) -> str:
    """Cut what only a free-standing file needs, round coordinates, and let the page choose the colors of text."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)
    head, _, body = text.partition(">")
    box = re.search(r"viewBox=\"[^\"]*\"", head)
    head = f'<svg {box.group() if box else ""} aria-hidden="true" focusable="false"'
    text = f"{head}>{body}"
    text = re.sub(r"\b(d|x|y|points|transform)=\"[^\"]*\"", lambda found: _rounded(found.group()), text)
    text = text.replace(_INK, "currentColor").replace(_LINE, "var(--line)")
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    return re.sub(r"\n\s*", "\n", text).strip()


def _rounded(attribute: str) -> str:
    return re.sub(r"(?<=\.\d\d)\d+", "", attribute)
