"""Policies: what they decide from what a device knows."""

from __future__ import annotations

import math
import sys
import types

import pytest

from simulator.link import Signal
from simulator.policies import Request, View, battery_aware, deadline, local, remote
from simulator.policy import bind, known_policies, parameters_of
from workloads.errors import InputError

REQUEST = Request(0, 10.0, 0.2, 1000.0, 10.0)
VIEW = View(10.0, 0.8, 0, 0, Signal.GOOD, 1e7, 0.1, 0.5, 0.1, 0.2)


def test_constant_policies_are_constant():
    assert local.decide(REQUEST, VIEW).place == "local"
    assert remote.decide(REQUEST, VIEW).place == "remote"


@pytest.mark.parametrize(
    ("local_s", "remote_s", "remote_j", "place"),
    [
        (0.1, 0.1, 0.2, "remote"),
        (0.1, 0.1, 0.9, "local"),
        (0.1, 0.3, 0.2, "local"),
        (0.3, 0.1, 0.9, "remote"),
        (0.4, 0.3, 0.9, "remote"),
        (0.3, 0.4, 0.1, "local"),
        (0.3, math.inf, math.inf, "local"),
    ],
)
def test_deadline_takes_the_cheaper_place_of_those_in_time(local_s, remote_s, remote_j, place):
    view = VIEW._replace(local_latency_s=local_s, remote_latency_s=remote_s, remote_energy_j=remote_j)
    assert deadline.decide(REQUEST, view).place == place


@pytest.mark.parametrize(
    ("changed", "place", "reason"),
    [
        ({}, "remote", "good network"),
        ({"state_of_charge": 0.149}, "local", "battery low"),
        ({"signal": Signal.NONE}, "local", "no signal"),
        ({"signal": Signal.WEAK}, "local", "weak network"),
        ({"uplink_bps": 1e5}, "local", "weak network"),
        ({"remote_latency_s": 0.3}, "local", "only local is in time"),
        ({"remote_latency_s": 0.3, "local_latency_s": 0.3}, "remote", "good network"),
    ],
)
def test_battery_aware_offloads_on_a_good_network_with_charge(changed, place, reason):
    found = battery_aware.decide(REQUEST, VIEW._replace(**changed))
    assert found.place == place
    assert reason in found.reason


def test_policies_are_found_by_their_file():
    assert known_policies() == ["battery-aware", "deadline", "local", "remote"]


def test_parameters_are_read_with_their_units():
    assert parameters_of(battery_aware.decide) == {
        "low_battery": "low_battery",
        "minimum_uplink": "minimum_uplink_bps",
    }
    decide = bind("battery-aware", {"low_battery": 0.9, "minimum_uplink": "20 Mbit/s"})
    assert decide(REQUEST, VIEW).reason == "battery low"
    assert decide(REQUEST, VIEW._replace(state_of_charge=0.95)).reason == "weak network"


def test_wrong_parameters_are_all_named():
    with pytest.raises(InputError) as caught:
        bind("battery-aware", {"low_batery": 0.1, "minimum_uplink": "3 W", "low_battery": -1})
    assert caught.value.problems == (
        "low_batery: policy 'battery-aware' has no such parameter; did you mean 'low_battery'?",
        "minimum_uplink: '3 W' has unit 'W'; expected one of bit/s, B/s (with an SI prefix)",
        "low_battery: -1; expected a finite number of at least 0",
    )


def test_an_unknown_policy_names_the_known_ones():
    with pytest.raises(InputError) as caught:
        bind("split", {})
    assert all(name in str(caught.value) for name in known_policies())


def test_a_users_policy_lies_beside_the_scenario(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def decide(request, view, *, patience_s=1.0):\n    return 'remote' if patience_s > 2 else 'local'\n",
        encoding="utf-8",
    )
    assert bind("mine:decide", {}, tmp_path)(REQUEST, VIEW) == "local"
    assert bind("mine:decide", {"patience": "3 s"}, tmp_path)(REQUEST, VIEW) == "remote"
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(InputError, match="division by zero"):
        bind("broken:decide", {}, tmp_path)


def test_users_bring_their_own_policy(monkeypatch):
    module = types.ModuleType("my_policy")
    module.decide = lambda request, view: "remote"
    monkeypatch.setitem(sys.modules, "my_policy", module)
    assert bind("my_policy:decide", {})(REQUEST, VIEW) == "remote"
    with pytest.raises(InputError, match="cannot be imported"):
        bind("my_policy:decides", {})
    with pytest.raises(InputError, match="cannot be imported"):
        bind("no_such_module_at_all:decide", {})
