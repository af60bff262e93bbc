"""Verdicts: expectations and claims against the prediction, physics and each other."""

from __future__ import annotations

import pytest

from simulator.bounds import bound_of, lowest_w
from simulator.metrics import METRICS, metric_faults, parse_stated, show
from simulator.run import run
from simulator.scenario import parse_scenario

# On the test double, fc_autoencoder takes 264192 cycles of 1 MHz and 1 J each: everything can be done in the head.
LATENCY_S, ENERGY_J = 0.264192, 264192.0

BASE = """# How are claims judged?
title = "Claims"
duration = "100 s"
seed = 1
[workload]
model = "fc_autoencoder"
arrivals = { process = "periodic", every = "10 s" }
[device]
chip = "unit"
grid = "china-2023"
idle = "2 W"
battery = { capacity = "10 MJ", cutoff = 0.0, efficiency = 1.0, charge_efficiency = 1.0 }
"""


def verdicts(text: str, base: str = BASE) -> list:
    return list(run(parse_scenario(base + text)).verdicts)


def claim(metric: str, value: str, source: str = "a table") -> str:
    return f'[[claim]]\nmetric = "{metric}"\nvalue = {value}\nsource = "{source}"\n'


def test_the_test_double_predicts_numbers_from_the_head():
    (only,) = run(parse_scenario(BASE)).runs
    (node,) = only.nodes
    assert node.latency_p95_s == pytest.approx(LATENCY_S)
    assert node.energy_by_part_j["compute"] == pytest.approx(10 * ENERGY_J)
    assert node.energy_by_part_j["idle"] == pytest.approx(2 * (100 - 10 * LATENCY_S))
    assert node.carbon_g == pytest.approx((10 * ENERGY_J + 2 * (100 - 10 * LATENCY_S)) / 3.6e6 * 582)


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [('at_most = "265 ms"', "met"), ('at_most = "264 ms"', "violated"), ('at_least = "1 s"', "violated")],
)
def test_an_expectation_is_met_or_violated(bound, verdict):
    (found,) = verdicts(f'[[expect]]\nmetric = "latency.p95"\n{bound}\n')
    assert (found.kind, found.verdict, found.predicted) == ("expect", verdict, "264 ms")


def test_what_does_not_exist_meets_no_expectation():
    mains = "\n".join(line for line in BASE.splitlines() if not line.startswith("battery")) + "\n"
    (found,) = verdicts('[[expect]]\nmetric = "battery.life"\nat_least = "1 s"\n', mains)
    assert (found.verdict, found.predicted) == ("violated", "none")
    (found,) = verdicts(claim("battery.life", '"1 s"'), mains)
    assert found.verdict == "unknown"


@pytest.mark.parametrize(
    ("metric", "value", "verdict"),
    [
        ("device:latency.p95", '"264.192 ms"', "supported"),
        ("latency.p95", '"264 ms"', "supported"),  # rounded as written
        ("latency.p95", '"263 ms"', "impossible"),  # faster than the peak rate of the chip
        ("latency.p95", '"1 h"', "pessimistic"),
        ("power.average", '"1.9 W"', "impossible"),  # below idle power
        ("power.average", '"3 W"', "optimistic"),
        ("battery.end", "1.0", "optimistic"),
        ("battery.life", '"6000000 s"', "impossible"),  # idling alone empties it sooner
        ("battery.life", '"1000 s"', "optimistic"),
        ("battery.life", '"1 s"', "pessimistic"),
        ("carbon.total", '"0.031 g"', "impossible"),
        ("carbon.total", '"0.04 g"', "optimistic"),
        ("requests.served", "10", "supported"),
        ("requests.lost", "0", "supported"),
        ("share.remote", '"0 %"', "supported"),
        ("privacy.sensitive_bytes", '"0 B"', "supported"),
    ],
)
def test_a_claim_is_graded(metric, value, verdict):
    (found,) = verdicts(claim(metric, value))
    assert (found.kind, found.verdict) == ("claim", verdict), found
    assert "a table" in found.explanation


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("latency.p95", '"1 s"'), ("latency.p95", '"2 s"')),
        (("latency.p50", '"2 s"'), ("latency.p95", '"1 s"')),
        (("power.average", '"100 W"'), ("battery.life", '"10 s"')),
        (("power.average", '"100 W"'), ("carbon.total", '"0.1 g"')),
    ],
)
def test_claims_that_contradict_each_other_are_inconsistent(first, second):
    found = verdicts(claim(*first) + claim(*second))
    assert [verdict.verdict for verdict in found] == ["inconsistent", "inconsistent"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("latency.p95", '"1 s"'), ("latency.p95", '"1.01 s"')),
        (("latency.p50", '"1 s"'), ("latency.p95", '"2 s"')),
        (("power.average", '"100 W"'), ("battery.life", '"100000 s"')),
        (("power.average", '"100 W"'), ("carbon.total", '"2 g"')),
        (("power.average", '"100 W"'), ("device:battery.life", '"10 s"')),
    ],
)
def test_claims_that_can_both_hold_are_not_called_inconsistent(first, second):
    found = verdicts(claim(*first) + claim(*second))
    assert "inconsistent" not in {verdict.verdict for verdict in found}


