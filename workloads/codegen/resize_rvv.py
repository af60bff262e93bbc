"""Bilinear resizing on RVV: weights in scalar registers, strips of 32-bit lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import resize
from workloads.codegen import rvv_base as base
from workloads.codegen.common import loop, split
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs_images import ResizeSpec
    from workloads.isa import InstructionSet
    from workloads.program import Program

_FRONT, _AFTER = "x5", "x6"
_BYTES = (base.vector(16), base.vector(17))
_SUMS = (base.vector(0), base.vector(4))  # the second also holds the sign


def generate(spec: ResizeSpec, isa: InstructionSet) -> Program:
    """Return the Program of a bilinear resize; a sum less one below zero rounds half away from it."""
    lanes = base.lanes(isa)

    def down(at: Address, upper: Address, lower: Address) -> Body:
        body = _weights(at)
        for first, size, trips in split(spec.width * spec.channels, lanes):
            rows = [row.plus(first, run=size) for row in (upper, lower)]
            target = Address("line", resize.WORD * first).plus(run=resize.WORD * size)
            strip = (
                base.SET_VL,
                *(Instruction("vle8.v", held, (at,), size) for held, at in zip(_BYTES, rows, strict=True)),
                *(Instruction("vsext.vf4.e32", a, (b,), size) for a, b in zip(_SUMS, _BYTES, strict=True)),
                *_mixed(size),
                Instruction("vse32.v", target, (_SUMS[0],), size),
            )
            body += loop(isa, "run", trips, strip)
        return body

    def across(at: Address, left: Address, right: Address, target: Address) -> Body:
        total, sign = _SUMS
        body = _weights(at)
        for first, size, trips in split(spec.channels, lanes):
            sides = [side.plus(resize.WORD * first, run=resize.WORD * size) for side in (left, right)]
            strip = (
                base.SET_VL,
                *(Instruction("vle32.v", held, (at,), size) for held, at in zip(_SUMS, sides, strict=True)),
                *_mixed(size),
                Instruction("vsra.vi.e32", sign, (total, 31), size),
                Instruction("vadd.vv.e32", total, (total, sign), size),
                base.SET_VL,
                Instruction("vnclip.wi.e16", total, (total, resize.SHIFT), size),
                base.SET_VL,
                Instruction("vnclip.wi.e8", total, (total, 0), size),
                Instruction("vse8.v", target.plus(first, run=size), (total,), size),
            )
            body += loop(isa, "run", trips, strip)
        return body

    kit = resize.Kit((base.ROUND_HALF_UP,), down, across, resize.words(spec).nbytes)
    return resize.generate(spec, isa, base.PROFILE, kit)


def _weights(at: Address) -> Body:
    """Load the weights of a row or column."""
    return Instruction("lw", _FRONT, (at,)), Instruction("lw", _AFTER, (at.plus(resize.WORD),))


def _mixed(count: int) -> Body:
    """Leave the weighted sum of both groups in the first."""
    return (
        Instruction("vmul.vx.e32", _SUMS[0], (_SUMS[0], _FRONT), count),
        Instruction("vmacc.vx.e32", _SUMS[0], (_AFTER, _SUMS[1]), count),
    )
