"""Where a network's tensors lie in memory, layer by layer: a picture, alone or on a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.canvas import WIDTH_IN, Plot, drawing, label_room_in, svg_text
from reports.formats import percent, size
from reports.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from reports.templating import source, template

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {
    "input": SKY, "activation": BLUE, "padded": GREEN, "output": PURPLE, "scratch": ORANGE,
    "arena": BLUE, "weights": GREY, "state": ORANGE, "code": PURPLE,
}  # fmt: skip
NEAR = 2.0  # the end of a memory so many times the arena away is drawn into it
LABELLED_STEPS = 80  # with more layers, names would cover one another
UNNAMED = ("padded", "scratch")  # they carry the name of their layer, and would cover its output's
MAP_IN, WEIGHTS_IN, BAR_IN = 3.6, 0.9, 0.34  # heights of the panels


@dataclass(frozen=True)
class Block:
    """A tensor or scratch: its kind, a key of ``KINDS``, its bytes, and the first and last step that need it. [B]"""

    name: str
    kind: str
    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Store:
    """A memory of the device: its size, and what the network keeps in it, by kind. [B]"""

    name: str
    capacity_bytes: float
    parts: tuple[tuple[str, float], ...]

    @property
    def used_bytes(self) -> float:
        """All that is kept. [B]"""
        return sum(nbytes for _, nbytes in self.parts)


@dataclass(frozen=True)
class MemoryMap:
    """A network's memory on a device.

    Parameters
    ----------
    steps
        Names of the steps: the input, then each layer.
    weights_bytes
        Constants that each step reads. [B]
    peak_bytes, peak_step
        Size of the arena, and the step that needs the most of it. [B]
    stores
        The memories used.
    """

    title: str
    steps: tuple[str, ...]
    blocks: tuple[Block, ...]
    weights_bytes: tuple[int, ...]
    peak_bytes: int
    peak_step: int
    stores: tuple[Store, ...]


def svg(drawn: MemoryMap) -> str:
    """Return the picture as a file of its own, dark on white."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    look = 'style="color:#1b1b1c;--line:#d3d3d4;background:#fff" '
    return plot(drawn, titled=True).svg.replace("<svg ", head + look, 1).replace(' aria-hidden="true"', "") + "\n"


def html(drawn: MemoryMap) -> str:
    """Return the picture on a self-contained page, with the largest tensors as a table."""
    rows = sorted(drawn.blocks, key=lambda block: (-block.nbytes, block.first))[:20]
    table = [(b.name, b.kind, size(b.nbytes), size(b.offset), drawn.steps[b.first], drawn.steps[b.last]) for b in rows]
    page = template("memory.html.j2").render(plot=plot(drawn), rows=table, style=source("report.css"))
    return f"{page.rstrip()}\n"


def plot(drawn: MemoryMap, *, titled: bool = False) -> Plot:
    """Draw the arena over the layers, the weights that each reads, and how full the memories are.

    Parameters
    ----------
    titled
        Whether the title stands in the picture too.
    """
    with drawing("memory"):
        figure, (arena, weights, *stores) = _panels(drawn)
        _arena(arena, drawn)
        arena.set_title(drawn.title if titled else "arena")
        _weights(weights, drawn)
        for axis, store in zip(stores, drawn.stores, strict=True):
            _store(axis, store)
        text = svg_text(figure)
    peak = f"{size(drawn.peak_bytes)} at {drawn.steps[drawn.peak_step]}"
    full = [f"{store.name}: {size(store.used_bytes)} of {size(store.capacity_bytes)}" for store in drawn.stores]
    caption = (
        "Each rectangle is a tensor: its bytes in the arena upwards, the layers that need it from left to right. "
        "Where two overlap, one is written over the other while that is still read. "
        f"The arena is {peak}."
    )
    return Plot(drawn.title, caption, f"Arena of {peak}. {'; '.join(full)}.", text)


def _panels(drawn: MemoryMap) -> tuple[Figure, list[Axes]]:
    """Make the axes: arena, weights below it with the same layers, then a bar per memory."""
    from matplotlib.figure import Figure

    names_in = label_room_in(drawn.steps, 6.5) if len(drawn.steps) <= LABELLED_STEPS else 0.45
    bars = len(drawn.stores)
    height_in = 0.55 + MAP_IN + 0.35 + WEIGHTS_IN + names_in + bars * (BAR_IN + 0.42) + 0.15
    figure = Figure(figsize=(WIDTH_IN, height_in))
    left, width = 0.9 / WIDTH_IN, (WIDTH_IN - 1.2) / WIDTH_IN
    top = height_in - 0.55
    places = [(top - MAP_IN, MAP_IN), (top - MAP_IN - 0.35 - WEIGHTS_IN, WEIGHTS_IN)]
    below = places[1][0] - names_in
    places += [(below - (index + 1) * (BAR_IN + 0.42) + 0.1, BAR_IN) for index in range(bars)]
    axes = [figure.add_axes((left, low / height_in, width, high / height_in)) for low, high in places]
    return figure, axes


