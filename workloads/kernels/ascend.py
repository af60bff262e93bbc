"""Elementwise and pooling arithmetic of an Ascend vector unit: integers through half precision and back.

Products (convolution, fully connected) follow the profile "ascend-fixpipe" and are not here. Every function takes int8
arrays with their quantisation in ``operands`` and returns int8. As the vendor's documents describe AscendAntiQuant,
AscendDequant and AscendQuant (https://www.hiascend.com, CANN custom operator reference); unverified on silicon.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import profile_of
from workloads.operators import Pool2d

if TYPE_CHECKING:
    from workloads.arithmetic import RequantProfile
    from workloads.operands import Operands
    from workloads.operators import LayerNorm
    from workloads.tensor import Array

Half = np.float16
Single = np.float32
SUM_LANES = 64  # single-precision lanes of the vector unit


def takes(x: Array, operands: Operands, profile: str | RequantProfile) -> bool:
    """Whether the vector unit computes a layer without products: an Ascend's profile, int8 in and out."""
    return profile_of(profile).name.startswith("ascend") and x.dtype == operands.dtype == "int8"


def add(a: Array, b: Array, operands: Operands) -> Array:
    """Sum in half precision of two dequantised inputs, requantised."""
    return _quantize(_dequantize(a, operands, 0) + _dequantize(b, operands, 1), operands)


def sub(a: Array, b: Array, operands: Operands) -> Array:
    """Difference in half precision of two dequantised inputs, requantised."""
    return _quantize(_dequantize(a, operands, 0) - _dequantize(b, operands, 1), operands)


def mul(a: Array, b: Array, operands: Operands) -> Array:
    """Product in half precision of two dequantised inputs, requantised."""
    return _quantize(_dequantize(a, operands, 0) * _dequantize(b, operands, 1), operands)


def rescale(x: Array, operands: Operands) -> Array:
    """Bring one input to the output's quantisation and clamp it."""
    return _quantize(_dequantize(x, operands, 0), operands)


def max_pool(x: Array, operator: Pool2d, output_shape: tuple[int, ...], operands: Operands) -> Array:
    """Maximum over the positions of each window inside the image, clamped; exact.

    Raises
    ------
    ValueError
        Input and output are quantised differently, or a window lies outside the image.
    """
    check_maximum(operands)
    result = np.empty(output_shape, np.int8)
    for (y, x_at), window in _windows(x, operator, output_shape):
        result[:, y, x_at] = window.max(axis=(1, 2)).clip(operands.low, operands.high)
    return result


def average_pool(x: Array, operator: Pool2d, output_shape: tuple[int, ...], operands: Operands) -> Array:
    """Mean over the positions of each window inside the image, in single precision, rounded half to even."""
    result = np.empty(output_shape, np.int8)
    zero, ratio, offset = average_factors(operands)
    for (y, x_at), window in _windows(x, operator, output_shape):
        inverse = Single(1 / (window.shape[1] * window.shape[2]))
        mean = window.sum(axis=(1, 2), dtype=np.int64).astype(Single) * inverse
        value = (mean - zero) * ratio + offset
        result[:, y, x_at] = np.rint(value).clip(operands.low, operands.high)
    return result


def global_average_pool(x: Array, operands: Operands) -> Array:
    """Mean over the image (N,H,W,C), as one window."""
    return average_pool(x, Pool2d("average", x.shape[1:3], (1, 1)), (x.shape[0], 1, 1, x.shape[3]), operands)


def softmax(x: Array, operands: Operands, beta: float = 1.0) -> Array:
    """Softmax over the last axis: differences to the maximum, scaled, their exponentials and their sum in float32."""
    scale, inverse, zero_point = softmax_factors(operands, beta)
    table = np.array([math.exp(float(Single(-step) * scale)) for step in range(256)]).astype(Single)
    powers = table[x.max(axis=-1, keepdims=True).astype(np.int32) - x.astype(np.int32)]
    value = powers / _sum(powers) * inverse + zero_point
    return np.asarray(np.rint(value).clip(operands.low, operands.high).astype(np.int8))


def _sum(rows: Array) -> Array:
    """Add up single-precision rows: lanes ``SUM_LANES`` apart together first, then these one after another."""
    total = rows[..., :SUM_LANES].copy()
    for first in range(SUM_LANES, rows.shape[-1], SUM_LANES):
        chunk = rows[..., first : first + SUM_LANES]
        total[..., : chunk.shape[-1]] += chunk
    return np.asarray(np.cumsum(total, axis=-1, dtype=np.float64)[..., -1:].astype(Single))


