"""Elementwise, pooling and softmax kernels with the arithmetic of onnxruntime's CPU path on x86-64.

Convolution, Gemm and MatMul follow the "onnxruntime" requantisation profile and are not here. Every function takes int8
arrays, channels last, and ``Operands``; scales are the float32 numbers of the model file.

References
----------
.. [1] microsoft/onnxruntime: onnxruntime/core/mlas/lib/{qladd,qladd_avx2,qlmul,qlgavgpool}.cpp,
   onnxruntime/contrib_ops/cpu/quantization/{qlinear_pool,qlinear_softmax}.cc; checked against onnxruntime 1.31.1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.elementwise import add_fused
from workloads.kernels.parallel import share, thread_count

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.operators import Pool2d
    from workloads.tensor import Array

FLOAT = np.float32
MACS_PER_SUM = 16  # a sum and its rounding take as long as so many multiply-accumulates of a convolution


def add(a: Array, b: Array, operands: Operands) -> Array:
    """QLinearAdd: two fused multiply-adds in float32 on top of the zero points, rounded half to even."""
    output_scale = FLOAT(operands.output_scale)
    ratio_a, ratio_b = (FLOAT(scale) / output_scale for scale in operands.input_scales)
    zero_a, zero_b = (FLOAT(zero_point) for zero_point in operands.input_zero_points)
    fixed = FLOAT(operands.output_zero_point) - (ratio_a * zero_a + ratio_b * zero_b)
    shape = np.broadcast_shapes(a.shape, b.shape)
    # A broadcast view is copied: compiled kernels take writable arrays only.
    first, second = (np.ascontiguousarray(x) if x.shape == shape else np.broadcast_to(x, shape).copy() for x in (a, b))
    result = np.empty(first.shape, np.int8)
    flat = (first.reshape(-1), second.reshape(-1))
    factors = (float(ratio_a), float(ratio_b), float(fixed))
    bounds, out = (float(operands.low), float(operands.high)), result.reshape(-1)
    share(lambda turns: add_fused(*flat, *factors, bounds, turns, out), thread_count(MACS_PER_SUM * result.size))
    return result


def mul(a: Array, b: Array, operands: Operands) -> Array:
    """QLinearMul: the integer product times one float32 scale, the zero point added before rounding half to even."""
    zero_a, zero_b = operands.input_zero_points
    scale_a, scale_b = (FLOAT(scale) for scale in operands.input_scales)
    product = (a.astype(np.int32) - zero_a) * (b.astype(np.int32) - zero_b)
    scaled = product.astype(FLOAT) * (scale_a * scale_b / FLOAT(operands.output_scale))
    return _clamp(np.rint(scaled + FLOAT(operands.output_zero_point)), operands)


def global_average_pool(x: Array, operands: Operands) -> Array:
    """QLinearGlobalAveragePool of (N,H,W,C): int32 sum, float32 scale with the area in it, rounded half to even."""
    area = x.shape[1] * x.shape[2]
    total = x.astype(np.int32).sum(axis=(1, 2), keepdims=True, dtype=np.int32) - operands.input_zero_points[0] * area
    scale = FLOAT(operands.input_scales[0]) / (FLOAT(operands.output_scale) * FLOAT(area))
    return _clamp(np.rint(total.astype(FLOAT) * scale) + operands.output_zero_point, operands)


def average_pool(x: Array, operator: Pool2d, output_shape: tuple[int, ...], operands: Operands) -> Array:
    """QLinearAveragePool of (N,H,W,C): a float32 mean of dequantised values, summed row by row, then quantised."""
    top, left = operator.padding[:2]
    (_, height, width, _), (rows, columns) = x.shape, output_shape[1:3]
    real = FLOAT(operands.input_scales[0]) * (x.astype(np.int32) - operands.input_zero_points[0]).astype(FLOAT)
    mean = np.empty(output_shape, FLOAT)
    for row in range(rows):
        first_y = row * operator.stride[0] - top
        ys = range(max(first_y, 0), min(first_y + operator.kernel[0], height))
        for column in range(columns):
            first_x = column * operator.stride[1] - left
            xs = range(max(first_x, 0), min(first_x + operator.kernel[1], width))
            total = np.zeros((x.shape[0], x.shape[3]), FLOAT)
            for y in ys:  # float addition is not associative: keep the order
                for position in xs:
                    total += real[:, y, position, :]
            count = math.prod(operator.kernel) if operator.count_padding else len(ys) * len(xs)
            mean[:, row, column, :] = total / FLOAT(count)
    scaled = mean / FLOAT(operands.output_scale) + FLOAT(operands.output_zero_point)
    return _clamp(np.rint(scaled), operands)


def softmax(x: Array, operands: Operands) -> Array:
    """QLinearSoftmax over the last axis: a table of float32 exponentials, summed in order, divided, half to even.

    Rows of one element are left to overflow by onnxruntime; here they give the largest value.
    """
    columns = x.shape[-1]
    if columns == 1:
        return np.full_like(x, operands.high)
    exponentials = softmax_table(columns, operands)[
        x.astype(np.int32) - x.max(axis=-1, keepdims=True).astype(np.int32) + 255
    ]
    total = np.cumsum(exponentials, axis=-1, dtype=FLOAT)[..., -1:]
    share = exponentials * softmax_scale(operands) / total
    return _clamp(np.rint(share) + operands.output_zero_point, operands)


def softmax_table(columns: int, operands: Operands) -> Array:
    """Return float32 exponentials of the differences -255 .. 0 to a row's maximum, as large as their sum allows."""
    scale = float(FLOAT(operands.input_scales[0]))
    headroom = max(0.0, math.log(float(FLOAT(np.finfo(FLOAT).max) / FLOAT(columns))) - 5) / scale
    return np.array([math.exp((step - 255 + headroom) * scale) for step in range(256)]).astype(FLOAT)


def softmax_scale(operands: Operands) -> np.float32:
    """Return the whole number of steps of the output in one."""
    return FLOAT(np.floor(FLOAT(1) / FLOAT(operands.output_scale)))


def _clamp(values: Array, operands: Operands) -> Array:
    """Saturate to the integers of the output."""
    return np.clip(values, operands.low, operands.high).astype(np.int8)
