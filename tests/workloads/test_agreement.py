"""Profiles disagree as often as the shifts say, in closed form and on networks."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from workloads.agreement import CORE, agreement, applicable, compared, dequantized, predict, real
from workloads.arithmetic import PROFILES, requantize
from workloads.builder import GraphBuilder
from workloads.errors import InputError
from workloads.execute import execute
from workloads.operands import Operands
from workloads.operators import Conv2d, FullyConnected, Softmax
from workloads.passes.quantize import quantize
from workloads.passes.quantized_checks import quantization_problems
from workloads.rounding_laws import predicted_rate
from workloads.tensor import Array, Quantization

if TYPE_CHECKING:
    from workloads.graph import Graph

SAMPLES = 400_000


def network(seed: int = 0) -> Graph:
    random = np.random.default_rng(seed)
    net = GraphBuilder("small")
    x = net.input("x", (1, 12, 12, 3))
    first = net.constant("w1", (8, 3, 3, 3), random.standard_normal((8, 3, 3, 3), dtype=np.float32))
    y = net.layer(Conv2d(padding=(1, 1, 1, 1)), (x, first, net.constant("b1", (8,), np.ones(8, np.float32))))
    second = net.constant("w2", (8, 3, 3, 8), random.standard_normal((8, 3, 3, 8), dtype=np.float32))
    y = net.layer(Conv2d(stride=(2, 2)), (y, second))
    third = net.constant("w3", (5, 8), random.standard_normal((5, 8), dtype=np.float32))
    y = net.layer(FullyConnected(), (y, third))
    return quantize(net.build([net.layer(Softmax(), (y,), output="y")]), arithmetic="litert")


def samples(graph: Graph, count: int = 3) -> list[dict[str, Array]]:
    random = np.random.default_rng(5)
    return [
        {name: random.integers(-128, 128, graph[name].shape).astype(np.int8) for name in graph.inputs}
        for _ in range(count)
    ]


@pytest.mark.parametrize("shift", [-1, -2, -3, -4, -6])
def test_double_and_single_rounding_differ_as_often_as_the_shift_says(shift: int) -> None:
    random = np.random.default_rng(-shift)
    scale = np.array([random.uniform(2.0 ** (shift - 1), 2.0**shift)])
    accumulators = (random.uniform(-120, 120, (SAMPLES, 1)) / scale).astype(np.int32)
    first, second = (requantize(accumulators, scale, 0, -128, 127, name) for name in ("tflite-double", "tflite-single"))
    observed = compared(first, second)
    assert observed[1] == pytest.approx(2.0 ** -(1 - shift), rel=0.1)  # rs = -shift, so 2**-(rs + 1)
    assert observed[2] == 1


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        combinations(
            ("tflite-double", "tflite-single", "ruy", "onnxruntime", "xnnpack-rndnu", "tflm-float", "truncate"), 2
        )
    ),
)
@pytest.mark.parametrize("factor", [2.0**-4, 0.03912837, 0.337191])
def test_every_law_holds_on_uniform_sums(first: str, second: str, factor: float) -> None:
    random = np.random.default_rng(1)
    scale = np.array([factor])
    accumulators = (random.uniform(-160, 160, (SAMPLES, 1)) / factor).astype(np.int32)
    outputs = [requantize(accumulators, scale, 3, -128, 127, name) for name in (first, second)]
    constants = Operands((factor,), (0,), 1.0, 3, -128, 127, weight_scales=np.empty(0))
    predicted = predict(constants, outputs[0], first, second)
    assert predicted is not None
    assert compared(*outputs)[1] == pytest.approx(predicted, rel=0.06, abs=2e-4)


def test_pairs_without_a_law_say_so() -> None:
    numbers = (np.array([2**30]), np.array([-3]), 1.0, 0.5)
    for name in ("ascend-fixpipe", "onnx-reference", "rvv-rod", "x86-vpmaddubsw"):
        assert predicted_rate(PROFILES["tflite-double"], PROFILES[name], *numbers) is None


def test_a_network_is_compared_layer_by_layer_and_at_its_end() -> None:
    graph = network()
    found = agreement(graph, samples(graph))
    assert found.profiles == applicable(graph) == CORE
    count = len(CORE) * (len(CORE) - 1) // 2
    assert len(found.pairs) == count * len(graph.layers)
    assert {row.output for row in found.ends} == {graph.layers[-1].inputs[0], "y"}
    assert [row.op for row in found.noise] == ["conv2d", "conv2d", "fully_connected", "softmax"]
    for row in found.pairs:
        assert 0 <= row.observed <= 1
        assert (
            row.outputs == 3 * graph[next(each for each in graph.layers if each.name == row.layer).outputs[0]].elements
        )
    convolution = next(
        row
        for row in found.pairs
        if row.op == "conv2d" and (row.first, row.second) == ("tflite-double", "tflite-single")
    )
    assert convolution.predicted is not None
    assert convolution.observed == pytest.approx(convolution.predicted, rel=0.5, abs=3e-3)
    assert all(row.observed == 0 for row in found.ends if row.first == row.second)


def test_one_layer_alone_can_be_compared() -> None:
    graph = network()
    name = graph.layers[1].name
    found = agreement(graph, samples(graph, 1), ("ruy", "truncate"), layer=name)
    assert {row.layer for row in found.pairs} == {name}
    assert (found.ends, found.noise) == ((), ())
    assert found.pairs[0].observed > 0.2


def test_the_noise_of_eight_bits_is_small_and_real() -> None:
    graph = network()
    random = np.random.default_rng(2)
    inputs = [{"x": np.clip(random.standard_normal((1, 12, 12, 3)) * 30, -128, 127).astype(np.int8)}]
    found = agreement(graph, inputs, ("tflite-double",))
    assert all(row.sqnr_db is not None and 15 < row.sqnr_db < 60 for row in found.noise[:2])


def test_the_float_twin_holds_the_stored_weights() -> None:
    graph = network()
    twin = dequantized(graph)
    weights = next(name for name in graph.layers[0].inputs if name.startswith("w1"))
    np.testing.assert_allclose(
        twin[weights].materialize(), real(graph[weights], graph[weights].materialize()), rtol=1e-6
    )
    x = samples(graph, 1)[0]["x"]
    result = execute(twin, {"x": real(graph["x"], x).astype(np.float32)})["y"]
    assert float(result.sum()) == pytest.approx(result.size / 5, rel=1e-5)


def test_wrong_requests_are_refused_together() -> None:
    graph = network()
    with pytest.raises(InputError) as refused:
        agreement(graph, samples(graph, 1), ("ruyy",), layer="none")
    assert len(refused.value.problems) == 2


def with_quantization(graph: Graph, position: int, **changes: Array) -> Graph:
    """Return the graph with its first layer's input, weights or bias quantised otherwise."""
    tensor = graph[graph.layers[0].inputs[position]]
    assert isinstance(tensor.quantization, Quantization)
    changed = replace(tensor, quantization=replace(tensor.quantization, **changes))
    return replace(graph, tensors={**graph.tensors, tensor.name: changed})


