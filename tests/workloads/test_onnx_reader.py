"""Float and quantised ONNX models become the same network, channels last, as onnxruntime runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from workloads.execute import execute
from workloads.models import build
from workloads.passes.prepare import prepare
from workloads.readers.onnx import read
from workloads.writers.onnx import encode

if TYPE_CHECKING:
    from pathlib import Path

    from workloads.graph import Graph

FLOAT, INT8 = TensorProto.FLOAT, TensorProto.INT8
GENERATOR = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return GENERATOR.standard_normal(shape, dtype=np.float32)


def save(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, tuple[Any, ...]],
    constants: dict[str, Any] | None = None,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 13,
    kind: int = FLOAT,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    path.write_bytes(data)
    return data


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, [output], **attributes)


def reference(data: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run a model with onnxruntime, or without it with the reference implementation of the onnx package."""
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return list(ReferenceEvaluator(data).run(None, inputs))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return list(onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, inputs))


def check(tmp_path: Path, nodes: list[Any], inputs: dict[str, tuple[int, ...]], constants: dict[str, Any] | None = None,
          **options: Any) -> Graph:  # fmt: skip
    """Compare raw arrays in the file's own layout, before and after the passes; return the graph as read."""
    path = tmp_path / "model.onnx"
    data = save(path, nodes, inputs, constants, **options)
    graph = read(path)
    values = {name: normal(*shape) for name, shape in inputs.items()}
    expected = reference(data, values)
    for each in (graph, prepare(graph)):
        found = execute(each, values)
        for name, array in zip(graph.outputs, expected, strict=True):
            assert found[name].shape == array.shape
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
    return graph


