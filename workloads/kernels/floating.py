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
    Embedding,
    FullyConnected,
    Function,
    LayerNorm,
    LocalResponseNorm,
    Logistic,
    MatMul,
    Maximum,
    Mean,
    Minimum,
    Mul,
    Pool2d,
    Prelu,
    Resize2d,
    RmsNorm,
    Softmax,
    Sub,
    Tanh,
    TransposedConv2d,
    operator_name,
)
from workloads.shapes import windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workloads.operators import Lstm, Operator, Pair, Svdf
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
        case TransposedConv2d():
            return clamp(_biased(transposed_conv2d(inputs[0], inputs[1], operator), inputs), operator.activation)
        case Pool2d():
            return clamp(pool2d(inputs[0], operator), operator.activation)
        case function if isinstance(function, Function):
            from workloads.kernels.lut import real_function

            return real_function(inputs[0], function)
        case Resize2d():
            return resize2d(inputs[0], operator)
    return _pointwise(inputs, operator)


def _pointwise(inputs: Sequence[Array], operator: Operator) -> Array:
    """Apply an operator without weights or windows."""
    match operator:
        case Add():
            return clamp(inputs[0] + inputs[1], operator.activation)
        case Sub():
            return clamp(inputs[0] - inputs[1], operator.activation)
        case Minimum():
            return np.minimum(inputs[0], inputs[1])
        case Maximum():
            return np.maximum(inputs[0], inputs[1])
        case Mul():
            return clamp(inputs[0] * inputs[1], operator.activation)
        case Mean(axes=axes, keep_dims=keep_dims):
            return np.asarray(inputs[0].mean(axis=axes, keepdims=keep_dims, dtype=np.float32))
        case Activation(clamp=bounds):
            return clamp(inputs[0], bounds)
        case Softmax(beta=beta):
            return softmax(inputs[0], beta)
        case Prelu():
            return np.where(inputs[0] < 0, inputs[0] * inputs[1], inputs[0])
        case Embedding():
            return np.asarray(inputs[1][inputs[0]])
        case LocalResponseNorm():
            return local_response_norm(inputs[0], operator)
        case RmsNorm(epsilon=epsilon):
            squares = np.square(inputs[0]).mean(axis=-1, keepdims=True)
            return np.asarray(inputs[0] / np.sqrt(squares + np.float32(epsilon)) * inputs[1], np.float32)
        case LayerNorm(epsilon=epsilon):
            x, scale, shift = inputs
            centered = x - x.mean(axis=-1, keepdims=True)
            spread = np.square(centered).mean(axis=-1, keepdims=True)
            return np.asarray(centered / np.sqrt(spread + np.float32(epsilon)) * scale + shift, np.float32)
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


