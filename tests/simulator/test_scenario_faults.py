"""What is wrong with a scenario: each fault with its place, all at once, and never a crash."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import tomllib
from pathlib import Path

import pytest

from simulator.scenario import load_scenario, parse_scenario
from workloads.errors import InputError

BASE = Path(__file__).with_name("base_scenario.toml").read_text(encoding="utf-8")


def test_all_faults_are_found_at_once(faults):
    text = (
        BASE.replace("deadline =", "deadlin =")
        .replace('rate = "6 /min"', "rate = 0.5")
        .replace('"1 Wh"', '"3.7 W"')
        .replace('"china-2023"', '"chyna-2023"')
        .replace('duration = "10 min"', 'duration = "0 s"')
        .replace('profile = "lte"', 'profile = "6g"')
    )
    found = faults(text)
    assert "workload.deadlin: unknown key; did you mean 'deadline'?" in found
    assert 'workload.arrivals.rate: 0.5 has no unit; write it as text, e.g. "1 /s"' in found
    assert any(
        fault.startswith("device.battery.capacity: '3.7 W' has unit 'W'; expected one of J, Wh") for fault in found
    )
    assert any(fault.startswith("duration:") for fault in found)


def test_all_wrong_names_are_found_at_once(faults):
    text = (
        BASE.replace('"china-2023"', '"chyna-2023"')
        .replace('profile = "lte"', 'profile = "lter"')
        .replace("stm32h7a3", "stm32h7a4")
        .replace("fc_autoencoder", "fc_autoencodr")
        .replace("battery-aware", "batery-aware")
    )
    found = faults(text)
    assert len(found) == 5
    for where, hint in [
        ("workload.model", "fc_autoencoder"),
        ("device.chip", "stm32h7a3"),
        ("device.grid", "china-2023"),
        ("link.profile", "lte"),
        ("offload.policy", "battery-aware"),
    ]:
        assert any(fault.startswith(f"{where}: ") and hint in fault for fault in found), where


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("state_of_charge = 0.9", "state_of_charge = 1.5", "device.battery.state_of_charge: 1.5; expected"),
        ("state_of_charge = 0.9", "state_of_charge = nan", "device.battery.state_of_charge: nan; expected"),
        ("state_of_charge = 0.9", "state_of_charge = inf", "device.battery.state_of_charge: inf; expected"),
        ("cutoff = 0.05", "cutoff = 0.95", "device.battery: cutoff (0.95) must be below state_of_charge (0.9)"),
        ("cutoff = 0.05", "cutoff = -0.05", "device.battery.cutoff: -0.05; expected"),
        ('"1 Wh"', '"0 Wh"', "device.battery.capacity: '0 Wh'; expected greater than 0"),
        ('"1 Wh"', '"-1 Wh"', "device.battery.capacity: '-1 Wh' is negative"),
        ('"10 min"', '"0 min"', "duration: '0 min'; expected greater than 0"),
        ('"10 min"', '"inf s"', "duration: 'inf s' is not a number with a unit"),
        ('"6 /min"', '"0 /min"', "workload.arrivals.rate: '0 /min'; expected greater than 0"),
        ('"6 /min"', '"6 GB"', "workload.arrivals.rate: '6 GB' has unit 'GB'"),
        ('"6 /min"', '"1000000 /s"', "workload.arrivals: about 6e+08 requests"),
        ('every = "2 h"', 'every = "0 s"', "link.outages.every: '0 s'; expected greater than 0"),
        ('every = "2 h"', 'every = "80 s"', "link.outages: last (90 s) must be shorter than every (80 s)"),
        ("workers = 2", "workers = 0", "cloud.workers: 0; expected greater than or equal to 1"),
        ("workers = 2", "workers = 2.5", "cloud.workers: 2.5; expected"),
        ("workers = 2", "workers = 2\npue = 0.9", "cloud.pue: 0.9; expected greater than or equal to 1"),
        ("seed = 1", 'seed = "one"', "seed: 'one'; expected"),
        ("seed = 1", "seed = 1\nschema = 2", "schema: 2; expected 1"),
        ("seed = 1", "seed = 1\nreplications = 0", "replications: 0; expected"),
        ("seed = 1", "sed = 1", "sed: unknown key; did you mean 'seed'?"),
        ("[offload]", "[ofload]", "ofload: unknown key; did you mean 'offload'?"),
        ('process = "poisson"', 'process = "poison"', "workload.arrivals.process: 'poison'; expected"),
        ('process = "poisson"', 'process = "periodic"', "workload.arrivals: process 'periodic' needs 'every'"),
        ('rate = "6 /min"', 'rate = "6 /min", every = "1 s"', "process 'poisson' has no use for 'every'"),
        ('process = "poisson", rate = "6 /min"', 'process = "trace", file = "gone.csv"', "workload.arrivals.file:"),
        ('deadline = "200 ms"', 'privacy = "some"', "workload.privacy: 'some'; expected"),
        ('policy = "battery-aware"', 'policy = "split"', "offload.policy: 'split' is no policy"),
        ('policy = "battery-aware"', 'policy = "battery-aware"\nlow = 1', "offload.low: policy 'battery-aware' has"),
        ('profile = "lte"', 'profile = "lte"\nweak = { every = "1 h", last = "1 s" }', "expected either factor, or up"),
        ('grid = "france-2023"', "", "cloud.grid: required key is missing"),
    ],
)
def test_impossible_values_are_refused_with_their_place(faults, changed, old, new, fault):
    assert any(fault in line for line in faults(changed(old, new))), faults(changed(old, new))


def test_offloading_needs_a_cloud_and_a_link(faults):
    start, end = BASE.index("[cloud]"), BASE.index("[offload]")
    (fault,) = faults(BASE[:start] + BASE[end:])
    assert fault == "offload.policy: 'battery-aware' needs [cloud] and [link]; add it, or use \"local\""


def test_text_that_is_no_toml_is_refused(faults):
    assert faults("title = ")[0].startswith("is not TOML:")


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_scenario(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not UTF-8"):
        load_scenario(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    "text",
    [
        "workload = 3",
        'node = "x"',
        "[[node]]\nname = 3",
        '[[node]]\nname = "a"\nworkload = 1',
        "compare = 1",
        "[compare]\nx = 3",
        "[compare]\nx = []",
        '[compare]\n"a.b.c" = [1]',
        '[compare]\n"workload" = [1]',
        '[compare]\n"node.gone.device.chip" = ["unit"]',
        '[[expect]]\nmetric = "latency.p95"',
        "device = []",
        "",
    ],
)
def test_broken_shapes_are_input_errors(faults, text):
    assert faults(text)


def test_too_much_for_one_record_is_refused(faults, changed):
    many = changed('"6 /min"', '"1000 /s"') + '[compare]\n"cloud.workers" = [1, 2, 3, 4, 5, 6]\n'
    assert "requests in all runs" in faults(many)[0]
    often = changed('every = "2 h", last = "90 s"', 'every = "2 us", last = "1 us"')
    assert "spells; expected at most" in faults(often)[0]


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (
            '[[expect]]\nmetric = "latency.p96"\nat_most = "1 s"',
            "expect[0].metric: 'latency.p96' is no metric; did you",
        ),
        ('[[expect]]\nmetric = "phone:latency.p95"\nat_most = "1 s"', "no node 'phone'"),
        ('[[expect]]\nmetric = "latency.p95"', "expect[0]: expected at_most or at_least"),
        ('[[expect]]\nmetric = "latency.p95"\nat_most = "1 W"', "expect[0].at_most: '1 W' has unit 'W'"),
        ('[[expect]]\nmetric = "latency.p95"\nat_most = true', "expect[0].at_most: True"),
        ('[[expect]]\nmetric = "share.remote"\nat_most = 1.5', "expect[0].at_most: 1.5; expected a share"),
        ('[[expect]]\nmetric = "requests.lost"\nat_most = "3"', "expect[0].at_most: '3'; expected a count"),
        ('[[claim]]\nmetric = "latency.p95"\nvalue = "1 s"', "claim[0].source: required key is missing"),
        (
            '[[claim]]\nmetric = "latency.p95"\nvalue = "1 s"\nsource = "x"\nwhen = { "offload.policy" = "local" }',
            "claim[0].when: 'offload.policy' is not compared; there is no [compare]",
        ),
    ],
)
def test_wrong_expectations_and_claims_are_refused(faults, table, fault):
    assert any(fault in line for line in faults(BASE + table))


STRANGE = [True, -1, 0, 10**30, 1e300, math.nan, math.inf, "", "x", "1 s", "1e999 s", "\x00", [], [1], {}, {"a": 1}]


def toml(value) -> str:
    """Write a value inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else "inf" if math.isinf(value) else repr(value)
    return json.dumps(value)


def places(table: dict, path: tuple = ()) -> list[tuple]:
    """Return the path of every key of a table."""
    found = []
    for key, value in table.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += places(value, (*path, key))
    return found


WHOLE = tomllib.loads(
    BASE
    + '[compare]\n"offload.policy" = ["local", "remote"]\n[[expect]]\nmetric = "latency.p95"\nat_most = "1 s"\n'
    + '[[claim]]\nmetric = "latency.p95"\nvalue = "1 s"\nsource = "x"\n[[node]]\nname = "a"\n'
)


@pytest.mark.parametrize("place", places(WHOLE), ids=".".join)
def test_whatever_stands_at_a_key_is_read_or_refused(place):
    for strange in STRANGE:
        table = copy.deepcopy(WHOLE)
        target = table
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = strange
        with contextlib.suppress(InputError):  # anything else is a failure
            parse_scenario("".join(f"{key} = {toml(value)}\n" for key, value in table.items()))
