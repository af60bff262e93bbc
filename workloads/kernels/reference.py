"""Plain-numpy oracles of the integer kernels: slow, written from the definitions, sharing no code with the kernels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.accumulators_reference import paired_sums
from workloads.kernels.rounding_reference import fixed_stages, quantize_multiplier, stages
from workloads.profiles import narrow, profile_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workloads.operands import Operands
    from workloads.operators import Add, Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Mean, Mul, Pool2d, Softmax
    from workloads.profiles import RequantProfile
    from workloads.tensor import Array

    Profile = str | RequantProfile

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def wrap32(value: int) -> int:
    """Return the int32 that an integer wraps to."""
    return (value + 2**31) % 2**32 - 2**31


def rescaler(profile: Profile) -> Callable[[int, int, int], int]:
    """Return the function (value, multiplier, shift) -> integer of a fixed-point profile whose layer holds 32 bits."""
    record = narrow(profile)

    def rescale(value: int, multiplier: int, shift: int) -> int:
        steps = fixed_stages(wrap32(value), multiplier, shift, 0, INT32_MIN, INT32_MAX, record)
        return int(dict(steps)["round"])

    return rescale


def requantize(
    accumulators: Array,
    scales: Array,
    zero_point: int,
    low: int,
    high: int,
    profile: Profile,
    output_scale: float = 1.0,
) -> Array:
    """Requantise int32 accumulators (..., channels) one by one."""
    record = profile_of(profile)
    result = np.empty(accumulators.shape, np.int32)
    for index in np.ndindex(accumulators.shape):
        scale = float(scales[index[-1] if scales.size > 1 else 0])
        steps = stages(int(accumulators[index]), scale, zero_point, low, high, record, output_scale)
        result[index] = steps[-1][1]
    return result


def finish(sums: Array, operands: Operands, profile: Profile) -> Array:
    """Wrap exact sums to int32, add the bias and requantise; scales in float64, in float32 for onnxruntime."""
    bias = 0 if operands.bias is None else operands.bias.astype(np.int64)
    wrapped = (sums + bias + 2**31) % 2**32 - 2**31
    scales = np.array([1.0]) if operands.weight_scales is None else operands.weight_scales
    scales = scales if scales.size else np.array([1.0])
    if profile_of(profile).factor == "float32":
        product = np.float32(math.prod(np.float32(scale) for scale in operands.input_scales))
        factors = (product * scales.astype(np.float32) / np.float32(operands.output_scale)).astype(np.float64)
    else:
        factors = math.prod(operands.input_scales) * scales / operands.output_scale
    bounds = (operands.output_zero_point, operands.low, operands.high)
    return requantize(wrapped, factors, *bounds, profile, operands.output_scale).astype(operands.dtype)


def _windows(shape: tuple[int, ...], size: tuple[int, int], operator: Conv2d | DepthwiseConv2d | Pool2d) -> Iterator[
    tuple[int, int, list[tuple[int, int, int, int]]]
]:  # fmt: skip
    """Yield each output position with the (ky, kx, y, x) of the filter taps inside the image."""
    dilation = getattr(operator, "dilation", (1, 1))
    top, left, bottom, right = operator.padding
    height = (shape[1] + top + bottom - dilation[0] * (size[0] - 1) - 1) // operator.stride[0] + 1
    width = (shape[2] + left + right - dilation[1] * (size[1] - 1) - 1) // operator.stride[1] + 1
    for row in range(height):
        for column in range(width):
            taps = [
                (ky, kx, row * operator.stride[0] - top + ky * dilation[0],
                 column * operator.stride[1] - left + kx * dilation[1])
                for ky in range(size[0]) for kx in range(size[1])
            ]  # fmt: skip
            yield row, column, [tap for tap in taps if 0 <= tap[2] < shape[1] and 0 <= tap[3] < shape[2]]


def _weights(operands: Operands) -> Array:
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    return operands.weights.astype(np.int64) - operands.weight_zero_point


def _output(shape: tuple[int, ...], channels: int, size: tuple[int, int], operator: Conv2d | Pool2d) -> Array:
    positions = [(row, column) for row, column, _ in _windows(shape, size, operator)]
    return np.zeros((shape[0], positions[-1][0] + 1, positions[-1][1] + 1, channels), np.int64)


def _pairs(profile: Profile) -> bool:
    return profile_of(profile).accumulator == "pair16"


def _paired_convolution(x: Array, operands: Operands, operator: Conv2d) -> Array:
    """Return sums in saturating pairs over raw bytes: kernel row, kernel column, channel; the image is filled up."""
    weights = operands.weights
    if weights is None:
        raise ValueError("the layer has no weights")
    top, left, bottom, right = operator.padding
    zeros = (operands.input_zero_points[0], operands.weight_zero_point)
    image = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=x.dtype.type(zeros[0]))
    sums = _output(x.shape, weights.shape[0], weights.shape[1:3], operator)
    per_group, channels = weights.shape[0] // operator.groups, weights.shape[3]
    spans = [(size - 1) * step + 1 for size, step in zip(weights.shape[1:3], operator.dilation, strict=True)]
    for n, row, column, output in np.ndindex(*sums.shape):
        y, at, first = row * operator.stride[0], column * operator.stride[1], output // per_group * channels
        rows, columns = slice(y, y + spans[0], operator.dilation[0]), slice(at, at + spans[1], operator.dilation[1])
        window = image[n, rows, columns, first : first + channels].reshape(1, -1)
        sums[n, row, column, output] = paired_sums(window, weights[output].reshape(1, -1), *zeros)[0, 0]
    return sums


def conv2d(x: Array, operands: Operands, operator: Conv2d, profile: Profile) -> Array:
    """Convolution by its definition: positions outside the image are skipped."""
    if _pairs(profile):
        return finish(_paired_convolution(x, operands, operator), operands, profile)
    weights, image = _weights(operands), x.astype(np.int64) - operands.input_zero_points[0]
    size, per_group, channels = weights.shape[1:3], weights.shape[0] // operator.groups, weights.shape[3]
    sums = _output(x.shape, weights.shape[0], size, operator)
    for row, column, taps in _windows(x.shape, size, operator):
        for output in range(weights.shape[0]):
            first = output // per_group * channels
            for ky, kx, y, position in taps:
                values = image[:, y, position, first : first + channels]
                sums[:, row, column, output] += values @ weights[output, ky, kx]
    return finish(sums, operands, profile)


def depthwise_conv2d(x: Array, operands: Operands, operator: DepthwiseConv2d, profile: Profile) -> Array:
    """Depthwise convolution as a grouped one, one group per input channel."""
    from workloads.operators import Conv2d

    if operands.weights is None:
        raise ValueError("the layer has no weights")
    if _pairs(profile):  # not in depthwise layers, where bytes are widened first
        profile = replace(profile_of(profile), accumulator="wrap32")
    grouped = Conv2d(operator.stride, operator.padding, operator.dilation, x.shape[3])
    return conv2d(x, replace(operands, weights=operands.weights.transpose(3, 1, 2, 0)), grouped, profile)


def fully_connected(x: Array, operands: Operands, operator: FullyConnected, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Matrix product in int64."""
    if _pairs(profile) and operands.weights is not None:
        rows = x.reshape(-1, x.shape[-1])
        sums = paired_sums(rows, operands.weights, operands.input_zero_points[0], operands.weight_zero_point)
        return finish(sums.reshape(*x.shape[:-1], -1), operands, profile)
    return finish((x.astype(np.int64) - operands.input_zero_points[0]) @ _weights(operands).T, operands, profile)


