"""Float ONNX operators, and operators that only move elements of any type."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import (
    Activation,
    Add,
    BatchNorm,
    Clamp,
    Concat,
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
from workloads.readers import limits
from workloads.readers.onnx_attributes import convolution, normalized, pooling
from workloads.readers.onnx_constants import Constant, check_finite
from workloads.readers.onnx_state import CHANNELS_LAST_AXIS, TO_FIRST, TO_LAST

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.readers.onnx_state import Node, Translation
    from workloads.shapes import Shape


def conv(state: Translation, node: Node) -> str:
    """Translate Conv."""
    x, weights = state.tensor(node, 0), state.constant(node, 1)
    operator, arranged, axis = convolution(node, state.shape(x), weights.array)
    quantization = weights.quantization
    if quantization is not None and quantization.axis is not None:
        if quantization.axis != 0:
            raise ValueError(f"weights quantised along axis {quantization.axis}, expected the output channels")
        quantization = replace(quantization, axis=axis)
    inputs = [x, state.add_constant(weights.name, arranged, quantization)]
    if state.has(node, 2):
        inputs.append(_vector(state, node, 2, weights.array.shape[0]))
    return state.layer(operator, inputs, node.outputs[0])


def gemm(state: Translation, node: Node) -> str:
    """Translate Gemm with constant weights; alpha and beta go into the constants."""
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    weights = state.constant(node, 1)
    if node.integer("transA", 0) or weights.array.ndim != 2:
        raise ValueError("Gemm with a transposed input or weights that are not a matrix is not supported")
    if alpha != 1.0:
        weights = Constant(weights.name, np.float32(alpha) * weights.real())
    if not node.integer("transB", 0):
        weights = _transposed(weights)
    inputs = [state.tensor(node, 0), _matrix(state, weights)]
    if state.has(node, 2) and beta != 0.0:
        bias = state.constant(node, 2)
        if beta != 1.0:
            bias = Constant(bias.name, np.float32(beta) * bias.real())
        inputs.append(_vector_of(state, bias, weights.array.shape[0]))
    return state.layer(FullyConnected(), inputs, node.outputs[0])


def matmul(state: Translation, node: Node) -> str:
    """Translate MatMul; constant weights of two axes make it a fully connected layer."""
    output, right = node.outputs[0], state.value(node, 1)
    a = state.channels_first(state.tensor(node, 0), f"{output}/a")
    if isinstance(right, Constant) and right.array.ndim == 2:
        product = state.layer(FullyConnected(), (a, _matrix(state, _transposed(right))), output)
    else:
        b = state.channels_first(state.tensor(node, 1), f"{output}/b")
        product = state.layer(MatMul(), (a, b), output)
    return state.channels_last(product, f"{output}/channels_last")


def binary(operator: Add | Mul, inverse: bool = False) -> Callable[[Translation, Node], str]:
    """Return the translation of Add, Mul, or (with ``inverse``, of a constant) Sub and Div."""

    def translate(state: Translation, node: Node) -> str:
        if inverse:
            constant = state.constant(node, 1)
            real = constant.real().astype(np.float32)
            if isinstance(operator, Mul) and not real.all():
                raise ValueError(f"division by zero in {constant.name!r}")
            with np.errstate(over="ignore"):
                inverted = check_finite(-real if isinstance(operator, Add) else 1 / real)
            state.values[f"{node.outputs[0]}/inverted"] = Constant(f"{constant.name}/inverted", inverted)
            node = replace(node, inputs=(node.inputs[0], f"{node.outputs[0]}/inverted"))
        rank = max(len(state.declared_shape(state.value(node, index))) for index in range(2))
        return state.layer(operator, [_of_rank(state, node, index, rank) for index in range(2)], node.outputs[0])

    return translate


def relu(state: Translation, node: Node) -> str:
    """Translate Relu."""
    return state.layer(Activation(Clamp(low=0.0)), (state.tensor(node, 0),), node.outputs[0])


def clip(state: Translation, node: Node) -> str:
    """Translate Clip, its bounds from attributes or constant inputs; bounds of integers become the reals they mean."""
    x = state.tensor(node, 0)
    tensor = state.builder.tensors[x]
    bounds = []
    for index, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        value = node.number(name, 0.0) if name in node.attributes else default
        if state.has(node, index):
            array = state.constant(node, index).real()
            if array.size != 1 or (array.dtype.kind == "f") != (tensor.dtype == "float32"):
                raise ValueError(
                    f"the bound {name} is {array.dtype} of {array.size} values for a {tensor.dtype} tensor"
                )
            value = int(array.ravel()[0]) - 128 if array.dtype == np.uint8 else array.ravel()[0]
        bounds.append(float(value))
    if math.isnan(bounds[0]) or math.isnan(bounds[1]) or bounds[0] > bounds[1]:
        raise ValueError(f"bounds {bounds[0]} .. {bounds[1]} hold nothing")
    if tensor.dtype == "float32":
        return state.layer(Activation(Clamp(*bounds)), (x,), node.outputs[0])
    if tensor.quantization is None:
        raise ValueError("a clip of integers whose scale is not known is not supported")
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    low, high = ((bound - zero_point) * scale for bound in bounds)
    return state.moved(Activation(Clamp(low, high)), x, node.outputs[0])


def pool(kind: str) -> Callable[[Translation, Node], str]:
    """Return the translation of MaxPool or AveragePool."""

    def translate(state: Translation, node: Node) -> str:
        x = state.tensor(node, 0)
        operator = pooling(node, state.shape(x), kind)
        if kind == "max":
            return state.moved(operator, x, node.outputs[0])
        return state.layer(operator, (x,), node.outputs[0])

    return translate


def global_pool(kind: str) -> Callable[[Translation, Node], str]:
    """Return the translation of GlobalAveragePool or GlobalMaxPool."""

    def translate(state: Translation, node: Node) -> str:
        x = state.tensor(node, 0)
        if len(state.shape(x)) != 4:
            raise ValueError(f"input of {len(state.shape(x))} axes; only two-dimensional images are read")
        if kind == "average":
            return state.layer(Mean((1, 2)), (x,), node.outputs[0])
        window = (state.shape(x)[1], state.shape(x)[2])
        return state.moved(Pool2d("max", window, window), x, node.outputs[0])

    return translate


def reduce_mean(state: Translation, node: Node) -> str:
    """Translate ReduceMean."""
    x, output = state.tensor(node, 0), node.outputs[0]
    rank, keep = len(state.shape(x)), bool(node.integer("keepdims", 1))
    axes = state.integers(node, 1) if state.has(node, 1) else node.integers("axes", tuple(range(rank)))
    axes = normalized(axes, rank)
    if rank == 4 and (keep or set(axes) == {2, 3}):
        return state.layer(Mean(tuple(sorted(CHANNELS_LAST_AXIS[axis] for axis in axes)), keep), (x,), output)
    return state.layer(Mean(axes, keep), (state.channels_first(x, f"{output}/channels_first"),), output)


def softmax(state: Translation, node: Node) -> str:
    """Translate Softmax; before operator set 13 it flattens the axes behind ``axis``."""
    x, output = state.tensor(node, 0), node.outputs[0]
    shape = state.declared_shape(x)
    (axis,) = normalized((node.integer("axis", -1 if node.opset >= 13 else 1),), len(shape))
    if node.opset < 13 and math.prod(shape[axis:]) != max(shape[axis:]):
        raise ValueError(f"softmax over axes {axis} .. {len(shape) - 1} together is not supported")
    if node.opset < 13:
        axis = max(range(axis, len(shape)), key=lambda each: shape[each])
    if len(shape) == 4 and axis == 1:
        return state.layer(Softmax(), (x,), output)
    if axis == len(shape) - 1 and len(shape) != 4:
        return state.layer(Softmax(), (x,), output)
    first = state.channels_first(x, f"{output}/channels_first")
    swapped = tuple(
        len(shape) - 1 if each == axis else axis if each == len(shape) - 1 else each for each in range(len(shape))
    )
    last = state.moved(Transpose(swapped), first, f"{output}/axis_last")
    back = state.moved(Transpose(swapped), state.layer(Softmax(), (last,), f"{output}/softmax"), f"{output}/axis_back")
    return state.channels_last(back, output)


def batch_norm(state: Translation, node: Node) -> str:
    """Translate BatchNormalization in inference mode."""
    if node.integer("training_mode", 0):
        raise ValueError("batch normalisation in training mode is not supported")
    x = state.tensor(node, 0)
    channels = state.declared_shape(x)[1:2]
    if not channels or len(state.shape(x)) == 3:
        raise ValueError(f"an input of shape {list(state.shape(x))} is not supported")
    constants = [_vector(state, node, index, channels[0]) for index in range(1, 5)]
    epsilon = node.number("epsilon", 1e-5)
    if (state.constant(node, 4).real() + epsilon <= 0).any():
        raise ValueError("a variance is negative")
    return state.layer(BatchNorm(epsilon), (x, *constants), node.outputs[0])


def reshape(state: Translation, node: Node) -> str:
    """Translate Reshape, where 0 keeps an extent and -1 is what remains."""
    shape, wanted = state.declared_shape(state.value(node, 0)), list(state.integers(node, 1))
    if not node.integer("allowzero", 0):
        if any(extent == 0 and axis >= len(shape) for axis, extent in enumerate(wanted)):
            raise ValueError(f"shape {wanted} keeps an extent that {list(shape)} does not have")
        wanted = [shape[axis] if extent == 0 else extent for axis, extent in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        if known <= 0 or math.prod(shape) % known:
            raise ValueError(f"shape {list(shape)} cannot become {wanted}")
        wanted[wanted.index(-1)] = math.prod(shape) // known
    return _reshaped(state, node, tuple(wanted))


def flatten(state: Translation, node: Node) -> str:
    """Translate Flatten."""
    shape = state.declared_shape(state.value(node, 0))
    axis = node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"axis {axis} does not exist in shape {list(shape)}")
    axis = axis + len(shape) if axis < 0 else axis
    return _reshaped(state, node, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def squeeze(state: Translation, node: Node) -> str:
    """Translate Squeeze."""
    shape = state.declared_shape(state.value(node, 0))
    default = tuple(axis for axis, extent in enumerate(shape) if extent == 1)
    axes = state.integers(node, 1) if state.has(node, 1) else node.integers("axes", default)
    axes = normalized(axes, len(shape))
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(f"axes {axes} of shape {list(shape)} are not all 1")
    return _reshaped(state, node, tuple(extent for axis, extent in enumerate(shape) if axis not in axes))


def unsqueeze(state: Translation, node: Node) -> str:
    """Translate Unsqueeze."""
    shape = list(state.declared_shape(state.value(node, 0)))
    axes = state.integers(node, 1) if state.has(node, 1) else node.integers("axes")
    for axis in sorted(normalized(axes, len(shape) + len(axes))):
        shape.insert(axis, 1)
    return _reshaped(state, node, tuple(shape))


def transpose(state: Translation, node: Node) -> str:
    """Translate Transpose; around four axes the graph's layout is taken into account."""
    x, output = state.tensor(node, 0), node.outputs[0]
    rank = len(state.shape(x))
    permutation = node.integers("perm", tuple(range(rank))[::-1])
    if rank != 4:
        return state.moved(Transpose(permutation), x, output)
    if sorted(permutation) != [0, 1, 2, 3]:
        raise ValueError(f"permutation {permutation} does not fit four axes")
    inside = tuple(TO_FIRST[permutation[axis]] for axis in TO_LAST)
    return state.moved(Transpose(inside), x, output)