IMAGE = {"x": (2, 4, 7, 6)}
CASES: dict[str, tuple[list[Any], dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "conv": (
        [node("Conv", "x w b", pads=[1, 0, 2, 1], strides=[2, 1])], IMAGE, {"w": normal(5, 4, 3, 3), "b": normal(5)},
    ),
    "dilated conv": ([node("Conv", "x w", dilations=[2, 1])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "grouped conv": ([node("Conv", "x w", group=2)], IMAGE, {"w": normal(6, 2, 3, 3)}),
    "depthwise conv": (
        [node("Conv", "x w b", group=4, pads=[1] * 4)], IMAGE, {"w": normal(8, 1, 3, 3), "b": normal(8)},
    ),
    "same upper": ([node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "same lower": ([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2])], IMAGE, {"w": normal(5, 4, 3, 2)}),
    "valid": ([node("Conv", "x w", auto_pad="VALID")], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "normalisation": (
        [node("Conv", "x w", "c"), node("BatchNormalization", "c s b m v", epsilon=1e-3)], IMAGE,
        {"w": normal(3, 4, 1, 1), "s": normal(3), "b": normal(3), "m": normal(3), "v": np.abs(normal(3)) + 1},
    ),
    "relu6": ([node("Clip", "x lo hi")], IMAGE, {"lo": np.float32(0), "hi": np.float32(0.5)}),
    "clip above only": ([node("Clip", "x - hi")], IMAGE, {"hi": np.float32(0.5)}),
    "max pool": ([node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])], IMAGE, {}),
    "ceiling max pool": ([node("MaxPool", "x", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)], IMAGE, {}),
    "average pool": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4)], IMAGE, {}),
    "average pool with padding": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)], IMAGE, {},
    ),
    "global pools": (
        [node("GlobalAveragePool", "x", "a"), node("GlobalMaxPool", "x", "b"), node("Add", "a b")], IMAGE, {},
    ),
    "classifier": (
        [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Gemm", "f w b", "g", transB=1),
         node("Softmax", "g")],
        IMAGE, {"w": normal(3, 4), "b": normal(3)},
    ),
    "flatten of an image": ([node("Flatten", "x", "f"), node("Gemm", "f w", "y")], IMAGE, {"w": normal(168, 3)}),
    "scaled gemm": (
        [node("Gemm", "x w b", alpha=0.5, beta=2.0)], {"x": (3, 4)}, {"w": normal(4, 5), "b": normal(1, 5)},
    ),
    "bias as a sum": (
        [node("MatMul", "x w", "m"), node("Add", "m b")], {"x": (3, 4)}, {"w": normal(4, 5), "b": normal(5)},
    ),
    "matmul of activations": ([node("MatMul", "x z")], {"x": (2, 3, 4), "z": (2, 4, 5)}, {}),
    "matmul of images": ([node("MatMul", "x z")], {"x": (2, 3, 4, 5), "z": (2, 3, 5, 2)}, {}),
    "matmul of three axes": ([node("MatMul", "x w")], {"x": (2, 3, 4)}, {"w": normal(4, 5)}),
    "channel scale and shift": (
        [node("Mul", "x s", "m"), node("Add", "m b")], IMAGE, {"s": normal(4, 1, 1), "b": normal(1, 4, 1, 1)},
    ),
    "preprocessing": (
        [node("Sub", "x m", "s"), node("Div", "s d")], IMAGE, {"m": normal(1, 4, 1, 1), "d": np.float32([2.5])},
    ),
    "attention over rows": ([node("Mul", "x s")], IMAGE, {"s": normal(7, 6)}),
    "vector and image": ([node("Add", "x z")], {"x": (2, 4, 7, 6), "z": (7, 6)}, {}),
    "concat of channels": ([node("Relu", "x", "r"), node("Concat", "x r", axis=1)], IMAGE, {}),
    "concat of rows": ([node("Relu", "x", "r"), node("Concat", "x r", axis=-2)], IMAGE, {}),
    "pad": ([node("Pad", "x p v")], IMAGE, {"p": np.int64([0, 1, 0, 2, 0, 0, 3, 0]), "v": np.float32(1.5)}),
    "mean over the image": ([node("ReduceMean", "x", axes=[2, 3], keepdims=0)], IMAGE, {}),
    "mean over channels": ([node("ReduceMean", "x", axes=[1], keepdims=1)], IMAGE, {}),
    "mean over rows": ([node("ReduceMean", "x", axes=[-2], keepdims=0)], IMAGE, {}),
    "softmax over channels": ([node("Softmax", "x", axis=1)], IMAGE, {}),
    "softmax over columns": ([node("Softmax", "x")], IMAGE, {}),
    "transposes": (
        [node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Transpose", "t", perm=[3, 1, 0, 2])], IMAGE, {},
    ),
    "reshape and back": (
        [node("Reshape", "x a", "r"), node("Relu", "r", "q"), node("Reshape", "q b")], IMAGE,
        {"a": np.int64([0, -1, 3]), "b": np.int64([2, 4, 7, 6])},
    ),
    "squeezes": (
        [node("Squeeze", "x a", "s"), node("Unsqueeze", "s b")], {"x": (2, 1, 5, 1)},
        {"a": np.int64([1, 3]), "b": np.int64([0, -1])},
    ),
    "names only": ([node("Identity", "x", "i"), node("Dropout", "i")], IMAGE, {}),
    "shape arithmetic": (
        [node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Unsqueeze", "n z", "u"),
         node("Concat", "u m", "t", axis=0), node("Reshape", "x t")],
        IMAGE, {"i": np.int64(0), "z": np.int64([0]), "m": np.int64([-1])},
    ),
    "constant arithmetic": (
        [node("Mul", "a b", "c"), node("Cast", "c", "d", to=FLOAT), node("Add", "x d")], {"x": (2, 3)},
        {"a": np.int64([1, 2, 3]), "b": np.int64([4])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_means_what_onnx_means(name: str, tmp_path: Path) -> None:
    nodes, inputs, constants = CASES[name]
    check(tmp_path, nodes, inputs, constants)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("Clip", {"min": -0.5, "max": 0.5}), ("Pad", {"pads": [0, 0, 1, 1, 0, 0, 0, 2], "value": 0.5}),
     ("Squeeze", {"axes": [0]}), ("Softmax", {"axis": 1})],
)  # fmt: skip
def test_older_operator_sets_keep_their_attributes(op: str, attributes: dict[str, Any], tmp_path: Path) -> None:
    shape = {"Squeeze": (1, 3, 4, 5), "Softmax": (3, 7)}.get(op, (2, 3, 4, 5))
    check(tmp_path, [node(op, "x", **attributes)], {"x": shape}, opset=9)


def test_a_pointwise_chain_needs_no_transposes_around_unit_images(tmp_path: Path) -> None:
    nodes = [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Gemm", "f w")]
    graph = check(tmp_path, nodes, IMAGE, {"w": normal(4, 3)})
    assert [layer.op for layer in graph.layers] == ["transpose", "mean", "reshape", "fully_connected"]


def test_an_image_of_one_channel_is_reshaped_instead_of_transposed(tmp_path: Path) -> None:
    graph = check(tmp_path, [node("Conv", "x w")], {"x": (1, 1, 7, 6)}, {"w": normal(3, 1, 3, 3)})
    assert graph.layers[0].op == "reshape"


def test_a_model_that_is_channels_last_outside_keeps_no_transposes(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c"),
        node("Transpose", "c", perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    graph = check(tmp_path, nodes, {"x": (2, 7, 6, 4)}, {"w": normal(3, 4, 3, 3)})
    assert [layer.op for layer in graph.layers] == ["conv2d"]


def test_the_input_stays_in_the_files_own_layout(tmp_path: Path) -> None:
    graph = check(tmp_path, [node("Relu", "x")], IMAGE)
    assert graph["x"].shape == (2, 4, 7, 6)
    assert graph["y"].shape == (2, 4, 7, 6)


@pytest.mark.parametrize("size", [1, 3])
def test_dynamic_axes_take_the_given_size(size: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    save(path, [node("Conv", "x w")], {"x": ("batch", 4, "height", None)}, {"w": normal(5, 4, 1, 1)})
    graph = read(path, {"batch": size, "height": 6, "x.3": 7})
    assert graph["x"].shape == (size, 4, 6, 7)
    assert graph.macs == size * 6 * 7 * 5 * 4


@pytest.mark.parametrize("name", ["resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder", "squeezenet1_1"])
def test_a_written_float_network_reads_back_as_it_was(name: str, tmp_path: Path) -> None:
    graph = build(name)
    path = tmp_path / "model.onnx"
    path.write_bytes(encode(graph))
    again = read(path)
    assert again.macs == graph.macs
    assert again.arithmetic == "none"
    if graph.macs < 20e6:
        value = {graph.inputs[0]: normal(*graph[graph.inputs[0]].shape)}
        for output in graph.outputs:
            np.testing.assert_allclose(execute(again, value)[output], execute(graph, value)[output], atol=1e-5)
    merged = [layer.op for layer in prepare(again).layers if layer.op != "reshape"]
    assert merged == [layer.op for layer in graph.layers if layer.op != "reshape"]


def quantise_dequantise(
    x: str, output: str, constants: dict[str, Any], scale: float, zero_point: int, dtype: str
) -> list[Any]:
    """Nodes that quantise and dequantise an activation."""
    constants |= {f"{output}/s": np.float32(scale), f"{output}/z": np.array(zero_point, dtype)}
    names = f"{output}/s {output}/z"
    return [
        node("QuantizeLinear", f"{x} {names}", f"{output}/q"),
        node("DequantizeLinear", f"{output}/q {names}", output),
    ]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantise_dequantise_form_becomes_integer_layers(dtype: str, tmp_path: Path) -> None:
    middle = 0 if dtype == "int8" else 128
    constants: dict[str, Any] = {
        "w": np.random.default_rng(0).integers(-60, 60, (5, 4, 3, 3)).astype(np.int8),
        "ws": np.float32([0.01, 0.02, 0.03, 0.04, 0.05]), "wz": np.zeros(5, np.int8),
        "b": np.int32([10, -20, 30, -40, 50]), "bs": np.float32(0.02) * np.float32([0.01, 0.02, 0.03, 0.04, 0.05]),
        "bz": np.zeros(5, np.int32),
    }  # fmt: skip
    nodes = [
        *quantise_dequantise("x", "xd", constants, 0.02, middle + 3, dtype),
        node("DequantizeLinear", "w ws wz", "wd", axis=0), node("DequantizeLinear", "b bs bz", "bd", axis=0),
        node("Conv", "xd wd bd", "c"), node("Relu", "c", "r"),
        *quantise_dequantise("r", "rd", constants, 0.03, middle - 128, dtype),
        node("MaxPool", "rd", "p", kernel_shape=[2, 2]),
        *quantise_dequantise("p", "pd", constants, 0.03, middle - 128, dtype),
        node("Flatten", "pd"),
    ]  # fmt: skip
    path = tmp_path / "model.onnx"
    data = save(path, nodes, {"x": (1, 4, 7, 6)}, constants)
    graph = read(path)
    assert graph.arithmetic == "onnxruntime"
    integers = {layer.op for layer in graph.layers if graph[layer.outputs[0]].dtype == "int8"}
    assert integers >= {"quantize", "conv2d", "max_pool2d"}
    assert [layer.op for layer in graph.layers].count("dequantize") == 1
    x = normal(1, 4, 7, 6)
    (expected,) = reference(data, {"x": x})
    found = execute(graph, {"x": x})["y"]
    assert np.abs(found - expected).max() <= 0.03 * 1.01  # one step: float and integer sums round differently
    assert (found != expected).mean() < 0.01


def test_weights_that_only_a_float_layer_reads_become_real(tmp_path: Path) -> None:
    constants = {"w": np.int8([[1, 2], [3, 4]]), "s": np.float32([0.5, 0.25]), "z": np.int8([0, 0])}
    nodes = [node("DequantizeLinear", "w s z", "wd", axis=1), node("MatMul", "x wd")]
    graph = check(tmp_path, nodes, {"x": (3, 2)}, constants)
    assert [layer.op for layer in graph.layers] == ["fully_connected"]


def test_a_layer_between_float_neighbours_stays_float(tmp_path: Path) -> None:
    constants: dict[str, Any] = {}
    nodes = [*quantise_dequantise("x", "d", constants, 0.05, 0, "int8"), node("Relu", "d", "r"), node("Add", "r x")]
    graph = check(tmp_path, nodes, {"x": (2, 6)}, constants)
    assert [layer.op for layer in graph.layers] == ["quantize", "dequantize", "activation", "add"]


def test_integer_clip_bounds_become_the_reals_they_mean(tmp_path: Path) -> None:
    constants = {"s": np.float32(0.5), "z": np.int8(10), "lo": np.int8(10), "hi": np.int8(22)}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("Clip", "q lo hi", "c"), node("DequantizeLinear", "c s z")]
    graph = check(tmp_path, nodes, {"x": (1, 50)}, constants)
    clamp = next(layer.operator.clamp for layer in graph.layers if layer.op == "activation")  # type: ignore[union-attr]  # it is the clamp
    assert (clamp.low, clamp.high) == (0.0, 6.0)
