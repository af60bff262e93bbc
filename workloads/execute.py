"""Run a Graph: integer layers bit by bit as a named runtime computes them, float layers in float32."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import check_profile
from workloads.errors import InputError
from workloads.execute_state import Bound, float_lstm, float_svdf, integer_lstm, integer_svdf
from workloads.kernels.parallel import use_threads
from workloads.operands import activation_count, operands
from workloads.operators import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Dequantize,
    FullyConnected,
    Function,
    LayerNorm,
    Lstm,
    MatMul,
    Maximum,
    Mean,
    Minimum,
    Mul,
    Pad,
    Pool2d,
    Quantize,
    Reshape,
    Resize2d,
    Slice,
    Softmax,
    Sub,
    Svdf,
    Transpose,
    TransposedConv2d,
    Unmodelled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from workloads.graph import Graph, Layer
    from workloads.operands import Operands
    from workloads.tensor import Array, Tensor

INTEGER_TYPES = frozenset({"int8", "uint8", "int16"})

# Measured with ai-edge-litert 2.3.0, reference resolver: the operators that do not round twice. On exact ties of
# negative sums a fully connected layer rounds away from zero, which single rounding does not.
LITERT_REFERENCE: dict[type, str] = {FullyConnected: "litert-fully-connected"}


@dataclass(frozen=True, eq=False)
class Step:
    """One layer bound to its kernel and constants; ``values`` are the activations it reads.

    A layer with a state has ``initial``, which makes the state of the beginning, and ``advance``, which returns its
    output and its next state; its ``compute`` starts from the beginning.
    """

    layer: Layer
    values: tuple[str, ...]
    compute: Callable[[Sequence[Array]], Array]
    initial: Callable[[], Array] | None = None
    advance: Callable[[Sequence[Array], Array], tuple[Array, Array]] | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A graph ready to run many times: constants made once, a kernel chosen per layer."""

    graph: Graph
    steps: tuple[Step, ...]


def execute(
    graph: Graph, inputs: Mapping[str, Array], *, profile: str | None = None, threads: int = 1
) -> dict[str, Array]:
    """Run a graph once and return every activation by name, inputs included.

    Parameters
    ----------
    inputs
        One array per input of the graph, of its shape and type (quantised inputs: raw integers).
    profile
        A key of ``workloads.arithmetic.PROFILES`` for all requantisations; without it, the arithmetic of the graph
        decides per operator ("litert": the reference kernels; "onnxruntime": float32, half to even).
    threads
        That the products of a layer share; the result does not depend on it.

    Raises
    ------
    InputError
        The graph cannot be executed; every layer in the way is listed.
    ValueError
        An input is missing, or has another shape or type than the graph declares.
    """
    with use_threads(threads):
        return run(plan(graph, profile=profile), inputs)


def plan(graph: Graph, *, profile: str | None = None) -> Plan:
    """Choose a kernel per layer and make its constants."""
    from workloads.passes.quantized_checks import quantization_problems

    if profile is not None:
        check_profile(profile)
    unmodelled = [layer for layer in graph.layers if isinstance(layer.operator, Unmodelled)]
    problems = [f"layer {layer.name!r}: operator {layer.op!r} cannot be executed" for layer in unmodelled]
    if not graph.executable and not problems:
        problems = ["the network is known by its shapes only: it has no weights to execute"]
    problems += [] if problems else quantization_problems(graph, profile)
    if problems:
        raise InputError(graph.name, problems)
    return Plan(graph, tuple(_step(graph, layer, profile) for layer in graph.layers))


def run(
    prepared: Plan, inputs: Mapping[str, Array], states: MutableMapping[str, Array] | None = None
) -> dict[str, Array]:
    """Run a plan on one set of inputs and return every activation by name.

    ``states`` holds the states of layers by name and is updated, so that the next run goes on from there; without it
    every run starts at the beginning.
    """
    graph = prepared.graph
    values = {name: _checked(graph[name], inputs) for name in graph.inputs}
    for step in prepared.steps:
        name = step.layer.outputs[0]
        arrays = [values[value] for value in step.values]
        if states is None or step.initial is None or step.advance is None:
            result = step.compute(arrays)
        else:
            state = states.get(step.layer.name)
            result, states[step.layer.name] = step.advance(arrays, step.initial() if state is None else state)
        if result.shape != graph[name].shape:
            raise ValueError(f"layer {step.layer.name!r} gives shape {result.shape}, declared {graph[name].shape}")
        values[name] = result
    return values


