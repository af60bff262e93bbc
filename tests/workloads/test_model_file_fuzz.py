"""Damaged model files never crash a reader: bytes flipped, files cut, nodes changed, words changed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from workloads.errors import InputError
from workloads.models import build
from workloads.passes.quantize import quantize
from workloads.readers.load import load
from workloads.readers.onnx import EVALUATED, OPERATORS
from workloads.writers.onnx import encode

if TYPE_CHECKING:
    from pathlib import Path


@cache
def good_file(which: str) -> bytes:
    """Return a small sound model."""
    if which == "float":
        return _small_float()
    quantized = quantize(build("fc_autoencoder"))
    return encode(quantized, which)


def _small_float() -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["c", "low", "high"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Shape", ["p"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "first"], ["u"]),
        helper.make_node("Concat", ["u", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["p", "t"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "h"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    generator = np.random.default_rng(0)
    constants = {
        "w": generator.standard_normal((4, 2, 3, 3), np.float32), "b": np.zeros(4, np.float32), "low": np.float32(0),
        "high": np.float32(6), "zero": np.int64(0), "first": np.int64([0]), "rest": np.int64([-1]),
        "g": generator.standard_normal((3, 16), np.float32), "h": np.zeros(3, np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets: list[Any] = [helper.make_opsetid("", 13)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return data


def load_or_refuse(data: bytes, path: Path) -> None:
    """Load a file; only an InputError may come out."""
    path.write_bytes(data)
    try:
        layers, problems = load(path).layers, ()
    except InputError as error:
        layers, problems = (), error.problems
    assert layers or problems
    assert all(problem.strip() for problem in problems)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data(), which=st.sampled_from(["float", "float", "qoperator", "qdq"]))
def test_flipped_bytes_never_crash_the_reader(data: st.DataObject, which: str, tmp_path: Path) -> None:
    content = bytearray(good_file(which))
    # Names, attributes and shapes lie at both ends of the file, between them the weights.
    near = st.one_of(st.integers(0, min(4000, len(content) - 1)), st.integers(0, len(content) - 1))
    for position in data.draw(st.lists(near, min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    load_or_refuse(bytes(content), tmp_path / "model.onnx")


@FUZZ
@given(which=st.sampled_from(["float", "qoperator"]), share=st.floats(0, 1))
def test_truncated_files_never_crash_the_reader(which: str, share: float, tmp_path: Path) -> None:
    content = good_file(which)
    load_or_refuse(content[: int(share * len(content))], tmp_path / "model.onnx")


@FUZZ
@given(data=st.data())
def test_text_formats_never_crash_on_changed_words(data: st.DataObject, tmp_path: Path) -> None:
    param = (
        "7767517\n4 4\nInput data 0 1 data 0=8 1=8 2=3\nConvolution c 1 1 data c 0=4 1=3 4=1 5=1 6=108 9=1\n"
        "Pooling p 1 1 c p 1=3 2=2\nInnerProduct f 1 1 p f 0=2 1=1 2=128\n"
    )
    table = (
        "network,index,op,input_shape,weight_shape,output_shape,kernel,stride,macs,params,dtype\n"
        "n,0,CONV_2D,1x8x8x3,4x3x3x3,1x8x8x4,3x3,1x1,6912,112,INT8\nn,1,MEAN,1x8x8x4,,1x4,,,0,0,INT8\n"
    )
    suffix, text = data.draw(st.sampled_from([(".param", param), (".csv", table)]))
    pieces = list(text)
    for position in data.draw(st.lists(st.integers(0, len(pieces) - 1), min_size=1, max_size=5)):
        pieces[position] = data.draw(st.sampled_from([*'0123456789=,x- \n-é"', "", "99999999", "-1"]))
    load_or_refuse("".join(pieces).encode(), tmp_path / f"model{suffix}")


ATTRIBUTES = ["axis", "axes", "pads", "strides", "group", "perm", "keepdims", "alpha", "kernel_shape", "dilations",
              "ceil_mode", "to", "value", "min", "max", "transB", "start", "end"]  # fmt: skip
VALUES = [0, 1, -1, 5, 2**62, 1.5, float("nan"), "x", [-1], [0, 1], [1, 1], [2, 2, 2, 2]]
SHAPES = [[], [1], [1, 3], [1, 3, 8], [1, 2, 8, 8], [1, 8, 8, 2], [2, 3, 8, 8, 2]]


@FUZZ
@given(data=st.data(), which=st.sampled_from(["float", "qoperator", "qdq"]))
def test_changed_nodes_never_crash_the_reader(data: st.DataObject, which: str, tmp_path: Path) -> None:
    """Well-formed messages with wrong operators, inputs, attributes, extents and shapes."""
    proto = ModelProto.FromString(good_file(which))
    names = sorted({name for node in proto.graph.node for name in (*node.input, *node.output)} | {""})
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(list(proto.graph.node)))
        match data.draw(st.sampled_from(["op", "input", "less", "more", "attribute", "extent", "shape"])):
            case "op":
                node.op_type = data.draw(st.sampled_from(sorted({*OPERATORS, *EVALUATED})))
            case "input" if node.input:
                node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(st.sampled_from(names))
            case "less" if node.input:
                del node.input[data.draw(st.integers(0, len(node.input) - 1))]
            case "more":
                node.input.append(data.draw(st.sampled_from(names)))
            case "attribute":
                name, value = data.draw(st.sampled_from(ATTRIBUTES)), data.draw(st.sampled_from(VALUES))
                node.attribute.append(helper.make_attribute(name, value))
            case "extent":
                tensor = data.draw(st.sampled_from([each for each in proto.graph.initializer if each.dims]))
                tensor.dims[0] = data.draw(st.sampled_from([0, 1, 2, -1, 2**40]))
            case "shape":
                shape = proto.graph.input[0].type.tensor_type.shape
                del shape.dim[:]
                for extent in data.draw(st.sampled_from(SHAPES)):
                    shape.dim.add().dim_value = extent
    load_or_refuse(proto.SerializeToString(), tmp_path / "model.onnx")
