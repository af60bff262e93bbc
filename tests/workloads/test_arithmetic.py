"""Requantisation: golden values, the compiled form against the plain one, and the laws of each rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.arithmetic import (
    FIXED_POINT,
    PROFILES,
    effective_scales,
    fp19,
    quantize_multiplier,
    requantize,
    requantize_fixed,
)
from workloads.kernels import reference
from workloads.operands import Operands

INT32 = st.integers(-(2**31), 2**31 - 1)
SCALES = st.one_of(
    st.floats(2**-31, 4.0), st.integers(-31, 6).map(lambda power: 2.0**power), st.sampled_from([1.0, 0.5, 1 - 2**-53])
)
PROFILE = st.sampled_from(sorted(PROFILES))

# real = accumulator * multiplier * 2**(shift - 31); computed by hand from the definition of each rounding.
GOLDEN = [  # accumulator, multiplier, shift, then: double, single, half up twice, float32 even, fp19
    (1, 2**30, 0, (1, 1, 1, 0, 0)),
    (-1, 2**30, 0, (0, 0, 0, 0, 0)),
    (-3, 2**30, 0, (-1, -1, -1, -2, -2)),
    (1, 2**30, -1, (1, 0, 1, 0, 0)),
    (-2, 2**30, -1, (-1, 0, 0, 0, 0)),
    (5, 2**30, -1, (2, 1, 2, 1, 1)),
    (-6, 2**30, -1, (-2, -1, -1, -2, -2)),
    (-7, 2**30, -1, (-2, -2, -1, -2, -2)),
    (4495, 1765535800, -5, (116, 115, 116, 115, 115)),
    (-1147, 1392655148, -4, (-47, -46, -46, -46, -46)),
    (14623, 1165803672, -9, (16, 16, 16, 16, 15)),
]
COLUMNS = ("tflite-double", "tflite-single", "ruy", "onnxruntime", "ascend-fixpipe")


def one(accumulator, scale, profile, zero_point=0, low=-(2**31), high=2**31 - 1):
    array = np.array([[accumulator]], np.int32)
    return int(requantize(array, np.array([scale]), zero_point, low, high, profile)[0, 0])


@pytest.mark.parametrize(("accumulator", "multiplier", "shift", "expected"), GOLDEN)
def test_each_profile_gives_its_golden_value(accumulator, multiplier, shift, expected):
    scale = multiplier * 2.0 ** (shift - 31)
    assert quantize_multiplier(scale) == (multiplier, shift)
    assert tuple(one(accumulator, scale, profile, low=-500, high=500) for profile in COLUMNS) == expected


@settings(max_examples=300, deadline=None)
@given(INT32, SCALES, st.integers(-128, 127), PROFILE)
@example(-(2**31), 1.0, 127, "tflite-double")
@example(2**31 - 1, 3.999, -128, "tflite-double")
@example(2**31 - 1, 2.0**-31, 0, "tflite-single")
@example(16014793, 2.0**6, 0, "ruy")
def test_compiled_requantisation_equals_the_plain_one(accumulator, scale, zero_point, profile):
    expected = reference.requantize_one(accumulator, scale, zero_point, -128, 127, profile)
    assert one(accumulator, scale, profile, zero_point, -128, 127) == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 2**32 - 1), PROFILE, st.booleans())
def test_arrays_are_requantised_channel_by_channel(rows, channels, seed, profile, per_channel):
    random = np.random.default_rng(seed)
    accumulators = random.integers(-(2**17), 2**17, (rows, 2, channels)).astype(np.int32)
    scales = 2.0 ** random.uniform(-12, -2, channels if per_channel else 1)
    expected = reference.requantize(accumulators, scales, 3, -128, 127, profile)
    found = requantize(accumulators, scales, 3, -128, 127, profile)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**24), 2**24), min_size=2, max_size=20), st.floats(2**-20, 0.9), PROFILE)
def test_requantisation_is_monotone_and_keeps_zero(accumulators, scale, profile):
    values = np.array([*sorted(accumulators), 0], np.int32).reshape(-1, 1)
    result = requantize(values, np.array([scale]), 5, -(2**20), 2**20, profile).ravel()
    assert np.all(np.diff(result[:-1]) >= 0)
    assert result[-1] == 5


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**24), 2**24), st.floats(2**-20, 0.99))
def test_errors_stay_within_the_bounds_of_the_roundings(accumulator, scale):
    multiplier, shift = quantize_multiplier(scale)
    real = accumulator * multiplier * 2.0 ** (shift - 31)
    assert abs(one(accumulator, scale, "tflite-single") - real) <= 0.5
    bound = 0.5 + 2.0 ** -(max(-shift, 0) + 1)
    for profile in ("tflite-double", "ruy"):
        assert abs(one(accumulator, scale, profile) - real) <= bound


@pytest.mark.parametrize("shift", [1, 2, 3, 4])
def test_double_and_single_rounding_differ_at_the_rate_of_the_bits_shifted_out(shift):
    # The first rounding moves a value across the boundary of the second with probability 2**-(shift + 1).
    random = np.random.default_rng(5)
    accumulators = random.integers(-(2**20), 2**20, (200_000, 1)).astype(np.int32)
    scale = np.array([random.uniform(0.5, 1.0) * 2.0**-shift])
    bounds = (0, -(2**31), 2**31 - 1)
    double = requantize(accumulators, scale, *bounds, "tflite-double")
    single = requantize(accumulators, scale, *bounds, "tflite-single")
    assert np.abs(double - single).max() == 1
    assert np.mean(double != single) == pytest.approx(2.0 ** -(shift + 1), rel=0.1)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.floats(0, 1e12), st.floats(2**-40, 8.0)))
@example(2.0**-32)
@example(1 - 2**-40)
@example(5e-324)
def test_a_quantized_multiplier_is_normalised_and_within_half_a_unit(scale):
    multiplier, shift = quantize_multiplier(scale)
    assert (multiplier, shift) == (0, 0) or (2**30 <= multiplier < 2**31 and -31 <= shift <= 30)
    assert (multiplier, shift) == reference.quantize_multiplier(scale)
    if 2.0**-31 <= scale < 2.0**29:
        assert abs(multiplier - scale * 2.0 ** (31 - shift)) <= 0.5


@pytest.mark.parametrize("scale", [-1.0, math.nan, math.inf])
def test_a_scale_that_is_no_factor_is_refused(scale):
    with pytest.raises(ValueError, match="must be finite and at least 0"):
        quantize_multiplier(scale)


def test_an_unknown_profile_is_refused_with_the_closest_name():
    array, scale = np.zeros((1, 1), np.int32), np.ones(1)
    with pytest.raises(ValueError, match="did you mean 'tflite-double'"):
        requantize(array, scale, 0, -128, 127, "tflite_double")
    with pytest.raises(ValueError, match="no fixed-point form"):
        requantize_fixed(array, np.ones(1, np.int32), np.ones(1, np.int32), 0, -128, 127, "onnxruntime")


def test_fp19_keeps_ten_mantissa_bits_and_never_rounds_up():
    scales = np.array([1 + 2**-10, 1 + 2**-10 + 2**-11, 1 + 2**-11, 0.1], np.float32)
    cut = fp19(scales)
    np.testing.assert_array_equal(cut[:3], np.array([1 + 2**-10, 1 + 2**-10, 1], np.float32))
    assert cut[3] <= scales[3]
    assert not np.any(cut.view(np.uint32) & 0x1FFF)


def test_effective_scales_are_float64_except_for_onnxruntime():
    operands = Operands((0.1, 0.3), (0, 0), 0.7, 0, -128, 127)
    np.testing.assert_array_equal(effective_scales(operands, "tflite-double"), [0.1 * 0.3 / 0.7])
    single = np.float32(np.float32(np.float32(0.1) * np.float32(0.3)) / np.float32(0.7))
    np.testing.assert_array_equal(effective_scales(operands, "onnxruntime"), [float(single)])


def test_a_layer_that_brings_its_own_scales_uses_them_in_every_fixed_point_profile():
    operands = Operands((0.1,), (0,), 0.7, 0, -128, 127, scales=np.array([0.25]))
    for profile in FIXED_POINT:
        np.testing.assert_array_equal(effective_scales(operands, profile), [0.25])
