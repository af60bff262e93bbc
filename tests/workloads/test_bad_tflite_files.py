"""Wrong .tflite files: one InputError that lists every fault, whatever the bytes."""

from __future__ import annotations

import contextlib
import re
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.errors import InputError
from workloads.readers import tflite
from workloads.readers.tflite import read


def small_network(writer_class):
    """A convolution, a sum, a pool, a reshape, a fully connected layer and a softmax."""
    writer = writer_class()
    x = writer.input((1, 6, 6, 2), "INT8", 0.5, -3, signature=(-1, 6, 6, 2))
    w = writer.tensor((2, 3, 3, 2), "INT8", [0.1, 0.2], data=np.ones((2, 3, 3, 2), np.int8))
    b = writer.tensor((2,), "INT32", [0.05, 0.1], data=np.arange(2, dtype=np.int32))
    y = writer.tensor((1, 6, 6, 2), "INT8", 0.25, 7)
    writer.operator(
        "CONV_2D", [x, w, b], y, "Conv2DOptions", StrideH=1, StrideW=1, DilationHFactor=1, DilationWFactor=1
    )
    z = writer.operator("ADD", [x, y], writer.tensor((1, 6, 6, 2), "INT8", 0.5), "AddOptions")
    p = writer.tensor((1, 3, 3, 2), "INT8", 0.5)
    writer.operator("AVERAGE_POOL_2D", [z], p, "Pool2DOptions", StrideH=2, StrideW=2, FilterHeight=2, FilterWidth=2)
    shape = writer.tensor((2,), "INT32", data=np.array([1, 18], np.int32))
    flat = writer.operator("RESHAPE", [p, shape], writer.tensor((1, 18), "INT8", 0.5), "ReshapeOptions")
    w2 = writer.tensor((4, 18), "INT8", 0.125, data=np.ones((4, 18), np.int8))
    d = writer.operator("FULLY_CONNECTED", [flat, w2], writer.tensor((1, 4), "INT8", 1.0), "FullyConnectedOptions")
    writer.operator("SOFTMAX", [d], writer.tensor((1, 4), "INT8", 1 / 256, -128), "SoftmaxOptions", Beta=1.0)
    return writer.build()


@pytest.fixture(scope="module")
def model(tflite_writer):
    return small_network(tflite_writer)


def problems_of(path, data, **options):
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read(path, **options)
    assert str(path) in str(caught.value)
    return caught.value.problems


def relu(writer, **quantization):
    """One ReLU over a tensor described by the caller."""
    x = writer.input((2, 3), **quantization)
    writer.operator("RELU", [x], writer.tensor((2, 3), **quantization))
    return writer


def test_the_small_network_itself_is_fine(tmp_path, model):
    path = tmp_path / "fine.tflite"
    path.write_bytes(model)
    assert len(read(path).layers) == 6


def test_a_missing_file_an_empty_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "missing.tflite", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            read(path)
    assert problems_of(tmp_path / "empty.tflite", b"") == ("the file is empty",)


@pytest.mark.parametrize("data", [b"hello", b"PK\x03\x04" + bytes(100), b"\x00" * 64, "Größe".encode() * 20])
def test_a_file_that_is_no_model_is_told_apart_from_a_damaged_one(tmp_path, data):
    (problem,) = problems_of(tmp_path / "other.tflite", data)
    assert problem.startswith("not a TFLite model: expected the identifier 'TFL3'")


def test_every_truncation_is_refused(tmp_path, model):
    for length in [*range(1, 64), *range(64, len(model) - 1, 37)]:
        path = tmp_path / "short.tflite"
        path.write_bytes(model[:length])
        try:
            read(path)
        except InputError:
            continue
        pytest.fail(f"the first {length} of {len(model)} bytes were read as a model")


def test_a_file_beyond_the_size_limit_is_not_opened(tmp_path):
    path = tmp_path / "large.tflite"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # sparse: it takes no room on the disk
    with pytest.raises(InputError, match="2147483649 bytes"):
        read(path)


