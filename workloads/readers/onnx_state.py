"""What the ONNX reader knows while it walks the nodes: values by name, their layout, and the growing graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.operators import Dequantize, Quantize, Reshape, Transpose
from workloads.readers import limits
from workloads.readers.onnx_constants import ELEMENT_TYPES, Constant
from workloads.shapes import infer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.builder import GraphBuilder
    from workloads.operators import Operator
    from workloads.shapes import Shape
    from workloads.tensor import Array, Quantization

TO_LAST = (0, 2, 3, 1)  # (batch, channel, height, width) to (batch, height, width, channel)
TO_FIRST = (0, 3, 1, 2)
CHANNELS_LAST_AXIS = {0: 0, 1: 3, 2: 1, 3: 2}


@dataclass(frozen=True)
class Node:
    """One ONNX node: its operator, names, attributes and the version of its operator set."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise ValueError(f"attribute {name!r} is {value!r}, expected an integer")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a floating point attribute, which must be finite."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            raise ValueError(f"attribute {name!r} is {value!r}, expected a finite number")
        return float(value)

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return a list of integers."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, int) for each in value):
            raise ValueError(f"attribute {name!r} is {value!r}, expected a list of integers")
        return tuple(value)

    def text(self, name: str, default: str) -> str:
        """Return a text attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (bytes, str)):
            raise ValueError(f"attribute {name!r} is {value!r}, expected text")
        return value.decode(errors="replace") if isinstance(value, bytes) else value


@dataclass
class Translation:
    """State of one reading.

    ``values`` maps an ONNX name to a Constant or to the name of a tensor; tensors of four axes are channels last;
    ``reserved`` holds the names of the file's outputs, ``unsigned`` the int8 tensors that are uint8 in the file.
    """

    builder: GraphBuilder
    values: dict[str, Constant | str] = field(default_factory=dict)
    makers: dict[str, tuple[Operator, tuple[str, ...]]] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    unsigned: set[str] = field(default_factory=set)

    def value(self, node: Node, index: int) -> Constant | str:
        """Return an input that must be there."""
        if index >= len(node.inputs) or not node.inputs[index]:
            raise ValueError(f"input {index} is missing")
        return self.values[node.inputs[index]]

    def has(self, node: Node, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(node.inputs) and bool(node.inputs[index])

    def constant(self, node: Node, index: int) -> Constant:
        """Return an input that must be a constant."""
        value = self.value(node, index)
        if not isinstance(value, Constant):
            raise ValueError(f"input {index} ({node.inputs[index]!r}) must be a constant")
        return value

    def integers(self, node: Node, index: int) -> tuple[int, ...]:
        """Return a constant input as a tuple of integers."""
        array = self.constant(node, index).array
        if array.dtype.kind not in "iu" or array.size > limits.MAX_RANK * 2:
            raise ValueError(f"input {index} ({node.inputs[index]!r}) must be a short list of integers")
        return tuple(int(each) for each in array.ravel())

    def tensor(self, node: Node, index: int) -> str:
        """Return an input as the name of a tensor of the graph; a constant is added in the graph's layout."""
        value = self.value(node, index)
        if isinstance(value, str):
            return value
        array = value.array.transpose(TO_LAST) if value.array.ndim == 4 else value.array
        quantization = value.quantization
        if quantization is not None and quantization.axis is not None and value.array.ndim == 4:
            quantization = replace(quantization, axis=CHANNELS_LAST_AXIS[quantization.axis])
        return self.add_constant(value.name, array, quantization)

    def add_constant(self, name: str, array: Array, quantization: Quantization | None = None) -> str:
        """Add a constant; integers that stand for real numbers are followed by a Dequantize layer."""
        array = np.ascontiguousarray(array)
        if quantization is None:
            if array.dtype in (np.dtype("float16"), np.dtype("float64")):
                array = array.astype(np.float32)
            return self.builder.constant(name, array.shape, array, str(array.dtype))
        integers = self.builder.constant(f"{name}/integers", array.shape, array, str(array.dtype), quantization)
        return self.layer(Dequantize(), (integers,), f"{name}/real", dtype="float32")

    def zero_point_type(self, node: Node) -> str:
        """Return the integer type of a QuantizeLinear or DequantizeLinear node, as the file has it."""
        if self.has(node, 2):
            return str(self.constant(node, 2).array.dtype)
        if node.op == "QuantizeLinear":
            number = node.integer("output_dtype", 0) or 2
            return ELEMENT_TYPES.get(number, str(number))
        value = self.value(node, 0)
        if isinstance(value, Constant):
            return str(value.array.dtype)
        return "uint8" if value in self.unsigned else self.builder.tensors[value].dtype

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor in the graph's layout."""
        return self.builder.tensors[name].shape

    def declared_shape(self, value: Constant | str) -> Shape:
        """Return the shape of a value in the file's own layout."""
        if isinstance(value, Constant):
            return tuple(value.array.shape)
        shape = self.shape(value)
        return tuple(shape[axis] for axis in TO_FIRST) if len(shape) == 4 else shape

    def layer(
        self,
        operator: Operator,
        inputs: Sequence[str],
        output: str,
        *,
        shape: Shape | None = None,
        dtype: str | None = None,
        quantization: Quantization | None = None,
    ) -> str:
        """Add a layer after checking the size of its output."""
        if shape is None:
            shape = infer(operator, [self.shape(each) for each in inputs])
        limits.check_shape(f"output {output!r}", shape)
        if output in self.reserved and len(shape) == 4:
            output = f"{output}/channels_last"
        name = self.builder.layer(operator, inputs, output=output, shape=shape, dtype=dtype, quantization=quantization)
        self.makers[name] = (operator, tuple(inputs))
        return name

    def moved(self, operator: Operator, x: str, output: str, shape: Shape | None = None) -> str:
        """Add a layer that moves elements and keeps their quantisation."""
        return self.layer(operator, (x,), output, shape=shape, quantization=self.builder.tensors[x].quantization)

    def channels_first(self, x: str, output: str) -> str:
        """Return a tensor in the file's own layout, transposed where that matters."""
        return self._permuted(x, TO_FIRST, output) if len(self.shape(x)) == 4 else x

    def channels_last(self, x: str, output: str) -> str:
        """Return a tensor that is in the file's layout in the graph's layout."""
        return self._permuted(x, TO_LAST, output) if len(self.shape(x)) == 4 else x

    def _permuted(self, x: str, permutation: tuple[int, ...], output: str) -> str:
        """Transpose, or reshape when only axes of extent 1 change places."""
        shape = self.shape(x)
        after = tuple(shape[axis] for axis in permutation)
        order = [axis for axis in permutation if shape[axis] > 1]
        if order == sorted(order):
            return self.moved(Reshape(), x, output, after)
        return self.moved(Transpose(permutation), x, output)

    def declare(self, name: str, quantization: Quantization) -> None:
        """Record the quantisation of an integer tensor and of the tensors it was moved from.

        Raises
        ------
        ValueError
            Another node has given the tensor a different quantisation.
        """
        tensor = self.builder.tensors[name]
        if tensor.quantization is not None:
            if not same_quantization(tensor.quantization, quantization):
                raise ValueError(
                    f"tensor {name!r} is given scale {_brief(quantization.scale)} and zero point "
                    f"{_brief(quantization.zero_point)}, but was made with scale {_brief(tensor.quantization.scale)} "
                    f"and zero point {_brief(tensor.quantization.zero_point)}: contradictory quantisation parameters"
                )
            return
        self.builder.tensors[name] = replace(tensor, quantization=quantization)
        operator, inputs = self.makers.get(name, (None, ()))
        if isinstance(operator, (Transpose, Reshape)):
            self.declare(inputs[0], quantization)
        if isinstance(operator, Quantize) and self.builder.tensors[inputs[0]].dtype == "uint8":
            self.declare(inputs[0], replace(quantization, zero_point=quantization.zero_point + 128))


def same_quantization(first: Quantization, second: Quantization) -> bool:
    """Whether two quantisations mean the same."""
    return (
        first.axis == second.axis
        and np.array_equal(first.scale, second.scale)
        and np.array_equal(first.zero_point, second.zero_point)
    )


def _brief(array: Array) -> str:
    """Show the first number of an array."""
    return f"{array.ravel()[0]}" + (" ..." if array.size > 1 else "")
