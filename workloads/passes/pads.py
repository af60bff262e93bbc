"""Padding of convolutions as layers of its own, or as part of them: kernel libraries differ in what they store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.graph import Layer
from workloads.operators import Conv2d, DepthwiseConv2d, Pad
from workloads.tensor import Tensor

if TYPE_CHECKING:
    from workloads.graph import Graph
    from workloads.operators import Padding


def with_pads_apart(graph: Graph) -> Graph:
    """Return a graph, for costing, in which convolutions pad nothing: an image with its border is a tensor."""
    tensors, layers = dict(graph.tensors), []
    for layer in with_pads_inside(graph).layers:
        operator = layer.operator
        if isinstance(operator, Conv2d | DepthwiseConv2d) and any(operator.padding):
            bordered = _bordered(graph[layer.inputs[0]], operator.padding, f"{layer.outputs[0]} (padded)")
            tensors[bordered.name] = bordered
            top, left, bottom, right = operator.padding
            amounts = ((0, 0), (top, bottom), (left, right), (0, 0))
            layers.append(Layer(f"{layer.name} (pad)", Pad(amounts), layer.inputs[:1], (bordered.name,)))
            bare = replace(operator, padding=(0, 0, 0, 0))
            layers.append(replace(layer, operator=bare, inputs=(bordered.name, *layer.inputs[1:])))
        else:
            layers.append(layer)
    return replace(graph, tensors=tensors, layers=tuple(layers), executable=False)


def with_pads_inside(graph: Graph) -> Graph:
    """Return a graph, for costing, in which a pad that only convolutions read is part of them."""
    folded = {layer.outputs[0]: (layer.inputs[0], _border(graph, layer)) for layer in graph.layers}
    folded = {name: found for name, found in folded.items() if found[1] is not None}
    layers = []
    for layer in graph.layers:
        source, border = folded.get(layer.inputs[0] if layer.inputs else "", ("", None))
        operator = layer.operator
        if border is not None and isinstance(operator, Conv2d | DepthwiseConv2d):
            top, left, bottom, right = (own + more for own, more in zip(operator.padding, border, strict=True))
            padded = replace(operator, padding=(top, left, bottom, right))
            layers.append(replace(layer, operator=padded, inputs=(source, *layer.inputs[1:])))
        elif layer.outputs[0] not in folded:
            layers.append(layer)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in folded}
    return replace(graph, tensors=tensors, layers=tuple(layers), executable=False)


def _border(graph: Graph, layer: Layer) -> Padding | None:
    """Return the border that a pad adds, or None if it is more than the border of convolutions' images."""
    output = layer.outputs[0]
    if not isinstance(layer.operator, Pad) or len(layer.operator.amounts) != 4 or output in graph.outputs:
        return None
    batch, (top, bottom), (left, right), channels = layer.operator.amounts
    readers = [each for each in graph.layers if output in each.inputs]
    image = all(isinstance(each.operator, Conv2d | DepthwiseConv2d) for each in readers)
    return (top, left, bottom, right) if readers and image and batch == channels == (0, 0) else None


def _bordered(x: Tensor, padding: Padding, name: str) -> Tensor:
    """Return an image with its border."""
    count, height, width, channels = x.shape
    top, left, bottom, right = padding
    shape = (count, height + top + bottom, width + left + right, channels)
    return Tensor(name, shape, x.dtype, x.quantization)
