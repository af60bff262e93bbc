"""Logistic and hyperbolic tangent of 16-bit fixed-point numbers as gemmlowp computes them, in int64 arrays.

References
----------
.. [1] google/gemmlowp@16e8662:fixedpoint/fixedpoint.h, the functions named in the docstrings, with 16-bit raw numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.tensor import Array

LOW, HIGH = -(2**15), 2**15 - 1
ONE_BITS = 15  # fractional bits of numbers in -1 .. 1


def logistic_q15(values: Array, integer_bits: int = 3) -> Array:
    """Return 1 / (1 + exp(-x)) in Q0.15 (``logistic``); x has ``integer_bits`` before the point."""
    wide = np.asarray(values, np.int64)
    positive = _logistic_of_positive(np.abs(wide).clip(0, HIGH), integer_bits)
    result = np.where(wide > 0, positive, HIGH - positive)
    return np.asarray(np.where(wide == 0, 1 << 14, result))


def tanh_q15(values: Array, integer_bits: int) -> Array:
    """Return the hyperbolic tangent in Q0.15 (``tanh``); x has ``integer_bits`` before the point, 0 to 6."""
    wide = np.asarray(values, np.int64)
    magnitude = np.abs(wide).clip(0, HIGH)
    power = _exp_of_negative(-magnitude, integer_bits + 1)
    positive = _one_minus_over_one_plus(power)
    result = np.where(wide < 0, -positive, positive)
    return np.asarray(np.where(wide == 0, 0, result))


def _logistic_of_positive(values: Array, integer_bits: int) -> Array:
    """1 / (1 + exp(-x)) of numbers that are not negative (``logistic_on_positive_values``)."""
    return _one_over_one_plus(_exp_of_negative(-values, integer_bits))


def _product(a: Array | int, b: Array | int) -> Array:
    """Saturating rounding doubling high product: half up, equal to gemmlowp's nudge and truncating division."""
    return np.asarray(np.minimum((np.asarray(a, np.int64) * b + (1 << 14)) >> 15, HIGH))


def _halved(values: Array, exponent: int) -> Array:
    """Divide by 2**exponent, rounding half away from zero."""
    return np.asarray((values + (1 << (exponent - 1)) + (values >> 63)) >> exponent)


def _doubled(values: Array, exponent: int) -> Array:
    """Multiply by 2**exponent, saturating."""
    return np.asarray((values << exponent).clip(LOW, HIGH))


def fixed_constant(real: float, fraction_bits: int) -> int:
    """Return a real constant with 31 bits rounded, then to 16 bits, as gemmlowp's checked constants are."""
    return min(_halved_integer(math.floor(real * 2.0 ** (fraction_bits + 16) + 0.5), 16), HIGH)


def _halved_integer(value: int, exponent: int) -> int:
    return (value + (1 << (exponent - 1))) >> exponent


def _exp_of_negative(values: Array, integer_bits: int) -> Array:
    """Exponential of numbers that are at most 0, in Q0.15 (``exp_on_negative_values``)."""
    fraction = ONE_BITS - integer_bits
    quarter = 1 << (fraction - 2)
    remainder = (values & (quarter - 1)) - quarter
    x = remainder << integer_bits
    x = x + (1 << (ONE_BITS - 3))
    square = _product(x, x)
    cube, fourth = _product(square, x), _product(square, square)
    series = _product(_halved(fourth, 2) + cube, fixed_constant(1 / 3, 15))
    series = x + _halved(series + square, 1)
    eighth = fixed_constant(math.exp(-1 / 8), 15)
    result = (eighth + _product(eighth, series)).clip(LOW, HIGH)
    multiple = remainder - values
    for exponent in range(-2, 5):
        bit = fraction + exponent
        if integer_bits > exponent and bit >= 0:
            factor = fixed_constant(math.exp(-(2.0**exponent)), 15)
            result = np.where(multiple & (1 << bit), _product(result, factor), result)
    if integer_bits > 5:
        result = np.where(values < -(1 << (fraction + 5)), 0, result)
    return np.asarray(np.where(values == 0, HIGH, result))


def _newton(values: Array) -> Array:
    """Return 2 / (1 + x) in Q2.13 for x in Q0.15 from 0 to 1, by three Newton steps."""
    total = values + HIGH
    half = (total + (total >= 0)) // 2
    x = fixed_constant(48 / 17, 13) + _product(half, _constant_negative(32 / 17, 13))
    for _ in range(3):
        error = (1 << 13) - _product(half, x)
        x = (x + _doubled(_product(x, error), 2)).clip(LOW, HIGH)
    return np.asarray(x)


def _constant_negative(real: float, fraction_bits: int) -> int:
    return -fixed_constant(real, fraction_bits)


def _one_over_one_plus(values: Array) -> Array:
    """1 / (1 + x) in Q0.15 (``one_over_one_plus_x_for_x_in_0_1``)."""
    return _doubled(_newton(values), 1)


def _one_minus_over_one_plus(values: Array) -> Array:
    """(1 - x) / (1 + x) in Q0.15 (``one_minus_x_over_one_plus_x_for_x_in_0_1``)."""
    return _doubled(_newton(values) - (1 << 13), 2)
