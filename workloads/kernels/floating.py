"""float32 kernels of every operator, for float models: calibration and comparison, not bit-exactness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.movement import pad_image
from workloads.operators import (
    Activation,
    Add,
    BatchNorm,
    Clamp,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    MatMul,
    Mean,
    Mul,
    Pool2d,
    Softmax,
    operator_name,
)
from workloads.shapes import windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workloads.operators import Operator, Pair
    from workloads.tensor import Array


def compute(inputs: Sequence[Array], operator: Operator) -> Array:
    """Apply an operator that does arithmetic to float32 arrays.

    Raises
    ------
    ValueError
        The operator has no float kernel; the message names it.
    """
    match operator:
        case Conv2d():
            return clamp(_biased(conv2d(inputs[0], inputs[1], operator), inputs), operator.activation)
        case DepthwiseConv2d():
            return clamp(_biased(depthwise_conv2d(inputs[0], inputs[1], operator), inputs), operator.activation)
        case FullyConnected():
            return clamp(_biased(inputs[0] @ inputs[1].T, inputs), operator.activation)
        case MatMul():
            return np.asarray(inputs[0] @ inputs[1])
        case Add():
            return clamp(inputs[0] + inputs[1], operator.activation)
        case Mul():
            return clamp(inputs[0] * inputs[1], operator.activation)
        case Pool2d():
            return clamp(pool2d(inputs[0], operator), operator.activation)
        case Mean(axes=axes, keep_dims=keep_dims):
            return np.asarray(inputs[0].mean(axis=axes, keepdims=keep_dims, dtype=np.float32))
        case Activation(clamp=bounds):
            return clamp(inputs[0], bounds)
        case Softmax(beta=beta):
            return softmax(inputs[0], beta)
        case BatchNorm(epsilon=epsilon):
            x, scale, shift, average, variance = inputs
            return np.asarray((x - average) * (scale / np.sqrt(variance + np.float32(epsilon))) + shift, np.float32)
    raise ValueError(f"{operator_name(operator)!r} has no float kernel")


def conv2d(x: Array, weights: Array, operator: Conv2d) -> Array:
    """Convolution without bias: one matrix product per filter tap and group."""
    size, groups = (weights.shape[1], weights.shape[2]), operator.groups
    channels, outputs = weights.shape[3], weights.shape[0] // groups
    parts: list[Array] = [np.zeros(1, np.float32)] * groups
    for ky, kx, tap in _taps(pad_image(x, operator.padding), x.shape, size, operator):
        for group in range(groups):
            filters = weights[group * outputs : (group + 1) * outputs, ky, kx]
            parts[group] = parts[group] + tap[..., group * channels : (group + 1) * channels] @ filters.T
    return np.concatenate(parts, axis=-1)


def depthwise_conv2d(x: Array, weights: Array, operator: DepthwiseConv2d) -> Array:
    """Depthwise convolution without bias."""
    image = np.repeat(pad_image(x, operator.padding), operator.multiplier, axis=3)
    size = (weights.shape[1], weights.shape[2])
    return np.asarray(sum(tap * weights[0, ky, kx] for ky, kx, tap in _taps(image, x.shape, size, operator)))


def pool2d(x: Array, operator: Pool2d) -> Array:
    """Average or maximum pooling; positions outside the image are skipped unless ``count_padding``."""
    taps = [tap for _, _, tap in _taps(pad_image(x, operator.padding), x.shape, operator.kernel, operator)]
    inside = np.ones((1, *x.shape[1:3], 1), np.float32)
    masks = [mask for _, _, mask in _taps(pad_image(inside, operator.padding), x.shape, operator.kernel, operator)]
    if operator.kind == "average":
        counts = len(taps) if operator.count_padding else np.maximum(sum(masks), 1)
        return np.asarray(sum(taps) / counts, np.float32)
    result = np.full_like(taps[0], -np.inf)
    for tap, mask in zip(taps, masks, strict=True):
        result = np.maximum(result, tap if operator.count_padding else np.where(mask > 0, tap, -np.inf))
    return result.astype(np.float32)


def softmax(x: Array, beta: float) -> Array:
    """Softmax over the last axis, the row maximum subtracted first."""
    powers = np.exp((x - x.max(axis=-1, keepdims=True)) * np.float32(beta))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def clamp(x: Array, bounds: Clamp) -> Array:
    """Clamp to real bounds."""
    return np.clip(x, np.float32(bounds.low), np.float32(bounds.high))


def _biased(x: Array, inputs: Sequence[Array]) -> Array:
    return x + inputs[2] if len(inputs) > 2 else x


def _taps(
    padded: Array, shape: tuple[int, ...], size: Pair, operator: Conv2d | DepthwiseConv2d | Pool2d
) -> Iterator[tuple[int, int, Array]]:
    """Yield (ky, kx, the image as seen by that filter tap) for each tap of a window."""
    dilation = (1, 1) if isinstance(operator, Pool2d) else operator.dilation
    stride, padding = operator.stride, operator.padding
    height, width = windows((shape[1], shape[2]), size, stride, padding, dilation)
    for ky in range(size[0]):
        for kx in range(size[1]):
            top, left = ky * dilation[0], kx * dilation[1]
            rows = slice(top, top + (height - 1) * stride[0] + 1, stride[0])
            yield ky, kx, padded[:, rows, left : left + (width - 1) * stride[1] + 1 : stride[1]]
