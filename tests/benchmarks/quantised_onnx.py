"""ONNX models of the quantised operators onnxruntime runs fastest: unsigned activations, signed symmetric weights."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RESNET50_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride of the first block
ZERO_POINTS = {"uint8": np.uint8(128), "int8": np.int8(0)}
TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


class Builder:
    """Nodes and constants of one model, a node at a time."""

    def __init__(self, dtype="uint8", seed=0):
        self.random, self.dtype = np.random.default_rng(seed), dtype
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, values):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op, inputs, **attributes):
        self.count += 1
        output = f"t{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [output], f"{op}_{self.count}", **attributes))
        return output

    def scale(self, value, zero_point=None):
        point = ZERO_POINTS[self.dtype] if zero_point is None else zero_point
        return [self.constant(np.float32(value)), self.constant(point)]

    def weights(self, shape):
        # Without VNNI onnxruntime's products saturate beyond 64; its time does not depend on the values.
        values = np.rint(self.random.normal(0, 20, shape))
        return self.constant(np.clip(values, -64, 64).astype(np.int8))

    def conv(self, x, channels, outputs, size=1, stride=1, pad=0, group=1, **more):
        depth = channels // group * size * size
        scales = np.full(outputs, 1 / (20 * np.sqrt(depth)), np.float32)
        weights = [
            self.weights((outputs, channels // group, size, size)),
            self.constant(scales),
            self.constant(np.zeros(outputs, np.int8)),
        ]
        bias = self.constant(self.random.integers(-500, 500, outputs).astype(np.int32))
        return self.node(
            "QLinearConv", [x, *self.scale(0.02), *weights, *self.scale(0.02), bias],
            kernel_shape=[size, size], pads=[pad] * 4, strides=[stride] * 2, group=group, **more,
        )  # fmt: skip

    def matmul(self, x, depth, outputs):
        scale = self.scale(1 / (20 * np.sqrt(depth)), np.int8(0))
        return self.node(
            "QLinearMatMul", [x, *self.scale(0.02), self.weights((depth, outputs)), *scale, *self.scale(0.02)]
        )

    def add(self, a, b):
        return self.node(
            "QLinearAdd", [a, *self.scale(0.02), b, *self.scale(0.02), *self.scale(0.02)], domain="com.microsoft"
        )

    def model(self, x_shape, y, y_shape):
        inputs = [helper.make_tensor_value_info("x", TYPES[self.dtype], x_shape)]
        outputs = [helper.make_tensor_value_info(y, TYPES[self.dtype], y_shape)]
        graph = helper.make_graph(self.nodes, "quantised", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def input(self, shape):
        return self.random.integers(0, 256, shape).astype(np.uint8).view(self.dtype)


def resnet50(seed=0):
    """Return (model, input): ResNet-50 for one image of 224x224 with random weights."""
    build = Builder(seed=seed)
    x = build.conv("x", 3, 64, 7, 2, 3)
    x, channels = build.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 64
    for width, blocks, first_stride in RESNET50_STAGES:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            shortcut = build.conv(x, channels, 4 * width, 1, stride) if block == 0 else x
            y = build.conv(build.conv(x, channels, width), width, width, 3, stride, 1)
            x, channels = build.add(build.conv(y, width, 4 * width), shortcut), 4 * width
    x = build.node(
        "QLinearGlobalAveragePool", [x, *build.scale(0.02), *build.scale(0.02)], domain="com.microsoft", channels_last=0
    )
    x = build.matmul(build.node("Flatten", [x], axis=1), channels, 1000)
    return build.model([1, 3, 224, 224], x, [1, 1000]), build.input((1, 3, 224, 224))


def session(model: onnx.ModelProto, threads=1):
    """Return an onnxruntime session that uses so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Its threads would go on spinning on the cores that the next measurement needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
