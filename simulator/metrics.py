"""Metrics: named figures of a run, for expectations and claims, each with its unit and better direction."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from device_models.quantities import Dimension, parse_quantity
from reports.formats import duration, engineering
from reports.statistics import percentile
from workloads.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reports.record import NodeResult, Run

SECONDS = Dimension("s", ("s", "min", "h", "d"), "100 ms")
JOULES = Dimension("J", ("J", "Wh"), "3.7 Wh")
WATTS = Dimension("W", ("W",), "4.1 mW")
GRAMS = Dimension("g", ("g", "gCO2e", "t"), "12 kg")
BYTES = Dimension("B", ("B", "bit"), "512 KiB")
SHARE = Dimension("percent", ("%",), "70 %")
COUNT = Dimension("percent", ("a number",), "12")


_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)", re.ASCII)


@dataclass(frozen=True)
class Sample:
    """One run's nodes that a metric looks at, with the latencies of their requests."""

    nodes: tuple[NodeResult, ...]
    latencies_s: tuple[float, ...]


@dataclass(frozen=True)
class Metric:
    """A figure of a run.

    Parameters
    ----------
    lower_is_better
        Which way a claim flatters.
    of
        The figure; None where it does not exist, e.g. the battery of a node on mains.
    """

    dimension: Dimension
    lower_is_better: bool
    of: Callable[[Sample], float | None]


def _latency(share: float) -> Callable[[Sample], float | None]:
    return lambda sample: percentile(sample.latencies_s, share) if sample.latencies_s else None


def _mean_latency(sample: Sample) -> float | None:
    return math.fsum(sample.latencies_s) / len(sample.latencies_s) if sample.latencies_s else None


def _total(pick: Callable[[NodeResult], float | None]) -> Callable[[Sample], float | None]:
    def total(sample: Sample) -> float | None:
        values = [value for node in sample.nodes if (value := pick(node)) is not None]
        return math.fsum(values) if values else None

    return total


def _lowest(pick: Callable[[NodeResult], float | None]) -> Callable[[Sample], float | None]:
    return lambda sample: min((value for node in sample.nodes if (value := pick(node)) is not None), default=None)


def _per_finished(pick: Callable[[NodeResult], float]) -> Callable[[Sample], float | None]:
    def ratio(sample: Sample) -> float | None:
        finished = sum(node.served + node.missed for node in sample.nodes)
        return math.fsum(pick(node) for node in sample.nodes) / finished if finished else None

    return ratio


def _share_remote(sample: Sample) -> float | None:
    placed = sum(node.local + node.remote for node in sample.nodes)
    return sum(node.remote for node in sample.nodes) / placed if placed else None


def energy_j(node: NodeResult) -> float:
    """Everything a node drew, its battery's own loss included. [J]"""
    return math.fsum(node.energy_by_part_j.values())


METRICS = {
    "latency.mean": Metric(SECONDS, True, _mean_latency),
    "latency.p50": Metric(SECONDS, True, _latency(0.50)),
    "latency.p95": Metric(SECONDS, True, _latency(0.95)),
    "latency.p99": Metric(SECONDS, True, _latency(0.99)),
    "energy.per_request": Metric(JOULES, True, _per_finished(energy_j)),
    "power.average": Metric(WATTS, True, _total(lambda node: node.average_power_w)),
    "battery.life": Metric(SECONDS, False, _lowest(lambda node: node.battery_life_s)),
    "battery.end": Metric(SHARE, False, _lowest(lambda node: node.battery_end)),
    "carbon.total": Metric(GRAMS, True, _total(lambda node: node.carbon_g)),
    "carbon.per_request": Metric(GRAMS, True, _per_finished(lambda node: node.carbon_g)),
    "requests.served": Metric(COUNT, False, _total(lambda node: node.served)),
    "requests.missed": Metric(COUNT, True, _total(lambda node: node.missed)),
    "requests.lost": Metric(COUNT, True, _total(lambda node: node.lost)),
    "share.remote": Metric(SHARE, False, _share_remote),
    "privacy.sensitive_bytes": Metric(BYTES, True, _total(lambda node: node.sensitive_bytes)),
}


def split_name(name: str) -> tuple[str | None, str]:
    """Split "phone:latency.p95" into the node, or None for all nodes, and the metric."""
    node, colon, metric = name.rpartition(":")
    return (node if colon else None), metric


def metric_faults(name: str, nodes: Sequence[str]) -> list[str]:
    """Return what is wrong with a metric's name."""
    node, metric = split_name(name)
    faults = []
    if node is not None and node not in nodes:
        faults.append(f"{name!r}: no node {node!r}; {did_you_mean(node, nodes)}")
    if metric not in METRICS:
        faults.append(f"{name!r} is no metric; {did_you_mean(metric, METRICS)}")
    return faults


def parse_stated(name: str, raw: Any) -> float:
    """Read a stated value of a metric: text with a unit, a bare number for counts, either for shares.

    Raises
    ------
    ValueError
        The value does not fit the metric.
    """
    dimension = METRICS[split_name(name)[1]].dimension
    if dimension is COUNT:
        if isinstance(raw, str) or raw < 0:
            raise ValueError(f"{raw!r}; expected a count, e.g. 12")
        return float(raw)
    if dimension is SHARE:
        share = parse_quantity(raw, SHARE) / 100.0 if isinstance(raw, str) else float(raw)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{raw!r}; expected a share from 0 to 1, or text in percent")
        return share
    return parse_quantity(raw, dimension)


def half_digit(name: str, raw: Any) -> float:
    """Return half of the last digit that a stated value is written with: 0.0005 for "83 ms", in SI units."""
    text = raw if isinstance(raw, str) else repr(raw)
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"{raw!r} has no number")
    half = Decimal(5).scaleb(int(Decimal(match[1]).as_tuple().exponent) - 1)
    return parse_stated(name, f"{half}{text[match.end() :]}" if isinstance(raw, str) else float(half))


def measure(name: str, run: Run) -> float | None:
    """Return a metric of a run, in SI units; None where it does not exist."""
    node, metric = split_name(name)
    columns = run.requests.columns
    latencies_s = tuple(
        latency_s
        for owner, latency_s in zip(columns["node"], columns["latency_s"], strict=True)
        if latency_s is not None and (node is None or owner == node)
    )
    nodes = tuple(result for result in run.nodes if node is None or result.node == node)
    return METRICS[metric].of(Sample(nodes, latencies_s))


def show(name: str, value: float) -> str:
    """Write a value of a metric for people, with an SI prefix."""
    dimension = METRICS[split_name(name)[1]].dimension
    if dimension is COUNT:
        return f"{value:.6g}"
    if dimension is SHARE:
        return f"{100.0 * value:.3g} %"
    return duration(value) if dimension is SECONDS else engineering(value, dimension.unit)
