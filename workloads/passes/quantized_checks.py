"""What is wrong with the integers of a quantised network: every fault names the layer and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.operands import has_weights
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, TransposedConv2d

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.tensor import Quantization, Tensor

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)  # below it float32 is denormal, and many targets flush it to zero
INT32_MAX = 2**31 - 1
_WINDOWED = (Conv2d, DepthwiseConv2d, TransposedConv2d)

# Which operators of a profile's target take no weight zero point: prefix of the profile's name -> (operators, source).
SYMMETRIC_WEIGHTS: dict[str, tuple[tuple[type, ...], str]] = {
    "cmsis-nn": (_WINDOWED, "CMSIS-NN@99f736a6: only fully connected layers have a filter offset"),
    "tflite": (_WINDOWED, "TFLite's 8-bit quantisation specification: int8 weights are symmetric"),
    "litert": (_WINDOWED, "TFLite's 8-bit quantisation specification: int8 weights are symmetric"),
    "ruy": (_WINDOWED, "TFLite's 8-bit quantisation specification: int8 weights are symmetric"),
    "ascend": ((*_WINDOWED, FullyConnected), "asc-devkit@0da921b9, Mmad.md: plain int8 by int8 products"),
}


def quantization_problems(graph: Graph, profile: str | None = None) -> list[str]:
    """List what keeps the quantised layers of a graph from running as a target would.

    Parameters
    ----------
    profile
        The target's arithmetic; without it, only what no target can run is listed.
    """
    return [
        f"layer {layer.name!r}: {fault}" for layer in graph.layers for fault in _layer_problems(graph, layer, profile)
    ]


def _layer_problems(graph: Graph, layer: Layer, profile: str | None) -> list[str]:
    problems = []
    for name in (*layer.inputs, *layer.outputs):
        tensor = graph[name]
        if tensor.quantization is not None:
            problems += _scale_problems(tensor, tensor.quantization)
    if has_weights(layer.operator):
        problems += _weight_problems(graph, layer, profile) + _bias_problems(graph, layer)
    return problems


def _scale_problems(tensor: Tensor, quantization: Quantization) -> list[str]:
    scales = np.ravel(quantization.scale)
    bad = scales[~(np.isfinite(scales) & (scales > 0))]
    if bad.size:
        found = f"{bad.size} of {scales.size} scales of {tensor.name!r} are not positive, e.g. {float(bad[0])!r}"
        return [f"{found}; give a channel of zeros the scale 1"]
    small = scales[scales < SMALLEST_NORMAL]
    if small.size:
        found = f"{small.size} of {scales.size} scales of {tensor.name!r} are denormal, e.g. {float(small[0])!r}"
        return [f"{found}, and many targets flush them to zero; make them at least {SMALLEST_NORMAL:.3g}"]
    return []


def _weight_problems(graph: Graph, layer: Layer, profile: str | None) -> list[str]:
    quantization = graph[layer.inputs[1]].quantization
    if profile is None or quantization is None or not np.any(quantization.zero_point):
        return []
    for prefix, (operators, source) in SYMMETRIC_WEIGHTS.items():
        if profile.startswith(prefix) and isinstance(layer.operator, operators):
            points = np.ravel(quantization.zero_point)
            found = f"weights have the zero point {int(points[points != 0][0])}, and {profile} takes none ({source})"
            return [f"{found}; quantise the weights symmetrically"]
    return []


def _bias_problems(graph: Graph, layer: Layer) -> list[str]:
    if len(layer.inputs) < 3 or graph[layer.inputs[2]].dtype not in ("int32", "int64"):
        return []
    bias, x = graph[layer.inputs[2]], graph[layer.inputs[0]]
    if x.dtype == "int16" and bias.dtype == "int64":
        return []  # summed in 64 bits
    values = bias.materialize().astype(np.int64)
    # A quantiser that ran out of range leaves the largest integer.
    cut = values[np.abs(values) >= INT32_MAX]
    if not cut.size:
        return []
    found = f"{cut.size} of {values.size} biases do not fit 32 bits, e.g. {int(cut[0])}"
    return [f"{found}; calibrate on inputs of a wider range, or quantise the weights with larger scales"]