def layer_norm(x: Array, scale: Array, shift: Array, operands: Operands, operator: LayerNorm) -> Array:
    """Normalise over the last axis in single precision; input zero point and scale cancel.

    The output's scale and zero point are part of the columns' scales and shifts.
    """
    inverse, epsilon, tiny = norm_factors(x.shape[-1], operands, operator.epsilon)
    columns = norm_columns(scale, shift, operands)
    value: Array = x.astype(Single)
    value = value + _sum(value) * -inverse
    deviation = np.maximum(np.sqrt(_sum(value * value) * inverse + epsilon), tiny)
    result = value / deviation * columns[0] + columns[1]
    return np.asarray(np.rint(result).clip(operands.low, operands.high).astype(np.int8))


def norm_factors(columns: int, operands: Operands, epsilon: float) -> tuple[np.float32, np.float32, np.float32]:
    """Return (1 / columns, epsilon in squares of the input's scale, the least deviation)."""
    with np.errstate(over="ignore"):
        return Single(1 / columns), Single(epsilon / operands.input_scales[0] ** 2), np.finfo(Single).tiny


def norm_columns(scale: Array, shift: Array, operands: Operands) -> tuple[Array, Array]:
    """Return scales and shifts (C,) in integers of the output."""
    wide = scale.astype(np.float64), shift.astype(np.float64)
    scaled = wide[0] / operands.output_scale, wide[1] / operands.output_scale + operands.output_zero_point
    return scaled[0].astype(Single), scaled[1].astype(Single)


def softmax_factors(operands: Operands, beta: float = 1.0) -> tuple[np.float32, np.float32, np.float32]:
    """Return (input scale times ``beta``, 1 / output scale, output zero point)."""
    return (
        Single(operands.input_scales[0] * beta), Single(1 / operands.output_scale), Single(operands.output_zero_point)
    )  # fmt: skip


def average_factors(operands: Operands) -> tuple[np.float32, np.float32, np.float32]:
    """Return (input zero point, input scale per output scale, output zero point) of an average."""
    ratio = operands.input_scales[0] / operands.output_scale
    return Single(operands.input_zero_points[0]), Single(ratio), Single(operands.output_zero_point)


def check_maximum(operands: Operands) -> None:
    """Refuse a maximum whose output is quantised unlike its input.

    Raises
    ------
    ValueError
        Scales or zero points differ.
    """
    given = operands.input_scales[0], operands.input_zero_points[0]
    if given != (operands.output_scale, operands.output_zero_point):
        raise ValueError("a maximum keeps the quantisation of its input; requantise before or after it")


def half_factors(operands: Operands) -> tuple[np.float16, ...]:
    """Return -zero point and scale of both inputs, 1 / output scale, output zero point and the bounds, each as fp16.

    A missing second input counts as (0, 1).
    """
    values: list[float] = []
    for zero_point, scale in zip(operands.input_zero_points, operands.input_scales, strict=True):
        values += [-zero_point, scale]
    values += [0, 1] * (2 - len(operands.input_scales))
    values += [1 / operands.output_scale, operands.output_zero_point, operands.low, operands.high]
    with np.errstate(over="ignore"):  # a scale below 1.5e-5 has no inverse in fp16: infinity, as on the chip
        return tuple(Half(value) for value in values)


def _dequantize(x: Array, operands: Operands, which: int) -> Array:
    """Return (x + offset) * scale, each step rounded to fp16."""
    offset, scale = half_factors(operands)[2 * which : 2 * which + 2]
    return np.asarray((x.astype(Half) + offset) * scale)


def _quantize(value: Array, operands: Operands) -> Array:
    """Return value * scale + offset, each step rounded to fp16, clamped and rounded half to even."""
    scale, offset, low, high = half_factors(operands)[4:]
    with np.errstate(over="ignore"):
        scaled = value * scale + offset
    return np.asarray(np.rint(np.minimum(np.maximum(scaled, low), high)).astype(np.int8))


def _windows(x: Array, operator: Pool2d, output_shape: tuple[int, ...]) -> list[tuple[tuple[int, int], Array]]:
    """List ((row, column) of the output, the part of its window inside the image)."""
    found = []
    for y in range(output_shape[1]):
        for x_at in range(output_shape[2]):
            top = y * operator.stride[0] - operator.padding[0]
            left = x_at * operator.stride[1] - operator.padding[1]
            window = x[:, max(top, 0) : top + operator.kernel[0], max(left, 0) : left + operator.kernel[1]]
            if 0 in window.shape[1:3]:
                raise ValueError(f"the window of output ({y}, {x_at}) lies outside the image")
            found.append(((y, x_at), window))
    return found
