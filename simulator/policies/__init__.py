"""Offload policies: one function ``decide(request, view)`` per file, and what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from simulator.link import Signal

LOCAL, REMOTE = "local", "remote"


class Decision(NamedTuple):
    """Where a request runs, "local" or "remote", and why."""

    place: str
    reason: str


class Request(NamedTuple):
    """What a policy knows of a request; ``deadline_s`` counts from the arrival and may be infinite."""

    number: int
    arrival_s: float
    deadline_s: float
    upload_bytes: float
    download_bytes: float


class View(NamedTuple):
    """What the device knows when a request arrives: estimates and observations, not the truth.

    Parameters
    ----------
    state_of_charge
        0..1; a node on mains counts as full.
    queue_length, radio_queue_length
        Requests that wait or run here; transfers that wait or run.
    signal
        What the signal bars show now.
    uplink_bps
        Last observed under this signal, or the link's nominal rate before the first transfer. [bit/s]
    local_latency_s, local_energy_j
        Estimate of running here, with the queue; infinite when the model does not fit.
    remote_latency_s, remote_energy_j
        Estimate of offloading, the radio's promotion and tail included, the server's queue unknown.
    """

    time_s: float
    state_of_charge: float
    queue_length: int
    radio_queue_length: int
    signal: Signal
    uplink_bps: float
    local_latency_s: float
    local_energy_j: float
    remote_latency_s: float
    remote_energy_j: float
