"""The presets named after LiteRT against the three sets of kernels that its wheel holds, operator by operator."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.execute import execute
from workloads.profiles import PROFILES
from workloads.readers.tflite import read

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

PATHS = {
    "": litert.OpResolverType.BUILTIN_REF,
    "-builtin": litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "-xnnpack": litert.OpResolverType.AUTO,
}
SEEDS = range(5)


def scale(random, low=-8.0, high=-4.0):
    return np.float32(2.0 ** random.uniform(low, high))


def product(writer, random, name):
    """One layer with weights; its output scale keeps a good part of the outputs off the clamp."""
    depthwise = name == "DEPTHWISE_CONV_2D"
    shape = {"CONV_2D": (16, 3, 3, 8), "DEPTHWISE_CONV_2D": (1, 3, 3, 16), "FULLY_CONNECTED": (24, 96)}[name]
    image = {"CONV_2D": (1, 14, 14, 8), "DEPTHWISE_CONV_2D": (1, 14, 14, 16), "FULLY_CONNECTED": (32, 96)}[name]
    outputs = shape[3] if depthwise else shape[0]
    x_scale, w_scales = scale(random), 2.0 ** random.uniform(-9, -7, 1 if name == "FULLY_CONNECTED" else outputs)
    x = writer.input(image, "INT8", x_scale, int(random.integers(-20, 20)))
    data = random.integers(-127, 128, shape).astype(np.int8)
    axis = 3 if depthwise else 0
    w = writer.tensor(shape, "INT8", w_scales.astype(np.float32), data=data, axis=axis)
    bias = random.integers(-3000, 3000, outputs).astype(np.int32)
    b = writer.tensor((outputs,), "INT32", x_scale * w_scales.astype(np.float32), data=bias)
    depth = data.size / outputs
    y_scale = x_scale * w_scales.max() * 5000 * np.sqrt(depth) / 100
    result = (32, 24) if name == "FULLY_CONNECTED" else (1, 12, 12, outputs)
    y = writer.tensor(result, "INT8", y_scale, int(random.integers(-20, 20)))
    options = {
        "CONV_2D": ("Conv2DOptions", {"Padding": 1, "StrideH": 1, "StrideW": 1}),
        "DEPTHWISE_CONV_2D": (
            "DepthwiseConv2DOptions", {"Padding": 1, "StrideH": 1, "StrideW": 1, "DepthMultiplier": 1},
        ),
        "FULLY_CONNECTED": ("FullyConnectedOptions", {}),
    }[name]  # fmt: skip
    writer.operator(name, [x, w, b], y, options[0], **options[1])


def pair(writer, random, name):
    shape = (1, 32, 32, 8)
    a, b = (writer.input(shape, "INT8", scale(random), int(random.integers(-20, 20))) for _ in range(2))
    scales = [writer.tensors[index]["scales"][0] for index in (a, b)]
    y_scale = max(scales) * 1.7 if name == "ADD" else scales[0] * scales[1] * 90
    y = writer.tensor(shape, "INT8", y_scale, int(random.integers(-20, 20)))
    writer.operator(name, [a, b], y, {"ADD": "AddOptions", "MUL": "MulOptions"}[name])


def mean(writer, random, name):
    x_scale = scale(random)
    x = writer.input((1, 5, 7, 64), "INT8", x_scale, int(random.integers(-20, 20)))
    y = writer.tensor((1, 1, 1, 64), "INT8", x_scale * random.uniform(0.1, 0.9), int(random.integers(-20, 20)))
    axes = writer.tensor((2,), "INT32", data=np.array([1, 2], np.int32))
    writer.operator(name, [x, axes], y, "ReducerOptions", KeepDims=True)


OPERATORS = {
    "conv2d": (product, "CONV_2D"),
    "depthwise": (product, "DEPTHWISE_CONV_2D"),
    "fully-connected": (product, "FULLY_CONNECTED"),
    "mul": (pair, "MUL"),
    "add": (pair, "ADD"),
    "mean": (mean, "MEAN"),
}


def outputs(writer_type, path, operator, seed, tmp_path):
    """Yield (LiteRT's output, ours by profile) of one random model."""
    random, writer = np.random.default_rng(seed), writer_type()
    build, name = OPERATORS[operator]
    build(writer, random, name)
    model = writer.build()
    file = tmp_path / "model.tflite"
    file.write_bytes(model)
    graph = read(file)
    reference = litert.Interpreter(model_content=model, experimental_op_resolver_type=PATHS[path])
    reference.allocate_tensors()
    arrays = {name: random.integers(-128, 128, graph[name].shape).astype(np.int8) for name in graph.inputs}
    for item, value in zip(reference.get_input_details(), arrays.values(), strict=True):
        reference.set_tensor(item["index"], value)
    reference.invoke()
    expected = reference.get_tensor(reference.get_output_details()[0]["index"])
    return expected, lambda profile: execute(graph, arrays, profile=profile)[graph.outputs[0]]


PRESETS = sorted(name for name in PROFILES if name.startswith("litert-"))


def compared(name, writer_type, tmp_path):
    """Return the differences of all outputs of one preset's operator on its path."""
    operator, path = next(
        (operator, path) for operator in OPERATORS for path in PATHS if f"litert-{operator}{path}" == name
    )
    differences = []
    for seed in SEEDS:
        expected, ours = outputs(writer_type, path, operator, seed, tmp_path)
        differences.append((ours(name).astype(int) - expected).ravel())
    return np.concatenate(differences)


@pytest.mark.parametrize("name", PRESETS)
def test_a_verified_preset_equals_its_path_and_an_unverified_one_is_rarely_off_by_one(name, tflite_writer, tmp_path):
    difference = compared(name, tflite_writer, tmp_path)
    if PROFILES[name].verified:
        assert not difference.any()
    else:
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 1e-3


@pytest.mark.parametrize("operator", ["conv2d", "depthwise", "fully-connected", "mul"])
def test_the_paths_of_one_wheel_do_differ(operator, tflite_writer, tmp_path):
    found = set()
    for path in PATHS:
        results = [outputs(tflite_writer, path, operator, seed, tmp_path)[0].tobytes() for seed in SEEDS]
        found.add(tuple(results))
    assert len(found) >= 2
