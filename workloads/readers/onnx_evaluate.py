"""Nodes whose inputs are all constants: mostly the shape arithmetic that exporters leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.readers import limits
from workloads.readers.onnx_constants import ELEMENT_TYPES, Constant, check_finite, constant
from workloads.readers.onnx_quantized import node_quantization, quantized_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.readers.onnx_state import Node, Translation
    from workloads.tensor import Array


def evaluate(state: Translation, node: Node) -> bool:
    """Compute a node whose result is known now; return whether that was so."""
    if node.op == "Constant":
        state.values[node.outputs[0]] = _constant_node(node)
        return True
    if node.op in {"Shape", "Size"}:
        shape = np.array(state.declared_shape(state.value(node, 0)), np.int64)
        start, end = node.integer("start", 0), node.integer("end", limits.MAX_RANK)
        array = shape[start:end] if node.op == "Shape" else np.array(shape.prod())
        state.values[node.outputs[0]] = Constant(node.outputs[0], array)
        return True
    given = [state.values[name] for name in node.inputs if name]
    if node.op not in _FUNCTIONS or not given or not all(isinstance(value, Constant) for value in given):
        return False
    if node.op in {"DequantizeLinear", "QuantizeLinear"}:
        state.values[node.outputs[0]] = _quantization_node(state, node)
        return True
    arrays = [value.real() for value in given if isinstance(value, Constant)]
    try:
        result = np.asarray(_FUNCTIONS[node.op](node, arrays))
    except (IndexError, TypeError, KeyError, ZeroDivisionError) as error:
        raise ValueError(f"its constants do not fit together: {error}") from error
    if result.size > limits.MAX_TENSOR_ELEMENTS:
        raise ValueError(f"a constant of {result.size} elements; at most {limits.MAX_TENSOR_ELEMENTS} are made")
    state.values[node.outputs[0]] = Constant(node.outputs[0], check_finite(result))
    return True


def _constant_node(node: Node) -> Constant:
    """Value of a Constant node."""
    name, attributes = node.outputs[0], node.attributes
    if "value" in attributes:
        return constant(name, attributes["value"], None)
    for key, dtype in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32),
                       ("value_floats", np.float32)):  # fmt: skip
        if key in attributes:
            return Constant(name, check_finite(np.array(attributes[key], dtype)))
    raise ValueError("a Constant node without a numeric value")


def _quantization_node(state: Translation, node: Node) -> Constant:
    """Quantise a constant, or let integers stand for the real numbers they encode."""
    source, quantization = state.constant(node, 0), node_quantization(state, node)
    if node.op == "DequantizeLinear":
        if source.array.dtype.name not in {"int8", "uint8", "int32"}:
            raise ValueError(f"DequantizeLinear of {source.array.dtype} is not supported")
        array = source.array
        if array.dtype == np.uint8:
            array = (array.astype(np.int16) - 128).astype(np.int8)
        return Constant(node.outputs[0], array, quantization)
    return Constant(node.outputs[0], quantized_array(source.array, quantization, state.zero_point_type(node)))


def _arithmetic(function: Callable[[Array, Array], Array]) -> Callable[[Node, list[Array]], Array]:
    """Elementwise arithmetic on two arrays, division of integers truncating as in ONNX."""

    def apply(_: Node, arrays: list[Array]) -> Array:
        first, second = arrays
        limits.check_shape("a constant", np.broadcast_shapes(first.shape, second.shape) or (1,))
        with np.errstate(all="ignore"):
            return np.asarray(function(first, second))

    return apply


def _divide(first: Array, second: Array) -> Array:
    """Divide; integers truncate towards zero."""
    if first.dtype.kind not in "iu":
        return np.asarray(first / second)
    if not second.all():
        raise ValueError("division of integers by zero")
    return np.asarray(np.trunc(first / second).astype(first.dtype))


def _axes(node: Node, arrays: list[Array]) -> tuple[int, ...] | None:
    """Axes from the attribute (older operator sets) or from the second input."""
    if "axes" in node.attributes:
        return node.integers("axes")
    return tuple(int(axis) for axis in arrays[1].ravel()) if len(arrays) > 1 else None


def _slice(node: Node, arrays: list[Array]) -> Array:
    """Slice along axes."""
    if len(arrays) == 1:
        starts, ends = node.integers("starts"), node.integers("ends")
        axes, steps = node.integers("axes", tuple(range(len(starts)))), (1,) * len(starts)
    else:
        starts, ends = (tuple(map(int, array.ravel())) for array in arrays[1:3])
        axes = tuple(map(int, arrays[3].ravel())) if len(arrays) > 3 else tuple(range(len(starts)))
        steps = tuple(map(int, arrays[4].ravel())) if len(arrays) > 4 else (1,) * len(starts)
    index: list[Any] = [slice(None)] * arrays[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, end if abs(end) < 2**31 else None, step)
    return np.asarray(arrays[0][tuple(index)])


def _reshape(_: Node, arrays: list[Array]) -> Array:
    """Reshape, where 0 keeps an extent."""
    kept = [arrays[0].shape[axis] if int(extent) == 0 else int(extent) for axis, extent in enumerate(arrays[1].ravel())]
    return arrays[0].reshape(kept)


def _cast(node: Node, arrays: list[Array]) -> Array:
    """Convert to another element type."""
    to = node.integer("to", 0)
    if to not in ELEMENT_TYPES:
        raise ValueError(f"Cast to element type {to} is not supported")
    with np.errstate(all="ignore"):
        return arrays[0].astype(ELEMENT_TYPES[to])


def _filled(node: Node, arrays: list[Array]) -> Array:
    """Make an array of one value."""
    shape = tuple(int(extent) for extent in arrays[0].ravel())
    limits.check_shape("ConstantOfShape", shape or (1,))
    value = constant("value", node.attributes["value"], None).array if "value" in node.attributes else np.float32(0)
    return np.full(shape, np.asarray(value).ravel()[0])


_FUNCTIONS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "Add": _arithmetic(np.add),
    "Sub": _arithmetic(np.subtract),
    "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(_divide),
    "Cast": _cast,
    "Concat": lambda node, arrays: np.concatenate(arrays, axis=node.integer("axis", 0)),
    "ConstantOfShape": _filled,
    "DequantizeLinear": lambda *_: None,
    "Gather": lambda node, arrays: np.take(arrays[0], arrays[1], axis=node.integer("axis", 0)),
    "Identity": lambda _, arrays: arrays[0],
    "QuantizeLinear": lambda *_: None,
    "ReduceProd": lambda node, arrays: arrays[0].prod(
        axis=_axes(node, arrays), keepdims=bool(node.integer("keepdims", 1))
    ),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": lambda node, arrays: np.squeeze(arrays[0], axis=_axes(node, arrays)),
    "Transpose": lambda node, arrays: arrays[0].transpose(node.integers("perm", tuple(range(arrays[0].ndim))[::-1])),
    "Unsqueeze": lambda node, arrays: np.expand_dims(arrays[0], _axes(node, arrays) or (0,)),
}
