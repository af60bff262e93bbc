"""Resizing of quantised images: nearest by index, bilinear in 10-bit fixed point, bit for bit as TFLite's reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.operators import Resize2d
    from workloads.tensor import Array

ONE = 1 << 10  # the position of a pixel has 10 fractional bits


def resize2d(x: Array, operator: Resize2d) -> Array:
    """Resize (N,H,W,C) integers; the result keeps their type and quantisation."""
    if operator.kind == "nearest":
        rows, columns = (nearest_index(x.shape[axis + 1], operator.size[axis], operator) for axis in range(2))
        return np.ascontiguousarray(x[:, rows][:, :, columns])
    (top, bottom, row_part), (left, right, column_part) = (
        positions(x.shape[axis + 1], operator.size[axis], operator) for axis in range(2)
    )
    wide = x.astype(np.int64)
    row_part, column_part = row_part[None, :, None, None], column_part[None, None, :, None]
    upper = wide[:, top][:, :, left] * (ONE - column_part) + wide[:, top][:, :, right] * column_part
    lower = wide[:, bottom][:, :, left] * (ONE - column_part) + wide[:, bottom][:, :, right] * column_part
    total = upper * (ONE - row_part) + lower * row_part
    half = 1 << 19
    return np.asarray(np.where(total > 0, (total + half) >> 20, -((half - total) >> 20)), x.dtype)


def nearest_index(extent: int, wanted: int, operator: Resize2d) -> Array:
    """Return the input index of each output index.

    tflite-micro@90b983c2:tensorflow/lite/kernels/internal/reference/resize_nearest_neighbor.h.
    """
    corners = operator.align_corners and wanted > 1
    scale = np.float32(extent - 1) / np.float32(wanted - 1) if corners else np.float32(extent) / np.float32(wanted)
    offset = np.float32(0.5 if operator.half_pixel_centers else 0)
    place = (np.arange(wanted, dtype=np.float32) + offset) * scale
    index = np.floor(place + np.float32(0.5)) if operator.align_corners else np.floor(place)
    return np.asarray(index.astype(np.int64).clip(0, extent - 1))


def positions(extent: int, wanted: int, operator: Resize2d) -> tuple[Array, Array, Array]:
    """Return (index before, index after, fraction towards the latter in 1/1024) of each output index.

    tflite-micro@90b983c2:tensorflow/lite/kernels/internal/reference/resize_bilinear.h, ResizeBilinearInteger.
    """
    if operator.align_corners and wanted > 1:
        scale = (ONE * (extent - 1) + (wanted - 1) // 2) // (wanted - 1)
    else:
        scale = (ONE * extent + wanted // 2) // wanted
    place = np.arange(wanted, dtype=np.int64) * scale
    if operator.half_pixel_centers:
        place = place + scale // 2 - ONE // 2
    before = np.maximum(place // ONE, 0)
    after = np.minimum((place + ONE - 1) // ONE, extent - 1)
    return before, np.maximum(after, 0), place - before * ONE
