"""Dead channels: output channels of convolutions that always hold zero, and the smaller network without them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.builder import shape_only
from workloads.operators import Activation, Conv2d, DepthwiseConv2d, FullyConnected, Mean, Pool2d, Quantize, Reshape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.graph import Graph, Layer
    from workloads.tensor import Tensor

_KEEPING = (Activation, Mean, Pool2d, Quantize)  # each output channel depends on the same input channel only


def dead_channels(graph: Graph) -> dict[str, int]:
    """Count the dead output channels of each convolution whose weights are known, by the tensor it makes.

    A channel is dead if its weights are zero and what its bias becomes is the output's zero point.
    """
    found = {}
    for layer in graph.layers:
        if isinstance(layer.operator, Conv2d) and (count := _dead(graph, layer)):
            found[layer.outputs[0]] = count
    return found


def _dead(graph: Graph, layer: Layer) -> int:
    """Count the dead channels of one convolution; zero where weights or quantisation are not known."""
    x, weights, y = (graph[name] for name in (*layer.inputs[:2], layer.outputs[0]))
    quantized = [tensor.quantization for tensor in (x, weights, y)]
    if not graph.executable or any(each is None for each in quantized) or not weights.is_constant:
        return 0
    zero = ~np.any(weights.materialize(), axis=(1, 2, 3))
    if len(layer.inputs) < 3:
        return int(zero.sum())
    scales = [each.scale for each in quantized if each is not None]
    real = graph[layer.inputs[2]].materialize() * (scales[0] * scales[1])
    clamped = np.clip(real, layer.operator.activation.low, layer.operator.activation.high)  # type: ignore[union-attr]  # it is a convolution
    return int((zero & (np.abs(clamped) < scales[2] / 2)).sum())


def without_dead_channels(graph: Graph, dead: Mapping[str, int]) -> Graph:
    """Return the costing-only graph in which convolutions do not compute, nor their readers read, dead channels.

    Parameters
    ----------
    dead
        Dead channels by the tensor that a convolution makes; kept where another kind of layer reads the tensor.
    """
    tensors = dict(graph.tensors)
    left: dict[str, int] = {}
    for layer in graph.layers:
        before = left.get(layer.inputs[0], 0)
        after = dead.get(layer.outputs[0], 0) if isinstance(layer.operator, Conv2d) else before
        if not _passes(layer, graph):
            continue
        if after and not all(_passes(each, graph) for each in graph.layers if layer.outputs[0] in each.inputs):
            after = 0
        if isinstance(layer.operator, FullyConnected):
            after = 0
        _narrow_constants(layer, tensors, before, after)
        if after and layer.outputs[0] not in graph.outputs:
            left[layer.outputs[0]] = after
            tensors[layer.outputs[0]] = _narrowed(tensors[layer.outputs[0]], -1, after)
    return replace(graph, tensors=tensors, executable=False)


def _passes(layer: Layer, graph: Graph) -> bool:
    """Whether a layer can leave out the channels that its input leaves out."""
    x, y = graph[layer.inputs[0]], graph[layer.outputs[0]]
    match layer.operator:
        case Conv2d(groups=groups):
            return groups == 1
        case DepthwiseConv2d(multiplier=multiplier):
            return multiplier == 1
        case Reshape():
            return x.shape[-1] == y.shape[-1] == x.elements // x.shape[0]
        case FullyConnected():
            return x.shape[-1] == graph[layer.inputs[1]].shape[-1]
    return isinstance(layer.operator, _KEEPING)


def _narrow_constants(layer: Layer, tensors: dict[str, Tensor], before: int, after: int) -> None:
    """Cut weights and bias of a layer that reads ``before`` and makes ``after`` channels less."""
    if not isinstance(layer.operator, Conv2d | DepthwiseConv2d | FullyConnected):
        return
    weights = layer.inputs[1]
    if before:
        tensors[weights] = _narrowed(tensors[weights], -1, before)
    if after and isinstance(layer.operator, Conv2d):
        tensors[weights] = _narrowed(tensors[weights], 0, after)
    for bias in layer.inputs[2:3]:
        tensors[bias] = _narrowed(tensors[bias], 0, after)


def _narrowed(tensor: Tensor, axis: int, count: int) -> Tensor:
    """Return a tensor with fewer elements along one axis, known by its shape only."""
    shape = list(tensor.shape)
    shape[axis] -= count
    data = shape_only(tensor.name) if tensor.is_constant else None
    return replace(tensor, shape=tuple(shape), quantization=None, data=data)
