"""Numbers as text: digits, prefixes, units and the honest treatment of what is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import formats


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0113, "s", "11.3 ms"),
        (0.0051, "s", "5.10 ms"),
        (1.376e-3, "J", "1.38 mJ"),
        (280e6, "Hz", "280 MHz"),
        (0.99996, "s", "1.00 s"),
        (999.6, "W", "1.00 kW"),
        (0, "J", "0 J"),
        (-0.002, "W", "-2.00 mW"),
        (None, "s", "-"),
        (4.1e9, "MAC", "4.10 GMAC"),
        (1e-20, "J", "0.0000100 fJ"),
    ],
)
def test_engineering_shows_three_digits_and_the_prefix_that_leaves_one_to_999(value, unit, text):
    assert formats.engineering(value, unit) == text


@given(st.floats(1e-14, 1e17))
def test_engineering_text_is_within_half_a_unit_of_the_third_digit(value):
    number, unit = formats.engineering(value, "s").split(" ")
    powers = {formats.prefixed_unit(power, "s"): power for power in range(-15, 16, 3)}
    assert float(number) * 10.0 ** powers[unit] == pytest.approx(value, rel=0.0051)
    assert 1 <= float(number) < 1000


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (None, "-"), (0.0, "0 s"), (0.0117, "11.7 ms"), (90.0, "90.0 s"), (600.0, "10.0 min"), (8 * 3600.0, "8.00 h"),
        (3 * 86400.0, "3.00 d"), (2 * 365.25 * 86400, "2.00 years"),
    ],
)  # fmt: skip
def test_durations_are_shown_in_the_unit_a_person_would_use(value_s, text):
    assert formats.duration(value_s) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (53248, "52.0 KiB"), (1024**2 - 1, "1.00 MiB"),
     (500 * 1024**2, "500 MiB"), (3 * 1024**5, "3070 TiB")],
)  # fmt: skip
def test_memory_sizes_are_binary(value, text):
    assert formats.size(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "-"), (0, "0 %"), (1.0, "100 %"), (-1.0, "-100 %"), (0.805, "80.5 %"), (0.9999, "> 99.9 %"),
     (0.0001, "< 0.1 %")],
)  # fmt: skip
def test_a_share_that_is_not_all_or_nothing_never_reads_so(share, text):
    assert formats.percent(share) == text


@pytest.mark.parametrize(
    ("low_s", "high_s", "calibrated", "text"),
    [
        (0.007, 0.018, False, "11.3 ms (7-18 ms, uncalibrated)"),
        (0.0102, 0.0124, True, "11.3 ms (10.2-12.4 ms)"),
        (0.0009, 0.12, False, "11.3 ms (0.9-120 ms, uncalibrated)"),
    ],
)
def test_a_band_keeps_the_unit_of_its_prediction(low_s, high_s, calibrated, text):
    assert formats.band(0.0113, low_s, high_s, calibrated=calibrated) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(1.0, 1.12, "+12.0 %"), (2.0, 1.0, "-50.0 %"), (1.0, 1.0, "0 %"), (0.0, 1.0, "-"), (1.0, 64.0, "×64")],  # noqa: RUF001 (the sign of multiplication is what the reader sees)
)
def test_changes_are_signed_and_become_factors_beyond_tenfold(before, after, text):
    assert formats.change(before, after) == text


def test_counts_have_their_thousands_apart():
    assert [formats.integer(count) for count in (None, 7, 1234567)] == ["-", "7", "1 234 567"]
