"""Sizes that follow from windows, and images padded for them; used by integer and float kernels alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.operators import Conv2d, DepthwiseConv2d, Padding, Pair, Pool2d
    from workloads.tensor import Array


def output_size(image: Pair, size: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)) -> Pair:
    """Return (height, width) of the output of a sliding window.

    Raises
    ------
    ValueError
        The window does not fit in the padded image.
    """
    extents = []
    for axis in (0, 1):
        room = image[axis] + padding[axis] + padding[axis + 2] - dilation[axis] * (size[axis] - 1) - 1
        if room < 0:
            raise ValueError(f"a window of {size} (dilation {dilation}) does not fit in {image} padded by {padding}")
        extents.append(room // stride[axis] + 1)
    return extents[0], extents[1]


def convolution_size(shape: tuple[int, ...], weights: tuple[int, ...], operator: Conv2d | DepthwiseConv2d) -> Pair:
    """Return (height, width) of a convolution's output."""
    return output_size(
        (shape[1], shape[2]), (weights[1], weights[2]), operator.stride, operator.padding, operator.dilation
    )


def pool_size(shape: tuple[int, ...], operator: Pool2d) -> Pair:
    """Return (height, width) of a pooling layer's output."""
    return output_size((shape[1], shape[2]), operator.kernel, operator.stride, operator.padding)


def pad_image(image: Array, padding: Padding) -> Array:
    """Return (N,H,W,C) with zeros around, contiguous."""
    if not any(padding):
        return np.ascontiguousarray(image)
    top, left, bottom, right = padding
    return np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))
