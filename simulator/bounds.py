"""Bounds: what no policy and no better kernel could beat, from peak rates, distances and lowest powers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.formats import duration, engineering
from simulator.grid import operational_g
from simulator.metrics import split_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.node import NodeSpec


@dataclass(frozen=True)
class NodeFacts:
    """What bounds need of one node.

    Parameters
    ----------
    macs
        Of one request. [MAC]
    local_macs_per_s, cloud_macs_per_s
        Peak rates. [MAC/s]
    places
        Where the policy can place a request: "local", "remote", or both.
    """

    spec: NodeSpec
    macs: int
    local_macs_per_s: float
    cloud_macs_per_s: float
    places: tuple[str, ...]
    carbon_g_per_kwh: float


@dataclass(frozen=True)
class Bound:
    """A value that a metric cannot pass, and why."""

    value: float
    reason: str


def bound_of(name: str, facts: Sequence[NodeFacts], duration_s: float) -> Bound | None:
    """Return the best value that a metric could have; None where no bound is known."""
    node, metric = split_name(name)
    chosen = [fact for fact in facts if node is None or fact.spec.name == node]
    match metric.partition(".")[0], metric:
        case "latency", _:
            return _latency(chosen)
        case _, "power.average":
            floor_w = math.fsum(lowest_w(fact.spec) for fact in chosen)
            return Bound(floor_w, f"resting alone draws {engineering(floor_w, 'W')}")
        case _, "battery.life":
            return _life(chosen)
        case _, "battery.end":
            ends = [fact.spec.battery.state_of_charge for fact in chosen if fact.spec.battery]
            return Bound(min(ends), "a battery cannot end above its start without charging") if ends else None
        case _, "carbon.total":
            floor_g = math.fsum(_carbon_g(fact, duration_s) for fact in chosen)
            return Bound(floor_g, f"resting alone causes {engineering(floor_g, 'g')}")
    return None


def lowest_w(spec: NodeSpec) -> float:
    """Return the lowest power that a node can draw. [W]"""
    radio_w = spec.offload.radio.idle.draw_w if spec.offload else 0.0
    chip_w = min(spec.idle_w, spec.sleep_w)
    # A device file may give less while computing than while idle: the lower of both is safe.
    return radio_w + (min(chip_w, spec.service.draw_w) if spec.service.draw_w > 0.0 else chip_w)


def _latency(facts: Sequence[NodeFacts]) -> Bound | None:
    options = [option for fact in facts for option in _places(fact)]
    return min(options, key=lambda bound: bound.value) if options else None


def _places(fact: NodeFacts) -> list[Bound]:
    found = []
    if "local" in fact.places:
        seconds = fact.macs / fact.local_macs_per_s
        reason = f"{fact.macs:.3g} MAC at the chip's peak of {engineering(fact.local_macs_per_s, 'MAC/s')}"
        found.append(Bound(seconds, f"{reason} take {duration(seconds)}"))
    offload = fact.spec.offload
    if "remote" in fact.places and offload is not None:
        up_bps, down_bps = max(offload.link.up_bps), max(offload.link.down_bps)
        moving_s = 8.0 * offload.upload_bytes / up_bps + 8.0 * offload.download_bytes / down_bps
        seconds = offload.link.rtt_s + moving_s + fact.macs / fact.cloud_macs_per_s
        found.append(Bound(seconds, f"round trip, transfer and {fact.macs:.3g} MAC at peak take {duration(seconds)}"))
    return found


def _life(facts: Sequence[NodeFacts]) -> Bound | None:
    lives = [_rest_s(fact.spec) for fact in facts if fact.spec.battery]
    if not lives or not math.isfinite(min(lives)):
        return None
    return Bound(min(lives), f"resting alone empties the battery in {duration(min(lives))}")


def _rest_s(spec: NodeSpec) -> float:
    """Return how long a battery lasts at rest. [s]"""
    battery, draw_w = spec.battery, lowest_w(spec)
    if battery is None or draw_w <= 0.0:
        return math.inf
    return (battery.state_of_charge - battery.cutoff) * battery.capacity_j * battery.efficiency / draw_w


def _carbon_g(fact: NodeFacts, duration_s: float) -> float:
    energy_j = lowest_w(fact.spec) * min(duration_s, _rest_s(fact.spec))
    battery = fact.spec.battery
    efficiency = battery.efficiency * battery.charge_efficiency if battery else 1.0
    return operational_g(energy_j, fact.carbon_g_per_kwh, efficiency)
