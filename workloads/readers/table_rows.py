"""The layers that rows of a layer table stand for."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from workloads.operators import (
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Dequantize,
    FullyConnected,
    Gelu,
    HardSwish,
    LeakyRelu,
    Logistic,
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
    Reshape,
    Resize2d,
    Softmax,
    Sub,
    Tanh,
    Transpose,
    Unmodelled,
)
from workloads.shapes import infer, windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.readers.table_wiring import TableRow, Wiring
    from workloads.shapes import Shape

# With static shapes these only compute the target of a reshape, a constant that compilers store: no work at run time.
SHAPE_ARITHMETIC = {"SHAPE", "STRIDED_SLICE", "PACK"}


def add_row(wiring: Wiring, row: TableRow) -> None:
    """Add the layer or layers of one row.

    Raises
    ------
    ValueError
        The shapes contradict each other or the counts.
    """
    if row.op in SHAPE_ARITHMETIC and row.dtype == "int32" and math.prod(row.output_shape) <= 8:
        return
    if row.op in OPERATORS:
        OPERATORS[row.op](wiring, row)
    else:
        x = wiring.find(row.input_shape, row.dtype) or wiring.weights(row.input_shape, row.dtype)
        wiring.add(Unmodelled(row.op), [x], row.output_shape, row.dtype)


def _conv(wiring: Wiring, row: TableRow) -> None:
    """Convolution, weights (O,KH,KW,C/groups)."""
    kernel, stride = _window(row)
    if len(row.weight_shape) != 4 or row.input_shape[3] % row.weight_shape[3]:
        raise ValueError(f"weights {row.weight_shape} do not fit an input of shape {row.input_shape}")
    if (row.weight_shape[0], row.weight_shape[1:3]) != (row.output_shape[3], kernel):
        raise ValueError(f"weights {row.weight_shape} do not fit kernel {kernel} and output {row.output_shape}")
    groups = row.input_shape[3] // row.weight_shape[3]
    _product(wiring, row, Conv2d(stride, _padding(row, kernel, stride), groups=groups), row.output_shape[3])


def _depthwise(wiring: Wiring, row: TableRow) -> None:
    """Depthwise convolution, weights (1,KH,KW,C*multiplier)."""
    kernel, stride = _window(row)
    multiplier, rest = divmod(row.output_shape[3], row.input_shape[3])
    if rest or row.weight_shape != (1, *kernel, row.output_shape[3]):
        raise ValueError(f"weights {row.weight_shape} do not fit kernel {kernel} and output {row.output_shape}")
    operator = DepthwiseConv2d(stride, _padding(row, kernel, stride), multiplier=multiplier)
    _product(wiring, row, operator, row.output_shape[3])


def _fully_connected(wiring: Wiring, row: TableRow) -> None:
    """Fully connected layer, weights (N,K); the input is flattened to rows of K."""
    if len(row.weight_shape) != 2 or math.prod(row.input_shape) % row.weight_shape[1]:
        raise ValueError(f"weights {row.weight_shape} do not fit an input of shape {row.input_shape}")
    if row.output_shape[-1] != row.weight_shape[0]:
        raise ValueError(f"weights {row.weight_shape} do not fit an output of shape {row.output_shape}")
    _product(wiring, row, FullyConnected(), row.weight_shape[0])


def _product(wiring: Wiring, row: TableRow, operator: Operator, channels: int) -> None:
    """Add a layer with weights; what the params column has beyond them is the bias."""
    bias = row.params - math.prod(row.weight_shape)
    if bias not in {0, channels}:
        raise ValueError(f"the params column says {row.params}; weights and bias give {row.params - bias + channels}")
    x = wiring.source(row.input_shape, row.dtype)
    if isinstance(operator, FullyConnected) and row.input_shape[-1] != row.weight_shape[1]:
        flat = (math.prod(row.input_shape) // row.weight_shape[1], row.weight_shape[1])
        x = wiring.reshaped(x, flat)
    inputs = [x, wiring.weights(row.weight_shape, row.dtype), *wiring.biases(bias, row.dtype)]
    wiring.add(operator, inputs, row.output_shape, row.dtype)


def _binary(operator: Add | Sub | Mul) -> Callable[[Wiring, TableRow], None]:
    """Sum or product of two activations; of an activation and a constant when no second activation fits."""

    def add(wiring: Wiring, row: TableRow) -> None:
        first = wiring.source(row.input_shape, row.dtype)
        second = wiring.second(first, row.output_shape) or wiring.weights((row.output_shape[-1],), row.dtype)
        wiring.add(operator, [first, second], row.output_shape, row.dtype)

    return add


def _with_constant(operator: Minimum | Maximum | Prelu) -> Callable[[Wiring, TableRow], None]:
    """Operators whose second operand is a constant: bounds of a clamp, slopes per channel."""

    def add(wiring: Wiring, row: TableRow) -> None:
        count = row.output_shape[-1] if isinstance(operator, Prelu) else 1
        x = wiring.source(row.input_shape, row.dtype)
        wiring.add(operator, [x, wiring.weights((count,), row.dtype)], row.output_shape, row.dtype)

    return add


def _tile(wiring: Wiring, row: TableRow) -> None:
    """Repetition along one axis, or a copy: the input concatenated with itself."""
    times = [after // before for before, after in zip(row.input_shape, row.output_shape, strict=True)]
    axis = max(range(len(times)), key=lambda place: (times[place], place))
    tiled = (*row.input_shape[:axis], row.input_shape[axis] * times[axis], *row.input_shape[axis + 1 :])
    if tiled != row.output_shape:
        raise ValueError(f"shape {row.input_shape} cannot be repeated along one axis to {row.output_shape}")
    x = wiring.source(row.input_shape, row.dtype)
    wiring.add(Concat(axis), [x] * times[axis], row.output_shape, row.dtype)


def _resize(kind: str) -> Callable[[Wiring, TableRow], None]:
    """Resizing of an image, with TensorFlow's later choice of pixel centres."""

    def add(wiring: Wiring, row: TableRow) -> None:
        operator = Resize2d(kind, (row.output_shape[1], row.output_shape[2]), half_pixel_centers=True)
        if infer(operator, [row.input_shape]) != row.output_shape:
            raise ValueError(f"shape {row.input_shape} cannot be resized to {row.output_shape}")
        wiring.add(operator, [wiring.source(row.input_shape, row.dtype)], row.output_shape, row.dtype)

    return add


