"""Hypothesis strategies for whole layers: small, with awkward tails, every attribute of the operator in play."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from workloads.operands import Factors, Operands, Stated
from workloads.operators import Add, Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Mul, Pool2d, Quantize, Softmax
from workloads.testing.case import Case, Widths, check_op, with_operands
from workloads.testing.strategies import (
    channel_scales,
    clamps,
    fill,
    fixed_factors,
    limits,
    tensors,
    zero_points,
)
from workloads.testing.sums import accumulators

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array

INT32_MAX = 2**31 - 1
INT8 = Widths()
DEPTHS = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63)  # around the widths that kernels unroll by
LONG_DEPTHS = (127, 511, 512, 513, 600, 1024)
SOFTMAX_OUTPUT = {"int8": (2.0**-8, -128), "int16": (2.0**-16, -32768)}  # as TFLite fixes it


def layers(op: str, widths: Widths = INT8) -> st.SearchStrategy[Case]:
    """Layers of an operator with their constants and inputs, as ``Case`` records.

    Parameters
    ----------
    op
        A key of ``workloads.testing.case.OPS``.
    widths
        Element types: 16-bit activations have zero points of 0; 4-bit weights are held in int8.
    """
    makers: dict[str, Callable[[], st.SearchStrategy[Case]]] = {
        "conv2d": lambda: convolutions(widths),
        "depthwise_conv2d": lambda: depthwise(widths),
        "fully_connected": lambda: fully_connected(widths),
        "matmul": matmuls,
        "add": lambda: sums_or_products("add", widths), "mul": lambda: sums_or_products("mul", widths),
        "average_pool2d": lambda: pools("average", widths), "max_pool2d": lambda: pools("max", widths),
        "softmax": softmaxes,
        "requantize": lambda: requantizations(widths),
    }  # fmt: skip
    return makers[check_op(op)]()


@st.composite
def geometry(draw: st.DrawFn, *, dilated: bool = True) -> tuple[dict[str, Any], tuple[int, int], tuple[int, int]]:
    """Draw window, stride, padding and dilation, and an image that they fit with rows and columns to spare."""
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    window, stride = draw(pairs), draw(st.sampled_from(((1, 1), (2, 2), (1, 2), (3, 1))))
    dilation = draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (1, 2)))) if dilated else (1, 1)
    padding = draw(st.tuples(*(st.integers(0, extent - 1) for extent in (*window, *window))))
    image = []
    for axis in range(2):
        span = (window[axis] - 1) * dilation[axis] + 1
        room = (draw(st.integers(1, 4)) - 1) * stride[axis] + draw(st.integers(0, stride[axis] - 1))
        image.append(max(room + span - padding[axis] - padding[axis + 2], 1))
    attributes: dict[str, Any] = {"stride": stride, "padding": padding}
    return attributes | ({"dilation": dilation} if dilated else {}), window, (image[0], image[1])


@st.composite
def convolutions(draw: st.DrawFn, widths: Widths = INT8) -> Case:
    """Convolutions: grouped, dilated, strided, padded unevenly."""
    attributes, window, image = draw(geometry())
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    depth = draw(st.sampled_from(DEPTHS[:9])) if groups == 1 else draw(st.integers(1, 4))
    if window == (1, 1) and groups == 1 and draw(st.booleans()):
        depth = draw(st.sampled_from(LONG_DEPTHS))
    outputs = groups * draw(st.sampled_from((1, 2, 3, 5, 17)) if depth < 20 else st.integers(1, 2))
    batch = draw(st.sampled_from((1, 1, 2)))
    shapes = ((batch, *image, depth * groups), (outputs, *window, depth))
    return draw(weighted("conv2d", Conv2d(**attributes, groups=groups), *shapes, widths))


@st.composite
def depthwise(draw: st.DrawFn, widths: Widths = INT8) -> Case:
    """Depthwise convolutions, also with several outputs per input channel."""
    attributes, window, image = draw(geometry())
    channels, multiplier = draw(st.sampled_from((1, 2, 3, 4, 5, 8, 17))), draw(st.sampled_from((1, 1, 2, 3)))
    shapes = ((draw(st.sampled_from((1, 2))), *image, channels), (1, *window, channels * multiplier))
    operator = DepthwiseConv2d(**attributes, multiplier=multiplier)
    return draw(weighted("depthwise_conv2d", operator, *shapes, widths))


@st.composite
def fully_connected(draw: st.DrawFn, widths: Widths = INT8) -> Case:
    """Fully connected layers, short and long."""
    depth, outputs = draw(st.sampled_from((*DEPTHS, *LONG_DEPTHS))), draw(st.sampled_from((1, 2, 3, 5, 16, 17)))
    rows = draw(st.integers(1, 3))
    return draw(weighted("fully_connected", FullyConnected(), (rows, depth), (outputs, depth), widths))


@st.composite
def weighted(
    draw: st.DrawFn, op: str, operator: Any, x_shape: tuple[int, ...], weights_shape: tuple[int, ...],
    widths: Widths = INT8,
) -> Case:  # fmt: skip
    """Draw constants and inputs for an operator with weights."""
    per_channel, dtype = op != "fully_connected", widths.dtype
    zero_point, output_zero_point = draw(zero_points(dtype)), draw(zero_points(dtype))
    x, weights = draw(tensors(x_shape, dtype, zero_point)), draw(tensors(weights_shape, widths.weights))
    outputs = weights_shape[-1 if op == "depthwise_conv2d" else 0]
    depth = weights.size // max(outputs, 1)
    natural = float(np.abs(x.astype(np.int64) - zero_point).max(initial=1))
    natural *= float(np.abs(weights.astype(np.int64)).max(initial=1))
    bias = draw(biases(outputs, depth, natural, widths))
    low, high = draw(clamps(dtype, output_zero_point))
    operands = Operands(
        (1.0,), (zero_point,), 1.0, output_zero_point, low, high, weights, np.ones(outputs), 0, bias, None, dtype,
        widths.wide,
    )  # fmt: skip
    case = Case(op, operator, operands, (x,))
    largest = float(np.abs(accumulators(case)).max(initial=1))
    typical = largest / (256 if dtype == "int16" else 1)
    factors = draw(channel_scales(outputs, typical, 1.0 if widths.wide else largest))
    return with_operands(case, weight_scales=factors if per_channel else np.full(outputs, factors[0]))


@st.composite
def biases(draw: st.DrawFn, channels: int, depth: int, natural: float, widths: Widths = INT8) -> Array | None:
    """None, zeros, values of the size of the sums, or as large as 32 bits hold without wrapping."""
    kind = draw(st.sampled_from(("none", "zero", "sums", "sums", "large")))
    if kind == "none":
        return None
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    room = INT32_MAX if widths.wide else max(INT32_MAX - depth * (32768 if widths.dtype == "int16" else 255) * 128, 0)
    reach = {"zero": 0, "sums": min(int(natural * depth**0.5), room), "large": room}[kind]
    return generator.integers(-reach, reach + 1, channels).astype(np.int64 if widths.wide else np.int32)


@st.composite
def matmuls(draw: st.DrawFn) -> Case:
    """Products of two activations, with a leading axis or broadcast over one."""
    rows, depth, columns = draw(st.integers(1, 5)), draw(st.sampled_from((*DEPTHS, 512, 513))), draw(st.integers(1, 5))
    leading = draw(st.sampled_from(((), (2,), (1, 3))))
    points = (draw(zero_points()), draw(zero_points()))
    a = draw(tensors((*leading, rows, depth), "int8", points[0]))
    b = draw(tensors((*leading, depth, columns), "int8", points[1]))
    natural = float(np.abs(a.astype(int) - points[0]).max() * np.abs(b.astype(int) - points[1]).max()) * depth**0.5
    return Case("matmul", MatMul(), draw(_one_factor(points, natural, natural * depth**0.5)), (a, b))


@st.composite
def sums_or_products(draw: st.DrawFn, op: str, widths: Widths = INT8) -> Case:
    """Elementwise sums and products of equal or broadcast shapes."""
    dtype = widths.dtype
    shape = draw(st.sampled_from(((1,), (3,), (17,), (2, 5), (1, 3, 3, 5))))
    second = draw(st.sampled_from((shape, shape, (1,) * (len(shape) - 1) + shape[-1:])))
    points = (draw(zero_points(dtype)), draw(zero_points(dtype)))
    a, b = draw(tensors(shape, dtype, points[0])), draw(tensors(second, dtype, points[1]))
    if op == "mul":
        natural = float(np.abs(a.astype(int) - points[0]).max() * np.abs(b.astype(int) - points[1]).max())
        return Case(op, Mul(), draw(_one_factor(points, natural, natural, dtype)), (a, b))
    ratios = st.sampled_from((1.0, 0.5, 0.25, 2.0, 0.7, 1.3, 3.0))
    output_zero_point = draw(zero_points(dtype))
    operands = Operands(
        (draw(ratios), draw(ratios)), points, draw(ratios), output_zero_point, *draw(clamps(dtype, output_zero_point)),
        weight_scales=np.empty(0), dtype=dtype,
    )  # fmt: skip
    return Case(op, Add(), operands, (a, b))


@st.composite
def _one_factor(
    draw: st.DrawFn, points: tuple[int, int], natural: float, bound: float, dtype: str = "int8"
) -> Operands:
    """Draw constants with one factor for all outputs, carried by the first input's scale."""
    output_zero_point = draw(zero_points(dtype))
    factor = float(draw(channel_scales(1, natural / (256 if dtype == "int16" else 1), bound))[0])
    bounds = draw(clamps(dtype, output_zero_point))
    return Operands((factor, 1.0), points, 1.0, output_zero_point, *bounds, weight_scales=np.empty(0), dtype=dtype)


