"""Between real numbers and integers: quantise and dequantise, as each runtime rounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.tensor import Array, Quantization


def round_half_away(values: Array) -> Array:
    """Round floats to the nearest integer, ties away from zero, without leaving their type."""
    whole = np.trunc(values)
    return np.asarray(whole + np.copysign(np.abs(values - whole) >= 0.5, values).astype(values.dtype))


def quantize(x: Array, quantization: Quantization, dtype: str, *, half_even: bool) -> Array:
    """Divide float32 values by the scale, round, add the zero point, saturate; NaN becomes the lowest integer."""
    limits = np.iinfo(dtype)
    scale, zero_point = aligned(quantization, x.ndim)
    ratio = np.asarray(x, np.float32) / scale.astype(np.float32)
    ratio = np.where(np.isnan(ratio), -np.inf, ratio)
    bounded = np.clip(ratio.astype(np.float64), -(2.0**31), 2.0**31)
    rounded = np.rint(bounded) if half_even else round_half_away(bounded)
    return np.asarray(np.clip(rounded + zero_point, limits.min, limits.max), dtype)


def dequantize(x: Array, quantization: Quantization) -> Array:
    """Return scale * (x - zero_point) as float32."""
    scale, zero_point = aligned(quantization, x.ndim)
    return ((x.astype(np.int64) - zero_point) * scale.astype(np.float64)).astype(np.float32)


def aligned(quantization: Quantization, rank: int) -> tuple[Array, Array]:
    """Return scale and zero point in a shape that broadcasts against an array of ``rank`` axes."""
    if quantization.axis is None:
        return quantization.scale.ravel()[:1], quantization.zero_point.ravel()[:1].astype(np.int64)
    shape = [1] * rank
    shape[quantization.axis] = quantization.scale.size
    return quantization.scale.reshape(shape), quantization.zero_point.reshape(shape).astype(np.int64)
