"""Quantised ONNX operators: the QOperator form, and quantise and dequantise nodes.

Unsigned tensors become signed ones inside: the integers and zero points move by 128, the real numbers stay. Under that
move products, maxima and softmax are exact; onnxruntime's float32 sums and averages may round a near tie otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import Add, Concat, Dequantize, FullyConnected, MatMul, Mean, Mul, Quantize, Softmax
from workloads.readers.onnx_attributes import convolution, normalized, pooling
from workloads.readers.onnx_constants import Constant
from workloads.readers.onnx_state import CHANNELS_LAST_AXIS, TO_LAST
from workloads.tensor import Array, Quantization

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.operators import Operator
    from workloads.readers.onnx_state import Node, Translation


def quantization(scale: Constant, zero_point: Constant | None, axis: int | None = None) -> Quantization:
    """Check and combine a scale and a zero point of an ONNX node; unsigned zero points become signed.

    Raises
    ------
    ValueError
        A scale is zero, negative, NaN or infinite, the lengths differ, or the zero point is no 8- or 32-bit integer.
    """
    scales = np.atleast_1d(scale.array)
    if scales.dtype.kind != "f" or scales.ndim != 1 or scales.size == 0:
        raise ValueError(f"scale {scale.name!r} is {scales.dtype} of shape {list(scale.array.shape)}, expected floats")
    wrong = scales[~(np.isfinite(scales) & (scales > 0))]
    if wrong.size:
        raise ValueError(f"scale {scale.name!r} holds {wrong[0]}; every scale must be finite and above 0")
    zero_points = np.zeros(scales.shape, np.int32)
    if zero_point is not None:
        array = np.atleast_1d(zero_point.array)
        if array.dtype.name not in {"int8", "uint8", "int32"}:
            raise ValueError(f"zero point {zero_point.name!r} is {array.dtype}, expected int8, uint8 or int32")
        if array.size not in {1, scales.size} or array.ndim != 1:
            raise ValueError(
                f"zero point {zero_point.name!r} has {array.size} values for {scales.size} scales of {scale.name!r}"
            )
        moved = array.astype(np.int32) - (128 if array.dtype == np.uint8 else 0)
        zero_points = np.broadcast_to(moved, scales.shape).copy()
    return Quantization(scales.astype(np.float32), zero_points, axis if scales.size > 1 else None)


def node_quantization(state: Translation, node: Node) -> Quantization:
    """Return what a QuantizeLinear or DequantizeLinear node declares, its axis in the file's layout."""
    if node.integer("block_size", 0):
        raise ValueError("blocked quantisation is not supported")
    zero_point = state.constant(node, 2) if state.has(node, 2) else None
    shape = state.declared_shape(state.value(node, 0))
    axis = node.integer("axis", 1)
    result = quantization(state.constant(node, 1), zero_point)
    if zero_point is None and state.zero_point_type(node) == "uint8":
        result = replace(result, zero_point=result.zero_point - 128)
    if result.scale.size == 1:
        return result
    if not -len(shape) <= axis < len(shape) or shape[axis] != result.scale.size:
        raise ValueError(f"{result.scale.size} scales along axis {axis} of a tensor of shape {list(shape)}")
    return replace(result, axis=axis % len(shape))


def quantized_array(array: Array, values: Quantization, dtype: str) -> Array:
    """Quantise a constant as QuantizeLinear does; unsigned results move to signed."""
    along = [1] * array.ndim
    if values.axis is not None:
        along[values.axis] = -1
    low, high = np.iinfo("int8" if dtype == "uint8" else dtype).min, np.iinfo("int8" if dtype == "uint8" else dtype).max
    zero_point = values.zero_point.reshape(along)
    scaled = np.rint(array.astype(np.float32) / values.scale.reshape(along))
    return np.asarray(np.clip(scaled + zero_point, low, high).astype("int8" if dtype == "uint8" else dtype))


def quantize_linear(state: Translation, node: Node) -> str:
    """Translate QuantizeLinear of an activation."""
    x, values = state.tensor(node, 0), node_quantization(state, node)
    if values.axis is not None:
        raise ValueError("an activation quantised per channel is not supported")
    if state.zero_point_type(node) not in {"int8", "uint8"}:
        raise ValueError(f"an activation quantised to {state.zero_point_type(node)} is not supported")
    return state.layer(Quantize(), (x,), node.outputs[0], dtype="int8", quantization=values)


