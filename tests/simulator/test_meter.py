"""Meter: powers as steps, integrated exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.battery import Battery, BatterySpec
from simulator.meter import Meter


def battery(capacity_j: float) -> Battery:
    return Battery(BatterySpec(capacity_j, 1.0, 0.0, 1.0, 1.0))


def test_waiting_draws_idle_power_then_sleep_power():
    meter = Meter(None, 2.0, 0.5, 3.0, 0.0)
    meter.advance(10.0)
    assert meter.idle_j == pytest.approx(2.0 * 3 + 0.5 * 7)


def test_computing_replaces_waiting():
    meter = Meter(None, 2.0, 2.0, math.inf, 0.1)
    meter.advance(1.0)
    meter.compute(5.0)
    meter.advance(4.0)
    meter.compute(0.0)
    meter.advance(5.0)
    assert (meter.compute_j, meter.idle_j, meter.radio_j) == pytest.approx((15.0, 4.0, 0.5))


def test_the_radio_follows_its_plan():
    meter = Meter(None, 0.0, 0.0, math.inf, 0.0)
    meter.advance(1.0)
    meter.transmit([(2.0, 3.0), (4.0, 1.0), (math.inf, 0.25)])
    meter.advance(8.0)
    assert meter.radio_j == pytest.approx(3.0 + 2.0 + 1.0)


def test_looking_more_often_changes_nothing():
    def play(looks: int) -> Meter:
        meter = Meter(battery(100.0), 1.0, 0.25, 2.0, 0.0)
        meter.transmit([(2.5, 3.0), (7.5, 1.0), (math.inf, 0.125)])
        for look in range(1, looks + 1):
            meter.advance(16.0 * look / looks)
        return meter

    once, often = play(1), play(4096)
    assert often.radio_j == pytest.approx(once.radio_j, rel=1e-12)
    assert often.idle_j == pytest.approx(once.idle_j, rel=1e-12)
    assert often.state_of_charge == pytest.approx(once.state_of_charge, rel=1e-12)
    np.testing.assert_allclose(often.steps, once.steps, rtol=1e-12)


def test_the_cutoff_is_found_between_events():
    meter = Meter(battery(10.0), 1.0, 1.0, math.inf, 0.0)
    meter.transmit([(4.0, 0.5), (math.inf, 1.0)])
    assert not meter.advance(1000.0)
    assert meter.brownout_s == pytest.approx(4.0 + (10.0 - 6.0) / 2.0)
    assert meter.idle_j + meter.radio_j == pytest.approx(10.0)
    assert not meter.advance(2000.0)
    assert meter.idle_j + meter.radio_j == pytest.approx(10.0)
    assert meter.steps[-1][1:4] == (0.0, 0.0, 0.0)