def _pool(kind: str) -> Callable[[Wiring, TableRow], None]:
    """Pooling; a window without padding where the kernel column is empty."""

    def add(wiring: Wiring, row: TableRow) -> None:
        kernel, stride = _window(row)
        operator = Pool2d(kind, kernel, stride, _padding(row, kernel, stride))
        wiring.add(operator, [wiring.source(row.input_shape, row.dtype)], row.output_shape, row.dtype)

    return add


def _mean(wiring: Wiring, row: TableRow) -> None:
    """Mean over the image where the shapes allow it, else over the fewest last axes that fit."""
    rank = len(row.input_shape)
    fewest = [axes for size in range(1, rank + 1) for axes in itertools.combinations(reversed(range(rank)), size)]
    for axes in ((1, 2), *(tuple(sorted(each)) for each in fewest)):
        for keep in (False, True):
            operator = Mean(axes, keep)
            if max(axes) < rank and infer(operator, [row.input_shape]) == row.output_shape:
                x = wiring.source(row.input_shape, row.dtype)
                wiring.add(operator, [x], row.output_shape, row.dtype)
                return
    raise ValueError(f"no mean takes shape {row.input_shape} to {row.output_shape}")


def _reduce_max(wiring: Wiring, row: TableRow) -> None:
    """Maximum over the image: a pool with a window of the whole image."""
    window = _over_image(row)
    x = wiring.source(row.input_shape, row.dtype)
    shape = (row.input_shape[0], 1, 1, row.input_shape[3])
    pooled = wiring.add(Pool2d("max", window, window), [x], shape, row.dtype)
    if row.output_shape != shape:
        wiring.waiting.append(wiring.reshaped(wiring.waiting.pop(wiring.waiting.index(pooled)), row.output_shape))


def _concat(wiring: Wiring, row: TableRow) -> None:
    """Concatenation of the first input with the latest unread outputs, and a constant for what they leave open."""
    axes = [axis for axis, pair in enumerate(zip(row.input_shape, row.output_shape, strict=True)) if len(set(pair)) > 1]
    if len(axes) != 1:
        raise ValueError(f"shapes {row.input_shape} and {row.output_shape} differ along {len(axes)} axes, expected one")
    axis = axes[0]
    inputs = [wiring.source(row.input_shape, row.dtype)]
    missing = row.output_shape[axis] - row.input_shape[axis]
    for name in reversed(wiring.waiting.copy()):
        shape = wiring.builder.tensors[name].shape
        same = len(shape) == len(row.output_shape) and all(
            each == axis or shape[each] == row.output_shape[each] for each in range(len(shape))
        )
        if same and shape[axis] <= missing:
            wiring.waiting.remove(name)
            inputs.append(name)
            missing -= shape[axis]
    if missing < 0:
        raise ValueError(f"shape {row.input_shape} is larger than {row.output_shape}")
    if missing:
        rest = (*row.output_shape[:axis], missing, *row.output_shape[axis + 1 :])
        inputs.append(wiring.weights(rest, row.dtype))
    wiring.add(Concat(axis), inputs, row.output_shape, row.dtype)


