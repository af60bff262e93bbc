"""Transmission: a node's transfers over its radio, one at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from simulator.link import plan_transfer
from simulator.radio import listening_wait_s, phase_at, transfer_energy_j

if TYPE_CHECKING:
    from collections.abc import Generator

    import simpy

    from simulator.link import Transfer
    from simulator.node import Job, Node, Offload
    from simulator.radio import Radio

    Process = Generator[simpy.Event, object, None]
    Answer = Generator[simpy.Event, object, bool]

NO_SIGNAL = "no signal for longer than the patience"


def send(
    env: simpy.Environment, node: Node, offload: Offload, job: Job, *, up: bool
) -> Generator[simpy.Event, object, bool]:
    """Move a transfer when the radio is free, and say whether it arrived. Nothing to send never troubles the radio.

    Transfers go in the order in which they became ready, whichever the direction. A brown-out ends them all: what
    then holds the radio never leaves it.
    """
    job.since_s = env.now
    if not (offload.upload_bytes if up else offload.download_bytes):
        return True
    if (turn := node.radio.take(env)) is not None:
        yield turn
    covered = yield from _find_signal(env, offload)
    if covered and not up:
        yield from _await_listening(env, node, offload.radio)
    if not node.meter.advance(env.now):
        return False
    arrived = False
    if covered:
        transfer = _start(env, node, offload, job, up=up)
        yield env.timeout(transfer.finish_s - env.now)
        if not node.meter.advance(env.now):
            return False
        _end(env, node, offload, job, transfer, up=up)
        arrived = transfer.delivered
    node.radio.leave()
    if not arrived:
        node.lose(job, NO_SIGNAL, env.now)
    return arrived


def _find_signal(env: simpy.Environment, offload: Offload) -> Answer:
    """Wait for a signal as long as the patience lasts; say whether there is one."""
    wait_s = offload.link.coverage_from_s(env.now) - env.now
    if wait_s > 0.0:
        yield env.timeout(min(wait_s, offload.link.patience_s))
    return wait_s <= offload.link.patience_s


def _await_listening(env: simpy.Environment, node: Node, radio: Radio) -> Process:
    """Wait until a radio in its tail or idle listens; a new phase begins by listening."""
    phase, into_s = phase_at(radio, env.now - node.last_byte_s)
    wait_s = min(listening_wait_s(into_s, phase.on_s, phase.cycle_s), phase.last_s - into_s)
    if wait_s > 0.0:
        yield env.timeout(wait_s)


def _start(env: simpy.Environment, node: Node, offload: Offload, job: Job, *, up: bool) -> Transfer:
    """Plan a transfer and what the radio draws during and after it."""
    radio, link, now_s = offload.radio, offload.link, env.now
    node.charge_tail(now_s)
    promotion_s = radio.promotion_s if now_s - node.last_byte_s >= radio.tail_s else 0.0
    start_s = now_s + promotion_s
    bits = 8.0 * (offload.upload_bytes if up else offload.download_bytes)
    transfer = plan_transfer(link, start_s, bits, link.up_bps if up else link.down_bps)
    j_per_bit = radio.up_j_per_bit if up else radio.down_j_per_bit
    plan = [(start_s, radio.promotion_w)] if promotion_s > 0.0 else []
    plan += [(until_s, radio.base_w + j_per_bit * rate_bps) for until_s, rate_bps in transfer.pieces]
    until_s = transfer.finish_s
    for phase in radio.tail:
        until_s += phase.last_s
        plan.append((until_s, phase.draw_w))
    plan.append((math.inf, radio.idle.draw_w))
    node.meter.transmit(plan)
    if up:
        job.queueing_s += now_s - job.since_s
        job.promotion_s = promotion_s
    job.promotion_j += promotion_s * radio.promotion_w
    return transfer


def _end(env: simpy.Environment, node: Node, offload: Offload, job: Job, transfer: Transfer, *, up: bool) -> None:
    """Book a finished transfer on its request, and remember the rate that was seen."""
    radio, finish_s = offload.radio, transfer.finish_s
    bits = transfer.bits
    if up:
        start_s = transfer.start_s
        job.uplink_s = finish_s - start_s
        job.uplink_j = transfer_energy_j(radio.base_w, radio.up_j_per_bit, bits, job.uplink_s)
        network_j_per_bit = offload.network_up_j_per_bit
        if transfer.delivered:
            node.observed_bps[offload.link.signal_at(start_s)] = bits / job.uplink_s
    else:
        job.downlink_s = finish_s - job.since_s
        network_j_per_bit = offload.network_down_j_per_bit
        # Waiting for the radio to listen belongs to the time of a downlink; its energy is in the tail.
        job.downlink_j = transfer_energy_j(radio.base_w, radio.down_j_per_bit, bits, finish_s - transfer.start_s)
    if network_j_per_bit is not None:
        job.network_j += bits * network_j_per_bit
    node.last_byte_s = env.now
    node.last_sender = job
