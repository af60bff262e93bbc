"""The layers of ncnn network descriptions, by their numbered parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workloads.operators import (
    NO_CLAMP,
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Mean,
    Mul,
    Padding,
    Pair,
    Pool2d,
    Reshape,
    Softmax,
    Unmodelled,
)
from workloads.readers import limits
from workloads.shapes import infer, same_padding

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.builder import GraphBuilder
    from workloads.operators import Operator
    from workloads.shapes import Shape

RELU = Clamp(low=0.0)
CURVES = {2: "LeakyReLU", 4: "Sigmoid", 5: "Mish", 6: "HardSwish"}  # fused activations that are not clamps
SAME_UPPER, SAME_LOWER = -233, -234


@dataclass(frozen=True)
class ParamLayer:
    """One line: operator, name, blobs, and parameters by number; arrays have numbers from -23300 down."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: dict[int, str]

    @classmethod
    def parse(cls, line: str) -> ParamLayer:
        """Split a line."""
        words = line.split()
        try:
            inputs, outputs = int(words[2]), int(words[3])
            blobs, pairs = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
            parameters = {int(key): value for key, _, value in (pair.partition("=") for pair in pairs)}
        except (IndexError, ValueError):
            raise ValueError("expected: operator name inputs outputs blobs... number=value...") from None
        named = [blob for blob in blobs if "=" not in blob]
        if min(inputs, outputs) < 0 or len(named) != inputs + outputs:
            raise ValueError(f"{words[0]} names {len(named)} blobs, expected {inputs} + {outputs}")
        return cls(words[0], words[1], tuple(blobs[:inputs]), tuple(blobs[inputs:]), parameters)

    def integer(self, number: int, default: int = 0) -> int:
        """Return an integer parameter."""
        text = self.parameters.get(number, str(default))
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{self.op} {self.name!r}: parameter {number} is {text!r}, expected an integer") from None
        if abs(value) > limits.MAX_TENSOR_ELEMENTS:
            raise ValueError(f"{self.op} {self.name!r}: parameter {number} is {value}, too large")
        return value

    def pair(self, vertical: int, horizontal: int, default: int) -> Pair:
        """Return (vertical, horizontal) of which the vertical one defaults to the horizontal one."""
        across = self.integer(horizontal, default)
        return self.integer(vertical, across), across


@dataclass
class Network:
    """A graph under construction: the tensor behind each blob."""

    builder: GraphBuilder
    blobs: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    int8: bool = False

    def source(self, layer: ParamLayer, index: int = 0) -> str:
        """Return an input."""
        if index >= len(layer.inputs):
            raise ValueError(f"{layer.op} {layer.name!r} has {len(layer.inputs)} inputs, expected more")
        name = self.blobs[layer.inputs[index]]
        self.read.add(name)
        return name

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor."""
        return self.builder.tensors[name].shape

    def add(self, operator: Operator, inputs: list[str], layer: ParamLayer, shape: Shape | None = None) -> str:
        """Add a layer that makes the first output blob."""
        shape = infer(operator, [self.shape(each) for each in inputs]) if shape is None else shape
        limits.check_shape(f"{layer.op} {layer.name!r}", shape)
        name = self.builder.layer(operator, inputs, output=layer.outputs[0], shape=shape)
        self.blobs[layer.outputs[0]] = name
        return name

    def product(self, operator: Operator, inputs: list[str], layer: ParamLayer) -> None:
        """Add a layer with weights, followed by its fused activation where that is not a clamp."""
        name = self.add(operator, inputs, layer)
        curve = CURVES.get(layer.integer(9))
        if curve is not None:
            after = self.builder.layer(Unmodelled(curve), [name], output=f"{name}/activated", shape=self.shape(name))
            self.blobs[layer.outputs[0]] = after

    def constant(self, layer: ParamLayer, kind: str, shape: Shape) -> str:
        """Add a constant known by its shape."""
        limits.check_shape(f"{layer.op} {layer.name!r} {kind}", shape)
        return self.builder.constant(f"{layer.name}/{kind}", shape)

    def unread(self) -> list[str]:
        """Return the tensors that no layer reads: the network's outputs."""
        made = {name for layer in self.builder.layers for name in layer.outputs}
        read = {name for layer in self.builder.layers for name in layer.inputs}
        return [name for name in self.builder.tensors if name in made - read]

    @staticmethod
    def unmodelled(network: Network, layer: ParamLayer) -> None:
        """Add an operator that cannot be costed, with its input's shape."""
        inputs = [network.source(layer, index) for index in range(len(layer.inputs))]
        network.add(Unmodelled(layer.op), inputs, layer, network.shape(inputs[0]))


def _input(network: Network, layer: ParamLayer) -> None:
    """Input: width, height, channels."""
    width, height, channels = (layer.integer(number) for number in range(3))
    shape = (1, height, width, channels) if channels else (1, width * max(height, 1))
    limits.check_shape(f"{layer.op} {layer.name!r}", shape)
    network.blobs[layer.outputs[0]] = network.builder.input(layer.outputs[0], shape)


def _split(network: Network, layer: ParamLayer) -> None:
    """Split: more names for one value."""
    for output in layer.outputs:
        network.blobs[output] = network.source(layer)


