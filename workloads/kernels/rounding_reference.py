"""The oracle of requantisation: one accumulator, step by step, in Python integers, fractions and numpy scalars.

Written from the definitions; shares no code with the compiled form.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.requant_profile import RequantProfile

Stages = tuple[tuple[str, "int | float"], ...]
LARGEST = Fraction(2) ** 62


def rounded(real: Fraction, rounding: str) -> int:
    """Round an exact real to an integer."""
    below = math.floor(real)
    rest = real - below
    match rounding:
        case "half-up":
            return math.floor(real + Fraction(1, 2))
        case "half-away":
            return math.floor(real + Fraction(1, 2)) if real >= 0 else -math.floor(-real + Fraction(1, 2))
        case "half-even":
            return round(real)
        case "floor":
            return below
        case "odd":
            return below if rest == 0 or below % 2 == 1 else below + 1
    raise ValueError(f"rounding {rounding!r} is unknown")


def held(total: int, accumulator: str) -> int:
    """Return what an accumulator holds of an exact sum that it received in one addition."""
    if accumulator == "sat32":
        return min(max(total, -(2**31)), 2**31 - 1)
    half = 2**63 if accumulator == "int64" else 2**31
    return (total + half) % (2 * half) - half


def quantize_multiplier(scale: float) -> tuple[int, int]:
    """Search the exponent that brings the multiplier into [2**30, 2**31)."""
    real = Fraction(scale)
    for shift in range(-31, 31):
        multiplier = rounded(real * Fraction(2) ** (31 - shift), "half-up")
        if 2**30 <= multiplier < 2**31:
            return multiplier, shift
    return (0, 0) if real < 1 else (2**31 - 1, 30)


def stages(
    total: int, scale: float, zero_point: int, low: int, high: int, profile: RequantProfile, output_scale: float = 1.0
) -> Stages:
    """Return (name, value) after each step of one requantisation, the result last."""
    accumulator = held(int(total), profile.accumulator)
    first = ("accumulate", accumulator)
    if profile.scale in ("q31", "q15"):
        pair = quantize_multiplier(scale)
        return first, *fixed_stages(accumulator, *pair, zero_point, low, high, profile)
    if profile.scale == "mantissa24":
        real = Fraction(float(np.float32(scale))) * accumulator
        return first, ("scale", float(real)), *_last(rounded(real, profile.roundings[0]), zero_point, low, high)
    bounds = (zero_point, low, high)
    if profile.scale == "fp16":
        return first, *_half(accumulator, scale, output_scale, *bounds, profile)
    return first, *_real(accumulator, scale, *bounds, profile)


def fixed_stages(
    accumulator: int, multiplier: int, shift: int, zero_point: int, low: int, high: int, profile: RequantProfile
) -> Stages:
    """Return the steps after the accumulator of a profile that takes a multiplier and a shift."""
    power = Fraction(2) ** shift
    if profile.scale == "q15":
        multiplier = 0x7FFF if multiplier >= 0x7FFF0000 else rounded(Fraction(multiplier, 2**16), "half-up")
        real = accumulator * multiplier * power / 2**15
        return ("scale", float(real)), *_last(rounded(real, profile.roundings[0]), zero_point, low, high)
    if profile.operations == ("product",):
        real = accumulator * multiplier * power / 2**31
        return ("scale", float(real)), *_last(rounded(real, profile.roundings[0]), zero_point, low, high)
    shifted = held(accumulator * 2 ** max(shift, 0), "wrap32")
    upper = rounded(Fraction(shifted * multiplier, 2**31), profile.roundings[0])
    value = rounded(Fraction(upper, 2 ** max(-shift, 0)), profile.roundings[1])
    return ("scale", upper), *_last(value, zero_point, low, high)


def _last(value: int, zero_point: int, low: int, high: int) -> Stages:
    shifted = value + zero_point
    return ("round", value), ("offset", shifted), ("clamp", min(max(shifted, low), high))


def _real(accumulator: int, scale: float, zero_point: int, low: int, high: int, profile: RequantProfile) -> Stages:
    """Multiply in the float type of the profile, then clip, offset, round and clamp in its order."""
    kind = np.float64 if profile.scale == "float64" else np.float32
    with np.errstate(over="ignore", under="ignore"):
        value = kind(accumulator) * kind(_cut(scale, profile.scale))
    steps: list[tuple[str, int | float]] = [("scale", float(value))]
    if profile.limit_bits:
        edge = 2 ** (profile.limit_bits - 1)
        value = min(max(value, kind(-edge)), kind(edge - 1))
        steps.append(("limit", float(value)))
    if profile.clamp == "first":
        value = min(max(value, kind(low - zero_point)), kind(high - zero_point))
        steps.append(("clamp", float(value)))
    if profile.offset == "before":
        value = kind(value + kind(zero_point))
        steps.append(("offset", float(value)))
    # A real beyond 62 bits, infinity included, stays there: every clamp lies far inside.
    exact = Fraction(math.copysign(2.0**62, value)) if abs(value) > 2.0**62 else Fraction(float(value))
    result = rounded(exact, profile.roundings[-1])
    steps.append(("round", result))
    if profile.offset == "after":
        result += zero_point
        # Bounds beyond 24 bits may be no float32: the clamp before the rounding then lets a little more through.
        result = min(max(result, low), high) if profile.clamp == "first" else result
        steps.append(("offset", result))
    if profile.clamp == "last":
        result = min(max(result, low), high)
        steps.append(("clamp", result))
    return tuple(steps)


def _cut(scale: float, form: str) -> float:
    """Return a scale in its form: a float32 may lose its low 13 mantissa bits."""
    if form not in ("fp19", "fp19-rounded"):
        return scale
    mantissa, exponent = math.frexp(float(np.float32(scale)))
    unit = mantissa * 2**11  # 11 bits, of which the first is implied
    whole = math.floor(unit) if form == "fp19" else math.floor(unit + 0.5)
    return math.ldexp(whole, exponent - 11)


def _half(
    accumulator: int,
    scale: float,
    output_scale: float,
    zero_point: int,
    low: int,
    high: int,
    profile: RequantProfile,
) -> Stages:
    """Dequantise to float16, then quantise in float16."""
    half = np.float16
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        real = half(np.float32(accumulator) * np.float32(scale * output_scale))
        scaled = real * half(1 / output_scale)
        value = half(scaled + half(zero_point))
    bounded = min(max(float(value), -(2.0**62)), 2.0**62)
    result = rounded(Fraction(bounded), profile.roundings[-1])
    return (
        ("scale", float(scaled)), ("offset", float(value)), ("round", result), ("clamp", min(max(result, low), high)),
    )  # fmt: skip