def test_when_picks_points_of_the_comparison():
    compare = '[compare]\n"device.idle" = ["1 W", "2 W"]\n'
    found = verdicts(compare + claim("latency.p95", '"1 s"') + 'when = { "device.idle" = "2 W" }\n')
    assert [verdict.run for verdict in found] == ["2 W"]
    assert [verdict.run for verdict in verdicts(compare + claim("latency.p95", '"1 s"'))] == ["1 W", "2 W"]


def test_an_uncertain_estimate_supports_what_lies_in_its_band():
    text = BASE.replace('"unit"', '"stm32h7a3"').replace('"2 W"', '"1 mW"')
    record = run(parse_scenario(text))
    (row,) = record.models
    assert row.latency_low_s < row.latency_s < row.latency_high_s
    for value_s, verdict in [
        (row.latency_low_s * 1.01, "supported"),
        (row.latency_high_s * 0.99, "supported"),
        (row.latency_high_s * 1.01, "pessimistic"),
        (row.latency_low_s * 0.99, "optimistic"),
        (row.macs / row.peak_macs_per_s * 0.99, "impossible"),
    ]:
        (found,) = verdicts(claim("latency.mean", f'"{value_s * 1e6} us"'), text)
        assert found.verdict == verdict


def test_replications_are_averaged():
    text = BASE.replace("seed = 1", "seed = 1\nreplications = 5")
    (found,) = verdicts('[[expect]]\nmetric = "latency.p95"\nat_most = "1 s"\n', text)
    assert found.explanation == "mean of 5 replications"


def test_metric_names_are_checked():
    assert metric_faults("latency.p95", ["device"]) == []
    assert "did you mean 'latency.mean'?" in metric_faults("latency.men", ["device"])[0]
    assert "did you mean 'phone'?" in metric_faults("phon:latency.p95", ["phone"])[0]


@pytest.mark.parametrize(
    ("metric", "raw", "value", "text"),
    [
        ("latency.p95", "83 ms", 0.083, "83.0 ms"),
        ("battery.life", "2.3 h", 8280.0, "2.30 h"),
        ("power.average", "4.1 mW", 0.0041, "4.10 mW"),
        ("share.remote", "70 %", 0.7, "70 %"),
        ("share.remote", 0.7, 0.7, "70 %"),
        ("requests.lost", 3, 3.0, "3"),
        ("carbon.total", "12 kg", 12_000.0, "12.0 kg"),
    ],
)
def test_stated_values_are_read_and_shown(metric, raw, value, text):
    assert parse_stated(metric, raw) == pytest.approx(value)
    assert show(metric, value) == text


def test_every_metric_has_an_example_of_its_own_unit():
    for name, metric in METRICS.items():
        if metric.dimension.accepted != ("a number",):
            assert parse_stated(name, metric.dimension.example) >= 0.0


def test_no_bound_is_claimed_where_none_is_known():
    assert bound_of("requests.served", [], 1.0) is None
    assert bound_of("latency.p95", [], 1.0) is None
    assert bound_of("battery.end", [], 1.0) is None


def test_the_lowest_power_is_at_rest():
    from simulator.node import NodeSpec
    from simulator.policies import local
    from simulator.service import Service

    spec = NodeSpec("d", [], Service(1.0, 5.0), local.decide, idle_w=2.0, sleep_w=0.5)
    assert lowest_w(spec) == 0.5
