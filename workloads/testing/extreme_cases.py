"""The extremes that luck should not have to find: one explicit case each."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.operands import Factors, Operands
from workloads.operators import Add, Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Mul, Pool2d, Softmax
from workloads.testing.case import Case, Widths, check_op
from workloads.testing.layer_strategies import INT8, SOFTMAX_OUTPUT, requantization
from workloads.testing.strategies import fill, limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.operators import Operator
    from workloads.tensor import Array

DEPTHS = (511, 512, 513, 1024, 2**16)
SHIFTS = (-31, -1, 0, 1, 7)
MULTIPLIERS = (2**30, 2**31 - 1)


def extremes(op: str, widths: Widths = INT8) -> list[Case]:
    """Return the explicit cases of an operator.

    All lowest times all lowest, zero points at both ends, depths of 511 to 65,536, tails that fill no vector, shifts of
    -31, -1, 0, 1 and 7, multipliers of 2**30 and 2**31 - 1, exact ties, one-pixel outputs, an empty batch.
    """
    match check_op(op):
        case "conv2d" | "depthwise_conv2d" | "fully_connected":
            return list(_products(op, widths))
        case "matmul":
            return list(_matmuls())
        case "add" | "mul":
            return list(_elementwise(op, widths))
        case "softmax":
            return list(_softmaxes())
        case "requantize":
            return list(_requantizations(widths))
    return list(_pools(op, widths))


def _products(op: str, widths: Widths) -> Iterator[Case]:
    low, high = limits(widths.dtype)
    lowest, highest = limits(widths.weights)
    int8, deep = widths.dtype == "int8", op != "depthwise_conv2d"
    for depth in DEPTHS if deep else (3, 17):
        x, weights = _full(op, depth, low, lowest, widths)
        yield _weighted(op, x, weights, -16 if int8 else -24, widths=widths)
        if int8:
            yield _weighted(op, x, weights, -16, widths=widths, zero_point=high, output_zero_point=low)
    if not int8:  # overflows 32 bits from a depth of 516 on
        x, weights = _full(op, 600 if deep else 5, high, highest, widths)
        yield _weighted(op, x, weights, -17, widths=widths)
    for end in (low, high) if int8 else (0,):
        x, weights = _tail(op, widths, end)
        padding: dict[str, Any] = {} if op == "fully_connected" else {"padding": (1, 1, 1, 1)}
        yield _weighted(op, x, weights, -4, widths=widths, zero_point=end, output_zero_point=end, **padding)
    for shift, multiplier in product(SHIFTS, MULTIPLIERS):
        x, weights = _tail(op, widths, 0, near=True)
        yield _weighted(op, x, weights, shift, multiplier, widths=widths, bias=False)
    x, weights = _full(op, 5, 1, 1, widths)
    yield _weighted(op, x[:0], weights, -1, widths=widths)


def _full(op: str, depth: int, value: int, weight: int, widths: Widths) -> tuple[Array, Array]:
    """Return an input and weights of one value each; a convolution's output has one pixel."""
    dtype = widths.dtype
    if op == "fully_connected":
        return np.full((1, depth), value, dtype), np.full((1, depth), weight, np.int8)
    if op == "conv2d":
        return np.full((1, 1, 1, depth), value, dtype), np.full((1, 1, 1, depth), weight, np.int8)
    return np.full((1, 3, 3, depth), value, dtype), np.full((1, 3, 3, depth), weight, np.int8)


def _tail(op: str, widths: Widths, center: int, *, near: bool = False) -> tuple[Array, Array]:
    """Return random operands whose depth, pixels and channels fill no vector evenly; ``near``: of small values."""
    kinds = ("small", "near") if near else ("uniform", "uniform")
    shapes = {
        "fully_connected": ((3, 7), (17, 7)), "conv2d": ((1, 3, 3, 7), (17, 1, 1, 7) if near else (17, 3, 3, 7)),
        "depthwise_conv2d": ((1, 3, 5, 17), (1, 3, 3, 17)),
    }  # fmt: skip
    x_shape, weights_shape = shapes[op]
    return fill(x_shape, widths.dtype, kinds[0], 1, center), fill(weights_shape, widths.weights, kinds[1], 2)


