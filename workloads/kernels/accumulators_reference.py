"""The oracle of the accumulators: one row of products in Python integers, written from the definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.tensor import Array


def accumulate(x_row: Sequence[int], w_row: Sequence[int], accumulator: str, start: int = 0) -> int:
    """Return what an accumulator holds after one row of products."""
    products = [int(x) * int(w) for x, w in zip(x_row, w_row, strict=True)]
    match accumulator:
        case "wrap32":
            return wrapped(start + sum(products), 32)
        case "int64":
            return wrapped(start + sum(products), 64)
        case "sat32":
            total = start
            for product in products:
                total = saturated(total + product, 32)
            return total
        case "pair16":
            pairs = [saturated(sum(products[index : index + 2]), 16) for index in range(0, len(products), 2)]
            return wrapped(start + sum(pairs), 32)
    raise ValueError(f"accumulator {accumulator!r} is unknown")


def wrapped(value: int, bits: int) -> int:
    """Return the signed integer of ``bits`` bits that a value wraps to."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def saturated(value: int, bits: int) -> int:
    """Return the signed integer of ``bits`` bits nearest to a value."""
    half = 1 << (bits - 1)
    return min(max(value, -half), half - 1)


def paired_sums(x: Array, w: Array, x_zero: int, w_zero: int) -> Array:
    """Return sums of raw int8 or uint8 (rows, depth) against raw int8 (columns, depth), paired as unsigned by signed.

    With u = x + 128 where x is signed: sum (u - uz)(w - wz) = sum u w - uz sum w - wz sum u + depth uz wz, of which
    only the first sum runs in pairs.
    """
    flip = 128 if x.dtype == np.int8 else 0
    sums = np.empty((len(x), len(w)), np.int64)
    for row, column in np.ndindex(*sums.shape):
        u, v = [int(value) + flip for value in x[row]], [int(value) for value in w[column]]
        corrections = (x_zero + flip) * sum(v) + w_zero * sum(u) - len(u) * (x_zero + flip) * w_zero
        sums[row, column] = wrapped(accumulate(u, v, "pair16") - corrections, 32)
    return sums
