"""Compiled requantisation: accumulators (rows, channels) to int32 results, one function per form of the scale.

A rounding is passed as its position in ``ROUNDINGS`` of ``workloads.requant_profile``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.jit import kernel
from workloads.requant_profile import ROUNDINGS

if TYPE_CHECKING:
    from workloads.tensor import Array

HALF_UP, HALF_AWAY, HALF_EVEN, FLOOR, ODD = range(5)
CODES = {name: code for code, name in enumerate(ROUNDINGS)}
HALF_MAXIMUM = 65504.0


@kernel
def shift_right(value: np.int64, bits: np.int64, rounding: int) -> np.int64:
    """Divide an int64 by 2**bits, 0 to 62, with one of the roundings; |value| at most 2**62."""
    if bits == 0:
        return value
    half = np.int64(1) << np.int64(bits - 1)
    if rounding == HALF_UP:
        return (value + half) >> np.int64(bits)
    if rounding == HALF_AWAY:
        return (value + half + (value >> np.int64(63))) >> np.int64(bits)
    quotient = value >> np.int64(bits)
    rest = value - (quotient << np.int64(bits))
    if rounding == HALF_EVEN:
        return quotient + np.int64(rest > half or (rest == half and (quotient & 1) == 1))
    if rounding == ODD:
        return quotient | np.int64(rest != 0)
    return quotient


@kernel
def round_real(value: np.float64, rounding: int) -> np.float64:
    """Round a float64 to an integer with one of the roundings."""
    if rounding == HALF_EVEN:
        return np.float64(np.rint(value))
    whole = np.float64(np.floor(value))
    rest = value - whole
    up: np.bool_ = np.bool_(False)
    if rounding == HALF_UP:
        up = np.bool_(rest >= 0.5)
    elif rounding == HALF_AWAY:
        up = np.bool_(rest > 0.5 or (rest == 0.5 and value > 0.0))
    elif rounding == ODD:
        up = np.bool_(rest != 0.0 and whole == 2.0 * np.floor(whole / 2.0))
    return np.float64(whole + 1.0) if up else whole


@kernel
def round_half_precision(value: np.float64) -> np.float64:
    """Round a float64 to the nearest float16, ties to even, infinite beyond its range."""
    if value == 0.0 or math.isinf(value):
        return value
    _, exponent = math.frexp(value)
    unit = max(exponent - 11, -24)
    nearest = math.ldexp(np.rint(math.ldexp(value, -unit)), unit)
    return np.float64(math.copysign(np.inf, value) if abs(nearest) > HALF_MAXIMUM else nearest)


@kernel
def requantize_two_steps(
    accumulators: Array,
    multipliers: Array,
    shifts: Array,
    zero_point: int,
    low: int,
    high: int,
    first: int,
    second: int,
) -> Array:
    """Shift left wrapping at 32 bits, round the upper half of the Q31 product, round the right shift."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            multiplier, shift = np.int64(multipliers[channel]), np.int64(shifts[channel])
            left, right = max(shift, np.int64(0)), max(-shift, np.int64(0))
            shifted = np.int64(np.int32(np.int64(accumulators[row, channel]) << left))
            value = shift_right(shifted * multiplier, np.int64(31), first)
            value = shift_right(value, np.int64(right), second) + np.int64(zero_point)
            result[row, channel] = min(max(value, np.int64(low)), np.int64(high))
    return result


@kernel
def requantize_product(
    accumulators: Array, multipliers: Array, bits: Array, zero_point: int, low: int, high: int, rounding: int
) -> Array:
    """Round the whole 64-bit product once."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            product = np.int64(accumulators[row, channel]) * np.int64(multipliers[channel])
            value = shift_right(product, np.int64(bits[channel]), rounding) + np.int64(zero_point)
            result[row, channel] = min(max(value, np.int64(low)), np.int64(high))
    return result


@kernel
def requantize_real(
    accumulators: Array,
    scales: Array,
    zero_point: int,
    low: int,
    high: int,
    rounding: int,
    before: bool,
    clip_low: float,
    clip_high: float,
) -> Array:
    """Multiply in the type of the scales, clip, add the zero point before or after rounding, clamp."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    real = np.empty(1, scales.dtype)
    early, late = (np.int64(zero_point), np.int64(0)) if before else (np.int64(0), np.int64(zero_point))
    for row in range(rows):
        for channel in range(channels):
            real[0] = accumulators[row, channel]
            real[0] *= scales[channel]
            real[0] = min(max(np.float64(real[0]), clip_low), clip_high)
            if before:
                real[0] += early
            value = np.int64(round_real(np.float64(real[0]), rounding)) + late
            result[row, channel] = min(max(value, np.int64(low)), np.int64(high))
    return result


@kernel
def requantize_half(
    accumulators: Array, scales: Array, inverse: float, zero_point: int, low: int, high: int, rounding: int
) -> Array:
    """Dequantise in float32, then multiply by a float16 and add the zero point, each result rounded to float16."""
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            real = np.float64(np.float32(accumulators[row, channel]) * scales[channel])
            scaled = round_half_precision(round_half_precision(real) * np.float64(inverse))
            value = round_half_precision(scaled + np.float64(zero_point))
            value = min(max(round_real(value, rounding), np.float64(low)), np.float64(high))
            result[row, channel] = np.int64(value)
    return result


# The common profiles once more, each in a form that LLVM turns into vector instructions.


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
            shifted = np.int64(np.rint(value)) + np.int64(zero_point)
            result[row, channel] = min(max(shifted, np.int64(low)), np.int64(high))
    return result


FAST_FIXED = {
    ("high:half-up", "shift:half-away"): requantize_double,
    ("product:half-up",): requantize_single,
    ("high:half-up", "shift:half-up"): requantize_half_up,
}
