"""Energy follows the measured boards and never falls below idle power times time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.device import device_names, load_device
from device_models.energy import Activity, busy_power, energy, idle_power

REAL = tuple(name for name in device_names() if name not in ("null", "unit"))


def test_the_microcontroller_draws_its_measured_power():
    """MLPerf Tiny v1.2, H7A3 at 280 MHz: 121.9 to 125.2 mW on three networks."""
    board = load_device("stm32h7a3")
    assert 0.1219 <= busy_power(board, 1, 280e6) <= 0.1252


def test_weights_streamed_from_flash_explain_the_auto_encoder():
    """135.6 mW over 1.2255 ms with 264 KB of weights per inference."""
    board = load_device("stm32h7a3")
    assert energy(board, Activity(1.2255e-3, 264_192, 264_192), 1, 280e6) == pytest.approx(165.7e-6, rel=0.02)


def test_a_board_draws_between_its_one_core_and_all_core_power():
    board = load_device("jh7110")
    powers = [busy_power(board, threads, board.frequency_hz) for threads in (1, 2, 3, 4)]
    assert powers[0] == board.power.active.value
    assert powers[-1] == pytest.approx(4.7)
    assert powers == sorted(powers)


def test_an_accelerator_pays_per_operation_and_byte():
    chip = load_device("ascend310b1")
    idle = energy(chip, Activity(1.0, 0, 0), 1, chip.frequency_hz)
    assert idle == chip.power.idle.value
    busy = energy(chip, Activity(1.0, 10**12, 10**9), 1, chip.frequency_hz)
    assert busy == pytest.approx(idle + 1e12 * chip.power.per_mac.value + 1e9 * chip.power.per_byte.value)


def test_the_unit_device_takes_one_joule_per_cycle():
    assert energy(load_device("unit"), Activity(3e-6, 3, 0), 1, 1e6) == pytest.approx(3.0)


@pytest.mark.parametrize("name", REAL)
@given(st.floats(0, 10), st.integers(0, 10**12), st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_energy_is_at_least_idle_power_times_time_and_its_ends_enclose_it(name, time_s, macs, nbytes, speed, share):
    device = load_device(name)
    low, high = device.clock.minimum.value, device.clock.maximum.value
    frequency = low + (high - low) * speed
    threads = 1 + round((device.cores - 1) * share)
    activity = Activity(time_s, macs, nbytes)
    value = energy(device, activity, threads, frequency)
    assert value >= idle_power(device, frequency) * time_s
    assert energy(device, activity, threads, frequency, "low") <= value * (1 + 1e-12)
    assert value <= energy(device, activity, threads, frequency, "high") * (1 + 1e-12)
