"""Transposed convolution as a convolution of the stretched image with the filter turned around."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels import integer
from workloads.kernels.wide import conv2d_sums as wide_conv2d_sums
from workloads.kernels.wide import is_wide
from workloads.operators import Conv2d

if TYPE_CHECKING:
    from workloads.arithmetic import RequantProfile
    from workloads.operands import Operands
    from workloads.operators import TransposedConv2d
    from workloads.tensor import Array


def transposed_conv2d(x: Array, operands: Operands, operator: TransposedConv2d, profile: str | RequantProfile) -> Array:
    """Transposed convolution; x (N,H,W,C), weights (O,KH,KW,C/groups)."""
    sums = transposed_conv2d_sums(x, operands, operator, wide=is_wide(operands, profile))
    return integer.finish(sums, operands, profile)


def transposed_conv2d_sums(x: Array, operands: Operands, operator: TransposedConv2d, *, wide: bool) -> Array:
    """Return the sums of a transposed convolution, before bias and requantisation; zero where no input reaches."""
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    kernel = operands.weights.shape[1:3]
    stretched = stretch(x, operator.stride, operands.input_zero_points[0])
    before = (kernel[0] - 1, kernel[1] - 1)
    turned = replace(operands, weights=np.ascontiguousarray(operands.weights[:, ::-1, ::-1]))
    sums = wide_conv2d_sums if wide else integer.conv2d_sums
    return _window(sums(stretched, turned, Conv2d(padding=(*before, *before), groups=operator.groups)), operator)


def stretch(x: Array, stride: tuple[int, int], value: int) -> Array:
    """Put ``stride`` - 1 rows and columns of ``value`` between those of an image."""
    batch, height, width, channels = x.shape
    shape = (batch, (height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1, channels)
    result = np.full(shape, value, x.dtype)
    result[:, :: stride[0], :: stride[1]] = x
    return result


def _window(full: Array, operator: TransposedConv2d) -> Array:
    """Cut the output out of the full one; what lies outside it is zero."""
    (height, width), (top, left) = operator.size, operator.crop
    part = full[:, top : top + height, left : left + width]
    missing = (height - part.shape[1], width - part.shape[2])
    return np.pad(part, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
