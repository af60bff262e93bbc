"""Executing graphs: which kernel and rounding each layer gets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.arithmetic import PROFILES
from workloads.builder import GraphBuilder
from workloads.errors import InputError
from workloads.execute import execute, layer_profile, plan, run
from workloads.kernels import integer
from workloads.operands import integer_clamp, operands
from workloads.operators import (
    Activation,
    Add,
    BatchNorm,
    Clamp,
    Concat,
    Conv2d,
    Dequantize,
    FullyConnected,
    Mul,
    Pad,
    Quantize,
    Reshape,
    Softmax,
    Unmodelled,
)
from workloads.tensor import Quantization, Tensor


def per_tensor(scale, zero_point=0):
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))


def quantised_network(arithmetic="litert"):
    """A convolution with ReLU, a flatten and a fully connected layer, with seeded weights."""
    random = np.random.default_rng(11)
    builder = GraphBuilder("small")
    x = builder.input("x", (1, 5, 5, 3), "int8", per_tensor(0.05, -4))
    scales = Quantization(np.float32(2.0 ** random.uniform(-8, -6, 4)), np.zeros(4, np.int32), 0)
    w = builder.constant("w", (4, 3, 3, 3), random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), "int8", scales)
    b = builder.constant("b", (4,), random.integers(-300, 300, 4).astype(np.int32), "int32")
    relu = Clamp(low=0.0)
    y = builder.layer(Conv2d(activation=relu), [x, w, b], output="y", dtype="int8", quantization=per_tensor(0.02, 9))
    flat = builder.layer(Reshape(), [y], output="flat", shape=(1, 36), quantization=per_tensor(0.02, 9))
    data = random.integers(-127, 128, (6, 36)).astype(np.int8)
    v = builder.constant("v", (6, 36), data, "int8", per_tensor(0.01))
    z = builder.layer(FullyConnected(), [flat, v], output="z", dtype="int8", quantization=per_tensor(0.003, 1))
    return builder.build([z], arithmetic)


def sample(graph, seed=0):
    shape = graph[graph.inputs[0]].shape
    return {graph.inputs[0]: np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)}


def test_every_tensor_is_returned_by_name_inputs_included():
    graph = quantised_network()
    found = execute(graph, sample(graph))
    assert {name: array.shape for name, array in found.items()} == {
        "x": (1, 5, 5, 3), "y": (1, 3, 3, 4), "flat": (1, 36), "z": (1, 6),
    }  # fmt: skip
    assert {array.dtype.name for array in found.values()} == {"int8"}
    assert found["y"].min() >= 9  # the ReLU's zero


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_profile_rules_every_requantisation(profile):
    graph = quantised_network()
    found = execute(graph, sample(graph), profile=profile)
    first, _, last = graph.layers
    y = integer.conv2d(found["x"], operands(graph, first), first.operator, profile)
    z = integer.fully_connected(found["flat"], operands(graph, last), last.operator, profile)
    np.testing.assert_array_equal(found["y"], y)
    np.testing.assert_array_equal(found["z"], z)


def test_without_a_profile_the_arithmetic_of_the_graph_decides_per_operator():
    litert, onnx = quantised_network(), quantised_network("onnxruntime")
    profiles = [[layer_profile(graph, layer) for layer in graph.layers] for graph in (litert, onnx)]
    assert profiles[0] == ["tflite-double", "tflite-double", "litert-fully-connected"]
    assert profiles[1] == ["onnxruntime"] * 3
    expected = execute(onnx, sample(onnx), profile="onnxruntime")["z"]
    np.testing.assert_array_equal(execute(onnx, sample(onnx))["z"], expected)


def test_profiles_differ_by_one_at_most_in_one_layer_and_do_differ():
    graph = quantised_network()
    found = {
        profile: np.concatenate([execute(graph, sample(graph, seed), profile=profile)["y"] for seed in range(60)])
        for profile in ("tflite-double", "tflite-single")
    }
    difference = found["tflite-double"].astype(int) - found["tflite-single"]
    assert np.abs(difference).max() == 1


def test_a_plan_runs_many_inputs_without_making_its_constants_again():
    made = []
    builder = GraphBuilder("lazy")
    x = builder.input("x", (1, 2), "int8", per_tensor(1.0))

    def weights():
        made.append(1)
        return np.array([[1, 2]], np.int8)

    w = builder.constant("w", (1, 2), weights, "int8", per_tensor(1.0))
    y = builder.layer(FullyConnected(), [x, w], dtype="int8", quantization=per_tensor(1.0))
    prepared = plan(builder.build([y], "litert"))
    for value in (1, 2, 3):
        array = np.full((1, 2), value, np.int8)
        assert run(prepared, {"x": array})[y].item() == 3 * value
    assert len(made) == 1


def test_quantise_operate_dequantise_runs_from_real_to_real():
    builder = GraphBuilder("edges")
    x = builder.input("x", (1, 4))
    q = builder.layer(Quantize(), [x], dtype="int8", quantization=per_tensor(0.5, 2))
    constant = builder.constant("two", (1, 1), np.array([[6]], np.int8), "int8", per_tensor(0.5, 2))
    s = builder.layer(Add(), [q, constant], dtype="int8", quantization=per_tensor(0.5, 2))
    p = builder.layer(Pad(((0, 0), (1, 0)), -1.5), [s], dtype="int8", quantization=per_tensor(0.5, 2))
    c = builder.layer(Concat(1), [p, p], dtype="int8", quantization=per_tensor(0.5, 2))
    y = builder.layer(Dequantize(), [c], dtype="float32")
    found = execute(builder.build([y], "litert"), {"x": np.array([[0, 1, -1, 3.25]], np.float32)})
    real = [-1.5, 2, 3, 1, 5.5]  # 3.25 is a tie at scale 0.5: away from zero
    np.testing.assert_array_equal(found[y], np.array([real + real], np.float32))


def test_a_float_network_runs_in_float32():
    builder = GraphBuilder("float")
    x = builder.input("x", (1, 3))
    parameters = [
        builder.constant(f"p{i}", (3,), np.full(3, value, np.float32)) for i, value in enumerate((2, 1, 0, 4))
    ]
    y = builder.layer(BatchNorm(0.0), [x, *parameters])
    z = builder.layer(Mul(Clamp(0.0, 6.0)), [y, y])
    s = builder.layer(Softmax(), [z])
    found = execute(builder.build([s]), {x: np.array([[1.0, -2.0, 9.0]], np.float32)})
    np.testing.assert_array_equal(found[z], np.array([[4, 1, 6]], np.float32))
    np.testing.assert_allclose(found[s], np.exp([[4, 1, 6]]) / np.exp([4, 1, 6]).sum(), rtol=1e-6)
    assert found[s].dtype == np.float32


def test_what_cannot_be_executed_is_listed_completely():
    builder = GraphBuilder("table")
    x = builder.input("x", (1, 3))
    y = builder.layer(Unmodelled("TopK"), [x], shape=(1, 1))
    z = builder.layer(Unmodelled("Unique"), [y], shape=(1, 1))
    with pytest.raises(InputError) as caught:
        execute(builder.build([z]), {})
    assert [problem.split("operator ")[1] for problem in caught.value.problems] == [
        "'topk' cannot be executed", "'unique' cannot be executed",
    ]  # fmt: skip
    with pytest.raises(InputError, match="known by its shapes only"):
        execute(GraphBuilder("table").build([], executable=False), {})


def test_inputs_must_be_there_and_have_the_declared_type_and_shape():
    graph = quantised_network()
    with pytest.raises(ValueError, match="input 'x' is missing"):
        execute(graph, {})
    with pytest.raises(ValueError, match=r"input 'x' is float32 \(1, 5, 5, 3\), expected int8 \(1, 5, 5, 3\)"):
        execute(graph, {"x": np.zeros((1, 5, 5, 3), np.float32)})
    with pytest.raises(ValueError, match="did you mean 'tflite-double'"):
        execute(graph, sample(graph), profile="tflite-doubl")


def test_operands_collect_what_a_kernel_needs():
    graph = quantised_network()
    first = operands(graph, graph.layers[0])
    assert (first.input_zero_points, first.output_zero_point, first.low, first.high) == ((-4,), 9, 9, 127)
    assert first.weights.shape == (4, 3, 3, 3)
    assert first.weight_scales.shape == first.bias.shape == (4,)
    last = operands(graph, graph.layers[2])
    assert last.scales is None  # the factor is the product of the scales in float64


def test_an_unquantised_tensor_of_an_integer_layer_is_named():
    builder = GraphBuilder("half")
    x = builder.input("x", (1, 2), "int8")
    y = builder.layer(Activation(Clamp(0.0)), [x], dtype="int8", quantization=per_tensor(1.0))
    with pytest.raises(ValueError, match=r"tensor 'x' \(int8\) has no quantisation parameters"):
        execute(builder.build([y], "litert"), {"x": np.zeros((1, 2), np.int8)})


@pytest.mark.parametrize(
    ("clamp", "half_even", "expected"),
    [(Clamp(), False, (-128, 127)), (Clamp(0.0, 6.0), False, (-10, 2)), (Clamp(-1.25, 1.25), False, (-13, -7)),
     (Clamp(-1.25, 1.25), True, (-12, -8)), (Clamp(-1e9, 1e9), False, (-128, 127))],
)  # fmt: skip
def test_a_clamp_becomes_integers_of_the_output(clamp, half_even, expected):
    tensor = Tensor("y", (1,), "int8", per_tensor(0.5, -10))
    assert integer_clamp(clamp, tensor, half_even=half_even) == expected
