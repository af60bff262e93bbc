"""Quantise a float network to int8: per-tensor activations, per-channel symmetric weights, int32 biases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.errors import InputError, did_you_mean
from workloads.operators import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    MatMul,
    Mean,
    Mul,
    Pad,
    Pool2d,
    Reshape,
    Softmax,
    Transpose,
)
from workloads.passes.calibration import ranges, seeded_inputs
from workloads.passes.fold import fold
from workloads.passes.fuse import fuse
from workloads.tensor import Quantization, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.graph import Graph, Layer
    from workloads.tensor import Array

ARITHMETICS = ("onnxruntime", "litert")
Product = Conv2d | DepthwiseConv2d | FullyConnected
QUANTIZABLE = (
    Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Add, Mul, Pool2d, Mean, Activation, Softmax, Reshape, Transpose,
    Pad, Concat,
)  # fmt: skip
SOFTMAX_OUTPUT = (1 / 256, -128)  # probabilities 0 .. 255/256, as TFLite and onnxruntime quantise them
INT32_MAX = 2**31 - 1
BIAS_REMEDY = "calibrate on inputs of a wider range, or scale up the weights and scale down the layer before"
SUM_REMEDY = "split the layer's depth in two and add the halves"


def quantize(
    graph: Graph,
    calibration_inputs: Mapping[str, Array] | None = None,
    method: str = "min-max",
    arithmetic: str = "onnxruntime",
    *,
    percentile: float = 99.99,
) -> Graph:
    """Return the graph folded, fused and quantised to int8, its inputs and outputs raw integers.

    Parameters
    ----------
    calibration_inputs
        One float array per input, samples stacked along the first axis; seeded normal numbers when not given.
    method
        "min-max", "percentile" of the values of all samples, or "mse": the range of least squared error.
    arithmetic
        Whose integer semantics the graph has: "onnxruntime" or "litert".

    Raises
    ------
    InputError
        The graph is not a float graph with weights, a layer cannot be quantised, a bias or sum does not fit 32 bits, or
        the calibration inputs are wrong; all faults at once.
    """
    if arithmetic not in ARITHMETICS:
        raise InputError("arithmetic", [f"{arithmetic!r} is unknown; {did_you_mean(arithmetic, ARITHMETICS)}"])
    graph = fuse(fold(fuse(graph)))
    _check(graph)
    observed = ranges(graph, calibration_inputs or seeded_inputs(graph), method, percentile)
    activations = _activation_quantizations(graph, observed, arithmetic)
    tensors = {
        name: replace(tensor, dtype="int8", quantization=activations[name])
        for name, tensor in graph.tensors.items()
        if name in activations
    }
    layers, problems = [], []
    for layer in graph.layers:
        if isinstance(layer.operator, Product):
            constants, faults = _product_constants(graph, layer, activations[layer.inputs[0]])
            problems += [f"layer {layer.name!r}: {fault}" for fault in faults]
        else:
            constants = [_operand(graph[name]) for name in layer.inputs if graph[name].is_constant]
        unique = [replace(each, name=f"{each.name}/{layer.name}/int8") for each in constants]
        tensors.update({each.name: each for each in unique})
        names = iter(each.name for each in unique)
        inputs = tuple(next(names) if graph[name].is_constant else name for name in layer.inputs)
        layers.append(replace(layer, inputs=inputs))
    if problems:
        raise InputError(graph.name, problems)
    return replace(graph, tensors=tensors, layers=tuple(layers), arithmetic=arithmetic)


def affine(low: float, high: float) -> Quantization:
    """Return the asymmetric int8 quantisation of a range, widened to hold 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    if not scale > 0:
        scale = np.float32(1)
    zero_point = int(np.clip(np.rint(-128 - low / float(scale)), -128, 127))
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))


def symmetric(weights: Array, axis: int) -> tuple[Array, Quantization]:
    """Return int8 weights in -127 .. 127 with one scale per channel along ``axis``."""
    axis %= weights.ndim
    others = tuple(each for each in range(weights.ndim) if each != axis)
    scale = (np.abs(weights).max(axis=others).astype(np.float64) / 127).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))
    along = [1] * weights.ndim
    along[axis] = -1
    integers = np.clip(np.rint(weights.astype(np.float64) / scale.reshape(along)), -127, 127).astype(np.int8)
    return integers, Quantization(scale, np.zeros(scale.shape, np.int32), axis)