@st.composite
def pools(draw: st.DrawFn, kind: str, widths: Widths = INT8) -> Case:
    """Pools that keep their input's quantisation; no window lies wholly in the padding."""
    attributes, window, image = draw(geometry(dilated=False))
    dtype = widths.dtype
    zero_point = draw(zero_points(dtype))
    x = draw(tensors((draw(st.integers(1, 2)), *image, draw(st.sampled_from((1, 3, 4, 17)))), dtype, zero_point))
    bounds = draw(clamps(dtype, zero_point))
    operands = Operands((1.0,), (zero_point,), 1.0, zero_point, *bounds, weight_scales=np.empty(0), dtype=dtype)
    return Case(f"{kind}_pool2d", Pool2d(kind, window, **attributes), operands, (x,))


@st.composite
def softmaxes(draw: st.DrawFn) -> Case:
    """Softmax of rows, with scales from almost flat to almost one-hot."""
    x = draw(tensors((draw(st.integers(1, 3)), draw(st.sampled_from((1, 2, 3, 5, 10, 17, 100))))))
    scale = draw(st.sampled_from((2.0**-4, 0.1, 2.0**-6, 0.003, 0.5, 1.0)))
    output_scale, zero_point = SOFTMAX_OUTPUT["int8"]
    operands = Operands((scale,), (0,), output_scale, zero_point, *limits("int8"), weight_scales=np.empty(0))
    return Case("softmax", Softmax(draw(st.sampled_from((1.0, 1.0, 0.5)))), operands, (x,))


