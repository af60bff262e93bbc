"""Hypothesis strategies for the parts of a quantised layer: tensors, zero points, and factors of every size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from workloads.tensor import Array

FILLS = ("near", "uniform", "small", "sparse", "lowest", "highest", "corners")
MANTISSAS = (2**30, 2**31 - 1, 2**30 + 1, 3 * 2**29)  # an exact power of two, the largest, and two between


def limits(dtype: str) -> tuple[int, int]:
    """Return the lowest and highest integer of a type; int4 is held in int8."""
    if dtype == "int4":
        return -8, 7
    found = np.iinfo(dtype)
    return int(found.min), int(found.max)


def fill(shape: tuple[int, ...], dtype: str, kind: str, seed: int, center: int = 0) -> Array:
    """Return a tensor by a rule: one of ``FILLS``; "near" and "small" lie around ``center``."""
    low, high = limits(dtype)
    generator = np.random.default_rng(seed)
    match kind:
        case "lowest" | "highest":
            values = np.full(shape, low if kind == "lowest" else high)
        case "corners":
            values = generator.choice([low, high], shape)
        case "sparse":
            values = np.where(generator.random(shape) < 0.2, generator.integers(low, high + 1, shape), center)
        case "near" | "small":
            reach = 1 if kind == "near" else 9
            values = center + generator.integers(-reach, reach + 1, shape)
        case _:
            values = generator.integers(low, high + 1, shape)
    return np.asarray(np.clip(values, low, high).astype("int8" if dtype == "int4" else dtype))


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...], dtype: str = "int8", center: int = 0) -> Array:
    """Integer tensors of a shape: uniform, small, sparse, and all at one or both ends of the type.

    Parameters
    ----------
    dtype
        "int4" (held in int8), "int8", "uint8", "int16" or "int32".
    center
        What small and sparse tensors lie around: the zero point.
    """
    kind = FILLS[draw(st.integers(0, 9)) % len(FILLS)]  # the first three twice: they saturate least
    return fill(shape, dtype, kind, draw(st.integers(0, 2**32 - 1)), center)


@st.composite
def zero_points(draw: st.DrawFn, dtype: str = "int8") -> int:
    """Zero points: 0, both ends of the type, and anything between; 0 only for 16-bit types, as TFLite has it."""
    if dtype == "int16":
        return 0
    low, high = limits(dtype)
    return int(draw(st.one_of(st.sampled_from((0, low, high, 1, -1 if low < 0 else 1)), st.integers(low, high))))


@st.composite
def fixed_factors(draw: st.DrawFn, lowest: int = -31, highest: int = 7) -> tuple[int, int]:
    """Draw multiplier and shift: multipliers of 2**30 (exact ties) up to 2**31 - 1, shifts of both signs."""
    multiplier = draw(st.one_of(st.sampled_from(MANTISSAS), st.integers(2**30, 2**31 - 1)))
    return int(multiplier), int(draw(st.integers(lowest, highest)))


def scales(lowest: float = 2.0**-31, highest: float = 2.0**7) -> st.SearchStrategy[float]:
    """Real factors from accumulator to output, above 1 too; many are powers of two, which give exact ties.

    Each is exactly a 31-bit multiplier times a power of two, so that fixed-point profiles lose nothing in taking it.
    """
    exponents = (math.frexp(lowest)[1], math.frexp(highest)[1])
    return fixed_factors(*exponents).map(lambda pair: math.ldexp(pair[0], pair[1] - 31))


@st.composite
def channel_scales(
    draw: st.DrawFn, channels: int, natural: float, bound: float = 1.0, *, per_channel: bool = True
) -> Array:
    """Factors that bring sums of size ``natural`` into the output's range, or well below, or beyond it.

    Parameters
    ----------
    natural
        Largest magnitude of the accumulators.
    bound
        The largest magnitude an accumulator can have: shifted left it must fit 32 bits, for what it wraps to beyond is
        not defined everywhere.
    per_channel
        Whether the channels may differ.
    """
    center = 7 - max(math.ceil(math.log2(max(natural, 1.0))), 0)
    highest = min(center + 2, 8, max(31 - math.frexp(max(bound, 1.0))[1], 0))
    exponents = (min(max(center - 6, -31), highest), highest)
    multiplier, shift = draw(fixed_factors(*exponents))
    first = math.ldexp(multiplier, shift - 31)
    if not per_channel or not draw(st.booleans()):
        return np.full(channels, first)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mantissas = generator.integers(2**30, 2**31, channels).astype(np.float64)
    found = np.ldexp(mantissas, generator.integers(exponents[0], exponents[1] + 1, channels) - 31)
    found[0] = first
    return np.asarray(found)


def clamps(dtype: str, zero_point: int) -> st.SearchStrategy[tuple[int, int]]:
    """Bounds of the output: the whole type, a ReLU's, or any narrower range."""
    low, high = limits(dtype)
    narrow: Any = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted).map(tuple)
    relu = st.just((max(zero_point, low), high))
    return st.integers(0, 7).flatmap(lambda kind: narrow if kind > 5 else relu if kind == 5 else st.just((low, high)))
