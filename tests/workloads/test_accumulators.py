"""Accumulators: the compiled form against Python integers, the laws of each, and where saturation breaks them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from workloads.kernels import accumulators, accumulators_reference, integer
from workloads.kernels.accumulators import accumulate, differ, layer_sums, matrix_sums
from workloads.operands import Operands
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, MatMul
from workloads.profiles import PROFILES
from workloads.requant_profile import ACCUMULATORS

SEEDS = st.integers(0, 2**32 - 1)
KIND = st.sampled_from(sorted(ACCUMULATORS))
ASSOCIATIVE = st.sampled_from(["wrap32", "int64"])
BYTES = st.lists(
    st.tuples(st.integers(0, 255) | st.just(255), st.integers(-128, 127) | st.sampled_from([-128, 127])), max_size=9
)
WORDS = st.lists(
    st.tuples(*[st.integers(-(2**15), 2**15 - 1) | st.sampled_from([-(2**15), 2**15 - 1])] * 2), max_size=9
)


def columns(pairs):
    return [np.array([pair[side] for pair in pairs], np.int32) for side in (0, 1)]


def test_the_codes_of_the_compiled_form_are_the_order_of_the_record():
    assert [accumulators.CODES[name] for name in ("wrap32", "sat32", "pair16", "int64")] == [0, 1, 2, 3]
    assert (accumulators.WRAP32, accumulators.SAT32, accumulators.PAIR16, accumulators.INT64) == (0, 1, 2, 3)


def test_four_largest_products_leave_half_of_their_sum_in_saturating_pairs():
    x, w = np.full(4, 255), np.full(4, 127)
    assert accumulate(x, w, "pair16") == 65534  # 2 * 32767, as vpmaddubsw and vpmaddwd give; exact: 129540
    assert accumulate(x, w, "wrap32") == 129540


def test_products_past_the_end_of_32_bits_wrap_saturate_or_fit():
    x, w = np.full(3, -(2**15)), np.full(3, -(2**15))
    assert accumulate(x, w, "wrap32") == 3 * 2**30 - 2**32
    assert accumulate(x, w, "sat32") == 2**31 - 1
    assert accumulate(x, w, "int64") == 3 * 2**30


@settings(max_examples=150, deadline=None)
@given(KIND, BYTES | WORDS, st.integers(-(2**31), 2**31 - 1))
@example("sat32", [(-(2**15), -(2**15))] * 2 + [(-(2**15), 2**15 - 1)] * 3, 2**31 - 1)
@example("pair16", [(255, -128)] * 5, -(2**31))
def test_compiled_sums_equal_python_integers(kind, pairs, start):
    x, w = columns(pairs)
    assume(kind != "pair16" or all(0 <= a <= 255 and -128 <= b <= 127 for a, b in pairs))
    assert accumulate(x, w, kind, start) == accumulators_reference.accumulate(x, w, kind, start)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(-64, 64)), max_size=40))
@example([(255, 64)] * 40)
@example([(255, -64)] * 39)
def test_pairs_never_saturate_while_weights_stay_within_64(pairs):
    x, w = columns(pairs)
    assert accumulate(x, w, "pair16") == accumulate(x, w, "wrap32")


@settings(max_examples=100, deadline=None)
@given(ASSOCIATIVE, WORDS, st.data())
@example("wrap32", [(-(2**15), -(2**15))] * 9, None)
def test_splitting_or_permuting_the_depth_changes_no_sum_that_wraps(kind, pairs, data):
    x, w = columns(pairs)
    cut = 4 if data is None else data.draw(st.integers(0, len(pairs)))
    order = np.argsort(w) if data is None else np.array(data.draw(st.permutations(range(len(pairs)))), int)
    whole = accumulate(x, w, kind)
    assert accumulate(x[cut:], w[cut:], kind, accumulate(x[:cut], w[:cut], kind)) == whole
    assert accumulators_reference.wrapped(
        accumulate(x[:cut], w[:cut], kind) + accumulate(x[cut:], w[cut:], kind), 64 if kind == "int64" else 32
    ) == whole  # fmt: skip
    assert accumulate(x[order], w[order], kind) == whole


def test_saturating_sums_depend_on_how_the_depth_is_split():
    # At the extremes the law above must fail: a kernel may then not be tiled along its depth.
    ends = np.array([2**15 - 1, 2**15 - 1, 2**15 - 1, -(2**15), -(2**15), -(2**15)])
    same = np.full(6, 2**15 - 1)
    parts = [accumulate(ends[part], same[part], "sat32") for part in (slice(0, 3), slice(3, 6))]
    assert sum(parts) == -1
    assert accumulate(ends, same, "sat32") != sum(parts)
    assert accumulate(ends[::-1], same, "sat32") != accumulate(ends, same, "sat32")


def test_saturating_pairs_depend_on_where_the_depth_is_split_and_in_which_order_it_comes():
    x, w = np.full(4, 255), np.array([127, 127, -128, -128])
    parts = accumulate(x[:1], w[:1], "pair16") + accumulate(x[1:], w[1:], "pair16")
    assert parts != accumulate(x, w, "pair16")
    order = [0, 2, 1, 3]  # one weight of each sign to a pair: nothing saturates
    assert accumulate(x[order], w[order], "pair16") == accumulate(x, w, "wrap32") != accumulate(x, w, "pair16")


def test_starting_at_the_bias_matters_to_a_saturating_sum_only():
    x, w = np.array([-(2**15), -1]), np.array([-(2**15), 2**15 - 1])
    for kind, equal in (("wrap32", True), ("int64", True), ("sat32", False)):
        assert (accumulate(x, w, kind, 2**30) == accumulate(x, w, kind) + 2**30) is equal


def test_values_that_are_no_bytes_and_unknown_accumulators_are_refused():
    with pytest.raises(ValueError, match=r"x holds values outside 0\.\.255"):
        accumulate(np.array([256]), np.array([1]), "pair16")
    with pytest.raises(ValueError, match=r"w holds values outside -128\.\.127"):
        accumulate(np.array([1]), np.array([128]), "pair16")
    with pytest.raises(ValueError, match="accumulator 'wrap16' is unknown; known: wrap32"):
        accumulate(np.array([1]), np.array([1]), "wrap16")


@settings(max_examples=40, deadline=None)
@given(SEEDS, KIND, st.booleans())
def test_zero_points_come_off_the_same_before_the_products_or_after_the_sums(seed, kind, unsigned):
    random = np.random.default_rng(seed)
    dtype = np.uint8 if unsigned else np.int8
    limits = np.iinfo(dtype)
    x = random.integers(limits.min, limits.max + 1, (3, 7)).astype(dtype)
    w = random.integers(-64, 65, (2, 7)).astype(np.int8)
    x_zero, w_zero = int(random.integers(limits.min, limits.max + 1)), int(random.integers(-128, 128))
    start = random.integers(-1000, 1000, 2)
    expected = (x.astype(np.int64) - x_zero) @ (w.astype(np.int64) - w_zero).T + start
    np.testing.assert_array_equal(layer_sums(x, w, (x_zero, w_zero), kind, start), expected)


def layer(seed, largest):
    random = np.random.default_rng(seed)
    x = random.choice(np.array([-128, 127, 3], np.int8), (2, 5, 6, 4))
    weights = random.choice(np.array([-largest - 1, largest, 1], np.int8), (6, 3, 2, 2))
    bias = random.integers(-1000, 1000, 6).astype(np.int32)
    scales = 2.0 ** random.uniform(-9, -6, 6)
    return x, Operands((0.05,), (-7,), 0.5, 3, -128, 127, weights, scales, 0, bias)


def sums_of_four_kinds(x, operands, profile):
    """Yield (exact sums, fast sums plus bias) of a grouped, a depthwise, a fully connected layer and a product."""
    conv = Conv2d((2, 1), (1, 1, 0, 1), (1, 2), 2)
    fast = integer.conv2d_sums(x, operands, conv) + operands.bias
    yield accumulators.conv2d_sums(x, operands, conv, profile), fast
    depthwise = DepthwiseConv2d((1, 2), (1, 0, 1, 1), (1, 1), 2)
    weights, bias = np.resize(operands.weights, (1, 3, 3, 8)), np.arange(8, dtype=np.int32)
    single = replace(operands, weights=weights, weight_scales=np.ones(8), bias=bias)
    fast = integer.depthwise_conv2d_sums(x, single, depthwise) + bias
    yield accumulators.depthwise_conv2d_sums(x, single, depthwise, profile), fast
    flat = replace(operands, weights=operands.weights.reshape(6, -1)[:, :4].copy())
    yield accumulators.fully_connected_sums(x, flat, profile), integer.fully_connected_sums(x, flat) + flat.bias
    pair = replace(operands, input_scales=(0.1, 0.1), input_zero_points=(-7, 0), weights=None, bias=None)
    b = np.clip(x.swapaxes(-1, -2), -64, 64)
    yield accumulators.matmul_sums(x, b, pair, profile), integer.matmul_sums(x, b, pair)


@pytest.mark.parametrize("profile", ["tflite-double", "x86-vpmaddubsw", "ascend-fixpipe", "cmsis-nn-s16"])
def test_exact_sums_of_layers_equal_the_fast_ones_where_nothing_overflows(profile):
    for exact, fast in sums_of_four_kinds(*layer(3, 63), profile):
        np.testing.assert_array_equal(exact, fast)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_a_layer_of_the_pairing_target_equals_its_definition_and_differs_from_exact_sums(seed):
    x, operands = layer(seed, 127)
    operator = Conv2d((1, 1), (1, 1, 1, 1), (1, 1), 2)
    found = accumulators.conv2d_sums(x, operands, operator, "x86-vpmaddubsw")
    image = np.pad(x.astype(int), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-7) + 128
    n, row, column, output = np.random.default_rng(seed).integers([2, 5, 7, 6])
    first = output // 3 * 2
    window = image[n, row : row + 3, column : column + 2, first : first + 2].ravel()
    weights = operands.weights[output].astype(int).ravel()
    raw = accumulators_reference.accumulate(window, weights, "pair16", int(operands.bias[output]))
    assert found[n, row, column, output] == raw - 121 * weights.sum()
    exact = accumulators.conv2d_sums(x, operands, operator, "onnxruntime")
    assert np.any(found != exact)


def test_the_exact_path_is_taken_only_where_sums_may_differ():
    x, operands = layer(1, 63)
    small, large = operands.weights, np.full((6, 3, 2, 2), 127, np.int8)
    assert not differ(operands, "x86-vpmaddubsw", x, small, 12)
    assert differ(operands, "x86-vpmaddubsw", x, large, 12)
    assert not differ(operands, "x86-vpmaddubsw", x.astype(np.int16), large, 12)
    assert not differ(operands, "tflite-double", x, large, 2**20)
    assert not differ(operands, "ascend-fixpipe", x, large, 2**16)
    assert differ(operands, "ascend-fixpipe", x, large, 2**17)
    assert differ(operands, "cmsis-nn-s16", x.astype(np.int16), large, 2**10)
    assert not differ(operands, "cmsis-nn-s16", x.astype(np.int16), large, 2**8)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_integer_layers_use_the_accumulator_of_their_profile(profile):
    x, operands = np.full((1, 4), 127, np.int8), Operands((1.0,), (-128,), 1.0, 0, -(2**31), 2**31 - 1, dtype="int32")
    operands = replace(
        operands, weights=np.full((1, 4), 127, np.int8), weight_scales=np.array([0.125]), bias=np.array([-64000])
    )
    found = int(integer.fully_connected(x, operands, FullyConnected(), profile)[0, 0])
    exact = (65534 if profile == "x86-vpmaddubsw" else 129540) - 64000
    largest = 255 if PROFILES[profile].limit_bits else 2**31
    assert abs(found - min(exact / 8, largest)) <= (3 if PROFILES[profile].scale.startswith("fp1") else 1)


def test_products_of_activations_pair_too():
    a, b = np.full((1, 4), 127, np.int8), np.full((4, 1), 127, np.int8)
    operands = Operands((1.0, 1.0), (-128, 0), 1.0, 0, -(2**31), 2**31 - 1, dtype="int32")
    assert integer.matmul(a, b, operands, MatMul(), "x86-vpmaddubsw").item() == 65534
    assert integer.matmul(a, b, operands, MatMul(), "onnxruntime").item() == 129540


def test_sums_start_at_the_bias_of_their_column():
    sums = matrix_sums(np.array([[1, 2]]), np.array([[3, 4], [5, 6]]), "wrap32", np.array([10, 20]))
    assert sums.tolist() == [[21, 37]]
