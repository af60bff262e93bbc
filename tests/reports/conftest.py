"""An example record whose numbers one can do in the head: two nodes, four policies, ten requests each in 100 s."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reports.record import LayerRow, ModelRow, NodeResult, Record, Requests, Run, Timeline, Verdict
from reports.statistics import percentile

DURATION_S, COUNT = 100.0, 10
CARBON_G_PER_J = 540 / 3.6e6


@dataclass(frozen=True)
class Behavior:
    """What one policy does on one node, the same for each request but the last two."""

    places: str  # "l" or "r" per request
    local_s: float
    local_w: float
    remote_s: float
    idle_w: float
    battery_j: float


PHONE = {"local_s": 0.005, "local_w": 10.0, "remote_s": 0.05, "idle_w": 1.0, "battery_j": 1000.0}
WRIST = {"local_s": 0.1, "local_w": 0.1, "remote_s": 0.25, "idle_w": 0.001, "battery_j": 10.0}
PLACES = {"local": "l" * 10, "remote": "r" * 10, "deadline": "lllllrrrrr", "battery-aware": "lllllllllr"}
REASONS = {"l": "fast enough here", "r": "the link is good"}
TAIL_S, RADIO_W = 1.0, 2.0
CLOUD_J = 0.5


def _outcome(place: str, index: int) -> tuple[str, float]:
    """Remote requests suffer: the 9th is late by a factor of ten, the 10th is lost in an outage."""
    if place == "r" and index == 8:
        return "missed", 10.0
    return ("lost", 0.0) if place == "r" and index == 9 else ("served", 1.0)


def _requests(node: str, behavior: Behavior) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {}
    for index, place in enumerate(behavior.places):
        outcome, factor = _outcome(place, index)
        local = place == "l"
        latency_s = behavior.local_s if local else behavior.remote_s * factor
        row = {
            "node": node,
            "arrival_s": 10.0 * index,
            "deadline_s": 0.2,
            "outcome": outcome,
            "place": "local" if local else "remote",
            "reason": REASONS[place],
            "latency_s": None if outcome == "lost" else latency_s,
            "queueing_s": 0.0,
            "compute_s": behavior.local_s if local else None,
            "compute_j": behavior.local_s * behavior.local_w if local else None,
            "uplink_s": None if local else latency_s / 2,
            "uplink_j": None if local else TAIL_S * RADIO_W,
            "cloud_s": None if local else latency_s / 2,
        }
        for name, cell in row.items():
            columns.setdefault(name, []).append(cell)
    return columns


def _timeline(behavior: Behavior) -> Timeline:
    """Every request is a pulse at its arrival: the core for its time, or the radio for its second."""
    time_s, power, charge = [], {"compute": [], "radio": [], "idle": []}, []
    drawn_j = 0.0
    for index, place in enumerate(behavior.places):
        pulse_s = behavior.local_s if place == "l" else TAIL_S
        compute_w, radio_w = (behavior.local_w, 0.0) if place == "l" else (0.0, RADIO_W)
        for start_s, span_s, core_w, air_w in (
            (10.0 * index, pulse_s, compute_w, radio_w),
            (10.0 * index + pulse_s, 10.0 - pulse_s, 0.0, 0.0),
        ):
            time_s.append(start_s)
            for part, value in (("compute", core_w), ("radio", air_w), ("idle", behavior.idle_w)):
                power[part].append(value)
            charge.append(max(0.05, 0.9 - drawn_j / behavior.battery_j))
            drawn_j += span_s * (core_w + air_w + behavior.idle_w)
    return Timeline(time_s=time_s, power_w=power, state_of_charge=charge)


def _node(node: str, behavior: Behavior, columns: dict[str, list[object]]) -> NodeResult:
    outcomes, places = columns["outcome"], behavior.places
    answered = [float(value) for value in columns["latency_s"] if value is not None]
    parts = {
        "compute": places.count("l") * behavior.local_s * behavior.local_w,
        "radio": places.count("r") * TAIL_S * RADIO_W,
        "idle": DURATION_S * behavior.idle_w,
    }
    total_j = sum(parts.values())
    cloud_j = CLOUD_J * places.count("r")
    return NodeResult(
        node=node,
        requests=COUNT,
        served=outcomes.count("served"),
        missed=outcomes.count("missed"),
        lost=outcomes.count("lost"),
        latency_mean_s=sum(answered) / len(answered),
        latency_p50_s=percentile(answered, 0.5),
        latency_p95_s=percentile(answered, 0.95),
        latency_p99_s=percentile(answered, 0.99),
        local=places.count("l"),
        remote=places.count("r"),
        energy_by_part_j=parts,
        battery_start=0.9,
        battery_end=max(0.05, 0.9 - total_j / behavior.battery_j),
        brownout_s=None if total_j < 0.85 * behavior.battery_j else 42.0,
        average_power_w=total_j / DURATION_S,
        battery_life_s=0.85 * behavior.battery_j / (total_j / DURATION_S),
        carbon_g=(total_j + cloud_j) * CARBON_G_PER_J,
        cloud_energy_j=cloud_j,
        network_energy_j=None,
    )


def _run(label: str) -> Run:
    nodes, timelines, columns = [], {}, {}
    for node, settings in (("phone", PHONE), ("wristband", WRIST)):
        behavior = Behavior(PLACES[label], **settings)
        own = _requests(node, behavior)
        nodes.append(_node(node, behavior, own))
        timelines[node] = _timeline(behavior)
        for name, cells in own.items():
            columns.setdefault(name, []).extend(cells)
    settings = {"offload.policy": label}
    return Run(label=label, settings=settings, nodes=nodes, timelines=timelines, requests=Requests(columns=columns))


def _layers(scale: float) -> tuple[LayerRow, ...]:
    """Three layers that the core binds and one that the memory binds; 80 %, 10 %, 5 % and 5 % of the time."""
    shares = (("conv1", "conv", 0.8, "compute"), ("conv2", "conv", 0.1, "compute"),
              ("dense", "fully_connected", 0.05, "memory"), ("softmax", "softmax", 0.05, "overhead"))  # fmt: skip
    return tuple(
        LayerRow(
            name=name,
            op=op,
            macs=0 if op == "softmax" else int(1e6 * share),
            cycles=1e6 * share * scale,
            compute_s=share * scale * (bound == "compute"),
            memory_s=share * scale * (bound == "memory"),
            overhead_s=share * scale * (bound == "overhead"),
            latency_s=share * scale,
            energy_j=share * scale,
            bytes=int(1e4 if bound == "compute" else 1e5),
            bound=bound,
        )
        for name, op, share, bound in shares
    )


def _model(role: str, device: str, latency_s: float, *, calibrated: bool, fits: bool = True) -> ModelRow:
    return ModelRow(
        role=role,
        model="mobilenet",
        device=device,
        runtime="generated",
        precision="int8",
        macs=1_000_000,
        weights_bytes=512 * 1024,
        peak_ram_bytes=64 * 1024,
        fits=fits,
        latency_s=latency_s,
        latency_low_s=latency_s / 1.6,
        latency_high_s=latency_s * 1.6,
        energy_j=latency_s,
        average_power_w=1.0,
        calibrated=calibrated,
        peak_macs_per_s=4e6 / latency_s,
        memory_bytes_per_s=4e6 / latency_s,
        layers=_layers(latency_s),
    )


def example_record() -> Record:
    """Build the example anew."""
    return Record(
        title="Screening in a village clinic",
        question="Should the phone and the wristband compute, or ask the cloud?",
        scenario='title = "Screening in a village clinic"\nduration = "100 s"\n',
        seed=7,
        duration_s=DURATION_S,
        versions={"presage": "0.1.0", "python": "3.11"},
        models=(
            _model("node phone", "npu", 0.005, calibrated=True),
            _model("node wristband", "mcu", 0.1, calibrated=False),
            _model("cloud", "server", 0.001, calibrated=False),
        ),
        sources={"npu-power": "A data sheet, table 3", "grid": "A yearbook, 540 g/kWh"},
        assumptions=("The radio's tail is one second.", "Requests come every ten seconds."),
        runs=tuple(_run(label) for label in PLACES),
        verdicts=(
            Verdict(kind="expect", metric="latency.p95", run="local", stated="at most 100 ms", predicted="5.00 ms",
                    verdict="met"),
            Verdict(kind="claim", metric="latency.p95", run="remote", stated="83 ms", predicted="320 ms",
                    verdict="optimistic", explanation="The outage is not in the claim."),
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def record() -> Record:
    return example_record()
