"""Kernel specifications: the shapes a code generator needs, and nothing of weights or quantisation values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.codegen.specs_images import ResizeSpec, TransposedSpec
from workloads.codegen.specs_rows import LayerNormSpec, LstmSpec, SvdfSpec
from workloads.operators import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Function,
    LayerNorm,
    Lstm,
    MatMul,
    Mean,
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
)

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.tensor import Tensor


@dataclass(frozen=True)
class ConvSpec:
    """Convolution of int8 (N,H,W,C); ``depthwise`` has channels_out = channels * multiplier and one group a channel."""

    batch: int
    height: int
    width: int
    channels: int
    height_out: int
    width_out: int
    channels_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)  # rows above, columns left; the rest follows from the output size
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    depthwise: bool = False

    @property
    def macs(self) -> int:
        """Multiply-accumulates. [MAC]"""
        per_output = math.prod(self.kernel) * (1 if self.depthwise else self.channels // self.groups)
        return self.batch * self.height_out * self.width_out * self.channels_out * per_output

    @property
    def padded_height(self) -> int:
        """Rows of the padded image that the windows touch."""
        return (self.height_out - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1

    @property
    def padded_width(self) -> int:
        """Columns of the padded image that the windows touch."""
        return (self.width_out - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1


@dataclass(frozen=True)
class MatrixSpec:
    """Matrix product or fully connected layer: (rows, depth) by (columns, depth), ``batch`` times."""

    rows: int
    depth: int
    columns: int
    batch: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates. [MAC]"""
        return self.batch * self.rows * self.depth * self.columns


@dataclass(frozen=True)
class MatMulSpec:
    """Product of two activations: (rows, depth) by (depth, columns), ``batch`` times."""

    rows: int
    depth: int
    columns: int
    batch: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates. [MAC]"""
        return self.batch * self.rows * self.depth * self.columns


@dataclass(frozen=True)
class PoolSpec:
    """Average or maximum pooling of int8 (N,H,W,C).

    Parameters
    ----------
    count_padding
        Positions outside the image count in the average, as zeros.
    mean
        The operator is a mean over the image: one requantisation instead of a division and a requantisation.
    rescale
        The output has another quantisation than the input, so that pooled values are requantised.
    """

    kind: str
    batch: int
    height: int
    width: int
    channels: int
    height_out: int
    width_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    count_padding: bool = False
    mean: bool = False
    rescale: bool = False


@dataclass(frozen=True)
class ElementwiseSpec:
    """``kind`` ("add", "sub", "mul", "requantize", "clamp") over ``elements``; the second operand has ``period``."""

    kind: str
    elements: int
    period: int


@dataclass(frozen=True)
class CopySpec:
    """A straight copy of ``elements`` bytes in runs of ``run`` contiguous bytes."""

    elements: int
    run: int


@dataclass(frozen=True)
class MoveSpec:
    """Data movement with its true strides.

    Parameters
    ----------
    kind
        "pad", "concat", "transpose", "slice", "nearest" (neighbours, by whole factors), "resample" (neighbours, by any
        factors) or "spread" (images with the zero point between their pixels).
    shapes
        Of the inputs, in elements of one byte.
    argument
        Amounts (before, after) per axis; the axis; the permutation; the axis, begin and extent; repeats of rows and of
        columns; the row and the column that each output row and column shows; distances of rows and of columns.
    """

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    argument: tuple[Any, ...]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Extents of the output."""
        shape = self.shapes[0]
        match self.kind:
            case "pad":
                return tuple(size + sum(amounts) for size, amounts in zip(shape, self.argument, strict=True))
            case "concat":
                axis = self.argument[0]
                return (*shape[:axis], sum(part[axis] for part in self.shapes), *shape[axis + 1 :])
            case "transpose":
                return tuple(shape[axis] for axis in self.argument)
            case "slice":
                axis, _, extent = self.argument
                return (*shape[:axis], extent, *shape[axis + 1 :])
            case "resample":
                return (shape[0], len(self.argument[0]), len(self.argument[1]), shape[3])
            case "spread":
                rows, columns = ((size - 1) * step + 1 for size, step in zip(shape[1:3], self.argument, strict=True))
                return (shape[0], rows, columns, shape[3])
        rows, columns = self.argument
        return (shape[0], shape[1] * rows, shape[2] * columns, shape[3])


