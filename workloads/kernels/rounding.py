"""Compiled requantisation: int32 accumulators (rows, channels) to int32 results, one function per profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.tensor import Array

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1


@kernel
def requantize_double(
    accumulators: Array, multipliers: Array, shifts: Array, zero_point: int, low: int, high: int
) -> Array:
    """Round the Q31 product half up, then the right shift half away from zero."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            multiplier, shift = np.int64(multipliers[channel]), np.int64(shifts[channel])
            left, right = max(shift, np.int64(0)), max(-shift, np.int64(0))
            shifted = np.int64(np.int32(np.int64(accumulators[row, channel]) << left))
            value = (shifted * multiplier + np.int64(1 << 30)) >> np.int64(31)
            if right > 0:
                value = (value + (np.int64(1) << (right - 1)) + (value >> np.int64(63))) >> right
            value += np.int64(zero_point)
            result[row, channel] = min(max(value, np.int64(low)), np.int64(high))
    return result


@kernel
def requantize_single(
    accumulators: Array, multipliers: Array, shifts: Array, zero_point: int, low: int, high: int
) -> Array:
    """Round the 64-bit product once, half up."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            right = np.int64(31) - np.int64(shifts[channel])
            product = np.int64(accumulators[row, channel]) * np.int64(multipliers[channel])
            value = ((product + (np.int64(1) << (right - 1))) >> right) + np.int64(zero_point)
            result[row, channel] = min(max(value, np.int64(low)), np.int64(high))
    return result


@kernel
def requantize_half_up(
    accumulators: Array, multipliers: Array, shifts: Array, zero_point: int, low: int, high: int
) -> Array:
    """Round the Q31 product half up and the right shift half up."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            multiplier, shift = np.int64(multipliers[channel]), np.int64(shifts[channel])
            left, right = max(shift, np.int64(0)), max(-shift, np.int64(0))
            shifted = np.int64(np.int32(np.int64(accumulators[row, channel]) << left))
            value = (shifted * multiplier + np.int64(1 << 30)) >> np.int64(31)
            value = (value + ((np.int64(1) << right) >> np.int64(1))) >> right
            value += np.int64(zero_point)
            result[row, channel] = min(max(value, np.int64(low)), np.int64(high))
    return result


@kernel
def requantize_float(accumulators: Array, scales: Array, zero_point: int, low: int, high: int) -> Array:
    """Multiply in float32, clamp, round half to even, add the zero point."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    bottom, top = np.float32(low - zero_point), np.float32(high - zero_point)
    for row in range(rows):
        for channel in range(channels):
            value = np.float32(accumulators[row, channel]) * scales[channel]
            value = min(max(value, bottom), top)
            result[row, channel] = np.int64(np.rint(value)) + np.int64(zero_point)
    return result


@kernel
def requantize_fp19(accumulators: Array, scales: Array, zero_point: int, low: int, high: int) -> Array:
    """Multiply in float32, clip to 9 bits signed, round half to even, add the offset, clip."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            value = np.float32(accumulators[row, channel]) * scales[channel]
            value = min(max(value, np.float32(-256)), np.float32(255))
            shifted = np.int64(np.rint(value)) + np.int64(zero_point)
            result[row, channel] = min(max(shifted, np.int64(low)), np.int64(high))
    return result


FIXED_POINT = {
    "tflite-double": requantize_double,
    "tflite-single": requantize_single,
    "ruy": requantize_half_up,
}
