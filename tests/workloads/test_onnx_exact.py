"""Integer networks give onnxruntime's bits.

The path compared is onnxruntime's CPU provider on one thread with signed activations: QOperator form (QLinearConv,
QLinearAdd, QLinearGlobalAveragePool or QLinearAveragePool, QGemm, QLinearSoftmax) at every optimisation level, all
intermediate tensors included at the lowest; and quantise-dequantise form where onnxruntime fuses it to the same
operators (extended level and above, with "session.qdqisint8allowed", without which it shifts activations to unsigned).
"""

from __future__ import annotations

import platform
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workloads.builder import GraphBuilder
from workloads.execute import execute, plan, run
from workloads.models import build
from workloads.operators import Clamp, Conv2d, DepthwiseConv2d, Operator
from workloads.passes.quantize import quantize
from workloads.readers import onnx as reader
from workloads.readers.load import load
from workloads.tensor import Array, Quantization
from workloads.writers.onnx import encode

if TYPE_CHECKING:
    from workloads.graph import Graph

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing to compare with")
pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in {"x86_64", "amd64"}, reason="onnxruntime sums in fixed point on other processors"
)
FLOAT_RESNET8 = Path(__file__).parents[2].parent / "shared/models/mlperf_tiny/ic_resnet8_float.tflite"
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
BUILT_IN = ("resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder")


def session(data: bytes, level: str = "ORT_DISABLE_ALL", **entries: str) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@cache
def quantized(name: str) -> Graph:
    if name == "trained resnet8":
        if not FLOAT_RESNET8.exists():
            pytest.skip("the sibling folder 'shared' with the trained float ResNet-8 is absent")
        return quantize(load(FLOAT_RESNET8))
    return quantize(build(name))


def samples(graph: Graph, count: int = 8) -> list[dict[str, Array]]:
    """Random inputs and the extremes."""
    generator = np.random.default_rng(42)
    random = [
        {name: generator.integers(-128, 128, graph[name].shape, np.int8) for name in graph.inputs} for _ in range(count)
    ]
    return [
        *random,
        *({name: np.full(graph[name].shape, value, np.int8) for name in graph.inputs} for value in (-128, 127)),
    ]


def assert_same(graph: Graph, runtime: Any, count: int = 8) -> None:
    prepared = plan(graph)
    for inputs in samples(graph, count):
        ours = run(prepared, inputs)
        for name, theirs in zip(graph.outputs, runtime.run(list(graph.outputs), inputs), strict=True):
            np.testing.assert_array_equal(ours[name], theirs)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [*BUILT_IN, "trained resnet8"])
def test_qoperator_networks_are_bit_identical_at_every_level(name: str, level: str) -> None:
    graph = quantized(name)
    assert_same(graph, session(encode(graph, "qoperator"), level))


@pytest.mark.parametrize("level", LEVELS[2:])
@pytest.mark.parametrize("name", [*BUILT_IN, "trained resnet8"])
def test_fused_quantise_dequantise_networks_are_bit_identical(name: str, level: str) -> None:
    graph = quantized(name)
    assert_same(graph, session(encode(graph, "qdq"), level, qdqisint8allowed="1"))


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v1_025_96", "trained resnet8"])
def test_every_intermediate_tensor_is_bit_identical(name: str) -> None:
    import onnx

    graph = quantized(name)
    model = onnx.ModelProto.FromString(encode(graph, "qoperator"))
    inner = [layer.outputs[0] for layer in graph.layers if layer.outputs[0] not in graph.outputs]
    for tensor in inner:
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.INT8, None))
    runtime = session(model.SerializeToString())
    for inputs in samples(graph, 2):
        ours = execute(graph, inputs)
        for tensor, theirs in zip(inner, runtime.run(inner, inputs), strict=True):
            first = theirs.transpose(0, 2, 3, 1) if theirs.ndim == 4 else theirs
            np.testing.assert_array_equal(ours[tensor], first, err_msg=tensor)


