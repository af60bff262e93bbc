"""Nonlinear, resizing, 16-bit, 4-bit and recurrent kernels against plain-Python oracles and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.arithmetic import quantize_multiplier
from workloads.builder import GraphBuilder
from workloads.execute import plan, run
from workloads.kernels import fixed_point, gemmlowp, integer, lut, resize, tables
from workloads.kernels import reference_functions as oracle
from workloads.kernels.normalization import layer_norm
from workloads.kernels.packing import pack, unpack
from workloads.kernels.recurrent import Gate, LstmConstants, SvdfConstants, lstm, lstm_start, svdf_step
from workloads.kernels.softmax import softmax_rows_16
from workloads.kernels.transposed import transposed_conv2d
from workloads.operands import Factors, Operands, Stated
from workloads.operators import (
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Gelu,
    HardSwish,
    LayerNorm,
    Logistic,
    Maximum,
    Minimum,
    Resize2d,
    Sub,
    Svdf,
    Tanh,
    TransposedConv2d,
)
from workloads.tensor import Quantization

SEEDS = st.integers(0, 2**32 - 1)


def factor(random, low=-18, high=-4):
    return Factors(
        np.array([random.integers(2**30, 2**31)], np.int32), np.array([random.integers(low, high)], np.int32)
    )


def bytes_of(random, shape):
    return random.integers(-128, 128, shape).astype(np.int8)


def constants(random, inputs=1, **fields):
    zero_points = tuple(int(random.choice([-128, 127, random.integers(-128, 128)])) for _ in range(inputs))
    given_fields = {"low": -128, "high": 127, **fields}
    scales = tuple(float(np.float32(2.0 ** random.uniform(-8, -2))) for _ in range(inputs))
    output_scale, zero_point = float(np.float32(2.0 ** random.uniform(-8, -2))), int(random.integers(-128, 128))
    return Operands(scales, zero_points, output_scale, zero_point, **given_fields)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_a_transposed_convolution_scatters_its_inputs(seed):
    random = np.random.default_rng(seed)
    channels, outputs = random.integers(1, 5, 2).tolist()
    x = bytes_of(random, (2, *random.integers(1, 5, 2).tolist(), channels))
    weights = bytes_of(random, (outputs, *random.integers(1, 5, 2).tolist(), channels))
    operator = TransposedConv2d(
        tuple(random.integers(1, 14, 2).tolist()), tuple(random.integers(1, 4, 2).tolist()),
        tuple(random.integers(0, 4, 2).tolist()),
    )  # fmt: skip
    stated = Stated(output=factor(random, -12, 2))
    operands = constants(random, weights=weights, weight_scales=np.ones(outputs), stated=stated,
                         bias=random.integers(-999, 999, outputs).astype(np.int32))  # fmt: skip
    sums = oracle.transposed_conv2d_sums(x, operands, operator) + operands.bias
    multiplier, shift = int(stated.output.multipliers[0]), int(stated.output.shifts[0])
    expected = [
        oracle.clip(oracle.double(oracle.wrap32(int(s)), multiplier, shift) + operands.output_zero_point, -128, 127)
        for s in sums.flat
    ]
    found = transposed_conv2d(x, operands, operator, "tflite-double")
    assert found.shape == (2, *operator.size, outputs)
    assert found.ravel().tolist() == expected


def test_a_transposed_convolution_of_stride_one_is_a_convolution_with_the_turned_filter():
    random = np.random.default_rng(5)
    x, weights = bytes_of(random, (1, 6, 7, 3)), bytes_of(random, (4, 3, 3, 3))
    operands = constants(random, weights=weights, weight_scales=np.full(4, 2.0**-9))
    turned = replace(operands, weights=weights[:, ::-1, ::-1].copy())
    found = transposed_conv2d(x, operands, TransposedConv2d((6, 7), crop=(1, 1)), "tflite-double")
    expected = integer.conv2d(x, turned, Conv2d(padding=(1, 1, 1, 1)), "tflite-double")
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(["int8", "int16"]))
def test_resizing_equals_its_definition_pixel_by_pixel(seed, dtype):
    random = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    x = random.integers(limits.min, limits.max + 1, (1, *random.integers(1, 7, 2).tolist(), 2)).astype(dtype)
    corners = bool(random.integers(2))
    operator = Resize2d("bilinear", tuple(random.integers(1, 9, 2).tolist()), corners, not corners and seed % 2 == 0)
    np.testing.assert_array_equal(resize.resize2d(x, operator), oracle.resize_bilinear(x, operator))


def test_nearest_resizing_by_a_whole_factor_repeats_pixels_and_by_one_changes_nothing():
    x = bytes_of(np.random.default_rng(0), (1, 3, 4, 2))
    doubled = resize.resize2d(x, Resize2d("nearest", (6, 8)))
    np.testing.assert_array_equal(doubled, x.repeat(2, axis=1).repeat(2, axis=2))
    for kind in ("nearest", "bilinear"):
        np.testing.assert_array_equal(resize.resize2d(x, Resize2d(kind, (3, 4))), x)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**19), 2**19), min_size=1, max_size=40))
def test_the_table_functions_equal_their_definition(values):
    array, table = np.array(values), tables.sigmoid_table()
    assert fixed_point.sigmoid16(array).tolist() == [oracle.table_sigmoid(value, table) for value in values]
    assert fixed_point.tanh16(array).tolist() == [oracle.table_tanh(value, table) for value in values]


def test_the_reciprocals_of_the_two_runtimes_differ_in_two_entries_by_one():
    difference = tables.reciprocal_table(single=True) - tables.reciprocal_table(single=False)
    assert {int(index): int(difference[index]) for index in np.flatnonzero(difference)} == {160: -1, 294: 1}


def test_the_16_bit_functions_lie_within_two_steps_of_the_real_ones():
    values = np.arange(-32768, 32768, 7)
    real = values / 4096.0
    assert np.abs(fixed_point.sigmoid16(3 * values) / 32768 - 1 / (1 + np.exp(-real))).max() < 2 / 32768
    assert np.abs(fixed_point.tanh16(3 * values) / 32768 - np.tanh(real)).max() < 4 / 32768


def test_the_gemmlowp_functions_equal_their_definition_over_all_16_bits():
    values = np.arange(-32768, 32768, 23)
    assert gemmlowp.logistic_q15(values).tolist() == [oracle.logistic_q15(int(value)) for value in values]
    for integer_bits in (0, 3, 4, 5):
        found = gemmlowp.tanh_q15(values, integer_bits)
        assert found.tolist() == [oracle.tanh_q15(int(value), integer_bits) for value in values]
        assert np.abs(found / 32768 - np.tanh(values / 2.0 ** (15 - integer_bits))).max() < 6e-4


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_hard_swish_equals_its_definition_and_lies_near_the_real_function(seed):
    random = np.random.default_rng(seed)
    operands = constants(random)
    operands = replace(
        operands, output_scale=float(np.float32(operands.input_scales[0] * 2.0 ** random.uniform(-6, 2)))
    )
    x = np.arange(-128, 128).astype(np.int8)
    fine = np.float32(1 / 128) * np.float32(operands.input_scales[0])
    factors = []
    for other in (np.float32(operands.output_scale), np.float32(3 / 32768)):
        multiplier, shift = quantize_multiplier(float(fine / other))
        factors += [min((multiplier + 2**15) >> 16, 32767), shift]
    found = lut.nonlinear(x, operands, HardSwish(), "tflite-double")
    assert found.tolist() == [oracle.hard_swish(int(value), operands, tuple(factors)) for value in x]


@pytest.mark.parametrize("operator", [Logistic(), Tanh(), HardSwish(), Gelu(), Gelu(approximate=True)])
@pytest.mark.parametrize("profile", ["tflite-double", "onnxruntime"])
def test_an_8_bit_function_is_the_rounded_real_one(operator, profile):
    operands = Operands((0.05,), (3,), 0.03, -7, -128, 127)
    x = np.arange(-128, 128).astype(np.int8)
    formulas = {
        Logistic(): lambda v: 1 / (1 + math.exp(-v)), Tanh(): math.tanh,
        HardSwish(): lambda v: v * min(max(v + 3, 0), 6) / 6,
        Gelu(): lambda v: 0.5 * v * math.erfc(-v / math.sqrt(2)),
        Gelu(approximate=True): lambda v: 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    }  # fmt: skip
    real = np.array([formulas[operator](0.05 * (int(value) - 3)) for value in x]) / 0.03 - 7
    found = lut.nonlinear(x, operands, operator, profile)
    limit = 1.01 if isinstance(operator, HardSwish) else 0.501
    assert np.abs(found - np.clip(real, -128, 127)).max() <= limit


def test_gelu_and_its_approximation_are_told_apart():
    operands = Operands((0.02,), (0,), 0.0005, -120, -32768, 32767, dtype="int16")
    x = np.arange(-128, 128).astype(np.int8)
    exact, near = (lut.nonlinear(x, operands, Gelu(approximate), "tflite-double") for approximate in (False, True))
    assert 0 < np.abs(exact.astype(int) - near).max() < 3


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_16_bit_softmax_equals_its_definition_and_sums_to_one(seed):
    random = np.random.default_rng(seed)
    x = random.integers(-32768, 32768, (2, int(random.integers(1, 30)))).astype(np.int16)
    scale = float(2.0 ** random.uniform(-16, -8))
    multiplier, shift = quantize_multiplier(scale / (10.0 / 65535.0))
    operands = Operands((scale,), (0,), 2.0**-15, 0, -32768, 32767, dtype="int16")
    profile = ("cmsis-nn", "tflite-double")[seed % 2]
    found = softmax_rows_16(x, operands, 1.0, profile)
    reciprocal = tables.reciprocal_table(single=profile == "cmsis-nn")
    for row, result in zip(x, found, strict=True):
        assert result.tolist() == oracle.softmax_row_16(row, multiplier, shift, tables.exp_table(), reciprocal)
        assert abs(result.sum() - 32768) < 64 + 4 * x.shape[1]


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_64_bit_sums_take_the_reduced_multiplier(seed):
    random = np.random.default_rng(seed)
    depth, outputs = int(random.integers(1, 700)), 3
    x = random.choice([-32768, 32767, int(random.integers(-32768, 32768))], (2, depth)).astype(np.int16)
    weights = random.choice([-127, 127, int(random.integers(-127, 128))], (outputs, depth)).astype(np.int8)
    stated = factor(random, -22, 8)
    bias = random.integers(-(2**40), 2**40, outputs)
    operands = Operands((1.0,), (0,), 1.0, 0, -32768, 32767, weights, np.ones(outputs), bias=bias, dtype="int16",
                        wide=True, stated=Stated(output=stated))  # fmt: skip
    found = integer.fully_connected(x, operands, FullyConnected(), "cmsis-nn")
    sums = x.astype(object) @ weights.T.astype(object) + bias
    pair = int(stated.multipliers[0]), int(stated.shifts[0])
    assert found.ravel().tolist() == [oracle.clip(oracle.reduced(int(s), *pair), -32768, 32767) for s in sums.flat]
    as_image = integer.conv2d(
        x.reshape(2, 1, 1, depth),
        replace(operands, weights=weights.reshape(outputs, 1, 1, depth)),
        Conv2d(),
        "cmsis-nn",
    )
    np.testing.assert_array_equal(as_image.reshape(found.shape), found)


def test_a_deep_16_bit_convolution_does_not_overflow():
    """K = 600, every product positive: an int32 sum gives -6859 (upstream, the odd last pixel), the true one 9525."""
    stated = Stated(output=Factors(np.array([2**30], np.int32), np.array([-17], np.int32)))
    operands = Operands((1.0,), (0,), 1.0, 0, -32768, 32767, np.full((1, 1, 1, 600), 127, np.int8), np.ones(1),
                        dtype="int16", wide=True, stated=stated)  # fmt: skip
    x = np.full((1, 1, 5, 600), 32767, np.int16)
    for profile in ("cmsis-nn", "cmsis-nn-s16", "tflite-double"):
        assert integer.conv2d(x, operands, Conv2d(), profile).ravel().tolist() == [9525] * 5


def test_the_33_bit_intermediate_saturates_instead_of_wrapping():
    stated = Stated(output=Factors(np.array([1124827136], np.int32), np.array([7], np.int32)))
    operands = Operands((1.0,), (0,), 1.0, 0, -32768, 32767, np.ones((1, 1), np.int8), np.ones(1),
                        bias=np.array([16014792], np.int64), dtype="int16", wide=True, stated=stated)  # fmt: skip
    assert oracle.reduced(16014793, 1124827136, 7) > 32767
    assert integer.fully_connected(np.ones((1, 1), np.int16), operands, FullyConnected(), "cmsis-nn").item() == 32767


def test_a_depthwise_convolution_of_16_bits_is_a_grouped_one():
    random = np.random.default_rng(3)
    x = random.integers(-32768, 32768, (1, 5, 6, 4)).astype(np.int16)
    weights = bytes_of(random, (1, 3, 3, 8))
    operands = Operands((2.0**-12,), (0,), 2.0**-9, 0, -32768, 32767, weights, 2.0 ** random.uniform(-9, -6, 8),
                        bias=random.integers(-9999, 9999, 8), dtype="int16", wide=True)  # fmt: skip
    grouped = replace(operands, weights=weights.transpose(3, 1, 2, 0).copy())
    found = integer.depthwise_conv2d(x, operands, DepthwiseConv2d(multiplier=2), "cmsis-nn-s16")
    np.testing.assert_array_equal(found, integer.conv2d(x, grouped, Conv2d(groups=4), "cmsis-nn-s16"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-8, 7), max_size=33))
def test_packing_4_bit_values_loses_nothing(values):
    packed = pack(np.array(values, np.int8))
    assert packed.size == (len(values) + 1) // 2
    assert unpack(packed, len(values)).tolist() == values == oracle.unpacked(packed, len(values))


def test_packing_puts_the_first_value_into_the_low_half_and_refuses_what_does_not_fit():
    assert pack(np.array([1, -2, 7])).view(np.uint8).tolist() == [0xE1, 0x07]
    with pytest.raises(ValueError, match="values from 0 to 8, expected -8 to 7"):
        pack(np.array([0, 8]))
    with pytest.raises(ValueError, match="2 bytes hold 4 4-bit values, expected 5"):
        unpack(np.zeros(2, np.int8), 5)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_difference_is_the_sum_with_the_mirrored_second_input(seed):
    random = np.random.default_rng(seed)
    operands = constants(random, inputs=2)
    operands = replace(operands, input_zero_points=(operands.input_zero_points[0], 0), output_scale=0.1)
    a, b = bytes_of(random, (3, 7)), random.integers(-127, 128, (3, 7)).astype(np.int8)
    found = integer.sub(a, b, operands, Sub(), "tflite-single").astype(int)
    mirrored = integer.add(a, -b, operands, None, "tflite-single").astype(int)
    assert np.abs(found - mirrored).max() <= 1  # half up: ties part
    zero = integer.sub(a, a, replace(operands, input_zero_points=(5, 5), input_scales=(0.1, 0.1)), Sub(), "cmsis-nn")
    assert set(zero.ravel().tolist()) == {operands.output_zero_point}


def test_minimum_and_maximum_broadcast_and_bring_inputs_to_one_scale():
    a, b = np.array([[1], [5]], np.int8), np.array([2, 8, 3], np.int8)
    alike = Operands((0.5, 0.5), (0, 0), 0.5, 0, -128, 127)
    assert integer.minimum(a, b, alike, Minimum(), "cmsis-nn").tolist() == [[1, 1, 1], [2, 5, 3]]
    assert integer.maximum(a, b, alike, Maximum(), "cmsis-nn").tolist() == [[2, 8, 3], [5, 8, 5]]
    other = replace(alike, input_scales=(0.5, 1.0))
    assert integer.maximum(a, b, other, Maximum(), "cmsis-nn").tolist() == [[4, 16, 6], [5, 16, 6]]


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_layer_norm_equals_its_definition(seed):
    random = np.random.default_rng(seed)
    x = bytes_of(random, (3, int(random.integers(1, 20))))
    scale, shift = random.normal(1, 0.5, (2, x.shape[1])).astype(np.float32)
    operands, operator = constants(random), LayerNorm()
    found = layer_norm(x, scale, shift, operands, operator)
    for row, result in zip(x, found, strict=True):
        assert result.tolist() == oracle.layer_norm(row, scale, shift, operands, operator)


def test_layer_norm_of_a_constant_row_is_its_shift():
    operands = Operands((0.1,), (4,), 0.5, 1, -128, 127)
    found = layer_norm(np.full((1, 3), 9, np.int8), np.ones(3), np.array([0.5, -1.0, 2.0]), operands, LayerNorm(0.0))
    assert found.tolist() == [[2, -1, 5]]


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(["int8", "int16"]))
def test_svdf_equals_its_definition_step_by_step(seed, state_dtype):
    random = np.random.default_rng(seed)
    rank, units, depth, steps, batch = (int(random.integers(1, limit)) for limit in (4, 4, 9, 6, 3))
    limits = np.iinfo(state_dtype)
    made = SvdfConstants(
        bytes_of(random, (rank * units, depth)), random.integers(limits.min, limits.max + 1, (rank * units, steps)),
        random.integers(-9999, 9999, units) if seed % 3 else None, rank, int(random.integers(-128, 128)),
        int(random.integers(-128, 128)), factor(random, -8, 2), factor(random, -18, -6), int(limits.min),
        int(limits.max), -128, 127,
    )  # fmt: skip
    ours = theirs = random.integers(limits.min, limits.max + 1, (batch, rank * units, steps)).astype(state_dtype)
    for _ in range(3):
        x = bytes_of(random, (batch, depth))
        found, ours = svdf_step(x, ours, made, "cmsis-nn")
        expected, theirs = oracle.svdf_step(x, theirs, made)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans())
def test_lstm_equals_its_definition_and_a_sequence_may_be_cut(seed, wide):
    random = np.random.default_rng(seed)
    steps, batch, depth, units = (int(random.integers(1, limit)) for limit in (5, 3, 6, 5))
    dtype = "int16" if wide else "int8"
    limits = np.iinfo(dtype)

    def gate():
        bias = random.integers(-9999, 9999, units) if random.integers(3) else None
        return Gate(bytes_of(random, (units, depth)), bytes_of(random, (units, units)), bias,
                    factor(random, -12, 1), factor(random, -12, 1))  # fmt: skip

    made = LstmConstants(
        (gate(), gate(), gate(), gate()), 0 if wide else int(random.integers(-128, 128)),
        0 if wide else int(random.integers(-50, 50)), factor(random, -24, -14), int(random.integers(-15, -8)),
        int(random.choice([2**15, 9000])), factor(random, -16, -13), factor(random, -21, -13), wide, dtype,
    )  # fmt: skip
    x = random.integers(limits.min, limits.max + 1, (steps, batch, depth)).astype(dtype)
    found, _ = lstm(x, lstm_start(made, batch), made, "cmsis-nn")
    np.testing.assert_array_equal(found, oracle.lstm(x, made, tables.sigmoid_table()))
    first, state = lstm(x[:2], lstm_start(made, batch), made, "cmsis-nn")
    rest, _ = lstm(x[2:], state, made, "cmsis-nn")
    np.testing.assert_array_equal(np.concatenate([first, rest]), found)


def test_a_graph_keeps_the_state_of_its_layers_only_where_it_is_given_a_place():
    builder = GraphBuilder("stream")
    x = builder.input("x", (1, 2))
    feature = builder.constant("feature", (1, 2), np.ones((1, 2), np.float32))
    time = builder.constant("time", (1, 3), np.array([[100, 10, 1]], np.float32))
    graph = builder.build([builder.layer(Svdf(), [x, feature, time])])
    prepared, states = plan(graph), {}
    steps = [{"x": np.array([[value, 0]], np.float32)} for value in (1, 2, 3)]
    assert [run(prepared, step, states)[graph.outputs[0]].item() for step in steps] == [1, 12, 123]
    assert [run(prepared, step)[graph.outputs[0]].item() for step in steps] == [1, 2, 3]


def test_an_integer_layer_norm_of_a_graph_takes_real_scale_and_shift():
    builder = GraphBuilder("norm")
    quantization = Quantization(np.array([0.5]), np.array([0], np.int32))
    x = builder.input("x", (1, 2), "int8", quantization)
    scale = builder.constant("scale", (2,), np.array([2, 2], np.float32))
    shift = builder.constant("shift", (2,), np.array([0, 1], np.float32))
    y = builder.layer(LayerNorm(0.0), [x, scale, shift], quantization=quantization)
    graph = builder.build([y], "litert")
    # Mean 4, deviation 3: -1 and 1, times 2, plus the shift, in halves.
    assert run(plan(graph), {"x": np.array([[1, 7]], np.int8)})[y].tolist() == [[-4, 6]]