def matmul(a: Array, b: Array, operands: Operands, operator: MatMul, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Matrix product of activations in int64."""
    first, second = operands.input_zero_points
    if _pairs(profile):
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (np.broadcast_to(values, (*leading, *values.shape[-2:])) for values in (a, b))
        sums = [paired_sums(a[index], b[index].T, first, second) for index in np.ndindex(leading)]
        return finish(np.reshape(sums, (*leading, a.shape[-2], b.shape[-1])), operands, profile)
    return finish((a.astype(np.int64) - first) @ (b.astype(np.int64) - second), operands, profile)


def mul(a: Array, b: Array, operands: Operands, operator: Mul, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Elementwise product in int64."""
    first, second = operands.input_zero_points
    return finish((a.astype(np.int64) - first) * (b.astype(np.int64) - second), operands, profile)


def add(a: Array, b: Array, operands: Operands, operator: Add, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Sum of a fixed-point profile: both inputs shifted left by 20 and brought to twice the larger scale."""
    rescale = rescaler(profile)
    largest = 2 * max(operands.input_scales)
    factors = [quantize_multiplier(scale / largest) for scale in operands.input_scales]
    last = quantize_multiplier(largest / (2**20 * operands.output_scale))
    a, b = np.broadcast_arrays(a, b)
    result = np.empty(a.shape, operands.dtype)
    for index in np.ndindex(a.shape):
        parts = [
            rescale((int(x[index]) - zero_point) * 2**20, *factor)
            for x, zero_point, factor in zip((a, b), operands.input_zero_points, factors, strict=True)
        ]
        value = rescale(sum(parts), *last) + operands.output_zero_point
        result[index] = min(max(value, operands.low), operands.high)
    return result


def pool2d(x: Array, operands: Operands, operator: Pool2d, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Pooling of a fixed-point profile that keeps its input's quantisation."""
    result = _output(x.shape, x.shape[3], operator.kernel, operator)
    for row, column, taps in _windows(x.shape, operator.kernel, operator):
        values = [x[:, y, position].astype(np.int64) for _, _, y, position in taps]
        if operator.kind == "max":
            result[:, row, column] = np.max(values, axis=0)
            continue
        total = np.sum(values, axis=0)
        half = np.where(total > 0, len(values) // 2, -(len(values) // 2))
        result[:, row, column] = np.trunc((total + half) / len(values))
    return np.clip(result, operands.low, operands.high).astype(operands.dtype)


def mean(x: Array, operands: Operands, operator: Mean, profile: Profile) -> Array:
    """Mean of a fixed-point profile: the multiplier is divided by the count, at the largest power of two below it."""
    total = (x.astype(np.int64) - operands.input_zero_points[0]).sum(axis=operator.axes, keepdims=operator.keep_dims)
    count = x.size // max(total.size, 1)
    multiplier, shift = quantize_multiplier(operands.input_scales[0] / operands.output_scale)
    power = min(math.floor(math.log2(count)), 32, 31 + shift)
    rescale = rescaler(profile)
    result = np.empty(total.shape, operands.dtype)
    for index in np.ndindex(total.shape):
        value = rescale(int(total[index]), (multiplier << power) // count, shift - power)
        result[index] = min(max(value + operands.output_zero_point, operands.low), operands.high)
    return result


def softmax(x: Array, operands: Operands, operator: Softmax, profile: Profile) -> Array:  # noqa: ARG001 - one signature for all kernels
    """Real-valued softmax on the output's scale, rounded: the fixed-point kernel is within one step of it."""
    real = operator.beta * operands.input_scales[0] * x.astype(np.float64)
    powers = np.exp(real - real.max(axis=-1, keepdims=True))
    share = powers / powers.sum(axis=-1, keepdims=True) / operands.output_scale + operands.output_zero_point
    return np.asarray(np.clip(np.rint(share), operands.low, operands.high), operands.dtype)
