"""Profiles: golden values of every rounding, compiled against plain, and the laws that each must keep or break."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.arithmetic import (
    FIXED_POINT,
    PROFILES,
    check_profile,
    describe,
    narrow,
    profile_of,
    quantize_multiplier,
    requantize,
    requantize_fixed,
    stages,
)
from workloads.kernels import rounding, rounding_reference
from workloads.kernels.rounding_reference import fixed_stages
from workloads.requant_profile import ROUNDINGS, RequantProfile

INT32 = st.integers(-(2**31), 2**31 - 1)
NAMES = sorted(PROFILES)
DISTINCT = [name for name in NAMES if not name.startswith(("litert", "cmsis-nn-s4"))]  # these repeat another's fields
PROFILE = st.sampled_from(NAMES)
LEAST, MOST = -(2**31), 2**31 - 1
EDGE_SCALES = [
    *(2.0**power for power in (-33, -32, -31, -30, -24, -16, -9, -8, -2, -1, 0, 1, 2, 7)),
    1 - 2**-53, 1 - 2**-31, 1 + 2**-24, 1 + 2**-10 + 2**-11, 0.1, 1 / 3, 0.0078125, 1765535800 * 2.0**-36, 0.0,
]  # fmt: skip
EDGE_ACCUMULATORS = np.array(
    [*range(-40, 41), *(sign * 2**power + near for power in range(6, 31) for sign in (-1, 1) for near in (-1, 0, 1)),
     LEAST, LEAST + 1, MOST - 1, MOST, 16014793, 4495, -1147, 14623]
)  # fmt: skip
SCALES = st.one_of(st.floats(2**-34, 128.0), st.sampled_from(EDGE_SCALES))
OUTPUT_SCALES = st.sampled_from([1.0, 2.0**-7, 0.05, 3.0])

# Published golden values; real = accumulator * multiplier * 2**(shift - 31). One column per profile, left to right.
COLUMNS = (
    "tflite-double", "tflite-single", "ruy", "onnxruntime", "tflm-float", "xnnpack-rndnu", "ascend-fixpipe", "truncate",
)  # fmt: skip
GOLDEN = [
    (1, 2**30, 0, (1, 1, 1, 0, 1, 1, 0, 0)),
    (-1, 2**30, 0, (0, 0, 0, 0, -1, 0, 0, -1)),
    (-3, 2**30, 0, (-1, -1, -1, -2, -2, -1, -2, -2)),
    (1, 2**30, -1, (1, 0, 1, 0, 0, 0, 0, 0)),
    (-2, 2**30, -1, (-1, 0, 0, 0, -1, 0, 0, -1)),
    (5, 2**30, -1, (2, 1, 2, 1, 1, 1, 1, 1)),
    (-6, 2**30, -1, (-2, -1, -1, -2, -2, -1, -2, -2)),
    (-7, 2**30, -1, (-2, -2, -1, -2, -2, -2, -2, -2)),
    (4495, 1765535800, -5, (116, 115, 116, 115, 115, 115, 115, 115)),
    (-1147, 1392655148, -4, (-47, -46, -46, -46, -46, -46, -46, -47)),
    (14623, 1165803672, -9, (16, 16, 16, 16, 16, 16, 15, 15)),
]
SAME_AS = {  # presets whose rounding is another's; they differ in accumulator, or only in version and source
    "cmsis-nn": "tflite-double", "cmsis-nn-s4": "tflite-double", "cmsis-nn-s16-int32": "tflite-double",
    "rvv-rnu": "ruy", "rvv-rdn": "truncate", "xnnpack": "onnxruntime", "x86-vpmaddubsw": "onnxruntime",
}  # fmt: skip


def many(accumulators, scale, profile, zero_point=0, low=LEAST, high=MOST, output_scale=1.0):
    columns = np.asarray(accumulators, np.int64).reshape(-1, 1)
    return requantize(columns, np.array([scale]), zero_point, low, high, profile, output_scale).ravel()


def one(accumulator, scale, profile, *bounds):
    return int(many([accumulator], scale, profile, *bounds)[0])


def plain(accumulator, scale, profile, zero_point=0, low=LEAST, high=MOST, output_scale=1.0):
    return stages(int(accumulator), scale, zero_point, low, high, profile, output_scale)[-1][1]


@pytest.mark.parametrize(("accumulator", "multiplier", "shift", "expected"), GOLDEN)
def test_each_rounding_gives_its_golden_value(accumulator, multiplier, shift, expected):
    scale = multiplier * 2.0 ** (shift - 31)
    assert quantize_multiplier(scale) == (multiplier, shift)
    for profile, value in zip(COLUMNS, expected, strict=True):
        assert one(accumulator, scale, profile, 0, -500, 500) == value, profile
        assert plain(accumulator, scale, profile, 0, -500, 500) == value, profile


@pytest.mark.parametrize(("name", "other"), SAME_AS.items())
def test_profiles_that_share_a_rounding_give_the_same_golden_values(name, other):
    for accumulator, multiplier, shift, _ in GOLDEN:
        scale = multiplier * 2.0 ** (shift - 31)
        assert one(accumulator, scale, name, 0, -500, 500) == one(accumulator, scale, other, 0, -500, 500)


def test_the_roundings_without_a_published_column_are_worked_by_hand():
    # 2.5, 3.5 and -2.5 in one step; 9 * 0.25 = 2.25 through 4.5, halves rounded twice; 5 * 0.25 jams to 1, not 2.
    for accumulator, scale, name, value in [
        (5, 0.5, "rvv-rne", 2), (7, 0.5, "rvv-rne", 4), (-5, 0.5, "rvv-rne", -2), (9, 0.25, "rvv-rne", 2),
        (5, 0.5, "rvv-rod", 3), (7, 0.5, "rvv-rod", 3), (-5, 0.5, "rvv-rod", -3), (5, 0.25, "rvv-rod", 1),
        (8, 0.25, "rvv-rod", 2), (-3, 0.5, "rvv-rdn", -2),
        (14623, 1165803672 * 2.0**-40, "ascend-fixpipe-rounded", 16),
        (3, 0.5, "onnx-reference", 2), (1000, 1.0, "ascend-fixpipe", 255), (-1000, 1.0, "ascend-fixpipe", -256),
        (1002, 0.125, "ascend-dequant-quant", 125), (4099, 0.5, "ascend-dequant-quant", 2050),
    ]:  # fmt: skip
        assert one(accumulator, scale, name) == plain(accumulator, scale, name) == value, (accumulator, scale, name)


def test_half_to_even_depends_on_whether_the_zero_point_comes_before_the_rounding():
    accumulators = np.arange(-64, 64)
    for zero_point, differing in ((0, 0), (3, 64), (4, 0)):
        before = many(accumulators, 0.5, "onnx-reference", zero_point)
        after = many(accumulators, 0.5, "onnxruntime", zero_point)
        assert np.count_nonzero(before != after) == differing


@pytest.mark.parametrize("profile", DISTINCT)
def test_compiled_equals_plain_at_every_edge(profile):
    for scale in EDGE_SCALES:
        for bounds in ((0, -128, 127), (-128, LEAST, MOST), (127, 0, 255)):
            found = many(EDGE_ACCUMULATORS, scale, profile, *bounds)
            expected = [plain(accumulator, scale, profile, *bounds) for accumulator in EDGE_ACCUMULATORS[::9]]
            assert found[::9].tolist() == expected, (scale, bounds)


@pytest.mark.parametrize("profile", DISTINCT)
def test_compiled_equals_an_exact_integer_form_on_all_16_bit_accumulators(profile):
    record, accumulators = PROFILES[profile], np.arange(-(2**15), 2**15)
    for scale in (2.0**-9, 1765535800 * 2.0**-36, 1165803672 * 2.0**-40, 0.75, 2.0):
        found = many(accumulators, scale, profile, 5, -(2**16), 2**16)
        np.testing.assert_array_equal(found, _array_form(accumulators, scale, record, 5, -(2**16), 2**16))


def _array_form(accumulators, scale, record, zero_point, low, high):
    """The third form: whole arrays in numpy, products in Python integers of any width."""
    if record.scale == "fp16":
        with np.errstate(over="ignore"):
            real = (accumulators.astype(np.float32) * np.float32(scale)).astype(np.float16)
            return np.clip(np.rint((real + np.float16(zero_point)).astype(np.float64)), low, high)
    if record.scale in ("q31", "q15", "mantissa24"):
        multiplier, bits = _multiplier(scale, record.scale)
        products = np.array([int(value) for value in accumulators], object) * multiplier
        for rounding_name, step in zip(record.roundings, _step_bits(record, bits), strict=True):
            if step < 0:
                products, step = products * 2**-step, 0
            products = _divide(products, step, rounding_name)
        return np.clip(products + zero_point, low, high).astype(np.int64)
    kind = np.float64 if record.scale == "float64" else np.float32
    cut = np.float32(scale).view(np.uint32) + np.uint32(0x1000 if record.scale == "fp19-rounded" else 0)
    factor = (cut & np.uint32(0xFFFFE000)).view(np.float32) if record.scale.startswith("fp19") else kind(scale)
    values = accumulators.astype(kind) * factor
    if record.limit_bits:
        values = np.clip(values, -(2.0 ** (record.limit_bits - 1)), 2.0 ** (record.limit_bits - 1) - 1)
    early = zero_point if record.offset == "before" else 0
    values = values + kind(early)
    values = np.rint(values) if record.roundings == ("half-even",) else np.trunc(values + np.copysign(0.5, values))
    return np.clip(values + (zero_point - early), low, high)


def _multiplier(scale, form):
    fraction, exponent = math.frexp(float(np.float32(scale)) if form == "mantissa24" else scale)
    width = {"q31": 31, "q15": 31, "mantissa24": 24}[form]
    multiplier, bits = round(fraction * 2**width), width - exponent
    return (multiplier, bits) if form != "q15" else (min((multiplier + 2**15) >> 16, 0x7FFF), bits - 16)


def _step_bits(record, bits):
    if len(record.steps) == 1:
        return (bits,)
    return (31, bits - 31) if bits >= 31 else (bits, 0)  # a left shift before the product, exact at these sizes


def _divide(products, bits, rounding_name):
    quotient, rest = products // 2**bits, products % 2**bits
    up = {
        "half-up": 2 * rest >= 2**bits,
        "half-away": (2 * rest > 2**bits) | ((2 * rest == 2**bits) & (products >= 0)),
        "half-even": (2 * rest > 2**bits) | ((2 * rest == 2**bits) & (quotient % 2 == 1)),
        "floor": rest < 0,
        "odd": (rest > 0) & (quotient % 2 == 0),
    }[rounding_name]
    return quotient + (up & (bits > 0)).astype(int)


@settings(max_examples=600, deadline=None)
@given(INT32, SCALES, st.integers(-128, 127), PROFILE, st.sampled_from([(-128, 127), (LEAST, MOST)]), OUTPUT_SCALES)
@example(-(2**31), 1.0, 127, "tflite-double", (-128, 127), 1.0)
@example(2**31 - 1, 1 - 2**-53, 5, "xnnpack", (LEAST, MOST), 1.0)
@example(2**31 - 1, 128.0, -128, "ascend-dequant-quant", (-128, 127), 2.0**-7)
def test_compiled_equals_plain(accumulator, scale, zero_point, profile, bounds, output_scale):
    found = many([accumulator], scale, profile, zero_point, *bounds, output_scale)
    assert found.tolist() == [plain(accumulator, scale, profile, zero_point, *bounds, output_scale)]


@settings(max_examples=200, deadline=None)
@given(INT32, st.integers(0, 2**31 - 1), st.integers(-31, 14), st.sampled_from(sorted(FIXED_POINT)))
@example(123456789, 2**29 + 12345, -3, "tflite-double")
@example(-5, 1, 0, "ruy")
@example(2**31 - 1, 2**31 - 1, -31, "rvv-rod")
def test_multipliers_below_the_normal_range_are_legal(accumulator, multiplier, shift, profile):
    factors = (np.array([multiplier], np.int32), np.array([shift], np.int32))
    found = requantize_fixed(np.array([[accumulator]], np.int32), *factors, 3, -128, 127, profile)
    record = PROFILES[profile]
    assert found[0, 0] == fixed_stages(accumulator, multiplier, shift, 3, -128, 127, record)[-1][1]


def test_sums_of_33_bits_are_clamped_and_never_wrapped():
    # A 32-bit intermediate wraps 2**30 * 2 to the other end: seen in the field in single rounding, left in this form.
    factors = (np.array([1124827136]), np.array([7]))
    accumulators = np.array([[16014793]], np.int64)
    found = requantize_fixed(accumulators, *factors, 0, -(2**15), 2**15 - 1, "cmsis-nn-s16")
    assert found.tolist() == [[32767]]
    wide = dict(fixed_stages(16014793, 1124827136, 7, 0, LEAST, MOST, PROFILES["cmsis-nn-s16"]))
    assert wide["round"] == 1073741824
    single = requantize_fixed(np.array([[MOST]]), np.array([MOST]), np.array([1]), 0, LEAST, MOST, "tflite-single")
    assert single.tolist() == [[MOST]]


def test_a_long_16_bit_product_fits_64_bits_where_32_would_turn_its_sign():
    # 600 products of 32767 * 127 scaled by 2**-18.
    total = 600 * 32767 * 127
    factors = (np.array([2**30]), np.array([-17]))
    found = requantize_fixed(np.array([[total]]), *factors, 0, -(2**15), 2**15 - 1, "cmsis-nn-s16")
    assert found.tolist() == [[9525]]
    wrapped = requantize_fixed(np.array([[total]]), *factors, 0, -(2**15), 2**15 - 1, "cmsis-nn-s16-int32")
    assert wrapped.tolist() == [[-6859]]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-(2**24), 2**24), min_size=2, max_size=20), st.floats(2**-20, 2.0), PROFILE)
def test_every_profile_is_monotone(accumulators, scale, profile):
    found = many(sorted(accumulators), scale, profile, 5, -(2**26), 2**26)
    assert np.all(np.diff(found) >= 0)


@pytest.mark.parametrize("profile", NAMES)
def test_zero_becomes_the_zero_point_exactly(profile):
    for zero_point in (-128, -1, 0, 7, 127):
        for scale in EDGE_SCALES:
            assert one(0, scale, profile, zero_point, -128, 127) == zero_point


def is_odd(profile):
    accumulators = np.arange(-3000, 3001)
    found = many(accumulators, 2.0**-3, profile)
    return bool(np.array_equal(found, -found[::-1]))


@pytest.mark.parametrize("profile", NAMES)
def test_odd_symmetry_holds_for_half_away_and_half_even_and_fails_for_the_others(profile):
    record = PROFILES[profile]
    symmetric = {"half-away", "half-even", "odd"}
    assert is_odd(profile) is (set(record.roundings) <= symmetric and record.limit_bits == 0), record.roundings


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**24), 2**24), st.floats(2**-20, 0.99))
def test_errors_stay_within_the_bounds_of_the_roundings(accumulator, scale):
    multiplier, shift = quantize_multiplier(scale)
    real = Fraction(accumulator * multiplier) * Fraction(2) ** (shift - 31)
    assert abs(one(accumulator, scale, "tflite-single") - real) <= Fraction(1, 2)
    assert 0 <= real - one(accumulator, scale, "truncate") < 1
    assert abs(one(accumulator, scale, "rvv-rod") - real) < 1
    bound = Fraction(1, 2) + Fraction(1, 2 ** (max(-shift, 0) + 1))
    for profile in ("tflite-double", "ruy", "rvv-rne"):
        assert abs(one(accumulator, scale, profile) - real) <= bound


def test_the_bound_of_double_rounding_is_attained():
    # 1 * 0.25 becomes 1: off by 0.75 = 1/2 + 2**-2.
    assert one(1, 0.25, "tflite-double") - 0.25 == 0.75


@pytest.mark.parametrize("shift", [1, 2, 3, 4, 6])
def test_double_and_single_rounding_differ_at_the_rate_of_the_bits_shifted_out(shift):
    random = np.random.default_rng(5)
    accumulators = random.integers(-(2**20), 2**20, 400_000)
    scale = random.uniform(0.5, 1.0) * 2.0**-shift
    double, single = (many(accumulators, scale, name) for name in ("tflite-double", "tflite-single"))
    assert np.abs(double - single).max() == 1
    assert np.mean(double != single) == pytest.approx(2.0 ** -(shift + 1), rel=0.1)


@pytest.mark.parametrize("profile", NAMES)
def test_the_stages_end_in_the_result_and_name_every_step(profile):
    found = stages(4495, 1765535800 * 2.0**-36, 3, -128, 127, profile)
    names = [name for name, _ in found]
    assert names[:2] == ["accumulate", "scale"]
    assert {"accumulate", "scale", "round", "offset", "clamp"} <= set(names) <= {
        "accumulate", "scale", "limit", "round", "offset", "clamp",
    }  # fmt: skip
    assert len(set(names)) == len(names)
    assert names.index("offset") < names.index("round") if PROFILES[profile].offset == "before" else True
    assert found[-1][1] == one(4495, 1765535800 * 2.0**-36, profile, 3, -128, 127)


def test_the_stages_show_what_the_accumulator_made_of_a_sum():
    assert stages(2**31, 1.0, 0, LEAST, MOST, "tflite-double")[0] == ("accumulate", -(2**31))
    assert stages(2**31, 1.0, 0, LEAST, MOST, "ascend-fixpipe")[0] == ("accumulate", 2**31 - 1)
    assert stages(2**31, 1.0, 0, LEAST, MOST, "cmsis-nn-s16")[0] == ("accumulate", 2**31)
    assert stages(5, 0.25, 1, -128, 127, "tflite-double") == (
        ("accumulate", 5), ("scale", 3), ("round", 2), ("offset", 3), ("clamp", 3),
    )  # fmt: skip
    assert many([2**31 + 5, -(2**31) - 5], 0.25, "ascend-fixpipe").tolist() == [255, -256]
    assert many([2**31], 2.0**-24, "tflite-single").tolist() == [-128]


def test_the_codes_of_the_compiled_form_are_the_roundings_of_the_record():
    codes = (rounding.HALF_UP, rounding.HALF_AWAY, rounding.HALF_EVEN, rounding.FLOOR, rounding.ODD)
    assert ROUNDINGS == ("half-up", "half-away", "half-even", "floor", "odd")
    assert tuple(rounding.CODES[name] for name in ROUNDINGS) == codes == tuple(range(5))


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**40), 2**40), st.integers(0, 45), st.sampled_from(ROUNDINGS))
@example(-1, 1, "half-up")
@example(-3, 1, "half-even")
def test_shifts_and_reals_round_alike(value, bits, name):
    exact = rounding_reference.rounded(Fraction(value, 2**bits), name)
    assert rounding.shift_right(np.int64(value), np.int64(bits), rounding.CODES[name]) == exact
    assert rounding.round_real(np.float64(value) / 2.0**bits, rounding.CODES[name]) == exact


@settings(max_examples=200, deadline=None)
@given(st.floats(-70000, 70000) | st.floats(-1e-4, 1e-4) | st.sampled_from([65519.9, 65520.0, -65520.0, 2**-25, 0.0]))
def test_half_precision_rounds_as_ieee_754_says(value):
    with np.errstate(over="ignore", under="ignore"):
        expected = float(np.float16(value))
    assert rounding.round_half_precision(np.float64(value)) == expected


def test_a_record_of_the_users_own_is_a_target_like_any_preset():
    mine = replace(PROFILES["tflite-double"], name="mine", version="0", steps=("high:half-even", "shift:half-up"))
    for accumulator in range(-50, 50):
        assert one(accumulator, 0.3, mine) == plain(accumulator, 0.3, mine)
    real = replace(PROFILES["onnxruntime"], name="real", steps=("real:odd",), clamp="last", offset="before")
    for accumulator in range(-50, 50):
        assert one(accumulator, 0.3, real, 3) == plain(accumulator, 0.3, real, 3)
    assert profile_of(mine) is mine


def test_a_wrong_record_is_refused_with_every_fault():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        RequantProfile(
            name="odd", version="1", accumulator="wrap16", scale="q31", steps=("high:half-up", "shift:half-upp"),
            offset="before", verified=False, source="",
        )  # fmt: skip
    assert str(caught.value) == (
        "profile 'odd': accumulator 'wrap16' is unknown; did you mean 'wrap32'?; "
        "rounding 'half-upp' is unknown; did you mean 'half-up'?; "
        "scale 'q31' takes its offset after the rounding, clamps last and has no limit"
    )
    with pytest.raises(ValueError, match=r"steps .* do not fit scale 'q15'; expected the operations product"):
        replace(PROFILES["ruy"], scale="q15")
    with pytest.raises(ValueError, match="a 64-bit accumulator times scale 'q31' overflows"):
        replace(PROFILES["ruy"], accumulator="int64")
    with pytest.raises(ValueError, match="a clamp before the rounding takes its offset after it"):
        replace(PROFILES["onnxruntime"], offset="before")


def test_numbers_that_do_not_fit_their_field_are_refused():
    one_value, scale = np.array([[1]]), np.ones(1)
    with pytest.raises(ValueError, match=r"zero point \(300\) does not fit the 9 bits of profile 'ascend-fixpipe'"):
        requantize(one_value, scale, 300, -128, 127, "ascend-fixpipe")
    with pytest.raises(ValueError, match="a sum needs more than 48 bits"):
        requantize(one_value * 2**47, scale, 0, -128, 127, "cmsis-nn-s16")
    with pytest.raises(ValueError, match="a scale is too large for the multiplier rounded to 15 bits"):
        requantize(one_value, scale * 2**16, 0, -128, 127, "cmsis-nn-s16")
    with pytest.raises(ValueError, match=r"output scale \(1e-06\) has no inverse in float16"):
        requantize(one_value, scale, 0, -128, 127, "ascend-dequant-quant", 1e-6)


def test_presets_carry_name_version_and_source_and_unverified_ones_say_so():
    for name, profile in PROFILES.items():
        assert (profile.name, bool(profile.version), bool(profile.source)) == (name, True, True)
        assert ("UNVERIFIED" in describe(profile)) is not profile.verified
    unverified = {name for name, profile in PROFILES.items() if not profile.verified}
    assert {name for name in NAMES if name.startswith(("ascend", "rvv"))} <= unverified
    assert unverified.isdisjoint({"tflite-double", "tflite-single", "ruy", "onnxruntime", "cmsis-nn", "cmsis-nn-s16"})


def test_a_description_names_every_choice():
    assert describe(PROFILES["tflite-double"]) == (
        "sums wrap at 32 bits; scale: 31-bit multiplier and shift; upper half of the product rounded half-up, "
        "right shift rounded half-away; zero point added after it"
    )


def test_layers_that_hold_32_bits_round_as_for_int8_beside_64_bit_products():
    assert narrow("cmsis-nn-s16").steps == PROFILES["cmsis-nn"].steps
    assert narrow("ruy") is PROFILES["ruy"]


def test_an_unknown_name_is_answered_with_the_closest():
    with pytest.raises(ValueError, match="did you mean 'cmsis-nn-s16'"):
        check_profile("cmsisnn-s16")
