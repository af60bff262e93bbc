"""Engine: queueing theory, conservation, brown-outs, one request followed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.statistics import mean_interval
from simulator.arrivals import poisson
from simulator.battery import BatterySpec
from simulator.engine import BROWNED_OUT, TOO_LARGE, simulate
from simulator.link import Link, Spells, draw_spells, steps
from simulator.node import NodeSpec, Offload
from simulator.policies import Decision, deadline, local, remote
from simulator.profiles import load_link
from simulator.results import PHASES_S, energy_by_part_j, timeline_of
from simulator.service import Service
from simulator.transmission import NO_SIGNAL

RADIO = load_link("5g-nsa").the_radio()
MAINS_LIKE = BatterySpec(1e9, 1.0, 0.0, 0.9, 0.9)


def a_link(weak=(), outages=(), up_bps=1e6, rtt_s=0.05, patience_s=10.0) -> Link:
    starts_s, signal = steps(list(weak), list(outages))
    rates = (0.0, up_bps / 10, up_bps)
    return Link(starts_s, signal, rates, rates, rtt_s, patience_s)


def an_offload(link: Link | None = None, **changed) -> Offload:
    return Offload(
        **{
            "link": link or a_link(),
            "radio": RADIO,
            "service": Service(0.01, 1.0),
            "upload_bytes": 10_000,
            "download_bytes": 100,
        }
        | changed
    )


def waits(service: str, rho: float, runs: int = 10, count: int = 5000, warm: int = 1000) -> list[float]:
    """Mean queueing time of each independent run with unit mean service."""
    means = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        arrivals = poisson(rng, rho, count / rho)
        factors = rng.standard_exponential(len(arrivals)).tolist() if service == "M" else ()
        spec = NodeSpec("d", arrivals, Service(1.0, 1.0), local.decide, local_factors=factors)
        jobs = simulate([spec], arrivals[-1])[0].node.jobs
        means.append(math.fsum(job.queueing_s for job in jobs[warm:]) / len(jobs[warm:]))
    return means


@pytest.mark.parametrize(("service", "factor"), [("M", 1.0), ("D", 0.5)])
@pytest.mark.parametrize("rho", [0.5, 0.7])
def test_the_device_queues_as_theory_says(service, factor, rho):
    # Pollaczek-Khinchine: rho / (1 - rho) services for M/M/1, half of that for M/D/1.
    low, high = mean_interval(waits(service, rho), 0.999)
    assert low <= factor * rho / (1 - rho) <= high
    assert high - low < 0.5 * factor * rho / (1 - rho)


def test_the_cloud_queues_as_theory_says():
    # Erlang C for two servers: P(wait) = 2 rho^2 / (1 + rho), mean wait = P / (2 (1 - rho)) services.
    rho, means = 0.7, []
    offload = an_offload(a_link(rtt_s=0.0), service=Service(1.0, 1.0), upload_bytes=0, download_bytes=0)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        arrivals = poisson(rng, 2 * rho, 2500.0)
        factors = rng.standard_exponential(len(arrivals)).tolist()
        half = NodeSpec("a", arrivals, Service(1.0, 1.0), remote.decide, offload, remote_factors=factors)
        jobs = simulate([half], 2500.0, workers=2)[0].node.jobs[500:]
        means.append(math.fsum(job.cloud_queueing_s for job in jobs) / len(jobs))
    low, high = mean_interval(means, 0.999)
    assert low <= 2 * rho**2 / (1 + rho) / (2 * (1 - rho)) <= high


def test_utilization_times_time_is_work():
    spec = NodeSpec("d", [0.0, 0.5, 5.0], Service(1.0, 3.0), local.decide, idle_w=0.5)
    (outcome,) = simulate([spec], 10.0)
    assert [job.latency_s for job in outcome.node.jobs] == pytest.approx([1.0, 1.5, 1.0])
    assert outcome.node.meter.compute_j == pytest.approx(9.0)
    assert outcome.node.meter.idle_j == pytest.approx(0.5 * 7.0)


def test_one_offloaded_request_by_hand():
    (outcome,) = simulate([NodeSpec("p", [1.0], Service(1.0, 1.0), remote.decide, an_offload())], 30.0)
    (job,) = outcome.node.jobs
    assert job.promotion_s == 0.26
    assert job.uplink_s == pytest.approx(0.08)
    assert job.network_s == pytest.approx(0.05)
    assert job.cloud_s == 0.01
    # The answer comes 60 ms after the last byte: the radio still listens.
    assert job.downlink_s == pytest.approx(0.0008)
    assert job.latency_s == pytest.approx(0.26 + 0.08 + 0.05 + 0.01 + 0.0008)
    assert job.uplink_j == pytest.approx(0.08 * RADIO.base_w + 80_000 * RADIO.up_j_per_bit)


def test_work_in_flight_at_the_horizon_is_finished():
    spec = NodeSpec("d", [0.0, 0.1, 0.2], Service(1.0, 2.0), local.decide)
    (outcome,) = simulate([spec], 0.5)
    assert [job.outcome for job in outcome.node.jobs] == ["served"] * 3
    assert outcome.span_s == pytest.approx(3.0)
    assert outcome.node.meter.compute_j == pytest.approx(6.0)


def test_a_late_result_is_missed():
    spec = NodeSpec("d", [0.0, 0.1], Service(1.0, 2.0), local.decide, deadline_s=1.5)
    assert [job.outcome for job in simulate([spec], 5.0)[0].node.jobs] == ["served", "missed"]


def test_a_long_outage_loses_the_request():
    link = a_link(outages=[(0.5, 60.0)])
    (outcome,) = simulate([NodeSpec("p", [1.0, 55.0], Service(1.0, 1.0), remote.decide, an_offload(link))], 100.0)
    lost, served = outcome.node.jobs
    assert (lost.outcome, lost.because, lost.finish_s) == ("lost", NO_SIGNAL, 11.0)
    assert served.outcome == "served"
    assert served.queueing_s == pytest.approx(5.0)


def test_a_model_that_does_not_fit_loses_what_is_placed_there():
    spec = NodeSpec("d", [1.0], Service(1.0, 1.0, fits=False), local.decide)
    (job,) = simulate([spec], 5.0)[0].node.jobs
    assert (job.outcome, job.because) == ("lost", TOO_LARGE)
    far = NodeSpec("d", [1.0], Service(1.0, 1.0), remote.decide, an_offload(service=Service(1.0, 1.0, fits=False)))
    (job,) = simulate([far], 5.0)[0].node.jobs
    assert (job.outcome, job.because) == ("lost", TOO_LARGE)


def test_battery_stops_the_node_at_the_cutoff():
    battery = BatterySpec(100.0, 1.0, 0.1, 0.9, 1.0)
    spec = NodeSpec("d", [float(k) for k in range(60)], Service(0.5, 2.0), local.decide, battery=battery, idle_w=1.0)
    (outcome,) = simulate([spec], 60.0)
    meter = outcome.node.meter
    # 81 J reach the load: 32 seconds of 2.5 J, and a quarter of a second of the next at 4 W.
    assert meter.brownout_s == pytest.approx(32.25)
    assert meter.state_of_charge == pytest.approx(0.1)
    outcomes = [job.outcome for job in outcome.node.jobs]
    assert outcomes == ["served"] * 32 + ["lost"] * 28
    assert {job.because for job in outcome.node.jobs if job.outcome == "lost"} == {BROWNED_OUT}
    assert energy_by_part_j(outcome.node)["idle"] == pytest.approx(16.0)


def test_a_browned_out_node_loses_the_answer_that_is_on_its_way():
    battery = BatterySpec(100.0, 1.0, 0.0, 1.0, 1.0)
    slow = an_offload(service=Service(1000.0, 1.0))
    spec = NodeSpec("p", [1.0], Service(1.0, 1.0), remote.decide, slow, battery=battery, idle_w=1.0)
    (outcome,) = simulate([spec], 5.0)
    (job,) = outcome.node.jobs
    assert (job.outcome, job.because) == ("lost", BROWNED_OUT)
    assert job.finish_s == outcome.node.meter.brownout_s < 100.0


def test_servers_are_shared_by_all_nodes():
    offload = an_offload(a_link(rtt_s=0.0), service=Service(1.0, 1.0), upload_bytes=0, download_bytes=0)
    specs = [NodeSpec(name, [1.0], Service(1.0, 1.0), remote.decide, offload) for name in "abc"]
    latencies = [simulate_outcome.node.jobs[0].latency_s for simulate_outcome in simulate(specs, 5.0, workers=2)]
    assert latencies == pytest.approx([1.0, 1.0, 2.0])


def test_a_policy_may_answer_with_a_word():
    spec = NodeSpec("d", [1.0], Service(1.0, 1.0), lambda _request, _view: "local")
    assert simulate([spec], 5.0)[0].node.jobs[0].outcome == "served"


def test_a_policy_that_names_no_place_is_refused():
    spec = NodeSpec("d", [1.0], Service(1.0, 1.0), lambda _request, _view: Decision("mars", "warmer"))
    with pytest.raises(ValueError, match="placed a request 'mars'"):
        simulate([spec], 5.0)


systems = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "rate": st.floats(0.05, 5.0),
        "service_s": st.floats(0.0, 0.5),
        "upload": st.sampled_from([0, 500, 50_000]),
        "capacity_j": st.floats(20.0, 5000.0),
        "share": st.sampled_from([1.0, 0.6]),
        "policy": st.sampled_from([local.decide, remote.decide, deadline.decide]),
        "sleep_after_s": st.sampled_from([0.0, 1.0, math.inf]),
        "patience_s": st.floats(0.0, 20.0),
    }
)


def play(system, nodes: int = 2):
    specs = []
    for index in range(nodes):
        rng = np.random.default_rng([system["seed"], index])
        arrivals = poisson(rng, system["rate"], 100.0)
        weak, outages = (draw_spells(rng, Spells(30.0, 8.0), 100.0) for _ in range(2))
        specs.append(
            NodeSpec(
                name=f"n{index}",
                arrivals_s=arrivals,
                service=Service(system["service_s"], 2.0 * system["service_s"]),
                decide=system["policy"],
                offload=an_offload(
                    a_link(weak, outages, patience_s=system["patience_s"]), upload_bytes=system["upload"]
                ),
                deadline_s=1.0,
                battery=BatterySpec(system["capacity_j"], 0.9, 0.1, 0.95, 0.9, system["share"], 1e-3),
                idle_w=0.5,
                sleep_w=0.1,
                sleep_after_s=system["sleep_after_s"],
                local_factors=rng.standard_exponential(len(arrivals)).tolist(),
            )
        )
    return simulate(specs, 100.0)


@settings(max_examples=60, deadline=None)
@given(system=systems)
def test_nothing_is_lost_or_made_on_the_way(system):
    for outcome in play(system):
        node, meter = outcome.node, outcome.node.meter
        # Requests: all that arrived have one outcome, and only those that finished have a latency.
        assert len(node.jobs) == len(node.spec.arrivals_s)
        assert {job.outcome for job in node.jobs} <= {"served", "missed", "lost"}
        assert all((job.latency_s is None) == (job.outcome == "lost") for job in node.jobs)
        # Time: the phases of a request are its latency.
        for job in node.jobs:
            if job.latency_s is not None:
                assert job.arrival_s + job.latency_s == pytest.approx(job.finish_s, abs=1e-9)
                assert sum(getattr(job, phase) for phase in PHASES_S) == pytest.approx(job.latency_s, abs=1e-9)
        # Energy: what left the battery is the sum of the parts, and the curve holds the same energy.
        stored_j = node.spec.battery.capacity_j * (0.9 - meter.state_of_charge)
        drawn_j = sum(energy_by_part_j(node).values())
        assert drawn_j == pytest.approx(stored_j, rel=1e-9, abs=1e-9 * system["capacity_j"])
        assert min(meter.compute_j, meter.radio_j, meter.idle_j) >= 0.0
        if meter.brownout_s is None:
            parts_j = sum(j.promotion_j + j.uplink_j + j.downlink_j + j.tail_j for j in node.jobs)
            assert parts_j <= meter.radio_j * (1 + 1e-9)
            idle_most_j = RADIO.idle.draw_w * outcome.span_s
            assert meter.radio_j - parts_j <= idle_most_j * (1 + 1e-9)
        for most in (100_000, 50):
            curve, _ = timeline_of(outcome, most)
            spans = np.diff(curve.time_s)
            under = {part: float(np.dot(watts[: len(spans)], spans)) for part, watts in curve.power_w.items()}
            expected = {"compute": meter.compute_j, "radio": meter.radio_j, "idle": meter.idle_j}
            assert under == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(system=systems)
def test_playing_twice_gives_the_same(system):
    def rows(outcomes):
        return [
            [(job.place, job.reason, job.finish_s, job.tail_j) for job in outcome.node.jobs] for outcome in outcomes
        ]

    assert rows(play(system)) == rows(play(system))


def test_a_node_alone_is_not_changed_by_a_local_neighbour():
    first = NodeSpec("a", [1.0, 2.0], Service(1.0, 1.0), remote.decide, an_offload(), battery=MAINS_LIKE)
    second = NodeSpec("b", [1.0, 1.1], Service(1.0, 1.0), local.decide)
    alone, beside = simulate([first], 9.0)[0], simulate([first, second], 9.0)[0]
    assert alone.node.meter.steps == beside.node.meter.steps
