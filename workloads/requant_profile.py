"""The record of a requantisation profile: what a target does between its accumulator and the integer it stores."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from workloads.errors import did_you_mean

ACCUMULATORS = MappingProxyType(
    {
        "wrap32": "sums wrap at 32 bits",
        "sat32": "each addition saturates at 32 bits, in the order of the depth",
        "pair16": "products of unsigned and signed bytes add up in pairs that saturate at 16 bits; sums wrap at 32",
        "int64": "sums are held in 64 bits",
    }
)
SCALES = MappingProxyType(
    {
        "q31": "31-bit multiplier and shift",
        "q15": "multiplier rounded to 15 bits, and shift",
        "mantissa24": "the 24-bit mantissa of a float32 and its exponent",
        "float32": "float32",
        "float64": "float64",
        "fp19": "float32 cut to 10 mantissa bits",
        "fp19-rounded": "float32 rounded to 10 mantissa bits",
        "fp16": "float32 to dequantise, then float16 to quantise",
    }
)
ROUNDINGS = ("half-up", "half-away", "half-even", "floor", "odd")
STEPS = MappingProxyType(
    {  # scale form -> the operations whose rounding a profile names, in order
        "q31": (("high", "shift"), ("product",)),
        "q15": (("product",),),
        "mantissa24": (("product",),),
        "float32": (("real",),),
        "float64": (("real",),),
        "fp19": (("real",),),
        "fp19-rounded": (("real",),),
        "fp16": (("half", "half", "half", "real"),),
    }
)
OPERATIONS = MappingProxyType(
    {
        "high": "upper half of the product",
        "shift": "right shift",
        "product": "whole product shifted at once",
        "half": "result in float16",
        "real": "to integer",
    }
)


@dataclass(frozen=True, kw_only=True)
class RequantProfile:
    """How one target, at one version, turns an accumulator into an output integer.

    Parameters
    ----------
    name, version
        Of the arithmetic; the version is that of the software or document the record was read from.
    accumulator
        A key of ``ACCUMULATORS``.
    scale
        A key of ``SCALES``: the form in which the factor from accumulator to output is held.
    steps
        The roundings in order, each "operation:rounding" with a rounding of ``ROUNDINGS``; which operations a scale
        form has is in ``STEPS``.
    offset
        "after" or "before" the last rounding: where the zero point is added.
    offset_bits
        Width of the signed field that holds the zero point.
    clamp
        "last", or "first": the bounds, less the zero point, are applied before the rounding.
    factor
        "float64" or "float32": the precision in which the target computes the factor from the scales of a layer.
    limit_bits
        Width of a signed clip before the rounding, besides the clamp; 0 for none.
    verified
        Whether outputs of the target itself, or test vectors published for it, were reproduced bit for bit.
    source
        Where the arithmetic is defined or was measured.

    Raises
    ------
    ValueError
        A field holds an unknown word, or fields do not go together; all faults at once.
    """

    name: str
    version: str
    accumulator: str
    scale: str
    steps: tuple[str, ...]
    offset: str = "after"
    offset_bits: int = 32
    clamp: str = "last"
    limit_bits: int = 0
    factor: str = "float64"
    verified: bool
    source: str

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise ValueError(f"profile {self.name!r}: " + "; ".join(problems))

    @property
    def roundings(self) -> tuple[str, ...]:
        """The rounding of each step."""
        return tuple(step.partition(":")[2] for step in self.steps)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operation of each step."""
        return tuple(step.partition(":")[0] for step in self.steps)


def _problems(profile: RequantProfile) -> list[str]:
    problems = []
    words: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("accumulator", profile.accumulator, tuple(ACCUMULATORS)),
        ("scale", profile.scale, tuple(SCALES)),
        ("offset", profile.offset, ("after", "before")),
        ("clamp", profile.clamp, ("first", "last")),
        ("factor", profile.factor, ("float32", "float64")),
        *(("rounding", rounding, ROUNDINGS) for rounding in profile.roundings),
    )
    for field, word, known in words:
        if word not in known:
            problems.append(f"{field} {word!r} is unknown; {did_you_mean(word, known)}")
    forms = STEPS.get(profile.scale, (profile.operations,))
    if profile.operations not in forms:
        expected = " or ".join(" then ".join(form) for form in forms)
        problems.append(
            f"steps {profile.steps!r} do not fit scale {profile.scale!r}; expected the operations {expected}"
        )
    fixed = profile.scale in ("q31", "q15", "mantissa24")
    if fixed and (profile.offset, profile.clamp, profile.limit_bits) != ("after", "last", 0):
        problems.append(f"scale {profile.scale!r} takes its offset after the rounding, clamps last and has no limit")
    if profile.accumulator == "int64" and profile.scale not in ("q15", "float32", "float64"):
        problems.append(f"a 64-bit accumulator times scale {profile.scale!r} overflows; use q15, float32 or float64")
    if profile.clamp == "first" and profile.offset == "before":
        problems.append("a clamp before the rounding takes its offset after it")
    return problems


def describe(profile: RequantProfile) -> str:
    """Return one sentence on a profile, ending in a warning where it is unverified."""
    steps = ", ".join(f"{OPERATIONS[operation]} rounded {rounding}" for operation, rounding in
                      zip(profile.operations, profile.roundings, strict=True))  # fmt: skip
    parts = [f"{ACCUMULATORS[profile.accumulator]}; scale: {SCALES[profile.scale]}; {steps}"]
    if profile.limit_bits:
        parts.append(f"clipped to {profile.limit_bits} bits before that")
    if profile.clamp == "first":
        parts.append("clamped before the rounding")
    parts.append(f"zero point added {profile.offset} it")
    return "; ".join(parts) + ("" if profile.verified else "; UNVERIFIED: not shown to equal the target")
