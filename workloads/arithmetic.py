"""Requantisation profiles: how each runtime turns an int32 accumulator into an integer of the output type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.errors import did_you_mean
from workloads.profiles import FIXED_POINT, PROFILES, RequantProfile, check_profile, describe, narrow, profile_of
from workloads.requant_profile import SCALES

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.tensor import Array

__all__ = [
    "FIXED_POINT",
    "PROFILES",
    "RequantProfile",
    "check_profile",
    "describe",
    "effective_scales",
    "fp19",
    "narrow",
    "profile_of",
    "quantize_multiplier",
    "quantize_multipliers",
    "requantize",
    "requantize_fixed",
    "stages",
]

LOWEST_SHIFT = -31
HIGHEST_SHIFT = 30
LARGEST_INT64 = 2**47  # a wider accumulator times a multiplier of 15 bits leaves 63 bits
LARGEST_REAL = 2.0**62  # reals are held within this before they become int64
_FP19_MASK = np.uint32(0xFFFFE000)  # the low 13 mantissa bits of a float32 are cut
_FP19_HALF = np.uint32(0x1000)


def quantize_multiplier(scale: float) -> tuple[int, int]:
    """Write a real factor as (multiplier, shift): scale ~ multiplier * 2**(shift - 31), multiplier in [2**30, 2**31).

    A factor too small for a shift of -31 becomes (0, 0); one too large saturates at shift 30.

    Raises
    ------
    ValueError
        ``scale`` is negative or not finite.

    References
    ----------
    .. [1] tflite-micro@90b983c2:tensorflow/lite/kernels/internal/quantization_util.cc, QuantizeMultiplier.
    """
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"scale ({scale!r}) must be finite and at least 0")
    fraction, shift = math.frexp(scale)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < LOWEST_SHIFT or multiplier == 0:
        return 0, 0
    if shift > HIGHEST_SHIFT:
        return 2**31 - 1, HIGHEST_SHIFT
    return multiplier, shift


def quantize_multipliers(scales: Array) -> tuple[Array, Array]:
    """Return ``quantize_multiplier`` of each scale as two int32 arrays."""
    pairs = [quantize_multiplier(float(scale)) for scale in np.ravel(scales)]
    multipliers, shifts = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(multipliers, np.int32), np.array(shifts, np.int32)


def fp19(scales: Array, *, rounded: bool = False) -> Array:
    """Cut (or round, ties away) float32 scales to 1 sign, 8 exponent and 10 mantissa bits, as Ascend holds them."""
    bits = np.ascontiguousarray(scales, np.float32).view(np.uint32)
    return ((bits + _FP19_HALF if rounded else bits) & _FP19_MASK).view(np.float32)


def effective_scales(operands: Operands, profile: str | RequantProfile) -> Array:
    """Return the real factor from accumulator to output per channel, in the precision the profile's target uses.

    It is the profile's ``factor``: float32, or float64 unless the layer brings its own.
    """
    weights = operands.weight_scales if operands.weight_scales is not None and operands.weight_scales.size else None
    if profile_of(profile).factor == "float32":
        product = np.float32(operands.input_scales[0])
        for other in operands.input_scales[1:]:
            product = np.float32(product * np.float32(other))
        factors = product * (np.ones(1, np.float32) if weights is None else weights.astype(np.float32))
        return (factors.astype(np.float32) / np.float32(operands.output_scale)).astype(np.float64)
    if operands.scales is not None:
        return operands.scales
    factors = math.prod(operands.input_scales) * (np.ones(1) if weights is None else weights.astype(np.float64))
    return np.asarray(factors / operands.output_scale, np.float64)


def requantize(
    accumulators: Array,
    scales: Array,
    zero_point: int,
    low: int,
    high: int,
    profile: str | RequantProfile,
    output_scale: float = 1.0,
) -> Array:
    """Scale accumulators to the output type: multiply, round, add the zero point, clamp, in the profile's order.

    Parameters
    ----------
    accumulators
        int32, or int64 where the profile accumulates in 64 bits; shape (..., channels). Wider integers become what
        the accumulator would hold of them.
    scales
        float64, shape (channels,) or (1,): real factor from accumulator to output.
    zero_point
        Of the output.
    low, high
        Bounds of the result.
    profile
        A key of ``PROFILES``, or a record.
    output_scale
        Of the output; matters only to a target that first dequantises to float16.

    Returns
    -------
    Array
        int32, the shape of ``accumulators``.

    Raises
    ------
    ValueError
        The profile is unknown, or a number does not fit the field that the target gives it.
    """
    from workloads.kernels import rounding

    record = profile_of(profile)
    scales = np.ascontiguousarray(scales, np.float64)
    if record.scale in ("q31", "q15"):
        return requantize_fixed(accumulators, *quantize_multipliers(scales), zero_point, low, high, record)
    columns = _columns(accumulators, scales.size, record)
    bounds = (_zero_point(zero_point, record), int(low), int(high))
    code = rounding.CODES[record.roundings[-1]]
    if record.scale == "mantissa24":
        mantissas, exponents = np.frexp(scales.astype(np.float32))
        multipliers = np.ldexp(mantissas.astype(np.float64), 24).astype(np.int64)
        result = rounding.requantize_product(columns, multipliers, _bits(24 - exponents, record), *bounds, code)
    elif record.scale == "fp16":
        inverse = _inverse(output_scale)
        factors = (scales * output_scale).astype(np.float32)
        result = rounding.requantize_half(columns, factors, inverse, *bounds, code)
    elif (record.scale, record.steps, record.clamp, record.limit_bits) == ("float32", ("real:half-even",), "first", 0):
        result = rounding.requantize_float(columns, scales.astype(np.float32), *bounds)
    else:
        clip = _clip(record, *bounds)
        result = rounding.requantize_real(
            columns, _real_scales(scales, record), *bounds, code, record.offset == "before", *clip
        )
    return np.asarray(result).reshape(np.shape(accumulators))


def requantize_fixed(
    accumulators: Array,
    multipliers: Array,
    shifts: Array,
    zero_point: int,
    low: int,
    high: int,
    profile: str | RequantProfile,
) -> Array:
    """Do as ``requantize`` with multipliers and shifts already quantised; the scale form is q31 or q15.

    A multiplier below 2**30 is legal: real factor = multiplier * 2**(shift - 31), shift from -31 to 30 (q15: to 15).

    Raises
    ------
    ValueError
        The profile has no such form, or a shift lies outside.
    """
    from workloads.kernels import rounding

    record = profile_of(profile)
    if record.scale not in ("q31", "q15"):
        raise ValueError(f"profile {record.name!r} has no fixed-point form; {did_you_mean(record.name, FIXED_POINT)}")
    columns = _columns(accumulators, multipliers.size, record)
    bounds = (_zero_point(zero_point, record), int(low), int(high))
    codes = [rounding.CODES[name] for name in record.roundings]
    result: Array
    if record.scale == "q15":
        reduced = np.where(multipliers < 0x7FFF0000, (multipliers.astype(np.int64) + 2**15) >> 16, 0x7FFF)
        result = rounding.requantize_product(columns, reduced, _bits(15 - shifts, record), *bounds, *codes)
    elif (fast := rounding.FAST_FIXED.get(record.steps)) is not None:
        result = fast(columns, multipliers, shifts, *bounds)
    elif record.operations == ("product",):
        wide = multipliers.astype(np.int64)
        result = rounding.requantize_product(columns, wide, _bits(31 - shifts, record), *bounds, *codes)
    else:
        result = rounding.requantize_two_steps(columns, multipliers, shifts, *bounds, *codes)
    return np.asarray(result).reshape(np.shape(accumulators))


def stages(
    accumulator: int,
    scale: float,
    zero_point: int,
    low: int,
    high: int,
    profile: str | RequantProfile,
    output_scale: float = 1.0,
) -> tuple[tuple[str, int | float], ...]:
    """Return (step, value) along one requantisation, in the profile's order, from the plain-Python oracle.

    The steps are "accumulate" (what the accumulator holds of the sum), "scale", "limit" (only where the profile has
    one), "round", "offset" and "clamp"; the last value is the result.
    """
    from workloads.kernels import rounding_reference

    record = profile_of(profile)
    if record.scale == "fp16":
        _inverse(output_scale)
    bounds = (_zero_point(zero_point, record), low, high)
    return rounding_reference.stages(accumulator, scale, *bounds, record, output_scale)


def _columns(accumulators: Array, channels: int, profile: RequantProfile) -> Array:
    """Return accumulators as (rows, channels) in the profile's type, holding what the accumulator would."""
    values = np.asarray(accumulators)
    if profile.accumulator == "int64":
        if values.size and max(-int(values.min()), int(values.max())) >= LARGEST_INT64:
            raise ValueError(f"a sum needs more than 48 bits, the most that profile {profile.name!r} can scale")
        return np.ascontiguousarray(values, np.int64).reshape(-1, channels)
    if profile.accumulator == "sat32" and values.dtype.itemsize > 4:
        values = np.clip(values, -(2**31), 2**31 - 1)
    return np.ascontiguousarray(values, np.int32).reshape(-1, channels)


