"""How x86 vectors compute a product: register tile, depth of the sums, gathered windows, fused requantisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen import x86
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.x86 import Dialect

_TILES = 2  # offered, best ranked first
_NEAR = 1.05  # times the best one's cycles
_SHORT = 6  # steps that are all written out


@dataclass(frozen=True)
class Tile:
    """Output pixels and vectors of output channels kept in registers."""

    pixels: int
    vectors: int


@dataclass(frozen=True)
class Depth:
    """How the sum over a window is cut: ``rows * taps`` runs of ``steps`` multiply-adds each."""

    elements: int
    taps: int
    steps: int
    rows: int = 1

    @property
    def unroll(self) -> int:
        """Steps per iteration: all of a short run, else a number that leaves no remainder where one exists."""
        if self.steps <= _SHORT:
            return self.steps
        return next((number for number in (4, 6, 5, 3) if self.steps % number == 0), 4)


@dataclass(frozen=True)
class Plan:
    """The options of one product, filled in; ``gather`` copies the windows of an output row side by side first."""

    tile: Tile
    depth: Depth
    unroll: int
    gather: bool
    fuse: bool


def depth_of(conv: Convolution, dialect: Dialect, *, gather: bool = False) -> Depth:
    """Join the taps of a kernel row when they are neighbours in memory, and all taps when they are gathered."""
    rows = conv.kernel[0]
    joined = conv.groups == 1 and (conv.dilation[1] == 1 or conv.kernel[1] == 1)
    elements = conv.kernel[1] * conv.channels if joined else conv.channels // conv.groups
    taps = 1 if joined else conv.kernel[1]
    if gather:
        elements, taps, rows = elements * taps * rows, 1, 1
    return Depth(elements, taps, math.ceil(elements / dialect.step), rows)


def vectors_of(conv: Convolution, dialect: Dialect) -> int:
    """Vectors of output channels per group."""
    return math.ceil(conv.channels_out // conv.groups / dialect.lanes)


def choose_tile(conv: Convolution, dialect: Dialect) -> Tile:
    """Return the tile whose full and partial tiles take the fewest cycles per step, then the fewest loads."""
    return ranked_tiles(conv, dialect)[0]


def ranked_tiles(conv: Convolution, dialect: Dialect) -> list[Tile]:
    """Return the tiles near the best: those with the fewest cycles per step, then the fewest loads, first.

    Raises
    ------
    ValueError
        None fits.
    """
    vectors = vectors_of(conv, dialect)
    found: list[tuple[float, int, Tile]] = []
    for width in range(1, vectors + 1):
        room = (dialect.registers - x86.TEMPORARIES - width) // width
        for pixels in range(1, min(room, conv.width_out) + 1):
            cycles, loads = 0.0, 0
            for p, columns in ((pixels, conv.width_out // pixels), (conv.width_out % pixels, 1)):
                for v, blocks in ((width, vectors // width), (vectors % width, 1)):
                    if p and v:
                        cycles += columns * blocks * _step_cycles(p, v, dialect)
                        loads += columns * blocks * (p + v)
            found.append((cycles, loads, Tile(pixels, width)))
    if not found:
        raise ValueError(f"no tile fits {conv}")
    found.sort(key=lambda item: item[:2])
    return [tile for cycles, _, tile in found if cycles <= _NEAR * found[0][0]]


def _step_cycles(pixels: int, vectors: int, dialect: Dialect) -> float:
    """Cycles of one step: bound by the multiply-adds, by two loads a cycle, or by the chain of one accumulator."""
    return max(pixels * vectors * dialect.multiply_cycles, (pixels + vectors) / 2, dialect.latency)


def choices(conv: Convolution, dialect: Dialect) -> tuple[Options, ...]:
    """Return the options offered for a product, the set's own choice first.

    They are few, so that a search stays quick: the best ranked tiles, another unrolling, gathered windows where
    windows have several taps, and the requantisation as a pass of its own.
    """
    tiles, depth = ranked_tiles(conv, dialect)[:_TILES], depth_of(conv, dialect)
    found = [_options(tile, depth.unroll, dialect) for tile in tiles]
    if depth.steps > 1:
        found.append(_options(tiles[0], 2 if depth.unroll != 2 else 1, dialect))
    if conv.groups == 1 and conv.kernel != (1, 1):
        gathered = depth_of(conv, dialect, gather=True)
        found.append(_options(tiles[0], gathered.unroll, dialect, lowering="im2col"))
    return *found, _options(tiles[0], depth.unroll, dialect, fuse=False)


def _options(tile: Tile, unroll: int, dialect: Dialect, lowering: str = "direct", *, fuse: bool = True) -> Options:
    """Write a tile as options."""
    return Options(tile.pixels, tile.vectors * dialect.lanes, unroll, lowering, fuse=fuse)


def plan_of(conv: Convolution, dialect: Dialect, options: Options) -> Plan:
    """Fill the options in."""
    if options == DEFAULT:
        options = choices(conv, dialect)[0]
    gather = options.lowering == "im2col"
    depth = depth_of(conv, dialect, gather=gather)
    tile = Tile(options.rows or 1, (options.columns or dialect.lanes) // dialect.lanes)
    return Plan(tile, depth, options.unroll or depth.unroll, gather, options.fuse is not False)
