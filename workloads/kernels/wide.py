"""Products of 16-bit activations with 64-bit sums, and their requantisation by a multiplier reduced to 16 bits.

Sums are formed in float64, which is exact here: a product is below 2**31, so over 4 million of them fit in 53 bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, profile_of, requantize, requantize_fixed
from workloads.kernels import floating

if TYPE_CHECKING:
    from workloads.arithmetic import RequantProfile
    from workloads.operands import Operands
    from workloads.operators import Conv2d, DepthwiseConv2d
    from workloads.tensor import Array

REDUCED = "cmsis-nn-s16"  # the profile of 64-bit sums; TFLite's reference has the same
MAX_DEPTH = 1 << 22  # products per output that a float64 sum holds exactly


def is_wide(operands: Operands, profile: str | RequantProfile) -> bool:
    """Whether sums have 64 bits: the layer asks for it, or the profile accumulates so."""
    return operands.wide or profile_of(profile).accumulator == "int64"


def finish(sums: Array, operands: Operands, profile: str | RequantProfile) -> Array:
    """Add the bias to int64 sums and requantise them: every fixed-point profile reduces the multiplier here."""
    if operands.bias is not None:
        sums = sums + operands.bias.astype(np.int64)
    record = profile_of(profile)
    record = profile_of(REDUCED) if record.scale == "q31" else replace(record, accumulator="int64")
    bounds = (operands.output_zero_point, operands.low, operands.high)
    stated = operands.stated.output if operands.stated is not None else None
    if stated is not None and record.scale == "q15":
        result = requantize_fixed(sums, stated.multipliers, stated.shifts, *bounds, record)
    else:
        scales = effective_scales(operands, record) if stated is None else stated.scales
        result = requantize(sums, scales, *bounds, record, operands.output_scale)
    return result.astype(operands.dtype)


def conv2d_sums(x: Array, operands: Operands, operator: Conv2d) -> Array:
    """Return the int64 sums of a convolution; x (N,H,W,C), weights (O,KH,KW,C/groups)."""
    return _integers(floating.conv2d(_centered(x, operands, 0), _weights(operands), operator))


def depthwise_conv2d_sums(x: Array, operands: Operands, operator: DepthwiseConv2d) -> Array:
    """Return the int64 sums of a depthwise convolution; x (N,H,W,C), weights (1,KH,KW,C*multiplier)."""
    return _integers(floating.depthwise_conv2d(_centered(x, operands, 0), _weights(operands), operator))


def fully_connected_sums(x: Array, operands: Operands) -> Array:
    """Return the int64 sums of a matrix product; x (...,K), weights (N,K)."""
    return _integers(_centered(x, operands, 0) @ _weights(operands).T)


def matmul_sums(a: Array, b: Array, operands: Operands) -> Array:
    """Return the int64 sums of a matrix product of activations."""
    if a.shape[-1] > MAX_DEPTH:
        raise ValueError(f"a product of depth {a.shape[-1]}, expected at most {MAX_DEPTH}")
    return _integers(_centered(a, operands, 0) @ _centered(b, operands, 1))


def _centered(x: Array, operands: Operands, which: int) -> Array:
    return x.astype(np.float64) - operands.input_zero_points[which]


def _weights(operands: Operands) -> Array:
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    if operands.weights[0].size > MAX_DEPTH:
        raise ValueError(f"a product of depth {operands.weights[0].size}, expected at most {MAX_DEPTH}")
    return operands.weights.astype(np.float64) - operands.weight_zero_point


def _integers(sums: Array) -> Array:
    return np.asarray(sums, np.int64)
