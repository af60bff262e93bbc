"""Kernels that move elements without arithmetic, for any element type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.operators import Concat, Pad, Padding, Slice, Transpose
    from workloads.tensor import Array


def pad_image(image: Array, padding: Padding, value: float = 0) -> Array:
    """Return (N,H,W,C) with ``value`` around (top, left, bottom, right), contiguous."""
    if not any(padding):
        return np.ascontiguousarray(image)
    top, left, bottom, right = padding
    return np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=image.dtype.type(value))


def pad(x: Array, operator: Pad, value: float) -> Array:
    """Pad each axis with ``value``, given in the array's own type."""
    return np.pad(x, operator.amounts, constant_values=x.dtype.type(value))


def concat(inputs: Sequence[Array], operator: Concat) -> Array:
    """Concatenate along the operator's axis."""
    return np.concatenate(list(inputs), axis=operator.axis)


def take(x: Array, operator: Slice) -> Array:
    """Cut a range out of one axis, into contiguous memory."""
    return np.ascontiguousarray(x.take(range(operator.begin, operator.begin + operator.extent), operator.axis))


def transpose(x: Array, operator: Transpose) -> Array:
    """Permute the axes, into contiguous memory."""
    return np.ascontiguousarray(x.transpose(operator.permutation))


def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """Return the same elements under another shape."""
    return x.reshape(shape)