def _arena(axis: Axes, drawn: MemoryMap) -> None:
    """Draw a rectangle per tensor, the peak and, where it is near, the end of the memory."""
    from matplotlib.patches import Patch, Rectangle

    axis.axvspan(drawn.peak_step - 0.5, drawn.peak_step + 0.5, color=VERMILION, alpha=0.12, linewidth=0)
    for block in drawn.blocks:
        corner = (block.first - 0.5, block.offset)
        width = block.last - block.first + 1
        color = KINDS[block.kind]
        axis.add_patch(Rectangle(corner, width, block.nbytes, facecolor=color, edgecolor=color, alpha=0.55))
        if block.kind not in UNNAMED:
            _name(axis, block, len(drawn.steps), drawn.peak_bytes)
    axis.axhline(drawn.peak_bytes, color=VERMILION, linewidth=1.2, linestyle="--")
    where = f"peak {size(drawn.peak_bytes)} at {drawn.steps[drawn.peak_step]}"
    axis.text(
        0.995, drawn.peak_bytes, where, transform=axis.get_yaxis_transform(), ha="right", va="bottom", color=VERMILION
    )
    room = drawn.stores[0]
    limit = drawn.peak_bytes * 1.12
    if room.capacity_bytes <= NEAR * drawn.peak_bytes:
        axis.axhline(room.capacity_bytes, color=VERMILION, linewidth=1.8)
        axis.text(0.005, room.capacity_bytes, f"end of {room.name}, {size(room.capacity_bytes)}", va="bottom",
                  transform=axis.get_yaxis_transform(), color=VERMILION)  # fmt: skip
        limit = max(limit, room.capacity_bytes * 1.12)
    axis.set(xlim=(-0.5, len(drawn.steps) - 0.5), ylim=(0, limit), ylabel="offset")
    _byte_axis(axis)
    axis.tick_params(labelbottom=False)
    axis.grid(visible=False, axis="x")
    present = [kind for kind in KINDS if any(block.kind == kind for block in drawn.blocks)]
    axis.legend(
        [Patch(color=KINDS[kind], alpha=0.55) for kind in present], present, loc="lower right",
        bbox_to_anchor=(1.0, 1.0), ncols=len(present), handlelength=1.0, columnspacing=1.2, borderaxespad=0.3,
    )  # fmt: skip


def _name(axis: Axes, block: Block, steps: int, peak_bytes: int) -> None:
    """Write a tensor's name into its rectangle, along its longer side, if there is room."""
    width_in = (block.last - block.first + 1) / steps * (WIDTH_IN - 1.2)
    height_in = block.nbytes / peak_bytes * MAP_IN / 1.12
    length_in, thick_in = 6.5 * 0.62 / 72 * len(block.name) + 0.06, 0.1
    middle = ((block.first + block.last) / 2, block.offset + block.nbytes / 2)
    if width_in >= length_in and height_in >= thick_in:
        axis.text(*middle, block.name, ha="center", va="center", fontsize=6.5)
    elif height_in >= length_in and width_in >= thick_in:
        axis.text(*middle, block.name, ha="center", va="center", fontsize=6.5, rotation=90)


def _weights(axis: Axes, drawn: MemoryMap) -> None:
    """Draw the bytes of constants that each layer reads."""
    axis.bar(range(len(drawn.steps)), drawn.weights_bytes, width=0.8, color=KINDS["weights"])
    axis.set(xlim=(-0.5, len(drawn.steps) - 0.5), ylabel="weights")
    axis.locator_params(axis="y", nbins=3)
    _byte_axis(axis)
    axis.grid(visible=False, axis="x")
    if len(drawn.steps) <= LABELLED_STEPS:
        axis.set_xticks(range(len(drawn.steps)), drawn.steps, rotation=90, fontsize=6.5)
    else:
        axis.set_xlabel("layer")


def _store(axis: Axes, store: Store) -> None:
    """Draw what a memory keeps, out of what it has."""
    start = 0.0
    for kind, nbytes in store.parts:
        axis.barh([0], [nbytes], left=[start], color=KINDS[kind], alpha=0.8 if kind != "arena" else 0.55)
        start += nbytes
    over = store.used_bytes > store.capacity_bytes
    axis.axvline(store.capacity_bytes, color=VERMILION, linewidth=1.8)
    share = percent(store.used_bytes / store.capacity_bytes)
    kept = ", ".join(f"{kind} {size(nbytes)}" for kind, nbytes in store.parts if nbytes)
    verdict = "does not fit: " if over else ""
    axis.set_title(f"{store.name}: {verdict}{kept} = {share} of {size(store.capacity_bytes)}", fontsize=8.5)
    axis.set(xlim=(0, 1.02 * max(store.capacity_bytes, store.used_bytes)), yticks=[], ylim=(-0.4, 0.4))
    axis.tick_params(labelbottom=False)
    axis.grid(visible=False)
    axis.spines["left"].set_visible(False)


def _byte_axis(axis: Axes) -> None:
    """Label bytes in binary units, at round numbers of them."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    high = axis.get_ylim()[1]
    step = 1
    while high / step > 5:
        step *= 2
    axis.yaxis.set_major_locator(MultipleLocator(step))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _round_size(value)))


def _round_size(value: float) -> str:
    """Text of a round number of bytes: "16 KiB", not "16.0 KiB"."""
    number, unit = size(value).split()
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"
