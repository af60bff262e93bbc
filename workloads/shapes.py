"""Shape inference: the output shape of each operator from the shapes of its inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.operators import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Dequantize,
    Embedding,
    FullyConnected,
    Function,
    LayerNorm,
    LocalResponseNorm,
    Lstm,
    MatMul,
    Maximum,
    Mean,
    Minimum,
    Mul,
    Operator,
    Pad,
    Padding,
    Pair,
    Pool2d,
    Prelu,
    Quantize,
    Resize2d,
    RmsNorm,
    Slice,
    Softmax,
    Sub,
    Svdf,
    Transpose,
    TransposedConv2d,
    operator_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape = tuple[int, ...]

_SAME_SHAPE = Activation | Softmax | BatchNorm | Quantize | Dequantize | LocalResponseNorm | Function


def infer(operator: Operator, shapes: Sequence[Shape]) -> Shape:
    """Return the output shape of an operator other than Reshape, whose shape is its own choice.

    Raises
    ------
    ValueError
        The inputs do not fit the operator or each other; the message says how.
    """
    for family in (_product, _rearranged):
        if (found := family(operator, shapes)) is not None:
            return found
    if isinstance(operator, _SAME_SHAPE):
        return shapes[0]
    raise ValueError(f"the output shape of {operator_name(operator)!r} does not follow from its inputs")


def _product(operator: Operator, shapes: Sequence[Shape]) -> Shape | None:
    """Output shape of an operator with weights, windows or two activations; None for the others."""
    match operator:
        case Conv2d() | DepthwiseConv2d():
            return _convolution(operator, shapes[0], shapes[1])
        case TransposedConv2d():
            return _transposed(operator, shapes[0], shapes[1])
        case FullyConnected():
            return _fully_connected(shapes[0], shapes[1])
        case MatMul():
            return _matmul(shapes[0], shapes[1])
        case Svdf(rank=rank):
            return _svdf(shapes, rank)
        case Lstm():
            return _lstm(shapes)
        case Add() | Sub() | Mul() | Minimum() | Maximum():
            return _broadcast(shapes[0], shapes[1])
        case Pool2d(kernel=kernel, stride=stride, padding=padding):
            batch, height, width, channels = _image(shapes[0], operator)
            rows, columns = windows((height, width), kernel, stride, padding, (1, 1))
            return (batch, rows, columns, channels)
        case LayerNorm() | RmsNorm() | Prelu():
            return _per_channel(operator, shapes)
        case Embedding():
            return (*shapes[0], *shapes[1][1:])
    return None


def _rearranged(operator: Operator, shapes: Sequence[Shape]) -> Shape | None:
    """Output shape of an operator that reduces, moves or repeats elements; None for the others."""
    match operator:
        case Mean(axes=axes, keep_dims=keep_dims):
            return _mean(shapes[0], axes, keep_dims)
        case Transpose(permutation=permutation):
            if sorted(permutation) != list(range(len(shapes[0]))):
                raise ValueError(f"permutation {permutation} does not fit rank {len(shapes[0])}")
            return tuple(shapes[0][axis] for axis in permutation)
        case Pad(amounts=amounts):
            if len(amounts) != len(shapes[0]) or min(min(pair) for pair in amounts) < 0:
                raise ValueError(f"padding {amounts} does not fit shape {shapes[0]}")
            return tuple(extent + sum(pair) for extent, pair in zip(shapes[0], amounts, strict=True))
        case Concat(axis=axis):
            return _concat(shapes, axis)
        case Slice(axis=axis, begin=begin, extent=extent):
            if not 0 <= axis < len(shapes[0]) or min(begin, extent - 1, shapes[0][axis] - begin - extent) < 0:
                raise ValueError(f"{extent} elements from {begin} along axis {axis} do not lie in shape {shapes[0]}")
            return (*shapes[0][:axis], extent, *shapes[0][axis + 1 :])
        case Resize2d(size=size):
            if min(size) < 1:
                raise ValueError(f"an image of {size} pixels does not exist")
            batch, _, _, channels = _image(shapes[0], operator)
            return (batch, *size, channels)
    return None


def windows(image: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    """Return how many windows fit vertically and horizontally; the last incomplete ones are dropped."""
    counts = []
    for axis in range(2):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        room = image[axis] + padding[axis] + padding[axis + 2] - span
        if room < 0 or stride[axis] < 1 or min(padding) < 0:
            raise ValueError(f"a window of {kernel}, stride {stride}, padding {padding} does not fit in {image}")
        counts.append(room // stride[axis] + 1)
    return counts[0], counts[1]


def same_padding(image: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
    """Return the padding that keeps ceil(extent / stride) outputs, the odd one below and right (TensorFlow's SAME)."""
    before, after = [], []
    for axis in range(2):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        total = max((-(-image[axis] // stride[axis]) - 1) * stride[axis] + span - image[axis], 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before[0], before[1], after[0], after[1]


def _convolution(operator: Conv2d | DepthwiseConv2d, x: Shape, weights: Shape) -> Shape:
    """Output shape of a convolution, with every channel count checked."""
    batch, height, width, channels = _image(x, operator)
    if len(weights) != 4:
        raise ValueError(f"{operator_name(operator)} weights have shape {weights}, expected four axes")
    rows, columns = windows((height, width), weights[1:3], operator.stride, operator.padding, operator.dilation)
    if isinstance(operator, DepthwiseConv2d):
        expected, channels_out = (1, channels * operator.multiplier), weights[3]
        found = (weights[0], weights[3])
    else:
        expected, channels_out = (operator.groups, channels), weights[0]
        found = (math.gcd(weights[0], operator.groups), weights[3] * operator.groups)
    if found != expected:
        raise ValueError(f"{operator_name(operator)} weights {weights} do not fit an input of shape {x}")
    return (batch, rows, columns, channels_out)


def _per_channel(operator: Operator, shapes: Sequence[Shape]) -> Shape:
    """Output shape of an operator with a constant or two per channel."""
    if not shapes[0] or any(shape != shapes[0][-1:] for shape in shapes[1:3]):
        raise ValueError(f"{operator_name(operator)} constants {shapes[1:3]} do not fit the last axis of {shapes[0]}")
    return shapes[0]


def _transposed(operator: TransposedConv2d, x: Shape, weights: Shape) -> Shape:
    """Output shape of a transposed convolution."""
    size = operator.size
    batch, _, _, channels = _image(x, operator)
    if len(weights) != 4 or weights[3] * operator.groups != channels or weights[0] % operator.groups:
        raise ValueError(f"transposed_conv2d weights {weights} do not fit an input of shape {x}")
    if min(*size, *operator.stride) < 1 or min(operator.crop) < 0:
        raise ValueError(f"size {size}, stride {operator.stride}, crop {operator.crop}: expected at least 1, 1 and 0")
    return (batch, *size, weights[0])


def _svdf(shapes: Sequence[Shape], rank: int) -> Shape:
    """Output shape of a filter over time."""
    x, feature, time = shapes[:3]
    fits = len(x) == len(feature) == len(time) == 2 and x[1] == feature[1] and feature[0] == time[0] and min(time) > 0
    if not fits or rank < 1 or feature[0] % rank:
        raise ValueError(f"svdf weights {feature} and {time} of rank {rank} do not fit an input of shape {x}")
    return (x[0], feature[0] // rank)


def _lstm(shapes: Sequence[Shape]) -> Shape:
    """Output shape of a long short-term memory layer."""
    x, gates, hidden, biases = shapes[0], shapes[1:5], shapes[5:9], shapes[9:13]
    units = gates[0][0]
    fits = len(x) == 3 and set(gates) == {(units, x[2])} and set(hidden) == {(units, units)}
    if not fits or (biases and set(biases) != {(units,)}):
        raise ValueError(f"lstm weights {gates} and {hidden}, biases {biases}, do not fit an input of shape {x}")
    return (*x[:2], units)


def _fully_connected(x: Shape, weights: Shape) -> Shape:
    """Output shape of x (...,K) times weights (N,K)."""
    if len(weights) != 2 or not x or x[-1] != weights[1]:
        raise ValueError(f"fully connected weights {weights} do not fit an input of shape {x}")
    return (*x[:-1], weights[0])


def _matmul(a: Shape, b: Shape) -> Shape:
    """Output shape of a (...,M,K) times b (...,K,N)."""
    if min(len(a), len(b)) < 2 or a[-1] != b[-2]:
        raise ValueError(f"a matrix product of shapes {a} and {b} does not exist")
    return (*_broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def _broadcast(a: Shape, b: Shape) -> Shape:
    """Numpy's broadcasting rule, without making arrays."""
    rank = max(len(a), len(b))
    pairs = list(zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True))
    if any(m != n and 1 not in (m, n) for m, n in pairs):
        raise ValueError(f"shapes {a} and {b} do not broadcast")
    return tuple(n if m == 1 else m for m, n in pairs)


def _mean(x: Shape, axes: tuple[int, ...], keep_dims: bool) -> Shape:
    """Output shape of a mean over axes."""
    if not set(axes) <= set(range(len(x))):
        raise ValueError(f"axes {axes} do not exist in shape {x}")
    if keep_dims:
        return tuple(1 if axis in axes else extent for axis, extent in enumerate(x))
    return tuple(extent for axis, extent in enumerate(x) if axis not in axes)


def _concat(shapes: Sequence[Shape], axis: int) -> Shape:
    """Output shape of a concatenation."""
    first = shapes[0]
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len({len(shape) for shape in shapes}) != 1 or len(rest) != 1 or not 0 <= axis < len(first):
        raise ValueError(f"shapes {', '.join(map(str, shapes))} do not concatenate along axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def _image(shape: Shape, operator: Operator) -> tuple[int, int, int, int]:
    """Read a shape as (batch, height, width, channel)."""
    if len(shape) != 4:
        raise ValueError(f"{operator_name(operator)} has an input of shape {shape}, expected four axes")
    batch, height, width, channels = shape
    return batch, height, width, channels
