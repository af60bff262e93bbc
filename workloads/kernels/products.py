"""Compiled sums of products over int16 values with their zero points already subtracted; int32 sums wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.operators import Pair
    from workloads.tensor import Array

PATCH_BYTES = 48 * 1024  # patches of one block stay in the first- and second-level cache


@kernel
def _dot(a: Array, b: Array) -> np.int32:
    total = np.int32(0)
    for index in range(a.size):
        total = np.int32(total + np.int32(a[index]) * np.int32(b[index]))
    return total


@kernel
def matrix_product(a: Array, b: Array) -> Array:
    """Multiply (rows, depth) by the transpose of (columns, depth), both contiguous int16."""
    rows, columns = a.shape[0], b.shape[0]
    result = np.empty((rows, columns), np.int32)
    for row in range(rows):
        for column in range(columns):
            result[row, column] = _dot(a[row], b[column])
    return result


@kernel
def _gather(image: Array, corner: Pair, size: Pair, dilation: Pair, first: int, patch: Array) -> None:
    channels = patch.size // (size[0] * size[1])
    position = 0
    for ky in range(size[0]):
        for kx in range(size[1]):
            y, x = corner[0] + ky * dilation[0], corner[1] + kx * dilation[1]
            for channel in range(channels):
                patch[position + channel] = image[y, x, first + channel]
            position += channels


@kernel
def convolution(
    image: Array, weights: Array, stride: Pair, dilation: Pair, groups: int, height: int, width: int, block: int
) -> Array:
    """Convolve a padded image (N,H,W,C) with (O,KH,KW,C/groups); patches are gathered a block of pixels at a time."""
    batch = image.shape[0]
    outputs, kernel_y, kernel_x, channels = weights.shape
    depth = kernel_y * kernel_x * channels
    filters = weights.reshape(outputs, depth)
    per_group = outputs // groups
    pixels = height * width
    patches = np.empty((block, depth), np.int16)
    result = np.empty((batch, pixels, outputs), np.int32)
    for n in range(batch):
        for start in range(0, pixels, block):
            count = min(block, pixels - start)
            for group in range(groups):
                for index in range(count):
                    corner = ((start + index) // width * stride[0], (start + index) % width * stride[1])
                    _gather(image[n], corner, (kernel_y, kernel_x), dilation, group * channels, patches[index])
                for output in range(group * per_group, (group + 1) * per_group):
                    for index in range(count):
                        result[n, start + index, output] = _dot(patches[index], filters[output])
    return result.reshape(batch, height, width, outputs)


@kernel
def depthwise_convolution(image: Array, weights: Array, stride: Pair, dilation: Pair, height: int, width: int) -> Array:
    """Convolve each channel of a padded image (N,H,W,C) with its own filter of (KH,KW,C)."""
    batch, channels = image.shape[0], image.shape[3]
    kernel_y, kernel_x = weights.shape[0], weights.shape[1]
    result = np.zeros((batch, height, width, channels), np.int32)
    for n in range(batch):
        for y in range(height):
            for x in range(width):
                sums = result[n, y, x]
                for ky in range(kernel_y):
                    for kx in range(kernel_x):
                        values = image[n, y * stride[0] + ky * dilation[0], x * stride[1] + kx * dilation[1]]
                        factors = weights[ky, kx]
                        for channel in range(channels):
                            product = np.int32(values[channel]) * np.int32(factors[channel])
                            sums[channel] = np.int32(sums[channel] + product)
    return result
