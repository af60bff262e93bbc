"""Options that the davinci cube offers for one layer: those that lead to different plans."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from workloads.codegen.davinci_plan import MOST_ROWS, Plan, as_convolution, blocks, make_plan
from workloads.options import Options

if TYPE_CHECKING:
    from workloads.codegen.specs import ConvSpec
    from workloads.isa import InstructionSet

ROWS, COLUMNS = (None, 4, 8), (None, 4)  # of a tile, in blocks of the cube; the own choice is the largest that fits


def choices(spec: ConvSpec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return every distinct combination of tile, lowering, epilogue and number of buffers, the default first."""
    found: dict[tuple[Plan, ...], Options] = {}
    for lowering, rows, columns in product((None, "direct"), (*ROWS, *_equal_rows(spec, isa)), COLUMNS):
        options = Options(rows=rows, columns=columns, lowering=lowering)
        found.setdefault(_plans(spec, isa, options), options)
    return tuple(
        Options(tile.rows, tile.columns, lowering=tile.lowering, buffers=buffers, fuse=fuse)
        for buffers, fuse, tile in product((None, 1), (None, False), found.values())
    )


def _equal_rows(spec: ConvSpec, isa: InstructionSet) -> tuple[int, ...]:
    """Return the rows of equal tiles in blocks of the cube, as few tiles as the largest, or half of them, would be."""
    step = isa.parameters["cube_m"]
    extent = -(-as_convolution(spec, isa).width_out // step)
    return tuple(-(-extent // -(-extent // most)) for most in (MOST_ROWS // step, MOST_ROWS // step // 2))


def _plans(spec: ConvSpec, isa: InstructionSet, options: Options) -> tuple[Plan, ...]:
    return tuple(make_plan(spec, block, isa, options) for block in blocks(spec, isa))
