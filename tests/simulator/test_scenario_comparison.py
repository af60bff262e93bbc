"""Nodes that inherit, and comparisons: every combination, or one node's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.scenario import parse_scenario

BASE = Path(__file__).with_name("base_scenario.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ["seed", "title", "schema", "replications", "expect"])
def test_only_what_changes_a_run_can_be_compared(faults, key):
    assert any("can be compared" in fault for fault in faults(BASE + f"[compare]\n{key} = [1, 2]\n"))


def test_durations_can_be_compared():
    points = parse_scenario(BASE + '[compare]\nduration = ["1 min", "2 min"]\n').points
    assert [point.duration_s for point in points] == [60.0, 120.0]


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


def test_a_fault_of_a_node_is_placed_at_the_node(faults):
    assert "node.watch.workload.deadline: '1 V' has unit 'V'" in faults((BASE + NODES).replace('"1 s"', '"1 V"'))[0]


def test_node_names_are_unique(faults):
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


def test_a_wrong_compared_value_names_its_point_once(faults):
    found = faults(BASE + '[compare]\n"offload.policy" = ["local", "split"]\n"cloud.workers" = [1, 2]\n')
    assert len(found) == 1
    assert found[0].startswith("compare (policy split, workers 1): offload.policy: 'split' is no policy")