def pad(state: Translation, node: Node) -> str:
    """Translate Pad with a constant value."""
    if node.text("mode", "constant") != "constant":
        raise ValueError(f"Pad mode {node.text('mode', 'constant')!r} is not supported; only 'constant'")
    x = state.tensor(node, 0)
    rank = len(state.shape(x))
    amounts = state.integers(node, 1) if state.has(node, 1) else node.integers("pads")
    value = float(state.constant(node, 2).real().ravel()[0]) if state.has(node, 2) else node.number("value", 0.0)
    if state.has(node, 3) or len(amounts) != 2 * rank or min(amounts) < 0:
        raise ValueError(f"pads {amounts} do not fit {rank} axes, or name axes, or crop")
    pairs = [(amounts[axis], amounts[axis + rank]) for axis in range(rank)]
    if rank == 4:
        pairs = [pairs[axis] for axis in TO_LAST]
    return state.moved(Pad(tuple(pairs), value), x, node.outputs[0])


def concat(state: Translation, node: Node) -> str:
    """Translate Concat."""
    inputs = [state.tensor(node, index) for index in range(len(node.inputs))]
    if not inputs:
        raise ValueError("no inputs")
    rank = len(state.shape(inputs[0]))
    (axis,) = normalized((node.integer("axis", 0),), rank)
    values = state.builder.tensors[inputs[0]].quantization
    operator = Concat(CHANNELS_LAST_AXIS[axis] if rank == 4 else axis)
    return state.layer(operator, inputs, node.outputs[0], quantization=values)


