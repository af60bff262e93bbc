"""Integer kernels of quantised layers: exact int32 sums, then one requantisation by a named profile.

Every function takes (inputs..., operands, operator, profile) and returns an array of ``operands.dtype``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import (
    effective_scales,
    narrow,
    profile_of,
    quantize_multiplier,
    quantize_multipliers,
    requantize,
    requantize_fixed,
)
from workloads.kernels import accumulators, ascend, blocked, floating, movement, onnx_ops, pooling, products, wide
from workloads.kernels.fixed_point import is_fixed_point
from workloads.kernels.movement import pad_image
from workloads.kernels.softmax import softmax_parameters, softmax_rows, softmax_rows_16, stated_parameters
from workloads.operands import ADD_LEFT_SHIFT, Factors, Stated
from workloads.shapes import windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.arithmetic import RequantProfile
    from workloads.operands import Operands
    from workloads.operators import (
        Add,
        Concat,
        Conv2d,
        DepthwiseConv2d,
        FullyConnected,
        MatMul,
        Maximum,
        Mean,
        Minimum,
        Mul,
        Operator,
        Pool2d,
        Softmax,
        Sub,
    )
    from workloads.tensor import Array

    Profile = str | RequantProfile

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def centered(values: Array, zero_point: int) -> Array:
    """Return int16 values with the zero point subtracted."""
    return np.ascontiguousarray(values.astype(np.int16) - np.int16(zero_point))


def finish(sums: Array, operands: Operands, profile: Profile) -> Array:
    """Add the bias to int32 sums (wrapping) and requantise them; 64-bit sums where the operands are wide."""
    if wide.is_wide(operands, profile):
        return wide.finish(sums, operands, profile)
    if operands.bias is not None:
        sums = sums + operands.bias.astype(np.int32)
    bounds = (operands.output_zero_point, operands.low, operands.high)
    stated = operands.stated.output if operands.stated is not None else None
    if stated is not None and is_fixed_point(profile):
        result = requantize_fixed(sums, stated.multipliers, stated.shifts, *bounds, profile)
    else:
        scales = effective_scales(operands, profile) if stated is None else stated.scales
        result = requantize(sums, scales, *bounds, profile, operands.output_scale)
    return result.astype(operands.dtype)


def _narrow(profile: Profile) -> Profile:
    """Return the profile of the operators that hold 32 bits where products hold 64."""
    return narrow(profile) if profile_of(profile).scale == "q15" else profile


def _weights(operands: Operands) -> Array:
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    return centered(operands.weights, operands.weight_zero_point)


def _differ(x: Array, operands: Operands, profile: Profile, axis: int = 0) -> bool:
    """Whether the profile's accumulator may hold other sums of this layer than 32 bits that wrap."""
    if operands.weights is None or wide.is_wide(operands, profile):
        return False
    depth = operands.weights.size // operands.weights.shape[axis]
    return accumulators.differ(operands, profile, x, operands.weights, depth)


def conv2d(x: Array, operands: Operands, operator: Conv2d, profile: Profile) -> Array:
    """Convolution; x (N,H,W,C), weights (O,KH,KW,C/groups)."""
    if blocked.takes(x, operands, profile):
        return blocked.conv2d(x, operands, operator, profile)
    if _differ(x, operands, profile):
        return finish(accumulators.conv2d_sums(x, operands, operator, profile), replace(operands, bias=None), profile)
    sums = wide.conv2d_sums if wide.is_wide(operands, profile) else conv2d_sums
    return finish(sums(x, operands, operator), operands, profile)


