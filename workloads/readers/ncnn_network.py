"""One line of an ncnn description, and the graph under construction that its lines add to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workloads.operators import NO_CLAMP, Clamp, HardSwish, LeakyRelu, Logistic, Mish, Reshape, Unmodelled
from workloads.readers import limits
from workloads.shapes import infer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.builder import GraphBuilder
    from workloads.operators import Function, Operator, Pair
    from workloads.shapes import Shape

SHAPE_HINTS = 30  # array parameter: dimensions, w, h, c of each output
AXES = {2: (1,), 3: (1, 2), 4: (3, 1, 2)}  # places of ncnn's axes (w), (h, w) and (c, h, w), by rank of our tensor
SIZES = ("width", "height", "channels")


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

    def real(self, number: int, default: float) -> float:
        """Return a real parameter."""
        text = self.parameters.get(number)
        return default if text is None else self._numbers(number, [text])[0]

    def reals(self, number: int) -> list[float]:
        """Return an array parameter, written as its length and then its values; empty if it is missing."""
        return self._numbers(number, self.parameters.get(-23300 - number, "0").split(",")[1:])

    def _numbers(self, number: int, words: list[str]) -> list[float]:
        """Read finite numbers."""
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{self.op} {self.name!r}: values {words} of parameter {number} are not numbers")
        return values

    def integers(self, number: int) -> list[int]:
        """Return an array parameter of integers."""
        return [int(value) for value in self.reals(number)]

    def told(self, output: int = 0) -> tuple[int, ...]:
        """Return the extents that the line tells of an output, in ncnn's order; empty if it does not."""
        rank, *extents = self.integers(SHAPE_HINTS)[4 * output : 4 * output + 4] or [0]
        return tuple(extents[:rank][::-1]) if rank in {1, 2, 3} else ()

    def pair(self, vertical: int, horizontal: int, default: int) -> Pair:
        """Return (vertical, horizontal) of which the vertical one defaults to the horizontal one."""
        across = self.integer(horizontal, default)
        return self.integer(vertical, across), across