def dequantize_linear(state: Translation, node: Node) -> str:
    """Translate DequantizeLinear of an activation."""
    x, values = state.tensor(node, 0), node_quantization(state, node)
    if values.axis is not None:
        raise ValueError("an activation quantised per channel is not supported")
    state.declare(x, values)
    return state.layer(Dequantize(), (x,), node.outputs[0], dtype="float32")


def qlinear_conv(state: Translation, node: Node) -> str:
    """Translate QLinearConv: x, scale, zero; w, scale, zero; y scale, zero; bias."""
    x = _activation(state, node, 0)
    weights = _integers(state, node, 3)
    operator, arranged, axis = convolution(node, state.shape(x), weights.array)
    values = _parameters(state, node, 4, axis)
    inputs = [x, state.builder.constant(weights.name, arranged.shape, arranged, "int8", values)]
    _check_channels(values, arranged.shape[axis])
    if state.has(node, 8):
        inputs.append(_bias(state, node, 8, x, values, weights.array.shape[0]))
    return _output(state, node, operator, inputs, 6)


def qlinear_matmul(state: Translation, node: Node) -> str:
    """Translate QLinearMatMul; constant weights make it a fully connected layer."""
    a = state.channels_first(_activation(state, node, 0), f"{node.outputs[0]}/a")
    if isinstance(state.value(node, 3), Constant):
        weights = _integers(state, node, 3)
        if weights.array.ndim != 2:
            raise ValueError(f"weights of shape {list(weights.array.shape)}, expected two axes")
        values = _parameters(state, node, 4, 0)
        arranged = np.ascontiguousarray(weights.array.T)
        _check_channels(values, arranged.shape[0])
        b = state.builder.constant(weights.name, arranged.shape, arranged, "int8", values)
        return _restored(state, node, FullyConnected(), [a, b], 6)
    b = state.channels_first(_activation(state, node, 3), f"{node.outputs[0]}/b")
    return _restored(state, node, MatMul(), [a, b], 6)


def qgemm(state: Translation, node: Node) -> str:
    """Translate QGemm: a, scale, zero; b, scale, zero; bias; y scale, zero."""
    if node.number("alpha", 1.0) != 1.0 or node.integer("transA", 0):
        raise ValueError("QGemm with alpha other than 1 or a transposed input is not supported")
    if not state.has(node, 7):
        raise ValueError("QGemm without an output scale (float output) is not supported")
    x, weights = _activation(state, node, 0), _integers(state, node, 3)
    if weights.array.ndim != 2:
        raise ValueError(f"weights of shape {list(weights.array.shape)}, expected two axes")
    arranged = np.ascontiguousarray(weights.array if node.integer("transB", 0) else weights.array.T)
    values = _parameters(state, node, 4, 0)
    _check_channels(values, arranged.shape[0])
    inputs = [x, state.builder.constant(weights.name, arranged.shape, arranged, "int8", values)]
    if state.has(node, 6):
        inputs.append(_bias(state, node, 6, x, values, arranged.shape[0]))
    return _output(state, node, FullyConnected(), inputs, 7)


def qlinear_binary(operator: Add | Mul) -> Callable[[Translation, Node], str]:
    """Return the translation of QLinearAdd or QLinearMul."""

    def translate(state: Translation, node: Node) -> str:
        return _output(state, node, operator, [_activation(state, node, 0), _activation(state, node, 3)], 6)

    return translate


def qlinear_global_average(state: Translation, node: Node) -> str:
    """Translate QLinearGlobalAveragePool."""
    if node.integer("channels_last", 0):
        raise ValueError("channels_last is not supported")
    return _output(state, node, Mean((1, 2)), [_activation(state, node, 0)], 3)


def qlinear_average(state: Translation, node: Node) -> str:
    """Translate QLinearAveragePool."""
    if node.integer("channels_last", 0):
        raise ValueError("channels_last is not supported")
    x = _activation(state, node, 0)
    return _output(state, node, pooling(node, state.shape(x), "average"), [x], 3)


