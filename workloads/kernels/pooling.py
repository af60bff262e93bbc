"""Compiled window sums and maxima over images (N,H,W,C); positions outside the image are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.operators import Pair
    from workloads.tensor import Array


@kernel
def window_sums(image: Array, size: Pair, stride: Pair, padding: Pair, height: int, width: int) -> tuple[Array, Array]:
    """Return int32 sums over windows, and the number of positions inside the image per window."""
    batch, rows, columns, channels = image.shape
    sums = np.zeros((batch, height, width, channels), np.int32)
    counts = np.empty((height, width), np.int32)
    for y in range(height):
        top, bottom = max(y * stride[0] - padding[0], 0), min(y * stride[0] - padding[0] + size[0], rows)
        for x in range(width):
            left, right = max(x * stride[1] - padding[1], 0), min(x * stride[1] - padding[1] + size[1], columns)
            counts[y, x] = max(bottom - top, 0) * max(right - left, 0)
            for n in range(batch):
                for row in range(top, bottom):
                    for column in range(left, right):
                        for channel in range(channels):
                            sums[n, y, x, channel] += np.int32(image[n, row, column, channel])
    return sums, counts


@kernel
def window_maxima(image: Array, size: Pair, stride: Pair, padding: Pair, height: int, width: int, lowest: int) -> Array:
    """Return the maximum of each window in the image's type; ``lowest`` where a window lies outside."""
    batch, rows, columns, channels = image.shape
    maxima = np.full((batch, height, width, channels), lowest, image.dtype)
    for y in range(height):
        top, bottom = max(y * stride[0] - padding[0], 0), min(y * stride[0] - padding[0] + size[0], rows)
        for x in range(width):
            left, right = max(x * stride[1] - padding[1], 0), min(x * stride[1] - padding[1] + size[1], columns)
            for n in range(batch):
                for row in range(top, bottom):
                    for column in range(left, right):
                        largest, values = maxima[n, y, x], image[n, row, column]
                        for channel in range(channels):
                            largest[channel] = max(largest[channel], values[channel])
    return maxima
