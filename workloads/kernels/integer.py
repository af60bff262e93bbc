"""Integer kernels of quantised layers: exact int32 sums, then one requantisation by a named profile.

Every function takes (inputs..., operands, operator, profile) and returns an array of ``operands.dtype``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import FIXED_POINT, effective_scales, quantize_multiplier, requantize, requantize_fixed
from workloads.kernels import floating, movement, onnx_ops, pooling, products, wide
from workloads.kernels.movement import pad_image
from workloads.kernels.softmax import softmax_parameters, softmax_rows
from workloads.shapes import windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.operands import Operands
    from workloads.operators import (
        Add,
        Concat,
        Conv2d,
        DepthwiseConv2d,
        FullyConnected,
        MatMul,
        Mean,
        Mul,
        Operator,
        Pool2d,
        Softmax,
    )
    from workloads.tensor import Array

ADD_LEFT_SHIFT = 20  # tflite-micro@90b983c2:tensorflow/lite/micro/kernels/add_common.cc
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def centered(values: Array, zero_point: int) -> Array:
    """Return int16 values with the zero point subtracted."""
    return np.ascontiguousarray(values.astype(np.int16) - np.int16(zero_point))


def finish(sums: Array, operands: Operands, profile: str) -> Array:
    """Add the bias to int32 sums (wrapping) and requantise them; 64-bit sums where the operands are wide."""
    if operands.wide:
        return wide.finish(sums, operands, profile)
    if operands.bias is not None:
        sums = sums + operands.bias.astype(np.int32)
    bounds = (operands.output_zero_point, operands.low, operands.high)
    stated = operands.stated.output if operands.stated is not None else None
    if stated is not None and profile in FIXED_POINT:
        result = requantize_fixed(sums, stated.multipliers, stated.shifts, *bounds, profile)
    else:
        scales = effective_scales(operands, profile) if stated is None else stated.scales
        result = requantize(sums, scales, *bounds, profile)
    return result.astype(operands.dtype)


def _weights(operands: Operands) -> Array:
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    return centered(operands.weights, operands.weight_zero_point)


def conv2d(x: Array, operands: Operands, operator: Conv2d, profile: str) -> Array:
    """Convolution; x (N,H,W,C), weights (O,KH,KW,C/groups)."""
    sums = wide.conv2d_sums if operands.wide else conv2d_sums
    return finish(sums(x, operands, operator), operands, profile)


def conv2d_sums(x: Array, operands: Operands, operator: Conv2d) -> Array:
    """Return the int32 sums of a convolution, before bias and requantisation."""
    weights = _weights(operands)
    height, width = _size(x, (weights.shape[1], weights.shape[2]), operator)
    image = pad_image(centered(x, operands.input_zero_points[0]), operator.padding)
    block = min(max(products.PATCH_BYTES // (2 * max(weights[0].size, 1)), 4), max(height * width, 1))
    sums = products.convolution(
        image, weights, operator.stride, operator.dilation, operator.groups, height, width, block
    )
    return np.asarray(sums)


def depthwise_conv2d(x: Array, operands: Operands, operator: DepthwiseConv2d, profile: str) -> Array:
    """Depthwise convolution; x (N,H,W,C), weights (1,KH,KW,C*multiplier)."""
    sums = wide.depthwise_conv2d_sums if operands.wide else depthwise_conv2d_sums
    return finish(sums(x, operands, operator), operands, profile)


def depthwise_conv2d_sums(x: Array, operands: Operands, operator: DepthwiseConv2d) -> Array:
    """Return the int32 sums of a depthwise convolution, before bias and requantisation."""
    weights = _weights(operands)
    height, width = _size(x, (weights.shape[1], weights.shape[2]), operator)
    image = pad_image(centered(x, operands.input_zero_points[0]), operator.padding)
    if operator.multiplier != 1:
        image = np.repeat(image, operator.multiplier, axis=3)
    sums = products.depthwise_convolution(image, weights[0], operator.stride, operator.dilation, height, width)
    return np.asarray(sums)


def fully_connected(x: Array, operands: Operands, operator: FullyConnected, profile: str) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Matrix product; x (...,K), weights (N,K)."""
    sums = wide.fully_connected_sums if operands.wide else fully_connected_sums
    return finish(sums(x, operands), operands, profile)


