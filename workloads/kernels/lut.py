"""Nonlinear functions of one quantised input: a table over all 8-bit inputs, fixed point for 16 bits and hard-swish."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import quantize_multiplier
from workloads.kernels.conversion import round_half_away
from workloads.kernels.fixed_point import clip16, divide_by_power, is_fixed_point, sigmoid16, tanh16
from workloads.operators import Gelu, HardSigmoid, HardSwish, LeakyRelu, Logistic, Mish, Swish, Tanh

if TYPE_CHECKING:
    from workloads.arithmetic import RequantProfile
    from workloads.operands import Operands
    from workloads.operators import Operator
    from workloads.tensor import Array

SIXTEEN_BIT = {Logistic: sigmoid16, Tanh: tanh16}
POWER_OF_TWO_TOLERANCE = 1e-3
TABLE_STEPS_PER_UNIT = 3 * 4096  # 16-bit inputs are brought to this scale


def nonlinear(x: Array, operands: Operands, operator: Operator, profile: str | RequantProfile) -> Array:
    """Apply a function of one value to 8-bit or 16-bit integers.

    8-bit logistic, tanh and GELU: the real function in float32 at every input, rounded half away from zero (fixed-point
    profiles, as TFLite's LUTPopulate) or half to even (the others). Hard-swish: TFLite's 16-bit fixed point in the
    fixed-point profiles, the table in the others. 16-bit logistic and tanh: interpolation of a table, as TFLite and
    CMSIS-NN; the other 16-bit functions: the real function in float32.
    """
    fixed = is_fixed_point(profile)
    if x.dtype == np.int16 and type(operator) in SIXTEEN_BIT and fixed:
        return _sixteen_bit(x, operands, operator)
    if isinstance(operator, HardSwish) and x.dtype != np.int16 and fixed:
        return hard_swish(x, operands)
    limits = np.iinfo(x.dtype)
    inputs = np.arange(limits.min, limits.max + 1)
    return np.asarray(_table(inputs, operands, operator, half_even=not fixed)[x.astype(np.int64) - limits.min])


def table_of_bytes(operands: Operands, operator: Operator, profile: str | RequantProfile) -> Array:
    """Return the outputs of all int8 inputs, from -128 to 127, as ``nonlinear`` gives them."""
    return nonlinear(np.arange(-128, 128).astype(np.int8), operands, operator, profile)


def real_function(x: Array, operator: Operator) -> Array:
    """Return the operator's real function of float32 values: computed in float64, rounded to float32."""
    real = x.astype(np.float64)
    match operator:
        case Logistic():
            result = 1 / (1 + np.exp(-real.clip(-700, 700)))
        case Tanh():
            result = np.tanh(real)
        case HardSwish():
            result = real * np.clip(real + 3, 0, 6) / 6
        case Gelu(approximate=True):
            result = 0.5 * real * (1 + np.tanh(math.sqrt(2 / math.pi) * (real + 0.044715 * real**3)))
        case Gelu():
            result = 0.5 * real * np.array([math.erfc(-value / math.sqrt(2)) for value in real.flat]).reshape(x.shape)
        case HardSigmoid(slope=slope, offset=offset):
            result = np.clip(slope * real + offset, 0, 1)
        case Swish():
            result = real / (1 + np.exp(-real.clip(-700, 700)))
        case Mish():
            result = real * np.tanh(np.logaddexp(0, real))
        case LeakyRelu(slope=slope):
            result = np.where(real < 0, slope * real, real)
        case _:
            raise ValueError(f"{operator!r} is not a function of one value")
    return np.asarray(result, np.float32)


def _table(inputs: Array, operands: Operands, operator: Operator, *, half_even: bool) -> Array:
    """Return the quantised output of each integer input.

    tflite-micro@90b983c2:tensorflow/lite/kernels/internal/common.h, LUTPopulate.
    """
    single = np.float32
    real = single(operands.input_scales[0]) * (inputs - operands.input_zero_points[0]).astype(np.float32)
    ratio = real_function(real, operator) * (single(1) / single(operands.output_scale))
    bounded = ratio.astype(np.float64).clip(-(2.0**31), 2.0**31)
    rounded = np.rint(bounded) if half_even else round_half_away(bounded)
    return (rounded + operands.output_zero_point).clip(operands.low, operands.high).astype(operands.dtype)


def _sixteen_bit(x: Array, operands: Operands, operator: Operator) -> Array:
    """Logistic or tanh of 16-bit integers with zero points 0, output scale 2**-15."""
    if (operands.output_scale, operands.output_zero_point, operands.input_zero_points[0]) != (2.0**-15, 0, 0):
        raise ValueError("16-bit logistic and tanh have zero points 0 and the output scale 1/32768")
    multiplier, shift = _table_factor(operands.input_scales[0], 1 if isinstance(operator, Tanh) else 0)
    values = x.astype(np.int64) * multiplier
    if shift > 0:
        values = (values + (1 << (shift - 1))) >> shift
    return np.asarray(SIXTEEN_BIT[type(operator)](values).clip(operands.low, operands.high), operands.dtype)


def _table_factor(scale: float, most: int) -> tuple[int, int]:
    """Return (multiplier, right shift) from 16-bit inputs to the table's scale.

    Scales near 2**-12 up to 2**(most - 12) count as these powers of two, within a thousandth of an octave.

    tflite@v2.18:tensorflow/lite/kernels/activations.cc, SigmoidPrepare and TanhPrepare for int16.
    """
    octave = math.log2(scale) + 12
    if round(octave) in range(most + 1) and abs(octave - round(octave)) < POWER_OF_TWO_TOLERANCE:
        return 3 << round(octave), 0
    factor, shift = scale * TABLE_STEPS_PER_UNIT, 0
    while factor <= 32767 / 2 and shift <= 30:
        factor, shift = factor * 2, shift + 1
    return min(int(factor), 32767), shift


def hard_swish(x: Array, operands: Operands) -> Array:
    """Hard-swish in 16-bit fixed point, bit for bit as TFLite's reference.

    The input on a finer scale times a factor is the output before its shift; the input times another, saturated to
    -1 .. 1 and moved to 0 .. 1, is the gate; their product is shifted right.

    References
    ----------
    .. [1] tflite-micro@90b983c2:tensorflow/lite/kernels/internal/reference/hard_swish.h.
    """
    single = np.float32
    fine = single(1 / 128) * single(operands.input_scales[0])
    to_output, output_shift = _factor16(float(fine / single(operands.output_scale)))
    to_gate, gate_shift = _factor16(float(fine / single(3 / 32768)))
    if output_shift > 0:
        raise ValueError("hard-swish needs an output scale of at least 1/128 of the input scale")
    value = (x.astype(np.int64) - operands.input_zero_points[0]) * 128
    before_shift = _high_product16(value, to_output)
    gate = clip16(value << max(gate_shift - 1, 0))
    gate = _high_product16(gate, to_gate)
    gate = clip16(gate << 1) if gate_shift > 0 else divide_by_power(gate, -gate_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * before_shift
    result = divide_by_power(np.where(product < 0, -(-product >> 15), product >> 15), -output_shift)
    shifted = result + operands.output_zero_point
    return np.asarray(shifted.clip(operands.low, operands.high), operands.dtype)


def _factor16(scale: float) -> tuple[int, int]:
    """Write a factor as (16-bit multiplier, shift)."""
    multiplier, shift = quantize_multiplier(scale)
    return (32767 if multiplier >= 2**31 - 1 - 2**15 else (multiplier + 2**15) >> 16), shift


def _high_product16(a: Array, b: int) -> Array:
    """Saturating rounding doubling high product of 16-bit numbers: half up."""
    return np.asarray(np.minimum((a * b + (1 << 14)) >> 15, 32767))
