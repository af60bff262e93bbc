"""Layer classes: kinds of work that a kernel library has one way of doing each, so that one multiplier fits all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.operators import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Dequantize,
    FullyConnected,
    Gelu,
    HardSwish,
    LayerNorm,
    Logistic,
    MatMul,
    Maximum,
    Mean,
    Minimum,
    Mul,
    Pad,
    Pool2d,
    Quantize,
    Reshape,
    Resize2d,
    Softmax,
    Sub,
    Tanh,
    Transpose,
    TransposedConv2d,
)

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer

CLASSES = {
    "first": "convolution of at most four channels, e.g. of an image",
    "pointwise": "convolution of single pixels",
    "winograd": "convolution of 3x3 pixels with stride 1, which Winograd's transforms serve",
    "conv": "any other convolution",
    "depthwise": "convolution of each channel alone",
    "dense": "fully connected layer or matrix product",
    "simple": "element by element, operands alike: sum, product, clamp, other quantisation",
    "pool": "maximum or average of windows",
    "move": "pad, concatenation, transpose",
    "strided": "mean, resizing, product with a channel's factor, rare operators: every element's place is computed",
    "function": "sigmoid, tanh, swish, softmax, normalisation",
    "free": "nothing is computed or moved: reshape",
    "other": "an operator that presage does not know",
}
FEW_CHANNELS = 4

_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("depthwise", (DepthwiseConv2d,)),
    ("dense", (FullyConnected, MatMul)),
    ("simple", (Activation, Dequantize, Quantize)),
    ("pool", (Pool2d,)),
    ("move", (Concat, Pad, Transpose)),
    ("strided", (Maximum, Mean, Minimum, Resize2d)),
    ("function", (Gelu, HardSwish, LayerNorm, Logistic, Softmax, Tanh)),
    ("free", (Reshape,)),
)
# Operators known by name only; libraries run the rare ones in plain C, as they do those with strides.
_NAMED = {
    "swish": "function", "sigmoid": "function", "silu": "function", "mish": "function", "hardsigmoid": "function",
    "logistic": "function", "resize_bilinear": "strided", "resize_nearest_neighbor": "strided", "tile": "strided",
    "minimum": "strided", "maximum": "strided", "leaky_relu": "simple", "hard_sigmoid": "simple", "slice": "move",
    "embedding": "move", "local_response_norm": "function",
}  # fmt: skip


def layer_class(graph: Graph, layer: Layer) -> str:
    """Return a key of ``CLASSES``."""
    match layer.operator:
        case Conv2d(stride=stride):
            _, height, width, channels = graph[layer.inputs[1]].shape
            if channels <= FEW_CHANNELS:
                return "first"
            if (height, width) == (1, 1):
                return "pointwise"
            return "winograd" if (height, width, *stride) == (3, 3, 1, 1) else "conv"
        case TransposedConv2d():
            return "conv"
        case Add() | Sub() | Mul():
            sizes = {graph[name].elements for name in (*layer.inputs, layer.outputs[0])}
            return "simple" if len(sizes) == 1 else "strided"
    kinds = (name for name, operators in _KINDS if isinstance(layer.operator, operators))
    return next(kinds, _NAMED.get(layer.op, "other"))
