"""Radio: the energy of the tail, against published figures and laws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import simulate
from simulator.link import Link, Signal, steps
from simulator.node import NodeSpec, Offload
from simulator.policies import remote
from simulator.profiles import known, load_link
from simulator.radio import (
    Radio,
    cycle_mean_w,
    listening_wait_s,
    phase_at,
    request_energy_j,
    tail_energy_j,
    transfer_energy_j,
)
from simulator.service import Service

RATE_BPS = 6e6
# Energy per request of 20 kB over LTE at 6 Mbit/s against the gap between transfers.
GAPS = [(0.05, 0.16), (1.0, 1.20), (5.0, 5.57), (15.0, 11.4)]
LTE: Radio = load_link("lte").the_radio()

gaps = st.floats(0.0, 60.0)
sizes = st.floats(1.0, 1e7)
rates = st.floats(1e4, 1e9)
radios = st.sampled_from([load_link(name).the_radio() for name in known("links")])
quick = settings(max_examples=60, deadline=None)


def free_link(rate_bps: float = RATE_BPS, rtt_s: float = 0.0) -> Link:
    starts_s, signal = steps([], [])
    return Link(starts_s, signal, (0.0, rate_bps, rate_bps), (0.0, rate_bps, rate_bps), rtt_s, 30.0)


@pytest.mark.parametrize(("gap_s", "expected_j"), GAPS)
def test_energy_per_request_follows_the_gap_between_transfers(gap_s, expected_j):
    found = request_energy_j(LTE, 20_000, RATE_BPS, gap_s)
    assert float(f"{found:.{len(str(expected_j).replace('.', '').lstrip('0'))}g}") == expected_j


@pytest.mark.parametrize(("gap_s", "expected_j"), GAPS)
def test_the_engine_spends_what_the_closed_form_says(gap_s, expected_j):
    promotion_s = LTE.promotion_s if gap_s >= LTE.tail_s else 0.0
    period_s = promotion_s + 8 * 20_000 / RATE_BPS + gap_s
    offload = Offload(free_link(), LTE, Service(0.0, 0.0), 20_000, 0)
    first_s = 100.0 - (LTE.promotion_s - promotion_s)  # only the first of close transfers is promoted
    arrivals = [first_s, *(100.0 + period_s * k for k in range(1, 20))]
    spec = NodeSpec("phone", arrivals, Service(1.0, 1.0), remote.decide, offload)
    (outcome,) = simulate([spec], 1000.0)
    for job in outcome.node.jobs[1:-1]:
        spent_j = job.promotion_j + job.uplink_j + job.tail_j
        assert spent_j == pytest.approx(request_energy_j(LTE, 20_000, RATE_BPS, gap_s), rel=1e-9)
        assert spent_j == pytest.approx(expected_j, rel=0.02)


def test_parts_of_the_worked_example():
    assert transfer_energy_j(LTE.base_w, LTE.up_j_per_bit, 160_000, 160_000 / RATE_BPS) == pytest.approx(
        0.102, rel=5e-3
    )
    assert LTE.promotion_s * LTE.promotion_w == pytest.approx(0.315, rel=5e-3)
    assert LTE.tail[0].last_s * LTE.tail[0].draw_w == pytest.approx(0.12)
    assert cycle_mean_w(1.06, 1.68, 0.002, 0.040) == pytest.approx(1.091)
    assert tail_energy_j(99.0, LTE.tail_lasts_s, LTE.tail_draws_w) - 0.12 == pytest.approx(10.9, rel=5e-3)


@quick
@given(radio=radios, upload_bytes=sizes, rate_bps=rates, gap_s=gaps)
def test_energy_is_never_below_the_flat_energy_per_bit(radio, upload_bytes, rate_bps, gap_s):
    flat_j = radio.up_j_per_bit * 8 * upload_bytes
    assert request_energy_j(radio, upload_bytes, rate_bps, gap_s) >= flat_j


@quick
@given(radio=radios, upload_bytes=sizes, rate_bps=rates, gap_s=gaps)
def test_doubling_the_gap_never_lowers_the_energy_of_a_request(radio, upload_bytes, rate_bps, gap_s):
    once = request_energy_j(radio, upload_bytes, rate_bps, gap_s)
    assert request_energy_j(radio, upload_bytes, rate_bps, 2 * gap_s) >= once


@quick
@given(radio=radios, first=sizes, second=sizes, rate_bps=rates, gap_s=gaps)
def test_merged_transfers_cost_no_more_than_apart(radio, first, second, rate_bps, gap_s):
    whole_tail = 1e9
    apart = request_energy_j(radio, first, rate_bps, gap_s) + request_energy_j(radio, second, rate_bps, whole_tail)
    assert request_energy_j(radio, first + second, rate_bps, whole_tail) <= apart * (1 + 1e-12)


@quick
@given(radio=radios, rate_bps=rates, gap_s=gaps)
def test_zero_bytes_cost_zero(radio, rate_bps, gap_s):
    assert request_energy_j(radio, 0.0, rate_bps, gap_s) == 0.0


def test_an_empty_upload_never_wakes_the_radio():
    offload = Offload(free_link(), replace(LTE), Service(0.5, 1.0), 0, 0)
    spec = NodeSpec("phone", [1.0, 2.0], Service(1.0, 1.0), remote.decide, offload)
    (outcome,) = simulate([spec], 10.0)
    assert outcome.node.meter.radio_j == pytest.approx(LTE.idle.draw_w * 10.0)
    assert [job.latency_s for job in outcome.node.jobs] == pytest.approx([0.5, 0.5])


@quick
@given(radio=radios, first=gaps, second=gaps)
def test_the_tail_can_be_cut_anywhere(radio, first, second):
    lasts, draws = radio.tail_lasts_s, radio.tail_draws_w
    whole = tail_energy_j(first + second, lasts, draws)
    assert tail_energy_j(first, lasts, draws) <= whole * (1 + 1e-12)
    assert tail_energy_j(radio.tail_s + first, lasts, draws) == pytest.approx(
        sum(last * draw for last, draw in zip(lasts, draws, strict=True))
    )


def test_a_sleeping_radio_is_reached_at_its_next_cycle():
    assert listening_wait_s(0.001, 0.002, 0.040) == 0.0
    assert listening_wait_s(0.010, 0.002, 0.040) == pytest.approx(0.030)
    assert listening_wait_s(0.081, 0.002, 0.040) == 0.0
    assert listening_wait_s(123.4, 0.0, 0.0) == 0.0


def test_phases_follow_each_other():
    assert phase_at(LTE, 0.05)[0].name == "inactivity"
    assert phase_at(LTE, 0.11)[0].name == "short DRX"
    assert phase_at(LTE, 5.0)[0].name == "long DRX"
    phase, into_s = phase_at(LTE, LTE.tail_s + 1.0)
    assert phase.name == "idle"
    assert into_s == pytest.approx(1.0)


def test_a_result_waits_for_the_radio_to_listen():
    # The answer comes 1 s after the last byte, in long DRX: 0.88 s into cycles of 40 ms, so exactly at a start.
    offload = Offload(free_link(rtt_s=0.0), LTE, Service(1.01, 1.0), 20_000, 100)
    spec = NodeSpec("phone", [1.0], Service(1.0, 1.0), remote.decide, offload)
    (outcome,) = simulate([spec], 10.0)
    (job,) = outcome.node.jobs
    assert job.downlink_s == pytest.approx(0.030 + 800 / RATE_BPS)


def test_signals_are_ordered_like_bars():
    assert Signal.NONE < Signal.WEAK < Signal.GOOD
