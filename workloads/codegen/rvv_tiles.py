"""How RVV computes a product: register group, pixels of a tile, unrolling, fused requantisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen import rvv_base as base
from workloads.codegen.common import split
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.geometry import Convolution
    from workloads.isa import InstructionSet

MOST_STEPS = 8  # per iteration: the first widening of an iteration has nothing to hide behind
GROUPS = (1, 2, 4, 8)
_NEAR = 1.03  # times the best one's cycles
_TILE_CYCLES, _RESULT_CYCLES = 20, 7  # of a tile's latencies, and of one register of results; they rank tiles only


@dataclass(frozen=True)
class Tile:
    """Accumulators of ``pixels`` pixels, each a group of ``group`` registers with ``lanes`` output channels."""

    group: int
    pixels: int
    lanes: int


@dataclass(frozen=True)
class Registers:
    """First registers of two groups of 16-bit weights, of the groups of 8-bit ones, and of a group for the scale."""

    wide: tuple[int, ...]
    narrow: tuple[int, ...]
    held: int


REGISTERS = {
    1: Registers((28, 29), (30, 31), 28),
    2: Registers((28, 29), (30, 31), 28),
    4: Registers((24, 26), (28, 29, 30, 31), 28),
    8: Registers((16, 20), (24, 26, 28, 30), 24),
}  # by the registers of an accumulator; the accumulators begin at v0


@dataclass(frozen=True)
class Plan:
    """The options of one product, filled in."""

    tile: Tile
    unroll: int
    fuse: bool

    @property
    def options(self) -> Options:
        """The same as options."""
        tile = self.tile
        return Options(tile.pixels, tile.lanes, self.unroll, lmul=tile.group, fuse=self.fuse)


def runs_of(conv: Convolution) -> tuple[int, int]:
    """Return (taps, elements): the neighbouring input bytes per kernel row, in one run where taps are neighbours."""
    if conv.groups == 1 and (conv.dilation[1] == 1 or conv.kernel[1] == 1):
        return 1, conv.kernel[1] * conv.channels
    return conv.kernel[1], conv.channels // conv.groups


def plan_of(conv: Convolution, isa: InstructionSet, options: Options = DEFAULT) -> Plan:
    """Return the plan that options describe, or the generator's own."""
    if options == DEFAULT:
        return plans(conv, isa)[0]
    return next(plan for plan in plans(conv, isa) if plan.options == options)


def choices(conv: Convolution, isa: InstructionSet) -> tuple[Options, ...]:
    """Return what is offered for a product, the generator's own choice first."""
    return tuple(plan.options for plan in plans(conv, isa))


def plans(conv: Convolution, isa: InstructionSet) -> tuple[Plan, ...]:
    """Return the best tile of each group, and the best of all otherwise unrolled and not fused.

    The first is that of the largest group near the best: it has fewer instructions. Larger groups that would only
    hold more idle lanes are not offered.
    """
    tiles = [best_tile(conv, isa, group) for group in GROUPS]
    cycles = {tile: _cycles(tile, conv, isa) for tile in tiles}
    best = max((tile for tile in tiles if cycles[tile] <= _NEAR * min(cycles.values())), key=lambda tile: tile.group)
    own = Plan(best, _unroll(runs_of(conv)[1]), fuse=True)
    others = [
        Plan(tile, own.unroll, fuse=True)
        for tile in sorted(tiles, key=lambda tile: cycles[tile])
        if tile.group < best.group or (tile.group > best.group and best.lanes < conv.channels_out // conv.groups)
    ]
    unrolled = [Plan(own.tile, steps, fuse=True) for steps in (1, MOST_STEPS // 2) if steps < own.unroll]
    return (own, *others, *unrolled, Plan(own.tile, own.unroll, fuse=False))


def best_tile(conv: Convolution, isa: InstructionSet, group: int) -> Tile:
    """Return the tile of a register group with the fewest cycles; with as many, the one with the most pixels."""
    most = min(REGISTERS[group].wide) // group
    lanes = base.lanes(isa, group)
    tiles = [Tile(group, pixels, lanes) for pixels in range(min(most, conv.width_out), 0, -1)]
    return min(tiles, key=lambda tile: _cycles(tile, conv, isa))


def _cycles(tile: Tile, conv: Convolution, isa: InstructionSet) -> float:
    """Estimate an output row on two half-width units, one of which widens: the X60's and the C908's way.

    A multiply-add takes two cycles per register of a unit, widening one; two instructions issue per cycle.
    """
    depth = math.prod(conv.kernel) * (conv.channels // conv.groups)
    total = 0.0
    for _, count, blocks in split(conv.channels_out // conv.groups, tile.lanes):
        registers = max(0.5, 2.0 ** math.ceil(math.log2(count / base.lanes(isa, 1))))
        for _, pixels, times in split(conv.width_out, tile.pixels):
            step = max(registers * (pixels + 0.5), pixels + 1)
            total += blocks * times * (depth * step + _RESULT_CYCLES * registers * (pixels + 1) + _TILE_CYCLES)
    return total


def _unroll(elements: int) -> int:
    """Choose the steps of an iteration: all of a short run, else a number that leaves no remainder if one does."""
    if elements <= MOST_STEPS:
        return elements
    return next((steps for steps in range(MOST_STEPS, 3, -1) if elements % steps == 0), MOST_STEPS)
