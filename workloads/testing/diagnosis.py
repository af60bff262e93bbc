"""Where a kernel parts from the profile: which one change to the arithmetic gives exactly the kernel's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.arithmetic import PROFILES, RequantProfile, effective_scales, profile_of, stages
from workloads.testing.calling import output_shape
from workloads.testing.case import Case, expected, requantized, with_operands
from workloads.testing.sums import accumulators, has_terms, held, saturated, terms, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workloads.tensor import Array

PAIRS = "x86-vpmaddubsw"
UNBOUNDED = 2**30  # a clamp that no case reaches
TAILS = (2, 4, 8, 16)  # products that vector kernels take at once


@dataclass(frozen=True, eq=False)
class Change:
    """A slip that kernels make: the step it concerns, in words, and what it gives for a case (None: not applicable)."""

    step: str
    text: str
    compute: Callable[[Case], Array | None]
    sums: Callable[[Case], Array] | None = None
    profile: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The step at which a kernel parts from its profile.

    Parameters
    ----------
    step
        "accumulate", "scale", "round", "offset" or "clamp"; for operators that are no single requantisation "values".
    explanation
        What the kernel does as far as its numbers tell.
    confirmed
        Whether one slip reproduces every number of every case looked at.
    steps
        (step, the profile's value, the kernel's value or None where its numbers do not tell) at the worst output.
    """

    step: str
    explanation: str
    confirmed: bool
    steps: tuple[tuple[str, float, float | None], ...] = ()


def diagnose(pairs: Sequence[tuple[Case, Array]], profile: str) -> Diagnosis:
    """Explain a difference.

    Parameters
    ----------
    pairs
        Cases and the kernel's outputs; the first is the counterexample, the others confirm or refute.
    """
    case, found = pairs[0]
    truth = expected(case, profile)
    index = worst(found, truth)
    for change in changes(case, profile):
        if all(_explains(change, other, output) for other, output in pairs):
            steps = _steps(case, profile, index, int(found[index]), change)
            return Diagnosis(change.step, change.text, confirmed=True, steps=steps)
    steps = _steps(case, profile, index, int(found[index]), None)
    place = next((found for found in (_place(other, output, profile) for other, output in pairs) if found), "")
    step, text = _guess(case, found, truth, place, profile)
    return Diagnosis(step, text, confirmed=False, steps=steps)


def worst(found: Array, truth: Array) -> tuple[int, ...]:
    """Return the position of the largest difference."""
    distance = np.abs(found.astype(np.int64) - truth.astype(np.int64))
    return tuple(int(i) for i in np.unravel_index(int(distance.argmax()), truth.shape))


def changes(case: Case, profile: str) -> Iterator[Change]:
    """Yield the slips that a kernel of this operator may make, the likely ones first."""
    if has_terms(case):
        yield from _sum_changes(profile)
    if has_terms(case) or case.op == "requantize":
        yield from _final_changes(profile)
    yield from _roundings(profile)
    if case.op == "average_pool2d":
        yield Change("round", "the quotient is truncated, not rounded", lambda c: _average(c, "truncate"))
        yield Change("accumulate", "positions in the padding are counted", lambda c: _average(c, "padded"))
    if case.op == "max_pool2d":
        yield Change("accumulate", "positions in the padding count as 0", _padded_maximum)
    yield Change("clamp", "low and high are not applied", lambda c: expected(_open(c), profile))


def _sum_changes(profile: str) -> Iterator[Change]:
    def from_sums(text: str, sums: Callable[[Case], Array | None]) -> Change:
        def compute(case: Case) -> Array | None:
            total = sums(case)
            return None if total is None else requantized(case, _held(total), profile)

        return Change("accumulate", text, compute, lambda case: np.asarray(sums(case)))

    yield from_sums("padded positions hold 0 instead of the input zero point", lambda c: accumulators(c, padded=0))
    yield from_sums("the input zero point is added, not subtracted", lambda c: accumulators(c, sign=1))
    yield from_sums("the input zero point is not subtracted", lambda c: accumulators(c, sign=0))
    yield from_sums("sums wrap at 16 bits", lambda c: wrapped(accumulators(c), 16))
    yield from_sums("sums saturate at 16 bits", lambda c: saturated(c, 16))
    yield from_sums("sums wrap at 32 bits", lambda c: wrapped(accumulators(c), 32))
    yield from_sums("sums saturate at 32 bits", lambda c: saturated(c, 32))
    yield from_sums("pairs of products saturate at 16 bits", lambda c: held(c, PAIRS))
    yield from_sums("the bias is left out", lambda c: np.asarray(terms(c).sum(axis=-1)))
    for width in TAILS:
        yield from_sums(f"the last products beyond a multiple of {width} are left out", partial(_tailless, width=width))


