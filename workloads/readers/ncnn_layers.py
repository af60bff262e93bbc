"""The layers of ncnn network descriptions that compute, by their numbered parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.attention import attention
from workloads.operators import (
    Activation,
    Add,
    BatchNorm,
    Clamp,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Gelu,
    HardSigmoid,
    HardSwish,
    LayerNorm,
    LeakyRelu,
    LocalResponseNorm,
    Logistic,
    MatMul,
    Maximum,
    Mean,
    Minimum,
    Mish,
    Mul,
    Operator,
    Padding,
    Pair,
    Pool2d,
    Prelu,
    RmsNorm,
    Softmax,
    Sub,
    Swish,
    Tanh,
    Transpose,
    TransposedConv2d,
    Unmodelled,
)
from workloads.readers.ncnn_network import Network, ParamLayer, clamp
from workloads.shapes import infer, same_padding

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.shapes import Shape

    Translation = Callable[[Network, ParamLayer], None]

RELU = Clamp(low=0.0)
SAME_UPPER, SAME_LOWER = -233, -234


def _convolution(network: Network, layer: ParamLayer) -> None:
    """Convolution and ConvolutionDepthWise (grouped)."""
    x = network.image(layer)
    shape = network.shape(x)
    channels, kernel, stride, dilation, groups = _window(layer, shape)
    padding = _padding(layer, shape, kernel, stride, dilation)
    weights: Shape = (channels, *kernel, shape[3] // groups)
    operator: Operator = Conv2d(stride, padding, dilation, groups, clamp(layer))
    if groups == shape[3] and groups > 1:
        weights = (1, *kernel, channels)
        operator = DepthwiseConv2d(stride, padding, dilation, channels // groups, clamp(layer))
    _check_weights(layer, weights, 6)
    network.int8 |= layer.integer(8) > 0
    bias = [network.constant(layer, "bias", (channels,))] if layer.integer(5) else []
    network.product(operator, [x, network.constant(layer, "weights", weights), *bias], layer)


def _deconvolution(network: Network, layer: ParamLayer) -> None:
    """Deconvolution and DeconvolutionDepthWise: what the padding says is cut off."""
    x = network.image(layer)
    shape = network.shape(x)
    channels, kernel, stride, dilation, groups = _window(layer, shape)
    if dilation != (1, 1) or min(layer.integer(number) for number in (4, 14, 15, 16, 18, 19)) < 0:
        network.unmodelled(network, layer)
        return
    top, left, bottom, right = _padding(layer, shape, kernel, stride, dilation)
    more = layer.pair(19, 18, 0)
    ends = (more[0] - top - bottom, more[1] - left - right)
    size = [(shape[axis + 1] - 1) * stride[axis] + kernel[axis] + ends[axis] for axis in range(2)]
    operator = TransposedConv2d((size[0], size[1]), stride, (top, left), clamp(layer), groups)
    bias = [network.constant(layer, "bias", (channels,))] if layer.integer(5) else []
    extents = (channels, *kernel, shape[3] // groups)
    _check_weights(layer, extents, 6)
    network.product(operator, [x, network.constant(layer, "weights", extents), *bias], layer)


def _inner_product(network: Network, layer: ParamLayer) -> None:
    """InnerProduct: rows of the right width stay rows, all else is flattened."""
    x, units = network.source(layer), layer.integer(0)
    shape = network.shape(x)
    depth = math.prod(shape[1:])
    if len(shape) == 3 and layer.integer(2) == units * shape[2]:
        depth = shape[2]
    else:
        x = network.reshaped(x, (shape[0], depth))
    _check_weights(layer, (units, depth), 2)
    network.int8 |= layer.integer(8) > 0
    bias = [network.constant(layer, "bias", (units,))] if layer.integer(1) else []
    weights = network.constant(layer, "weights", (units, depth))
    network.product(FullyConnected(clamp(layer)), [x, weights, *bias], layer)


def _gemm(network: Network, layer: ParamLayer) -> None:
    """Gemm: rows times constant weights, or two activations."""
    flags = [layer.integer(number) for number in (2, 3, 4, 5, 6, 14)]
    if flags in ([0, 1, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0]):
        units, depth = layer.integer(8), layer.integer(9)
        bias = [network.constant(layer, "bias", (units,))] if layer.integer(6) else []
        weights = network.constant(layer, "weights", (units, depth))
        network.add(FullyConnected(), [network.source(layer), weights, *bias], layer)
    elif not any(flags[2:]) and not flags[0]:
        _matmul(network, layer, flags[1])
    else:
        network.unmodelled(network, layer)


def _matmul(network: Network, layer: ParamLayer, transposed: int | None = None) -> None:
    """MatMul: the product of two activations, the second perhaps transposed."""
    a, b = network.source(layer), network.source(layer, 1)
    if layer.integer(0) if transposed is None else transposed:
        b = network.inner(Transpose((0, 2, 1)), [b], layer)
    network.add(MatMul(), [a, b], layer)


def _attention(network: Network, layer: ParamLayer) -> None:
    """MultiHeadAttention: projections of query, key and value, attention, projection."""
    width, heads = layer.integer(0), layer.integer(1, 1)
    inputs = (network.sources(layer) * 3)[:3] if len(layer.inputs) < 3 else network.sources(layer)[:3]
    if len(layer.inputs) not in {1, 3} or any(layer.integer(number) for number in (5, 7)):
        network.unmodelled(network, layer)
        return
    if heads < 1 or width < 1 or width % heads or any(len(network.shape(each)) != 3 for each in inputs):
        shapes = [network.shape(each) for each in inputs]
        raise ValueError(f"MultiHeadAttention {layer.name!r}: {heads} heads of width {width} over {shapes} do not fit")

    def projected(x: str, kind: str, units: int) -> list[str]:
        weights = network.constant(layer, f"{kind}/weights", (units, network.shape(x)[2]))
        return [x, weights, network.constant(layer, f"{kind}/bias", (units,))]

    sides = [
        network.inner(FullyConnected(), projected(x, kind, width), layer)
        for x, kind in zip(inputs, ("query", "key", "value"), strict=True)
    ]
    mixed = attention(network.builder, sides[0], sides[1], sides[2], heads)
    network.add(FullyConnected(), projected(mixed, "output", network.shape(inputs[0])[2]), layer)


def _pooling(network: Network, layer: ParamLayer) -> None:
    """Pooling: maximum or average, windows or global; pad mode 0 covers the last row and column."""
    x = network.image(layer)
    shape = network.shape(x)
    if layer.integer(0) not in {0, 1} or layer.integer(7):
        raise ValueError(f"Pooling {layer.name!r}: type {layer.integer(0)} over shape {shape} is not known")
    kind = ("max", "average")[layer.integer(0)]
    if layer.integer(4):
        window = (shape[1], shape[2])
        operator: Operator = Mean((1, 2)) if kind == "average" else Pool2d("max", window, window)
        network.add(operator, [x], layer)
        return
    kernel, stride = layer.pair(11, 1, 0), layer.pair(12, 2, 1)
    if min(*kernel, *stride) < 1:
        raise ValueError(f"Pooling {layer.name!r}: kernel {kernel} and stride {stride} must be positive")
    left, top = layer.integer(3), layer.integer(13, layer.integer(3))
    padding = (top, left, layer.integer(15, top), layer.integer(14, left))
    mode = layer.integer(5)
    if mode == 0:
        tail = [
            -(shape[axis + 1] + padding[axis] + padding[axis + 2] - kernel[axis]) % stride[axis] for axis in range(2)
        ]
        padding = (padding[0], padding[1], padding[2] + tail[0], padding[3] + tail[1])
    elif mode in {2, 3}:
        padding = _same((shape[1], shape[2]), kernel, stride, (1, 1), upper=mode == 2)
    network.add(Pool2d(kind, kernel, stride, padding, count_padding=bool(layer.integer(6))), [x], layer)


def _binary(operators: dict[int, Operator]) -> Translation:
    """Return the translation of Eltwise or BinaryOp, whose parameter 0 chooses the operator."""

    def add(network: Network, layer: ParamLayer) -> None:
        operator = operators.get(layer.integer(0))
        inputs = network.sources(layer)
        scalar = layer.op == "BinaryOp" and layer.integer(1)
        if scalar:
            inputs.append(network.constant(layer, "scalar", (1,)))
        if operator is None or len(inputs) < 2 or (len(inputs) > 2 and layer.op == "BinaryOp"):
            network.unmodelled(network, layer)
            return
        for other in inputs[1:-1]:
            inputs[0] = network.inner(operator, [inputs[0], other], layer)
        network.add(operator, [inputs[0], inputs[-1]], layer)

    return add


def _unary(make: Callable[[ParamLayer], Operator]) -> Translation:
    """Return the translation of an operator of one input, made from the layer's parameters."""

    def add(network: Network, layer: ParamLayer) -> None:
        network.add(make(layer), [network.source(layer)], layer)

    return add


