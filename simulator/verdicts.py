"""Verdicts: expectations met or violated, and published claims audited against prediction, physics, each other."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.record import Verdict
from simulator.bounds import bound_of
from simulator.grid import operational_g
from simulator.metrics import METRICS, half_digit, measure, parse_stated, show, split_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.record import Run
    from simulator.bounds import NodeFacts
    from simulator.schema import Claim, Expect

# Published figures are rounded: what differs by less than this is taken as the same.
ROUNDING = 0.05
ORDERED = ("latency.p50", "latency.p95", "latency.p99")


@dataclass(frozen=True)
class Predicted:
    """One point of the comparison: its runs, one per replication, and those at the ends of the error band."""

    label: str
    settings: Mapping[str, object]
    runs: tuple[Run, ...]
    band: tuple[Run, ...]
    facts: tuple[NodeFacts, ...]
    duration_s: float


def judge(expects: Sequence[Expect], claims: Sequence[Claim], points: Sequence[Predicted]) -> tuple[Verdict, ...]:
    """Return a verdict for each expectation and claim at each point that it speaks about."""
    found = [_expectation(expect, point) for expect in expects for point in points if speaks_of(expect, point.settings)]
    for claim in claims:
        for point in points:
            if speaks_of(claim, point.settings):
                others = [other for other in claims if other is not claim and other.when == claim.when]
                found.append(_audit(claim, others, point))
    return tuple(found)


def speaks_of(stated: Expect | Claim, settings: Mapping[str, object]) -> bool:
    """Whether an expectation or a claim is about a point with these settings."""
    return all(settings.get(key) == value for key, value in stated.when.items())


def _mean(metric: str, runs: Sequence[Run]) -> float | None:
    values = [value for run in runs if (value := measure(metric, run)) is not None]
    return math.fsum(values) / len(values) if values else None


def _expectation(expect: Expect, point: Predicted) -> Verdict:
    """Judge a requirement by the mean of the replications; a metric that does not exist meets none."""
    value = _mean(expect.metric, point.runs)
    limits = [
        (word, parse_stated(expect.metric, raw), raw)
        for word, raw in (("at most", expect.at_most), ("at least", expect.at_least))
        if raw is not None
    ]
    kept = value is not None and all(
        value <= limit if word == "at most" else value >= limit for word, limit, _ in limits
    )
    count = len(point.runs)
    explanation = f"mean of {count} replications" if count > 1 else ""
    return Verdict(
        kind="expect",
        metric=expect.metric,
        run=point.label,
        stated=", ".join(f"{word} {raw}" for word, _, raw in limits),
        predicted="none" if value is None else show(expect.metric, value),
        verdict="met" if kept else "violated",
        explanation="there is no such figure in this run" if value is None else explanation,
    )


def _audit(claim: Claim, others: Sequence[Claim], point: Predicted) -> Verdict:
    """Judge a claim: against other claims first, then physics, then the prediction's band."""
    value = parse_stated(claim.metric, claim.value)
    nominal = _mean(claim.metric, point.runs)
    verdict, explanation = _grade(claim, value, others, point)
    return Verdict(
        kind="claim",
        metric=claim.metric,
        run=point.label,
        stated=str(claim.value),
        predicted="none" if nominal is None else show(claim.metric, nominal),
        verdict=verdict,
        explanation=f"{explanation} (claimed in {claim.source})",
    )


def _grade(claim: Claim, value: float, others: Sequence[Claim], point: Predicted) -> tuple[str, str]:
    metric = claim.metric
    lower_is_better = METRICS[split_name(metric)[1]].lower_is_better
    for other in others:
        if reason := contradiction(metric, value, other.metric, parse_stated(other.metric, other.value), point):
            return "inconsistent", reason
    # A claim is as exact as it is written: "83 ms" speaks of 82.5 to 83.5 ms.
    half = half_digit(metric, claim.value)
    least, most = value - half, value + half
    bound = bound_of(metric, point.facts, point.duration_s)
    if bound is not None and (most < bound.value if lower_is_better else least > bound.value):
        return "impossible", bound.reason
    values = [found for run in (*point.runs, *point.band) if (found := measure(metric, run)) is not None]
    if not values:
        return "unknown", "there is no such figure in this run"
    low, high = min(values), max(values)
    band = f"predicted {show(metric, low)} to {show(metric, high)}" if low < high else f"predicted {show(metric, low)}"
    if low <= most and least <= high:
        return "supported", band
    return ("optimistic" if (value < low) == lower_is_better else "pessimistic"), band


def contradiction(metric: str, value: float, other: str, stated: float, point: Predicted) -> str:
    """Return why two claims about the same runs cannot both hold, or nothing."""
    (node, name), (other_node, other_name) = split_name(metric), split_name(other)
    if node != other_node:
        return ""
    if name == other_name:
        same = math.isclose(value, stated, rel_tol=ROUNDING, abs_tol=0.0)
        return "" if same else f"another claim says {show(other, stated)}"
    pair = {name: value, other_name: stated}
    for lower, higher in itertools.combinations(ORDERED, 2):
        if lower in pair and higher in pair and pair[lower] > pair[higher] * (1.0 + ROUNDING):
            return f"{lower} is claimed above {higher}"
    facts = [fact for fact in point.facts if node is None or fact.spec.name == node]
    if "power.average" in pair and len(facts) == 1:
        return _power_contradiction(pair, facts[0], point.duration_s)
    return ""


def _power_contradiction(pair: Mapping[str, float], fact: NodeFacts, duration_s: float) -> str:
    """Return why a claimed power does not fit a claimed battery life or carbon, or nothing."""
    power_w, battery = pair["power.average"], fact.spec.battery
    if "battery.life" in pair and battery is not None:
        usable_j = (battery.state_of_charge - battery.cutoff) * battery.capacity_j
        needed_j = power_w * pair["battery.life"]
        if not math.isclose(needed_j, usable_j, rel_tol=ROUNDING):
            return f"power.average times battery.life is {needed_j:.3g} J, the battery gives {usable_j:.3g} J"
    if "carbon.total" in pair:
        charge_efficiency = battery.charge_efficiency if battery else 1.0
        least_g = operational_g(power_w * duration_s, fact.carbon_g_per_kwh, charge_efficiency)
        if pair["carbon.total"] * (1.0 + ROUNDING) < least_g:
            return f"power.average alone causes {least_g:.3g} g over the duration"
    return ""
