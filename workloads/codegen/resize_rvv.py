"""Bilinear resizing on RVV: weights in scalar registers, strips of 32-bit lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import resize
from workloads.codegen import rvv_base as base
from workloads.codegen.common import loop, split
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs_images import ResizeSpec
    from workloads.isa import InstructionSet
    from workloads.program import Program

_TOGETHER = 4  # pixels a trip, to hide latency where one takes a register at most
_SCALARS = [(f"x{5 + 2 * number}", f"x{6 + 2 * number}") for number in range(_TOGETHER)]  # weights in front, after
_SUMS = [(base.vector(8 * number), base.vector(8 * number + 4)) for number in range(_TOGETHER)]
_BYTES = (base.vector(16), base.vector(17))


def generate(spec: ResizeSpec, isa: InstructionSet) -> Program:
    """Return the Program of a bilinear resize."""
    lanes = base.lanes(isa)

    def down(at: Address, upper: Address, lower: Address) -> Body:
        body = _weights(at, 0)
        for first, size, trips in split(spec.width * spec.channels, lanes):
            rows = [row.plus(first, run=size) for row in (upper, lower)]
            target = Address("line", resize.WORD * first).plus(run=resize.WORD * size)
            strip = (
                base.SET_VL,
                *(Instruction("vle8.v", held, (at,), size) for held, at in zip(_BYTES, rows, strict=True)),
                *(Instruction("vsext.vf4.e32", a, (b,), size) for a, b in zip(_SUMS[0], _BYTES, strict=True)),
                *_mixed(1, size),
                Instruction("vse32.v", target, (_SUMS[0][0],), size),
            )
            body += loop(isa, "run", trips, strip)
        return body

    def across(pixels: Sequence[resize.Pixel]) -> Body:
        body = tuple(load for number, pixel in enumerate(pixels) for load in _weights(pixel.weights, number))
        for first, size, trips in split(spec.channels, lanes):
            body += loop(isa, "run", trips, _strip(pixels, first, size))
        return body

    together = _TOGETHER if spec.channels <= base.lanes(isa, 1) else 1
    kit = resize.Kit((base.ROUND_HALF_UP,), down, across, resize.words(spec).nbytes, together=together)
    return resize.generate(spec, isa, base.PROFILE, kit)


def _strip(pixels: Sequence[resize.Pixel], first: int, count: int) -> Body:
    """Compute some channels of each pixel; a sum less one below zero rounds half away from it."""
    held = _SUMS[: len(pixels)]
    loads: Body = ()
    for pixel, groups in zip(pixels, held, strict=True):
        for side, group in zip((pixel.left, pixel.right), groups, strict=True):
            at = side.plus(resize.WORD * first, run=resize.WORD * count)
            loads += (Instruction("vle32.v", group, (at,), count),)
    return (
        base.SET_VL,
        *loads,
        *_mixed(len(pixels), count),
        *(Instruction("vsra.vi.e32", sign, (total, 31), count) for total, sign in held),
        *(Instruction("vadd.vv.e32", total, (total, sign), count) for total, sign in held),
        base.SET_VL,
        *(Instruction("vnclip.wi.e16", total, (total, resize.SHIFT), count) for total, _ in held),
        base.SET_VL,
        *(Instruction("vnclip.wi.e8", total, (total, 0), count) for total, _ in held),
        *(
            Instruction("vse8.v", pixel.output.plus(first, run=count), (total,), count)
            for pixel, (total, _) in zip(pixels, held, strict=True)
        ),
    )


def _weights(at: Address, number: int) -> Body:
    """Load the weights of a row, or of one of several columns."""
    front, after = _SCALARS[number]
    return Instruction("lw", front, (at,)), Instruction("lw", after, (at.plus(resize.WORD),))


def _mixed(pixels: int, count: int) -> Body:
    """Leave the weighted sum of both groups of each pixel in the first."""
    held = list(zip(_SUMS[:pixels], _SCALARS, strict=False))
    return (
        *(Instruction("vmul.vx.e32", total, (total, front), count) for (total, _), (front, _) in held),
        *(Instruction("vmacc.vx.e32", total, (after, other), count) for (total, other), (_, after) in held),
    )
