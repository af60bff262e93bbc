"""The oracle of the accumulators: one row of products in Python integers, written from the definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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