def _final_changes(profile: str) -> Iterator[Change]:
    def unclamped(case: Case) -> Array:
        wide = with_operands(case, low=-UNBOUNDED, high=UNBOUNDED, dtype="int32")
        return requantized(wide, _held(held(case, profile)), profile)

    def shifted(case: Case, sign: int) -> Array:
        zero_point = case.operands.output_zero_point
        raw = requantized(
            with_operands(case, output_zero_point=0, low=-UNBOUNDED, high=UNBOUNDED, dtype="int32"),
            _held(held(case, profile)), profile,
        )  # fmt: skip
        return np.asarray(np.clip(raw + sign * zero_point, case.operands.low, case.operands.high))

    def clamped_early(case: Case) -> Array:
        limits = np.iinfo(case.operands.dtype)
        raw = requantized(
            with_operands(case, output_zero_point=0, low=limits.min, high=limits.max),
            _held(held(case, profile)),
            profile,
        )
        return np.clip(raw.astype(np.int64) + case.operands.output_zero_point, case.operands.low, case.operands.high)

    yield Change(
        "clamp", "the result wraps into the output's type instead of saturating",
        lambda c: unclamped(c).astype(c.operands.dtype),
    )  # fmt: skip
    yield Change(
        "clamp", "the result wraps into the output's type before low and high are applied",
        lambda c: np.clip(unclamped(c).astype(c.operands.dtype), c.operands.low, c.operands.high),
    )  # fmt: skip
    yield Change("offset", "the output zero point is subtracted, not added", lambda c: shifted(c, -1))
    yield Change("offset", "the output zero point is not added", lambda c: shifted(c, 0))
    yield Change("clamp", "the result is clamped before the output zero point is added", clamped_early)


def _roundings(profile: str) -> Iterator[Change]:
    """Yield every other preset: as a different rounding, or as another form of the scale."""
    mine = profile_of(profile)
    seen = {_arithmetic(mine)}
    for name, other in PROFILES.items():
        if _arithmetic(other) in seen or other.accumulator == "pair16" != mine.accumulator:
            continue
        seen.add(_arithmetic(other))
        roundings = ", ".join(step.replace(":", " ") for step in other.steps)
        text = f"computes as profile {name} ({other.scale}: {roundings})"
        step = "round" if other.scale == mine.scale else "scale"
        yield Change(step, text, partial(expected, profile=name), profile=name)


def _arithmetic(profile: RequantProfile) -> tuple[object, ...]:
    return profile.scale, profile.steps, profile.offset, profile.clamp, profile.limit_bits


def _explains(change: Change, case: Case, found: Array) -> bool:
    try:
        computed = change.compute(case)
    except ValueError:
        return False
    return computed is not None and computed.shape == found.shape and bool((computed == found).all())


def _held(total: Array) -> Array:
    """Return sums as an accumulator of 32 bits holds them, unless they need 64."""
    return total if total.dtype == np.int64 and np.abs(total).max(initial=0) >= 2**31 else total.astype(np.int32)


