"""How a set computes a float32 product: its register tile, unrolling and lowering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen.float_winograd_transforms import TRANSFORMS, band_of
from workloads.options import Options

if TYPE_CHECKING:
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.geometry import Convolution

_TILES = 2  # offered, best ranked first
_NEAR = 1.02  # times the best one's cycles
_SHORT = 6  # steps that are all written out
_SPARE = 6  # registers of a transform beside its inputs
_COPIES = 2  # of the registers for weights, so that the next step's are loaded during this one


@dataclass(frozen=True)
class Tile:
    """Output pixels and vectors of output channels kept in registers."""

    pixels: int
    vectors: int

    @property
    def sums(self) -> int:
        """Accumulators."""
        return self.pixels * self.vectors


@dataclass(frozen=True)
class Registers:
    """The registers of a tile: accumulators by pixel and vector, weights by copy and vector, factors in turn."""

    sums: tuple[tuple[str, ...], ...]
    weights: tuple[tuple[str, ...], ...]
    factors: tuple[str, ...]


def _in_memory(kit: FloatSet, pixels: int, channels: int) -> bool:
    """Whether weights are read where they lie: a single pixel uses each just once, and all vectors are full."""
    return kit.memory_operands and pixels == 1 and channels % kit.lanes == 0


def registers_of(kit: FloatSet, channels: int, pixels: int, vectors: int) -> Registers:
    """Assign a tile's registers in a product with so many ``channels``; factors get what sums and weights leave."""
    names = iter(kit.vectors)
    sums = tuple(tuple(next(names) for _ in range(vectors)) for _ in range(pixels))
    rest = list(names)
    copies = min(_COPIES, (len(rest) - (not kit.factors)) // vectors)
    if _in_memory(kit, pixels, channels):
        copies = 0
    weights = tuple(tuple(rest[copy * vectors : (copy + 1) * vectors]) for copy in range(copies))
    return Registers(sums, weights, kit.factors or tuple(rest[copies * vectors :]))


def ranked_tiles(kit: FloatSet, width: int, channels: int) -> list[Tile]:
    """Return the tiles near the best for rows of ``width`` pixels: the fewest cycles a step, then the fewest loads."""
    vectors = len(kit.cut(channels))
    found = []
    for across in range(1, vectors + 1):
        for pixels in range(1, width + 1):
            tile, own = Tile(pixels, across), 0 if _in_memory(kit, pixels, channels) else across
            if tile.sums + own + (not kit.factors) > len(kit.vectors):
                break
            cycles, loads = 0.0, 0
            for p, columns in ((pixels, width // pixels), (width % pixels, 1)):
                for v, blocks in ((across, vectors // across), (vectors % across, 1)):
                    if p and v:
                        cycles += columns * blocks * _step_cycles(kit, p, v)
                        loads += columns * blocks * (p + v)
            found.append((cycles, loads, tile))
    found.sort(key=lambda item: item[:2])
    return [tile for cycles, _, tile in found if cycles <= _NEAR * found[0][0]]


def _step_cycles(kit: FloatSet, pixels: int, vectors: int) -> float:
    """Cycles of one step: bound by multiply-adds, by loads, or by the chain of one accumulator."""
    rates = kit.rates
    loads = pixels * rates.splat + vectors * rates.load
    products = pixels * vectors * rates.multiply_add
    return max(products if rates.overlap else products + loads, loads, rates.latency)


def unroll_of(steps: int) -> int:
    """Return the steps per iteration: all of a short run, else a number that leaves no remainder where one exists."""
    if steps <= _SHORT:
        return steps
    return next((number for number in (4, 6, 5, 3) if steps % number == 0), 4)


def run_of(conv: Convolution) -> tuple[int, int]:
    """Return (taps, floats of a run) of a kernel row: its taps are one run when they are neighbors in memory."""
    joined = conv.groups == 1 and (conv.dilation[1] == 1 or conv.kernel[1] == 1)
    return (1, conv.kernel[1] * conv.channels) if joined else (conv.kernel[1], conv.channels // conv.groups)


def choices(conv: Convolution, kit: FloatSet) -> tuple[Options, ...]:
    """Return the options offered for a product, the set's own choice first.

    They are few, so that a search stays quick: the best ranked tiles, another unrolling, and Winograd's algorithm for
    3x3 kernels whose channels fill whole vectors, or any number of lanes.
    """
    per_group, run = conv.channels_out // conv.groups, run_of(conv)[1]
    tiles = ranked_tiles(kit, conv.width_out, per_group)[:_TILES]
    found = [_options(kit, tile, unroll_of(run), "direct") for tile in tiles]
    if run > 1:
        found.append(_options(kit, tiles[0], 2 if unroll_of(run) != 2 else 1, "direct"))
    if (conv.kernel, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1) and (
        not kit.widths or conv.channels % kit.lanes == 0
    ):
        for name, transform in TRANSFORMS.items():
            if len(kit.vectors) < transform.points + _SPARE:
                continue
            across = -(-conv.width_out // transform.outputs)
            rows = band_of(conv.height_out, conv.width_out, transform)
            tile = ranked_tiles(kit, rows * across, per_group)[0]
            found.append(_options(kit, tile, unroll_of(conv.channels), name))
    return tuple(dict.fromkeys(found))


def _options(kit: FloatSet, tile: Tile, unroll: int, lowering: str) -> Options:
    """Write a tile as options."""
    return Options(tile.pixels, tile.vectors * kit.lanes, unroll, lowering, lmul=kit.lmul)


def tile_of(kit: FloatSet, options: Options) -> Tile:
    """Read a tile from options."""
    return Tile(options.rows or 1, (options.columns or kit.lanes) // kit.lanes)
