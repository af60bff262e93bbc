"""Requantisation profiles: how each runtime turns an int32 accumulator into an integer of the output type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.errors import did_you_mean

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.tensor import Array

PROFILES = {
    "tflite-double": "Q31 multiplier, rounded half up, then the right shift rounded half away from zero "
    "(TFLite, TFLite Micro and CMSIS-NN as built by default)",
    "tflite-single": "Q31 multiplier and shift in one 64-bit product, rounded half up "
    "(TFLITE_SINGLE_ROUNDING, CMSIS_NN_USE_SINGLE_ROUNDING)",
    "ruy": "Q31 multiplier and right shift, both rounded half up (ruy, NEON, RVV with rnu)",
    "onnxruntime": "float32 product, clamped, rounded half to even, then the zero point (onnxruntime, XNNPACK)",
    "ascend-fixpipe": "float32 product with a scale cut to 19 bits, clipped to 9 bits, rounded half to even, then the "
    "offset (Ascend REQ8 as the vendor's model describes it; unverified on silicon)",
}

FIXED_POINT = frozenset({"tflite-double", "tflite-single", "ruy"})  # profiles with a Q31 multiplier and a shift
LOWEST_SHIFT = -31
HIGHEST_SHIFT = 30
_FP19_MASK = np.uint32(0xFFFFE000)  # the low 13 mantissa bits of a float32 are cut


def check_profile(profile: str) -> str:
    """Return ``profile`` if it is a key of ``PROFILES``.

    Raises
    ------
    ValueError
        It is not; the message suggests the closest.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r} is unknown; {did_you_mean(profile, PROFILES)}")
    return profile


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


def fp19(scales: Array) -> Array:
    """Cut float32 scales to 1 sign, 8 exponent and 10 mantissa bits, as the Ascend quantisation word holds them."""
    return (np.ascontiguousarray(scales, np.float32).view(np.uint32) & _FP19_MASK).view(np.float32)


def effective_scales(operands: Operands, profile: str) -> Array:
    """Return the real factor from accumulator to output per channel, in the precision the profile's runtime uses.

    onnxruntime computes it in float32, the others in float64 unless the layer brings its own.
    """
    weights = operands.weight_scales if operands.weight_scales is not None and operands.weight_scales.size else None
    if profile == "onnxruntime":
        product = np.float32(operands.input_scales[0])
        for other in operands.input_scales[1:]:
            product = np.float32(product * np.float32(other))
        factors = product * (np.ones(1, np.float32) if weights is None else weights.astype(np.float32))
        return (factors.astype(np.float32) / np.float32(operands.output_scale)).astype(np.float64)
    if operands.scales is not None:
        return operands.scales
    factors = math.prod(operands.input_scales) * (np.ones(1) if weights is None else weights.astype(np.float64))
    return np.asarray(factors / operands.output_scale, np.float64)


def requantize(accumulators: Array, scales: Array, zero_point: int, low: int, high: int, profile: str) -> Array:
    """Scale int32 accumulators to the output type: multiply, round, add the zero point, clamp.

    Parameters
    ----------
    accumulators
        int32, shape (..., channels).
    scales
        float64, shape (channels,) or (1,): real factor from accumulator to output.
    zero_point
        Of the output.
    low, high
        Bounds of the result.
    profile
        A key of ``PROFILES``.

    Returns
    -------
    Array
        int32, the shape of ``accumulators``.
    """
    from workloads.kernels import rounding

    scales = np.ascontiguousarray(scales, np.float64)
    if profile in FIXED_POINT:
        multipliers, shifts = quantize_multipliers(scales)
        return requantize_fixed(accumulators, multipliers, shifts, zero_point, low, high, profile)
    check_profile(profile)
    columns = np.ascontiguousarray(accumulators, np.int32).reshape(-1, scales.size)
    bounds = (int(zero_point), int(low), int(high))
    if profile == "onnxruntime":
        result = rounding.requantize_float(columns, scales.astype(np.float32), *bounds)
    else:
        result = rounding.requantize_fp19(columns, fp19(scales), *bounds)
    return np.asarray(result).reshape(np.shape(accumulators))


def requantize_fixed(
    accumulators: Array, multipliers: Array, shifts: Array, zero_point: int, low: int, high: int, profile: str
) -> Array:
    """Do as ``requantize`` with multipliers and shifts already quantised; a profile of ``FIXED_POINT``."""
    from workloads.kernels import rounding

    if profile not in FIXED_POINT:
        raise ValueError(f"profile {profile!r} has no fixed-point form; {did_you_mean(profile, FIXED_POINT)}")
    columns = np.ascontiguousarray(accumulators, np.int32).reshape(-1, multipliers.size)
    bounds = (int(zero_point), int(low), int(high))
    result = rounding.FIXED_POINT[profile](columns, multipliers, shifts, *bounds)
    return np.asarray(result).reshape(np.shape(accumulators))
