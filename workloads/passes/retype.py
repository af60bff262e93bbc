"""Another precision for costing: the same layers over tensors of other element types, without quantisation values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.builder import shape_only
from workloads.errors import InputError, did_you_mean
from workloads.operators import Conv2d, DepthwiseConv2d, Dequantize, FullyConnected, Quantize, Reshape
from workloads.passes.rewrite import rebuilt, redirected

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.tensor import Tensor

# precision: element types of activations, weights and biases
PRECISIONS = {
    "fp32": ("float32", "float32", "float32"),
    "fp16": ("float16", "float16", "float16"),
    "int8": ("int8", "int8", "int32"),
    "int4": ("int8", "int4", "int32"),
}
NUMBERS = {"float64", "float32", "float16", "int16", "int8", "uint8", "int4"}


def precision_of(graph: Graph) -> str:
    """Return the precision in which the layers of a graph compute: the key of ``PRECISIONS`` that fits its products."""
    weights = {graph[layer.inputs[1]].dtype for layer in graph.layers if _is_product(layer.operator)}
    values = weights or {graph[layer.outputs[0]].dtype for layer in graph.layers}
    for precision, (_, weight_type, _) in PRECISIONS.items():
        if weight_type in values:
            return precision
    return "int8" if values & {"uint8", "int16"} else "fp32"


def retype(graph: Graph, precision: str) -> Graph:
    """Return a costing-only graph in a precision of ``PRECISIONS``; conversions between float and integer disappear.

    A graph whose products are in that precision already is returned as it is, executable and with its quantisation.

    Raises
    ------
    InputError
        The precision is unknown; the message suggests the closest.
    """
    names = {"float32": "fp32", "float16": "fp16"}
    precision = names.get(precision, precision)
    if precision not in PRECISIONS:
        raise InputError("precision", [f"{precision!r} is unknown; {did_you_mean(precision, PRECISIONS)}"])
    if graph.layers and precision_of(graph) == precision:
        return graph
    activation_type, weight_type, bias_type = PRECISIONS[precision]
    biases = {layer.inputs[2] for layer in graph.layers if _is_product(layer.operator) and len(layer.inputs) > 2}
    tensors = {}
    for name, tensor in graph.tensors.items():
        constant_type = bias_type if name in biases else weight_type if tensor.is_constant else activation_type
        tensors[name] = _retyped(tensor, constant_type)
    layers: list[Layer] = []
    alias: dict[str, str] = {}
    for layer in graph.layers:
        if not isinstance(layer.operator, (Quantize, Dequantize)):
            layers.append(layer)
        elif layer.outputs[0] in graph.outputs:
            layers.append(replace(layer, operator=Reshape()))
        else:
            alias[layer.outputs[0]] = layer.inputs[0]
    shapes_only = replace(graph, arithmetic="none", executable=False)
    return rebuilt(shapes_only, redirected(layers, alias), tensors)


def _is_product(operator: object) -> bool:
    """Whether an operator has constant weights."""
    return isinstance(operator, (Conv2d, DepthwiseConv2d, FullyConnected))


def _retyped(tensor: Tensor, dtype: str) -> Tensor:
    """Return the tensor as a number of another type; int32 and int64 activations (indices) and booleans stay."""
    if tensor.dtype not in NUMBERS and not tensor.is_constant:
        return tensor
    data = shape_only(tensor.name) if tensor.is_constant else None
    return replace(tensor, dtype=dtype, quantization=None, data=data)
