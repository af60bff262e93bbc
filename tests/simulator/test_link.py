"""Link: spells, steps, and transfers through them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.link import Link, Signal, Spells, draw_spells, plan_transfer, steps

UP = (0.0, 1e6, 1e7)


def link(weak=(), outages=(), patience_s=30.0) -> Link:
    starts_s, signal = steps(list(weak), list(outages))
    return Link(starts_s, signal, UP, UP, 0.05, patience_s)


def test_an_outage_hides_a_weak_spell():
    starts_s, signal = steps([(10.0, 30.0)], [(20.0, 25.0)])
    assert starts_s == (0.0, 10.0, 20.0, 25.0, 30.0)
    assert signal == (Signal.GOOD, Signal.WEAK, Signal.NONE, Signal.WEAK, Signal.GOOD)


def test_a_transfer_uses_each_rate_in_turn():
    found = plan_transfer(link(weak=[(1.0, 3.0)]), 0.0, 1.5e7, UP)
    assert found.finish_s == pytest.approx(1.0 + 2.0 + 0.3)
    assert found.delivered


def test_a_transfer_pauses_in_an_outage():
    found = plan_transfer(link(outages=[(1.0, 11.0)]), 0.5, 1e7, UP)
    assert found.finish_s == pytest.approx(11.5)


def test_a_transfer_is_given_up_when_the_patience_ends():
    found = plan_transfer(link(outages=[(1.0, 111.0)]), 0.5, 1e7, UP)
    assert not found.delivered
    assert found.finish_s == pytest.approx(31.0)
    assert found.bits == pytest.approx(5e6)


def test_coverage_comes_back_at_the_end_of_an_outage():
    some = link(outages=[(5.0, 9.0)])
    assert some.coverage_from_s(4.0) == 4.0
    assert some.coverage_from_s(5.0) == 9.0


@settings(max_examples=60, deadline=None)
@given(
    edges=st.lists(st.floats(0.0, 100.0), min_size=0, max_size=8, unique=True).map(sorted),
    start_s=st.floats(0.0, 120.0),
    bits=st.floats(1.0, 1e9),
)
def test_every_bit_is_moved_at_the_rate_of_its_time(edges, start_s, bits):
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    found = plan_transfer(link(weak=pairs[::2], outages=pairs[1::2], patience_s=1e9), start_s, bits, UP)
    moved, now_s = 0.0, start_s
    for until_s, rate_bps in found.pieces:
        assert until_s >= now_s
        moved += (until_s - now_s) * rate_bps
        now_s = until_s
    assert moved == pytest.approx(bits, rel=1e-6, abs=1e-3)
    assert now_s == found.finish_s


def test_spells_take_their_share_of_the_time():
    spells = Spells(every_s=100.0, last_s=20.0)
    found = draw_spells(np.random.default_rng(1), spells, 1e6)
    assert sum(end - start for start, end in found) / 1e6 == pytest.approx(0.2, rel=0.05)
    assert len(found) == pytest.approx(1e4, rel=0.05)
    assert all(first[1] < second[0] for first, second in itertools.pairwise(found))
