"""Node: what one device is given, the requests it handles, and what it knows when it decides."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.battery import Battery, BatterySpec
from simulator.link import Signal
from simulator.meter import Meter
from simulator.policies import Request, View
from simulator.radio import tail_energy_j, transfer_energy_j
from simulator.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import simpy

    from simulator.link import Link
    from simulator.policies import Decision
    from simulator.radio import Radio
    from simulator.service import Service

SERVED, MISSED, LOST = "served", "missed", "lost"


@dataclass(frozen=True)
class Offload:
    """What a node needs to offload: the link, its radio, and the service at the other end.

    Parameters
    ----------
    upload_bytes, download_bytes, sensitive_bytes
        What a request sends and receives, and how much of the upload is sensitive. [B]
    network_up_j_per_bit, network_down_j_per_bit
        Energy beyond the radio; None when the link's profile does not know it. [J/bit]
    """

    link: Link
    radio: Radio
    service: Service
    upload_bytes: float
    download_bytes: float
    sensitive_bytes: float = 0.0
    network_up_j_per_bit: float | None = None
    network_down_j_per_bit: float | None = None


@dataclass(frozen=True)
class NodeSpec:
    """One device of a run, with everything random already drawn.

    Parameters
    ----------
    arrivals_s
        Times of arrival, rising. [s]
    local_factors, remote_factors
        Multiples of the mean service time, one per request; empty means 1 for all.
    decide
        The policy; with ``stays`` set, requests stay local for that reason and it is not asked.
    deadline_s
        Latest useful latency; infinite without one. [s]
    """

    name: str
    arrivals_s: Sequence[float]
    service: Service
    decide: Callable[[Request, View], Decision | str]
    offload: Offload | None = None
    stays: str | None = None
    deadline_s: float = math.inf
    battery: BatterySpec | None = None
    idle_w: float = 0.0
    sleep_w: float = 0.0
    sleep_after_s: float = math.inf
    local_factors: Sequence[float] = ()
    remote_factors: Sequence[float] = ()


class Job:
    """One request on its way: where, why there, and each phase's time and energy."""

    # Defaults of the class, not of the object: most requests use few of the phases.
    place: str = "local"
    reason: str = ""
    outcome: str = LOST
    because: str | None = None
    finish_s: float | None = None
    latency_s: float | None = None
    queueing_s: float = 0.0
    compute_s: float = 0.0
    promotion_s: float = 0.0
    uplink_s: float = 0.0
    network_s: float = 0.0
    cloud_queueing_s: float = 0.0
    cloud_s: float = 0.0
    downlink_s: float = 0.0
    compute_j: float = 0.0
    promotion_j: float = 0.0
    uplink_j: float = 0.0
    downlink_j: float = 0.0
    tail_j: float = 0.0
    cloud_j: float = 0.0
    network_j: float = 0.0
    sensitive_bytes: float = 0.0

    def __init__(self, index: int, arrival_s: float) -> None:
        self.index = index
        self.arrival_s = self.since_s = arrival_s


class Node:
    """The state of one device during a run."""

    def __init__(self, spec: NodeSpec) -> None:
        radio_w = spec.offload.radio.idle.draw_w if spec.offload else 0.0
        battery = Battery(spec.battery) if spec.battery else None
        self.spec = spec
        self.meter = Meter(battery, spec.idle_w, spec.sleep_w, spec.sleep_after_s, radio_w)
        self.jobs: list[Job] = []
        self.to_compute: deque[Job] = deque()
        self.compute_idle: simpy.Event | None = None
        self.computing_until_s = 0.0
        self.radio = Turns()
        self.last_byte_s = -math.inf
        self.last_sender: Job | None = None
        self.observed_bps = list(spec.offload.link.up_bps) if spec.offload else [0.0, 0.0, 0.0]
        if spec.offload:  # the device knows the nominal rate until it has seen another
            self.observed_bps[Signal.WEAK] = self.observed_bps[Signal.GOOD]

    def finish(self, job: Job, now_s: float, latency_s: float) -> None:
        """Note that a result is there; the latency is the sum of its phases, free of the clock's rounding."""
        job.finish_s = now_s
        job.latency_s = latency_s
        job.outcome = SERVED if latency_s <= self.spec.deadline_s else MISSED

    def lose(self, job: Job, because: str, now_s: float) -> None:
        """Note that a result will never come."""
        job.outcome, job.because, job.finish_s = LOST, because, now_s

    def charge_tail(self, now_s: float) -> None:
        """Attribute the radio's tail since the last byte to the request that sent it."""
        if self.last_sender is not None and self.spec.offload is not None:
            radio = self.spec.offload.radio
            spent_j = tail_energy_j(now_s - self.last_byte_s, radio.tail_lasts_s, radio.tail_draws_w)
            self.last_sender.tail_j += spent_j
            self.last_sender = None

    def request(self, job: Job) -> Request:
        """Return what the policy may know of a request."""
        offload = self.spec.offload
        sizes = (offload.upload_bytes, offload.download_bytes) if offload else (0.0, 0.0)
        return Request(job.index, job.arrival_s, self.spec.deadline_s, *sizes)

    def view(self, now_s: float) -> View:
        """Return what the device knows now."""
        waiting = len(self.to_compute)
        left_s = self.computing_until_s - now_s
        queue_length = waiting
        service = self.spec.service
        local_s = service.latency_s * (waiting + 1)
        if left_s > 0.0:
            queue_length += 1
            local_s += left_s
        if not service.fits:
            local_s = math.inf
        charge = self.meter.state_of_charge
        offload = self.spec.offload
        if offload is None:
            return View(now_s, charge, queue_length, 0, Signal.NONE, 0.0, local_s, service.energy_j, math.inf, math.inf)
        signal = offload.link.signal_at(now_s)
        up_bps = self.observed_bps[signal]
        sending = len(self.radio)
        remote_s, remote_j = self._remote_estimate(offload, now_s, up_bps, sending)
        return View(now_s, charge, queue_length, sending, signal, up_bps, local_s, service.energy_j, remote_s, remote_j)

    def _remote_estimate(self, offload: Offload, now_s: float, up_bps: float, sending: int) -> tuple[float, float]:
        """Return latency and energy that the device expects of offloading now; infinite without signal."""
        if up_bps <= 0.0 or not offload.service.fits:
            return math.inf, math.inf
        radio, link = offload.radio, offload.link
        up_bits, down_bits = 8.0 * offload.upload_bytes, 8.0 * offload.download_bytes
        up_s, down_s = up_bits / up_bps, down_bits / link.down_bps[Signal.GOOD]
        elapsed_s = 0.0 if sending else now_s - self.last_byte_s
        idle = elapsed_s >= radio.tail_s
        promotion_s = radio.promotion_s if idle else 0.0
        latency_s = promotion_s + up_s * (sending + 1) + link.rtt_s + offload.service.latency_s + down_s
        # A transfer inside a tail restarts it: only the part already spent is paid again.
        energy_j = (
            promotion_s * radio.promotion_w
            + transfer_energy_j(radio.base_w, radio.up_j_per_bit, up_bits, up_s)
            + transfer_energy_j(radio.base_w, radio.down_j_per_bit, down_bits, down_s)
            + tail_energy_j(elapsed_s, radio.tail_lasts_s, radio.tail_draws_w)
        )
        return latency_s, energy_j
