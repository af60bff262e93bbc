"""Signed 4-bit integers, two a byte: the low half first, rows not aligned to bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.tensor import Array

LOWEST, HIGHEST = -8, 7


def unpack(packed: Array, elements: int) -> Array:
    """Return ``elements`` int8 values from packed bytes, sign extended.

    Raises
    ------
    ValueError
        There are more or fewer bytes than the elements need.
    """
    data = np.ascontiguousarray(packed).ravel().view(np.uint8)
    if data.size != (elements + 1) // 2:
        raise ValueError(f"{data.size} bytes hold {2 * data.size} 4-bit values, expected {elements}")
    halves = np.empty(2 * data.size, np.int8)
    halves[0::2] = (data << 4).view(np.int8) >> 4
    halves[1::2] = data.view(np.int8) >> 4
    return halves[:elements]


def pack(values: Array) -> Array:
    """Return the bytes (int8, flat) that hold integers from -8 to 7; a last half byte is zero.

    Raises
    ------
    ValueError
        A value does not fit in four bits.
    """
    flat = np.asarray(values).ravel()
    if flat.size and not LOWEST <= int(flat.min()) <= int(flat.max()) <= HIGHEST:
        raise ValueError(f"values from {int(flat.min())} to {int(flat.max())}, expected {LOWEST} to {HIGHEST}")
    halves = np.zeros(flat.size + flat.size % 2, np.uint8)
    halves[: flat.size] = flat.astype(np.int8).view(np.uint8) & 0x0F
    return (halves[0::2] | halves[1::2] << 4).view(np.int8)