def layer_profile(graph: Graph, layer: Layer, profile: str | None = None) -> str:
    """Return the requantisation profile of one layer: the given one, or what the graph's arithmetic says."""
    if profile is not None:
        return profile
    if graph.arithmetic == "onnxruntime":
        return "onnxruntime"
    return LITERT_REFERENCE.get(type(layer.operator), "tflite-double")


def is_quantized(tensor: Tensor) -> bool:
    """Whether a tensor holds quantised integers."""
    return tensor.dtype in INTEGER_TYPES and tensor.quantization is not None


def _checked(tensor: Tensor, inputs: Mapping[str, Array]) -> Array:
    if tensor.name not in inputs:
        raise ValueError(f"input {tensor.name!r} is missing")
    array = np.asarray(inputs[tensor.name])
    if array.shape != tensor.shape or array.dtype.name != tensor.dtype:
        found = f"{array.dtype.name} {array.shape}"
        raise ValueError(f"input {tensor.name!r} is {found}, expected {tensor.dtype} {tensor.shape}")
    return array


def _step(graph: Graph, layer: Layer, profile: str | None) -> Step:
    """Bind a layer to its kernel; constant inputs are bound too, so that only activations remain."""
    if isinstance(layer.operator, Svdf | Lstm):
        return _stateful(graph, layer, profile)
    compute = _kernel(graph, layer, profile)
    used = layer.inputs[: activation_count(layer)] if is_quantized(graph[layer.outputs[0]]) else layer.inputs
    constants = {name: graph[name].materialize() for name in used if graph[name].is_constant}
    values = tuple(name for name in used if name not in constants)
    if not constants:
        return Step(layer, values, compute)

    def with_constants(arrays: Sequence[Array]) -> Array:
        found = dict(zip(values, arrays, strict=True)) | constants
        return compute([found[name] for name in used])

    return Step(layer, values, with_constants)


def _kernel(graph: Graph, layer: Layer, profile: str | None) -> Callable[[Sequence[Array]], Array]:
    """Return a function from a layer's inputs to its output."""
    x, y = graph[layer.inputs[0]], graph[layer.outputs[0]]
    if (moved := _movement(graph, layer)) is not None:
        return moved
    match layer.operator:
        case Quantize() if not is_quantized(x):
            return partial(_quantize, y, graph.arithmetic == "onnxruntime")
        case Dequantize():
            return partial(_dequantize, x)
        case LayerNorm() as norm if is_quantized(y):
            return _layer_norm(graph, layer, norm, layer_profile(graph, layer, profile))
    if is_quantized(y):
        return _integer(layer, operands(graph, layer), layer_profile(graph, layer, profile))
    from workloads.kernels import floating

    return partial(floating.compute, operator=layer.operator)


def _movement(graph: Graph, layer: Layer) -> Callable[[Sequence[Array]], Array] | None:
    """Return the kernel of a layer that only moves elements, None for the others."""
    from workloads.kernels import movement

    y = graph[layer.outputs[0]]
    match layer.operator:
        case Reshape():
            return lambda inputs: movement.reshape(inputs[0], y.shape)
        case Transpose() as transpose:
            return lambda inputs: movement.transpose(inputs[0], transpose)
        case Pad() as pad:
            return lambda inputs: movement.pad(inputs[0], pad, pad_value(pad, y))
        case Slice() as part:
            return lambda inputs: movement.take(inputs[0], part)
        case Resize2d() as resize if is_quantized(y):
            from workloads.kernels.resize import resize2d

            return lambda inputs: resize2d(inputs[0], resize)
        case Concat() as concat if _all_alike([graph[name] for name in (*layer.inputs, *layer.outputs)]):
            return lambda inputs: movement.concat(inputs, concat)
    return None


def pad_value(operator: Pad, output: Tensor) -> float:
    """Return the padding value in the element type of ``output``."""
    if not is_quantized(output) or output.quantization is None:
        return operator.value
    limits = np.iinfo(output.dtype)
    scale, zero_point = float(output.quantization.scale.ravel()[0]), int(output.quantization.zero_point.ravel()[0])
    return int(min(max(round(operator.value / scale) + zero_point, limits.min), limits.max))


