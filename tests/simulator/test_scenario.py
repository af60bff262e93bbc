"""Scenario: reading, inheritance, comparison, and every fault at once."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import tomllib
from pathlib import Path

import pytest

from simulator.scenario import check, json_schema, load_scenario, parse_scenario
from workloads.errors import InputError

BASE = """# Does it work?
title = "A test"
duration = "10 min"
seed = 1

[workload]
model = "fc_autoencoder"
arrivals = { process = "poisson", rate = "6 /min" }
deadline = "200 ms"

[device]
chip = "stm32h7a3"
battery = { capacity = "1 Wh", state_of_charge = 0.9, cutoff = 0.05 }
grid = "china-2023"

[cloud]
chip = "xeon-8275cl"
workers = 2
grid = "france-2023"

[link]
profile = "lte"
outages = { every = "2 h", last = "90 s" }

[offload]
policy = "battery-aware"
"""

# The example of the design, its model a built-in one and its policies those that exist.
DESIGN = """
title = "Lung-nodule screening in a village clinic"
duration = "8 h"
seed = 7

[workload]                                # what arrives
model = "resnet8"
arrivals = { process = "poisson", rate = "6 /h" }
deadline = "200 ms"
privacy = "regions"                       # what may leave the device

[device]                                  # where it may run, at hand
chip = "ascend310b1"
runtime = "generated"
battery = { capacity = "18 Wh", state_of_charge = 0.9, cutoff = 0.05 }
grid = "china-2023"

[cloud]                                   # where it may run, far away
chip = "xeon-8275cl"
workers = 2
grid = "china-2023"

[link]
profile = "5g-nsa"
outages = { every = "2 h", last = "90 s" }

[offload]
policy = "battery-aware"

[compare]                                 # one run each, side by side
"offload.policy" = ["local", "remote", "battery-aware"]

[[expect]]                                # violated: exit status 1
metric = "latency.p95"
at_most = "100 ms"

[[claim]]                                 # audited: claimed beside predicted
metric = "latency.p95"
value = "83 ms"
source = "SYSTEM.md A"
"""


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        parse_scenario(text)
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new)


def test_the_design_example_loads():
    found = parse_scenario(DESIGN)
    assert [point.label for point in found.points] == ["local", "remote", "battery-aware"]
    (name, node) = found.points[0].nodes[0]
    assert name == "device"
    assert node.workload.arrivals.rate_per_s == pytest.approx(6 / 3600)
    assert node.workload.deadline_s == 0.2
    assert node.device.battery.capacity_j == 18 * 3600
    assert node.link.outages.last_s == 90.0
    assert found.duration_s == 8 * 3600
    assert found.question == found.title


def test_the_first_comment_asks_the_question():
    assert parse_scenario(BASE).question == "Does it work?"


def test_a_seed_given_by_the_caller_replaces_the_files():
    assert parse_scenario(BASE, seed=99).seed == 99


def test_all_faults_are_found_at_once():
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


def test_all_wrong_names_are_found_at_once():
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
def test_impossible_values_are_refused_with_their_place(old, new, fault):
    assert any(fault in line for line in faults(changed(old, new))), faults(changed(old, new))


def test_offloading_needs_a_cloud_and_a_link():
    start, end = BASE.index("[cloud]"), BASE.index("[offload]")
    (fault,) = faults(BASE[:start] + BASE[end:])
    assert fault == "offload.policy: 'battery-aware' needs [cloud] and [link]; add it, or use \"local\""


def test_text_that_is_no_toml_is_refused():
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
def test_broken_shapes_are_input_errors(text):
    assert faults(text)


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


def test_too_much_for_one_record_is_refused():
    many = changed('"6 /min"', '"1000 /s"') + '[compare]\n"cloud.workers" = [1, 2, 3, 4, 5, 6]\n'
    assert "requests in all runs" in faults(many)[0]
    often = changed('every = "2 h", last = "90 s"', 'every = "2 us", last = "1 us"')
    assert "spells; expected at most" in faults(often)[0]


@pytest.mark.parametrize("key", ["seed", "title", "schema", "replications", "expect"])
def test_only_what_changes_a_run_can_be_compared(key):
    assert any("can be compared" in fault for fault in faults(BASE + f"[compare]\n{key} = [1, 2]\n"))


def test_durations_can_be_compared():
    points = parse_scenario(BASE + '[compare]\nduration = ["1 min", "2 min"]\n').points
    assert [point.duration_s for point in points] == [60.0, 120.0]


def test_checking_returns_the_faults(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(BASE, encoding="utf-8")
    assert check(path) == []
    path.write_text(changed("seed = 1", "seed = -1"), encoding="utf-8")
    assert len(check(path)) == 1


NODES = """
[[node]]
name = "phone"