def _tailless(case: Case, width: int) -> Array:
    products = terms(case)
    total = products[..., : products.shape[-1] // width * width].sum(axis=-1)
    return np.asarray(total if case.operands.bias is None else total + case.operands.bias.astype(np.int64))


def _open(case: Case) -> Case:
    limits = np.iinfo(case.operands.dtype)
    return with_operands(case, low=int(limits.min), high=int(limits.max))


def _average(case: Case, slip: str) -> Array:
    """Average pool with one slip."""
    operator: Any = case.operator
    x = case.inputs[0].astype(np.int64)
    sums = _pooled(x, operator).sum(axis=(-1, -2))
    area = operator.kernel[0] * operator.kernel[1]
    inside = _pooled(np.ones_like(x), operator).sum(axis=(-1, -2))
    count = np.full_like(sums, area) if slip == "padded" else np.maximum(inside, 1)
    half = 0 if slip == "truncate" else count // 2
    quotient = np.sign(sums) * ((np.abs(sums) + half) // count)
    return np.asarray(np.clip(quotient, case.operands.low, case.operands.high))


def _padded_maximum(case: Case) -> Array:
    return np.asarray(
        np.clip(_pooled(case.inputs[0], case.operator).max(axis=(-1, -2)), case.operands.low, case.operands.high)
    )


def _pooled(values: Array, operator: Any) -> Array:
    """Return the windows of a pool over an image padded with 0."""
    top, left, bottom, right = operator.padding
    image = np.pad(values, ((0, 0), (top, bottom), (left, right), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(image, operator.kernel, axis=(1, 2))
    return np.asarray(view[:, :: operator.stride[0], :: operator.stride[1]])


def _steps(
    case: Case, profile: str, index: tuple[int, ...], found: int, change: Change | None
) -> tuple[tuple[str, float, float | None], ...]:
    """Return the values after each step at one output, the profile's and, where a slip explains them, the kernel's."""
    if not (has_terms(case) or case.op == "requantize"):
        return (("values", float(expected(case, profile)[index]), float(found)),)
    ours = _staged(case, int(held(case, profile)[index]), index, profile)
    theirs: dict[str, float] = {}
    if change is not None and change.sums is not None:
        theirs = dict(_staged(case, int(change.sums(case)[index]), index, profile))
    elif change is not None and change.profile is not None:
        theirs = dict(_staged(case, int(held(case, profile)[index]), index, change.profile))
    names = [name for name, _ in ours]
    known = names.index(change.step) if change is not None and change.step in names else 0
    rows = []
    for position, (name, value) in enumerate(ours):
        last = position == len(ours) - 1
        agreed = value if change is not None and position < known else None
        rows.append((name, value, float(found) if last else theirs.get(name, agreed)))
    return tuple(rows)


def _staged(case: Case, accumulator: int, index: tuple[int, ...], profile: str) -> tuple[tuple[str, float], ...]:
    operands = case.operands
    stated = operands.stated.output if operands.stated is not None else None
    scales = effective_scales(operands, profile) if stated is None else stated.scales
    scale = float(scales[index[-1] if scales.size > 1 else 0])
    bounds = (operands.output_zero_point, operands.low, operands.high)
    found = stages(accumulator, scale, *bounds, profile, operands.output_scale)
    return tuple((name, float(value)) for name, value in found)


def _guess(case: Case, found: Array, truth: Array, place: str, profile: str) -> tuple[str, str]:
    """Name the likeliest step from the size and place of the differences."""
    distance = found.astype(np.int64) - truth.astype(np.int64)
    if place:
        return "accumulate", f"no known slip; all differing outputs are in {place}"
    point = case.operands.output_zero_point
    if point and set(np.unique(distance)) <= {0, -point, -2 * point}:
        return "offset", "no known slip; the differences are multiples of the output zero point"
    if np.abs(distance).max() <= 1:
        return "round", "no known slip; all differences are of one step"
    bounds = np.isin(truth, (case.operands.low, case.operands.high))
    if bool(bounds[distance != 0].all()):
        return "clamp", f"no known slip; only outputs that {profile} clamps differ"
    return "accumulate", "no known slip; the differences are larger than any rounding"


def _place(case: Case, found: Array, profile: str) -> str:
    """Say whether all differences lie in the tail of one axis; empty when they do not, or there are none."""
    shape, wrong = output_shape(case), np.argwhere(found != expected(case, profile))
    if not wrong.size:
        return ""
    names = {4: ("sample", "row", "column", "channel"), 2: ("row", "channel")}.get(len(shape), ())
    if len(shape) == 4 and shape[1] * shape[2] > 1:
        pixels = wrong[:, 1] * shape[2] + wrong[:, 2]
        if bool((pixels == shape[1] * shape[2] - 1).all()):
            return f"the last of {shape[1] * shape[2]} pixels"
    for axis, name in reversed(list(enumerate(names))):
        if shape[axis] > 1 and bool((wrong[:, axis] == shape[axis] - 1).all()):
            return f"the last of {shape[axis]} {name}s"
    return ""
