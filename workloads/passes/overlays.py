"""Overlays: which layers may write their output over an input while they still read it, and how far ahead of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv2d,
    DepthwiseConv2d,
    HardSigmoid,
    HardSwish,
    Logistic,
    Maximum,
    Minimum,
    Mul,
    Operator,
    Pad,
    Pool2d,
    Quantize,
    Sub,
    Tanh,
)

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.tensor import Tensor

# Element i of the output needs element i of the inputs only.
IN_PLACE = (
    Activation, Add, BatchNorm, HardSigmoid, HardSwish, Logistic, Maximum, Minimum, Mul, Quantize, Sub, Tanh
)  # fmt: skip
# Kinds of layers that go over the image row by row: a kernel library may do so for some of them.
ROW_KINDS = ("pad", "depthwise", "pointwise", "window", "strided", "pool")


def kind(graph: Graph, layer: Layer) -> str:
    """Return the kind of overlay that a layer admits: "element", one of ``ROW_KINDS``, or "none"."""
    operator = layer.operator
    if isinstance(operator, IN_PLACE):
        return "element"
    if len(graph[layer.inputs[0]].shape) != 4 or len(graph[layer.outputs[0]].shape) != 4:
        return "none"
    match operator:
        case Pad():
            return "pad"
        case DepthwiseConv2d():
            return "depthwise"
        case Pool2d():
            return "pool"
        case Conv2d(stride=stride):
            if max(stride) > 1:
                return "strided"
            return "pointwise" if graph[layer.inputs[1]].shape[1:3] == (1, 1) else "window"
    return "none"


def lead_bytes(graph: Graph, layer: Layer, source: str) -> int | None:
    """Return the least distance by which the output must begin before an input that it overwrites. [B]

    None where it must not overlap. An elementwise layer needs no distance. Layers over rows compute output row r while
    they may read any input row from the first that row r needs on, so the rows up to r must end before that one. A pad
    copies rows as a whole, and its first ones precede all that is copied.
    """
    x, y = graph[source], graph[layer.outputs[0]]
    match kind(graph, layer):
        case "element":
            return 0 if x.nbytes == y.nbytes and not x.is_constant else None
        case "none":
            return None
        case "pad":
            return y.nbytes - x.nbytes if x.shape[0] == 1 else None
    return _row_lead(layer.operator, x, y) if source == layer.inputs[0] and x.shape[0] == 1 else None


def _row_lead(operator: Operator, x: Tensor, y: Tensor) -> int | None:
    """Return how far rows of an output run ahead of the input rows that are still needed. [B]"""
    match operator:
        case Conv2d(stride=stride, padding=padding) | DepthwiseConv2d(stride=stride, padding=padding):
            pass
        case Pool2d(stride=stride, padding=padding):
            pass
        case _:
            return None
    x_row, y_row = x.nbytes // x.shape[1], y.nbytes // y.shape[1]
    return max((row + 1) * y_row - max(row * stride[0] - padding[0], 0) * x_row for row in range(y.shape[1]))
