"""Battery: conservation, closed forms, the cut-off."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.battery import Battery, BatterySpec, kibam_step, kibam_time_to_s

SHARE, RATE = 0.625, 4.5e-5
shares = st.floats(0.1, 0.9)
rates = st.floats(1e-6, 1e-1)
wells = st.floats(0.0, 1e5)
drains = st.floats(0.0, 50.0)
times = st.floats(0.0, 1e4)
quick = settings(max_examples=80, deadline=None)


def spec(**changed) -> BatterySpec:
    return BatterySpec(
        **{"capacity_j": 1000.0, "state_of_charge": 1.0, "cutoff": 0.1, "efficiency": 1.0, "charge_efficiency": 1.0}
        | changed
    )


def test_counting_takes_power_times_time():
    battery = Battery(spec())
    assert battery.drain(2.0, 100.0) == 100.0
    assert battery.state_of_charge == pytest.approx(0.8)


def test_a_loss_is_taken_from_the_store():
    battery = Battery(spec(efficiency=0.5))
    battery.drain(2.0, 100.0)
    assert battery.state_of_charge == pytest.approx(0.6)


def test_the_drain_stops_exactly_at_the_cutoff():
    battery = Battery(spec())
    assert battery.drain(9.0, 1000.0) == pytest.approx(100.0)
    assert battery.state_of_charge == 0.1
    assert battery.drain(9.0, 1.0) == 0.0


@quick
@given(y1=wells, y2=wells, drain_w=drains, duration_s=times, share=shares, rate=rates)
def test_kibam_conserves_energy(y1, y2, drain_w, duration_s, share, rate):
    after = kibam_step(y1, y2, drain_w, duration_s, share, rate)
    scale = y1 + y2 + drain_w * duration_s + 1.0
    assert sum(after) == pytest.approx(y1 + y2 - drain_w * duration_s, abs=1e-9 * scale)


@quick
@given(y1=wells, y2=wells, drain_w=drains, first=times, second=times, share=shares, rate=rates)
def test_kibam_intervals_can_be_split_anywhere(y1, y2, drain_w, first, second, share, rate):
    whole = kibam_step(y1, y2, drain_w, first + second, share, rate)
    split = kibam_step(*kibam_step(y1, y2, drain_w, first, share, rate), drain_w, second, share, rate)
    scale = y1 + y2 + drain_w * (first + second) + 1.0
    assert split == pytest.approx(whole, abs=1e-8 * scale)


def test_kibam_agrees_with_small_steps():
    k = RATE * SHARE * (1 - SHARE)
    y1, y2, drain_w, dt = 600.0, 100.0, 0.05, 0.05
    expected = kibam_step(y1, y2, drain_w, 1000.0, SHARE, RATE)
    for _ in range(20_000):
        flow = k * (y2 / (1 - SHARE) - y1 / SHARE)
        y1, y2 = y1 + (flow - drain_w) * dt, y2 - flow * dt
    assert (y1, y2) == pytest.approx(expected, rel=1e-5)


def test_kibam_at_rest_levels_out():
    y1, y2 = kibam_step(100.0, 375.0, 0.0, 1e7, SHARE, RATE)
    assert y1 / SHARE == pytest.approx(y2 / (1 - SHARE))


@quick
@given(charge=st.floats(0.1, 1.0), drain_w=st.floats(0.01, 50.0), share=shares, rate=rates, floor=st.floats(0.0, 0.9))
def test_kibam_is_at_the_floor_when_it_says_so(charge, drain_w, share, rate, floor):
    y1, y2 = 1000 * charge * share, 1000 * charge * (1 - share)
    floor_j = floor * y1
    time_s = kibam_time_to_s(y1, y2, drain_w, floor_j, share, rate)
    assert kibam_step(y1, y2, drain_w, time_s, share, rate)[0] == pytest.approx(floor_j, abs=1e-6)
    assert time_s <= (y1 + y2) / drain_w * (1 + 1e-12)


def test_kibam_without_a_drain_lasts_for_ever():
    assert math.isinf(kibam_time_to_s(1.0, 1.0, 0.0, 0.5, SHARE, RATE))


def test_pauses_make_a_kinetic_battery_last_longer():
    kinetic = {"available_share": SHARE, "rate_per_s": 1e-3, "cutoff": 0.0}
    steady = Battery(spec(**kinetic))
    steady_s = steady.drain(5.0, 1e6)
    pulsed, used_s = Battery(spec(**kinetic)), 0.0
    for _ in range(10_000):
        lasted_s = pulsed.drain(5.0, 10.0)
        used_s += lasted_s
        if lasted_s < 10.0:
            break
        pulsed.drain(0.0, 30.0)
    counted_s = Battery(spec(cutoff=0.0)).drain(5.0, 1e6)
    assert steady_s < used_s <= counted_s
