"""Requantisation of arrays, multipliers and scales; the roundings themselves are in test_profiles."""

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

PROFILE = st.sampled_from(sorted(PROFILES))


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
