"""Colors that keep their meaning through a report, safe for color-blind readers, dark and light.

References
----------
.. [1] M. Okabe, K. Ito, "Color Universal Design: how to make figures and presentations that are friendly to
       colorblind people", 2008.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#C9B800", "#8A8A8A",
)  # fmt: skip
_RUNS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, YELLOW, GREY)
_DASHES = ("-", "--", "-.", ":")
_PARTS = {"compute": BLUE, "radio": ORANGE, "idle": GREY, "network": PURPLE, "cloud": GREEN, "sleep": SKY}
_BOUNDS = {"compute": BLUE, "memory": ORANGE, "overhead": GREY}
# The rest of Okabe and Ito, then what differs most from it in P. Tol's "muted" scheme, 2021.
_SPARE = (VERMILION, SKY, GREEN, PURPLE, YELLOW, "#332288", "#882255", "#44AA99", "#999933", "#DDCC77")

Style = tuple[str, str]


def run_styles(labels: Sequence[str]) -> dict[str, Style]:
    """Color and dash of each run; neighbours differ in both, so that equal curves can be told apart in print."""
    return {
        label: (_RUNS[index % len(_RUNS)], _DASHES[(index + index // len(_RUNS)) % len(_DASHES)])
        for index, label in enumerate(labels)
    }


def part_colors(parts: Sequence[str]) -> dict[str, str]:
    """Color of each part that draws power."""
    return _named(parts, _PARTS)


def bound_colors(bounds: Sequence[str]) -> dict[str, str]:
    """Color of each resource that can bind a layer."""
    return _named(bounds, _BOUNDS)


def _named(names: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    spare = {name: _SPARE[index % len(_SPARE)] for index, name in enumerate(unknown)}
    return {name: known.get(name) or spare[name] for name in dict.fromkeys(names)}
