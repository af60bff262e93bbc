"""The few layer shapes that the built-in architectures share, with seeded weights that are made on demand."""

from __future__ import annotations

import math
import zlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import (
    NO_CLAMP,
    Add,
    Clamp,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Mean,
    Padding,
    Pair,
    Pool2d,
    Reshape,
    Softmax,
)
from workloads.shapes import same_padding

if TYPE_CHECKING:
    from workloads.builder import GraphBuilder
    from workloads.tensor import Array

RELU = Clamp(low=0.0)
RELU6 = Clamp(0.0, 6.0)


def conv(
    net: GraphBuilder,
    x: str,
    channels: int,
    kernel: int | Pair,
    stride: int | Pair = 1,
    padding: int | str = "same",
    activation: Clamp = RELU,
    name: str | None = None,
) -> str:
    """Add a convolution with bias (batch normalisation is folded into it); padding "same" or a number on all sides."""
    kernel, stride = _pair(kernel), _pair(stride)
    shape = net.tensors[x].shape
    name = net.unused(name or f"conv{len(net.layers)}")
    weights = _weights(net, f"{name}/weights", (channels, *kernel, shape[3]), math.prod(kernel) * shape[3])
    operator = Conv2d(stride, _padding(shape, kernel, stride, padding), activation=activation)
    return net.layer(operator, (x, weights, _bias(net, name, channels)), output=name)


def depthwise(
    net: GraphBuilder, x: str, stride: int | Pair = 1, padding: int | str = "same", activation: Clamp = RELU
) -> str:
    """Add a 3x3 depthwise convolution with bias."""
    kernel, stride = (3, 3), _pair(stride)
    shape = net.tensors[x].shape
    name = net.unused(f"depthwise{len(net.layers)}")
    weights = _weights(net, f"{name}/weights", (1, *kernel, shape[3]), math.prod(kernel))
    operator = DepthwiseConv2d(stride, _padding(shape, kernel, stride, padding), activation=activation)
    return net.layer(operator, (x, weights, _bias(net, name, shape[3])), output=name)


def dense(net: GraphBuilder, x: str, units: int, activation: Clamp = NO_CLAMP) -> str:
    """Add a fully connected layer with bias."""
    depth = net.tensors[x].shape[-1]
    name = net.unused(f"dense{len(net.layers)}")
    weights = _weights(net, f"{name}/weights", (units, depth), depth)
    return net.layer(FullyConnected(activation), (x, weights, _bias(net, name, units)), output=name)


def add(net: GraphBuilder, a: str, b: str, activation: Clamp = NO_CLAMP) -> str:
    """Add a residual sum."""
    return net.layer(Add(activation), (a, b), output=f"add{len(net.layers)}")


def max_pool(net: GraphBuilder, x: str, kernel: int, stride: int, padding: Padding = (0, 0, 0, 0)) -> str:
    """Add a maximum pooling."""
    operator = Pool2d("max", (kernel, kernel), (stride, stride), padding)
    return net.layer(operator, (x,), output=f"max_pool{len(net.layers)}")


def average_all(net: GraphBuilder, x: str) -> str:
    """Add a global average pooling, as a window over the whole image, and flatten."""
    batch, height, width, channels = net.tensors[x].shape
    pooled = net.layer(Pool2d("average", (height, width), (height, width)), (x,), output=f"average{len(net.layers)}")
    return net.layer(Reshape(), (pooled,), shape=(batch, channels), output=f"flatten{len(net.layers)}")


def global_mean(net: GraphBuilder, x: str) -> str:
    """Add a mean over the image, flattened."""
    return net.layer(Mean((1, 2), keep_dims=False), (x,), output=f"mean{len(net.layers)}")


def softmax(net: GraphBuilder, x: str) -> str:
    """Add the final softmax."""
    return net.layer(Softmax(), (x,), output="probabilities")


def _pair(value: int | Pair) -> Pair:
    """Use one number for both axes."""
    return (value, value) if isinstance(value, int) else value


def _padding(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: int | str) -> Padding:
    """Resolve "same" or a number to padding on four sides."""
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
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


def _normal(seed_text: str, shape: tuple[int, ...], deviation: float) -> Array:
    """Draw float32 values that depend on the text alone."""
    generator = np.random.default_rng(zlib.crc32(seed_text.encode()))
    return generator.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
