"""The fields of a layer table's row, and the edges between rows, inferred from shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from workloads.builder import GraphBuilder
from workloads.operators import Operator, Reshape

if TYPE_CHECKING:
    from workloads.graph import Graph
    from workloads.shapes import Shape


class TableRow(Protocol):
    """The fields of a row that its layer depends on."""

    @property
    def op(self) -> str: ...  # noqa: D102 - fields of a row
    @property
    def input_shape(self) -> Shape: ...  # noqa: D102 - fields of a row
    @property
    def weight_shape(self) -> Shape: ...  # noqa: D102 - fields of a row
    @property
    def output_shape(self) -> Shape: ...  # noqa: D102 - fields of a row
    @property
    def kernel(self) -> Shape: ...  # noqa: D102 - fields of a row
    @property
    def stride(self) -> Shape: ...  # noqa: D102 - fields of a row
    @property
    def params(self) -> int: ...  # noqa: D102 - fields of a row
    @property
    def dtype(self) -> str: ...  # noqa: D102 - fields of a row


@dataclass
class Wiring:
    """A graph under construction, and which of its outputs nothing has read yet, the latest last."""

    builder: GraphBuilder
    waiting: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, name: str) -> Wiring:
        """Return an empty wiring."""
        return cls(GraphBuilder(name))

    def source(self, shape: Shape, dtype: str) -> str:
        """Return the tensor that a layer reads: an output of its shape, else of its size, unread and late first.

        The first layer reads the graph's input.
        """
        name = self.find(shape, dtype)
        if name is None:
            raise ValueError(f"no row before it makes an output of shape {'x'.join(map(str, shape))}")
        return name

    def find(self, shape: Shape, dtype: str) -> str | None:
        """Return what ``source`` returns, or None when nothing fits."""
        if not self.made:
            name = self.builder.input("input", shape, dtype)
            self.made.append(name)
            return name
        for name in (*reversed(self.waiting), *reversed(self.made)):
            if self.builder.tensors[name].shape == shape:
                return self._read(name)
        for name in (*reversed(self.waiting), *reversed(self.made)):
            if self.builder.tensors[name].elements == math.prod(shape):
                return self.reshaped(self._read(name), shape)
        return None

    def second(self, first: str, shape: Shape) -> str | None:
        """Return the other operand of a sum or product with ``first``, or None when no output fits."""
        tensors = self.builder.tensors
        fits = [name for name in self.made if name != first and _broadcasts(tensors[name].shape, shape)]
        unread = [name for name in fits if name in self.waiting]
        maker = next((layer for layer in self.builder.layers if first in layer.outputs), None)
        direct = maker.inputs if maker is not None else ()
        skipped = [name for name in fits if tensors[name].shape == shape and name not in direct]
        candidates = unread or skipped
        return self._read(candidates[-1]) if candidates else None

    def add(self, operator: Operator, inputs: list[str], shape: Shape, dtype: str) -> str:
        """Add a layer and remember its output."""
        name = self.builder.layer(operator, inputs, shape=shape, dtype=dtype)
        self.made.append(name)
        self.waiting.append(name)
        return name

    def reshaped(self, x: str, shape: Shape) -> str:
        """Return a tensor under another shape."""
        return self._read(self.add(Reshape(), [x], shape, self.builder.tensors[x].dtype))

    def weights(self, shape: Shape, dtype: str) -> str:
        """Add constant weights."""
        weight_type = "int8" if dtype in {"int8", "uint8", "int16"} else dtype
        return self.builder.constant(f"weights_{len(self.builder.layers)}", shape, dtype=weight_type)

    def biases(self, count: int, dtype: str) -> list[str]:
        """Add a constant bias, if there is one."""
        bias_type = dtype if dtype.startswith("float") else "int32"
        return [self.builder.constant(f"bias_{len(self.builder.layers)}", (count,), dtype=bias_type)] if count else []

    def finished(self) -> Graph:
        """Return the graph; outputs that nothing reads are its outputs."""
        return self.builder.build(self.waiting or self.made[-1:], executable=False)

    def _read(self, name: str) -> str:
        if name in self.waiting:
            self.waiting.remove(name)
        return name


def _broadcasts(shape: Shape, target: Shape) -> bool:
    """Whether a shape broadcasts to a target of the same rank."""
    return len(shape) == len(target) and all(m in {1, n} for m, n in zip(shape, target, strict=True))
