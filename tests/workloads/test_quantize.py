"""Quantisation keeps the network's answers, its laws, and says what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.builder import GraphBuilder
from workloads.errors import InputError
from workloads.execute import execute
from workloads.models import build
from workloads.operators import BatchNorm, Clamp, Concat, Conv2d, FullyConnected, Mul, Pool2d
from workloads.passes.calibration import least_squares_range, load_inputs, ranges, seeded_inputs
from workloads.passes.fold import fold
from workloads.passes.fuse import fuse
from workloads.passes.quantize import affine, quantize, symmetric
from workloads.passes.retype import retype
from workloads.readers.load import load
from workloads.tensor import Array, Tensor

if TYPE_CHECKING:
    from workloads.graph import Graph

FLOAT_RESNET8 = Path(__file__).parents[2].parent / "shared/models/mlperf_tiny/ic_resnet8_float.tflite"


def real(graph: Graph, name: str, integers: Array) -> Array:
    """Return what the integers of a tensor stand for."""
    values = graph[name].quantization
    assert values is not None
    return (integers.astype(np.float64) - int(values.zero_point[0])) * float(values.scale[0])


def integer(graph: Graph, name: str, values: Array) -> Array:
    """Quantise an input."""
    quantization = graph[name].quantization
    assert quantization is not None
    scaled = np.rint(values / quantization.scale[0]) + quantization.zero_point[0]
    return np.clip(scaled, -128, 127).astype(np.int8)


def dense(weights: Array, bias: Array, activation: Clamp | None = None) -> Graph:
    net = GraphBuilder("dense")
    x = net.input("x", (1, weights.shape[1]))
    inputs = (x, net.constant("w", weights.shape, weights), net.constant("b", bias.shape, bias))
    return net.build([net.layer(FullyConnected(activation or Clamp()), inputs, output="y")])


@pytest.mark.parametrize("method", ["min-max", "percentile", "mse"])
@pytest.mark.parametrize("arithmetic", ["onnxruntime", "litert"])
def test_a_quantised_network_stays_close_to_the_float_one(method: str, arithmetic: str) -> None:
    graph = build("resnet8")
    quantized = quantize(graph, seeded_inputs(graph, 4), method, arithmetic)
    assert quantized.arithmetic == arithmetic
    image = seeded_inputs(graph, 1, seed=9)["image"]
    floats = execute(graph, {"image": image})
    integers = execute(quantized, {"image": integer(quantized, "image", image)})
    logits = graph.layers[-1].inputs[0]
    found = real(quantized, logits, integers[logits])
    noise = np.square(found - floats[logits]).mean()
    assert 10 * np.log10(np.square(floats[logits]).mean() / noise) > 20  # signal over noise [dB]


def test_the_trained_network_keeps_its_answers() -> None:
    if not FLOAT_RESNET8.exists():
        pytest.skip("the sibling folder 'shared' with the trained float ResNet-8 is absent")
    graph = load(FLOAT_RESNET8)
    (name,) = graph.inputs
    generator = np.random.default_rng(0)
    images = generator.uniform(0, 255, (12, *graph[name].shape[1:])).astype(np.float32)
    quantized = quantize(graph, {name: images[:4]})
    agreed = 0
    for image in images[4:]:
        floats = execute(graph, {name: image[None]})[graph.outputs[0]]
        integers = execute(quantized, {name: integer(quantized, name, image[None])})[graph.outputs[0]]
        agreed += int(floats.argmax() == integers.argmax())
    assert agreed >= 7


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_zero_is_exact_and_the_range_is_covered(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    values = affine(low, high)
    scale, zero_point = float(values.scale[0]), int(values.zero_point[0])
    assert scale > 0
    assert -128 <= zero_point <= 127
    if high - low > 1e-30:
        assert (-128 - zero_point) * scale <= min(low, 0) + 0.51 * scale
        assert (127 - zero_point) * scale >= max(high, 0) - 0.51 * scale


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 9))
def test_weights_err_by_at_most_half_a_step(seed: int, channels: int, depth: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((channels, depth), dtype=np.float32)
    integers, values = symmetric(weights, 0)
    assert np.abs(integers.astype(int)).max() <= 127
    error = np.abs(integers * values.scale[:, None].astype(np.float64) - weights)
    assert (error <= 0.5000001 * values.scale[:, None]).all()
    assert not values.zero_point.any()


def test_weights_of_a_dead_channel_get_a_positive_scale() -> None:
    integers, values = symmetric(np.zeros((2, 3), np.float32), 0)
    assert (values.scale > 0).all()
    assert not integers.any()


def test_biases_have_the_scale_of_the_products() -> None:
    graph = quantize(dense(np.float32([[0.5, -1.0], [2.0, 0.25]]), np.float32([0.75, -3.0])))
    x, weights, bias = (graph[name] for name in graph.layers[0].inputs)
    assert x.quantization
    assert weights.quantization
    assert bias.quantization
    np.testing.assert_array_equal(bias.quantization.scale, x.quantization.scale * weights.quantization.scale)
    np.testing.assert_allclose(
        bias.materialize() * bias.quantization.scale, [0.75, -3.0], atol=float(bias.quantization.scale.max()) / 2
    )
    assert bias.dtype == "int32"


def test_a_bias_that_does_not_fit_32_bits_is_refused() -> None:
    graph = dense(np.float32([[1e-6, 1e-6]]), np.float32([1e6]))
    with pytest.raises(InputError, match="1 of 1 biases do not fit 32 bits"):
        quantize(graph)


def test_a_sum_that_does_not_fit_32_bits_is_refused() -> None:
    depth = 70_000  # 255 * 127 * 70,000 > 2**31
    graph = dense(np.ones((1, depth), np.float32), np.zeros(1, np.float32))
    with pytest.raises(InputError, match="do not fit 32 bits"):
        quantize(graph)


def test_moved_tensors_share_one_quantisation() -> None:
    net = GraphBuilder("moves")
    x = net.input("x", (1, 4, 4, 2))
    pooled = net.layer(Pool2d("max", (2, 2), (2, 2)), (x,))
    weights = net.constant("w", (3, 1, 1, 2), np.ones((3, 1, 1, 2), np.float32) * 9)
    y = net.layer(Conv2d(), (pooled, weights))
    graph = quantize(net.build([net.layer(Concat(3), (pooled, y))]))
    scales = {float(tensor.quantization.scale[0]) for tensor in graph.tensors.values() if not tensor.is_constant}  # type: ignore[union-attr]  # all are quantised
    assert len(scales) == 1


def test_probabilities_use_all_256_steps() -> None:
    graph = quantize(build("dscnn_kws"))
    values = graph["probabilities"].quantization
    assert values is not None
    assert (float(values.scale[0]), int(values.zero_point[0])) == (1 / 256, -128)


def test_a_percentile_cuts_what_is_rare() -> None:
    graph = dense(np.float32([[1.0, 0.0]]), np.float32([0.0]))
    values = np.random.default_rng(0).uniform(-1, 1, (1000, 2)).astype(np.float32)
    values[17, 0] = 1000
    widest = ranges(graph, {"x": values}, "min-max")["x"]
    inner = ranges(graph, {"x": values}, "percentile", 99.0)["x"]
    assert widest[1] == 1000
    assert 0.9 < inner[1] < 1
    assert ranges(graph, {"x": values}, "percentile", 100)["x"] == widest


def test_constant_operands_are_quantised_too() -> None:
    net = GraphBuilder("scale")
    x = net.input("x", (1, 3))
    y = net.layer(Mul(), (x, net.constant("c", (3,), np.float32([0.5, 1.5, -2.0]))))
    graph = net.build([y])
    quantized = quantize(graph)
    values = np.float32([[1.0, -1.0, 0.5]])
    found = execute(quantized, {"x": integer(quantized, "x", values)})[y]
    np.testing.assert_allclose(real(quantized, y, found), [[0.5, -1.5, -1.0]], atol=0.1)


def test_calibration_data_come_from_a_file(tmp_path: Path) -> None:
    graph = dense(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.float32([[1, 2], [-3, 0.5]]))
    inputs = load_inputs(graph, path)
    values = quantize(graph, inputs)["x"].quantization
    assert values is not None
    assert float(values.scale[0]) == pytest.approx(5 / 255)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"y": np.zeros((1, 2))}, "array 'y': no input has that name; did you mean"),
        ({"x": np.zeros((1, 3))}, "shape 1x3, expected nx2"),
        ({"x": np.zeros((0, 2))}, "shape 0x2, expected nx2"),
        ({"x": np.full((1, 2), np.nan)}, "must be finite numbers"),
        ({"x": np.array([["a", "b"]])}, "must be finite numbers"),
    ],
)
def test_wrong_calibration_data_are_refused(arrays: dict[str, Array], expected: str, tmp_path: Path) -> None:
    graph = dense(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    path = tmp_path / "samples.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stub takes flags where arrays may be named
    with pytest.raises(InputError) as caught:
        load_inputs(graph, path)
    assert expected.replace("did you mean", "") in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_a_file_without_arrays_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_inputs(dense(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)), path)


def test_graphs_that_cannot_be_quantised_are_refused_with_all_reasons() -> None:
    with pytest.raises(InputError, match="known by its shapes only"):
        quantize(replace(retype(build("resnet8"), "fp16"), tensors=build("resnet8").tensors))
    with pytest.raises(InputError, match="tensors are int32, int8"):
        quantize(retype(build("resnet8"), "int8"))
    net = GraphBuilder("norm")
    ones = [net.constant(name, (4,), np.ones(4, np.float32)) for name in "abcd"]
    graph = net.build([net.layer(BatchNorm(), (net.input("x", (1, 4)), *ones), output="y")])
    with pytest.raises(InputError, match="layer 'y': operator 'batch_norm' has no integer form"):
        quantize(graph)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "entropy"}, "calibration method 'entropy' is unknown"),
        ({"method": "percentile", "percentile": 10}, "percentile is 10"),
        ({"arithmetic": "onnxrt"}, "did you mean 'onnxruntime'"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        quantize(build("fc_autoencoder"), **options)  # type: ignore[arg-type]  # wrong on purpose


def test_activations_that_overflow_are_refused() -> None:
    huge = Tensor("w", (1, 2), data=np.full((1, 2), 3e38, np.float32))
    graph = dense(np.ones((1, 2), np.float32), np.zeros(1, np.float32))
    graph = replace(graph, tensors={**graph.tensors, "w": huge})
    with np.errstate(over="ignore"), pytest.raises(InputError, match="activation 'y' is not finite"):
        quantize(graph, {"x": np.full((1, 2), 9.0, np.float32)})


def test_quantising_changes_neither_layers_nor_macs() -> None:
    graph = build("mobilenet_v1_025_96")
    quantized = quantize(graph)
    assert [layer.op for layer in quantized.layers] == [layer.op for layer in fuse(fold(graph)).layers]
    assert quantized.macs == graph.macs
    assert quantized.weights_bytes < graph.weights_bytes / 3


def squared_error(values: Array, low: float, high: float) -> float:
    quantization = affine(low, high)
    scale, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
    levels = np.clip(np.rint(values / scale) + zero_point, -128, 127)
    return float(np.square((levels - zero_point) * scale - values).mean())


def test_the_least_squares_range_beats_the_whole_one_on_outliers() -> None:
    values = np.random.default_rng(0).standard_normal(1_000_000)
    values[0] = 40.0  # one outlier widens the whole range tenfold
    low, high = float(values.min()), float(values.max())
    chosen = least_squares_range(values, low, high)
    assert chosen[1] < 0.7 * high
    assert squared_error(values, *chosen) < 0.7 * squared_error(values, low, high)


def test_the_least_squares_range_keeps_uniform_values_whole() -> None:
    values = np.linspace(-1, 3, 10_001)
    assert least_squares_range(values, -1.0, 3.0) == (-1.0, 3.0)
    assert least_squares_range(np.zeros(4), 0.0, 0.0) == (0.0, 0.0)


def test_a_bias_that_does_not_fit_names_layer_and_remedy() -> None:
    graph = dense(np.float32([[1e-6, 1e-6]]), np.float32([1e6]))
    with pytest.raises(InputError, match=r"layer '.*': 1 of 1 biases do not fit 32 bits .*; calibrate"):
        quantize(graph)
