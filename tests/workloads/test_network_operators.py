"""The operators of larger networks: float values by their definitions, shapes, and 8-bit functions by table."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.attention import attention
from workloads.builder import GraphBuilder
from workloads.execute import execute
from workloads.graph import layer_macs
from workloads.kernels import lut
from workloads.kernels.transposed import transposed_conv2d
from workloads.operands import Operands
from workloads.operators import (
    Concat,
    Embedding,
    HardSigmoid,
    LeakyRelu,
    LocalResponseNorm,
    Logistic,
    Mish,
    Mul,
    Prelu,
    RmsNorm,
    Slice,
    Swish,
    TransposedConv2d,
    operator_name,
)
from workloads.shapes import infer

FUNCTIONS = {
    Swish(): lambda v: v / (1 + math.exp(-v)),
    Mish(): lambda v: v * math.tanh(math.log1p(math.exp(v))),
    HardSigmoid(): lambda v: min(max(v + 3, 0), 6) / 6,
    HardSigmoid(0.2, 0.4): lambda v: min(max(0.2 * v + 0.4, 0), 1),
    LeakyRelu(0.1): lambda v: max(v, 0) + 0.1 * min(v, 0),
}


def run(operator, *arrays, dtype=None):
    """Apply one operator to float arrays, the first an input, the others constants."""
    net = GraphBuilder("one")
    x = net.input("x", arrays[0].shape, arrays[0].dtype.name)
    rest = [net.constant(f"c{index}", array.shape, array) for index, array in enumerate(arrays[1:])]
    y = net.layer(operator, (x, *rest), dtype=dtype)
    graph = net.build([y])
    values = execute(graph, {"x": arrays[0]})
    assert values[y].shape == graph[y].shape
    return values[y]


@pytest.mark.parametrize("operator", FUNCTIONS, ids=repr)
def test_a_function_of_one_value_is_its_formula(operator):
    x = np.linspace(-9, 9, 181, dtype=np.float32)[None]
    expected = [[FUNCTIONS[operator](float(value)) for value in x[0]]]
    np.testing.assert_allclose(run(operator, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", FUNCTIONS, ids=repr)
@pytest.mark.parametrize("profile", ["tflite-double", "onnxruntime"])
def test_an_8_bit_function_is_the_rounded_real_one(operator, profile):
    operands = Operands((0.05,), (3,), 0.03, -7, -128, 127)
    x = np.arange(-128, 128).astype(np.int8)
    real = np.array([FUNCTIONS[operator](0.05 * (int(value) - 3)) for value in x]) / 0.03 - 7
    found = lut.nonlinear(x, operands, operator, profile)
    assert np.abs(found - np.clip(real, -128, 127)).max() <= 0.501


def test_extreme_inputs_of_smooth_functions_stay_finite():
    x = np.array([[-1e30, -800, 0, 800, 1e30]], np.float32)
    for operator in (Swish(), Mish()):
        np.testing.assert_array_equal(run(operator, x), [[0, 0, 0, 800, np.float32(1e30)]])


def test_a_slope_per_channel_equals_leaky_relus_side_by_side():
    random = np.random.default_rng(1)
    x, slopes = random.standard_normal((2, 3, 4), np.float32), random.random(4, np.float32)
    parts = [run(LeakyRelu(float(slope)), x[..., index : index + 1]) for index, slope in enumerate(slopes)]
    np.testing.assert_allclose(run(Prelu(), x, slopes), np.concatenate(parts, axis=-1), rtol=1e-6)


def test_local_response_norm_sums_the_squares_of_the_channels_around():
    x = np.random.default_rng(2).standard_normal((1, 2, 2, 7), np.float32)
    operator = LocalResponseNorm(5, 0.3, 0.75, 2.0)
    found = run(operator, x)
    for place in np.ndindex(1, 2, 2, 7):
        channel = place[-1]
        around = x[(*place[:-1], slice(max(channel - 2, 0), channel + 3))].astype(float)
        assert found[place] == pytest.approx(x[place] / (2 + 0.3 / 5 * (around**2).sum()) ** 0.75, rel=1e-5)


def test_rms_norm_gives_rows_of_mean_square_one_before_the_scale():
    random = np.random.default_rng(3)
    x, scale = random.standard_normal((4, 64), np.float32) * 5, random.random(64, np.float32) + 1
    np.testing.assert_allclose(np.square(run(RmsNorm(0.0), x, scale) / scale).mean(axis=1), np.ones(4), rtol=1e-5)


def test_an_embedding_reads_rows_of_its_table():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows = np.array([[3, 0], [1, 1]], np.int32)
    np.testing.assert_array_equal(run(Embedding(), rows, table, dtype="float32"), table[rows])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_the_slices_of_an_axis_concatenate_to_the_whole(shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    cuts = sorted({0, shape[axis], *data.draw(st.lists(st.integers(0, shape[axis]), max_size=3))})
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    net = GraphBuilder("cut")
    source = net.input("x", tuple(shape))
    parts = [net.layer(Slice(axis, begin, end - begin), (source,)) for begin, end in itertools.pairwise(cuts)]
    y = net.layer(Concat(axis), parts)
    np.testing.assert_array_equal(execute(net.build([y]), {"x": x})[y], x)


@pytest.mark.parametrize("operator", [Slice(1, 3, 3), Slice(2, 0, 1), Slice(0, 0, 0), Slice(0, -1, 1)])
def test_a_slice_outside_its_axis_is_refused(operator):
    with pytest.raises(ValueError, match=r"do not lie in shape \(2, 5\)"):
        infer(operator, [(2, 5)])


def test_constants_per_channel_must_fit_the_channels():
    for operator in (Prelu(), RmsNorm()):
        with pytest.raises(ValueError, match=f"{operator_name(operator)} constants .* do not fit the last axis"):
            infer(operator, [(1, 5), (4,)])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_grouped_transposed_convolution_equals_one_per_group_side_by_side(seed):
    random = np.random.default_rng(seed)
    groups, channels, outputs = random.integers(1, 4, 3).tolist()
    x = random.integers(-128, 128, (1, 3, 4, groups * channels)).astype(np.int8)
    weights = random.integers(-127, 128, (groups * outputs, 3, 2, channels)).astype(np.int8)
    operator = TransposedConv2d((7, 8), (2, 3), (1, 0), groups=groups)
    constants = Operands((0.5,), (3,), 40.0, -2, -128, 127, weights, np.full(groups * outputs, 0.25))
    parts = [
        transposed_conv2d(
            x[..., group * channels : (group + 1) * channels],
            Operands((0.5,), (3,), 40.0, -2, -128, 127, weights[group * outputs :][:outputs], np.full(outputs, 0.25)),
            TransposedConv2d((7, 8), (2, 3), (1, 0)),
            "tflite-double",
        )
        for group in range(groups)
    ]
    found = transposed_conv2d(x, constants, operator, "tflite-double")
    np.testing.assert_array_equal(found, np.concatenate(parts, axis=-1))
    real = run(operator, (x - np.float32(3)) * np.float32(0.5), weights * np.float32(0.25)) / 40 - 2
    assert np.abs(found - np.clip(real, -128, 127)).max() <= 0.5001


def test_a_grouped_transposed_convolution_counts_its_products():
    net = GraphBuilder("up")
    x, weights = net.input("x", (1, 13, 13, 8)), net.constant("w", (8, 4, 4, 1))
    graph = net.build([net.layer(TransposedConv2d((26, 26), (2, 2), (1, 1), groups=8), (x, weights))])
    assert layer_macs(graph, graph.layers[0]) == 13 * 13 * 8 * 4 * 4
    with pytest.raises(ValueError, match="do not fit an input"):
        infer(TransposedConv2d((26, 26), groups=3), [(1, 13, 13, 8), (8, 4, 4, 1)])


@pytest.mark.parametrize(("heads", "groups", "masked"), [(1, 1, False), (4, 4, True), (6, 2, False)])
def test_attention_mixes_values_by_the_softmax_of_scaled_products(heads, groups, masked):
    random = np.random.default_rng(heads)
    q, k, v = (random.standard_normal((2, rows, count * 5), np.float32)
               for rows, count in ((3, heads), (4, groups), (4, groups)))  # fmt: skip
    hidden = np.where(random.random((2, 1, 1, 4)) < 0.5, np.float32(-1e9), np.float32(0)) * masked
    hidden[..., 0] = 0
    net = GraphBuilder("attention")
    names = [net.input(name, array.shape) for name, array in zip("qkvm", (q, k, v, hidden), strict=True)]
    y = attention(net, *names[:3], heads, names[3] if masked else None)
    found = execute(net.build([y]), dict(zip("qkvm", (q, k, v, hidden), strict=True)))[y]
    for batch, row, head in np.ndindex(2, 3, heads):
        part, shared = slice(5 * head, 5 * head + 5), head * groups // heads
        side = slice(5 * shared, 5 * shared + 5)
        scores = k[batch, :, side] @ q[batch, row, part] / math.sqrt(5) + hidden[batch, 0, 0]
        shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        np.testing.assert_allclose(found[batch, row, part], shares @ v[batch, :, side], rtol=1e-4, atol=1e-5)


def test_a_swish_is_a_logistic_and_a_product():
    x = np.random.default_rng(4).standard_normal((1, 50), np.float32)
    np.testing.assert_allclose(run(Swish(), x), run(Mul(), x, run(Logistic(), x)), rtol=1e-6)