def _zero_point(zero_point: int, profile: RequantProfile) -> int:
    edge = 2 ** (profile.offset_bits - 1)
    if not -edge <= zero_point < edge:
        raise ValueError(
            f"zero point ({zero_point}) does not fit the {profile.offset_bits} bits of profile {profile.name!r}"
        )
    return int(zero_point)


def _bits(bits: Array, profile: RequantProfile) -> Array:
    """Return the right shifts of products, cut where nothing but the sign is left."""
    if bits.size and bits.min() < 0:
        raise ValueError(f"a scale is too large for the {SCALES[profile.scale]} of profile {profile.name!r}")
    return np.minimum(bits, 62).astype(np.int64)


def _real_scales(scales: Array, profile: RequantProfile) -> Array:
    if profile.scale == "float64":
        return scales
    single = scales.astype(np.float32)
    return single if profile.scale == "float32" else fp19(single, rounded=profile.scale == "fp19-rounded")


def _clip(profile: RequantProfile, zero_point: int, low: int, high: int) -> tuple[float, float]:
    """Return the bounds on a real before its rounding."""
    lowest, highest = -LARGEST_REAL, LARGEST_REAL
    if profile.limit_bits:
        edge = 2.0 ** (profile.limit_bits - 1)
        lowest, highest = -edge, edge - 1
    if profile.clamp == "first":
        lowest, highest = max(lowest, float(low - zero_point)), min(highest, float(high - zero_point))
    return lowest, highest


def _inverse(output_scale: float) -> float:
    """Return 1 / output_scale in float16."""
    with np.errstate(over="ignore"):
        inverse = float(np.float16(1 / output_scale))
    if not 0 < inverse < math.inf:
        raise ValueError(f"output scale ({output_scale!r}) has no inverse in float16; expected 1.6e-5 to 1.6e7")
    return inverse
