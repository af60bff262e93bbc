"""Fuse activations and zero padding of float graphs into the layer beside them, and drop moves that undo each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.operators import (
    Activation,
    Add,
    Clamp,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Mul,
    Pad,
    Padding,
    Pool2d,
    Reshape,
    Transpose,
)
from workloads.passes.rewrite import producers, rebuilt, redirected, uses

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.operators import Operator

Clamped = Conv2d | DepthwiseConv2d | FullyConnected | Add | Mul | Pool2d | Activation


def fuse(graph: Graph) -> Graph:
    """Return the graph with clamps merged into their producers, zero pads into convolutions, and idle moves removed."""
    graph = simplify_moves(graph)
    while True:
        fused = _fuse_one(graph)
        if fused is None:
            return graph
        graph = fused


def simplify_moves(graph: Graph) -> Graph:
    """Merge chains of transposes and of reshapes, and remove those that change nothing.

    A transpose that only moves axes of extent 1 is a reshape.
    """
    makers, alias = producers(graph), dict[str, str]()
    layers: list[Layer] = []
    for original in graph.layers:
        layer = _as_reshape(graph, redirected([original], alias)[0])
        before = makers.get(layer.inputs[0]) if layer.inputs else None
        match layer.operator, before and before.operator:
            case (Transpose(permutation=outer), Transpose(permutation=inner)) if before is not None:
                merged = Transpose(tuple(inner[axis] for axis in outer))
                layer = _as_reshape(graph, replace(layer, operator=merged, inputs=before.inputs))
            case (Reshape(), Reshape()) if before is not None:
                layer = replace(layer, inputs=before.inputs)
        makers[layer.outputs[0]] = layer
        if _changes_nothing(graph, layer) and layer.outputs[0] not in graph.outputs:
            alias[layer.outputs[0]] = layer.inputs[0]
        else:
            layers.append(layer)
    simpler = rebuilt(graph, layers, graph.tensors)
    return _without_idle_outputs(simpler)


def _as_reshape(graph: Graph, layer: Layer) -> Layer:
    """Return a transpose that keeps the order of its elements as a reshape, other layers as they are."""
    if not isinstance(layer.operator, Transpose):
        return layer
    shape = graph[layer.inputs[0]].shape
    moving = [axis for axis in layer.operator.permutation if shape[axis] > 1]
    return replace(layer, operator=Reshape()) if moving == sorted(moving) else layer


def _without_idle_outputs(graph: Graph) -> Graph:
    """Let the layer before an idle move write the graph's output itself."""
    readers, makers = uses(graph), producers(graph)
    renamed: dict[str, str] = {}
    for layer in graph.layers:
        source = layer.inputs[0] if layer.inputs else ""
        if _changes_nothing(graph, layer) and source in makers and readers[source] == 1:
            renamed[source] = layer.outputs[0]
    kept = [layer for layer in graph.layers if layer.outputs[0] not in renamed.values()]
    layers = [replace(layer, outputs=tuple(renamed.get(name, name) for name in layer.outputs)) for layer in kept]
    return rebuilt(graph, layers, graph.tensors) if renamed else graph


def intersect(first: Clamp, second: Clamp) -> Clamp:
    """Return the clamp that equals ``first`` followed by ``second``."""
    return Clamp(
        min(max(first.low, second.low), second.high),
        max(min(first.high, second.high), second.low),
    )


def _changes_nothing(graph: Graph, layer: Layer) -> bool:
    """Whether a move's output equals its input, shape included."""
    x, y = graph[layer.inputs[0]], graph[layer.outputs[0]]
    if x.dtype != y.dtype:
        return False
    match layer.operator:
        case Transpose(permutation=permutation):
            return permutation == tuple(range(len(permutation)))
        case Reshape():
            return x.shape == y.shape
    return False


def _fuse_one(graph: Graph) -> Graph | None:
    """Fuse the first pair that can be, or return None."""
    readers, makers = uses(graph), producers(graph)
    for layer in graph.layers:
        source = layer.inputs[0] if layer.inputs else ""
        before = makers.get(source)
        if before is None or readers[source] != 1 or graph[layer.outputs[0]].dtype != "float32":
            continue
        merged = _merge(before, layer)
        if merged is not None:
            layers = [merged if each is layer else each for each in graph.layers if each is not before]
            return rebuilt(graph, layers, graph.tensors)
    return None


def _merge(before: Layer, layer: Layer) -> Layer | None:
    """Return one layer that equals ``before`` followed by ``layer``, or None."""
    match layer.operator, before.operator:
        case Activation(clamp=clamp), Activation(clamp=inner):
            return replace(before, operator=Activation(intersect(inner, clamp)), outputs=layer.outputs)
        case Activation(clamp=clamp), (Conv2d() | DepthwiseConv2d() | FullyConnected() | Add() | Mul() | Pool2d()):
            operator = replace(before.operator, activation=intersect(before.operator.activation, clamp))
            return replace(before, operator=operator, outputs=layer.outputs)
        case ((Conv2d() | DepthwiseConv2d()), Pad(value=0.0)):
            padding = _padding(before.operator, layer.operator.padding)
            if padding is not None:
                inputs = (before.inputs[0], *layer.inputs[1:])
                return replace(layer, operator=replace(layer.operator, padding=padding), inputs=inputs)
    return None


def _padding(operator: Operator, own: Padding) -> Padding | None:
    """Add a pad of the image's height and width to a convolution's own; None when other axes are padded."""
    if not isinstance(operator, Pad) or len(operator.amounts) != 4:
        return None
    batch, (top, bottom), (left, right), channels = operator.amounts
    if (batch, channels) != ((0, 0), (0, 0)):
        return None
    return (own[0] + top, own[1] + left, own[2] + bottom, own[3] + right)
