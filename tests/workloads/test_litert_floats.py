"""Float forms of the nonlinear, resizing, transposed and recurrent operators against LiteRT, within float tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.execute import plan, run
from workloads.readers.tflite import read

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

SAME, TANH = 0, 4


class Net:
    """One float model, its weights from a seeded generator."""

    def __init__(self, writer):
        self.writer, self.random = writer, np.random.default_rng(3)

    def input(self, *shape):
        return self.writer.input(shape, "FLOAT32")

    def output(self, *shape):
        return self.writer.tensor(shape, "FLOAT32")

    def weights(self, *shape):
        return self.writer.tensor(shape, "FLOAT32", data=self.random.normal(0, 0.5, shape).astype(np.float32))

    def constant(self, values):
        data = np.array(values, np.int32)
        return self.writer.tensor(data.shape, "INT32", data=data)

    def state(self, *shape):
        return self.writer.tensor(shape, "FLOAT32", variable=True)


def function(name, options=None, **fields):
    return lambda net: net.writer.operator(name, [net.input(4, 9)], net.output(4, 9), options, **fields)


def pair(name, options, **fields):
    def build(net):
        net.writer.operator(name, [net.input(3, 4), net.input(1, 4)], net.output(3, 4), options, **fields)

    return build


def resize(name, options, **fields):
    def build(net):
        inputs = [net.input(1, 4, 5, 2), net.constant([7, 3])]
        net.writer.operator(name, inputs, net.output(1, 7, 3, 2), options, **fields)

    return build


def transpose_conv(net):
    inputs = [net.constant([1, 8, 6, 3]), net.weights(3, 3, 2, 4), net.input(1, 4, 3, 4)]
    fields = {"Padding": SAME, "StrideH": 2, "StrideW": 2}
    net.writer.operator("TRANSPOSE_CONV", inputs, net.output(1, 8, 6, 3), "TransposeConvOptions", **fields)


def svdf(net):
    x = net.input(2, 5)
    inputs = [x, net.weights(6, 5), net.weights(6, 4), net.weights(3), net.state(2, 24)]
    net.writer.operator("SVDF", inputs, net.output(2, 3), "SVDFOptions", Rank=2)


def lstm(net):
    x, gates = net.input(3, 2, 5), [net.weights(4, 5) for _ in range(4)] + [net.weights(4, 4) for _ in range(4)]
    biases = [net.weights(4) for _ in range(4)]
    inputs = [x, *gates, -1, -1, -1, *biases, -1, -1, net.state(2, 4), net.state(2, 4)]
    fields = {"FusedActivationFunction": TANH, "TimeMajor": True, "CellClip": 0.8}
    net.writer.operator(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, net.output(3, 2, 4), "UnidirectionalSequenceLSTMOptions", **fields
    )


BUILDERS = {
    "logistic": function("LOGISTIC"), "tanh": function("TANH"),
    "hard_swish": function("HARD_SWISH", "HardSwishOptions"),
    "gelu": function("GELU", "GeluOptions"), "gelu_approximate": function("GELU", "GeluOptions", Approximate=True),
    "sub": pair("SUB", "SubOptions"), "minimum": pair("MINIMUM", "MaximumMinimumOptions"),
    "maximum": pair("MAXIMUM", "MaximumMinimumOptions"), "transpose_conv": transpose_conv, "svdf": svdf, "lstm": lstm,
    "nearest": resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", HalfPixelCenters=True),
    "bilinear": resize("RESIZE_BILINEAR", "ResizeBilinearOptions"),
    "bilinear_corners": resize("RESIZE_BILINEAR", "ResizeBilinearOptions", AlignCorners=True),
    "bilinear_centers": resize("RESIZE_BILINEAR", "ResizeBilinearOptions", HalfPixelCenters=True),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILDERS)
def test_a_float_operator_agrees_with_litert_also_in_its_second_run(name, tflite_writer, tmp_path):
    net = Net(tflite_writer())
    BUILDERS[name](net)
    model, path, states = net.writer.build(), tmp_path / "model.tflite", {}
    path.write_bytes(model)
    graph = read(path)
    kind = litert.OpResolverType.BUILTIN_REF
    reference = litert.Interpreter(model_content=model, experimental_op_resolver_type=kind)
    reference.allocate_tensors()
    for _ in range(2):
        arrays = {x: net.random.normal(0, 2, graph[x].shape).astype(np.float32) for x in graph.inputs}
        for item in reference.get_input_details():
            reference.set_tensor(item["index"], arrays[item["name"]])
        reference.invoke()
        found = run(plan(graph), arrays, states)[graph.outputs[0]]
        expected = reference.get_tensor(reference.get_output_details()[0]["index"])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