@dataclass
class Network:
    """A graph under construction: the tensor behind each blob, (1,w), (1,h,w) or (1,h,w,c)."""

    builder: GraphBuilder
    sizes: Mapping[str, int] = field(default_factory=dict)  # of inputs whose extents the file does not tell
    blobs: dict[str, str] = field(default_factory=dict)
    int8: bool = False

    def source(self, layer: ParamLayer, index: int = 0) -> str:
        """Return an input."""
        if index >= len(layer.inputs):
            raise ValueError(f"{layer.op} {layer.name!r} has {len(layer.inputs)} inputs, expected more")
        return self.blobs[layer.inputs[index]]

    def sources(self, layer: ParamLayer) -> list[str]:
        """Return all inputs, at least one."""
        return [self.source(layer, index) for index in range(max(len(layer.inputs), 1))]

    def image(self, layer: ParamLayer) -> str:
        """Return the first input as an image; a row of channels becomes an image of one pixel."""
        x = self.source(layer)
        if len(self.shape(x)) == 2:
            return self.reshaped(x, (self.shape(x)[0], 1, 1, self.shape(x)[1]))
        if len(self.shape(x)) != 4:
            raise ValueError(f"{layer.op} {layer.name!r} has an input of shape {self.shape(x)}, expected an image")
        return x

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor."""
        return self.builder.tensors[name].shape

    def axis(self, layer: ParamLayer, x: str, number: int) -> int:
        """Return the place of one of ncnn's axes; negative numbers count from the last one."""
        axes = AXES[len(self.shape(x))]
        if not -len(axes) <= number < len(axes):
            raise ValueError(f"{layer.op} {layer.name!r}: axis {number} does not exist in shape {self.shape(x)}")
        return axes[number]

    def extents(self, name: str) -> tuple[int, ...]:
        """Return a tensor's extents in ncnn's order: (w), (h, w) or (c, h, w)."""
        shape = self.shape(name)
        return tuple(shape[axis] for axis in AXES[len(shape)])

    def add(self, operator: Operator, inputs: list[str], layer: ParamLayer, shape: Shape | None = None) -> str:
        """Add a layer that makes the first output blob."""
        name = self.inner(operator, inputs, layer, shape, layer.outputs[0])
        self.blobs[layer.outputs[0]] = name
        return name

    def inner(
        self,
        operator: Operator,
        inputs: list[str],
        layer: ParamLayer,
        shape: Shape | None = None,
        output: str | None = None,
    ) -> str:
        """Add a layer that makes no blob, or not the first one."""
        shape = infer(operator, [self.shape(each) for each in inputs]) if shape is None else shape
        limits.check_shape(f"{layer.op} {layer.name!r}", shape)
        return self.builder.layer(operator, inputs, output=output or f"{layer.name}/inner", shape=shape)

    def reshaped(self, x: str, shape: Shape) -> str:
        """Return the elements of a tensor under another shape, in our order."""
        return x if self.shape(x) == shape else self.builder.layer(Reshape(), [x], shape=shape)

    def product(self, operator: Operator, inputs: list[str], layer: ParamLayer) -> None:
        """Add a layer with weights, followed by its fused activation where that is not a clamp."""
        name = self.add(operator, inputs, layer)
        function = _fused_function(layer)
        if function is not None:
            self.blobs[layer.outputs[0]] = self.builder.layer(function, [name], output=f"{name}/activated")

    def constant(self, layer: ParamLayer, kind: str, shape: Shape) -> str:
        """Add a constant known by its shape."""
        limits.check_shape(f"{layer.op} {layer.name!r} {kind}", shape)
        return self.builder.constant(f"{layer.name}/{kind}", shape)

    def check_hints(self, layer: ParamLayer) -> None:
        """Compare the output shapes with those that the line tells, if it does."""
        for index, blob in enumerate(layer.outputs):
            told, found = layer.told(index), self.extents(self.blobs[blob])
            if told and told != found and (len(told) > 1 or math.prod(found) != told[0]):
                raise ValueError(f"{layer.op} {layer.name!r} announces {blob!r} as {told}; its inputs give {found}")

    def unread(self) -> list[str]:
        """Return the tensors that no layer reads: the network's outputs."""
        made = {name for layer in self.builder.layers for name in layer.outputs}
        read = {name for layer in self.builder.layers for name in layer.inputs}
        return [name for name in self.builder.tensors if name in made - read]

    @staticmethod
    def unmodelled(network: Network, layer: ParamLayer) -> None:
        """Add an operator that cannot be costed, with the shape that its line tells, else its input's."""
        inputs, told = network.sources(layer), layer.told()
        network.add(Unmodelled(layer.op), inputs, layer, shape_of(told) if told else network.shape(inputs[0]))


def shape_of(extents: tuple[int, ...]) -> Shape:
    """Return our shape of extents in ncnn's order."""
    return (1, *extents[1:], extents[0]) if len(extents) == 3 else (1, *extents)


def clamp(layer: ParamLayer) -> Clamp:
    """Return the fused activation of a product as a clamp; functions follow it as a layer of their own."""
    kind = layer.integer(9)
    values = layer.reals(10)
    if kind == 1:
        return Clamp(low=0.0)
    if kind == 3 and len(values) == 2:
        return Clamp(*values)
    if kind not in {0, 2, 4, 5, 6}:
        raise ValueError(f"{layer.op} {layer.name!r}: fused activation {kind} with {len(values)} values is not known")
    return NO_CLAMP


def _fused_function(layer: ParamLayer) -> Function | None:
    """Return the fused activation of a product where it is not a clamp."""
    slope = (layer.reals(10) or [0.0])[0] if layer.integer(9) == 2 else 0.0
    functions: dict[int, Function] = {2: LeakyRelu(slope), 4: Logistic(), 5: Mish(), 6: HardSwish()}
    return functions.get(layer.integer(9))
