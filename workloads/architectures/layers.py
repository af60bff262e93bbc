"""The layer shapes that the built-in architectures share, with seeded weights that are made on demand."""

from __future__ import annotations

import math
import zlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import (
    NO_CLAMP,
    Activation,
    Add,
    BatchNorm,
    Clamp,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Function,
    LayerNorm,
    Logistic,
    Mean,
    Mul,
    Padding,
    Pair,
    Pool2d,
    Reshape,
    Resize2d,
    Slice,
    Softmax,
    Transpose,
    TransposedConv2d,
    operator_name,
)
from workloads.shapes import same_padding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.builder import GraphBuilder
    from workloads.tensor import Array

RELU = Clamp(low=0.0)
RELU6 = Clamp(0.0, 6.0)
LOGISTIC = Logistic()


def conv(
    net: GraphBuilder,
    x: str,
    channels: int,
    kernel: int | Pair,
    stride: int | Pair = 1,
    padding: int | str | Padding = "same",
    activation: Clamp | Function = RELU,
    name: str | None = None,
    groups: int = 1,
    *,
    biased: bool = True,
) -> str:
    """Add a convolution, with bias unless told otherwise (batch normalisation is folded into it).

    Padding is "same" (TensorFlow's), a number on all sides, or one per side. An activation that is not a clamp becomes
    a layer of its own.
    """
    kernel, stride = _pair(kernel), _pair(stride)
    shape = net.tensors[x].shape
    name = net.unused(name or f"conv{len(net.layers)}")
    inputs = shape[3] // groups
    weights = _weights(net, f"{name}/weights", (channels, *kernel, inputs), math.prod(kernel) * inputs)
    clamp, function = _fused(activation)
    operator = Conv2d(stride, _padding(shape, kernel, stride, padding), groups=groups, activation=clamp)
    bias = [_bias(net, name, channels)] if biased else []
    return after(net, net.layer(operator, (x, weights, *bias), output=name), function)


def depthwise(
    net: GraphBuilder,
    x: str,
    stride: int | Pair = 1,
    padding: int | str | Padding = "same",
    activation: Clamp | Function = RELU,
    kernel: int = 3,
) -> str:
    """Add a depthwise convolution with bias."""
    extents, stride = _pair(kernel), _pair(stride)
    shape = net.tensors[x].shape
    name = net.unused(f"depthwise{len(net.layers)}")
    weights = _weights(net, f"{name}/weights", (1, *extents, shape[3]), math.prod(extents))
    clamp, function = _fused(activation)
    operator = DepthwiseConv2d(stride, _padding(shape, extents, stride, padding), activation=clamp)
    return after(net, net.layer(operator, (x, weights, _bias(net, name, shape[3])), output=name), function)