@pytest.mark.parametrize("form", ["qoperator", "qdq"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_written_network_reads_back_to_the_same_bits(name: str, form: str, tmp_path: Path) -> None:
    graph = quantized(name)
    path = tmp_path / "model.onnx"
    path.write_bytes(encode(graph, form))
    again = reader.read(path)
    assert again.arithmetic == "onnxruntime"
    assert again.macs == graph.macs
    for inputs in samples(graph, 2):
        first, second = execute(graph, inputs), execute(again, inputs)
        for output in graph.outputs:
            np.testing.assert_array_equal(first[output], second[output])


def quantized_network(operator: Operator, shapes: list[tuple[int, ...]], seed: int) -> Graph:
    """One convolution with random integer constants, scales over three decades and zero points at both ends."""
    generator = np.random.default_rng(seed)

    def values(count: int = 1, axis: int | None = None, weights: bool = False) -> Quantization:
        scale = np.exp(generator.uniform(-5, -1, count)).astype(np.float32)
        ends = [-128, 127, int(generator.integers(-128, 128))]
        zero_point = np.zeros(count, np.int32) if weights else np.array([ends[seed % 3]], np.int32)
        return Quantization(scale, zero_point, axis)

    net = GraphBuilder("one")
    x = net.input("x", shapes[0], "int8", values())
    channels = shapes[1][3] if isinstance(operator, DepthwiseConv2d) else shapes[1][0]
    axis = 3 if isinstance(operator, DepthwiseConv2d) else 0
    weights = values(channels, axis, weights=True)
    data = generator.integers(-127, 128, shapes[1], np.int8)
    bias_scale = net.tensors[x].quantization.scale * weights.scale  # type: ignore[union-attr]  # given above
    bias = Quantization(bias_scale, np.zeros(channels, np.int32), 0)
    inputs = [
        x,
        net.constant("w", shapes[1], data, "int8", weights),
        net.constant("b", (channels,), generator.integers(-4000, 4000, channels, np.int32), "int32", bias),
    ]
    y = net.layer(operator, inputs, quantization=values())
    return net.build([y], "onnxruntime")


CASES = [
    (Conv2d((2, 1), (0, 1, 1, 2)), [(2, 7, 6, 5), (9, 3, 2, 5)]),
    (Conv2d((1, 1), (2, 2, 2, 2), (2, 2), groups=3), [(1, 8, 8, 6), (12, 3, 3, 2)]),
    (Conv2d((3, 3), activation=Clamp(-0.5, 0.75)), [(1, 9, 9, 17), (33, 1, 1, 17)]),
    (DepthwiseConv2d((2, 2), (1, 1, 0, 0)), [(1, 9, 7, 19), (1, 3, 3, 19)]),
    (DepthwiseConv2d(padding=(1, 1, 1, 1), multiplier=2), [(1, 5, 5, 6), (1, 3, 3, 12)]),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("operator", "shapes"), CASES)
def test_convolutions_of_all_kinds_are_bit_identical(
    operator: Operator, shapes: list[tuple[int, ...]], seed: int
) -> None:
    graph = quantized_network(operator, shapes, seed)
    assert_same(graph, session(encode(graph, "qoperator")), 2)


def test_unsigned_models_give_the_bits_of_the_unsigned_runtime() -> None:
    """Activations are uint8 in the file, int8 inside; weights keep to 64 so that no x86 kernel saturates pairs."""
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(8)
    constants = {
        "xs": np.float32(0.05), "xz": np.uint8(117), "ws": np.float32([0.01, 0.02, 0.003, 0.004]),
        "w": generator.integers(64, 193, (4, 3, 3, 3)).astype(np.uint8), "wz": np.full(4, 128, np.uint8),
        "ys": np.float32(0.11), "yz": np.uint8(99), "b": generator.integers(-900, 900, 4).astype(np.int32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "unsigned", [info("x", TensorProto.UINT8, [1, 3, 8, 8])], [info("y", TensorProto.UINT8, [1, 4, 4, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    x = generator.integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)
    (theirs,) = session(data).run(None, {"x": x})
    ours = execute(_read(data), {"x": x})["y"]
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs)


def _read(data: bytes) -> Graph:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        return reader.read(path)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool",
                                "QLinearSoftmax", "QLinearMatMul", "QLinearConcat"])  # fmt: skip
def test_single_integer_operators_are_bit_identical(op: str, seed: int) -> None:
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(100 + seed)
    vector = {"QLinearSoftmax": (3, 2 + 40 * seed), "QLinearMatMul": (5, 7 + seed)}
    shape = vector.get(op, (2, 3 + 8 * seed, 5, 6))
    same_second = (shape[1], 6) if op == "QLinearMatMul" else shape
    scales = np.exp(generator.uniform(-4, 0, 3)).astype(np.float32)
    if seed == 0:
        scales = np.array([0.5, 0.25, 0.5], np.float32)  # exact ties
    zeros = generator.integers(-128, 128, 3).astype(np.int8)
    if op == "QLinearSoftmax":
        scales[2], zeros[2] = 1 / 256, -128
    constants = {
        name: np.asarray(value)
        for name, value in zip(("as", "bs", "ys", "az", "bz", "yz"), (*scales, *zeros), strict=True)
    }
    a, b, y = ["a", "as", "az"], ["b", "bs", "bz"], ["ys", "yz"]
    arguments: dict[str, tuple[list[str], dict[str, Any]]] = {
        "QLinearAveragePool": ([*a, *y], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
        "QLinearGlobalAveragePool": ([*a, *y], {}),
        "QLinearSoftmax": ([*a, *y], {"axis": -1, "opset": 13}),
        "QLinearConcat": ([*y, *a, *b], {"axis": 1}),
    }
    inputs, attributes = arguments.get(op, ([*a, *b, *y], {}))
    domain = "" if op == "QLinearMatMul" else "com.microsoft"
    used = [name for name in ("a", "b") if name in inputs]
    shapes = {"a": shape, "b": same_second}
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], domain=domain, **attributes)], op,
        [helper.make_tensor_value_info(name, TensorProto.INT8, shapes[name]) for name in used],
        [helper.make_tensor_value_info("y", TensorProto.INT8, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in inputs],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    values = {name: generator.integers(-128, 128, shapes[name], np.int8) for name in used}
    (theirs,) = session(data).run(None, values)
    np.testing.assert_array_equal(execute(_read(data), values)["y"], theirs)


class Samples:
    """Calibration data as onnxruntime's tool asks for them: one dictionary after another, then None."""

    def __init__(self, graph: Graph, count: int) -> None:
        generator = np.random.default_rng(6)
        self.rows = iter(
            [
                {name: generator.standard_normal(graph[name].shape, dtype=np.float32) for name in graph.inputs}
                for _ in range(count)
            ]
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self.rows, None)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("activations", ["QInt8", "QUInt8"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_networks_quantised_by_onnxruntimes_own_tool_are_bit_identical(
    form: str, activations: str, per_channel: bool, tmp_path: Path
) -> None:
    tool = pytest.importorskip("onnxruntime.quantization", reason="onnxruntime's quantiser is not installed")
    graph = build("dscnn_kws")
    source, target = tmp_path / "float.onnx", tmp_path / "integer.onnx"
    source.write_bytes(encode(graph))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tool's own advice
        tool.quantize_static(
            str(source), str(target), Samples(graph, 3), quant_format=tool.QuantFormat[form], per_channel=per_channel,
            activation_type=tool.QuantType[activations], weight_type=tool.QuantType.QInt8,
            reduce_range=activations == "QUInt8",  # unsigned times signed saturates on x86 without VNNI otherwise
        )  # fmt: skip
    ours = reader.read(target)
    floats = [layer.op for layer in ours.layers if ours[layer.outputs[0]].dtype == "float32"]
    assert floats == ["dequantize"]
    runtime, prepared = session(target.read_bytes(), "ORT_ENABLE_ALL", qdqisint8allowed="1"), plan(ours)
    samples_ = Samples(graph, 4)
    while (inputs := samples_.get_next()) is not None:
        found = run(prepared, inputs)
        for name, theirs in zip(ours.outputs, runtime.run(None, inputs), strict=True):
            np.testing.assert_array_equal(found[name], theirs)
