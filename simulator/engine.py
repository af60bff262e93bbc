"""The reference engine: SimPy processes for arrivals, devices, radios and servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import simpy

from simulator.node import Job, Node
from simulator.policies import LOCAL, REMOTE
from simulator.transmission import send
from simulator.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from simulator.node import NodeSpec, Offload
    from simulator.service import Service

    Process = Generator[simpy.Event, object, None]

BROWNED_OUT = "the battery reached its cut-off"
TOO_LARGE = "the model does not fit the memory there"


@dataclass(frozen=True)
class Outcome:
    """One node after a run; ``span_s`` is the time over which its energy was integrated."""

    node: Node
    span_s: float


def simulate(specs: Sequence[NodeSpec], duration_s: float, workers: int = 1) -> list[Outcome]:
    """Play the nodes through and return them with every request they handled.

    Arrivals end at the horizon; what is in flight then is finished, and energy is counted until it is.

    Parameters
    ----------
    specs
        The nodes, with all random numbers already drawn.
    duration_s
        The horizon. [s]
    workers
        Servers in the cloud.
    """
    env = simpy.Environment()
    servers = Turns(workers)
    nodes = [Node(spec) for spec in specs]
    for node in nodes:
        env.process(_arrivals(env, node, servers))
        env.process(_compute(env, node))
    env.run()
    return [_close(node, duration_s) for node in nodes]


def _close(node: Node, duration_s: float) -> Outcome:
    """Integrate to the end, and lose what a brown-out left unfinished."""
    last_s = max((job.finish_s for job in node.jobs if job.finish_s is not None), default=0.0)
    span_s = max(duration_s, last_s, node.meter.now_s)
    node.meter.advance(span_s)
    end_s = span_s if node.meter.brownout_s is None else node.meter.brownout_s
    node.charge_tail(end_s)
    for job in node.jobs:
        if job.finish_s is None:
            node.lose(job, BROWNED_OUT, end_s)
    return Outcome(node, span_s)


def _arrivals(env: simpy.Environment, node: Node, servers: Turns) -> Process:
    """Let requests arrive and be placed, until the node browns out; then note them as lost."""
    meter, on_mains, timeout = node.meter, node.meter.battery is None, env.timeout
    for index, arrival_s in enumerate(node.spec.arrivals_s):
        yield timeout(arrival_s - env.now)
        now_s = env.now
        job = Job(index, now_s)
        node.jobs.append(job)
        if on_mains or meter.advance(now_s):
            _place(env, node, servers, job)
        else:
            job.reason = "the node is off"
            node.lose(job, BROWNED_OUT, now_s)


def _place(env: simpy.Environment, node: Node, servers: Turns, job: Job) -> None:
    """Ask the policy, and send the request on its way."""
    spec = node.spec
    if spec.stays is not None:
        job.reason = spec.stays
    else:
        decision = spec.decide(node.request(job), node.view(env.now))
        job.place, job.reason = (decision, "") if isinstance(decision, str) else decision
    if job.place == LOCAL:
        if not spec.service.fits:
            node.lose(job, TOO_LARGE, env.now)
            return
        node.to_compute.append(job)
        if node.compute_idle is not None:
            node.compute_idle.succeed()
            node.compute_idle = None
    elif job.place == REMOTE and spec.offload is not None:
        job.sensitive_bytes = spec.offload.sensitive_bytes
        env.process(_journey(env, node, spec.offload, servers, job))
    else:
        raise ValueError(f"policy of node {spec.name!r} placed a request {job.place!r}; expected one of its places")


def _compute(env: simpy.Environment, node: Node) -> Process:
    """Serve local requests one after the other, first come first served."""
    meter, queue, service = node.meter, node.to_compute, node.spec.service
    factors, latency_s, draw_w = node.spec.local_factors, service.latency_s, service.draw_w
    on_mains, timeout = meter.battery is None, env.timeout
    while True:
        if not queue:
            if meter.compute_w > 0.0:
                meter.advance(env.now)
                meter.compute(0.0)
            node.compute_idle = env.event()
            yield node.compute_idle
        job = queue.popleft()
        start_s = env.now
        duration_s = latency_s * factors[job.index] if factors else latency_s
        if meter.compute_w != draw_w:
            if not meter.advance(start_s):
                return
            meter.compute(draw_w)
        node.computing_until_s = start_s + duration_s
        yield timeout(duration_s)
        # Only a battery makes it matter before the power changes.
        if not (on_mains or meter.advance(env.now)):
            return
        job.queueing_s = start_s - job.arrival_s
        job.compute_s = duration_s
        job.compute_j = draw_w * duration_s
        node.finish(job, env.now, job.queueing_s + duration_s)


def _journey(env: simpy.Environment, node: Node, offload: Offload, servers: Turns, job: Job) -> Process:
    """Take one request to the cloud and its result back."""
    if not (yield from send(env, node, offload, job, up=True)):
        return
    half_s = 0.5 * offload.link.rtt_s
    yield env.timeout(half_s)
    if not offload.service.fits:
        job.network_s = half_s
        node.lose(job, TOO_LARGE, env.now)
        return
    yield from _serve(env, node, offload.service, servers, job)
    yield env.timeout(half_s)
    job.network_s = 2.0 * half_s
    if (yield from send(env, node, offload, job, up=False)):
        on_the_way_s = job.queueing_s + job.promotion_s + job.uplink_s + job.network_s + job.downlink_s
        node.finish(job, env.now, on_the_way_s + job.cloud_queueing_s + job.cloud_s)


def _serve(env: simpy.Environment, node: Node, service: Service, servers: Turns, job: Job) -> Process:
    """Serve an offloaded request as soon as a server is free."""
    since_s = env.now
    if (turn := servers.take(env)) is not None:
        yield turn
    factor = node.spec.remote_factors[job.index] if node.spec.remote_factors else 1.0
    job.cloud_queueing_s = env.now - since_s
    job.cloud_s = service.latency_s * factor
    job.cloud_j = service.energy_j * factor
    yield env.timeout(job.cloud_s)
    servers.leave()