def conv2d_sums(x: Array, operands: Operands, operator: Conv2d) -> Array:
    """Return the int32 sums of a convolution, before bias and requantisation."""
    if blocked.takes(x, operands):
        return blocked.conv2d(x, operands, operator, None)
    weights = _weights(operands)
    height, width = _size(x, (weights.shape[1], weights.shape[2]), operator)
    image = pad_image(centered(x, operands.input_zero_points[0]), operator.padding)
    block = min(max(products.PATCH_BYTES // (2 * max(weights[0].size, 1)), 4), max(height * width, 1))
    sums = products.convolution(
        image, weights, operator.stride, operator.dilation, operator.groups, height, width, block
    )
    return np.asarray(sums)


def depthwise_conv2d(x: Array, operands: Operands, operator: DepthwiseConv2d, profile: Profile) -> Array:
    """Depthwise convolution; x (N,H,W,C), weights (1,KH,KW,C*multiplier)."""
    if blocked.takes(x, operands, profile):
        return blocked.depthwise_conv2d(x, operands, operator, profile)
    if _differ(x, operands, profile, axis=3):
        exact = accumulators.depthwise_conv2d_sums(x, operands, operator, profile)
        return finish(exact, replace(operands, bias=None), profile)
    sums = wide.depthwise_conv2d_sums if wide.is_wide(operands, profile) else depthwise_conv2d_sums
    return finish(sums(x, operands, operator), operands, profile)


def depthwise_conv2d_sums(x: Array, operands: Operands, operator: DepthwiseConv2d) -> Array:
    """Return the int32 sums of a depthwise convolution, before bias and requantisation."""
    if blocked.takes(x, operands):
        return blocked.depthwise_conv2d(x, operands, operator, None)
    weights = _weights(operands)
    height, width = _size(x, (weights.shape[1], weights.shape[2]), operator)
    image = pad_image(centered(x, operands.input_zero_points[0]), operator.padding)
    if operator.multiplier != 1:
        image = np.repeat(image, operator.multiplier, axis=3)
    sums = products.depthwise_convolution(image, weights[0], operator.stride, operator.dilation, height, width)
    return np.asarray(sums)


def fully_connected(x: Array, operands: Operands, operator: FullyConnected, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Matrix product; x (...,K), weights (N,K)."""
    if blocked.takes(x, operands, profile):
        return blocked.fully_connected(x, operands, profile)
    if _differ(x, operands, profile):
        return finish(accumulators.fully_connected_sums(x, operands, profile), replace(operands, bias=None), profile)
    sums = wide.fully_connected_sums if wide.is_wide(operands, profile) else fully_connected_sums
    return finish(sums(x, operands), operands, profile)


def fully_connected_sums(x: Array, operands: Operands) -> Array:
    """Return the int32 sums of a fully connected layer, before bias and requantisation."""
    if blocked.takes(x, operands):
        return blocked.fully_connected(x, operands, None)
    weights = _weights(operands)
    rows = centered(x, operands.input_zero_points[0]).reshape(-1, weights.shape[1])
    return np.asarray(products.matrix_product(rows, weights)).reshape(*x.shape[:-1], weights.shape[0])


def matmul(a: Array, b: Array, operands: Operands, operator: MatMul, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Matrix product of two activations; a (...,M,K), b (...,K,N), leading axes broadcast."""
    if blocked.takes(a, operands, profile) and a.size and b.size:
        return blocked.matmul(a, b, operands, profile)
    if not wide.is_wide(operands, profile) and accumulators.differ(operands, profile, a, b, a.shape[-1]):
        return finish(accumulators.matmul_sums(a, b, operands, profile), replace(operands, bias=None), profile)
    sums = wide.matmul_sums if wide.is_wide(operands, profile) else matmul_sums
    return finish(sums(a, b, operands), operands, profile)


def matmul_sums(a: Array, b: Array, operands: Operands) -> Array:
    """Return the int32 sums of a matrix product of activations."""
    if blocked.takes(a, operands) and a.size and b.size:
        return blocked.matmul(a, b, operands, None)
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = centered(np.broadcast_to(a, (*leading, *a.shape[-2:])), operands.input_zero_points[0])
    right = centered(np.broadcast_to(b, (*leading, *b.shape[-2:])).swapaxes(-1, -2), operands.input_zero_points[1])
    sums = np.empty((*leading, a.shape[-2], b.shape[-1]), np.int32)
    for index in np.ndindex(leading):
        sums[index] = products.matrix_product(left[index], right[index])
    return sums


def add(a: Array, b: Array, operands: Operands, operator: Add, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise sum with broadcasting.

    Fixed-point profiles shift both inputs left by 20 (16-bit ones by 15), bring them to twice the larger scale, add and
    requantise; the others add the scaled inputs in float32.
    """
    if profile == "onnxruntime":
        return onnx_ops.add(a, b, operands)
    return (
        ascend.add(a, b, operands) if ascend.takes(a, operands, profile) else _sum(a, b, operands, 1, _narrow(profile))
    )


def sub(a: Array, b: Array, operands: Operands, operator: Sub, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise difference with broadcasting, by the steps of ``add``."""
    if ascend.takes(a, operands, profile):
        return ascend.sub(a, b, operands)
    return _sum(a, b, operands, -1, _narrow(profile))


def _sum(a: Array, b: Array, operands: Operands, sign: int, profile: Profile) -> Array:
    terms = [_difference(x, zero_point) for x, zero_point in zip((a, b), operands.input_zero_points, strict=True)]
    if not is_fixed_point(profile):
        real = [np.float32(scale) * term for scale, term in zip(operands.input_scales, terms, strict=True)]
        return quantize_real(real[0] + np.float32(sign) * real[1], operands)
    stated = operands.stated or Stated()
    left_shift = ADD_LEFT_SHIFT[a.dtype.itemsize] if stated.left_shift is None else stated.left_shift
    common = 2 * max(operands.input_scales)
    factors = stated.inputs or [Factors(*quantize_multipliers(np.array([s / common]))) for s in operands.input_scales]
    last = stated.output or Factors(
        *quantize_multipliers(np.array([common / (2.0**left_shift * operands.output_scale)]))
    )
    first, second = (
        requantize_fixed(term << left_shift, factor.multipliers, factor.shifts, 0, INT32_MIN, INT32_MAX, profile)
        for term, factor in zip(terms, factors, strict=True)
    )
    bounds = (operands.output_zero_point, operands.low, operands.high)
    return requantize_fixed(first + sign * second, last.multipliers, last.shifts, *bounds, profile).astype(
        operands.dtype
    )


def minimum(a: Array, b: Array, operands: Operands, operator: Minimum, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise minimum with broadcasting, each input brought to the output's quantisation first."""
    return np.minimum(*_followed((a, b), operands, profile))


def maximum(a: Array, b: Array, operands: Operands, operator: Maximum, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise maximum with broadcasting, each input brought to the output's quantisation first."""
    return np.maximum(*_followed((a, b), operands, profile))


def mul(a: Array, b: Array, operands: Operands, operator: Mul, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise product with broadcasting."""
    if profile == "onnxruntime":
        return onnx_ops.mul(a, b, operands)
    if ascend.takes(a, operands, profile):
        return ascend.mul(a, b, operands)
    first, second = operands.input_zero_points
    return finish(_difference(a, first) * _difference(b, second), operands, _narrow(profile))


def pool2d(x: Array, operands: Operands, operator: Pool2d, profile: Profile) -> Array:
    """Average or maximum pooling; x (N,H,W,C)."""
    height, width = _size(x, operator.kernel, operator)
    window = (operator.kernel, operator.stride, operator.padding[:2], height, width)
    if operator.kind == "max":
        lowest = np.iinfo(x.dtype).min
        result = pooling.window_maxima(np.ascontiguousarray(x), *window, x.dtype.type(lowest))
        return _follow(result, operands, profile)
    if profile == "onnxruntime":
        return onnx_ops.average_pool(x, operator, (x.shape[0], height, width, x.shape[3]), operands)
    if ascend.takes(x, operands, profile) and not operator.count_padding:
        return ascend.average_pool(x, operator, (x.shape[0], height, width, x.shape[3]), operands)
    zero_point = operands.input_zero_points[0]
    sums, counts = pooling.window_sums(centered(x, zero_point), *window)
    inside = counts[None, :, :, None]
    divisor = np.full_like(inside, operator.kernel[0] * operator.kernel[1]) if operator.count_padding else inside
    if not is_fixed_point(profile):
        return quantize_real(np.float32(operands.input_scales[0]) * (sums / divisor).astype(np.float32), operands)
    return _follow(round_division(sums + zero_point * divisor, divisor), operands, profile)


def mean(x: Array, operands: Operands, operator: Mean, profile: Profile) -> Array:
    """Mean over axes; the fixed-point profiles fold the division into the multiplier, as TFLite's reference does."""
    axes = tuple(sorted(axis % x.ndim for axis in operator.axes))
    if profile == "onnxruntime" and x.ndim == 4 and axes == (1, 2):
        pooled = onnx_ops.global_average_pool(x, operands)
        return pooled if operator.keep_dims else pooled[:, 0, 0]
    if ascend.takes(x, operands, profile) and x.ndim == 4 and axes == (1, 2):
        pooled = ascend.global_average_pool(x, operands)
        return pooled if operator.keep_dims else pooled[:, 0, 0]
    sums = _difference(x, operands.input_zero_points[0]).sum(axis=axes, keepdims=operator.keep_dims, dtype=np.int32)
    count = int(np.prod([x.shape[axis] for axis in axes]))
    ratio = operands.input_scales[0] / operands.output_scale
    bounds = (operands.output_zero_point, operands.low, operands.high)
    if not is_fixed_point(profile):
        factor = np.array([ratio / count])
        return requantize(sums, factor, *bounds, profile, operands.output_scale).astype(operands.dtype)
    multiplier, shift = quantize_multiplier(ratio)
    reduction = min(count.bit_length() - 1, 32, 31 + shift)
    multipliers = np.array([(multiplier << reduction) // count], np.int32)
    shifts = np.array([shift - reduction], np.int32)
    return requantize_fixed(sums, multipliers, shifts, *bounds, _narrow(profile)).astype(operands.dtype)


def softmax(x: Array, operands: Operands, operator: Softmax, profile: Profile) -> Array:
    """Softmax over the last axis.

    The fixed-point profiles share TFLite's where the output has its scale: 1/256 for 8 bits and 1/65536 for 16-bit
    outputs of 8-bit inputs, at the lowest zero point; 1/32768 and zero point 0 for 16-bit inputs.
    """
    if profile == "onnxruntime":
        return onnx_ops.softmax(x, operands)
    if ascend.takes(x, operands, profile):
        return ascend.softmax(x, operands, operator.beta)
    limits, sixteen = np.iinfo(operands.dtype), x.dtype == np.int16
    scales = {True: (2.0**-15, 0), False: (2.0**-limits.bits, int(limits.min))}
    if not is_fixed_point(profile) or (operands.output_scale, operands.output_zero_point) != scales[sixteen]:
        real = np.float32(operands.input_scales[0]) * x.astype(np.float32)
        return quantize_real(floating.softmax(real, operator.beta), operands)
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    if sixteen:
        result = softmax_rows_16(rows, operands, operator.beta, _narrow(profile))
    else:
        parameters = stated_parameters(operands) or softmax_parameters(operator.beta, operands.input_scales[0])
        result = softmax_rows(rows, *parameters, int(limits.min), int(limits.max), limits.bits)
    return np.asarray(result).reshape(x.shape).astype(operands.dtype)


def concat(inputs: Sequence[Array], operands: Operands, operator: Concat, profile: Profile) -> Array:
    """Concatenation of integers with different scales: each is requantised to the output's first."""
    return movement.concat(_followed(inputs, operands, profile), operator)


def _followed(inputs: Sequence[Array], operands: Operands, profile: Profile) -> list[Array]:
    """Bring each input to the output's quantisation."""
    pairs = zip(operands.input_scales, operands.input_zero_points, strict=True)
    return [
        _follow(x, replace(operands, input_scales=(scale,), input_zero_points=(zero_point,)), profile)
        for x, (scale, zero_point) in zip(inputs, pairs, strict=True)
    ]


def rescale(x: Array, operands: Operands, operator: Operator, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Requantise integers to another scale and clamp them: a standalone activation, or integer-to-integer quantise."""
    if ascend.takes(x, operands, profile):
        return ascend.rescale(x, operands)
    return finish(_difference(x, operands.input_zero_points[0]), operands, _narrow(profile))


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


def _follow(values: Array, operands: Operands, profile: Profile) -> Array:
    """Clamp values that kept their input's quantisation, or requantise them where the output has another."""
    same = (operands.input_scales[0], operands.input_zero_points[0])
    if same == (operands.output_scale, operands.output_zero_point):
        return np.clip(values, operands.low, operands.high).astype(operands.dtype)
    return finish(_difference(values, operands.input_zero_points[0]), operands, _narrow(profile))
