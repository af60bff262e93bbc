"""Integer kernels against plain-numpy oracles, and the laws that hold whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.arithmetic import FIXED_POINT, PROFILES
from workloads.kernels import conversion, floating, integer, movement, reference
from workloads.kernels.softmax import exp_of_negative, reciprocal_of_one_plus
from workloads.operands import Operands
from workloads.operators import (
    Add,
    BatchNorm,
    Clamp,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    MatMul,
    Mean,
    Mul,
    Pad,
    Pool2d,
    Quantize,
    Softmax,
    Transpose,
)
from workloads.tensor import Quantization

SEEDS = st.integers(0, 2**32 - 1)
PROFILE = st.sampled_from(sorted(PROFILES))
FIXED = st.sampled_from(sorted(FIXED_POINT))
EXTREMES = (-128, 127)


def zero_point(random):
    return int(random.choice([*EXTREMES, random.integers(-128, 128)]))


def values(random, shape):
    """Random int8, now and then all at one end."""
    kind = random.integers(6)
    return np.full(shape, EXTREMES[kind], np.int8) if kind < 2 else random.integers(-128, 128, shape).astype(np.int8)


def constants(random, inputs=1, weights=None, axis=0, depth=1):
    """Operands with random scales; the output scale keeps the accumulators near the output range."""
    channels = weights.shape[axis] if weights is not None else 0
    input_scales = tuple(float(np.float32(2.0 ** random.uniform(-9, -2))) for _ in range(inputs))
    scales = 2.0 ** random.uniform(-9, -4, channels)
    typical = np.prod(input_scales) * (scales.mean() if channels else 1.0) * np.sqrt(depth)
    low, high = sorted(random.integers(-128, 128, 2).tolist()) if random.integers(4) == 0 else EXTREMES
    bias = random.integers(-3000, 3000, channels).astype(np.int32) if channels and random.integers(3) else None
    return Operands(
        input_scales, tuple(zero_point(random) for _ in range(inputs)), float(typical * 2.0 ** random.uniform(0, 8)),
        zero_point(random), low, high, weights, scales, int(random.choice([0, 0, 3])), bias,
    )  # fmt: skip


def windows(random):
    """Random stride, padding and dilation."""
    return (
        tuple(random.integers(1, 4, 2).tolist()),
        tuple(random.integers(0, 3, 4).tolist()),
        tuple(random.integers(1, 3, 2).tolist()),
    )


def conv_case(seed):
    random = np.random.default_rng(seed)
    groups = int(random.choice([1, 1, 2, 3]))
    channels, outputs = int(random.integers(1, 5)), groups * int(random.integers(1, 4))
    weights = values(random, (outputs, *random.integers(1, 4, 2).tolist(), channels))
    x = values(random, (int(random.integers(1, 3)), *random.integers(5, 9, 2).tolist(), channels * groups))
    operands = constants(random, weights=weights, depth=weights[0].size * 100)
    return x, operands, Conv2d(*windows(random), groups)


@settings(max_examples=60, deadline=None)
@given(SEEDS, PROFILE)
def test_conv2d_equals_its_definition(seed, profile):
    x, operands, operator = conv_case(seed)
    expected = reference.conv2d(x, operands, operator, profile)
    np.testing.assert_array_equal(integer.conv2d(x, operands, operator, profile), expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, PROFILE)
def test_depthwise_conv2d_equals_its_definition(seed, profile):
    random = np.random.default_rng(seed)
    channels, multiplier = int(random.integers(1, 6)), int(random.integers(1, 4))
    weights = values(random, (1, *random.integers(1, 4, 2).tolist(), channels * multiplier))
    x = values(random, (1, *random.integers(5, 9, 2).tolist(), channels))
    operands = constants(random, weights=weights, axis=3, depth=900)
    operator = DepthwiseConv2d(*windows(random), multiplier)
    expected = reference.depthwise_conv2d(x, operands, operator, profile)
    np.testing.assert_array_equal(integer.depthwise_conv2d(x, operands, operator, profile), expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, PROFILE)
def test_fully_connected_and_matmul_equal_their_definition(seed, profile):
    random = np.random.default_rng(seed)
    rows, depth, columns = (int(random.integers(1, limit)) for limit in (5, 70, 9))
    weights = values(random, (columns, depth))
    x = values(random, (2, rows, depth))
    operands = constants(random, weights=weights, depth=100 * depth)
    expected = reference.fully_connected(x, operands, FullyConnected(), profile)
    np.testing.assert_array_equal(integer.fully_connected(x, operands, FullyConnected(), profile), expected)
    two, b = constants(random, inputs=2, depth=100 * depth), values(random, (depth, columns))
    expected = reference.matmul(x, b, two, MatMul(), profile)
    np.testing.assert_array_equal(integer.matmul(x, b, two, MatMul(), profile), expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, FIXED)
def test_add_and_mul_equal_their_definition(seed, profile):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 5, 3).tolist())
    a, b = values(random, shape), values(random, tuple(int(random.choice([1, extent])) for extent in shape))
    operands = replace(constants(random, inputs=2), output_scale=float(2.0 ** random.uniform(-6, 0)))
    expected = reference.add(a, b, operands, Add(), profile)
    np.testing.assert_array_equal(integer.add(a, b, operands, Add(), profile), expected)
    operands = constants(random, inputs=2, depth=100)
    expected = reference.mul(a, b, operands, Mul(), profile)
    np.testing.assert_array_equal(integer.mul(a, b, operands, Mul(), profile), expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, FIXED, st.sampled_from(["average", "max"]))
def test_pooling_equals_its_definition(seed, profile, kind):
    random = np.random.default_rng(seed)
    kernel = tuple(random.integers(1, 4, 2).tolist())
    padding = tuple(int(random.integers(0, extent)) for extent in (*kernel, *kernel))
    operator = Pool2d(kind, kernel, tuple(random.integers(1, 4, 2).tolist()), padding, count_padding=kind == "max")
    x = values(random, (2, *random.integers(4, 8, 2).tolist(), int(random.integers(1, 5))))
    operands = constants(random)
    operands = replace(operands, output_scale=operands.input_scales[0], output_zero_point=operands.input_zero_points[0])
    expected = reference.pool2d(x, operands, operator, profile)
    np.testing.assert_array_equal(integer.pool2d(x, operands, operator, profile), expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, FIXED, st.sampled_from([(1, 2), (1,), (3,), (0, 1, 2, 3)]), st.booleans())
def test_mean_equals_its_definition(seed, profile, axes, keep_dims):
    random = np.random.default_rng(seed)
    x, operands = values(random, tuple(random.integers(1, 7, 4).tolist())), constants(random)
    expected = reference.mean(x, operands, Mean(axes, keep_dims), profile)
    np.testing.assert_array_equal(integer.mean(x, operands, Mean(axes, keep_dims), profile), expected)


@settings(max_examples=60, deadline=None)
@given(SEEDS, FIXED)
def test_softmax_is_within_one_step_of_the_real_function(seed, profile):
    random = np.random.default_rng(seed)
    x = values(random, (3, int(random.integers(1, 50))))
    operands = Operands((float(2.0 ** random.uniform(-8, 0)),), (zero_point(random),), 1 / 256, -128, -128, 127)
    found = integer.softmax(x, operands, Softmax(), profile).astype(int)
    expected = reference.softmax(x, operands, Softmax(), profile).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_softmax_has_the_integers_of_the_tflite_reference():
    # ai-edge-litert 2.3.0, reference resolver: scale 0.1, zero point 4, beta 1.
    x = np.array([[-20, -19, 0, 7, 9, 10, 11, 12, 13, 14]], np.int8)
    operands = Operands((float(np.float32(0.1)),), (4,), 1 / 256, -128, -128, 127)
    expected = [-126, -126, -117, -105, -100, -97, -94, -90, -86, -82]
    assert integer.softmax(x, operands, Softmax(), "tflite-double").ravel().tolist() == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**31), 0))
def test_the_fixed_point_exponential_is_close_to_the_real_one(raw):
    found = int(exp_of_negative(np.int64(raw))) / 2**31
    # The fourth-order series leaves out (1/8)**5 / 120 = 2.5e-7.
    assert found == pytest.approx(np.exp(raw / 2**26), abs=4e-7)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_the_fixed_point_reciprocal_is_close_to_the_real_one(raw):
    found = int(reciprocal_of_one_plus(np.int64(raw))) / 2**31
    assert found == pytest.approx(1 / (1 + raw / 2**31), abs=2e-8)


@settings(max_examples=40, deadline=None)
@given(SEEDS, PROFILE)
def test_padding_with_the_zero_point_equals_implicit_padding(seed, profile):
    x, operands, operator = conv_case(seed)
    explicit = movement.pad_image(x, operator.padding, operands.input_zero_points[0])
    found = integer.conv2d(explicit, operands, replace(operator, padding=(0, 0, 0, 0)), profile)
    np.testing.assert_array_equal(found, integer.conv2d(x, operands, operator, profile))


@settings(max_examples=40, deadline=None)
@given(SEEDS, PROFILE)
def test_permuting_output_channels_permutes_outputs(seed, profile):
    x, operands, operator = conv_case(seed)
    operator = replace(operator, groups=1)
    x = x[..., : operands.weights.shape[3]]
    order = np.random.default_rng(seed).permutation(operands.weights.shape[0])
    bias = None if operands.bias is None else operands.bias[order]
    moved = replace(operands, weights=operands.weights[order], weight_scales=operands.weight_scales[order], bias=bias)
    found = integer.conv2d(x, moved, operator, profile)
    np.testing.assert_array_equal(found, integer.conv2d(x, operands, operator, profile)[..., order])


@settings(max_examples=40, deadline=None)
@given(SEEDS, PROFILE)
def test_a_strided_convolution_is_a_subsampled_one_and_samples_are_independent(seed, profile):
    x, operands, operator = conv_case(seed)
    dense = integer.conv2d(x, operands, replace(operator, stride=(1, 1)), profile)
    strided = integer.conv2d(x, operands, operator, profile)
    np.testing.assert_array_equal(strided, dense[:, :: operator.stride[0], :: operator.stride[1]])
    np.testing.assert_array_equal(strided[:1], integer.conv2d(x[:1], operands, operator, profile))


@settings(max_examples=40, deadline=None)
@given(SEEDS, PROFILE)
def test_a_pointwise_convolution_is_a_fully_connected_layer(seed, profile):
    random = np.random.default_rng(seed)
    weights = values(random, (int(random.integers(1, 9)), int(random.integers(1, 40))))
    x = values(random, (1, 3, 4, weights.shape[1]))
    operands = constants(random, weights=weights, depth=4000)
    image = replace(operands, weights=weights[:, None, None, :])
    np.testing.assert_array_equal(
        integer.conv2d(x, image, Conv2d(), profile), integer.fully_connected(x, operands, FullyConnected(), profile)
    )


@pytest.mark.parametrize("depth", [511, 512, 513, 1024, 2**16])
def test_sums_are_exact_at_the_extremes_and_wrap_beyond_int32(depth):
    x = np.full((1, depth), -128, np.int8)
    weights = np.full((1, depth), -128, np.int8)
    operands = Operands((1.0,), (127,), 1.0, 0, -128, 127, weights, np.ones(1))
    exact = depth * 255 * 128
    assert integer.fully_connected_sums(x, operands)[0, 0] == reference.wrap32(exact)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_quantising_a_dequantised_integer_gives_it_back(seed, half_even):
    random = np.random.default_rng(seed)
    x = values(random, (4, 5))
    quantization = Quantization(np.array([2.0 ** random.uniform(-12, 4)], np.float32), np.array([zero_point(random)]))
    real = conversion.dequantize(x, quantization)
    np.testing.assert_array_equal(conversion.quantize(real, quantization, "int8", half_even=half_even), x)


def test_quantising_rounds_ties_as_named_and_saturates():
    quantization = Quantization(np.array([1.0], np.float32), np.array([0]))
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 1e9, -1e9, np.inf, np.nan], np.float32)
    away = conversion.quantize(x, quantization, "int8", half_even=False)
    even = conversion.quantize(x, quantization, "int8", half_even=True)
    assert away.tolist() == [1, 2, 3, -1, -2, -3, 127, -128, 127, -128]
    assert even.tolist() == [0, 2, 2, 0, -2, -2, 127, -128, 127, -128]


def test_per_channel_dequantisation_uses_the_scale_of_its_axis():
    quantization = Quantization(np.array([1.0, 0.5]), np.array([0, 1]), axis=1)
    found = conversion.dequantize(np.array([[2, 3], [4, 5]], np.int8), quantization)
    np.testing.assert_array_equal(found, np.array([[2, 1], [4, 2]], np.float32))


def test_rescaling_to_the_same_scale_changes_nothing_but_the_clamp():
    x = np.arange(-128, 128).astype(np.int8)
    operands = Operands((0.3,), (5,), 0.3, 5, -100, 100)
    for profile in set(PROFILES) - {"ascend-fixpipe"}:
        found = integer.rescale(x, operands, Quantize(), profile)
        np.testing.assert_array_equal(found, np.clip(x, -100, 100))


def test_concatenation_requantises_inputs_of_another_scale():
    a, b = np.array([[10, -10]], np.int8), np.array([[10, -10]], np.int8)
    operands = Operands((0.5, 0.25), (0, 2), 0.5, 0, -128, 127)
    found = integer.concat([a, b], operands, Concat(1), "tflite-single")
    assert found.tolist() == [[10, -10, 4, -6]]


def test_transpose_and_pad_move_elements():
    x = np.arange(6, dtype=np.int8).reshape(2, 3)
    np.testing.assert_array_equal(movement.transpose(x, Transpose((1, 0))), x.T)
    padded = movement.pad(x, Pad(((1, 0), (0, 2))), -7)
    assert padded.dtype == np.int8
    assert padded.tolist() == [[-7] * 5, [0, 1, 2, -7, -7], [3, 4, 5, -7, -7]]


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_float_convolutions_equal_integer_ones_where_no_rounding_happens(seed):
    x, operands, operator = conv_case(seed)
    exact = integer.conv2d_sums(x, replace(operands, input_zero_points=(0,), weight_zero_point=0), operator)
    real = [x.astype(np.float32), operands.weights.astype(np.float32)]
    np.testing.assert_array_equal(floating.compute(real, operator), exact.astype(np.float32))
    depthwise = DepthwiseConv2d(operator.stride, operator.padding, operator.dilation, 2)
    weights = values(np.random.default_rng(seed), (1, 2, 2, 2 * x.shape[3]))
    exact = integer.depthwise_conv2d_sums(
        x, replace(operands, weights=weights, input_zero_points=(0,), weight_zero_point=0), depthwise
    )
    found = floating.compute([real[0], weights.astype(np.float32)], depthwise)
    np.testing.assert_array_equal(found, exact.astype(np.float32))


def test_float_operators_follow_their_formulas():
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    assert floating.compute([x], Softmax()).sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(floating.compute([x, x], Add(Clamp(0.0, 4.0))), [[2, 0, 4]])
    np.testing.assert_array_equal(floating.compute([x, x], Mul()), [[1, 4, 9]])
    np.testing.assert_allclose(floating.compute([x], Mean((1,), False)), [2 / 3], rtol=1e-6)
    normal = floating.compute([x, *(np.float32([v]) for v in (2.0, 1.0, 3.0, 4.0))], BatchNorm(0.0))
    np.testing.assert_allclose(normal, (x - 3) / 2 * 2 + 1)
    product = floating.compute([x, np.eye(3, dtype=np.float32) * 2, np.ones(3, np.float32)], FullyConnected())
    np.testing.assert_array_equal(product, 2 * x + 1)


@pytest.mark.parametrize("kind", ["average", "max"])
def test_float_pooling_skips_positions_outside_the_image(kind):
    x = -np.ones((1, 2, 2, 1), np.float32)
    operator = Pool2d(kind, (2, 2), (1, 1), (1, 1, 0, 0))
    np.testing.assert_array_equal(floating.compute([x], operator), -np.ones((1, 2, 2, 1)))
    counted = floating.compute([x], replace(operator, count_padding=True))
    assert counted[0, 0, 0, 0] == (-0.25 if kind == "average" else -1.0)  # a maximum never sees the padding


def test_plain_python_and_compiled_kernels_agree():
    random = np.random.default_rng(3)
    image, weights = random.integers(-9, 9, (1, 4, 4, 2)).astype(np.int16), random.integers(-9, 9, (3, 2, 2, 2))
    from workloads.kernels import pooling, products

    arguments = (image, weights.astype(np.int16), (1, 1), (1, 1), 1, 3, 3, 4)
    plain = getattr(products.convolution, "py_func", products.convolution)
    np.testing.assert_array_equal(plain(*arguments), products.convolution(*arguments))
    pooled = (image, (2, 2), (1, 1), (0, 0), 3, 3)
    plain = getattr(pooling.window_sums, "py_func", pooling.window_sums)
    np.testing.assert_array_equal(plain(*pooled)[0], pooling.window_sums(*pooled)[0])
