"""Graph: a network as layers over named tensors, with the counts that follow from shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.operators import (
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Lstm,
    MatMul,
    Operator,
    Svdf,
    TransposedConv2d,
    operator_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.tensor import Tensor


@dataclass(frozen=True)
class Layer:
    """One operator applied to named tensors; a missing optional input is left out at the end."""

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def op(self) -> str:
        """The operator's name, e.g. "conv2d"."""
        return operator_name(self.operator)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: layers in topological order over named tensors.

    Parameters
    ----------
    arithmetic
        The integer semantics the file was made for: "litert" (TFLite), "onnxruntime" (ONNX), or "none" (float).
    executable
        False for a network known by its shapes only (a layer table).
    """

    name: str
    tensors: Mapping[str, Tensor]
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arithmetic: str = "none"
    executable: bool = True

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference. [MAC]"""
        return sum(layer_macs(self, layer) for layer in self.layers)

    @property
    def weights_bytes(self) -> int:
        """Storage of all constants. [B]"""
        return sum(tensor.nbytes for tensor in self.tensors.values() if tensor.is_constant)


def layer_macs(graph: Graph, layer: Layer) -> int:
    """Multiply-accumulates of one layer; zero for layers that are not products. [MAC]"""
    outputs = graph[layer.outputs[0]]
    match layer.operator:
        case Conv2d():
            return outputs.elements * math.prod(graph[layer.inputs[1]].shape[1:])
        case TransposedConv2d(groups=groups):
            return graph[layer.inputs[0]].elements * math.prod(graph[layer.inputs[1]].shape[:3]) // groups
        case Svdf():
            weights = sum(graph[name].elements for name in layer.inputs[1:3])
            return outputs.shape[0] * weights
        case Lstm():
            weights = sum(graph[name].elements for name in layer.inputs[1:9])
            return math.prod(outputs.shape[:2]) * weights
        case DepthwiseConv2d():
            return outputs.elements * math.prod(graph[layer.inputs[1]].shape[1:3])
        case FullyConnected():
            return outputs.elements * graph[layer.inputs[1]].shape[-1]
        case MatMul():
            return outputs.elements * graph[layer.inputs[0]].shape[-1]
    return 0


def with_batch(graph: Graph, batch: int) -> Graph:
    """Return the graph with every activation's leading extent multiplied by ``batch``."""
    if batch < 1:
        raise ValueError(f"batch ({batch}) must be at least 1")
    tensors = {
        name: tensor if tensor.is_constant else replace(tensor, shape=(tensor.shape[0] * batch, *tensor.shape[1:]))
        for name, tensor in graph.tensors.items()
    }
    return replace(graph, tensors=tensors)