[[node]]
name = "watch"
workload = { deadline = "1 s" }
device = { chip = "unit" }
link = { profile = "ble" }
offload = { policy = "local" }
"""


def test_nodes_inherit_key_by_key():
    phone, watch = (sections for _, sections in parse_scenario(BASE + NODES).points[0].nodes)
    assert phone.workload.deadline_s == 0.2
    assert (watch.workload.deadline_s, watch.workload.model) == (1.0, "fc_autoencoder")
    assert (watch.device.chip, watch.device.grid) == ("unit", "china-2023")
    assert (watch.link.profile, watch.link.outages.last_s) == ("ble", 90.0)
    assert (phone.offload.policy, watch.offload.policy) == ("battery-aware", "local")


def test_a_fault_of_a_node_is_placed_at_the_node():
    assert "node.watch.workload.deadline: '1 V' has unit 'V'" in faults((BASE + NODES).replace('"1 s"', '"1 V"'))[0]


def test_node_names_are_unique():
    assert "the name 'phone' is used twice" in faults((BASE + NODES).replace('"watch"', '"phone"'))[0]


def test_several_compared_keys_make_every_combination():
    text = BASE + '[compare]\n"offload.policy" = ["local", "remote"]\n"cloud.workers" = [1, 2, 3]\n'
    points = parse_scenario(text).points
    assert len(points) == 6
    assert points[-1].label == "policy remote, workers 3"
    assert points[-1].settings == {"offload.policy": "remote", "cloud.workers": "3"}
    assert points[-1].cloud.workers == 3


def test_a_compared_key_can_address_one_node():
    text = BASE + NODES + '[compare]\n"node.watch.device.chip" = ["unit", "null"]\n'
    chips = [[node.device.chip for _, node in point.nodes] for point in parse_scenario(text).points]
    assert chips == [["stm32h7a3", "unit"], ["stm32h7a3", "null"]]


def test_a_wrong_compared_value_names_its_point_once():
    found = faults(BASE + '[compare]\n"offload.policy" = ["local", "split"]\n"cloud.workers" = [1, 2]\n')
    assert len(found) == 1
    assert found[0].startswith("compare (policy split, workers 1): offload.policy: 'split' is no policy")


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
def test_wrong_expectations_and_claims_are_refused(table, fault):
    assert any(fault in line for line in faults(BASE + table))


def test_the_json_schema_is_draft_4_and_complete():
    schema = json_schema()
    text = json.dumps(schema)
    assert schema["$schema"].endswith("draft-04/schema#")
    assert "$defs" not in text
    assert '"const"' not in text
    assert set(schema["properties"]) >= {"title", "duration", "workload", "device", "cloud", "link", "node", "compare"}
    assert schema["properties"]["duration"]["type"] == "string"
    assert set(schema["required"]) == {"title", "duration", "seed"}


def test_a_trace_and_own_profiles_are_found_beside_the_scenario(tmp_path):
    (tmp_path / "times.csv").write_text("time_s\n1\n2.5\n", encoding="utf-8")
    (tmp_path / "own.toml").write_text(
        'schema = 1\ntitle = "Own"\nkind = "average"\nintensity = ["1 g/kWh", "me"]\n[sources]\nme = "mine"\n',
        encoding="utf-8",
    )
    path = tmp_path / "a.toml"
    text = changed('process = "poisson", rate = "6 /min"', 'process = "trace", file = "times.csv"')
    path.write_text(text.replace('"china-2023"', '"own.toml"'), encoding="utf-8")
    assert load_scenario(path).points[0].nodes[0][1].device.grid == "own.toml"
    (tmp_path / "times.csv").write_text("2\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match="comes before the time above it"):
        load_scenario(path)


def test_every_bundled_scenario_loads():
    paths = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))
    assert paths
    for path in paths:
        found = load_scenario(path)
        assert found.question.endswith("?")