def qlinear_softmax(state: Translation, node: Node) -> str:
    """Translate QLinearSoftmax over the channels of an image, or the last axis of other tensors."""
    x = _activation(state, node, 0)
    rank = len(state.shape(x))
    (axis,) = normalized((node.integer("axis", -1 if node.integer("opset", 13) >= 13 else 1),), rank)
    if axis != (1 if rank == 4 else rank - 1):
        raise ValueError(f"softmax over axis {axis} of {rank} axes is not supported; only over channels")
    return _output(state, node, Softmax(), [x], 3)


def qlinear_concat(state: Translation, node: Node) -> str:
    """Translate QLinearConcat: y scale, zero; then tensor, scale, zero for each input."""
    inputs = [_activation(state, node, index) for index in range(2, len(node.inputs), 3)]
    if not inputs:
        raise ValueError("no inputs")
    rank = len(state.shape(inputs[0]))
    (axis,) = normalized((node.integer("axis", 0),), rank)
    return _output(state, node, Concat(CHANNELS_LAST_AXIS[axis] if rank == 4 else axis), inputs, 0)


def _activation(state: Translation, node: Node, index: int) -> str:
    """Return an integer input, its quantisation declared by the next two inputs."""
    values = _parameters(state, node, index + 1)
    if values.axis is not None:
        raise ValueError("an activation quantised per channel is not supported")
    value = state.value(node, index)
    if isinstance(value, Constant):
        signed = _integers(state, node, index).array
        array = signed.transpose(TO_LAST) if signed.ndim == 4 else signed
        return state.builder.constant(value.name, array.shape, np.ascontiguousarray(array), "int8", values)
    if state.builder.tensors[value].dtype != "int8":
        raise ValueError(f"input {index} is {state.builder.tensors[value].dtype}, expected an 8-bit integer")
    state.declare(value, values)
    return value


def _integers(state: Translation, node: Node, index: int) -> Constant:
    """Return constant 8-bit weights as int8."""
    weights = state.constant(node, index)
    if weights.array.dtype == np.uint8:
        return Constant(weights.name, (weights.array.astype(np.int16) - 128).astype(np.int8))
    if weights.array.dtype != np.int8:
        raise ValueError(f"weights {weights.name!r} are {weights.array.dtype}, expected 8-bit integers")
    return weights


def _parameters(state: Translation, node: Node, index: int, axis: int | None = None) -> Quantization:
    """Return the quantisation given by two neighbouring inputs."""
    zero_point = state.constant(node, index + 1) if state.has(node, index + 1) else None
    return quantization(state.constant(node, index), zero_point, axis)


def _check_channels(values: Quantization, channels: int) -> None:
    """Refuse a per-channel quantisation of another length than the channels."""
    if values.scale.size not in {1, channels}:
        raise ValueError(f"{values.scale.size} weight scales for {channels} output channels")


def _bias(state: Translation, node: Node, index: int, x: str, weights: Quantization, channels: int) -> str:
    """Add an int32 bias, whose scale is that of the products."""
    bias = state.constant(node, index)
    if bias.array.dtype != np.int32 or bias.array.shape != (channels,):
        found = f"{bias.array.dtype} of shape {bias.array.shape}"
        raise ValueError(f"bias {bias.name!r} is {found}, expected int32 of shape ({channels},)")
    made = state.builder.tensors[x].quantization
    if made is None:
        raise ValueError(f"input {x!r} has no quantisation")
    scale = made.scale * weights.scale
    values = Quantization(scale, np.zeros(scale.shape, np.int32), 0 if scale.size > 1 else None)
    return state.builder.constant(bias.name, bias.array.shape, bias.array, "int32", values)


def _output(state: Translation, node: Node, operator: Operator, inputs: list[str], index: int) -> str:
    """Add a quantised layer whose output quantisation is given by two inputs of the node."""
    values = _parameters(state, node, index)
    if values.axis is not None:
        raise ValueError("an activation quantised per channel is not supported")
    return state.layer(operator, inputs, node.outputs[0], dtype="int8", quantization=values)


def _restored(state: Translation, node: Node, operator: Operator, inputs: list[str], index: int) -> str:
    """Add a layer that works in the file's layout, and bring its output to the graph's."""
    name = _output(state, node, operator, inputs, index)
    return state.channels_last(name, f"{node.outputs[0]}/channels_last")