@st.composite
def requantizations(draw: st.DrawFn, widths: Widths = INT8) -> Case:
    """Accumulators that hit the output's range, its edges and all of their width, with multipliers below 2**30 too."""
    rows, channels = draw(st.integers(1, 4)), draw(st.sampled_from((1, 2, 3, 17)))
    pairs = np.array([draw(fixed_factors(-20, 1)) for _ in range(min(channels, 3))], np.int32)
    multipliers, shifts = np.resize(pairs, (channels, 2)).T.copy()
    if draw(st.sampled_from((False, False, True))):
        multipliers = multipliers >> draw(st.integers(1, 3))
    chosen = Factors(multipliers, shifts)
    kind, seed = (
        draw(st.sampled_from(("range", "range", "uniform", "lowest", "highest"))),
        draw(st.integers(0, 2**32 - 1)),
    )
    if kind == "range":
        reach = np.minimum(2 * limits(widths.dtype)[1] / np.maximum(chosen.scales, 2.0**-24), 2.0**30)
        accumulators = (np.random.default_rng(seed).uniform(-1, 1, (rows, channels)) * reach).astype(np.int64)
    else:
        accumulators = fill((rows, channels), "int32", kind, seed).astype(np.int64) << (9 if widths.wide else 0)
    # A positive shift must not push the accumulator out of 32 bits: what it wraps to is not defined everywhere.
    accumulators = accumulators >> np.maximum(shifts, 0)
    zero_point = draw(zero_points(widths.dtype))
    bounds = draw(clamps(widths.dtype, zero_point))
    return requantization(accumulators, chosen, zero_point, *bounds, widths)


def requantization(
    accumulators: Array, chosen: Factors, zero_point: int, low: int, high: int, widths: Widths = INT8
) -> Case:
    """Return the case of one requantisation; accumulators (rows, channels)."""
    operands = Operands(
        (1.0,), (0,), 1.0, zero_point, low, high, weight_scales=np.empty(0), dtype=widths.dtype, wide=widths.wide,
        stated=Stated(chosen),
    )  # fmt: skip
    return Case("requantize", Quantize(), operands, (accumulators.astype(np.int64 if widths.wide else np.int32),))
