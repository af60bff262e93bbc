"""From quantise-dequantise form to integer layers: a float layer between integers becomes that layer on integers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from workloads.operators import (
    NO_CLAMP,
    Activation,
    Add,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Dequantize,
    FullyConnected,
    MatMul,
    Mean,
    Mul,
    Pad,
    Pool2d,
    Quantize,
    Reshape,
    Softmax,
    Transpose,
)
from workloads.passes.fuse import fuse
from workloads.passes.rewrite import producers, rebuilt, uses
from workloads.readers.onnx_constants import dequantized
from workloads.readers.onnx_state import same_quantization

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.tensor import Array, Quantization, Tensor

ARITHMETIC = (Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Add, Mul, Pool2d, Mean, Softmax, Concat, Activation)
MOVEMENT = (Reshape, Transpose, Pad)


def lower(graph: Graph) -> Graph:
    """Return the graph with integer layers in place of dequantise, float layer, quantise.

    Layers that do not stand between integers stay float. Movement goes before dequantisation, and a quantisation that
    undoes a dequantisation disappears.
    """
    graph = fuse(graph)
    while True:
        lowered = _lower_one(graph)
        if lowered is None:
            return _real_constants(graph)
        graph = lowered


def _lower_one(graph: Graph) -> Graph | None:
    """Rewrite the first layer that can be, or return None."""
    makers, readers = producers(graph), uses(graph)
    for layer in graph.layers:
        rewritten = None
        if isinstance(layer.operator, Quantize):
            rewritten = _joined(graph, layer, makers, readers[layer.inputs[0]])
        elif _is_movement(layer):
            rewritten = _moved(graph, layer, makers)
        if rewritten is not None:
            return rewritten
    return None


def _joined(graph: Graph, layer: Layer, makers: dict[str, Layer], readers: int) -> Graph | None:
    """Join a Quantize layer with the layer before it."""
    before = makers.get(layer.inputs[0])
    if before is None:
        return None
    target = graph[layer.outputs[0]].quantization
    if isinstance(before.operator, Dequantize):
        source = graph[before.inputs[0]]
        if source.quantization is None or target is None or source.is_constant:
            return None
        same = same_quantization(source.quantization, target) and source.dtype == graph[layer.outputs[0]].dtype
        joined = replace(layer, operator=Reshape() if same else Quantize(), inputs=before.inputs)
        return _replaced(graph, layer, joined)
    if not isinstance(before.operator, ARITHMETIC) or readers != 1:
        return None
    integers = [_integer_source(makers, name) for name in before.inputs]
    if any(name is None for name in integers):
        return None
    joined = replace(before, inputs=tuple(name for name in integers if name), outputs=layer.outputs)
    return _replaced(graph, layer, joined)


def _moved(graph: Graph, layer: Layer, makers: dict[str, Layer]) -> Graph | None:
    """Move elements before they are dequantised instead of after."""
    before = makers.get(layer.inputs[0])
    if before is None or not isinstance(before.operator, Dequantize):
        return None
    source = graph[before.inputs[0]]
    if source.is_constant or source.dtype != "int8":
        return None
    moved = replace(graph[layer.outputs[0]], name=f"{layer.outputs[0]}/integers", dtype="int8",
                    quantization=source.quantization)  # fmt: skip
    first = replace(layer, name=moved.name, inputs=before.inputs, outputs=(moved.name,))
    second = replace(before, name=f"{layer.name}/dequantize", inputs=(moved.name,), outputs=layer.outputs)
    return _replaced(graph, layer, first, second, tensors={moved.name: moved})


def _is_movement(layer: Layer) -> bool:
    """Whether a layer chooses among its input's elements; a pad adds only zeros, which any quantisation holds."""
    if isinstance(layer.operator, Pad):
        return layer.operator.value == 0.0
    if isinstance(layer.operator, Pool2d):
        return layer.operator.kind == "max" and layer.operator.activation == NO_CLAMP
    return isinstance(layer.operator, MOVEMENT)


def _integer_source(makers: dict[str, Layer], name: str) -> str | None:
    """Return the integers behind a dequantised tensor."""
    before = makers.get(name)
    return before.inputs[0] if before is not None and isinstance(before.operator, Dequantize) else None


def _replaced(graph: Graph, old: Layer, *new: Layer, tensors: dict[str, Tensor] | None = None) -> Graph:
    """Return the graph with one layer replaced."""
    layers = [each for layer in graph.layers for each in (new if layer is old else (layer,))]
    return rebuilt(graph, layers, {**graph.tensors, **(tensors or {})})


def _real_constants(graph: Graph) -> Graph:
    """Make float constants of integer constants that a float layer still reads."""
    tensors, layers = dict(graph.tensors), []
    for layer in graph.layers:
        source = graph[layer.inputs[0]]
        if isinstance(layer.operator, Dequantize) and source.is_constant and source.quantization is not None:
            name = layer.outputs[0]
            tensors[name] = replace(tensors[name], data=partial(_dequantize, source, source.quantization))
        else:
            layers.append(layer)
    return rebuilt(graph, layers, tensors)


def _dequantize(source: Tensor, quantization: Quantization) -> Array:
    """Return the real numbers of an integer constant."""
    return dequantized(source.materialize(), quantization)
