"""Results: what the record keeps of a node after a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from reports.record import NodeResult, Requests, Timeline
from reports.statistics import percentile
from simulator.grid import Grid, operational_g
from simulator.node import LOST, MISSED, SERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.engine import Outcome
    from simulator.meter import Step
    from simulator.node import Job, Node

PHASES_S = (
    "queueing_s",
    "compute_s",
    "promotion_s",
    "uplink_s",
    "network_s",
    "cloud_queueing_s",
    "cloud_s",
    "downlink_s",
)
PHASES_J = ("compute_j", "promotion_j", "uplink_j", "downlink_j", "tail_j", "cloud_j", "network_j")


def node_result(outcome: Outcome, device_grid: Grid, cloud_grid: Grid | None, pue: float) -> NodeResult:
    """Return a node's totals."""
    node, spec, meter = outcome.node, outcome.node.spec, outcome.node.meter
    jobs = node.jobs
    latencies_s = [job.latency_s for job in jobs if job.latency_s is not None]
    counts = {kind: sum(job.outcome == kind for job in jobs) for kind in (SERVED, MISSED, LOST)}
    remote = sum(job.place == "remote" for job in jobs)
    parts_j = energy_by_part_j(node)
    drawn_j = math.fsum(parts_j.values())
    cloud_j = math.fsum(job.cloud_j for job in jobs)
    network_j = _network_j(node)
    charge_efficiency = spec.battery.charge_efficiency if spec.battery else 1.0
    carbon_g = {"device": operational_g(drawn_j, device_grid.intensity_g_per_kwh, charge_efficiency)}
    if cloud_grid is not None:
        carbon_g["cloud"] = operational_g(cloud_j, cloud_grid.intensity_g_per_kwh, pue=pue)
        if network_j is not None:
            carbon_g["network"] = operational_g(network_j, cloud_grid.intensity_g_per_kwh)
    return NodeResult(
        node=spec.name,
        requests=len(jobs),
        **counts,
        latency_mean_s=math.fsum(latencies_s) / len(latencies_s) if latencies_s else None,
        latency_p50_s=percentile(latencies_s, 0.50) if latencies_s else None,
        latency_p95_s=percentile(latencies_s, 0.95) if latencies_s else None,
        latency_p99_s=percentile(latencies_s, 0.99) if latencies_s else None,
        local=len(jobs) - remote,
        remote=remote,
        energy_by_part_j=parts_j,
        battery_start=spec.battery.state_of_charge if spec.battery else None,
        battery_end=meter.state_of_charge if spec.battery else None,
        brownout_s=meter.brownout_s,
        average_power_w=drawn_j / running_s(outcome),
        battery_life_s=battery_life_s(outcome, drawn_j),
        carbon_g=math.fsum(carbon_g.values()),
        cloud_energy_j=cloud_j,
        network_energy_j=network_j,
        span_s=outcome.span_s,
        carbon_by_part_g=carbon_g,
        sensitive_bytes=math.fsum(job.sensitive_bytes for job in jobs),
    )


def energy_by_part_j(node: Node) -> dict[str, float]:
    """Return what a node drew, by part; "battery" is what the battery lost while supplying the others. [J]"""
    meter = node.meter
    parts_j = {"compute": meter.compute_j, "radio": meter.radio_j, "idle": meter.idle_j}
    if node.spec.battery is not None:
        supplied_j = math.fsum(parts_j.values())
        parts_j["battery"] = supplied_j / node.spec.battery.efficiency - supplied_j
    return parts_j


def running_s(outcome: Outcome) -> float:
    """Return how long a node was on. [s]"""
    brownout_s = outcome.node.meter.brownout_s
    return outcome.span_s if brownout_s is None else brownout_s