def _per_channel(make: Callable[[ParamLayer], Operator], names: tuple[str, ...]) -> Translation:
    """Return the translation of an operator with constants per channel; over an image they are per plane."""

    def add(network: Network, layer: ParamLayer) -> None:
        x = network.source(layer)
        channels = network.shape(x)[-1]
        if layer.integer(0, channels) not in {1, channels}:
            raise ValueError(f"{layer.op} {layer.name!r}: {layer.integer(0)} constants over {network.shape(x)}")
        constants = [network.constant(layer, name, (channels,)) for name in names]
        network.add(make(layer), [x, *constants], layer)

    return add


def _softmax(network: Network, layer: ParamLayer) -> None:
    """Softmax over an axis, which is moved to be the last one and back."""
    x = network.source(layer)
    axis, rank = network.axis(layer, x, layer.integer(0)), len(network.shape(x))
    if axis == rank - 1:
        network.add(Softmax(), [x], layer)
        return
    order = tuple(sorted(range(rank), key=lambda place: (place == axis, place)))
    moved = network.inner(Transpose(order), [x], layer)
    back = tuple(order.index(place) for place in range(rank))
    network.add(Transpose(back), [network.inner(Softmax(), [moved], layer)], layer)


def _reduction(network: Network, layer: ParamLayer) -> None:
    """Reduction: means are modelled."""
    x = network.source(layer)
    every = range(len(network.extents(x))) if layer.integer(1, 1) else layer.integers(3)
    axes = tuple(sorted(network.axis(layer, x, axis) for axis in every))
    if not layer.integer(4) and len(axes) == 1 and axes[0] in {1, 2} and len(network.shape(x)) == 4:
        raise ValueError(f"Reduction {layer.name!r}: rows alone or columns alone cannot be left out of an image")
    mean = Mean(axes, keep_dims=bool(layer.integer(4)))
    operator = mean if layer.integer(0) == 3 else Unmodelled(layer.op)
    name = network.add(operator, [x], layer, infer(mean, [network.shape(x)]))
    if len(network.shape(name)) == 1:
        network.blobs[layer.outputs[0]] = network.reshaped(name, (1, 1))