def upconv(
    net: GraphBuilder, x: str, channels: int, kernel: int, crop: int = 0, groups: int = 1, *, biased: bool = True
) -> str:
    """Add a transposed convolution of stride 2 whose output is cropped on all sides."""
    _, height, width, depth = net.tensors[x].shape
    name = net.unused(f"upconv{len(net.layers)}")
    weights = _weights(net, f"{name}/weights", (channels, kernel, kernel, depth // groups), depth // groups)
    size = (2 * height + kernel - 2 - 2 * crop, 2 * width + kernel - 2 - 2 * crop)
    operator = TransposedConv2d(size, (2, 2), (crop, crop), groups=groups)
    bias = [_bias(net, name, channels)] if biased else []
    return net.layer(operator, (x, weights, *bias), output=name)


def dense(
    net: GraphBuilder, x: str, units: int, activation: Clamp | Function = NO_CLAMP, *, biased: bool = True
) -> str:
    """Add a fully connected layer."""
    depth = net.tensors[x].shape[-1]
    name = net.unused(f"dense{len(net.layers)}")
    weights = _weights(net, f"{name}/weights", (units, depth), depth)
    bias = [_bias(net, name, units)] if biased else []
    clamp, function = _fused(activation)
    return after(net, net.layer(FullyConnected(clamp), (x, weights, *bias), output=name), function)


def after(net: GraphBuilder, x: str, activation: Clamp | Function | None) -> str:
    """Add an activation as a layer of its own; nothing where there is none."""
    if activation is None or activation == NO_CLAMP:
        return x
    operator = Activation(activation) if isinstance(activation, Clamp) else activation
    return net.layer(operator, (x,), output=f"{operator_name(operator)}{len(net.layers)}")


def squeeze_excite(
    net: GraphBuilder, x: str, reduced: int, inner: Clamp | Function = RELU, gate: Function = LOGISTIC
) -> str:
    """Multiply each channel by a gate computed from the means of all.

    References
    ----------
    .. [1] J. Hu et al., "Squeeze-and-excitation networks", CVPR 2018.
    """
    means = net.layer(Mean((1, 2)), (x,), output=f"mean{len(net.layers)}")
    squeezed = conv(net, means, reduced, 1, activation=inner, name=f"squeeze{len(net.layers)}")
    gates = conv(net, squeezed, net.tensors[x].shape[3], 1, activation=gate, name=f"excite{len(net.layers)}")
    return net.layer(Mul(), (x, gates), output=f"scaled{len(net.layers)}")


def add(net: GraphBuilder, a: str, b: str, activation: Clamp = NO_CLAMP) -> str:
    """Add a residual sum."""
    return net.layer(Add(activation), (a, b), output=f"add{len(net.layers)}")


def concat(net: GraphBuilder, parts: Sequence[str]) -> str:
    """Put tensors side by side along the last axis."""
    return net.layer(Concat(len(net.tensors[parts[0]].shape) - 1), parts, output=f"concat{len(net.layers)}")


def half(net: GraphBuilder, x: str, which: int) -> str:
    """Cut the first (0) or the second (1) half out of the channels."""
    extent = net.tensors[x].shape[3] // 2
    return net.layer(Slice(3, which * extent, extent), (x,), output=f"half{len(net.layers)}")


def shuffle(net: GraphBuilder, x: str, groups: int) -> str:
    """Deal the channels of ``groups`` groups in turn."""
    batch, height, width, channels = shape = net.tensors[x].shape
    parts = net.layer(Reshape(), (x,), shape=(batch, height, width, groups, channels // groups))
    return net.layer(Reshape(), (net.layer(Transpose((0, 1, 2, 4, 3)), (parts,)),), shape=shape)


def resize(net: GraphBuilder, x: str, size: Pair, kind: str = "nearest") -> str:
    """Resize an image."""
    operator = Resize2d(kind, size, half_pixel_centers=True)
    return net.layer(operator, (x,), output=f"resize{len(net.layers)}")


def upsample(net: GraphBuilder, x: str, factor: int = 2) -> str:
    """Repeat every pixel."""
    _, height, width, _ = net.tensors[x].shape
    return resize(net, x, (factor * height, factor * width))


def max_pool(net: GraphBuilder, x: str, kernel: int, stride: int, padding: int | str | Padding = 0) -> str:
    """Add a maximum pooling; padding "over" lets the last windows hang over the edge."""
    return _pool(net, "max", x, kernel, stride, padding)


def average_pool(
    net: GraphBuilder, x: str, kernel: int, stride: int, padding: int | str | Padding = 0, *, counted: bool = False
) -> str:
    """Add an average pooling; positions outside the image count as zeros if ``counted``."""
    return _pool(net, "average", x, kernel, stride, padding, counted)


def average_all(net: GraphBuilder, x: str) -> str:
    """Add a global average pooling, as a window over the whole image, and flatten."""
    batch, height, width, channels = net.tensors[x].shape
    pooled = net.layer(Pool2d("average", (height, width), (height, width)), (x,), output=f"average{len(net.layers)}")
    return net.layer(Reshape(), (pooled,), shape=(batch, channels), output=f"flatten{len(net.layers)}")


def flatten(net: GraphBuilder, x: str) -> str:
    """Give all but the batch one axis."""
    shape = net.tensors[x].shape
    return net.layer(Reshape(), (x,), shape=(shape[0], math.prod(shape[1:])), output="flatten")


def global_mean(net: GraphBuilder, x: str) -> str:
    """Add a mean over the image, flattened."""
    return net.layer(Mean((1, 2), keep_dims=False), (x,), output=f"mean{len(net.layers)}")


def softmax(net: GraphBuilder, x: str) -> str:
    """Add the final softmax."""
    return net.layer(Softmax(), (x,), output="probabilities")


def batch_norm(net: GraphBuilder, x: str, activation: Clamp = RELU) -> str:
    """Add a normalisation that no convolution precedes, and its activation."""
    channels, name = net.tensors[x].shape[-1], net.unused(f"norm{len(net.layers)}")
    constants = [_near(net, f"{name}/{part}", channels, part in {"scale", "variance"})
                 for part in ("scale", "shift", "average", "variance")]  # fmt: skip
    return after(net, net.layer(BatchNorm(), (x, *constants), output=name), activation)


def layer_norm(net: GraphBuilder, x: str, epsilon: float = 1e-6) -> str:
    """Add a normalisation over the last axis."""
    channels, name = net.tensors[x].shape[-1], net.unused(f"norm{len(net.layers)}")
    constants = [_near(net, f"{name}/{part}", channels, part == "scale") for part in ("scale", "shift")]
    return net.layer(LayerNorm(epsilon), (x, *constants), output=name)


def table(net: GraphBuilder, name: str, shape: tuple[int, ...]) -> str:
    """Add a constant of small normal values, such as an embedding."""
    return net.constant(name, shape, partial(_normal, f"{net.name}/{name}", shape, 0.02))


def divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of ``divisor``, but not below 90 % of the value.

    References
    ----------
    .. [1] tensorflow/models@03cdc5fecfb6, research/slim/nets/mobilenet/conv_blocks.py (_make_divisible).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _fused(activation: Clamp | Function) -> tuple[Clamp, Function | None]:
    """Tell the clamp that a product takes in from the function that follows it."""
    return (activation, None) if isinstance(activation, Clamp) else (NO_CLAMP, activation)


def _pool(
    net: GraphBuilder, kind: str, x: str, kernel: int, stride: int, padding: int | str | Padding, counted: bool = False
) -> str:
    """Add a pooling."""
    window, step = _pair(kernel), _pair(stride)
    operator = Pool2d(kind, window, step, _padding(net.tensors[x].shape, window, step, padding), counted)
    return net.layer(operator, (x,), output=f"{kind}_pool{len(net.layers)}")


def _pair(value: int | Pair) -> Pair:
    """Use one number for both axes."""
    return (value, value) if isinstance(value, int) else value


def _padding(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: int | str | Padding) -> Padding:
    """Resolve "same", "over" or a number to padding on four sides."""
    if isinstance(padding, tuple):
        return padding
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
    if padding == "over":
        return (0, 0, -(shape[1] - kernel[0]) % stride[0], -(shape[2] - kernel[1]) % stride[1])
    return same_padding((shape[1], shape[2]), kernel, stride)


def _weights(net: GraphBuilder, name: str, shape: tuple[int, ...], fan_in: int) -> str:
    """Add normal weights of variance 2 / fan-in, which keeps activations in range [1]_.

    References
    ----------
    .. [1] K. He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    return net.constant(name, shape, partial(_normal, f"{net.name}/{name}", shape, math.sqrt(2 / fan_in)))


def _bias(net: GraphBuilder, name: str, channels: int) -> str:
    """Add small normal biases."""
    return net.constant(f"{name}/bias", (channels,), partial(_normal, f"{net.name}/{name}/bias", (channels,), 0.05))


def _near(net: GraphBuilder, name: str, channels: int, positive: bool) -> str:
    """Add values near 1, or near 0, per channel."""
    return net.constant(name, (channels,), partial(_around, f"{net.name}/{name}", channels, float(positive)))


def _around(seed_text: str, channels: int, center: float) -> Array:
    """Draw float32 values within a tenth of the center."""
    return np.asarray(center + np.tanh(_normal(seed_text, (channels,), 1.0)) / 10, np.float32)


def _normal(seed_text: str, shape: tuple[int, ...], deviation: float) -> Array:
    """Draw float32 values that depend on the text alone."""
    generator = np.random.default_rng(zlib.crc32(seed_text.encode()))
    return generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
