"""The catalogue: every shipped device and core loads, and states what its sources say."""

from __future__ import annotations

import pytest

from device_models.cores import core_names, load_core
from device_models.device import device_names, load_device
from device_models.figures import figures

REAL = tuple(name for name in device_names() if name not in ("null", "unit"))


def test_the_six_devices_and_the_two_doubles_are_there():
    expected = {"ascend310b1", "epyc-9v45", "jh7110", "null", "spacemit-k1", "stm32h7a3", "unit", "xeon-8275cl"}
    assert expected <= set(device_names())


@pytest.mark.parametrize("name", device_names())
def test_every_device_loads_with_sourced_figures(name):
    device = load_device(name)
    places = [
        place for part in ("clock", "compute", "memory", "power") for place, _, _ in figures(getattr(device, part))
    ]
    assert len(places) >= 5
    assert all(len(text) > 20 for text in device.sources.values())


@pytest.mark.parametrize("name", core_names())
def test_every_core_loads_and_names_an_instruction_set(name):
    core = load_core(name)
    assert core.isa().instructions
    assert core.band.latency.lowest <= 1.0 <= core.band.latency.highest


@pytest.mark.parametrize("name", REAL)
def test_what_is_assumed_says_so_and_has_a_range(name):
    device = load_device(name)
    for part in (device.clock, device.memory, device.power, device.overhead, device.operators):
        for place, text, source in figures(part):
            if device.sources[source].lower().startswith(("assumed", "no source")):
                assert " .. " in text, (place, text)


@pytest.mark.parametrize(
    ("name", "macs_per_s"),
    [("stm32h7a3", 2 * 280e6), ("epyc-9v45", 128 * 64 * 4.3e9), ("jh7110", 4 * 1.5e9), ("unit", 1e6)],
)
def test_peak_rates_follow_from_the_figures(name, macs_per_s):
    assert load_device(name).peak_macs_per_s == pytest.approx(macs_per_s)


def test_memory_bandwidth_is_that_of_the_outermost_level():
    assert load_device("jh7110").memory_bytes_per_s == pytest.approx(1379e6)
    assert load_device("stm32h7a3").memory_bytes_per_s == pytest.approx(953.2e6)


def test_aliases_belong_to_one_device():
    seen = [alias for name in device_names() for alias in load_device(name).aliases]
    assert len(seen) == len(set(seen))
