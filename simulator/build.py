"""Building a run: a point of the scenario becomes node specifications with everything random drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_models.energy import idle_power
from simulator import arrivals as draws
from simulator import profiles
from simulator.battery import BatterySpec
from simulator.link import Link, Spells, draw_spells, steps
from simulator.node import NodeSpec, Offload
from simulator.policy import bind
from simulator.services import NOMINAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator.policies import Decision, Request, View
    from simulator.scenario import Point, Scenario
    from simulator.schema import Battery, Cloud, Device, Sections
    from simulator.schema import Link as LinkTable
    from simulator.services import Estimated, Estimates

PRIVATE = "privacy: nothing may leave the device"


@dataclass(frozen=True)
class Draw:
    """Which random numbers a run uses, and which end of the estimates' bands."""

    seed: int
    replication: int
    variant: str = NOMINAL


def build(scenario: Scenario, point: Point, estimates: Estimates, draw: Draw) -> list[NodeSpec]:
    """Return the nodes of a point."""
    return [
        _node(index, name, sections, point, estimates, draw, scenario.folder)
        for index, (name, sections) in enumerate(point.nodes)
    ]


def _node(
    index: int, name: str, sections: Sections, point: Point, estimates: Estimates, draw: Draw, folder: Path
) -> NodeSpec:
    work, device = sections.workload, sections.device
    here = estimates.of(work.model, device)
    rng = draws.stream(draw.seed, draw.replication, index, draws.ARRIVALS)
    idle_w, sleep_w, sleep_after_s = resting(device, here)
    decide: Callable[[Request, View], Decision | str] = bind(
        sections.offload.policy, sections.offload.parameters, folder
    )
    return NodeSpec(
        name=name,
        arrivals_s=draws.draw_arrivals(work.arrivals, rng, point.duration_s, folder),
        service=here.service(draw.variant),
        decide=decide,
        offload=_offload(index, sections, here, point, estimates, draw, folder),
        stays=PRIVATE if work.privacy == "all" else None,
        deadline_s=math.inf if work.deadline_s is None else work.deadline_s,
        battery=battery_spec(device.battery) if device.battery else None,
        idle_w=idle_w,
        sleep_w=sleep_w,
        sleep_after_s=sleep_after_s,
    )


def resting(device: Device, here: Estimated) -> tuple[float, float, float]:
    """Return idle power, sleep power, and the time from idle to sleep, infinite where the node never sleeps."""
    power = here.chip.power
    idle_w = idle_power(here.chip, here.estimate.frequency_hz) if device.idle_w is None else device.idle_w
    if device.sleep_after_s is None:
        return idle_w, idle_w, math.inf
    asleep_w = idle_w if power.sleep is None else power.sleep.value
    return idle_w, asleep_w if device.sleep_w is None else device.sleep_w, device.sleep_after_s


def battery_spec(table: Battery) -> BatterySpec:
    """Return a battery with the defaults for what its table leaves out."""
    defaults = profiles.load_defaults().battery
    kinetic = table.model == "kibam"
    share = defaults.available_share.value if table.available_share is None else table.available_share
    rate_per_s = defaults.rate.value if table.rate_per_s is None else table.rate_per_s
    return BatterySpec(
        capacity_j=table.capacity_j,
        state_of_charge=table.state_of_charge,
        cutoff=defaults.cutoff.value if table.cutoff is None else table.cutoff,
        efficiency=defaults.efficiency.value if table.efficiency is None else table.efficiency,
        charge_efficiency=(
            defaults.charge_efficiency.value if table.charge_efficiency is None else table.charge_efficiency
        ),
        available_share=share if kinetic else 1.0,
        rate_per_s=rate_per_s if kinetic else 0.0,
    )


def pue_of(cloud: Cloud) -> float:
    """Return a cloud's power usage effectiveness."""
    return profiles.load_defaults().cloud.pue.value if cloud.pue is None else cloud.pue


def _offload(
    index: int, sections: Sections, here: Estimated, point: Point, estimates: Estimates, draw: Draw, folder: Path
) -> Offload | None:
    if sections.link is None or sections.cloud is None:
        return None
    work, profile = sections.workload, profiles.load_link(sections.link.profile, folder)
    upload_bytes = float(here.input_bytes) if work.input_bytes is None else work.input_bytes
    network = profile.network
    return Offload(
        link=_link(index, sections.link, profile, point.duration_s, draw),
        radio=profile.the_radio(),
        service=estimates.of(work.model, sections.cloud).service(draw.variant),
        upload_bytes=upload_bytes,
        download_bytes=float(here.output_bytes) if work.output_bytes is None else work.output_bytes,
        sensitive_bytes=upload_bytes * work.sensitive if work.privacy == "none" else 0.0,
        network_up_j_per_bit=network.up.value if network else None,
        network_down_j_per_bit=network.down.value if network else None,
    )


def _link(index: int, table: LinkTable, profile: profiles.LinkProfile, duration_s: float, draw: Draw) -> Link:
    up_bps = profile.link.up.value if table.up_bps is None else table.up_bps
    down_bps = profile.link.down.value if table.down_bps is None else table.down_bps
    weak_up_bps, weak_down_bps = up_bps, down_bps
    weak, outages = [], []
    if table.weak is not None:
        rng = draws.stream(draw.seed, draw.replication, index, draws.WEAK)
        weak = draw_spells(rng, Spells(table.weak.every_s, table.weak.last_s), duration_s)
        factor = table.weak.factor or 1.0
        weak_up_bps = factor * up_bps if table.weak.up_bps is None else table.weak.up_bps
        weak_down_bps = factor * down_bps if table.weak.down_bps is None else table.weak.down_bps
    if table.outages is not None:
        rng = draws.stream(draw.seed, draw.replication, index, draws.OUTAGES)
        outages = draw_spells(rng, Spells(table.outages.every_s, table.outages.last_s), duration_s)
    starts_s, signal = steps(weak, outages)
    patience_s = profiles.load_defaults().link.patience.value if table.patience_s is None else table.patience_s
    return Link(
        starts_s=starts_s,
        signal=signal,
        up_bps=(0.0, weak_up_bps, up_bps),
        down_bps=(0.0, weak_down_bps, down_bps),
        rtt_s=profile.link.round_trip.value if table.round_trip_s is None else table.round_trip_s,
        patience_s=patience_s,
    )