def transposed_conv2d(x: Array, weights: Array, operator: TransposedConv2d) -> Array:
    """Transposed convolution without bias: the products of each filter tap are scattered."""
    (batch, rows, columns, _), (outputs, *size, channels) = x.shape, weights.shape
    stride, (height, width), (top, left) = operator.stride, operator.size, operator.crop
    shape = (
        max((rows - 1) * stride[0] + size[0], top + height),
        max((columns - 1) * stride[1] + size[1], left + width),
    )
    full = np.zeros((batch, *shape, outputs), np.float32)
    for ky in range(size[0]):
        for kx in range(size[1]):
            down, right = ky + (rows - 1) * stride[0] + 1, kx + (columns - 1) * stride[1] + 1
            for group in range(operator.groups):
                made = slice(group * outputs // operator.groups, (group + 1) * outputs // operator.groups)
                part = x[..., group * channels : (group + 1) * channels] @ weights[made, ky, kx].T
                full[:, ky : down : stride[0], kx : right : stride[1], made] += part
    return full[:, top : top + height, left : left + width]


def resize2d(x: Array, operator: Resize2d) -> Array:
    """Nearest or bilinear resizing with TensorFlow's two options."""
    if operator.kind == "nearest":
        from workloads.kernels.resize import resize2d as nearest

        return nearest(x, operator)
    result = x
    for axis in range(2):
        extent, wanted = x.shape[axis + 1], operator.size[axis]
        corners = operator.align_corners and wanted > 1
        step = np.float32((extent - 1) / (wanted - 1) if corners else extent / wanted)
        offset = np.float32(0.5 if operator.half_pixel_centers else 0)
        place = (np.arange(wanted, dtype=np.float32) + offset) * step - offset
        lower = np.floor(place)
        before, after = (np.clip(index, 0, extent - 1).astype(int) for index in (lower, np.ceil(place)))
        part = (place - before).reshape((-1, 1, 1) if axis == 0 else (-1, 1)).astype(np.float32)
        result = result.take(before, axis + 1) * (1 - part) + result.take(after, axis + 1) * part
    return np.asarray(result, np.float32)


def local_response_norm(x: Array, operator: LocalResponseNorm) -> Array:
    """Normalise each value by those of the ``size`` channels around it; beyond the first and last there is nothing."""
    before = (operator.size - 1) // 2
    edges = [(0, 0)] * (x.ndim - 1) + [(before, operator.size - 1 - before)]
    squares = np.pad(np.square(x), edges)
    near = np.lib.stride_tricks.sliding_window_view(squares, operator.size, axis=-1).sum(axis=-1)
    return np.asarray(x / (operator.bias + operator.alpha / operator.size * near) ** operator.beta, np.float32)


def svdf_step(inputs: Sequence[Array], state: Array, operator: Svdf) -> tuple[Array, Array]:
    """Return (output, next state) of a filter over time; inputs are (x, feature weights, time weights, bias?)."""
    x, feature, time = inputs[:3]
    following = np.concatenate([state[:, :, 1:], (x @ feature.T)[:, :, None]], axis=2)
    sums = (following * time).sum(axis=2).reshape(len(x), -1, operator.rank).sum(axis=2)
    return clamp(sums + inputs[3] if len(inputs) > 3 else sums, operator.activation), following


def lstm(x: Array, state: Array, weights: Sequence[Array], operator: Lstm) -> tuple[Array, Array]:
    """Return the hidden states of a sequence (time, batch, in) and the state after it, (hidden or cell, batch, H).

    ``weights`` are the operator's inputs behind x.
    """
    from workloads.kernels.lut import real_function

    hidden, cell = state
    result = []
    for step in x:
        sums = [step @ weights[which].T + hidden @ weights[4 + which].T for which in range(4)]
        if len(weights) > 8:
            sums = [total + bias for total, bias in zip(sums, weights[8:12], strict=True)]
        into, forget, out = (real_function(sums[which], Logistic()) for which in (0, 1, 3))
        cell = forget * cell + into * real_function(sums[2], Tanh())
        if operator.cell_clip > 0:
            cell = cell.clip(-np.float32(operator.cell_clip), np.float32(operator.cell_clip))
        hidden = out * real_function(cell, Tanh())
        result.append(hidden)
    return np.stack(result), np.stack([hidden, cell])


def pool2d(x: Array, operator: Pool2d) -> Array:
    """Average or maximum pooling; positions outside the image are skipped, but an average may count them."""
    taps = [tap for _, _, tap in _taps(pad_image(x, operator.padding), x.shape, operator.kernel, operator)]
    inside = np.ones((1, *x.shape[1:3], 1), np.float32)
    masks = [mask for _, _, mask in _taps(pad_image(inside, operator.padding), x.shape, operator.kernel, operator)]
    if operator.kind == "average":
        counts = len(taps) if operator.count_padding else np.maximum(sum(masks), 1)
        return np.asarray(sum(taps) / counts, np.float32)
    result = np.full_like(taps[0], -np.inf)
    for tap, mask in zip(taps, masks, strict=True):
        result = np.maximum(result, np.where(mask > 0, tap, -np.inf))
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
