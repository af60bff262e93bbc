"""One layer of a Graph as ONNX nodes, in the three forms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.operands import clamp_of, integer_clamp
from workloads.operators import (
    NO_CLAMP,
    Activation,
    Add,
    BatchNorm,
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
from workloads.writers.onnx_state import CONTRIBUTED, FIRST_AXIS, TO_FIRST, TO_LAST

if TYPE_CHECKING:
    from workloads.graph import Layer
    from workloads.operators import Clamp
    from workloads.writers.onnx_state import Writing


def write_layer(state: Writing, layer: Layer) -> None:
    """Add the nodes of one layer."""
    output = layer.outputs[0]
    if _write_movement(state, layer):
        return
    if isinstance(layer.operator, Quantize):
        x = layer.inputs[0]
        state.node("QuantizeLinear", [state.real(x), *state.parameters(output)], state.made(output))
    elif isinstance(layer.operator, Dequantize):
        x = layer.inputs[0]
        state.node("DequantizeLinear", [state.value(x), *state.parameters(x)], state.made(output))
    elif state.graph[output].quantization is None:
        _write_float(state, layer, state.made(output))
    elif state.form == "qdq" or isinstance(layer.operator, Activation):
        real = _write_float(state, layer, f"{output}/float")
        state.node("QuantizeLinear", [real, *state.parameters(output)], state.made(output))
    else:
        _write_integer(state, layer)


def _write_float(state: Writing, layer: Layer, output: str) -> str:
    """Add a layer on real numbers; integer inputs are dequantised first."""
    inputs = [_real_input(state, layer, index) for index in range(len(layer.inputs))]
    clamp = clamp_of(layer.operator) if _needs_clamp(state, layer) else NO_CLAMP
    name = output if clamp == NO_CLAMP else f"{output}/unclamped"
    if isinstance(layer.operator, Activation):
        name = inputs[0]
    else:
        _float_node(state, layer, inputs, name)
    if clamp != NO_CLAMP or isinstance(layer.operator, Activation):
        _clamp_node(state, layer, clamp, name, output)
    return output


def _float_node(state: Writing, layer: Layer, inputs: list[str], name: str) -> None:
    """Add the node of a float layer without its activation."""
    x, y = state.graph[layer.inputs[0]], state.graph[layer.outputs[0]]
    match layer.operator:
        case Conv2d() | DepthwiseConv2d() as conv:
            state.node("Conv", inputs, name, **_window(state, layer, conv))
        case FullyConnected() if len(x.shape) == 2:
            state.node("Gemm", inputs, name, transB=1)
        case FullyConnected():
            rows = _reshaped(state, inputs[0], (-1, x.shape[-1]), f"{name}/rows")
            state.node("Gemm", [rows, *inputs[1:]], f"{name}/product", transB=1)
            _reshaped(state, f"{name}/product", y.shape, name)
        case MatMul():
            state.node("MatMul", inputs, name)
        case Add() | Mul():
            state.node(type(layer.operator).__name__, inputs, name)
        case Pool2d() as pool:
            counted: dict[str, Any] = {"count_include_pad": int(pool.count_padding)} if pool.kind == "average" else {}
            op = {"average": "AveragePool", "max": "MaxPool"}[pool.kind]
            state.node(op, inputs, name, **_pool(pool), **counted)
        case Mean(axes=axes, keep_dims=keep_dims):
            _mean(state, layer, "GlobalAveragePool" if _global(state, layer) else "", inputs, name, axes, keep_dims)
        case Softmax(beta=beta):
            if beta != 1.0:
                factor = state.initializer(f"{name}/beta", np.array(beta, np.float32))
                inputs = [state.node("Mul", [inputs[0], factor], f"{name}/scaled")]
            state.node("Softmax", inputs, name, axis=1 if len(x.shape) == 4 else -1)
        case BatchNorm(epsilon=epsilon):
            state.node("BatchNormalization", inputs, name, epsilon=epsilon)
        case _:
            raise NotImplementedError(f"layer {layer.name!r}: operator {layer.op!r} cannot be written to ONNX")


def _write_integer(state: Writing, layer: Layer) -> None:
    """Add an integer layer in QOperator form."""
    output = layer.outputs[0]
    name = state.made(output)
    target = f"{name}/unclamped" if _needs_clamp(state, layer) else name
    y = state.parameters(output)
    values = [[state.value(each), *state.parameters(each)] for each in layer.inputs if not _is_bias(layer, each)]
    first, rank = values[0], len(state.graph[layer.inputs[0]].shape)
    match layer.operator:
        case Conv2d() | DepthwiseConv2d() as conv:
            weights = [_weights(state, layer), *state.parameters(layer.inputs[1])]
            bias = [state.value(each) for each in layer.inputs[2:]]
            state.node("QLinearConv", [*first, *weights, *y, *bias], target, **_window(state, layer, conv))
        case FullyConnected():
            _gemm(state, layer, target)
        case MatMul():
            state.node("QLinearMatMul", [*first, *values[1], *y], target)
        case Add() | Mul():
            op = f"QLinear{type(layer.operator).__name__}"
            state.node(op, [*first, *values[1], *y], target, CONTRIBUTED)
        case Pool2d(kind="max") as pool:
            state.node("MaxPool", first[:1], target, **_pool(pool))
        case Pool2d() as pool:
            window = _pool(pool) | {"count_include_pad": int(pool.count_padding)}
            state.node("QLinearAveragePool", [*first, *y], target, CONTRIBUTED, **window)
        case Mean(axes=axes, keep_dims=keep_dims) if _global(state, layer):
            _mean(state, layer, "QLinearGlobalAveragePool", [*first, *y], target, axes, keep_dims)
        case Softmax() as softmax if softmax.beta == 1.0:
            axis = 1 if rank == 4 else -1
            state.node("QLinearSoftmax", [*first, *y], target, CONTRIBUTED, axis=axis, opset=13)
        case Concat(axis=axis):
            place = FIRST_AXIS[axis] if rank == 4 else axis
            flat = [part for value in values for part in value]
            state.node("QLinearConcat", [*y, *flat], target, CONTRIBUTED, axis=place)
        case _:
            real = _write_float(state, layer, f"{output}/float")
            state.node("QuantizeLinear", [real, *y], name)
            return
    if target != name:
        _integer_clamp_node(state, layer, target, name)


def _gemm(state: Writing, layer: Layer, target: str) -> None:
    """Add QGemm on rows, reshaped around when the input has other than two axes."""
    x, y = state.graph[layer.inputs[0]], state.graph[layer.outputs[0]]
    rows, product = state.value(layer.inputs[0]), target
    if len(x.shape) != 2:
        rows, product = _reshaped(state, rows, (-1, x.shape[-1]), f"{target}/rows"), f"{target}/product"
    bias = state.value(layer.inputs[2]) if len(layer.inputs) > 2 else ""
    inputs = [rows, *state.parameters(layer.inputs[0]), state.value(layer.inputs[1])]
    inputs += [*state.parameters(layer.inputs[1]), bias, *state.parameters(layer.outputs[0])]
    state.node("QGemm", inputs, product, CONTRIBUTED, transB=1)
    if product != target:
        _reshaped(state, product, y.shape, target)


def _write_movement(state: Writing, layer: Layer) -> bool:
    """Add a layer that only moves elements, the same in every form; return whether it was one."""
    x, output = layer.inputs[0], layer.outputs[0]
    shape, after = state.graph[x].shape, state.graph[output].shape
    match layer.operator:
        case Reshape():
            source = state.value(x)
            if len(shape) == 4:
                source = state.node("Transpose", [source], f"{output}/from_image", perm=TO_LAST)
            name = state.made(output)
            if len(after) == 4:
                image = _reshaped(state, source, after, f"{output}/image")
                state.node("Transpose", [image], name, perm=TO_FIRST)
            else:
                _reshaped(state, source, after, name)
        case Transpose(permutation=permutation):
            perm = list(permutation)
            if len(shape) == 4:
                perm = [FIRST_AXIS[permutation[axis]] for axis in TO_FIRST]
            state.node("Transpose", [state.value(x)], state.made(output), perm=perm)
        case Pad() as pad:
            _pad(state, layer, pad)
        case Concat(axis=axis) if _alike(state, layer):
            place = FIRST_AXIS[axis] if len(shape) == 4 else axis
            state.node("Concat", [state.value(each) for each in layer.inputs], state.made(output), axis=place)
        case _:
            return False
    return True


def _pad(state: Writing, layer: Layer, pad: Pad) -> None:
    """Add Pad, its value in the element type of the tensor."""
    x, output = state.graph[layer.inputs[0]], layer.outputs[0]
    order = TO_FIRST if len(pad.amounts) == 4 else range(len(pad.amounts))
    pairs = [pad.amounts[axis] for axis in order]
    amounts = np.array([before for before, _ in pairs] + [after for _, after in pairs], np.int64)
    value = np.array(pad.value, np.float32)
    if x.quantization is not None:
        scale, zero_point = float(x.quantization.scale[0]), int(x.quantization.zero_point[0])
        limits = np.iinfo(x.dtype)
        value = np.array(np.clip(round(pad.value / scale) + zero_point, limits.min, limits.max), x.dtype)
    inputs = [state.initializer(f"{output}/amounts", amounts), state.initializer(f"{output}/value", value)]
    state.node("Pad", [state.value(layer.inputs[0]), *inputs], state.made(output))


def _real_input(state: Writing, layer: Layer, index: int) -> str:
    """Return an input of a float node: weights in ONNX's layout, integers dequantised."""
    name = layer.inputs[index]
    if index == 1 and isinstance(layer.operator, (Conv2d, DepthwiseConv2d)):
        return state.real(name, _weights(state, layer), axis=0)
    return state.real(name, axis=0)