def battery_life_s(outcome: Outcome, drawn_j: float) -> float | None:
    """Return the time from the first charge to the cut-off at the run's average power; None on mains. [s]"""
    spec, meter = outcome.node.spec.battery, outcome.node.meter
    if spec is None:
        return None
    if meter.brownout_s is not None:
        return meter.brownout_s
    usable_j = (spec.state_of_charge - spec.cutoff) * spec.capacity_j
    return usable_j / drawn_j * outcome.span_s if drawn_j > 0.0 else None


def _network_j(node: Node) -> float | None:
    """Return the energy beyond the radio; None where the link does not know it. [J]"""
    offload = node.spec.offload
    if offload is None:
        return 0.0
    return None if offload.network_up_j_per_bit is None else math.fsum(job.network_j for job in node.jobs)


def requests_of(outcomes: Sequence[Outcome]) -> Requests:
    """Return every request of a run as columns, node by node, in the order of arrival."""
    rows: list[tuple[Node, Job]] = [(outcome.node, job) for outcome in outcomes for job in outcome.node.jobs]
    columns: dict[str, list[Any]] = {
        "node": [node.spec.name for node, _ in rows],
        "request": [job.index for _, job in rows],
    }
    names = ("arrival_s", "latency_s", "outcome", "place", "reason", "because", *PHASES_S, *PHASES_J, "sensitive_bytes")
    for name in names:
        columns[name] = [getattr(job, name) for _, job in rows]
    columns["lost_because"] = columns.pop("because")
    columns["deadline_s"] = [node.spec.deadline_s if math.isfinite(node.spec.deadline_s) else None for node, _ in rows]
    return Requests(columns=columns)


def timeline_of(outcome: Outcome, most_points: int) -> tuple[Timeline, bool]:
    """Return a node's powers as steps, and whether they had to be averaged to stay within ``most_points``.

    Steps that change nothing are left out. Where more remain, each of ``most_points`` equal intervals shows its mean
    power, so that the energy under the curve stays the same; totals never come from here.
    """
    steps = _thinned(outcome.node.meter.steps)
    averaged = len(steps) > most_points
    if averaged:
        steps = _averaged(steps, outcome.span_s, most_points)
    return _timeline(steps, outcome), averaged


def _timeline(steps: Sequence[Step], outcome: Outcome) -> Timeline:
    meter = outcome.node.meter
    end: Step = (outcome.span_s, meter.compute_w, meter.radio_w, meter.rest_w, meter.state_of_charge)
    rows = [*steps, end] if steps[-1][0] < end[0] else list(steps)
    time_s, compute_w, radio_w, idle_w, charge = (list(column) for column in zip(*rows, strict=True))
    return Timeline(
        time_s=time_s, power_w={"compute": compute_w, "radio": radio_w, "idle": idle_w}, state_of_charge=charge
    )


def _thinned(steps: Sequence[Step]) -> list[Step]:
    """Drop steps of no length and steps that repeat the powers before them."""
    kept: list[Step] = []
    for index, step in enumerate(steps):
        if index + 1 < len(steps) and steps[index + 1][0] == step[0]:
            continue
        if not kept or kept[-1][1:4] != step[1:4]:
            kept.append(step)
    return kept


def _averaged(steps: Sequence[Step], span_s: float, count: int) -> list[Step]:
    """Return mean powers of equal intervals, and the state of charge at their starts."""
    import numpy as np

    table = np.array(steps)
    edges = np.linspace(0.0, span_s, count + 1)
    times = np.append(table[:, 0], span_s)
    columns = [edges[:-1]]
    for column in (1, 2, 3):
        energy_j = np.concatenate([[0.0], np.cumsum(table[:, column] * np.diff(times))])
        # Rounding of the cumulative sums must not show as a negative power.
        columns.append(np.maximum(np.diff(np.interp(edges, times, energy_j)), 0.0) / np.diff(edges))
    columns.append(np.interp(edges[:-1], table[:, 0], table[:, 4]))
    rows = np.column_stack(columns).tolist()
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]
