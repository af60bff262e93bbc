"""Order statistics and intervals against numpy, published tables and exact sums."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import statistics

SAMPLE = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(SAMPLE, st.floats(0, 1))
def test_percentiles_are_numpys(values, share):
    expected = np.percentile(values, 100 * share, method="linear")
    assert statistics.percentile(values, share) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(SAMPLE)
def test_percentiles_stay_within_the_sample_and_do_not_decrease(values):
    found = [statistics.percentile(values, share) for share in (0, 0.25, 0.5, 0.95, 1)]
    assert found[0] == min(values)
    assert found[-1] == max(values)
    assert all(low <= high + 1e-9 * abs(high) for low, high in itertools.pairwise(found))


def test_a_percentile_needs_a_value_and_a_share():
    with pytest.raises(ValueError, match="at least one value"):
        statistics.percentile([], 0.5)
    with pytest.raises(ValueError, match=r"within 0\.\.1, found 95"):
        statistics.percentile([1.0], 95)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # Abramowitz and Stegun, table 26.10, probability 0.95 two-sided.
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (29, 2.045), (120, 1.980)],
)
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert statistics.student_t_quantile(0.975, freedom) == pytest.approx(quantile, abs=5e-4)


@given(st.floats(0, 50))
def test_students_distribution_has_its_closed_forms_for_one_and_two_degrees(t):
    assert statistics.student_t_cumulative(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi)
    assert statistics.student_t_cumulative(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)))


def test_the_interval_of_a_mean_is_students():
    # Mean 3, variance 2.5, standard error sqrt(0.5), t(0.975, 4) = 2.776.
    low, high = statistics.mean_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(0.5)
    assert (low, high) == pytest.approx((3 - half, 3 + half), rel=1e-6)
    with pytest.raises(ValueError, match="at least two"):
        statistics.mean_interval([1.0])


def _at_most(count: int, hits: int, share: Fraction) -> Fraction:
    return sum((math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits + 1)), Fraction(0))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 120), st.sampled_from([Fraction(1, 2), Fraction(19, 20), Fraction(1, 10)]))
def test_the_interval_of_a_percentile_covers_it_with_the_stated_confidence(count, share):
    values = [float(rank) for rank in range(1, count + 1)]
    found = statistics.percentile_interval(values, float(share))
    if found is None:
        tails = (_at_most(count, 0, share), 1 - _at_most(count, count - 1, share))
        assert max(tails) > Fraction(1, 40) * Fraction(999_999, 1_000_000)
        return
    lower, upper = (int(rank) for rank in found)
    coverage = _at_most(count, upper - 1, share) - _at_most(count, lower - 1, share)
    assert coverage >= Fraction(95, 100) - Fraction(1, 10**9)


def test_the_interval_of_the_median_of_ten_runs_from_the_second_to_the_ninth():
    # David and Nagaraja, section 7.1: coverage 0.9785.
    assert statistics.percentile_interval(list(range(10, 0, -1)), 0.5) == (2, 9)
    assert statistics.percentile_interval(list(range(10)), 0.95) is None


@pytest.mark.parametrize(
    ("hits", "count", "interval"),
    # Newcombe, Stat. Med. 17 (1998), table I, method 3: score interval without continuity correction.
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_the_interval_of_a_share_is_wilsons(hits, count, interval):
    assert statistics.share_interval(hits, count) == pytest.approx(interval, abs=5e-5)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="found 1 of 0"):
        statistics.share_interval(1, 0)


def test_the_empirical_distribution_ends_below_one_when_some_have_no_value():
    assert statistics.ecdf([3.0, 1.0, 1.0]) == ([1.0, 3.0], [2 / 3, 1.0])
    assert statistics.ecdf([3.0, 1.0, 1.0], count=4) == ([1.0, 3.0], [0.5, 0.75])
    assert statistics.ecdf([]) == ([], [])


@given(SAMPLE, st.lists(st.integers(-100, 100), min_size=2, max_size=8, unique=True))
def test_histograms_are_numpys(values, edges):
    edges = sorted(edges)
    assert statistics.histogram(values, edges) == np.histogram(values, edges)[0].tolist()


def test_a_histogram_needs_increasing_edges():
    with pytest.raises(ValueError, match="increasing"):
        statistics.histogram([1.0], [1, 1])


STEPS = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 9)), min_size=1, max_size=20)


@given(STEPS, st.integers(1, 30))
def test_the_means_of_all_bins_add_up_to_the_integral_whatever_the_bins(steps, bins):
    time_s, now_s = [], 0.0
    for gap_s, _ in steps:
        now_s += gap_s
        time_s.append(now_s)
    values = [value for _, value in steps]
    end_s = now_s + 1.0
    edges_s = [end_s * index / bins for index in range(bins + 1)]
    spans = zip([*time_s[1:], end_s], time_s, values, strict=True)
    integral = math.fsum((after_s - before_s) * value for after_s, before_s, value in spans)
    means = statistics.step_mean(time_s, values, edges_s)
    assert math.fsum(means) * end_s / bins == pytest.approx(integral, rel=1e-9, abs=1e-9)


def test_a_pulse_within_a_bin_counts_by_its_share_of_the_bin():
    assert statistics.step_mean([0.0, 1.0, 1.5], [1.0, 5.0, 1.0], [0.0, 1.0, 2.0]) == [1.0, 3.0]
    assert statistics.step_mean([1.0], [4.0], [0.0, 0.5, 1.5]) == [0.0, 2.0]