def _pad(wiring: Wiring, row: TableRow) -> None:
    """Pad; the table does not say where, so the odd one goes behind."""
    amounts = []
    for before, after in zip(row.input_shape, row.output_shape, strict=True):
        if after < before:
            raise ValueError(f"shape {row.input_shape} cannot be padded to {row.output_shape}")
        amounts.append(((after - before) // 2, after - before - (after - before) // 2))
    wiring.add(Pad(tuple(amounts)), [wiring.source(row.input_shape, row.dtype)], row.output_shape, row.dtype)


def _reshape(wiring: Wiring, row: TableRow) -> None:
    """Reshape: the same elements under another shape."""
    if math.prod(row.input_shape) != math.prod(row.output_shape):
        raise ValueError(f"shape {row.input_shape} cannot become {row.output_shape}")
    wiring.add(Reshape(), [wiring.source(row.input_shape, row.dtype)], row.output_shape, row.dtype)


def _transpose(wiring: Wiring, row: TableRow) -> None:
    """Permutation of axes: the first that fits the shapes."""
    rank = len(row.input_shape)
    for permutation in itertools.permutations(range(rank)):
        if tuple(row.input_shape[axis] for axis in permutation) == row.output_shape:
            x = wiring.source(row.input_shape, row.dtype)
            wiring.add(Transpose(permutation), [x], row.output_shape, row.dtype)
            return
    raise ValueError(f"shape {row.input_shape} cannot be transposed to {row.output_shape}")


def _unary(operator: Operator) -> Callable[[Wiring, TableRow], None]:
    """One input and one output of one shape."""

    def add(wiring: Wiring, row: TableRow) -> None:
        if row.input_shape != row.output_shape:
            raise ValueError(f"shapes {row.input_shape} and {row.output_shape} differ")
        before = "int8" if isinstance(operator, Dequantize) else row.dtype
        wiring.add(operator, [wiring.source(row.input_shape, before)], row.output_shape, row.dtype)

    return add


def _window(row: TableRow) -> tuple[Pair, Pair]:
    """Return kernel and stride; a pool without them takes the least windows that together cover the image."""
    if len(row.input_shape) != 4 or len(row.output_shape) != 4:
        raise ValueError(f"shapes {row.input_shape} and {row.output_shape}, expected four axes")
    if not row.kernel and not row.weight_shape and not row.stride:
        return _covering(row.input_shape[1:3], row.output_shape[1:3])
    kernel = row.kernel or row.weight_shape[1:3] or row.input_shape[1:3]
    stride = row.stride or (1, 1)
    if len(kernel) != 2 or len(stride) != 2:
        raise ValueError(f"kernel {kernel} and stride {stride}, expected two extents each")
    return (kernel[0], kernel[1]), (stride[0], stride[1])


def _covering(image: Shape, outputs: Shape) -> tuple[Pair, Pair]:
    """Return kernel and stride of the least windows, without padding, that cover an image."""
    strides = [max(1, size // count) for size, count in zip(image, outputs, strict=True)]
    kernel = [size - (count - 1) * step for size, count, step in zip(image, outputs, strides, strict=True)]
    if min(kernel) < 1:
        raise ValueError(f"{outputs[0]} x {outputs[1]} windows do not fit an image of {image[0]} x {image[1]}")
    return (kernel[0], kernel[1]), (strides[0], strides[1])


def _padding(row: TableRow, kernel: Pair, stride: Pair) -> Padding:
    """Return the padding that gives the output extents, the odd one below and right."""
    total = [
        max((row.output_shape[axis + 1] - 1) * stride[axis] + kernel[axis] - row.input_shape[axis + 1], 0)
        for axis in range(2)
    ]
    before, after = [extent // 2 for extent in total], [extent - extent // 2 for extent in total]
    padding = (before[0], before[1], after[0], after[1])
    image = (row.input_shape[1], row.input_shape[2])
    fits = all(extent < size for extent, size in zip(total, kernel, strict=True))
    if not fits or windows(image, kernel, stride, padding, (1, 1)) != row.output_shape[1:3]:
        raise ValueError(f"kernel {kernel} with stride {stride} does not take {row.input_shape} to {row.output_shape}")
    return padding


def _over_image(row: TableRow) -> Pair:
    """Return height and width of a row that reduces the image."""
    shape = row.input_shape
    if len(shape) != 4 or row.output_shape not in {(shape[0], shape[3]), (shape[0], 1, 1, shape[3])}:
        raise ValueError(f"shape {shape} does not become {row.output_shape} by reducing the image")
    return shape[1], shape[2]


OPERATORS: dict[str, Callable[[Wiring, TableRow], None]] = {
    "ADD": _binary(Add()),
    "AVERAGE_POOL_2D": _pool("average"),
    "CONCATENATION": _concat,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _unary(Dequantize()),
    "FULLY_CONNECTED": _fully_connected,
    "GELU": _unary(Gelu()),
    "HARD_SWISH": _unary(HardSwish()),
    "LEAKY_RELU": _unary(LeakyRelu()),
    "LOGISTIC": _unary(Logistic()),
    "MAXIMUM": _with_constant(Maximum()),
    "MAX_POOL_2D": _pool("max"),
    "MEAN": _mean,
    "MINIMUM": _with_constant(Minimum()),
    "MUL": _binary(Mul()),
    "PAD": _pad,
    "PRELU": _with_constant(Prelu()),
    "QUANTIZE": _unary(Quantize()),
    "REDUCE_MAX": _reduce_max,
    "RELU": _unary(Activation(Clamp(low=0.0))),
    "RELU6": _unary(Activation(Clamp(0.0, 6.0))),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize("bilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "SOFTMAX": _unary(Softmax()),
    "SUB": _binary(Sub()),
    "TANH": _unary(Tanh()),
    "TILE": _tile,
    "TRANSPOSE": _transpose,
}
