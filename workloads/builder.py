"""A graph under construction: tensors and layers are added in order, shapes follow by inference."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from workloads.graph import Graph, Layer
from workloads.operators import operator_name
from workloads.shapes import infer
from workloads.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workloads.operators import Operator
    from workloads.shapes import Shape
    from workloads.tensor import Array, Quantization


@dataclass
class GraphBuilder:
    """Collects the parts of one Graph; every method returns the name of the tensor it added."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    def unused(self, wanted: str) -> str:
        """Return ``wanted``, or that with the first free number behind it."""
        name, number = wanted, 2
        while name in self.tensors:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def input(self, name: str, shape: Shape, dtype: str = "float32", quantization: Quantization | None = None) -> str:
        """Add a graph input."""
        self.tensors[name] = Tensor(name, shape, dtype, quantization)
        self.inputs.append(name)
        return name

    def constant(
        self,
        name: str,
        shape: Shape,
        data: Array | Callable[[], Array] | None = None,
        dtype: str = "float32",
        quantization: Quantization | None = None,
    ) -> str:
        """Add a constant; without data it is known by its shape only."""
        name = self.unused(name)
        self.tensors[name] = Tensor(name, shape, dtype, quantization, shape_only(name) if data is None else data)
        return name

    def layer(
        self,
        operator: Operator,
        inputs: Sequence[str],
        *,
        output: str | None = None,
        shape: Shape | None = None,
        dtype: str | None = None,
        quantization: Quantization | None = None,
        name: str | None = None,
    ) -> str:
        """Add a layer and its output tensor; shape by inference and dtype from the first input unless given."""
        if shape is None:
            shape = infer(operator, [self.tensors[each].shape for each in inputs])
        output = self.unused(output or f"{operator_name(operator)}_{len(self.layers)}")
        dtype = self.tensors[inputs[0]].dtype if dtype is None else dtype
        self.tensors[output] = Tensor(output, shape, dtype, quantization)
        self.layers.append(Layer(name or output, operator, tuple(inputs), (output,)))
        return output

    def build(self, outputs: Sequence[str], arithmetic: str = "none", executable: bool = True) -> Graph:
        """Return the finished graph."""
        return Graph(
            self.name,
            dict(self.tensors),
            tuple(self.layers),
            tuple(self.inputs),
            tuple(outputs),
            arithmetic,
            executable,
        )


def shape_only(name: str) -> Callable[[], Array]:
    """Return data that cannot be made: of a constant known by its shape only, good for costing."""
    return partial(_refuse, name)


def _refuse(name: str) -> NoReturn:
    """Say why the data of a shape-only constant do not exist."""
    raise ValueError(f"constant {name!r} is known by its shape only: the network can be costed, not executed")