def _all_alike(tensors: Sequence[Tensor]) -> bool:
    """Whether quantised tensors share scale and zero point, so that their integers can be mixed."""
    if not all(is_quantized(tensor) for tensor in tensors):
        return True
    return len({
        (float(tensor.quantization.scale.ravel()[0]), int(tensor.quantization.zero_point.ravel()[0]))
        for tensor in tensors
        if tensor.quantization is not None
    }) == 1  # fmt: skip


def _integer(layer: Layer, constants: Operands, profile: str) -> Callable[[Sequence[Array]], Array]:
    """Return the integer kernel of a quantised layer, bound to its constants."""
    from workloads.kernels import integer, lut
    from workloads.kernels.transposed import transposed_conv2d

    match layer.operator:
        case Concat() as concat:
            return lambda inputs: integer.concat(inputs, constants, concat, profile)
        case Add() | Sub() | Mul() | MatMul() | Minimum() | Maximum() as binary:
            pairs: dict[type, Callable[..., Array]] = {
                Add: integer.add, Sub: integer.sub, Mul: integer.mul, MatMul: integer.matmul,
                Minimum: integer.minimum, Maximum: integer.maximum,
            }  # fmt: skip
            two = pairs[type(binary)]
            return lambda inputs: two(inputs[0], inputs[1], constants, binary, profile)
        case Quantize() | Activation() as unary:
            return lambda inputs: integer.rescale(inputs[0], constants, unary, profile)
        case function if isinstance(function, Function):
            return lambda inputs: lut.nonlinear(inputs[0], constants, function, profile)
        case TransposedConv2d() as transposed:
            return lambda inputs: transposed_conv2d(inputs[0], constants, transposed, profile)
        case Conv2d() | DepthwiseConv2d() | FullyConnected() | Pool2d() | Mean() | Softmax() as unary:
            table: dict[type, Callable[..., Array]] = {
                Conv2d: integer.conv2d, DepthwiseConv2d: integer.depthwise_conv2d, Pool2d: integer.pool2d,
                FullyConnected: integer.fully_connected, Mean: integer.mean, Softmax: integer.softmax,
            }  # fmt: skip
            one = table[type(unary)]
            return lambda inputs: one(inputs[0], constants, unary, profile)
    raise InputError(layer.name, [f"operator {layer.op!r} has no integer kernel; fold it before quantising"])


def _layer_norm(graph: Graph, layer: Layer, operator: LayerNorm, profile: str) -> Callable[[Sequence[Array]], Array]:
    from workloads.kernels import ascend, normalization

    constants = operands(graph, layer)
    scale, shift = (graph[name].materialize() for name in layer.inputs[1:3])
    takes = ascend.takes(np.empty(0, graph[layer.inputs[0]].dtype), constants, profile)
    compute = ascend.layer_norm if takes else normalization.layer_norm
    return lambda inputs: compute(inputs[0], scale, shift, constants, operator)


def _stateful(graph: Graph, layer: Layer, profile: str | None) -> Step:
    """Bind a layer whose state outlives a run: constants, the state of the beginning, and one call of its kernel."""
    from workloads.kernels.fixed_point import is_fixed_point

    quantized = is_quantized(graph[layer.outputs[0]])
    makers: dict[tuple[type, bool], Callable[..., Bound]] = {
        (Svdf, True): integer_svdf, (Svdf, False): float_svdf, (Lstm, True): integer_lstm, (Lstm, False): float_lstm,
    }  # fmt: skip
    name = layer_profile(graph, layer, profile)
    if not is_fixed_point(name):  # these layers are TFLite's alone, whatever else the target computes
        name = "tflite-double"
    initial, advance = makers[type(layer.operator), quantized](graph, layer, layer.operator, name)
    return Step(layer, (layer.inputs[0],), lambda inputs: advance(inputs, initial())[0], initial, advance)


def _quantize(tensor: Tensor, half_even: bool, inputs: Sequence[Array]) -> Array:
    from workloads.kernels.conversion import quantize

    if tensor.quantization is None:
        raise ValueError(f"tensor {tensor.name!r} has no quantisation parameters")
    return quantize(inputs[0], tensor.quantization, tensor.dtype, half_even=half_even)


def _dequantize(tensor: Tensor, inputs: Sequence[Array]) -> Array:
    from workloads.kernels.conversion import dequantize

    if tensor.quantization is None:
        raise ValueError(f"tensor {tensor.name!r} has no quantisation parameters")
    return dequantize(inputs[0], tensor.quantization)
