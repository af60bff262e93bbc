"""The record of a run: a versioned, self-contained account of what was asked, assumed and predicted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LayerRow(_Frozen):
    """One layer on one device; ``bound`` names the resource that binds it."""

    name: str
    op: str
    macs: int
    cycles: float
    compute_s: float
    memory_s: float
    overhead_s: float
    latency_s: float
    energy_j: float
    bytes: int
    bound: str


class ModelRow(_Frozen):
    """One model on one device: what the scenario's nodes and servers run."""

    role: str  # e.g. "node phone", "cloud"
    model: str
    device: str
    runtime: str
    precision: str
    macs: int
    weights_bytes: int
    peak_ram_bytes: int
    fits: bool
    latency_s: float
    latency_low_s: float
    latency_high_s: float
    energy_j: float
    average_power_w: float
    calibrated: bool
    peak_macs_per_s: float
    memory_bytes_per_s: float
    layers: tuple[LayerRow, ...] = ()


class Requests(_Frozen):
    """Every request of one run, as columns of equal length; times in s since the start, energies in J.

    ``outcome`` is "served", "missed" (too late) or "lost"; ``place`` is "local" or "remote"; ``reason`` says why there.
    Phases of a request, in order: queueing, compute, promotion, uplink, network (round trip), cloud_queueing, cloud,
    downlink; each has a ``<phase>_s`` column; phases that cost the node energy have a ``<phase>_j`` column.
    Always there: ``node``, ``arrival_s``, ``latency_s`` (arrival to result; None when lost), ``outcome``, ``place``,
    ``reason``; views also use ``deadline_s`` when it is there. Cells are plain str, int, float, bool or None.
    """

    columns: dict[str, list[Any]]


class Timeline(_Frozen):
    """Step-wise signals of one node: ``time_s`` of each change and each signal's value from then on."""

    time_s: list[float]
    power_w: dict[str, list[float]]  # by part: compute, radio, idle
    state_of_charge: list[float]


class NodeResult(_Frozen):
    """Totals of one node in one run."""

    node: str
    requests: int
    served: int
    missed: int
    lost: int
    latency_mean_s: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    local: int
    remote: int
    energy_by_part_j: dict[str, float]
    battery_start: float | None
    battery_end: float | None
    brownout_s: float | None
    average_power_w: float
    battery_life_s: float | None
    carbon_g: float
    cloud_energy_j: float
    network_energy_j: float | None
    span_s: float | None = None  # the time over which energy was counted: the horizon, or until the last result
    carbon_by_part_g: dict[str, float] = {}  # by part: device, cloud, network
    sensitive_bytes: float | None = None  # sensitive bytes that left the node


class Run(_Frozen):
    """One run of a scenario: one point of its comparison, one replication."""

    label: str
    settings: dict[str, str]
    nodes: tuple[NodeResult, ...]
    timelines: dict[str, Timeline]
    requests: Requests


class Verdict(_Frozen):
    """An expectation or a published claim beside the prediction."""

    kind: str  # "expect" or "claim"
    metric: str
    run: str
    stated: str
    predicted: str
    # expect: "met", "violated"; claim: "supported", "optimistic", "pessimistic" (predicted better than claimed),
    # "impossible", "inconsistent"; either: "unknown" (the metric does not exist in this run)
    verdict: str
    explanation: str = ""


class Record(_Frozen):
    """Everything a report needs, readable without the engine that made it."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    title: str
    question: str
    scenario: str  # the text of the scenario file
    seed: int
    duration_s: float
    versions: dict[str, str]
    models: tuple[ModelRow, ...]
    sources: dict[str, str]
    assumptions: tuple[str, ...]
    runs: tuple[Run, ...]
    verdicts: tuple[Verdict, ...] = ()
