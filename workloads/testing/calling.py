"""What a user's Python kernel receives: plain numpy arrays and integers, by name; it takes the names it declares.

Every operator: ``output_zero_point, low, high, output_shape, dtype`` (``low``/``high`` clamp the result, which has
``output_shape`` and ``dtype``), and ``scales`` (float64), ``multipliers`` and ``shifts`` (int32), one per channel: real
factor from accumulator to output = scale ~ multiplier * 2**(shift - 31). Beyond these:

==================  ==================================================================================================
conv2d              x (N,H,W,C), weights (O,KH,KW,C/groups), bias (O,) or None, input_zero_point, weight_zero_point,
                    stride, padding (top, left, bottom, right), dilation, groups, packed_weights (flat int8, two 4-bit
                    weights a byte, low half first; None where a weight needs more bits)
depthwise_conv2d    the same with weights (1,KH,KW,O) and channel_multiplier instead of groups
fully_connected     x (rows,K), weights (O,K), bias, input_zero_point, weight_zero_point, packed_weights
matmul, mul         a, b, a_zero_point, b_zero_point; matmul: a (...,M,K), b (...,K,N)
add                 the same, a_scale, b_scale, output_scale, and TFLite's form of them: left_shift, a_multiplier,
                    a_shift, b_multiplier, b_shift, output_multiplier, output_shift
average_pool2d,     x (N,H,W,C), window, stride, padding; the output keeps the input's scale and zero point
max_pool2d
softmax             x (rows,N), input_scale, beta, output_scale, and TFLite's form: input_multiplier, input_left_shift,
                    diff_min
requantize          accumulators (rows,channels) int32
==================  ==================================================================================================
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.arithmetic import quantize_multiplier
from workloads.errors import InputError, did_you_mean
from workloads.kernels.packing import pack
from workloads.operators import DepthwiseConv2d, Pool2d, Softmax
from workloads.shapes import infer
from workloads.testing.case import PRODUCTS, Case, factors

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array

ADD_LEFT_SHIFT = {"int8": 20, "int16": 15}  # tflite-micro@90b983c2:tensorflow/lite/micro/kernels/add_common.cc
_COMMON = ("output_zero_point", "low", "high", "output_shape", "dtype", "scales", "multipliers", "shifts")
_WEIGHTED = ("x", "weights", "packed_weights", "bias", "input_zero_point", "weight_zero_point")
_WINDOW = ("stride", "padding")
_BINARY = ("a", "b", "a_zero_point", "b_zero_point")
NAMES = {
    "conv2d": (*_WEIGHTED, *_WINDOW, "dilation", "groups", *_COMMON),
    "depthwise_conv2d": (*_WEIGHTED, *_WINDOW, "dilation", "channel_multiplier", *_COMMON),
    "fully_connected": (*_WEIGHTED, *_COMMON),
    "matmul": (*_BINARY, *_COMMON),
    "mul": (*_BINARY, *_COMMON),
    "add": (
        *_BINARY, "a_scale", "b_scale", "output_scale", "left_shift", "a_multiplier", "a_shift", "b_multiplier",
        "b_shift", "output_multiplier", "output_shift", *_COMMON,
    ),
    "average_pool2d": ("x", "window", *_WINDOW, "input_zero_point", *_COMMON),
    "max_pool2d": ("x", "window", *_WINDOW, "input_zero_point", *_COMMON),
    "softmax": ("x", "input_scale", "beta", "output_scale", "input_multiplier", "input_left_shift", "diff_min",
                *_COMMON),
    "requantize": ("accumulators", *_COMMON),
}  # fmt: skip


def output_shape(case: Case) -> tuple[int, ...]:
    """Return the shape of a case's result.

    Raises
    ------
    ValueError
        The inputs and weights do not fit the operator or each other.
    """
    weights = () if case.operands.weights is None else (case.operands.weights.shape,)
    return infer(case.operator, [*(array.shape for array in case.inputs), *weights])


def arguments(case: Case) -> dict[str, Any]:
    """Return every value a kernel of the case's operator may ask for, by name."""
    operands, operator = case.operands, case.operator
    shape = output_shape(case)
    found = factors(case)
    channels = shape[-1] if case.op in PRODUCTS or case.op == "requantize" else 1
    values: dict[str, Any] = {
        "output_zero_point": operands.output_zero_point, "low": operands.low, "high": operands.high,
        "output_shape": shape, "dtype": operands.dtype,
        "scales": np.broadcast_to(found.scales, (channels,)).copy(),
        "multipliers": np.broadcast_to(found.multipliers, (channels,)).astype(np.int32),
        "shifts": np.broadcast_to(found.shifts, (channels,)).astype(np.int32),
        "input_zero_point": operands.input_zero_points[0],
        "output_scale": operands.output_scale,
    }  # fmt: skip
    for name in ("stride", "padding", "dilation", "groups", "beta"):
        if hasattr(operator, name):
            values[name] = getattr(operator, name)
    if operands.weights is not None:
        bias = None if operands.bias is None else operands.bias.copy()
        values |= {
            "weights": operands.weights.copy(), "bias": bias, "weight_zero_point": operands.weight_zero_point,
            "packed_weights": _packed(operands.weights),
        }  # fmt: skip
    match operator:
        case DepthwiseConv2d():
            values["channel_multiplier"] = operator.multiplier
        case Pool2d():
            values["window"] = operator.kernel
        case Softmax():
            values |= _softmax_arguments(case, operator)
    if len(case.inputs) == 2:
        values |= _binary_arguments(case)
    else:
        values["accumulators" if case.op == "requantize" else "x"] = case.inputs[0].copy()
    return {name: values[name] for name in NAMES[case.op]}


