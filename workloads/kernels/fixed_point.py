"""Fixed-point steps shared by the nonlinear and recurrent kernels, over int64 arrays; documented by their formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import profile_of
from workloads.kernels.tables import sigmoid_table

if TYPE_CHECKING:
    from workloads.arithmetic import RequantProfile
    from workloads.tensor import Array

INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1
_LAST = 255  # index of the last entry of the sigmoid table


def is_fixed_point(profile: str | RequantProfile) -> bool:
    """Whether a profile has an integer multiplier and a shift, so that TFLite's fixed-point functions go with it."""
    return profile_of(profile).scale in ("q31", "q15")


def clip16(values: Array) -> Array:
    """Saturate to 16 bits."""
    return np.clip(values, INT16_MIN, INT16_MAX)


def divide_by_power(values: Array, exponent: int) -> Array:
    """Divide by 2**exponent, rounding half away from zero; exponent 0 leaves the values."""
    if exponent <= 0:
        return values
    return np.asarray((values + (1 << (exponent - 1)) + (values >> 63)) >> exponent)


def lookup(table: Array, values: Array) -> Array:
    """Interpolate a 513-entry table at 16-bit values."""
    index = 256 + (values >> 7)
    return np.asarray(table[index] + (((table[index + 1] - table[index]) * (values & 127) + 64) >> 7))


def sigmoid16(scaled: Array) -> Array:
    """Logistic function of 3 * 4096 times the real input, as Q0.15, by the 256-entry table.

    tflite-micro@90b983c2:tensorflow/lite/kernels/internal/reference/integer_ops/logistic.h.
    """
    y = _interpolate(scaled, 9, 0x7FFF << 10)
    half = 1 << 9
    return np.where(scaled >= 0, y + half, (1 << 25) - y + half - 1) >> 10


def tanh16(scaled: Array) -> Array:
    """Hyperbolic tangent of 3 * 4096 times the real input, as Q0.15, by the 256-entry table.

    tflite-micro@90b983c2:tensorflow/lite/kernels/internal/reference/integer_ops/tanh.h.
    """
    y = _interpolate(scaled, 8, 0xFFFF << 8)
    half = 1 << 7
    return np.where(scaled >= 0, y - (1 << 23) + half, (1 << 23) - y + half - 1) >> 8


def tripled(values: Array, left_shift: int) -> Array:
    """Return 3 * values * 2**left_shift, rounded half up where the shift is negative."""
    product = 3 * values.astype(np.int64)
    if left_shift >= 0:
        return product << left_shift
    return (product + (1 << (-left_shift - 1))) >> -left_shift


def _interpolate(scaled: Array, bits: int, beyond: int) -> Array:
    """Interpolate the sigmoid table at a magnitude whose low ``bits`` are the fraction; ``beyond`` past its end."""
    magnitude = np.abs(scaled.astype(np.int64))
    index, table = magnitude >> bits, sigmoid_table()
    here = np.minimum(index, _LAST - 1)
    fraction = magnitude & ((1 << bits) - 1)
    value = (table[here] << bits) + fraction * (table[here + 1] - table[here])
    return np.where(index >= _LAST, beyond, value)
