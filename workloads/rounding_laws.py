"""How often two roundings of the same sums should disagree, from the multipliers and shifts alone.

With rs the right shift and the fraction of a scaled sum uniform: rounding to 2**-rs first moves a share 2**-(rs+1) of
values onto a tie that the second rounding then takes the wrong way; exact ties have the share 2**-f, where f is the
number of fractional bits of the factor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.requant_profile import RequantProfile
    from workloads.tensor import Array

_KINDS = {
    ("high:half-up", "shift:half-away"): "twice-away", ("high:half-up", "shift:half-up"): "twice-up",
    ("product:half-up",): "up", ("real:half-even",): "even", ("real:half-away",): "away", ("product:floor",): "floor",
}  # fmt: skip
_EXACT = ("q31", "mantissa24", "float32", "float64")  # scale forms that lose at most 2**-24 of the factor


def kind(profile: RequantProfile) -> str | None:
    """Return which law's rounding a profile has; None where there is none: a coarse scale, a limit, an odd offset."""
    if profile.scale not in _EXACT or profile.limit_bits or profile.accumulator not in ("wrap32", "int64"):
        return None
    found = _KINDS.get(profile.steps)
    # With the offset inside a half-to-even rounding, ties depend on whether the zero point is odd.
    return None if profile.offset == "before" and found == "even" else found


def predicted_rate(
    first: RequantProfile, second: RequantProfile, multipliers: Array, shifts: Array, inside: float, negative: float
) -> float | None:
    """Return the share of outputs on which two profiles disagree.

    Parameters
    ----------
    multipliers, shifts
        int32, per channel or one for all.
    inside
        Share of the outputs that are not clamped.
    negative
        Share of the outputs that are not clamped and below the zero point.
    """
    kinds = (kind(first), kind(second))
    if None in kinds:
        return None
    if kinds[0] == kinds[1]:
        return 0.0
    right = np.maximum(-shifts.astype(np.float64), 0)
    twice = np.where(right > 0, 2.0 ** -(right + 1), 0.0)  # of all outputs
    ties = np.where(right > 0, 2.0**-right, 0.0)  # of the values after the first rounding
    exact = 2.0 ** -np.maximum(31 - shifts - _trailing_zeros(multipliers), 1.0)  # of the scaled sums
    pair, doubled = set(kinds), {"twice-away", "twice-up"} & set(kinds)
    if pair == {"twice-away", "twice-up"}:
        rate = negative * ties
    elif "floor" in pair:
        rate = inside * (0.5 + (twice if "twice-up" in pair else 0.0 * twice))
    elif doubled:
        rate = inside * twice
        # An exact tie is rounded once by both; half away then meets half away, and half even differs on every other.
        if "twice-away" in pair and pair & {"away", "even"}:
            rate = rate - negative * exact
        if "twice-up" in pair and "away" in pair:
            rate = rate + negative * exact
        if "even" in pair:
            rate = rate + inside * exact / 2
    elif pair == {"away", "up"}:
        rate = negative * exact
    else:
        rate = inside * exact / 2
    return float(np.mean(rate))


def _trailing_zeros(multipliers: Array) -> Array:
    values = np.abs(multipliers.astype(np.int64))
    lowest = values & -values
    return np.where(values > 0, np.log2(np.maximum(lowest, 1).astype(np.float64)), 0.0)