def fully_connected_sums(x: Array, operands: Operands) -> Array:
    """Return the int32 sums of a fully connected layer, before bias and requantisation."""
    weights = _weights(operands)
    rows = centered(x, operands.input_zero_points[0]).reshape(-1, weights.shape[1])
    return np.asarray(products.matrix_product(rows, weights)).reshape(*x.shape[:-1], weights.shape[0])


def matmul(a: Array, b: Array, operands: Operands, operator: MatMul, profile: str) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Matrix product of two activations; a (...,M,K), b (...,K,N), leading axes broadcast."""
    sums = wide.matmul_sums if operands.wide else matmul_sums
    return finish(sums(a, b, operands), operands, profile)


def matmul_sums(a: Array, b: Array, operands: Operands) -> Array:
    """Return the int32 sums of a matrix product of activations."""
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = centered(np.broadcast_to(a, (*leading, *a.shape[-2:])), operands.input_zero_points[0])
    right = centered(np.broadcast_to(b, (*leading, *b.shape[-2:])).swapaxes(-1, -2), operands.input_zero_points[1])
    sums = np.empty((*leading, a.shape[-2], b.shape[-1]), np.int32)
    for index in np.ndindex(leading):
        sums[index] = products.matrix_product(left[index], right[index])
    return sums


def add(a: Array, b: Array, operands: Operands, operator: Add, profile: str) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise sum with broadcasting.

    Fixed-point profiles shift both inputs left by 20, bring them to twice the larger scale, add and requantise;
    the others add the scaled inputs in float32.
    """
    if profile == "onnxruntime":
        return onnx_ops.add(a, b, operands)
    terms = [_difference(x, zero_point) for x, zero_point in zip((a, b), operands.input_zero_points, strict=True)]
    if profile not in FIXED_POINT:
        real = [np.float32(scale) * term for scale, term in zip(operands.input_scales, terms, strict=True)]
        return quantize_real(real[0] + real[1], operands)
    common = 2 * max(operands.input_scales)
    parts = [
        requantize(term << ADD_LEFT_SHIFT, np.array([scale / common]), 0, INT32_MIN, INT32_MAX, profile)
        for term, scale in zip(terms, operands.input_scales, strict=True)
    ]
    factor = np.array([common / (2.0**ADD_LEFT_SHIFT * operands.output_scale)])
    bounds = (operands.output_zero_point, operands.low, operands.high)
    return requantize(parts[0] + parts[1], factor, *bounds, profile).astype(operands.dtype)