def _weighted(
    op: str, x: Array, weights: Array, shift: int, multiplier: int = 2**30, *, widths: Widths, zero_point: int = 0,
    output_zero_point: int = 0, bias: bool = True, **attributes: Any,
) -> Case:  # fmt: skip
    channels = weights.shape[-1 if op == "depthwise_conv2d" else 0]
    scales = np.full(channels, multiplier * 2.0 ** (shift - 31))
    constants = np.zeros(channels, np.int64 if widths.wide else np.int32) if bias else None
    operands = Operands(
        (1.0,), (zero_point,), 1.0, output_zero_point, *limits(widths.dtype), weights, scales, 0, constants, None,
        widths.dtype, widths.wide,
    )  # fmt: skip
    operators: dict[str, Any] = {
        "conv2d": Conv2d, "depthwise_conv2d": DepthwiseConv2d, "fully_connected": FullyConnected,
    }  # fmt: skip
    return Case(op, operators[op](**attributes), operands, (x,))


def _matmuls() -> Iterator[Case]:
    for depth in DEPTHS:
        a, b = np.full((1, depth), -128, np.int8), np.full((depth, 1), -128, np.int8)
        for points in ((0, 0), (127, 0), (0, 127)):
            yield _binary("matmul", a, b, points, 2.0**-17)
    for scale in (0.5, 0.25, 1.0, 2.0):
        yield _binary("matmul", fill((3, 7), "int8", "near", 1), fill((7, 5), "int8", "near", 2), (0, 0), scale)


def _elementwise(op: str, widths: Widths) -> Iterator[Case]:
    low, high = limits(widths.dtype)
    every = np.linspace(low, high, 256).astype(widths.dtype)  # all of int8
    ends = (low, 0, high) if widths.dtype == "int8" else (0,)
    for points in product(ends, ends):
        yield _binary(op, every, every[::-1].copy(), points, 0.5 if op == "add" else -1.0 / low / 2)
    # A product of 16 bits shifted left would leave 32 bits: what it wraps to is not defined everywhere.
    larger = (1.0, 2.0) if op == "add" or widths.dtype == "int8" else ()
    for scale in (-1.0 / low / 2, 0.5, *larger):
        yield _binary(op, every, np.full(256, low, widths.dtype), (0, 0), scale)
        yield _binary(op, every, np.ones(256, widths.dtype), (0, 0), scale)
    yield _binary(op, every[:0], every[:0], (0, 0), 1.0)


def _binary(op: str, a: Array, b: Array, points: tuple[int, int], scale: float) -> Case:
    bounds = limits(a.dtype.name)
    operands = Operands((scale, 1.0), points, 1.0, 0, *bounds, weight_scales=np.empty(0), dtype=a.dtype.name)
    operators: dict[str, Operator] = {"matmul": MatMul(), "add": Add(), "mul": Mul()}
    return Case(op, operators[op], operands, (np.ascontiguousarray(a), np.ascontiguousarray(b)))


def _pools(op: str, widths: Widths) -> Iterator[Case]:
    kind, dtype = op.removesuffix("_pool2d"), widths.dtype
    low, high = limits(dtype)
    shapes = (((3, 3), (1, 1, 1, 1)), ((2, 2), (0, 0, 1, 1)), ((1, 1), (0, 0, 0, 0)))
    ends = (low, high) if dtype == "int8" else (0,)
    for (window, padding), zero_point, name in product(shapes, ends, ("lowest", "highest", "uniform")):
        operands = Operands((1.0,), (zero_point,), 1.0, zero_point, low, high, weight_scales=np.empty(0), dtype=dtype)
        yield Case(op, Pool2d(kind, window, (1, 1), padding), operands, (fill((1, 3, 5, 17), dtype, name, 3),))


def _softmaxes() -> Iterator[Case]:
    output_scale, zero_point = SOFTMAX_OUTPUT["int8"]
    rows = [np.full((1, 7), value, np.int8) for value in (-128, 0, 127)]
    rows += [np.array([[-128, 127]], np.int8), np.arange(-128, 128, dtype=np.int8)[None]]
    for row, scale in product(rows, (2.0**-8, 0.1, 1.0)):
        operands = Operands((scale,), (0,), output_scale, zero_point, -128, 127, weight_scales=np.empty(0))
        yield Case("softmax", Softmax(), operands, (row,))


def _requantizations(widths: Widths) -> Iterator[Case]:
    ties = np.arange(-33, 33).reshape(-1, 1)
    ends = np.array([[-(2**31)], [2**31 - 1], [-(2**30)], [2**30 - 1], [-1], [0], [1]])
    for shift, multiplier in product(SHIFTS, MULTIPLIERS):
        chosen = Factors(np.array([multiplier], np.int32), np.array([shift], np.int32))
        for values in (ties, ends >> max(shift, 0)):
            yield requantization(values, chosen, 0, *limits(widths.dtype), widths)
    # The result before the clamp has more than 32 bits here.
    large = Factors(np.array([1124827136], np.int32), np.array([7], np.int32))
    yield requantization(np.array([[16014793], [-16014793]]), large, 0, *limits(widths.dtype), widths)