@dataclass(frozen=True)
class ConcatSpec:
    """Concatenation along ``axis``; ``rescaled`` inputs are brought to the output's quantisation."""

    shapes: tuple[tuple[int, ...], ...]
    axis: int
    rescaled: tuple[bool, ...]

    @property
    def moved(self) -> MoveSpec:
        """The same without requantisation."""
        return MoveSpec("concat", self.shapes, (self.axis,))


@dataclass(frozen=True)
class SoftmaxSpec:
    """Softmax over rows of ``columns`` elements."""

    rows: int
    columns: int


@dataclass(frozen=True)
class LookupSpec:
    """A function of one value: each of ``elements`` bytes picks its result from a table of 256."""

    elements: int


Spec = (
    ConvSpec
    | MatrixSpec
    | MatMulSpec
    | PoolSpec
    | ElementwiseSpec
    | CopySpec
    | MoveSpec
    | ConcatSpec
    | TransposedSpec
    | ResizeSpec
    | SoftmaxSpec
    | LookupSpec
    | LayerNormSpec
    | SvdfSpec
    | LstmSpec
)


def specify(graph: Graph, layer: Layer) -> Spec | None:
    """Return the kernel a layer needs; None for layers that move nothing (reshape).

    Raises
    ------
    NotImplementedError
        No kernel is known for the operator; the message names it.
    """
    x, y = graph[layer.inputs[0]], graph[layer.outputs[0]]
    if "int16" in (x.dtype, y.dtype):
        raise NotImplementedError(f"layer {layer.name!r}: no kernel is generated for 16-bit {layer.op!r}")
    match layer.operator:
        case Conv2d() | DepthwiseConv2d() | TransposedConv2d():
            return _convolution(graph, layer, layer.operator)
        case FullyConnected():
            columns, depth = graph[layer.inputs[1]].shape
            return MatrixSpec(y.elements // columns, depth, columns)
        case MatMul():
            return _product(x.shape, graph[layer.inputs[1]].shape)
        case Pool2d(kind=kind, kernel=kernel, stride=stride, padding=padding, count_padding=counted):
            (batch, height, width, channels), (_, height_out, width_out, _) = _image(x.shape), _image(y.shape)
            return PoolSpec(
                kind, batch, height, width, channels, height_out, width_out, kernel, stride, padding[:2],
                counted and kind == "average",
                rescale=_rescales(x, y),
            )  # fmt: skip
        case Mean(axes=(1, 2)) if len(x.shape) == 4:
            batch, height, width, channels = _image(x.shape)
            return PoolSpec("average", batch, height, width, channels, 1, 1, (height, width), (1, 1), mean=True)
        case Add() | Sub() | Mul():
            other = graph[layer.inputs[1]]
            return ElementwiseSpec(layer.op, y.elements, min(x.elements, other.elements))
        case Activation():
            return ElementwiseSpec("requantize" if _rescales(x, y) else "clamp", y.elements, y.elements)
        case Quantize():
            return ElementwiseSpec("requantize", y.elements, y.elements)
        case Softmax():
            return SoftmaxSpec(y.elements // y.shape[-1], y.shape[-1])
        case LayerNorm() | Svdf() | Lstm():
            return _by_rows(graph, layer)
        case function if isinstance(function, Function):
            return LookupSpec(y.elements)
        case Pad() | Concat() | Transpose() | Resize2d() | Slice():
            if (found := _movement(graph, layer)) is not None:
                return found
        case Reshape():
            return None
    raise NotImplementedError(f"layer {layer.name!r}: no kernel is generated for operator {layer.op!r}")


def _convolution(
    graph: Graph, layer: Layer, operator: Conv2d | DepthwiseConv2d | TransposedConv2d
) -> ConvSpec | TransposedSpec:
    """Return a convolution of any kind."""
    (batch, height, width, channels), (_, height_out, width_out, channels_out) = (
        _image(graph[name].shape) for name in (layer.inputs[0], layer.outputs[0])
    )
    sizes = (batch, height, width, channels, height_out, width_out, channels_out)
    kernel = (graph[layer.inputs[1]].shape[1], graph[layer.inputs[1]].shape[2])
    if isinstance(operator, TransposedConv2d):
        return TransposedSpec(*sizes, kernel, operator.stride, operator.crop, operator.groups)
    depthwise = isinstance(operator, DepthwiseConv2d)
    groups = operator.groups if isinstance(operator, Conv2d) else 1
    return ConvSpec(
        *sizes, kernel, operator.stride, operator.padding[:2], operator.dilation, groups, depthwise=depthwise
    )


def _by_rows(graph: Graph, layer: Layer) -> LayerNormSpec | SvdfSpec | LstmSpec:
    """Return the kernel of a normalisation, or of a layer with a state."""
    x, weights = graph[layer.inputs[0]], graph[layer.inputs[1]]
    match layer.operator:
        case Svdf(rank=rank, state_dtype=kind):
            time = graph[layer.inputs[2]]
            sizes = (np.dtype(name).itemsize for name in (kind, time.dtype))
            return SvdfSpec(x.shape[0], x.shape[1], weights.shape[0] // rank, rank, time.shape[1], *sizes)
        case Lstm(time_major=time_major, cell_scale=scale):
            batch, steps = x.shape[1::-1] if time_major else x.shape[:2]
            return LstmSpec(steps, batch, x.shape[2], weights.shape[0], round(math.log2(scale)), time_major)
    return LayerNormSpec(x.elements // x.shape[-1], x.shape[-1])


def _product(a: tuple[int, ...], b: tuple[int, ...]) -> MatMulSpec:
    """Return the product of (..., rows, depth) by (..., depth, columns); a second one without batch serves all rows.

    Raises
    ------
    NotImplementedError
        The leading axes broadcast in another way.
    """
    batch, batches = math.prod(a[:-2]), math.prod(b[:-2])
    if batches == 1:
        return MatMulSpec(batch * a[-2], a[-1], b[-1])
    if [size for size in a[:-2] if size != 1] != [size for size in b[:-2] if size != 1]:
        raise NotImplementedError(f"no kernel is generated for a product of shapes {a} and {b}, which broadcast")
    return MatMulSpec(a[-2], a[-1], b[-1], batch)


def _movement(graph: Graph, layer: Layer) -> MoveSpec | ConcatSpec | ResizeSpec | None:
    """Return the data movement of a layer; None when its places follow no strides."""
    x, y = graph[layer.inputs[0]], graph[layer.outputs[0]]
    match layer.operator:
        case Pad(amounts=amounts):
            return MoveSpec("pad", (x.shape,), amounts)
        case Concat(axis=axis):
            inputs = [graph[name] for name in layer.inputs]
            joined = ConcatSpec(
                tuple(one.shape for one in inputs), axis % len(y.shape), tuple(_rescales(one, y) for one in inputs)
            )
            return joined if any(joined.rescaled) else joined.moved
        case Transpose(permutation=permutation):
            return MoveSpec("transpose", (x.shape,), permutation)
        case Slice(axis=axis, begin=begin, extent=extent):
            return MoveSpec("slice", (x.shape,), (axis % len(x.shape), begin, extent))
        case Resize2d(kind="nearest") as resize if len(x.shape) == 4:
            return _neighbors(x.shape, resize)
        case Resize2d(align_corners=corners, half_pixel_centers=centers) as resize:
            return ResizeSpec(*_image(x.shape), *resize.size, corners, centers)
    return None


def _neighbors(shape: tuple[int, ...], resize: Resize2d) -> MoveSpec:
    """Return how pixels go to their places: each row and column as often as all others, or the ones that are shown."""
    from workloads.kernels.resize import nearest_index

    sizes = tuple(zip(resize.size, shape[1:3], strict=True))
    shown = tuple(tuple(nearest_index(extent, wanted, resize).tolist()) for wanted, extent in sizes)
    factors = tuple(max(1, wanted // extent) for wanted, extent in sizes)
    repeated = (
        tuple(place // factor for place in range(extent * factor))
        for (_, extent), factor in zip(sizes, factors, strict=True)
    )
    if shown == tuple(repeated):
        return MoveSpec("nearest", (shape,), factors)
    return MoveSpec("resample", (shape,), shown)


def _rescales(x: Tensor, y: Tensor) -> bool:
    """Whether two quantised tensors differ in scale or zero point."""
    first, second = x.quantization, y.quantization
    if first is None or second is None:
        return False
    pairs = ((first.scale, second.scale), (first.zero_point, second.zero_point))
    return not all(np.array_equal(np.ravel(a), np.ravel(b)) for a, b in pairs)


def _image(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Read a shape as (batch, height, width, channels)."""
    batch, height, width, channels = shape
    return batch, height, width, channels