def identity(state: Translation, node: Node) -> Constant | str:
    """Translate Identity and Dropout: another name for the same value."""
    return state.value(node, 0)


def cast(state: Translation, node: Node) -> Constant | str:
    """Translate a Cast of an activation to the type it has."""
    value = state.value(node, 0)
    if isinstance(value, str) and (node.integer("to", 0), state.builder.tensors[value].dtype) == (1, "float32"):
        return value
    raise ValueError(f"Cast of an activation to element type {node.integer('to', 0)} is not supported")


def _reshaped(state: Translation, node: Node, after: Shape) -> str:
    """Reshape in the file's layout; four axes on either side are transposed where that moves anything."""
    x, output = state.tensor(node, 0), node.outputs[0]
    if min(after, default=1) < 1 or math.prod(after) != math.prod(state.shape(x)):
        raise ValueError(f"shape {list(state.declared_shape(x))} cannot become {list(after)}")
    limits.check_shape(f"output {output!r}", after)
    first = state.channels_first(x, f"{output}/channels_first")
    reshaped = state.moved(Reshape(), first, f"{output}/reshaped" if len(after) == 4 else output, after)
    return state.channels_last(reshaped, output)


def _of_rank(state: Translation, node: Node, index: int, rank: int) -> str:
    """Return an operand with leading axes of extent 1 added up to ``rank``, in the graph's layout."""
    value = state.value(node, index)
    if isinstance(value, Constant):
        array = value.array.reshape((1,) * (rank - value.array.ndim) + value.array.shape)
        quantization = value.quantization
        if quantization is not None and quantization.axis is not None:
            array, quantization = value.real().reshape(array.shape), None
        array = array.transpose(TO_LAST) if rank == 4 else array
        return state.add_constant(value.name, array, quantization)
    shape = state.shape(value)
    if len(shape) == rank:
        return value
    padded = state.moved(Reshape(), value, f"{node.outputs[0]}/operand", (1,) * (rank - len(shape)) + shape)
    return state.channels_last(padded, f"{node.outputs[0]}/operand_last") if rank == 4 else padded


