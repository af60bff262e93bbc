"""Reading .tflite files: shapes, paddings, quantisation and names become a Graph."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from workloads.errors import InputError
from workloads.operators import Clamp, Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Pad, Pool2d, Reshape, Transpose
from workloads.readers.tflite import read

MODELS = Path(__file__).parents[2].parent / "shared" / "models" / "mlperf_tiny"


def write(path, writer):
    path.write_bytes(writer.build())
    return path


def convolution(writer, *, padding=0, stride=2, image=(1, 8, 8, 3), signature=None, fused=3):
    """A quantised 3x3 convolution to four channels, per-channel scales."""
    x = writer.input(image, "INT8", 0.5, -3, name="image", signature=signature)
    w = writer.tensor((4, 3, 3, 3), "INT8", [0.1, 0.2, 0.3, 0.4], data=np.ones((4, 3, 3, 3), np.int8), name="weights")
    b = writer.tensor((4,), "INT32", np.array([0.1, 0.2, 0.3, 0.4]) * 0.5, data=np.arange(4, dtype=np.int32))
    batch, height, width, _ = image
    size = (-(-height // stride), -(-width // stride)) if padding == 0 else ((height - 3) // stride + 1,) * 2
    open_batch = None if signature is None else (-1, *size, 4)
    y = writer.tensor((batch, *size, 4), "INT8", 0.25, 7, name="features", signature=open_batch)
    return writer.operator(
        "CONV_2D", [x, w, b], y, "Conv2DOptions", Padding=padding, StrideH=stride, StrideW=stride, DilationHFactor=1,
        DilationWFactor=1, FusedActivationFunction=fused,
    )  # fmt: skip


def test_a_convolution_is_read_with_explicit_padding_and_a_fused_clamp(tmp_path, tflite_writer):
    writer = tflite_writer()
    convolution(writer)
    graph = read(write(tmp_path / "conv.tflite", writer))
    (layer,) = graph.layers
    # SAME with stride 2 on 8 rows needs (4 - 1) * 2 + 3 - 8 = 1 row, and TensorFlow puts it below.
    assert layer.operator == Conv2d((2, 2), (0, 0, 1, 1), (1, 1), 1, Clamp(0.0, 6.0))
    assert (graph.name, graph.arithmetic, graph.inputs, graph.outputs) == ("conv", "litert", ("image",), ("features",))
    assert graph["features"].shape == (1, 4, 4, 4)
    assert graph.macs == 4 * 4 * 4 * 27
    assert graph.weights_bytes == 4 * 27 + 4 * 4


def test_valid_padding_is_no_padding(tmp_path, tflite_writer):
    writer = tflite_writer()
    convolution(writer, padding=1)
    graph = read(write(tmp_path / "conv.tflite", writer))
    assert graph.layers[0].operator.padding == (0, 0, 0, 0)
    assert graph["features"].shape == (1, 3, 3, 4)


def test_quantisation_is_kept_per_channel_and_per_tensor(tmp_path, tflite_writer):
    writer = tflite_writer()
    convolution(writer)
    graph = read(write(tmp_path / "conv.tflite", writer))
    assert graph["image"].quantization.axis is None
    assert graph["image"].quantization.zero_point.tolist() == [-3]
    weights = graph["weights"].quantization
    assert weights.axis == 0
    np.testing.assert_array_equal(weights.scale, np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    np.testing.assert_array_equal(graph["weights"].materialize(), np.ones((4, 3, 3, 3), np.int8))


@pytest.mark.parametrize(
    ("fused", "clamp"), [(0, Clamp()), (1, Clamp(0.0, math.inf)), (2, Clamp(-1.0, 1.0)), (3, Clamp(0.0, 6.0))]
)
def test_fused_activations_become_clamps(tmp_path, tflite_writer, fused, clamp):
    writer = tflite_writer()
    convolution(writer, fused=fused)
    assert read(write(tmp_path / "conv.tflite", writer)).layers[0].operator.activation == clamp


def test_a_channel_multiplier_follows_from_the_weights(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((1, 5, 5, 2), "FLOAT32")
    w = writer.tensor((1, 3, 3, 6), "FLOAT32", data=np.zeros((1, 3, 3, 6), np.float32))
    y = writer.tensor((1, 3, 3, 6), "FLOAT32")
    writer.operator(
        "DEPTHWISE_CONV_2D", [x, w], y, "DepthwiseConv2DOptions", Padding=1, StrideH=1, StrideW=1, DepthMultiplier=3,
        DilationHFactor=1, DilationWFactor=1,
    )  # fmt: skip
    graph = read(write(tmp_path / "depthwise.tflite", writer))
    assert graph.layers[0].operator == DepthwiseConv2d(multiplier=3)
    assert (graph.arithmetic, graph.macs) == ("none", 9 * 6 * 9)


def test_a_fully_connected_layer_flattens_its_input(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((1, 2, 3, 4), "FLOAT32", name="x")
    w = writer.tensor((5, 24), "FLOAT32", data=np.zeros((5, 24), np.float32))
    writer.operator("FULLY_CONNECTED", [x, w, -1], writer.tensor((1, 5), "FLOAT32"), "FullyConnectedOptions")
    graph = read(write(tmp_path / "dense.tflite", writer))
    assert [layer.operator for layer in graph.layers] == [Reshape(), FullyConnected()]
    assert graph["x:reshape"].shape == (1, 24)


def test_a_product_of_transposed_activations_gets_a_transpose(tmp_path, tflite_writer):
    writer = tflite_writer()
    a, b = writer.input((2, 3, 4), "FLOAT32"), writer.input((2, 5, 4), "FLOAT32")
    writer.operator("BATCH_MATMUL", [a, b], writer.tensor((2, 3, 5), "FLOAT32"), "BatchMatMulOptions", AdjY=True)
    graph = read(write(tmp_path / "product.tflite", writer))
    assert [layer.operator for layer in graph.layers] == [Transpose((0, 2, 1)), MatMul()]
    assert graph.macs == 2 * 3 * 5 * 4


def test_padding_and_pooling_take_their_amounts_from_the_file(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((1, 4, 4, 2), "INT8", 0.5, 3)
    amounts = np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32)
    constant = writer.tensor((4, 2), "INT32", data=amounts)
    value = writer.tensor((1,), "INT8", 0.5, 3, data=np.array([5], np.int8))
    padded = writer.operator("PADV2", [x, constant, value], writer.tensor((1, 7, 5, 2), "INT8", 0.5, 3))
    writer.operator(
        "MAX_POOL_2D", [padded], writer.tensor((1, 3, 2, 2), "INT8", 0.5, 3), "Pool2DOptions", Padding=1, StrideH=2,
        StrideW=2, FilterHeight=3, FilterWidth=2,
    )  # fmt: skip
    first, second = read(write(tmp_path / "pool.tflite", writer)).layers
    assert first.operator == Pad(((0, 0), (1, 2), (0, 1), (0, 0)), (5 - 3) * 0.5)
    assert second.operator == Pool2d("max", (3, 2), (2, 2))


def test_four_bit_weights_are_unpacked_low_half_first(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((1, 3), "INT8", 0.5)
    w = writer.tensor((1, 3), "INT4", 0.25, data=np.array([0xF1, 0x08], np.uint8), name="weights")
    writer.operator("FULLY_CONNECTED", [x, w], writer.tensor((1, 1), "INT8", 1.0), "FullyConnectedOptions")
    weights = read(write(tmp_path / "int4.tflite", writer))["weights"]
    assert weights.dtype == "int8"
    assert weights.materialize().tolist() == [[1, -1, -8]]


def test_equal_tensor_names_are_told_apart(tmp_path, tflite_writer):
    writer = tflite_writer()
    x = writer.input((2, 2), "FLOAT32", name="same")
    y = writer.operator("RELU", [x], writer.tensor((2, 2), "FLOAT32", name="same"))
    writer.operator("RELU6", [y], writer.tensor((2, 2), "FLOAT32", name=""))
    graph = read(write(tmp_path / "names.tflite", writer))
    assert len(graph.tensors) == 3
    assert graph.inputs == ("same:0",)


def test_a_dynamic_batch_takes_the_size_that_is_given(tmp_path, tflite_writer):
    writer = tflite_writer()
    convolution(writer, signature=(-1, 8, 8, 3))
    path = write(tmp_path / "batch.tflite", writer)
    assert read(path)["features"].shape == (1, 4, 4, 4)
    assert read(path, sizes={"batch": 3})["features"].shape == (3, 4, 4, 4)
    assert read(path, sizes={"image.0": 2})["features"].shape == (2, 4, 4, 4)


def test_a_size_that_fits_no_dynamic_axis_is_refused(tmp_path, tflite_writer):
    writer = tflite_writer()
    convolution(writer, signature=(-1, 8, 8, 3))
    with pytest.raises(InputError, match=r"size 'image\.1' fits no dynamic axis; did you mean 'image\.0'\?"):
        read(write(tmp_path / "batch.tflite", writer), sizes={"image.1": 9})


@pytest.mark.parametrize(
    ("name", "layers", "macs"),
    [("ad01_int8", 10, 264_192), ("ic_resnet8_int8", 16, 12_501_632), ("kws_dscnn_int8", 13, 2_656_768),
     ("vww_mobilenet025_int8", 31, 7_489_664), ("sww_dscnn1d_int8", 11, 826_368), ("ic_resnet8_float", 16, 12_501_632)],
)  # fmt: skip
def test_the_mlperf_tiny_networks_are_read(name, layers, macs):
    path = MODELS / f"{name}.tflite"
    if not path.exists():
        pytest.skip("the sibling folder 'shared' with the trained models is absent")
    graph = read(path)
    assert (len(graph.layers), graph.macs) == (layers, macs)
    assert graph.arithmetic == ("none" if name.endswith("float") else "litert")
