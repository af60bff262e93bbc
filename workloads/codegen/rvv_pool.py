"""Pooling on RVV: maxima of bytes; 32-bit sums, divided half away from zero as TFLite does, or requantised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multiplier
from workloads.codegen import rvv_base as base
from workloads.codegen import rvv_window as window
from workloads.codegen.common import needs_padding
from workloads.codegen.regions import constants
from workloads.program import Address, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.specs import PoolSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

_DIVISOR_BYTES = 12  # per window: half of its positions, the reciprocal of their number, its shift
_ZERO, _START, _HALF, _RECIPROCAL, _SHIFT = "x5", "x6", "x7", "x8", "x9"


def _counts(spec: PoolSpec) -> list[int]:
    """Return how many positions each window counts, row by row; one number where all are equal."""
    if spec.count_padding or not needs_padding(spec):
        return [math.prod(spec.kernel)]
    inside = []
    for axis, extent, windows in ((0, spec.height, spec.height_out), (1, spec.width, spec.width_out)):
        first = np.arange(windows) * spec.stride[axis] - spec.padding[axis]
        inside.append(np.clip(first + spec.kernel[axis], 0, extent) - np.clip(first, 0, extent))
    return [int(count) for count in np.outer(*inside).ravel()]


def reciprocal(divisor: int) -> tuple[int, int, int]:
    """Return (half, reciprocal, shift): (n + half) * reciprocal >> 32 >> shift is n / divisor rounded half up.

    Exact for 0 <= n <= 128 * divisor and divisor below 2**24: the reciprocal is too large by less than
    divisor / 2**(32 + shift), which is too little to reach the next integer. Dividing by one adds 1 first instead.

    References
    ----------
    .. [1] T. Granlund, P. Montgomery, "Division by Invariant Integers using Multiplication", PLDI 1994.
    """
    if divisor <= 1:
        return 1, 2**32 - 1, 0
    shift = (divisor - 1).bit_length() - 1
    return divisor // 2, -(-(2 ** (32 + shift)) // divisor), shift


def table_of(spec: PoolSpec) -> Constants:
    """Place what the kind of pooling needs."""
    regions = {**base.BOUND_REGIONS, **base.SCALE_REGIONS, "input_zero_point": 4, "start": 4}
    if spec.kind != "max" and not spec.mean:
        regions["divisors"] = _DIVISOR_BYTES * len(_counts(spec))
    return constants(regions)


def generate(spec: PoolSpec, isa: InstructionSet) -> Program:
    """Return the Program of a pooling layer."""
    table = table_of(spec)
    image, padding, scratch = base.padded_image(isa, spec, table)
    scaled = spec.rescale or spec.mean
    head: Body = (base.ROUND_HALF_UP, *base.load_bounds(table, offset=scaled))
    if scaled:
        head += base.load_scale(table)
    if spec.rescale and not spec.mean:
        head += base.load_scalars(table, ("input_zero_point", _ZERO))
    head += base.load_scalars(table, ("start", _START))

    def tile(_: int, count: int, first: int, inputs: list[Address], outputs: list[Address]) -> Body:
        if spec.kind == "max":
            return _maximum(spec, isa, count, inputs, outputs)
        return _average(spec, isa, table, count, first, inputs, outputs)

    bytes_only = spec.kind == "max" and not spec.rescale
    lanes = base.lanes(isa, 4, 8) if bytes_only else base.lanes(isa)
    body = (*head, *padding, *window.sweep(isa, spec, lanes, image, tile))
    buffers = window.buffers_of(spec, table, scratch)
    return Program(f"{spec.kind}_pool2d", isa, buffers, body, 0, base.PROFILE)


def _maximum(spec: PoolSpec, isa: InstructionSet, count: int, inputs: list[Address], outputs: list[Address]) -> Body:
    """Return one tile of maxima, which start at the lowest byte."""
    maxima = window.accumulators(len(inputs))
    held = [base.vector(16 + 4 * pixel) for pixel in range(len(inputs))]
    tap: Body = tuple(Instruction("vle8.v", value, (at,), count) for value, at in zip(held, inputs, strict=True))
    tap += tuple(
        Instruction("vmax.vv.e8", total, (total, value), count) for total, value in zip(maxima, held, strict=True)
    )
    body: Body = (base.SET_VL, *(Instruction("vmv.v.x.e8", total, (_START,), count) for total in maxima))
    body += window.taps(isa, spec.kernel, tap)
    if not spec.rescale:
        return body + base.bound(maxima, outputs, count)
    body += (base.SET_VL,)
    body += tuple(Instruction("vsext.vf4.e32", wide, (total,), count) for wide, total in zip(held, maxima, strict=True))
    return body + _rescaled(held, outputs, count)


def _rescaled(sums: list[str], outputs: list[Address], count: int) -> Body:
    """Requantise pooled values and store them."""
    body: Body = tuple(Instruction("vsub.vx.e32", total, (total, _ZERO), count) for total in sums)
    return body + base.requantize_all(sums, count) + base.finish(sums, outputs, count)


def _average(
    spec: PoolSpec, isa: InstructionSet, table: Constants, count: int, first: int, inputs: list[Address],
    outputs: list[Address],
) -> Body:  # fmt: skip
    """Return one tile of sums, divided by the number of positions or, for a mean, requantised."""
    sums = window.accumulators(len(inputs))
    body: Body = (base.SET_VL, *(Instruction("vmv.v.x.e32", total, (_START,), count) for total in sums))
    tap = window.load_bytes(inputs, count) + window.widen(len(inputs), count)
    tap += tuple(
        Instruction("vwadd.wv.e16", total, (total, window.wide(pixel)), count) for pixel, total in enumerate(sums)
    )
    body += (base.SET_VL, *window.taps(isa, spec.kernel, tap), base.SET_VL)
    if spec.mean:
        return body + base.requantize_all(sums, count) + base.finish(sums, outputs, count)
    at = table.address("divisors")
    if len(_counts(spec)) > 1:
        at = at.plus(_DIVISOR_BYTES * first, row=_DIVISOR_BYTES * spec.width_out, tile=_DIVISOR_BYTES * len(inputs))
    for pixel, total in enumerate(sums):
        here = at.plus(_DIVISOR_BYTES * pixel) if len(_counts(spec)) > 1 else at
        words = zip((_HALF, _RECIPROCAL, _SHIFT), (0, 4, 8), strict=True)
        body += tuple(Instruction("lw", register, (here.plus(offset),)) for register, offset in words)
        body += _divide(total, base.vector(16), count)
    return body + (_rescaled(sums, outputs, count) if spec.rescale else base.finish(sums, outputs, count, offset=False))


def _divide(total: str, sign: str, count: int) -> Body:
    """Divide by the number of positions, half away from zero: the magnitude, times the reciprocal, signed again."""
    return (
        Instruction("vsra.vi.e32", sign, (total, 31), count),
        Instruction("vxor.vv.e32", total, (total, sign), count),
        Instruction("vsub.vv.e32", total, (total, sign), count),
        Instruction("vadd.vx.e32", total, (total, _HALF), count),
        Instruction("vmulhu.vx.e32", total, (total, _RECIPROCAL), count),
        Instruction("vsrl.vx.e32", total, (total, _SHIFT), count),
        Instruction("vxor.vv.e32", total, (total, sign), count),
        Instruction("vsub.vv.e32", total, (total, sign), count),
    )


def pack(spec: PoolSpec, operands: Operands) -> dict[str, Array]:
    """Return the parameters of a pooling layer."""
    zero_point = operands.input_zero_points[0]
    outside = zero_point if spec.count_padding or spec.mean else -128 if spec.kind == "max" else 0
    values = base.bound_values(operands, outside)
    values["input_zero_point"] = np.array([zero_point], np.int32)
    if spec.mean:
        values |= _mean_scale(operands, math.prod(spec.kernel))
        values["start"] = np.array([-zero_point * math.prod(spec.kernel)], np.int32)
        return {"parameters": table_of(spec).pack(values)}
    values |= base.scale_value(float(effective_scales(operands, base.PROFILE)[0]))
    values["start"] = np.array([-128 if spec.kind == "max" else 0], np.int32)
    if spec.kind != "max":
        values["divisors"] = np.array([reciprocal(count) for count in _counts(spec)], np.uint32)
    return {"parameters": table_of(spec).pack(values)}


def _mean_scale(operands: Operands, area: int) -> dict[str, Array]:
    """Fold the division of a mean into the multiplier, as TFLite's reference kernel does."""
    multiplier, shift = quantize_multiplier(operands.input_scales[0] / operands.output_scale)
    reduction = min(area.bit_length() - 1, 32, 31 + shift)
    folded = np.array([(multiplier << reduction) // area], np.int32)
    return base.scale_values(folded, np.array([shift - reduction], np.int32))