def _window(layer: ParamLayer, shape: Shape) -> tuple[int, Pair, Pair, Pair, int]:
    """Return channels, kernel, stride, dilation and groups of a convolution."""
    channels, kernel, dilation = layer.integer(0), layer.pair(11, 1, 0), layer.pair(12, 2, 1)
    stride, groups = layer.pair(13, 3, 1), layer.integer(7, 1)
    if min(channels, *kernel, *dilation, *stride, groups) < 1 or shape[3] % groups or channels % groups:
        raise ValueError(f"{layer.op} {layer.name!r}: {channels} channels in {groups} groups over {shape} do not fit")
    return channels, kernel, stride, dilation, groups


def _padding(layer: ParamLayer, shape: Shape, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    """Return the padding of a convolution."""
    left = layer.integer(4)
    if left in {SAME_UPPER, SAME_LOWER}:
        return _same((shape[1], shape[2]), kernel, stride, dilation, upper=left == SAME_UPPER)
    top = layer.integer(14, left)
    return (top, left, layer.integer(16, top), layer.integer(15, left))


def _same(image: Pair, kernel: Pair, stride: Pair, dilation: Pair, *, upper: bool) -> Padding:
    """Return SAME padding with the odd one behind (upper) or before."""
    top, left, bottom, right = same_padding(image, kernel, stride, dilation)
    return (top, left, bottom, right) if upper else (bottom, right, top, left)


def _check_weights(layer: ParamLayer, shape: Shape, number: int) -> None:
    """Compare the weights with the announced number of them."""
    if layer.integer(number) != math.prod(shape):
        raise ValueError(
            f"{layer.op} {layer.name!r} announces {layer.integer(number)} weights; its shapes give {math.prod(shape)}"
        )


def _relu(layer: ParamLayer) -> Operator:
    """ReLU, leaky where it has a slope."""
    return LeakyRelu(layer.real(0, 0.0)) if layer.real(0, 0.0) else Activation(RELU)


LAYERS: dict[str, Translation] = {
    "BatchNorm": _per_channel(lambda layer: BatchNorm(layer.real(1, 0.0)), ("slope", "shift", "mean", "variance")),
    "BinaryOp": _binary({0: Add(), 1: Sub(), 2: Mul(), 4: Maximum(), 5: Minimum()}),
    "Clip": _unary(lambda layer: Activation(Clamp(layer.real(0, -math.inf), layer.real(1, math.inf)))),
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Deconvolution": _deconvolution,
    "DeconvolutionDepthWise": _deconvolution,
    "Eltwise": _binary({0: Mul(), 1: Add(), 2: Maximum()}),
    "GELU": _unary(lambda layer: Gelu(approximate=bool(layer.integer(0)))),
    "Gemm": _gemm,
    "HardSigmoid": _unary(lambda layer: HardSigmoid(layer.real(0, 0.2), layer.real(1, 0.5))),
    "HardSwish": _unary(lambda _: HardSwish()),
    "InnerProduct": _inner_product,
    "LRN": _unary(
        lambda layer: (
            LocalResponseNorm(layer.integer(1, 5), layer.real(2, 1.0), layer.real(3, 0.75), layer.real(4, 1.0))
            if not layer.integer(0)
            else Unmodelled("LRN within channels")
        )
    ),
    "LayerNorm": _per_channel(lambda layer: LayerNorm(layer.real(1, 0.001)), ("scale", "shift")),
    "MatMul": _matmul,
    "Mish": _unary(lambda _: Mish()),
    "MultiHeadAttention": _attention,
    "PReLU": _per_channel(lambda _: Prelu(), ("slope",)),
    "Pooling": _pooling,
    "RMSNorm": _per_channel(lambda layer: RmsNorm(layer.real(1, 0.001)), ("scale",)),
    "ReLU": _unary(_relu),
    "Reduction": _reduction,
    "Sigmoid": _unary(lambda _: Logistic()),
    "Softmax": _softmax,
    "Swish": _unary(lambda _: Swish()),
    "TanH": _unary(lambda _: Tanh()),
}
