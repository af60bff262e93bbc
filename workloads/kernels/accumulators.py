"""Sums of products as each kind of accumulator holds them: exact and slow, for where they differ from 32-bit sums.

A sum starts at the bias and takes the products in the order of the depth: kernel row, kernel column, channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.jit import kernel
from workloads.profiles import profile_of
from workloads.requant_profile import ACCUMULATORS

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.operators import Conv2d, DepthwiseConv2d
    from workloads.profiles import RequantProfile
    from workloads.tensor import Array

WRAP32, SAT32, PAIR16, INT64 = range(4)
CODES = {name: code for code, name in enumerate(ACCUMULATORS)}


@kernel
def wrapped_sum(x: Array, w: Array, start: np.int64) -> np.int64:
    """Sum products modulo 2**32."""
    total = np.int32(start)
    for index in range(x.size):
        total = np.int32(np.int64(total) + np.int64(x[index]) * np.int64(w[index]))
    return np.int64(total)


@kernel
def saturated_sum(x: Array, w: Array, start: np.int64) -> np.int64:
    """Sum products one by one, each addition held within 32 bits."""
    total = start
    for index in range(x.size):
        total += np.int64(x[index]) * np.int64(w[index])
        total = min(max(total, np.int64(-(2**31))), np.int64(2**31 - 1))
    return total


@kernel
def paired_sum(x: Array, w: Array, start: np.int64) -> np.int64:
    """Sum products in pairs held within 16 bits; the pairs modulo 2**32."""
    total = np.int32(start)
    for index in range(0, x.size, 2):
        pair = np.int64(x[index]) * np.int64(w[index])
        if index + 1 < x.size:
            pair += np.int64(x[index + 1]) * np.int64(w[index + 1])
        pair = min(max(pair, np.int64(-(2**15))), np.int64(2**15 - 1))
        total = np.int32(np.int64(total) + pair)
    return np.int64(total)


@kernel
def wide_sum(x: Array, w: Array, start: np.int64) -> np.int64:
    """Sum products modulo 2**64."""
    total = start
    for index in range(x.size):
        total += np.int64(x[index]) * np.int64(w[index])
    return total


@kernel
def matrix(x: Array, w: Array, start: Array, code: int) -> Array:
    """Sum (rows, depth) against (columns, depth), int16 or int32, from int64 (columns,)."""
    result = np.empty((x.shape[0], w.shape[0]), np.int64)
    for row in range(x.shape[0]):
        for column in range(w.shape[0]):
            if code == WRAP32:
                result[row, column] = wrapped_sum(x[row], w[column], start[column])
            elif code == SAT32:
                result[row, column] = saturated_sum(x[row], w[column], start[column])
            elif code == PAIR16:
                result[row, column] = paired_sum(x[row], w[column], start[column])
            else:
                result[row, column] = wide_sum(x[row], w[column], start[column])
    return result


def accumulate(x_row: Array, w_row: Array, accumulator: str, start: int = 0) -> int:
    """Return what an accumulator holds after one row of products; ``pair16`` takes unsigned x and signed w.

    Raises
    ------
    ValueError
        The accumulator is unknown, or a value does not fit the bytes that it pairs.
    """
    start_row = np.array([start], np.int64)
    return int(matrix_sums(np.atleast_2d(x_row), np.atleast_2d(w_row), accumulator, start_row)[0, 0])


def matrix_sums(x: Array, w: Array, accumulator: str, start: Array | None = None) -> Array:
    """Return int64 sums of (rows, depth) against (columns, depth), each from ``start`` (columns,) or 0.

    Raises
    ------
    ValueError
        As in ``accumulate``.
    """
    if accumulator not in CODES:
        raise ValueError(f"accumulator {accumulator!r} is unknown; known: {', '.join(CODES)}")
    if accumulator == "pair16":
        _within(x, 0, 255, "x")
        _within(w, -128, 127, "w")
    begin = np.zeros(w.shape[0], np.int64) if start is None else np.ascontiguousarray(start, np.int64)
    left, right = np.ascontiguousarray(x, np.int32), np.ascontiguousarray(w, np.int32)
    return np.asarray(matrix(left, right, begin, CODES[accumulator]))


def layer_sums(x: Array, w: Array, zero_points: tuple[int, int], accumulator: str, start: Array | None = None) -> Array:
    """Return sums of raw (rows, depth) against raw (columns, depth) with the zero points of both taken off.

    Zero points leave the values before the product, except in ``pair16``: it multiplies the bytes as they are (signed
    activations with the top bit flipped) and corrects the sums afterwards, modulo 2**32.
    """
    x_zero, w_zero = zero_points
    if accumulator != "pair16":
        return matrix_sums(x.astype(np.int32) - x_zero, w.astype(np.int32) - w_zero, accumulator, start)
    flip = 128 if x.dtype == np.int8 else 0
    x, x_zero = x.astype(np.int32) + flip, x_zero + flip
    sums = matrix_sums(x, w, accumulator, start)
    depth_term = x.shape[1] * x_zero * w_zero
    sums = sums - x_zero * w.sum(axis=1, dtype=np.int64) - w_zero * x.sum(axis=1, dtype=np.int64)[:, None] + depth_term
    return np.asarray(sums.astype(np.int32), np.int64)


def differ(operands: Operands, profile: str | RequantProfile, x: Array, w: Array, depth: int) -> bool:
    """Whether a layer's sums may differ from sums that wrap at 32 bits, judged by types and weights alone.

    Parameters
    ----------
    x, w
        The activations and the weights (or second activations), raw.
    depth
        Products per sum.
    """
    accumulator = profile_of(profile).accumulator
    if accumulator == "wrap32" or not w.size:
        return False
    largest_w = max(int(w.max()), -int(w.min()))
    if accumulator == "pair16":
        return x.dtype.itemsize == 1 and w.dtype == np.int8 and 2 * 255 * largest_w > 2**15 - 1
    limits, x_zero = np.iinfo(x.dtype), operands.input_zero_points[0]
    largest_x = max(int(limits.max) - x_zero, x_zero - int(limits.min))
    w_zero = operands.weight_zero_point if operands.weights is not None else operands.input_zero_points[1]
    bias = 0 if operands.bias is None else int(np.abs(operands.bias.astype(np.int64)).max(initial=0))
    return depth * largest_x * (largest_w + abs(w_zero)) + bias >= 2**31


def conv2d_sums(x: Array, operands: Operands, operator: Conv2d, profile: str | RequantProfile) -> Array:
    """Return the int64 sums of a convolution, bias included; x (N,H,W,C), weights (O,KH,KW,C/groups)."""
    weights, accumulator = _weights(operands), profile_of(profile).accumulator
    outputs, size = weights.shape[0], (weights.shape[1], weights.shape[2])
    patches = _patches(x, operands.input_zero_points[0], size, operator)
    channels, per_group = weights.shape[3], outputs // operator.groups
    parts = []
    for group in range(operator.groups):
        rows = patches[..., group * channels : (group + 1) * channels].reshape(-1, weights[0].size)
        chosen = slice(group * per_group, (group + 1) * per_group)
        filters = weights[chosen].reshape(per_group, -1)
        parts.append(layer_sums(rows, filters, _zero_points(operands), accumulator, _start(operands, chosen)))
    return np.concatenate(parts, axis=1).reshape(*patches.shape[:3], outputs)


def depthwise_conv2d_sums(
    x: Array, operands: Operands, operator: DepthwiseConv2d, profile: str | RequantProfile
) -> Array:
    """Return the int64 sums of a depthwise convolution, bias included; weights (1,KH,KW,C*multiplier).

    x86 kernels widen bytes before a depthwise product, so that ``pair16`` does not apply: its sums wrap
    (microsoft/onnxruntime:onnxruntime/core/mlas/lib/qdwconv_avx2.cpp).
    """
    weights, accumulator = _weights(operands), profile_of(profile).accumulator
    accumulator = "wrap32" if accumulator == "pair16" else accumulator
    patches = _patches(x, operands.input_zero_points[0], (weights.shape[1], weights.shape[2]), operator)
    sums = np.empty((*patches.shape[:3], weights.shape[3]), np.int64)
    for output in range(weights.shape[3]):
        rows = patches[..., output // operator.multiplier].reshape(-1, weights[0, :, :, 0].size)
        filters, chosen = weights[:, :, :, output].reshape(1, -1), slice(output, output + 1)
        found = layer_sums(rows, filters, _zero_points(operands), accumulator, _start(operands, chosen))
        sums[..., output] = found.reshape(sums.shape[:3])
    return sums


def fully_connected_sums(x: Array, operands: Operands, profile: str | RequantProfile) -> Array:
    """Return the int64 sums of a matrix product, bias included; x (...,K), weights (N,K)."""
    weights = _weights(operands)
    rows, start = x.reshape(-1, weights.shape[1]), _start(operands, slice(None))
    sums = layer_sums(rows, weights, _zero_points(operands), profile_of(profile).accumulator, start)
    return sums.reshape(*x.shape[:-1], weights.shape[0])


def matmul_sums(a: Array, b: Array, operands: Operands, profile: str | RequantProfile) -> Array:
    """Return the int64 sums of a product of activations, bias included; a (...,M,K), b (...,K,N)."""
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = np.broadcast_to(a, (*leading, *a.shape[-2:]))
    right = np.broadcast_to(b, (*leading, *b.shape[-2:])).swapaxes(-1, -2)
    zero_points = (operands.input_zero_points[0], operands.input_zero_points[1])
    sums = np.empty((*leading, a.shape[-2], b.shape[-1]), np.int64)
    for index in np.ndindex(leading):
        start = _start(operands, slice(None))
        sums[index] = layer_sums(left[index], right[index], zero_points, profile_of(profile).accumulator, start)
    return sums


def _patches(x: Array, zero_point: int, size: tuple[int, int], operator: Conv2d | DepthwiseConv2d) -> Array:
    """Return raw windows (N,OH,OW,KH,KW,C), the zero point outside the image."""
    top, left, bottom, right = operator.padding
    border = ((0, 0), (top, bottom), (left, right), (0, 0))
    image = np.pad(x, border, constant_values=x.dtype.type(zero_point))
    spans = tuple((length - 1) * step + 1 for length, step in zip(size, operator.dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(image, spans, axis=(1, 2))
    view = view[:, :: operator.stride[0], :: operator.stride[1], :, :: operator.dilation[0], :: operator.dilation[1]]
    return view.transpose(0, 1, 2, 4, 5, 3)


def _weights(operands: Operands) -> Array:
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    return operands.weights


def _zero_points(operands: Operands) -> tuple[int, int]:
    return operands.input_zero_points[0], operands.weight_zero_point


def _start(operands: Operands, chosen: slice) -> Array | None:
    return None if operands.bias is None else operands.bias.astype(np.int64)[chosen]


def _within(values: Array, low: int, high: int, name: str) -> None:
    if values.size and not low <= int(values.min()) <= int(values.max()) <= high:
        raise ValueError(f"{name} holds values outside {low}..{high}, the bytes that pair16 multiplies")
