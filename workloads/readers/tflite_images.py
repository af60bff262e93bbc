"""Converters of .tflite operators that make larger images: transposed convolution and resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.operators import Clamp, Resize2d, TransposedConv2d
from workloads.readers.limits import check_shape
from workloads.readers.tflite_context import (
    CLAMPS,
    Context,
    check_arithmetic,
    check_same_quantization,
    check_weights,
    expect,
)
from workloads.shapes import same_padding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.operators import Pair
    from workloads.readers.tflite_file import RawOperator

MAX_STRIDE = 4096
SAME, VALID = 0, 1


def options_of(operator: RawOperator) -> Mapping[str, Any]:
    """Return an operator's options.

    Raises
    ------
    ValueError
        It has none.
    """
    if operator.options is None:
        raise ValueError("its options are missing")
    return operator.options


def clamp_of(operator: RawOperator) -> Clamp:
    """Return an operator's fused activation.

    Raises
    ------
    ValueError
        It is none that presage knows.
    """
    number = options_of(operator)["FusedActivationFunction"]
    if number not in CLAMPS:
        raise ValueError(f"fused activation {number} is not supported; expected none, ReLU, ReLU-1-to-1 or ReLU6")
    return CLAMPS[number]


def transposed_conv2d(context: Context, operator: RawOperator) -> None:
    """Add a transposed convolution; its inputs are (output shape, weights, x, bias?)."""
    operator = expect(operator, 3, 4)
    shape = [int(extent) for extent in context.parameter(operator, 0).ravel()]
    _shape, weights, x, *bias = operator.inputs
    ordered = type(operator)(operator.name, (x, weights, *bias), operator.outputs, operator.options)
    integer = check_arithmetic(context, ordered, 1)
    check_weights(context, ordered, 0, integer=integer)
    image, filters = context.tensor(ordered, 0).shape, context.tensor(ordered, 1).shape
    if len(shape) != 4 or len(image) != 4 or len(filters) != 4:
        raise ValueError(f"output {shape}, input {list(image)} and weights {list(filters)}: expected four axes each")
    check_shape("output", shape)
    options = options_of(operator)
    stride, size = (options["StrideH"], options["StrideW"]), (shape[1], shape[2])
    if not 1 <= min(*stride) <= max(*stride) <= MAX_STRIDE or options["Padding"] not in (SAME, VALID):
        raise ValueError(f"stride {stride}, padding {options['Padding']}: expected 1 to {MAX_STRIDE}, and 0 or 1")
    check_shape("stretched image", (image[0], image[1] * stride[0], image[2] * stride[1], image[3]))
    record = TransposedConv2d(size, stride, _crop(size, image, filters, stride, options["Padding"]), clamp_of(operator))
    context.emit(operator, record, [context.value(ordered, i) for i in range(len(ordered.inputs))])


def _crop(size: Pair, image: tuple[int, ...], filters: tuple[int, ...], stride: Pair, padding: int) -> Pair:
    """Return how much of the full output lies above and left of the kept part."""
    if padding == SAME:
        expected = [-(-size[axis] // stride[axis]) for axis in range(2)]
        crop = same_padding(size, (filters[1], filters[2]), stride)[:2]
    else:
        expected = [-(-(size[axis] - filters[axis + 1] + 1) // stride[axis]) for axis in range(2)]
        crop = (0, 0)
    if expected != list(image[1:3]):
        raise ValueError(f"an output of {size} follows from an input of {expected}, found {list(image[1:3])}")
    return crop


def resize2d(kind: str) -> Callable[[Context, RawOperator], None]:
    """Return the converter of a resizing; its inputs are (x, size)."""

    def convert(context: Context, operator: RawOperator) -> None:
        operator = expect(operator, 2, 2)
        check_arithmetic(context, operator, 1)
        check_same_quantization(context, operator)
        size = [int(extent) for extent in context.parameter(operator, 1).ravel()]
        options, image = options_of(operator), context.tensor(operator, 0)
        if len(size) != 2 or len(image.shape) != 4:
            raise ValueError(
                f"size {size} of an input of shape {list(image.shape)}; expected two extents and four axes"
            )
        if kind == "bilinear" and image.dtype == "uint8":
            raise ValueError("bilinear resizing of uint8 is not supported; expected float32, int8 or int16")
        check_shape("output", (image.shape[0], *size, image.shape[3]))
        record = Resize2d(kind, (size[0], size[1]), bool(options["AlignCorners"]), bool(options["HalfPixelCenters"]))
        context.emit(operator, record, [context.value(operator, 0)])

    return convert
