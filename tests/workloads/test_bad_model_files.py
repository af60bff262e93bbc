"""Wrong, damaged and hostile model files give one clear error each; the corpus is built here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from workloads.errors import InputError
from workloads.readers import limits
from workloads.readers.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8


def model(
    nodes: list[Any],
    inputs: dict[str, list[Any] | None],
    constants: dict[str, Any],
    outputs: tuple[str, ...] = ("y",),
    kind: int = FLOAT,
    opset: int = 13,
) -> Any:
    """Return a ModelProto; constants are arrays or TensorProtos."""
    graph = helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [
            value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
        ],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def conv(weights: Any, x: list[Any] | None = None, **attributes: Any) -> Any:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    return model([node], {"x": [1, 3, 8, 8] if x is None else x}, {"w": weights})


def external(
    location: str, length: int | None = None, offset: int | None = None, dims: tuple[int, ...] = (4, 3, 1, 1)
) -> Any:
    proto = TensorProto(name="w", data_type=FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("length", length), ("offset", offset)):
        if value is not None:
            proto.external_data.add(key=key, value=str(value))
    return conv(proto)


def declared(dims: list[int], data: bytes = b"") -> TensorProto:
    return TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=data)


def quantised(scale: Any = 0.1, zero_point: Any = 0, weight_scale: Any = 0.1, weight_zero: Any = 0, **more: Any) -> Any:
    """A QLinearConv whose parameters are given."""
    constants = {
        "xs": np.float32(scale), "xz": np.asarray(zero_point, more.get("zero_type", np.int8)),
        "ws": np.asarray(weight_scale, np.float32), "wz": np.asarray(weight_zero, np.int8),
        "w": np.ones((4, 3, 1, 1), np.int8), "ys": np.float32(more.get("output_scale", 0.2)), "yz": np.int8(3),
        "b": np.zeros(more.get("biases", 4), more.get("bias_type", np.int32)),
    }  # fmt: skip
    node = helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], name="q")
    return model([node], {"x": [1, 3, 8, 8]}, constants, kind=INT8)


def contradictory() -> Any:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s1", "z"], ["i"]),
        helper.make_node("DequantizeLinear", ["i", "s2", "z"], ["y"]),
    ]
    return model(nodes, {"x": [1, 4]}, {"s1": np.float32(0.5), "s2": np.float32(0.25), "z": np.int8(0)})


def with_numbers(*values: float) -> np.ndarray:
    weights = np.ones((4, 3, 1, 1), np.float32)
    weights.ravel()[: len(values)] = values
    return weights


def unary(op: str, shape: list[Any] | None, constants: dict[str, Any] | None = None, **attributes: Any) -> Any:
    names = list(constants or {})
    return model([helper.make_node(op, ["x", *names], ["y"], name="n", **attributes)], {"x": shape}, constants or {})


ONES = np.ones((4, 3, 1, 1), np.float32)
# file: (model, a piece of the message that names the fault)
CORPUS: dict[str, tuple[Callable[[], Any], str]] = {
    "nan weights": (lambda: conv(with_numbers(np.nan)), "constant 'w': 1 of 12 values are NaN or infinite"),
    "infinite weights": (lambda: conv(with_numbers(np.inf, -np.inf)), "2 of 12 values are NaN or infinite"),
    "declared too large": (lambda: conv(declared([2**20, 2**20])), "more than 1073741824 elements"),
    "negative extent": (lambda: conv(declared([-1, 3, 1, 1])), "shape [-1, 3, 1, 1]"),
    "nine axes": (lambda: conv(declared([1] * 9)), "at most 8 axes"),
    "too little data": (lambda: conv(declared([4, 3, 1, 1], b"1234")), "do not fit shape [4, 3, 1, 1]"),
    "complex weights": (lambda: conv(TensorProto(name="w", data_type=TensorProto.COMPLEX64, dims=[1])), "COMPLEX64"),
    "no such element type": (lambda: conv(TensorProto(name="w", data_type=99, dims=[1])), "element type 99"),
    "external data above the folder": (lambda: external("../secret.bin"), "outside the model's folder"),
    "external data at an absolute path": (lambda: external("/etc/hostname"), "outside the model's folder"),
    "external data that is missing": (lambda: external("missing.bin"), "does not exist beside the model"),
    "external data without location": (lambda: external(""), "no usable location"),
    "external data too short": (lambda: external("short.bin"), "48 bytes at 0 of 'short.bin'"),
    "external data beyond the end": (lambda: external("short.bin", 48, 2**40), "48 bytes at 1099511627776"),
    "external length of another shape": (lambda: external("short.bin", 4), "expected 48"),
    "dynamic batch": (lambda: conv(ONES, ["batch", 3, 8, 8]), "axis 0 ('batch') is dynamic; give it a size"),
    "dynamic axis without a name": (lambda: conv(ONES, [1, 3, None, 8]), "axis 2 ('x.2') is dynamic"),
    "no shape": (lambda: unary("Relu", None), "input 'x': has no shape"),
    "empty extent": (lambda: conv(ONES, [1, 3, 0, 8]), "has an extent below 1"),
    "input too large": (lambda: unary("Relu", [2**16, 2**16]), "at most 1073741824 are read"),
    "pad to too large": (
        lambda: unary("Pad", [1, 4], {"p": np.int64([0, 0, 0, 2**40])}),
        "at most 1073741824 are read",
    ),
    "filled constant too large": (
        lambda: model(
            [helper.make_node("ConstantOfShape", ["s"], ["f"]), helper.make_node("Add", ["x", "f"], ["y"])],
            {"x": [1, 4]}, {"s": np.int64([2**20, 2**20])},
        ),
        "ConstantOfShape: shape [1048576, 1048576]",
    ),
    "constant sum too large": (
        lambda: model(
            [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
            {"x": [1, 4]}, {"a": np.ones((1, 2**16), np.float32), "b": np.ones((2**16, 1), np.float32)},
        ),
        "a constant: shape [65536, 65536]",
    ),
    "kernel larger than the image": (lambda: conv(np.ones((4, 3, 9, 9), np.float32)), "does not fit in (8, 8)"),
    "channels that do not fit": (lambda: conv(np.ones((4, 2, 1, 1), np.float32)), "do not fit 3 input channels"),
    "no groups": (lambda: conv(ONES, group=0), "in 0 groups"),
    "no stride": (lambda: conv(ONES, strides=[0, 1]), "strides is (0, 1)"),
    "negative pads": (lambda: conv(ONES, pads=[-1, 0, 0, 0]), "pads are (-1, 0, 0, 0)"),
    "a float where integers belong": (lambda: conv(ONES, strides=[1.5, 1.5]), "expected a list of integers"),
    "a wrong padding name": (lambda: conv(ONES, auto_pad="SOMEHOW"), "auto_pad is 'SOMEHOW'"),
    "weights that are computed": (
        lambda: model([helper.make_node("Conv", ["x", "x"], ["y"])], {"x": [1, 3, 8, 8]}, {}), "must be a constant",
    ),
    "a reshape that does not fit": (lambda: unary("Reshape", [1, 10], {"s": np.int64([3, -1])}), "cannot become"),
    "a missing input": (lambda: unary("Add", [1, 4]), "input 1 is missing"),
    "an undefined input": (
        lambda: model([helper.make_node("Relu", ["z"], ["y"])], {"x": [1]}, {}), "reads ['z'], which nothing before",
    ),
    "an output that nothing makes": (
        lambda: model([helper.make_node("Relu", ["x"], ["z"])], {"x": [1]}, {}),
        "'y': is made by no node",
    ),
    "a tensor made twice": (
        lambda: model([helper.make_node("Relu", ["x"], ["y"])] * 2, {"x": [1]}, {}), "output 'y' is made twice",
    ),
    "division by zero": (lambda: unary("Div", [1, 4], {"c": np.float32([1, 0, 1, 1])}), "division by zero in 'c'"),
    "an empty clip": (
        lambda: unary("Clip", [1, 4], {"a": np.float32(3), "b": np.float32(1)}),
        "3.0 .. 1.0 hold nothing",
    ),
    "negative variance": (
        lambda: unary("BatchNormalization", [1, 2, 4, 4], {
            **{name: np.ones(2, np.float32) for name in "sbm"}, "v": np.float32([1, -1]),
        }),
        "a variance is negative",
    ),
    "no outputs": (lambda: model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {}, ()), "has no outputs"),
    "a text input": (
        lambda: model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {}, kind=TensorProto.STRING),
        "type 8 is not supported",
    ),
    "zero scale": (lambda: quantised(scale=0.0), "scale 'xs' holds 0.0; every scale must be finite and above 0"),
    "negative scale": (lambda: quantised(weight_scale=-0.1), "scale 'ws' holds -0.1"),
    "negative output scale": (lambda: quantised(output_scale=-1), "scale 'ys' holds -1.0"),
    "nan scale": (lambda: quantised(scale=np.nan), "constant 'xs': 1 of 1 values are NaN"),
    "too few scales": (
        lambda: quantised(weight_scale=[0.1, 0.2], weight_zero=[0, 0]),
        "2 weight scales for 4 output channels",
    ),
    "zero points of another length": (
        lambda: quantised(weight_scale=[0.1] * 4, weight_zero=[0, 0, 0]), "'wz' has 3 values for 4 scales",
    ),
    "zero point out of range": (lambda: quantised(zero_point=300, zero_type=np.int16), "'xz' is int16, expected int8"),
    "bias of another type": (lambda: quantised(bias_type=np.int64), "bias 'b' is int64"),
    "bias of another length": (lambda: quantised(biases=3), "(3,)"),
    "contradictory scales": (contradictory, "contradictory quantisation parameters"),
    "float operator on integers": (
        lambda: model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {}, kind=INT8),
        "is int8, expected float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_a_wrong_model_is_refused_with_its_fault(name: str, tmp_path: Path) -> None:
    make, expected = CORPUS[name]
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "short.bin").write_bytes(bytes(10))
    path = folder / "model.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(InputError) as caught:
        load(path)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{path}: {len(caught.value.problems)} problem")


def test_external_data_beside_the_model_are_read(tmp_path: Path) -> None:
    weights = np.arange(12, dtype=np.float32).reshape(4, 3, 1, 1)
    (tmp_path / "data.bin").write_bytes(bytes(16) + weights.tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(external("data.bin", 48, 16).SerializeToString())
    graph = load(path)
    kept = next(tensor for tensor in graph.tensors.values() if tensor.is_constant)
    np.testing.assert_array_equal(kept.materialize(), weights.transpose(0, 2, 3, 1))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "model.onnx").write_bytes(external("link.bin").SerializeToString())
    with pytest.raises(InputError, match="outside the model's folder"):
        load(folder / "model.onnx")


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    nodes = [helper.make_node(op, ["x"], [f"y{index}"]) for index, op in enumerate(["LSTM", "Einsum", "LSTM", "Relu"])]
    nodes.append(helper.make_node("Relu", ["x"], ["z"], domain="my.company"))
    path = tmp_path / "model.onnx"
    path.write_bytes(model(nodes, {"x": [1]}, {}, ("y3",)).SerializeToString())
    with pytest.raises(InputError) as caught:
        load(path)
    found = "\n".join(caught.value.problems)
    assert "operator 'Einsum' is not supported (used 1 time)" in found
    assert "operator 'LSTM' is not supported (used 2 times)" in found
    assert "operator 'my.company.Relu' is not supported" in found
    assert len(caught.value.problems) == 3


def test_faults_of_several_nodes_and_constants_come_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], name="first", group=0),
        helper.make_node("Relu", ["p"], ["q"], name="after"),
        helper.make_node("Softmax", ["x"], ["y"], name="second", axis=9),
    ]
    path = tmp_path / "model.onnx"
    path.write_bytes(model(nodes, {"x": [1, 3, 8, 8]}, {"a": ONES}, ("y", "q")).SerializeToString())
    with pytest.raises(InputError) as caught:
        load(path)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "node 'first' (Conv)",
        "node 'second' (Softmax)",
    ]
    path.write_bytes(
        model(nodes[:1], {"x": ["n", 3, 8, 8]}, {"a": with_numbers(np.nan), "b": declared([1, 2])}).SerializeToString()
    )
    with pytest.raises(InputError) as caught:
        load(path)
    assert len(caught.value.problems) == 3


def test_a_wrong_size_name_is_a_fault_with_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(conv(ONES, ["batch", 3, 8, 8]).SerializeToString())
    assert load(path, sizes={"batch": 2}).outputs == ("y",)
    with pytest.raises(InputError) as caught:
        load(path, sizes={"bach": 2})
    assert "size 'bach': no axis has that name; did you mean 'batch'?" in str(caught.value)
    with pytest.raises(InputError, match="below 1"):
        load(path, sizes={"batch": 0})


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".param", ".csv"])
@pytest.mark.parametrize("content", [b"", b"\x00", b"hello", b"\xff" * 1000, b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_model_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(path)
    assert len(caught.value.problems) == 1


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    for suffix, size in ((".onnx", limits.MAX_FILE_BYTES + 1), (".param", limits.MAX_TABLE_BYTES + 1)):
        path = tmp_path / f"model{suffix}"
        with path.open("wb") as file:
            file.truncate(size)  # sparse: takes no room on the disk
        with pytest.raises(InputError, match=f"file of {size} bytes"):
            load(path)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "model.onnx"
    folder.mkdir()
    with pytest.raises(InputError, match="not a file"):
        load(folder)
