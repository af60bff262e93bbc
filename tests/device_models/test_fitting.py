"""Few rows find multipliers: exact ones are recovered, bounds hold, groups stay apart, bands hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.fitting import MODEL_ERROR, Prior, at_level, band_factor, fit, held_out
from device_models.runtime import Z80

TERMS = 5


def prior(mean=1.0, spread=0.5, low=0.05, high=20.0) -> Prior:
    ones = np.ones(TERMS)
    return Prior(mean * ones, spread * ones, low * ones, high * ones, ones.astype(bool))


def amounts(rows: int, seed: int) -> np.ndarray:
    """Return rows of networks that spend most of their time in different kinds of layers. [s]"""
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(TERMS, 0.4), rows) * random.uniform(1e-3, 1.0, (rows, 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.6, 1.7), min_size=TERMS, max_size=TERMS), st.integers(0, 10_000))
def test_multipliers_are_recovered_from_what_they_made(multipliers, seed):
    seconds = amounts(400, seed)
    found = fit(seconds, seconds @ multipliers, prior())
    assert found.multipliers == pytest.approx(multipliers, rel=0.02)
    assert found.residual < MODEL_ERROR


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 60.0), min_size=TERMS, max_size=TERMS), st.integers(1, 30), st.integers(0, 10_000))
def test_no_measurement_moves_a_multiplier_out_of_its_bounds(multipliers, rows, seed):
    seconds = amounts(rows, seed)
    found = fit(seconds, seconds @ multipliers, prior(low=0.25, high=4.0)).multipliers
    assert ((found >= 0.25) & (found <= 4.0)).all()


def test_without_rows_the_prior_is_the_answer_and_its_spread_the_doubt():
    found = fit(np.zeros((0, TERMS)), np.zeros(0), prior())
    assert found.multipliers == pytest.approx(np.ones(TERMS))
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(np.full(TERMS, 0.5))
    assert found.residual == pytest.approx(MODEL_ERROR)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_a_row_more_never_makes_a_multiplier_less_certain(rows, seed):
    seconds = amounts(rows + 1, seed)
    measured = seconds @ np.ones(TERMS)
    fewer, more = (np.diag(fit(seconds[:n], measured[:n], prior()).covariance) for n in (rows, rows + 1))
    assert (more <= fewer + 1e-12).all()


def test_a_fixed_multiplier_stays_and_the_others_make_up_for_it():
    seconds = np.array([[1.0, 1.0, 0, 0, 0], [2.0, 1.0, 0, 0, 0], [1.0, 3.0, 0, 0, 0]] * 200)
    fixed = prior()
    fixed.spread[0] = 0.0
    found = fit(seconds, seconds @ np.array([1.0, 1.2, 1, 1, 1]), fixed)
    assert found.multipliers[0] == 1.0
    assert found.multipliers[1] == pytest.approx(1.2, rel=1e-3)


def test_rows_that_repeat_a_measurement_count_as_one():
    seconds = amounts(4, 3)
    measured = seconds @ np.array([0.8, 1.3, 1.0, 1.1, 0.9])
    once = fit(seconds, measured, prior())
    twice = fit(
        np.vstack([seconds, seconds[:1]]), np.append(measured, measured[0]), prior(), np.array([0.5, 1, 1, 1, 0.5])
    )
    assert twice.multipliers == pytest.approx(once.multipliers)
    assert twice.covariance == pytest.approx(once.covariance)


def test_a_library_of_reference_kernels_is_taken_to_be_slow_in_everything():
    """A term that is never seen rises with the others, by one row's worth less; within 1.3 each stands for itself."""
    seconds = amounts(9, 1)
    seconds[:, 4] = 0.0
    ones = np.ones(9)
    slow = fit(seconds, 8.0 * seconds @ np.ones(TERMS), prior(high=50.0)).multipliers
    assert slow[4] == pytest.approx(8.0**0.9)
    assert at_level(seconds, 1.25 * seconds @ np.ones(TERMS), prior(), ones).mean == pytest.approx(np.ones(TERMS))


def test_a_group_left_out_has_no_say_in_its_prediction():
    seconds = amounts(12, 5)
    measured = seconds @ np.array([0.8, 1.3, 1.0, 1.1, 0.9])
    groups = ["a", "b", "c"] * 4
    before = held_out(seconds, measured, groups, prior())
    changed = np.where(np.array(groups) == "b", 10.0 * measured, measured)
    after = held_out(seconds, changed, groups, prior())
    same = np.array(groups) == "b"
    assert after.predicted_s[same] == pytest.approx(before.predicted_s[same])
    assert not np.allclose(after.predicted_s[~same], before.predicted_s[~same])


def test_one_group_alone_is_predicted_by_the_prior():
    seconds = amounts(3, 7)
    found = held_out(seconds, 2.0 * seconds.sum(axis=1), ["a"] * 3, prior())
    assert found.predicted_s == pytest.approx(seconds.sum(axis=1))
    assert (found.spread > 0.2).all()


def test_bands_hold_about_eighty_of_a_hundred_networks_never_seen():
    """Multipliers and noise drawn as the prior says: the band must be honest on other rows of the same library."""
    random = np.random.default_rng(11)
    inside = []
    for seed in range(60):
        multipliers = np.clip(random.normal(1.0, 0.3, TERMS), 0.1, None)
        seconds = amounts(24, seed)
        measured = seconds @ multipliers * np.exp(random.normal(0.0, 0.06, 24))
        rows, groups = slice(0, 12), [f"g{index // 2}" for index in range(12)]
        found = fit(seconds[rows], measured[rows], prior())
        factor = band_factor(measured[rows], held_out(seconds[rows], measured[rows], groups, prior()))
        reach = factor * found.spread(seconds[12:])
        inside.append(np.abs(np.log(measured[12:] / (seconds[12:] @ found.multipliers))) <= reach)
    assert 0.7 <= np.mean(inside) <= 0.9


def test_the_band_of_a_normal_library_is_that_of_a_normal_distribution():
    seconds = amounts(3, 2)
    measured = seconds.sum(axis=1)
    held = held_out(seconds, measured, ["a", "b", "c"], prior())
    assert 1.0 <= band_factor(measured, held) <= Z80
