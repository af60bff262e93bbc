"""One converter per .tflite operator: it checks the operator and adds the layer, or raises ValueError."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import (
    NO_CLAMP,
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
    Logistic,
    MatMul,
    Maximum,
    Mean,
    Minimum,
    Mul,
    Pad,
    Pool2d,
    Quantize,
    Reshape,
    Softmax,
    Sub,
    Tanh,
    Transpose,
)
from workloads.readers.limits import check_shape
from workloads.readers.tflite_context import (
    Context,
    check_arithmetic,
    check_same_quantization,
    check_weights,
    expect,
)
from workloads.readers.tflite_images import clamp_of, options_of, resize2d, transposed_conv2d
from workloads.readers.tflite_recurrent import lstm, svdf
from workloads.shapes import same_padding, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.operators import Padding, Pair
    from workloads.readers.tflite_file import RawOperator

MAX_WINDOW = 4096  # rows or columns that a filter spans; absurd ones would fill the memory with padding
PADDINGS = ("SAME", "VALID")
INTEGERS = ("int8", "uint8", "int16")


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 4:
        raise ValueError(f"input of shape {list(shape)}, expected four axes")
    return shape


def _geometry(image: tuple[int, ...], size: Pair, operator: RawOperator) -> tuple[Pair, Pair, Padding]:
    """Return stride, dilation and explicit padding of a sliding window."""
    options = options_of(operator)
    stride = (options["StrideH"], options["StrideW"])
    dilation = (options.get("DilationHFactor", 1), options.get("DilationWFactor", 1))
    spans = [(extent - 1) * step + 1 for extent, step in zip(size, dilation, strict=True)]
    if min(*stride, *dilation, *size) < 1 or max(spans) > MAX_WINDOW:
        raise ValueError(
            f"window {size}, stride {stride}, dilation {dilation}: expected whole numbers from 1 and a window that "
            f"spans at most {MAX_WINDOW}"
        )
    if options["Padding"] not in (0, 1):
        raise ValueError(f"padding {options['Padding']}, expected 0 (SAME) or 1 (VALID)")
    height, width = image[1:3]
    valid = PADDINGS[options["Padding"]] == "VALID"
    padding = (0, 0, 0, 0) if valid else same_padding((height, width), size, stride, dilation)
    top, left, bottom, right = padding
    check_shape("padded image", (image[0], height + top + bottom, width + left + right, image[3]))
    windows((height, width), size, stride, padding, dilation)
    return stride, dilation, padding


def _conv2d(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 2, 3)
    integer = check_arithmetic(context, operator, 1)
    check_weights(context, operator, 0, integer=integer)
    image, filters = _image(context.tensor(operator, 0).shape), context.tensor(operator, 1).shape
    if len(filters) != 4 or not filters[3] or image[-1] % filters[3]:
        raise ValueError(f"weights {list(filters)} do not fit an input of shape {list(image)}")
    stride, dilation, padding = _geometry(image, (filters[1], filters[2]), operator)
    record = Conv2d(stride, padding, dilation, image[3] // filters[3], clamp_of(operator))
    context.emit(operator, record, [context.value(operator, i) for i in range(len(operator.inputs))])


def _depthwise_conv2d(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 2, 3)
    integer = check_arithmetic(context, operator, 1)
    check_weights(context, operator, 3, integer=integer)
    image, filters = _image(context.tensor(operator, 0).shape), context.tensor(operator, 1).shape
    if len(filters) != 4 or filters[3] % image[-1]:
        raise ValueError(f"weights {list(filters)} do not fit an input of shape {list(image)}")
    stride, dilation, padding = _geometry(image, (filters[1], filters[2]), operator)
    record = DepthwiseConv2d(stride, padding, dilation, filters[3] // image[3], clamp_of(operator))
    context.emit(operator, record, [context.value(operator, i) for i in range(len(operator.inputs))])


def _fully_connected(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 2, 3)
    if options_of(operator)["WeightsFormat"] != 0:
        raise ValueError("shuffled weights are not supported")
    integer = check_arithmetic(context, operator, 1)
    check_weights(context, operator, 0, integer=integer)
    x, weights = context.tensor(operator, 0), context.tensor(operator, 1)
    if len(weights.shape) != 2 or x.elements % weights.shape[1]:
        raise ValueError(f"weights {list(weights.shape)} do not fit an input of shape {list(x.shape)}")
    source = context.value(operator, 0)
    if not options_of(operator)["KeepNumDims"] and (len(x.shape) != 2 or x.shape[1] != weights.shape[1]):
        source = context.insert(Reshape(), source, (x.elements // weights.shape[1], weights.shape[1]))
    constants = [context.value(operator, i) for i in range(1, len(operator.inputs))]
    context.emit(operator, FullyConnected(clamp_of(operator)), [source, *constants])


def _matmul(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 2, 2)
    check_arithmetic(context, operator, 2)
    inputs = []
    for position, option in enumerate(("AdjX", "AdjY")):
        name, rank = context.value(operator, position), len(context.tensor(operator, position).shape)
        if options_of(operator)[option] and rank >= 2:
            name = context.insert(Transpose((*range(rank - 2), rank - 1, rank - 2)), name)
        inputs.append(name)
    context.emit(operator, MatMul(), inputs)


def _elementwise(record: type[Add | Sub | Mul]) -> Callable[[Context, RawOperator], None]:
    def convert(context: Context, operator: RawOperator) -> None:
        operator = expect(operator, 2, 2)
        check_arithmetic(context, operator, 2)
        _check_general_scales(context, operator)
        context.emit(operator, record(clamp_of(operator)), [context.value(operator, 0), context.value(operator, 1)])

    return convert


def _check_general_scales(context: Context, operator: RawOperator) -> None:
    """Refuse the 16-bit sums of old files, which only shift because all their scales are powers of two."""
    tensors = [context.tensor(operator, 0), context.tensor(operator, 1), context.tensors[operator.outputs[0]]]
    if tensors[0].dtype != "int16" or not options_of(operator).get("PotScaleInt16", False):
        return
    scales = [float(tensor.quantization.scale[0]) for tensor in tensors if tensor.quantization is not None]
    if all(math.frexp(scale)[0] == 0.5 for scale in scales):
        raise ValueError("a 16-bit sum by shifts alone (pot_scale_int16) is not supported; convert the model again")


def _extremum(record: type[Minimum | Maximum]) -> Callable[[Context, RawOperator], None]:
    def convert(context: Context, operator: RawOperator) -> None:
        operator = expect(operator, 2, 2)
        check_arithmetic(context, operator, 2)
        for position in range(2):
            check_same_quantization(context, operator, position)
        context.emit(operator, record(), [context.value(operator, 0), context.value(operator, 1)])

    return convert


def _function(record: Logistic | Tanh | HardSwish) -> Callable[[Context, RawOperator], None]:
    def convert(context: Context, operator: RawOperator) -> None:
        operator = expect(operator, 1, 1)
        _check_function(context, operator, record)
        context.emit(operator, record, [context.value(operator, 0)])

    return convert


def _gelu(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 1, 1)
    record = Gelu(bool(options_of(operator)["Approximate"]))
    _check_function(context, operator, record)
    context.emit(operator, record, [context.value(operator, 0)])


def _check_function(context: Context, operator: RawOperator, record: Logistic | Tanh | HardSwish | Gelu) -> None:
    """Check the element type of a nonlinear function, and the output scale where the format fixes it."""
    check_arithmetic(context, operator, 1)
    output = context.tensors[operator.outputs[0]]
    if output.dtype != "int16" or output.quantization is None:
        return
    if not isinstance(record, Logistic | Tanh):
        raise ValueError("16-bit hard-swish and GELU are not supported; expected float32, int8 or uint8")
    if float(output.quantization.scale[0]) != 2.0**-15:
        raise ValueError(f"output scale {float(output.quantization.scale[0])!r}, expected 1/32768")


def _pool2d(kind: str) -> Callable[[Context, RawOperator], None]:
    def convert(context: Context, operator: RawOperator) -> None:
        operator = expect(operator, 1, 1)
        check_arithmetic(context, operator, 1)
        check_same_quantization(context, operator)
        size = (options_of(operator)["FilterHeight"], options_of(operator)["FilterWidth"])
        stride, _, padding = _geometry(_image(context.tensor(operator, 0).shape), size, operator)
        record = Pool2d(kind, size, stride, padding, activation=clamp_of(operator))
        context.emit(operator, record, [context.value(operator, 0)])

    return convert


def _mean(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 2, 2)
    check_arithmetic(context, operator, 1)
    rank = len(context.tensor(operator, 0).shape)
    axes = {_axis(int(axis), rank) for axis in context.parameter(operator, 1).ravel()}
    record = Mean(tuple(sorted(axes)), bool(options_of(operator)["KeepDims"]))
    context.emit(operator, record, [context.value(operator, 0)])


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} does not exist in a tensor of {rank} axes")
    return axis % rank


def _softmax(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 1, 1)
    beta = float(options_of(operator)["Beta"])
    if not (math.isfinite(beta) and beta > 0) or not context.tensor(operator, 0).shape:
        raise ValueError(f"beta {beta!r} must be a positive number and the input must have an axis")
    output = context.tensors[operator.outputs[0]]
    if check_arithmetic(context, operator, 1) and output.quantization is not None:
        limits = np.iinfo(output.dtype)
        found = (float(output.quantization.scale[0]), int(output.quantization.zero_point[0]))
        expected = (2.0**-15, 0) if output.dtype == "int16" else (2.0**-limits.bits, int(limits.min))
        if found != expected:
            raise ValueError(f"contradictory quantisation: output (scale, zero point) {found}, expected {expected}")
    context.emit(operator, Softmax(beta), [context.value(operator, 0)])


def _moved(context: Context, operator: RawOperator, record: Reshape | Transpose | Pad) -> None:
    check_same_quantization(context, operator)
    context.emit(operator, record, [context.value(operator, 0)])


def _reshape(context: Context, operator: RawOperator) -> None:
    _moved(context, expect(operator, 1, 2), Reshape())


def _transpose(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 2, 2)
    permutation = tuple(int(axis) for axis in context.parameter(operator, 1).ravel())
    _moved(context, operator, Transpose(permutation))


def _pad(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 2, 3)
    amounts = context.parameter(operator, 1)
    if amounts.ndim != 2 or amounts.shape[1] != 2:
        raise ValueError(f"padding of shape {list(amounts.shape)}, expected (axes, 2)")
    value = 0.0
    if len(operator.inputs) == 3:
        check_same_quantization(context, operator, 2)
        constant, quantization = context.parameter(operator, 2), context.tensor(operator, 2).quantization
        if constant.size != 1:
            raise ValueError(f"{constant.size} padding values, expected one")
        value = float(constant.ravel()[0])
        if quantization is not None:
            value = (value - int(quantization.zero_point[0])) * float(quantization.scale[0])
    _moved(context, operator, Pad(tuple((int(before), int(after)) for before, after in amounts), value))


def _concat(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 1, 1024)
    for position in range(len(operator.inputs)):
        check_same_quantization(context, operator, position)
    axis = _axis(int(options_of(operator)["Axis"]), len(context.tensor(operator, 0).shape))
    if clamp_of(operator) != NO_CLAMP:
        raise ValueError("a concatenation with a fused activation is not supported")
    context.emit(operator, Concat(axis), [context.value(operator, i) for i in range(len(operator.inputs))])


def _activation(clamp: Clamp) -> Callable[[Context, RawOperator], None]:
    def convert(context: Context, operator: RawOperator) -> None:
        operator = expect(operator, 1, 1)
        check_arithmetic(context, operator, 1)
        context.emit(operator, Activation(clamp), [context.value(operator, 0)])

    return convert


def _quantize(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 1, 1)
    x, y = context.tensor(operator, 0), context.tensors[operator.outputs[0]]
    if y.dtype not in INTEGERS or y.quantization is None:
        raise ValueError(f"the output is {y.dtype}, expected int8, uint8 or int16 with a scale")
    if x.dtype != "float32" and (x.dtype not in INTEGERS or x.quantization is None):
        raise ValueError(f"the input is {x.dtype}, expected float32, or int8, uint8 or int16 with a scale")
    context.emit(operator, Quantize(), [context.value(operator, 0)])


def _dequantize(context: Context, operator: RawOperator) -> None:
    operator = expect(operator, 1, 1)
    x, y = context.tensor(operator, 0), context.tensors[operator.outputs[0]]
    if x.quantization is None or x.dtype not in INTEGERS or y.dtype != "float32":
        raise ValueError(f"turns {x.dtype} into {y.dtype}; expected int8, uint8 or int16 with a scale, and float32")
    context.emit(operator, Dequantize(), [context.value(operator, 0)])


CONVERTERS: Mapping[str, Callable[[Context, RawOperator], None]] = {
    "ADD": _elementwise(Add),
    "AVERAGE_POOL_2D": _pool2d("average"),
    "BATCH_MATMUL": _matmul,
    "CONCATENATION": _concat,
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv2d,
    "DEQUANTIZE": _dequantize,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _fully_connected,
    "GELU": _gelu,
    "HARD_SWISH": _function(HardSwish()),
    "LOGISTIC": _function(Logistic()),
    "MAXIMUM": _extremum(Maximum),
    "MAX_POOL_2D": _pool2d("max"),
    "MEAN": _mean,
    "MINIMUM": _extremum(Minimum),
    "MUL": _elementwise(Mul),
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _quantize,
    "RELU": _activation(Clamp(0.0, math.inf)),
    "RELU6": _activation(Clamp(0.0, 6.0)),
    "RELU_N1_TO_1": _activation(Clamp(-1.0, 1.0)),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": resize2d("bilinear"),
    "RESIZE_NEAREST_NEIGHBOR": resize2d("nearest"),
    "SOFTMAX": _softmax,
    "SQUEEZE": _reshape,
    "SUB": _elementwise(Sub),
    "SVDF": svdf,
    "TANH": _function(Tanh()),
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": transposed_conv2d,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm,
}