def test_unknown_operators_are_all_listed_with_counts(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((2, 2), "FLOAT32")
    for name in ("COS", "SIN", "COS", "RELU"):
        x = writer.operator(name, [x], writer.tensor((2, 2), "FLOAT32"))
    problems = problems_of(tmp_path / "cos.tflite", writer.build())
    assert problems[0] == "operator COS is not supported (2 times in the file)"
    assert problems[1] == "operator SIN is not supported (1 time in the file)"
    assert problems[2].startswith("supported operators: ADD, AVERAGE_POOL_2D,")


def test_a_dynamic_shape_without_a_size_asks_for_it(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((-1, 3, -1), "FLOAT32", name="x")
    writer.operator("RELU", [x], writer.tensor((-1, 3, -1), "FLOAT32"))
    path, data = tmp_path / "dynamic.tflite", writer.build()
    (problem,) = problems_of(path, data)
    assert "--size batch=1" in problem
    assert "--size x.2=1" in problem
    assert read(path, sizes={"batch": 2, "x.2": 5})["tensor_1"].shape == (2, 3, 5)


@pytest.mark.parametrize("shape", [(2**20, 2**20), (1, 2**31 - 1), (2**15,) * 5])
def test_an_absurd_size_is_refused_before_any_memory_is_taken(tmp_path, tflite_writer, shape):
    writer = tflite_writer()
    x = writer.input(shape, "FLOAT32")
    writer.operator("RELU", [x], writer.tensor(shape, "FLOAT32"))
    (problem,) = problems_of(tmp_path / "absurd.tflite", writer.build())
    assert "elements; at most" in problem


def test_a_small_input_that_grows_beyond_the_limit_is_refused(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((2, 2), "FLOAT32")
    amounts = writer.tensor((2, 2), "INT32", data=np.full((2, 2), 2**30, np.int32))
    writer.operator("PAD", [x, amounts], writer.tensor((2**31 - 1, 2**31 - 1), "FLOAT32"))
    (problem,) = problems_of(tmp_path / "pad.tflite", writer.build())
    assert "elements; at most" in problem


def test_weights_that_are_not_numbers_are_counted(tmp_path, tflite_writer):
    writer = tflite_writer()
    data = np.ones((4, 3), np.float32)
    data[1, :2] = np.nan
    data[2, 0] = np.inf
    w = writer.tensor((4, 3), "FLOAT32", data=data, name="kernel")
    x = writer.input((1, 3), "FLOAT32")
    writer.operator("FULLY_CONNECTED", [x, w], writer.tensor((1, 4), "FLOAT32"), "FullyConnectedOptions")
    problems = problems_of(tmp_path / "nan.tflite", writer.build())
    assert problems == ("tensor 'kernel': 3 of 12 weights are NaN or infinite",)


@pytest.mark.parametrize(
    ("quantization", "fault"),
    [
        ({"scale": float("nan")}, "1 of 1 scales are not positive numbers, e.g. nan"),
        ({"scale": 0.0}, "1 of 1 scales are not positive numbers, e.g. 0.0"),
        ({"scale": -0.5}, "1 of 1 scales are not positive numbers, e.g. -0.5"),
        ({"scale": 0.5, "zero_point": 300}, "zero point outside int8: 300 .. 300"),
        ({"scale": [0.5, 0.25, 0.125]}, "an activation with 3 scales; expected one"),
    ],
)
def test_contradictory_quantisation_of_a_tensor_is_named(tmp_path, tflite_writer, quantization, fault):
    problems = problems_of(tmp_path / "scale.tflite", relu(tflite_writer(), kind="INT8", **quantization).build())
    assert problems == (f"tensor 'tensor_0': {fault}", f"tensor 'tensor_1': {fault}")


def dense(writer, *, weight_scale=0.25, bias_scale=0.125, bias_kind="INT32", data_bytes=12, bias_size=4):
    x = writer.input((1, 3), "INT8", 0.5)
    w = writer.tensor((4, 3), "INT8", weight_scale, data=np.ones(data_bytes, np.int8), name="kernel")
    data = np.zeros(bias_size, np.int32 if bias_kind == "INT32" else np.float32)
    b = writer.tensor((bias_size,), bias_kind, bias_scale, data=data, name="bias")
    writer.operator("FULLY_CONNECTED", [x, w, b], writer.tensor((1, 4), "INT8", 1.0), "FullyConnectedOptions")
    return writer.build()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"bias_scale": 0.25}, "bias 'bias' has scale 2 times input scale * weight scale"),
        ({"weight_scale": None, "bias_scale": None}, "weights 'kernel' have no scale"),
        ({"weight_scale": [0.5, 0.5]}, "tensor 'kernel': 2 scales for axis 0 of shape (4, 3)"),
        ({"bias_kind": "FLOAT32", "bias_scale": None}, "weights of int8 and bias of float32 for an input of int8"),
        ({"data_bytes": 11}, "tensor 'kernel': 11 bytes of data for shape (4, 3) of int8, expected 12"),
        ({"bias_size": 3}, "bias of shape [3] for 4 output channels"),
    ],
)
def test_weights_and_bias_that_do_not_fit_are_named(tmp_path, tflite_writer, changes, fault):
    problems = problems_of(tmp_path / "dense.tflite", dense(tflite_writer(), **changes))
    assert len(problems) == 1
    assert fault in problems[0]