def _weights(state: Writing, layer: Layer) -> str:
    """Return convolution weights, output channel first."""
    name = layer.inputs[1]
    array = state.graph[name].materialize()
    order = (3, 0, 1, 2) if isinstance(layer.operator, DepthwiseConv2d) else (0, 3, 1, 2)
    return state.initializer(f"{name}/oihw", array.transpose(order))


def _window(state: Writing, layer: Layer, operator: Conv2d | DepthwiseConv2d) -> dict[str, Any]:
    """Return the attributes of a convolution."""
    weights, channels = state.graph[layer.inputs[1]], state.graph[layer.inputs[0]].shape[3]
    return {
        "kernel_shape": list(weights.shape[1:3]), "strides": list(operator.stride), "pads": list(operator.padding),
        "dilations": list(operator.dilation),
        "group": channels if isinstance(operator, DepthwiseConv2d) else operator.groups,
    }  # fmt: skip


def _pool(operator: Pool2d) -> dict[str, Any]:
    """Return the attributes of a pool."""
    return {
        "kernel_shape": list(operator.kernel), "strides": list(operator.stride), "pads": list(operator.padding),
    }  # fmt: skip


def _mean(
    state: Writing, layer: Layer, op: str, inputs: list[str], name: str, axes: tuple[int, ...], keep_dims: bool
) -> None:
    """Add a mean: a global pool over the image, else ReduceMean."""
    rank = len(state.graph[layer.inputs[0]].shape)
    if op:
        pooled = name if keep_dims else f"{name}/pooled"
        domain = CONTRIBUTED if op.startswith("Q") else ""
        attributes = {"channels_last": 0} if domain else {}
        state.node(op, inputs, pooled, domain, **attributes)
        if not keep_dims:
            _reshaped(state, pooled, state.graph[layer.outputs[0]].shape, name)
        return
    source = inputs[0]
    if rank == 4 and not keep_dims:
        source = state.node("Transpose", [source], f"{name}/channels_last", perm=TO_LAST)
    elif rank == 4:
        axes = tuple(FIRST_AXIS[axis] for axis in axes)
    state.node("ReduceMean", [source], name, axes=list(axes), keepdims=int(keep_dims))


