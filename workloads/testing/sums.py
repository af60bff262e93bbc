"""Exact products and sums of a case from the definition, and what becomes of them when a kernel errs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import profile_of
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Mul

if TYPE_CHECKING:
    from workloads.tensor import Array
    from workloads.testing.case import Case

LONGEST_SEQUENCE = 4096  # saturation depends on the order, so it is followed step by step


def terms(case: Case, *, sign: int = -1, padded: int | None = None) -> Array:
    """Return the products of every output as int64, shape (*output, depth).

    Parameters
    ----------
    sign
        -1 subtracts the input zero point, +1 adds it, 0 leaves it out.
    padded
        The raw value of positions outside the image; the input zero point, which contributes nothing, when not given.

    Raises
    ------
    ValueError
        The operator does not sum products.
    """
    operands, operator = case.operands, case.operator
    zero_point = operands.input_zero_points[0]
    x = case.inputs[0].astype(np.int64) + sign * zero_point
    match operator:
        case Conv2d() | DepthwiseConv2d():
            border = 0 if padded is None else padded + sign * zero_point
            return _windowed(x, _weights(case), operator, border)
        case FullyConnected():
            return np.asarray(x[..., None, :] * _weights(case))
        case MatMul():
            b = case.inputs[1].astype(np.int64) + sign * operands.input_zero_points[1]
            return np.asarray(x[..., :, None, :] * b.swapaxes(-1, -2)[..., None, :, :])
        case Mul():
            b = case.inputs[1].astype(np.int64) + sign * operands.input_zero_points[1]
            return np.asarray((x * b)[..., None])
    raise ValueError(f"{case.op} does not sum products")


def has_terms(case: Case) -> bool:
    """Whether every output of a case is one sum of products, requantised once."""
    return isinstance(case.operator, Conv2d | DepthwiseConv2d | FullyConnected | MatMul | Mul)


def accumulators(case: Case, **changes: int | None) -> Array:
    """Return the exact sums of a case, bias included, before any width is applied; changes as in ``terms``."""
    if case.op == "requantize":
        return case.inputs[0].astype(np.int64)
    found = terms(case, **changes).sum(axis=-1)  # type: ignore[arg-type]  # the keywords of terms
    return np.asarray(found if case.operands.bias is None else found + case.operands.bias.astype(np.int64))


def held(case: Case, profile: str) -> Array:
    """Return the sums of a case, bias included, as the profile's accumulator forms them; exact for wrapping ones."""
    from workloads.kernels import accumulators as ordered

    if profile_of(profile).accumulator not in ("pair16", "sat32") or case.operands.wide:
        return accumulators(case)
    match case.operator:
        case Conv2d() as operator:
            return ordered.conv2d_sums(case.inputs[0], case.operands, operator, profile)
        case DepthwiseConv2d() as operator:
            return ordered.depthwise_conv2d_sums(case.inputs[0], case.operands, operator, profile)
        case FullyConnected():
            return ordered.fully_connected_sums(case.inputs[0], case.operands, profile)
        case MatMul():
            return ordered.matmul_sums(case.inputs[0], case.inputs[1], case.operands, profile)
    return accumulators(case)


def wrapped(values: Array, bits: int) -> Array:
    """Return values modulo 2**bits, signed."""
    half = 1 << (bits - 1)
    return np.asarray((values + half) % (2 * half) - half)


def saturated(case: Case, bits: int) -> Array | None:
    """Return sums of which each addition saturates, in the order of the depth; None where that takes too long."""
    products = terms(case)
    if products.shape[-1] > LONGEST_SEQUENCE:
        return None
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    total = np.zeros(products.shape[:-1], np.int64)
    if case.operands.bias is not None:
        total = np.clip(total + case.operands.bias.astype(np.int64), low, high)
    for index in range(products.shape[-1]):
        total = np.clip(total + products[..., index], low, high)
    return total


def _windowed(x: Array, weights: Array, operator: Conv2d | DepthwiseConv2d, border: int) -> Array:
    top, left, bottom, right = operator.padding
    height, width = weights.shape[1:3]
    image = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=border)
    spans = ((height - 1) * operator.dilation[0] + 1, (width - 1) * operator.dilation[1] + 1)
    view = np.lib.stride_tricks.sliding_window_view(image, spans, axis=(1, 2))
    view = view[:, :: operator.stride[0], :: operator.stride[1], :, :: operator.dilation[0], :: operator.dilation[1]]
    if isinstance(operator, DepthwiseConv2d):
        found = np.repeat(view, operator.multiplier, axis=3) * weights[0].transpose(2, 0, 1)
        return np.asarray(found.reshape(*found.shape[:4], height * width))
    depth, outputs = weights.shape[3], weights.shape[0] // operator.groups
    parts = []
    for group in range(operator.groups):
        inputs = view[:, :, :, None, group * depth : (group + 1) * depth]
        filters = weights[group * outputs : (group + 1) * outputs].transpose(0, 3, 1, 2)
        parts.append((inputs * filters).transpose(0, 1, 2, 3, 5, 6, 4))
    joined = np.concatenate(parts, axis=3)
    return joined.reshape(*joined.shape[:4], height * width * depth)


def _weights(case: Case) -> Array:
    if case.operands.weights is None:
        raise ValueError(f"a case of {case.op} needs weights")
    return case.operands.weights.astype(np.int64) - case.operands.weight_zero_point
