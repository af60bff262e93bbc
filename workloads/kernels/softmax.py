"""Fixed-point softmax of 8-bit and 16-bit rows, bit for bit as TFLite's reference computes it.

References
----------
.. [1] google/gemmlowp@16e8662:fixedpoint/fixedpoint.h, exp_on_negative_values and one_over_one_plus_x_for_x_in_0_1.
.. [2] tflite-micro@90b983c2:tensorflow/lite/kernels/internal/reference/softmax.h.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import profile_of, quantize_multiplier, quantize_multipliers, requantize_fixed
from workloads.kernels.fixed_point import clip16, lookup
from workloads.kernels.jit import kernel
from workloads.kernels.tables import exp_table, reciprocal_table
from workloads.operands import Factors

if TYPE_CHECKING:
    from workloads.arithmetic import RequantProfile
    from workloads.operands import Operands
    from workloads.tensor import Array

INPUT_INTEGER_BITS = 5  # scaled differences are Q5.26
EXP_TABLE_RANGE = 10.0  # the 16-bit table covers exp(-10) .. exp(0)
SUM_INTEGER_BITS = 12  # the sum of exponentials is Q12.19
INT32_MAX = 2**31 - 1

EXP_OF_EIGHTH = round(math.exp(-1 / 8) * 2**31)
ONE_THIRD = round(2**31 / 3)
EXP_OF_POWERS = np.array([round(math.exp(-(2.0**power)) * 2**31) for power in range(-2, 5)], np.int64)
FORTY_EIGHT_SEVENTEENTHS = round(48 / 17 * 2**29)
THIRTY_TWO_SEVENTEENTHS = round(32 / 17 * 2**29)


def softmax_parameters(beta: float, input_scale: float) -> tuple[int, int, int]:
    """Return (multiplier, left shift, smallest difference that still counts) of a softmax."""
    factor = min(beta * input_scale * 2.0 ** (31 - INPUT_INTEGER_BITS), 2.0**31 - 1)
    multiplier, shift = quantize_multiplier(factor)
    return multiplier, shift, -_radius(shift)


def _radius(shift: int) -> int:
    """Return the largest difference whose scaled value fits the fixed-point input."""
    return math.floor(math.ldexp(2**INPUT_INTEGER_BITS - 1, 31 - INPUT_INTEGER_BITS - shift))


def stated_parameters(operands: Operands) -> tuple[int, int, int] | None:
    """Return (multiplier, left shift, smallest difference) where a target states them, else None."""
    stated = operands.stated
    if stated is None or not stated.inputs:
        return None
    multiplier, shift = int(stated.inputs[0].multipliers[0]), int(stated.inputs[0].shifts[0])
    smallest = -_radius(shift) if stated.smallest is None else stated.smallest
    return multiplier, shift, smallest


def softmax_rows_16(x: Array, operands: Operands, beta: float, profile: str | RequantProfile) -> Array:
    """Softmax of each row of 16-bit integers (rows, columns) by two interpolated tables; output scale 2**-15."""
    stated = operands.stated
    if stated is not None and stated.inputs:
        factor = stated.inputs[0]
    else:
        scale = operands.input_scales[0] * beta / (EXP_TABLE_RANGE / 65535.0)
        factor = Factors(*quantize_multipliers(np.array([scale])))
    difference = (x.astype(np.int32) - x.max(axis=-1, keepdims=True).astype(np.int32)).astype(np.int32)
    bounds = (0, -INT32_MAX - 1, INT32_MAX)
    scaled = requantize_fixed(difference, factor.multipliers, factor.shifts, *bounds, profile).astype(np.int64)
    powers = lookup(exp_table(), clip16(scaled + 32767))
    total = powers.sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    share = (((total << (headroom - 1)) + (1 << 13)) >> 14) - 98304
    single = profile_of(profile).name.startswith("cmsis-nn")
    inverse = lookup(reciprocal_table(single=single), clip16(share))
    return np.asarray((((powers * inverse) >> (30 - headroom)) + 1) >> 1).clip(0, 32767)


@kernel
def _high_product(a: np.int64, b: np.int64) -> np.int64:
    return (a * b + np.int64(1 << 30)) >> np.int64(31)


@kernel
def _rounding_shift(value: np.int64, amount: np.int64) -> np.int64:
    if amount <= 0:
        return value
    return (value + (np.int64(1) << (amount - np.int64(1))) + (value >> np.int64(63))) >> amount


@kernel
def _saturate(value: np.int64) -> np.int64:
    return min(max(value, np.int64(-INT32_MAX - 1)), np.int64(INT32_MAX))


@kernel
def exp_of_negative(value: np.int64) -> np.int64:
    """Exponential of a Q5.26 number that is at most 0, as Q0.31."""
    if value == 0:
        return np.int64(INT32_MAX)
    quarter = np.int64(1 << 24)
    remainder = (value & (quarter - 1)) - quarter
    x = (remainder << np.int64(INPUT_INTEGER_BITS)) + np.int64(1 << 28)
    x2 = _high_product(x, x)
    x3, x4 = _high_product(x2, x), _high_product(x2, x2)
    cubic = _high_product(_rounding_shift(x4, np.int64(2)) + x3, np.int64(ONE_THIRD))
    series = x + _rounding_shift(cubic + x2, np.int64(1))
    result = np.int64(EXP_OF_EIGHTH) + _high_product(np.int64(EXP_OF_EIGHTH), series)
    multiple = remainder - value
    for power in range(EXP_OF_POWERS.size):
        if multiple & (quarter << np.int64(power)):
            result = _high_product(result, EXP_OF_POWERS[power])
    return result


@kernel
def reciprocal_of_one_plus(value: np.int64) -> np.int64:
    """1 / (1 + value) for a Q0.31 number in [0, 1], by three Newton steps in Q2.29."""
    total = value + np.int64(INT32_MAX)
    half = (total + np.int64(1)) >> np.int64(1)
    x = np.int64(FORTY_EIGHT_SEVENTEENTHS) - _high_product(half, np.int64(THIRTY_TWO_SEVENTEENTHS))
    for _ in range(3):
        error = np.int64(1 << 29) - _high_product(half, x)
        x += _saturate(_high_product(x, error) << np.int64(2))
    return _saturate(x << np.int64(1))


@kernel
def softmax_rows(
    x: Array, multiplier: int, shift: int, smallest: int, lowest: int, highest: int, output_bits: int
) -> Array:
    """Softmax of each row of (rows, columns); output scale 2**-bits, zero point ``lowest``."""
    rows, columns = x.shape
    result = np.empty((rows, columns), np.int32)
    exponentials = np.empty(columns, np.int64)
    for row in range(rows):
        largest = np.int64(x[row].max())
        total = np.int64(0)
        for column in range(columns):
            difference = np.int64(x[row, column]) - largest
            exponentials[column] = -1
            if difference >= smallest:
                scaled = _high_product(difference << np.int64(shift), np.int64(multiplier))
                exponentials[column] = exp_of_negative(scaled)
                total += _rounding_shift(exponentials[column], np.int64(SUM_INTEGER_BITS))
        headroom = np.int64(0)
        while headroom < 31 and (total << headroom) < np.int64(1 << 31):
            headroom += np.int64(1)
        inverse = reciprocal_of_one_plus((total << headroom) - np.int64(1 << 31))
        amount = np.int64(SUM_INTEGER_BITS) - headroom + np.int64(31 - output_bits)
        for column in range(columns):
            value = np.int64(lowest)
            if exponentials[column] >= 0:
                value += _rounding_shift(_high_product(inverse, exponentials[column]), amount)
            result[row, column] = min(max(value, np.int64(lowest)), np.int64(highest))
    return result