def mul(a: Array, b: Array, operands: Operands, operator: Mul, profile: str) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise product with broadcasting."""
    if profile == "onnxruntime":
        return onnx_ops.mul(a, b, operands)
    first, second = operands.input_zero_points
    return finish(_difference(a, first) * _difference(b, second), operands, profile)


def pool2d(x: Array, operands: Operands, operator: Pool2d, profile: str) -> Array:
    """Average or maximum pooling; x (N,H,W,C)."""
    height, width = _size(x, operator.kernel, operator)
    window = (operator.kernel, operator.stride, operator.padding[:2], height, width)
    if operator.kind == "max":
        lowest = operands.input_zero_points[0] if operator.count_padding else np.iinfo(x.dtype).min
        result = pooling.window_maxima(np.ascontiguousarray(x), *window, x.dtype.type(lowest))
        return _follow(result, operands, profile)
    if profile == "onnxruntime":
        return onnx_ops.average_pool(x, operator, (x.shape[0], height, width, x.shape[3]), operands)
    zero_point = operands.input_zero_points[0]
    sums, counts = pooling.window_sums(centered(x, zero_point), *window)
    inside = counts[None, :, :, None]
    divisor = np.full_like(inside, operator.kernel[0] * operator.kernel[1]) if operator.count_padding else inside
    if profile not in FIXED_POINT:
        return quantize_real(np.float32(operands.input_scales[0]) * (sums / divisor).astype(np.float32), operands)
    return _follow(round_division(sums + zero_point * divisor, divisor), operands, profile)


def mean(x: Array, operands: Operands, operator: Mean, profile: str) -> Array:
    """Mean over axes; the fixed-point profiles fold the division into the multiplier, as TFLite's reference does."""
    axes = tuple(sorted(axis % x.ndim for axis in operator.axes))
    if profile == "onnxruntime" and x.ndim == 4 and axes == (1, 2):
        pooled = onnx_ops.global_average_pool(x, operands)
        return pooled if operator.keep_dims else pooled[:, 0, 0]
    sums = _difference(x, operands.input_zero_points[0]).sum(axis=axes, keepdims=operator.keep_dims, dtype=np.int32)
    count = int(np.prod([x.shape[axis] for axis in axes]))
    ratio = operands.input_scales[0] / operands.output_scale
    bounds = (operands.output_zero_point, operands.low, operands.high)
    if profile not in FIXED_POINT:
        return requantize(sums, np.array([ratio / count]), *bounds, profile).astype(operands.dtype)
    multiplier, shift = quantize_multiplier(ratio)
    reduction = min(count.bit_length() - 1, 32, 31 + shift)
    multipliers = np.array([(multiplier << reduction) // count], np.int32)
    shifts = np.array([shift - reduction], np.int32)
    return requantize_fixed(sums, multipliers, shifts, *bounds, profile).astype(operands.dtype)


def softmax(x: Array, operands: Operands, operator: Softmax, profile: str) -> Array:
    """Softmax over the last axis; the fixed-point profiles share TFLite's, where the output has the scale 1/256."""
    if profile == "onnxruntime":
        return onnx_ops.softmax(x, operands)
    scale, limits = operands.input_scales[0], np.iinfo(operands.dtype)
    tflite_output = (operands.output_scale, operands.output_zero_point) == (2.0**-limits.bits, limits.min)
    if profile not in FIXED_POINT or not tflite_output:
        return quantize_real(floating.softmax(np.float32(scale) * x.astype(np.float32), operator.beta), operands)
    parameters = softmax_parameters(operator.beta, scale)
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    result = softmax_rows(rows, *parameters, int(limits.min), int(limits.max), limits.bits)
    return np.asarray(result).reshape(x.shape).astype(operands.dtype)


def concat(inputs: Sequence[Array], operands: Operands, operator: Concat, profile: str) -> Array:
    """Concatenation of integers with different scales: each is requantised to the output's first."""
    pairs = zip(operands.input_scales, operands.input_zero_points, strict=True)
    parts = [
        _follow(x, replace(operands, input_scales=(scale,), input_zero_points=(zero_point,)), profile)
        for x, (scale, zero_point) in zip(inputs, pairs, strict=True)
    ]
    return movement.concat(parts, operator)


def rescale(x: Array, operands: Operands, operator: Operator, profile: str) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Requantise integers to another scale and clamp them: a standalone activation, or integer-to-integer quantise."""
    return finish(_difference(x, operands.input_zero_points[0]), operands, profile)


def round_division(sums: Array, divisor: Array) -> Array:
    """Divide integers, rounding half away from zero by C's truncating division."""
    magnitude = (np.abs(sums) + divisor // 2) // divisor
    return np.asarray(np.where(sums < 0, -magnitude, magnitude), np.int32)


def quantize_real(real: Array, operands: Operands) -> Array:
    """Quantise float32 values: clamp, round half to even, add the zero point."""
    zero_point = operands.output_zero_point
    ratio = real.astype(np.float32) / np.float32(operands.output_scale)
    bounded = np.clip(ratio, np.float32(operands.low - zero_point), np.float32(operands.high - zero_point))
    return np.asarray(np.rint(bounded).astype(np.int32) + zero_point, operands.dtype)


def _size(x: Array, size: tuple[int, int], operator: Conv2d | DepthwiseConv2d | Pool2d) -> tuple[int, int]:
    """Return (height, width) of the output."""
    dilation = getattr(operator, "dilation", (1, 1))
    return windows((x.shape[1], x.shape[2]), size, operator.stride, operator.padding, dilation)


def _difference(values: Array, zero_point: int) -> Array:
    return values.astype(np.int32) - np.int32(zero_point)


def _follow(values: Array, operands: Operands, profile: str) -> Array:
    """Clamp values that kept their input's quantisation, or requantise them where the output has another."""
    same = (operands.input_scales[0], operands.input_zero_points[0])
    if same == (operands.output_scale, operands.output_zero_point):
        return np.clip(values, operands.low, operands.high).astype(operands.dtype)
    return finish(_difference(values, operands.input_zero_points[0]), operands, profile)