def python_kernel(function: Callable[..., Any], op: str) -> Callable[[Case], Array]:
    """Bind a user's function: it is called with those of the operator's arguments that it declares, by name.

    Raises
    ------
    InputError
        The function declares a name that the operator does not offer, or takes positional arguments only.
    """
    known = NAMES[op]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = [inspect.Parameter("values", inspect.Parameter.VAR_KEYWORD)]
    problems = []
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and parameter.default is inspect.Parameter.empty:
            problems.append(f"parameter {parameter.name!r} is positional only; arguments are passed by name")
        elif parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            continue
        elif parameter.name not in known and parameter.default is inspect.Parameter.empty:
            problems.append(
                f"parameter {parameter.name!r} is not an argument of {op}; {did_you_mean(parameter.name, known)}"
            )
    if problems:
        name = getattr(function, "__qualname__", repr(function))
        raise InputError(f"kernel {name}", [*problems, f"{op} offers: {', '.join(known)}"])
    everything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    wanted = [parameter.name for parameter in parameters if parameter.name in known]

    def call(case: Case) -> Array:
        values = arguments(case)
        found = function(**(values if everything else {name: values[name] for name in wanted}))
        if not isinstance(found, np.ndarray):
            raise KernelError(f"returned {type(found).__name__}; expected a numpy array")
        return found

    return call


class KernelError(Exception):
    """The kernel under test raised, crashed, or returned the wrong shape or type; ``case`` shows on what."""

    def __init__(self, message: str, case: Case | None = None) -> None:
        super().__init__(message)
        self.case = case


class UnsupportedError(Exception):
    """The kernel under test says that it does not support a case; the case is left out."""


def _packed(weights: Array) -> Array | None:
    """Return 4-bit weights two a byte; None where one needs more bits."""
    if weights.size and not (int(weights.min()) >= -8 and int(weights.max()) <= 7):
        return None
    return pack(weights)


def _softmax_arguments(case: Case, operator: Softmax) -> dict[str, Any]:
    from workloads.kernels.softmax import softmax_parameters

    multiplier, shift, lowest = softmax_parameters(operator.beta, case.operands.input_scales[0])
    return {
        "input_scale": case.operands.input_scales[0], "input_multiplier": int(multiplier),
        "input_left_shift": int(shift), "diff_min": int(lowest),
    }  # fmt: skip


def _binary_arguments(case: Case) -> dict[str, Any]:
    operands = case.operands
    values: dict[str, Any] = {
        "a": case.inputs[0].copy(), "b": case.inputs[1].copy(),
        "a_zero_point": operands.input_zero_points[0], "b_zero_point": operands.input_zero_points[1],
    }  # fmt: skip
    if case.op != "add":
        return values
    first, second = operands.input_scales
    left, common = ADD_LEFT_SHIFT[operands.dtype], 2 * max(first, second)
    names = ("a", "b", "output")
    ratios = (first / common, second / common, common / (2.0**left * operands.output_scale))
    for name, ratio in zip(names, ratios, strict=True):
        values[f"{name}_multiplier"], values[f"{name}_shift"] = quantize_multiplier(ratio)
    return values | {"a_scale": first, "b_scale": second, "left_shift": left}