def _check(graph: Graph) -> None:
    """Refuse graphs that are not float networks of operators with integer kernels."""
    problems = [
        f"layer {layer.name!r}: operator {layer.op!r} has no integer form"
        for layer in graph.layers
        if not isinstance(layer.operator, QUANTIZABLE)
    ]
    wrong = sorted({tensor.dtype for tensor in graph.tensors.values()} - {"float32"})
    if wrong:
        problems.append(f"tensors are {', '.join(wrong)}; only float32 networks are quantised")
    if not graph.executable and not problems:
        problems.append("the network is known by its shapes only: it has no weights to quantise")
    if problems:
        raise InputError(graph.name, problems)


def _activation_quantizations(
    graph: Graph, observed: Mapping[str, tuple[float, float]], arithmetic: str
) -> dict[str, Quantization]:
    """Return the quantisation of every activation; tensors that are moved, not computed, share one."""
    group = {name: name for name in observed}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for layer in graph.layers:
        if _keeps_scale(layer, arithmetic):
            for name in layer.inputs:
                if not graph[name].is_constant:
                    group[root(name)] = root(layer.outputs[0])
    fixed = {root(layer.outputs[0]) for layer in graph.layers if isinstance(layer.operator, Softmax)}
    members: dict[str, list[str]] = {}
    for name in observed:
        members.setdefault(root(name), []).append(name)
    chosen = {}
    for leader, names in members.items():
        chosen[leader] = affine(min(observed[name][0] for name in names), max(observed[name][1] for name in names))
        if leader in fixed:
            scale, zero_point = SOFTMAX_OUTPUT
            chosen[leader] = Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))
    return {name: chosen[root(name)] for name in observed}


def _keeps_scale(layer: Layer, arithmetic: str) -> bool:
    """Whether a layer's inputs and output must share a quantisation: it moves integers, or TFLite demands it."""
    if isinstance(layer.operator, Pool2d):
        return layer.operator.kind == "max" or arithmetic == "litert"
    return isinstance(layer.operator, (Reshape, Transpose, Pad, Concat))


def _product_constants(graph: Graph, layer: Layer, x: Quantization) -> tuple[list[Tensor], list[str]]:
    """Return quantised weights and bias of a layer, and what does not fit 32 bits."""
    weights = graph[layer.inputs[1]]
    axis = -1 if isinstance(layer.operator, DepthwiseConv2d) else 0
    integers, quantization = symmetric(weights.materialize(), axis)
    constants = [replace(weights, dtype="int8", quantization=quantization, data=integers)]
    along = tuple(each for each in range(integers.ndim) if each != axis % integers.ndim)
    reach = 255 * np.abs(integers.astype(np.int64)).sum(axis=along)
    problems = []
    if len(layer.inputs) > 2:
        bias = graph[layer.inputs[2]]
        scale = x.scale * quantization.scale
        with np.errstate(over="ignore", divide="ignore"):
            exact = np.rint(bias.materialize().astype(np.float64) / scale.astype(np.float64))
        wide = int((np.abs(exact) > INT32_MAX).sum())
        if wide:
            problems.append(
                f"{wide} of {exact.size} biases do not fit 32 bits at the scale of the products; {BIAS_REMEDY}"
            )
        stored = np.clip(exact, -INT32_MAX, INT32_MAX).astype(np.int32)
        reach = reach + np.abs(stored.astype(np.int64))
        values = Quantization(scale, np.zeros(scale.shape, np.int32), 0)
        constants.append(replace(bias, dtype="int32", quantization=values, data=stored))
    if not problems and (reach > INT32_MAX).any():
        problems.append(f"sums of up to {int(reach.max())} do not fit 32 bits; {SUM_REMEDY}")
    return constants, problems


def _operand(tensor: Tensor) -> Tensor:
    """Return a constant operand of a sum or product, quantised per tensor."""
    array = tensor.materialize()
    values = affine(float(array.min()), float(array.max()))
    scaled = np.rint(array.astype(np.float64) / float(values.scale[0])) + int(values.zero_point[0])
    return replace(tensor, dtype="int8", quantization=values, data=np.clip(scaled, -128, 127).astype(np.int8))