def _transposed(weights: Constant) -> Constant:
    """Return a constant matrix transposed, its channel axis with it."""
    quantization = weights.quantization
    if quantization is not None and quantization.axis is not None:
        quantization = replace(quantization, axis=1 - quantization.axis)
    return Constant(weights.name, weights.array.T, quantization)


def _matrix(state: Translation, weights: Constant) -> str:
    """Add fully connected weights (N,K), quantised along N or per tensor."""
    if weights.quantization is not None and weights.quantization.axis == 1:
        raise ValueError(f"weights {weights.name!r} are quantised along their inputs, expected the output channels")
    return state.add_constant(weights.name, weights.array, weights.quantization)


def _vector(state: Translation, node: Node, index: int, length: int) -> str:
    """Add a constant input of one value per channel."""
    return _vector_of(state, state.constant(node, index), length)


def _vector_of(state: Translation, value: Constant, length: int) -> str:
    """Add a constant of ``length`` values; one value alone is repeated."""
    array, quantization = value.array.ravel(), value.quantization
    if array.size == 1 and length > 1:
        array, quantization = np.repeat(value.real().ravel(), length), None
    if array.size != length or value.array.size != max(value.array.shape, default=1):
        raise ValueError(f"{value.name!r} has shape {list(value.array.shape)}, expected {length} values")
    if quantization is not None and quantization.axis is not None:
        quantization = replace(quantization, axis=0)
    return state.add_constant(value.name, array, quantization)