def test_a_sound_quantisation_has_no_problems() -> None:
    for profile in (None, *CORE, "cmsis-nn"):
        assert quantization_problems(network(), profile) == []


@pytest.mark.parametrize(("scale", "words"), [(0.0, "not positive"), (1e-40, "denormal"), (np.inf, "not positive")])
def test_a_wrong_scale_names_layer_and_remedy(scale: float, words: str) -> None:
    graph = network()
    channels = np.full(8, 0.01, np.float32)
    channels[3] = scale
    (problem,) = quantization_problems(with_quantization(graph, 1, scale=channels))
    assert f"layer {graph.layers[0].name!r}: 1 of 8 scales" in problem
    assert words in problem
    assert "; give" in problem or "; make" in problem
    with pytest.raises(InputError, match=words):
        execute(with_quantization(graph, 1, scale=channels), samples(graph, 1)[0])


def test_asymmetric_weights_are_refused_where_the_target_forbids_them() -> None:
    graph = with_quantization(network(), 1, zero_point=np.full(8, 4, np.int32))
    assert quantization_problems(graph) == []
    assert quantization_problems(graph, "onnxruntime") == []
    for profile in ("cmsis-nn", "tflite-double", "ascend-fixpipe"):
        (problem,) = quantization_problems(graph, profile)
        assert "zero point 4" in problem
        assert "quantise the weights symmetrically" in problem
    with pytest.raises(InputError, match="symmetrically"):
        execute(graph, samples(graph, 1)[0], profile="cmsis-nn")


def test_a_cut_bias_names_layer_and_remedy() -> None:
    graph = network()
    name = graph.layers[0].inputs[2]
    cut = replace(graph[name], data=np.full(8, 2**31 - 1, np.int32))
    (problem,) = quantization_problems(replace(graph, tensors={**graph.tensors, name: cut}))
    assert "8 of 8 biases do not fit 32 bits" in problem
    assert "calibrate" in problem