def _convolution(network: Network, layer: ParamLayer) -> None:
    """Convolution and ConvolutionDepthWise (grouped)."""
    x = network.source(layer)
    shape = network.shape(x)
    if len(shape) != 4:
        raise ValueError(f"{layer.op} {layer.name!r} has an input of shape {shape}, expected an image")
    channels, kernel, dilation = layer.integer(0), layer.pair(11, 1, 0), layer.pair(12, 2, 1)
    stride, groups = layer.pair(13, 3, 1), layer.integer(7, 1)
    if min(channels, *kernel, *dilation, *stride, groups) < 1 or shape[3] % groups or channels % groups:
        raise ValueError(f"{layer.op} {layer.name!r}: {channels} channels in {groups} groups over {shape} do not fit")
    padding = _padding(layer, shape, kernel, stride, dilation)
    weights: Shape = (channels, *kernel, shape[3] // groups)
    operator: Operator = Conv2d(stride, padding, dilation, groups, _activation(layer))
    if groups == shape[3] and groups > 1:
        weights = (1, *kernel, channels)
        operator = DepthwiseConv2d(stride, padding, dilation, channels // groups, _activation(layer))
    _check_weights(layer, weights, 6)
    network.int8 |= layer.integer(8) > 0
    bias = [network.constant(layer, "bias", (channels,))] if layer.integer(5) else []
    network.product(operator, [x, network.constant(layer, "weights", weights), *bias], layer)


def _inner_product(network: Network, layer: ParamLayer) -> None:
    """InnerProduct: flattens its input."""
    x, units = network.source(layer), layer.integer(0)
    depth = math.prod(network.shape(x)[1:])
    if len(network.shape(x)) != 2:
        flat = network.builder.layer(Reshape(), [x], shape=(network.shape(x)[0], depth), output=f"{layer.name}/flat")
        x = flat
    _check_weights(layer, (units, depth), 2)
    network.int8 |= layer.integer(8) > 0
    bias = [network.constant(layer, "bias", (units,))] if layer.integer(1) else []
    weights = network.constant(layer, "weights", (units, depth))
    network.product(FullyConnected(_activation(layer)), [x, weights, *bias], layer)


def _pooling(network: Network, layer: ParamLayer) -> None:
    """Pooling: maximum or average, windows or global; pad mode 0 covers the last row and column."""
    x = network.source(layer)
    shape = network.shape(x)
    if layer.integer(0) not in {0, 1} or len(shape) != 4:
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


def _binary(operators: dict[int, Operator], default: int) -> Callable[[Network, ParamLayer], None]:
    """Return the translation of Eltwise or BinaryOp, whose parameter 0 chooses the operator."""

    def add(network: Network, layer: ParamLayer) -> None:
        operator = operators.get(layer.integer(0, default))
        inputs = [network.source(layer, index) for index in range(len(layer.inputs))]
        scalar = layer.op == "BinaryOp" and layer.integer(1)
        if operator is None or len(inputs) + bool(scalar) != 2:
            network.unmodelled(network, layer)
            return
        if scalar:
            inputs.append(network.constant(layer, "scalar", (1,)))
        network.add(operator, inputs, layer)

    return add


def _unary(operator: Operator) -> Callable[[Network, ParamLayer], None]:
    """Return the translation of an operator of one input without parameters."""

    def add(network: Network, layer: ParamLayer) -> None:
        network.add(operator, [network.source(layer)], layer)

    return add


def _concat(network: Network, layer: ParamLayer) -> None:
    """Concat: axis 0 is the channel axis of an image."""
    inputs = [network.source(layer, index) for index in range(len(layer.inputs))]
    axis, rank = layer.integer(0), len(network.shape(inputs[0]))
    place = {0: 3, 1: 1, 2: 2}.get(axis % 3, 3) if rank == 4 else axis % rank + (rank == 2)
    network.add(Concat(min(place, rank - 1)), inputs, layer)


def _flatten(network: Network, layer: ParamLayer) -> None:
    """Flatten and Reshape to one axis."""
    x = network.source(layer)
    if layer.op == "Reshape" and (
        layer.integer(0, -233) not in {-1, math.prod(network.shape(x))} or 1 in layer.parameters
    ):
        network.unmodelled(network, layer)
        return
    network.add(Reshape(), [x], layer, (network.shape(x)[0], math.prod(network.shape(x)[1:])))


def _clip(network: Network, layer: ParamLayer) -> None:
    """Clip between parameters 0 and 1."""
    try:
        low, high = float(layer.parameters.get(0, "-inf")), float(layer.parameters.get(1, "inf"))
    except ValueError:
        raise ValueError(f"Clip {layer.name!r}: bounds are not numbers") from None
    network.add(Activation(Clamp(low, high)), [network.source(layer)], layer)


def _activation(layer: ParamLayer) -> Clamp:
    """Return the fused activation of a product."""
    kind = layer.integer(9)
    if kind == 0:
        return NO_CLAMP
    if kind == 1:
        return RELU
    values = layer.parameters.get(-23310, "").split(",")[1:]
    if kind == 3 and len(values) == 2:
        try:
            return Clamp(float(values[0]), float(values[1]))
        except ValueError:
            raise ValueError(f"{layer.op} {layer.name!r}: clip bounds {values} are not numbers") from None
    if kind in CURVES:
        return NO_CLAMP
    raise ValueError(f"{layer.op} {layer.name!r}: fused activation {kind} is not known")


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


OPERATORS: dict[str, Callable[[Network, ParamLayer], None]] = {
    "BinaryOp": _binary({0: Add(), 2: Mul()}, 0),
    "Clip": _clip,
    "Concat": _concat,
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "Dropout": _split,
    "Eltwise": _binary({0: Mul(), 1: Add()}, 0),
    "Flatten": _flatten,
    "InnerProduct": _inner_product,
    "Input": _input,
    "Pooling": _pooling,
    "ReLU": _unary(Activation(RELU)),
    "Reshape": _flatten,
    "Softmax": _unary(Softmax()),
    "Split": _split,
}