def test_moving_integers_to_another_scale_is_a_contradiction(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((2, 3), "INT8", 0.5)
    shape = writer.tensor((1,), "INT32", data=np.array([6], np.int32))
    writer.operator("RESHAPE", [x, shape], writer.tensor((6,), "INT8", 0.25), "ReshapeOptions")
    (problem,) = problems_of(tmp_path / "reshape.tflite", writer.build())
    assert (
        "contradictory quantisation: 'tensor_0' has scale [0.5], zero point [0]; 'tensor_2' has [0.25], [0]" in problem
    )


def test_faults_of_several_operators_come_together_and_followers_are_passed_over(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((1, 4, 4, 2), "FLOAT32")
    amounts = writer.tensor((1,), "INT32", data=np.array([5], np.int32))
    bad = writer.operator("MEAN", [x, amounts], writer.tensor((1, 4, 4), "FLOAT32"), "ReducerOptions")
    writer.operator("RELU", [bad], writer.tensor((1, 4, 4), "FLOAT32"))
    pool = {"Padding": 1, "StrideH": 0, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 2}
    writer.operator("MAX_POOL_2D", [x], writer.tensor((1, 3, 3, 2), "FLOAT32"), "Pool2DOptions", **pool)
    writer.operator("ADD", [x, x], writer.tensor((1, 4, 4, 3), "FLOAT32"), "AddOptions")
    problems = problems_of(tmp_path / "several.tflite", writer.build())
    assert [problem.split(" ")[1:3] for problem in problems] == [["0", "MEAN"], ["2", "MAX_POOL_2D"], ["3", "ADD"]]
    assert "axis 5 does not exist in a tensor of 4 axes" in problems[0]
    assert "computes shape [1, 4, 4, 2], but the file declares [1, 4, 4, 3]" in problems[2]


def test_an_absurd_dilation_is_refused_before_it_pads(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((1, 6, 6, 1), "FLOAT32")
    w = writer.tensor((1, 3, 3, 1), "FLOAT32", data=np.ones(9, np.float32))
    geometry = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 2**24, "DilationWFactor": 1}
    writer.operator("CONV_2D", [x, w], writer.tensor((1, 6, 6, 1), "FLOAT32"), "Conv2DOptions", **geometry)
    (problem,) = problems_of(tmp_path / "dilation.tflite", writer.build())
    assert "a window that spans at most 4096" in problem


def test_element_types_that_no_kernel_takes_are_named(tmp_path, tflite_writer):
    writer = relu(tflite_writer(), kind="FLOAT16")
    problems = problems_of(tmp_path / "half.tflite", writer.build())
    expected = "tensor 'tensor_0': element type FLOAT16, expected one of BOOL, FLOAT32, INT16, INT32,"
    assert problems[0].startswith(expected)


@pytest.mark.parametrize(("inputs", "fault"), [([9], "tensors 9 do not exist"), ([-1], "0 inputs and 1 outputs")])
def test_tensor_indices_that_do_not_exist_are_named(tmp_path, tflite_writer, inputs, fault):
    writer = tflite_writer()
    writer.input((2,), "FLOAT32")
    writer.operator("RELU", inputs, writer.tensor((2,), "FLOAT32"))
    assert fault in "\n".join(problems_of(tmp_path / "index.tflite", writer.build()))


def test_a_network_that_runs_in_a_circle_is_refused(tmp_path, tflite_writer):
    writer = tflite_writer()
    x, a, b = writer.input((2,), "FLOAT32"), *(writer.tensor((2,), "FLOAT32") for _ in range(2))
    writer.operator("ADD", [x, b], a, "AddOptions")
    writer.operator("ADD", [x, a], b, "AddOptions")
    (problem,) = problems_of(tmp_path / "circle.tflite", writer.build())
    assert "reads 'tensor_2' before anything computes it" in problem


def test_a_missing_options_table_is_a_fault_not_a_default(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((2,), "FLOAT32")
    writer.operator("ADD", [x, x], writer.tensor((2,), "FLOAT32"))
    (problem,) = problems_of(tmp_path / "options.tflite", writer.build())
    assert problem.endswith("its options are missing")


@pytest.mark.parametrize("shape", [(), (6,), (1, 6, 6), (1, 6, 6, 2, 1)])
@pytest.mark.parametrize(
    ("name", "options"), [("CONV_2D", "Conv2DOptions"), ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions")]
)
def test_a_convolution_of_no_image_is_refused(tmp_path, tflite_writer, shape, name, options):
    writer = tflite_writer()
    x = writer.input(shape, "FLOAT32")
    w = writer.tensor((1, 1, 1, 1), "FLOAT32", data=np.ones(1, np.float32))
    writer.operator(name, [x, w], writer.tensor(shape, "FLOAT32"), options, StrideH=1, StrideW=1)
    (problem,) = problems_of(tmp_path / "rank.tflite", writer.build())
    assert f"input of shape {list(shape)}, expected four axes" in problem


def _read_or_refuse(data, path):
    """Read mutated bytes: a Graph or an InputError, quickly; anything else fails the test."""
    path.write_bytes(data)
    start = time.monotonic()
    with contextlib.suppress(InputError):
        graph = tflite.read(path)
        assert graph.macs >= 0
        for tensor in graph.tensors.values():
            if tensor.is_constant:
                tensor.materialize()
    assert time.monotonic() - start < 5


MUTATION = [HealthCheck.function_scoped_fixture]


@settings(max_examples=400, deadline=None, suppress_health_check=MUTATION)
@given(flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=8))
def test_flipped_bytes_never_raise_anything_else(flips, model, tmp_path):
    data = bytearray(model)
    for position, mask in flips:
        data[position % len(data)] ^= mask
    _read_or_refuse(bytes(data), tmp_path / "mutated.tflite")


@settings(max_examples=300, deadline=None, suppress_health_check=MUTATION)
@given(position=st.integers(0, 2**20), value=st.sampled_from([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
def test_overwritten_lengths_and_offsets_never_raise_anything_else(position, value, model, tmp_path):
    data = bytearray(model)
    start = position % (len(data) // 4) * 4
    data[start : start + 4] = value.to_bytes(4, "little")
    _read_or_refuse(bytes(data), tmp_path / "mutated.tflite")


@settings(max_examples=100, deadline=None, suppress_health_check=MUTATION)
@given(tail=st.binary(max_size=300))
def test_random_bytes_behind_the_identifier_never_raise_anything_else(tail, tmp_path):
    _read_or_refuse(b"\x20\x00\x00\x00TFL3" + tail, tmp_path / "random.tflite")