def _global(state: Writing, layer: Layer) -> bool:
    """Whether a mean is one over the image."""
    rank = len(state.graph[layer.inputs[0]].shape)
    return isinstance(layer.operator, Mean) and rank == 4 and set(layer.operator.axes) == {1, 2}


def _reshaped(state: Writing, x: str, shape: tuple[int, ...], output: str) -> str:
    """Add a Reshape."""
    return state.node("Reshape", [x, state.initializer(f"{output}/shape", np.array(shape, np.int64))], output)


def _needs_clamp(state: Writing, layer: Layer) -> bool:
    """Whether the activation does more than the saturation of the output type."""
    clamp, y = clamp_of(layer.operator), state.graph[layer.outputs[0]]
    if y.quantization is None:
        return clamp != NO_CLAMP
    limits = np.iinfo(y.dtype)
    return integer_clamp(clamp, y, half_even=True) != (limits.min, limits.max)


def _clamp_node(state: Writing, layer: Layer, clamp: Clamp, x: str, output: str) -> None:
    """Add Relu, or Clip with the bounds that are finite."""
    clamp = clamp_of(layer.operator) if isinstance(layer.operator, Activation) else clamp
    if (clamp.low, clamp.high) == (0.0, math.inf):
        state.node("Relu", [x], output)
        return
    bounds = [
        state.initializer(f"{output}/{name}", np.array(bound, np.float32)) if math.isfinite(bound) else ""
        for name, bound in (("low", clamp.low), ("high", clamp.high))
    ]
    state.node("Clip", [x, *bounds], output)


def _integer_clamp_node(state: Writing, layer: Layer, x: str, output: str) -> None:
    """Add Clip on integers."""
    y = state.graph[layer.outputs[0]]
    low, high = integer_clamp(clamp_of(layer.operator), y, half_even=True)
    bounds = [
        state.initializer(f"{output}/{name}", np.array(bound, y.dtype))
        for name, bound in (("low", low), ("high", high))
    ]
    state.node("Clip", [x, *bounds], output)


def _is_bias(layer: Layer, name: str) -> bool:
    """Whether a tensor is the bias of a product."""
    product = isinstance(layer.operator, (Conv2d, DepthwiseConv2d, FullyConnected))
    return product and name in layer.inputs[2:]


def _alike(state: Writing, layer: Layer) -> bool:
    """Whether integer inputs and output share one quantisation, so that they can be copied."""
    if state.graph[layer.outputs[0]].quantization is None:
        return True
    values = [state.quantization(name) for name in (*layer.inputs, *layer.outputs)]
    return len({(float(each.scale[0]), int(each.zero_point[0])) for each in values}) == 1
