"""Scenarios are read: values in SI, defaults, files beside them, the schema for editors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.scenario import check, json_schema, load_scenario, parse_scenario
from workloads.errors import InputError

BASE = Path(__file__).with_name("base_scenario.toml").read_text(encoding="utf-8")

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


def test_checking_returns_the_faults(changed, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(BASE, encoding="utf-8")
    assert check(path) == []
    path.write_text(changed("seed = 1", "seed = -1"), encoding="utf-8")
    assert len(check(path)) == 1


def test_the_json_schema_is_draft_4_and_complete():
    schema = json_schema()
    text = json.dumps(schema)
    assert schema["$schema"].endswith("draft-04/schema#")
    assert "$defs" not in text
    assert '"const"' not in text
    assert set(schema["properties"]) >= {"title", "duration", "workload", "device", "cloud", "link", "node", "compare"}
    assert schema["properties"]["duration"]["type"] == "string"
    assert set(schema["required"]) == {"title", "duration", "seed"}


def test_a_trace_and_own_profiles_are_found_beside_the_scenario(changed, tmp_path):
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
