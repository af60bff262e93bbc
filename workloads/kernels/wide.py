"""Products of 16-bit activations with 64-bit sums, and their requantisation by a multiplier reduced to 16 bits.

Sums are formed in float64, which is exact here: a product is below 2**31, so over 4 million of them fit in 53 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.kernels import floating
from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.operators import Conv2d, DepthwiseConv2d
    from workloads.tensor import Array

MAX_DEPTH = 1 << 22  # products per output that a float64 sum holds exactly


@kernel
def requantize_reduced(
    accumulators: Array, multipliers: Array, shifts: Array, zero_point: int, low: int, high: int
) -> Array:
    """Scale int64 accumulators (rows, channels) by 16-bit multipliers, rounding half up once.

    tflite-micro@90b983c2:tensorflow/lite/kernels/internal/common.cc, MultiplyByQuantizedMultiplier(int64_t).
    """
    rows, channels = accumulators.shape
    result = np.empty((rows, channels), np.int32)
    for row in range(rows):
        for channel in range(channels):
            multiplier = np.int64(multipliers[channel])
            reduced = (multiplier + np.int64(1 << 15)) >> np.int64(16)
            if multiplier >= np.int64(0x7FFF0000):
                reduced = np.int64(0x7FFF)
            right = np.int64(15) - np.int64(shifts[channel])
            value = np.int64(accumulators[row, channel]) * reduced
            half = (np.int64(1) << max(right, np.int64(0))) >> np.int64(1)
            value = (value << max(-right, np.int64(0))) + half
            value = (value >> max(right, np.int64(0))) + np.int64(zero_point)
            result[row, channel] = min(max(value, np.int64(low)), np.int64(high))
    return result


def finish(sums: Array, operands: Operands, profile: str) -> Array:
    """Add the bias to int64 sums and requantise them."""
    if operands.bias is not None:
        sums = sums + operands.bias.astype(np.int64)
    stated = operands.stated.output if operands.stated is not None else None
    if stated is not None:
        multipliers, shifts = stated.multipliers, stated.shifts
    else:
        multipliers, shifts = quantize_multipliers(effective_scales(operands, profile))
    columns = np.ascontiguousarray(sums, np.int64).reshape(-1, multipliers.size)
    bounds = (int(operands.output_zero_point), int(operands.low), int(operands.high))
    result = requantize_reduced(columns, multipliers, shifts, *bounds)
    return np.asarray(result).reshape(sums.shape).astype(operands.dtype)


def conv2d_sums(x: Array, operands: Operands, operator: Conv2d) -> Array:
    """Return the int64 sums of a convolution; x (N,H,W,C), weights (O,KH,KW,C/groups)."""
    return _integers(floating.conv2d(_centered(x, operands, 0), _weights(operands), operator))


def depthwise_conv2d_sums(x: Array, operands: Operands, operator: DepthwiseConv2d) -> Array:
    """Return the int64 sums of a depthwise convolution; x (N,H,W,C), weights (1,KH,KW,C*multiplier)."""
    return _integers(floating.depthwise_conv2d(_centered(x, operands, 0), _weights(operands), operator))


def fully_connected_sums(x: Array, operands: Operands) -> Array:
    """Return the int64 sums of a matrix product; x (...,K), weights (N,K)."""
    return _integers(_centered(x, operands, 0) @ _weights(operands).T)


def matmul_sums(a: Array, b: Array, operands: Operands) -> Array:
    """Return the int64 sums of a matrix product of activations."""
    if a.shape[-1] > MAX_DEPTH:
        raise ValueError(f"a product of depth {a.shape[-1]}, expected at most {MAX_DEPTH}")
    return _integers(_centered(a, operands, 0) @ _centered(b, operands, 1))


def _centered(x: Array, operands: Operands, which: int) -> Array:
    return x.astype(np.float64) - operands.input_zero_points[which]


def _weights(operands: Operands) -> Array:
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    if operands.weights[0].size > MAX_DEPTH:
        raise ValueError(f"a product of depth {operands.weights[0].size}, expected at most {MAX_DEPTH}")
    return operands.weights.astype(np.float64) - operands.weight_zero_point


def _integers(sums: Array) -> Array:
    return np.asarray(sums, np.int64)
