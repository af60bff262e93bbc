"""Requantisation as a pass of its own on the davinci vector unit: 32-bit sums from global memory become bytes.

Single precision, a factor per channel, the same bits as fixpipe: its scale has so few digits that every product is
rounded once, and what follows the rounding are small integers, exact in half precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop
from workloads.codegen.davinci_epilogue import WORKSPACE
from workloads.codegen.davinci_plan import has_fixpipe
from workloads.codegen.davinci_tiles import half, move, split
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Operand, Statement
    from workloads.tensor import Array

Body = tuple["Statement", ...]
SUMS, FACTORS, SINGLE, HALF, OUT = "ub_sums", "ub_factors", "ub_single", "ub_half", "ub_bytes"
LANE_BYTES = {"ub:sums": 4, "ub:factors": 4, "ub:single": 4, "ub:half": 2, "ub:bytes": 1}
ZERO, LOW, HIGH = "x1", "x2", "x3"
SCALARS_AT = 8  # bytes into the parameters: zero point, lowest and highest result in half precision
LOWEST, HIGHEST = -256.0, 255.0  # of the nine bits before the zero point is added
STEP = 64  # single-precision lanes of one repeat


def _tile(pixels: int, channels: int, isa: InstructionSet) -> tuple[int, int]:
    """Return the pixels and channels of a tile; without fixpipe the buffer also holds sums on their way out."""
    lanes = half(isa, "ub") // (1 if has_fixpipe(isa) else 4) // sum(LANE_BYTES.values())
    if channels > lanes:
        return 1, max(1, lanes // STEP * STEP)
    return min(pixels, lanes // channels), channels


def spaces(pixels: int, channels: int, isa: InstructionSet) -> dict[str, int]:
    """Bytes used on chip, by ``space:purpose``."""
    rows, columns = _tile(pixels, channels, isa)
    return {key: rows * columns * size for key, size in LANE_BYTES.items()}


def generate(pixels: int, channels: int, factors_at: int, isa: InstructionSet) -> Body:
    """Requantise (pixels, channels) of sums; the factors start at a byte of the parameters."""
    rows, columns = _tile(pixels, channels, isa)
    body: list[Statement] = [
        Instruction("s_load_f16", register, (Address("parameters", SCALARS_AT + 2 * place),))
        for place, register in enumerate((ZERO, LOW, HIGH))
    ]
    for chunk in split(channels, columns):
        source = Address("parameters", factors_at + 4 * chunk.start).plus(chunk=4 * chunk.size)
        inner: list[Statement] = [
            move("mte2_ub", Address(FACTORS), source, (rows, 4 * chunk.size), (0, 4 * chunk.size))
        ]
        for part in split(pixels, rows):
            at = part.start * channels + chunk.start
            steps = {"chunk": chunk.size, "tile": part.size * channels}
            wide = Address(WORKSPACE, 4 * at).plus(0, **{key: 4 * step for key, step in steps.items()})
            tile = (
                move("mte2_ub", Address(SUMS), wide, (part.size, 4 * chunk.size), (4 * channels, 4 * chunk.size)),
                *_compute(part.size * chunk.size),
                move("mte3", Address("output", at).plus(0, **steps), Address(OUT), (part.size, chunk.size),
                     (chunk.size, channels)),
            )  # fmt: skip
            inner += loop(isa, "tile", part.trips, tile)
        body += loop(isa, "chunk", chunk.trips, tuple(inner))
    return tuple(body)


def _compute(count: int) -> Body:
    """Scale, round, add the zero point and clamp ``count`` sums of the vector buffer."""
    steps: tuple[tuple[str, str, tuple[Operand, ...]], ...] = (
        ("vconv_s32_f32", SINGLE, (Address(SUMS),)),
        ("vmul_f32", SINGLE, (Address(SINGLE), Address(FACTORS))),
        ("vmaxs_f32", SINGLE, (Address(SINGLE), LOWEST)),
        ("vmins_f32", SINGLE, (Address(SINGLE), HIGHEST)),
        ("vconv_f32_s32", SINGLE, (Address(SINGLE),)),
        ("vconv_s32_f16", HALF, (Address(SINGLE),)),
        ("vadds_f16", HALF, (Address(HALF), ZERO)),
        ("vmaxs_f16", HALF, (Address(HALF), LOW)),
        ("vmins_f16", HALF, (Address(HALF), HIGH)),
        ("vconv_f16_s8", OUT, (Address(HALF),)),
    )
    return tuple(Instruction(op, Address(target), sources, count=count) for op, target, sources in steps)


def scalars(operands: Operands) -> Array:
    """Return the zero point and the bounds as bytes of half-precision numbers."""
    values = (operands.output_zero_point, operands.low, operands.high)
    return np.array(values, np.float16).view(np.uint8)


def factors(scales: Array) -> Array:
    """Return the scales, cut to the digits that fixpipe takes, as bytes of single-precision numbers."""
    from workloads.arithmetic import fp19

    return np.ascontiguousarray(fp19(scales.astype(np.float32)), np.float32).view(np.uint8)
