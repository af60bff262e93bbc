"""Nonlinear, resizing, 16-bit, 4-bit and recurrent kernels against LiteRT's reference kernels, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import tflite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.execute import plan, run
from workloads.kernels.packing import pack
from workloads.readers.tflite import read

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

LIMITS = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767)}
SAME, VALID = range(2)
TANH = 4


class Maker:
    """Random tensors for one model, from a seeded generator; ``check`` compares with the interpreter."""

    def __init__(self, writer, seed, kind):
        self.writer, self.random, self.kind = writer, np.random.default_rng(seed), kind
        self.low, self.high = LIMITS[kind]

    def scale(self, low=-9.0, high=-2.0):
        return np.float32(2.0 ** self.random.uniform(low, high))

    def zero_point(self):
        if self.kind == "INT16":
            return 0
        return int(self.random.choice([self.low, self.high, self.random.integers(self.low, self.high + 1)]))

    def input(self, shape, scale=None):
        return self.writer.input(shape, self.kind, self.scale() if scale is None else scale, self.zero_point())

    def output(self, shape, scale=None):
        return self.writer.tensor(shape, self.kind, self.scale() if scale is None else scale, self.zero_point())

    def twin(self, source, shape):
        tensor = self.writer.tensors[source]
        return self.writer.tensor(shape, self.kind, tensor["scales"], tensor["zero_points"])

    def constant(self, values):
        data = np.array(values, np.int32)
        return self.writer.tensor(data.shape, "INT32", data=data)

    def weights(self, shape, axis=0, *, four_bits=False):
        scales = np.array([self.scale(-12, -6) for _ in range(shape[axis])], np.float32)
        if four_bits:
            data = self.random.integers(-7, 8, shape)
            return self.writer.tensor(shape, "INT4", scales, data=pack(data), axis=axis)
        return self.writer.tensor(
            shape, "INT8", scales, data=self.random.integers(-127, 128, shape).astype(np.int8), axis=axis
        )

    def bias(self, source, weights, dtype="int32"):
        tensor = self.writer.tensors[weights]
        scales = self.writer.tensors[source]["scales"] * tensor["scales"]
        limit = 5000 if dtype == "int32" else 10**8
        data = self.random.integers(-limit, limit, scales.size).astype(dtype)
        return self.writer.tensor((scales.size,), dtype.upper(), scales, data=data)

    def check(self, tmp_path, runs=2):
        model = self.writer.build()
        path = tmp_path / "model.tflite"
        path.write_bytes(model)
        graph = read(path)
        options = {
            "experimental_op_resolver_type": litert.OpResolverType.BUILTIN_REF,
            "experimental_preserve_all_tensors": True,
        }
        reference = litert.Interpreter(model_content=model, **options)
        reference.allocate_tensors()
        names, states = {item["name"]: item["index"] for item in reference.get_tensor_details()}, {}
        for _ in range(runs):
            arrays = {}
            for name in graph.inputs:
                values = self.random.integers(self.low, self.high + 1, graph[name].shape)
                if self.random.integers(8) == 0:
                    values = np.full(graph[name].shape, self.random.choice([self.low, self.high]))
                arrays[name] = values.astype(graph[name].dtype)
                reference.set_tensor(names[name], arrays[name])
            reference.invoke()
            for name, array in run(plan(graph), arrays, states).items():
                if name in names:
                    np.testing.assert_array_equal(array, reference.get_tensor(names[name]), err_msg=name)


def sixteen_bit_scale(make):
    """Any scale, a power of two, or nearly one: the kernels take a shorter way there."""
    near = 2.0 ** (int(make.random.integers(-14, -9)) + float(make.random.choice([0, 9e-4, -9e-4, 2e-3])))
    return make.scale(-15, -9) if make.random.integers(2) else np.float32(near)


def nonlinear(name, options=None, **fields):
    def build(make):
        shape = tuple(make.random.integers(1, 9, 2).tolist())
        x = make.input((*shape, 40), make.scale(-8, 1) if make.kind != "INT16" else sixteen_bit_scale(make))
        scale = make.scale(-9, -3) if name in ("GELU", "HARD_SWISH") else np.float32(2.0**-8)
        if make.kind == "INT16":
            scale = np.float32(2.0**-15)
        if name == "HARD_SWISH":  # the kernel requires an output scale of at least 1/128 of the input's
            scale = np.float32(make.writer.tensors[x]["scales"][0] * 2.0 ** make.random.uniform(-6, 2))
        y = make.output((*shape, 40), scale)
        if name in ("LOGISTIC", "TANH") and make.kind != "INT16":
            fixed = (2.0**-8, make.low) if name == "LOGISTIC" else (2.0**-7, make.low + 128)
            y = make.writer.tensor((*shape, 40), make.kind, *fixed)
        make.writer.operator(name, [x], y, options, **fields)

    return build


def resize(name, options):
    def build(make):
        random = make.random
        size, wanted = random.integers(1, 12, 2).tolist(), random.integers(1, 15, 2).tolist()
        channels = int(random.integers(1, 4))
        corners = bool(random.integers(2))
        fields = {"AlignCorners": corners, "HalfPixelCenters": not corners and bool(random.integers(2))}
        x = make.input((2, *size, channels))
        make.writer.operator(name, [x, make.constant(wanted)], make.twin(x, (2, *wanted, channels)), options, **fields)

    return build


def transpose_conv(make):
    random = make.random
    channels, outputs = int(random.integers(1, 6)), int(random.integers(1, 6))
    kernel, stride = random.integers(1, 5, 2).tolist(), random.integers(1, 4, 2).tolist()
    size, padding = random.integers(1, 6, 2).tolist(), int(random.integers(2))
    wanted = [
        size[axis] * stride[axis] if padding == SAME else (size[axis] - 1) * stride[axis] + kernel[axis]
        for axis in range(2)
    ]
    x = make.input((1, *size, channels))
    w = make.weights((outputs, *kernel, channels))
    bias = [make.bias(x, w, "int64" if make.kind == "INT16" else "int32")] if random.integers(3) else []
    shape = make.constant([1, *wanted, outputs])
    make.writer.operator(
        "TRANSPOSE_CONV", [shape, w, x, *bias], make.output((1, *wanted, outputs)), "TransposeConvOptions",
        Padding=padding, StrideH=stride[0], StrideW=stride[1], FusedActivationFunction=int(random.integers(4)),
    )  # fmt: skip


def elementwise(name, options):
    def build(make):
        shape = tuple(make.random.integers(1, 6, 4).tolist())
        other = tuple(extent if make.random.integers(2) else 1 for extent in shape)
        fields = {"FusedActivationFunction": int(make.random.integers(4))}
        if make.kind == "INT16" and name in ("ADD", "SUB"):
            fields["PotScaleInt16"] = False
        a, b = make.input(shape), make.input(other)
        make.writer.operator(name, [a, b], make.output(shape), options, **fields)

    return build


def extremum(name):
    def build(make):
        shape = tuple(make.random.integers(1, 6, 4).tolist())
        other = tuple(extent if make.random.integers(2) else 1 for extent in shape)
        a = make.input(shape)
        b = make.twin(a, other)
        make.writer.inputs.append(b)
        make.writer.operator(name, [a, b], make.twin(a, shape), "MaximumMinimumOptions")

    return build


def conv2d(make, *, four_bits=False, bias="int64"):
    random = make.random
    channels, outputs, kernel = (
        int(random.integers(1, 6)),
        int(random.integers(1, 6)),
        random.integers(1, 4, 2).tolist(),
    )
    x = make.input((2, 7, 8, channels), make.scale(-14, -8) if make.kind == "INT16" else None)
    w = make.weights((outputs, *kernel, channels), four_bits=four_bits)
    inputs = [x, w] + ([make.bias(x, w, bias)] if bias else [])
    scale = make.scale(-12, -6) if make.kind == "INT16" else make.scale()
    y = make.output((2, 7, 8, outputs), scale)
    make.writer.operator(
        "CONV_2D", inputs, y, "Conv2DOptions", Padding=SAME, StrideH=1, StrideW=1, DilationHFactor=1, DilationWFactor=1,
        FusedActivationFunction=int(random.integers(4)), QuantizedBiasType=getattr(tflite.TensorType, bias.upper()),
    )  # fmt: skip


def depthwise_conv2d(make, *, four_bits=False, bias="int64"):
    random = make.random
    channels, kernel = int(random.integers(1, 6)), random.integers(1, 4, 2).tolist()
    multiplier = int(random.integers(1, 4))
    x = make.input((1, 7, 8, channels), make.scale(-14, -8) if make.kind == "INT16" else None)
    w = make.weights((1, *kernel, channels * multiplier), 3, four_bits=four_bits)
    inputs = [x, w] + ([make.bias(x, w, bias)] if bias else [])
    y = make.output((1, 7, 8, channels * multiplier), make.scale(-12, -6) if make.kind == "INT16" else None)
    make.writer.operator(
        "DEPTHWISE_CONV_2D", inputs, y, "DepthwiseConv2DOptions", Padding=SAME, StrideH=1, StrideW=1,
        DepthMultiplier=multiplier, DilationHFactor=1, DilationWFactor=1, FusedActivationFunction=0,
    )  # fmt: skip


def fully_connected(make, *, four_bits=False, bias="int64"):
    rows, depth, columns = (int(make.random.integers(1, limit)) for limit in (6, 900, 12))
    x = make.input((rows, depth), make.scale(-14, -8) if make.kind == "INT16" else None)
    scale = np.array([make.scale(-12, -6)])
    data = (
        make.random.integers(-7, 8, (columns, depth))
        if four_bits
        else make.random.integers(-127, 128, (columns, depth))
    )
    w = make.writer.tensor(
        (columns, depth), "INT4" if four_bits else "INT8", scale, data=pack(data) if four_bits else data.astype(np.int8)
    )
    inputs = [x, w]
    if bias:
        scales = make.writer.tensors[x]["scales"] * scale
        values = make.random.integers(-5000, 5000, columns).astype(bias)
        inputs.append(make.writer.tensor((columns,), bias.upper(), scales, data=values))
    y = make.output((rows, columns), make.scale(-12, -6) if make.kind == "INT16" else None)
    make.writer.operator("FULLY_CONNECTED", inputs, y, "FullyConnectedOptions", FusedActivationFunction=0)


def fully_connected_ties(make):
    """Powers of two as scales: a quarter of the outputs are exact ties, of both signs."""
    rows, depth, columns = 4, int(make.random.integers(1, 30)), 9
    x = make.writer.input((rows, depth), make.kind, 2.0**-4)
    data = make.random.integers(-3, 4, (columns, depth)).astype(np.int8)
    w = make.writer.tensor((columns, depth), "INT8", 2.0**-6, data=data)
    y = make.writer.tensor((rows, columns), make.kind, 2.0**-8)
    make.writer.operator("FULLY_CONNECTED", [x, w], y, "FullyConnectedOptions")


def batch_matmul(make):
    batch, m, k, n = (int(make.random.integers(1, limit)) for limit in (4, 6, 40, 8))
    a, b = make.input((batch, m, k), make.scale(-14, -8)), make.input((batch, k, n), make.scale(-14, -8))
    make.writer.operator("BATCH_MATMUL", [a, b], make.output((batch, m, n), make.scale(-12, -8)), "BatchMatMulOptions")


def pool2d(name):
    def build(make):
        x = make.input((2, 6, 7, 3))
        make.writer.operator(
            name, [x], make.twin(x, (2, 3, 4, 3)), "Pool2DOptions", Padding=SAME, StrideH=2, StrideW=2,
            FilterHeight=int(make.random.integers(1, 4)), FilterWidth=int(make.random.integers(1, 4)),
        )  # fmt: skip

    return build


def softmax(make):
    shape = (int(make.random.integers(1, 4)), int(make.random.integers(1, 40)))
    x = make.input(shape, make.scale(-14, -9))
    y = make.writer.tensor(shape, "INT16", 2.0**-15)
    make.writer.operator("SOFTMAX", [x], y, "SoftmaxOptions", Beta=float(make.random.choice([1.0, 0.5, 2.0])))


def mean(make):
    axes = [(1, 2), (1,), (3,), (2, 1)][make.random.integers(4)]
    shape = (2, 3, 5, 4)
    output = tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    x = make.input(shape)
    y = make.twin(x, output) if make.random.integers(2) else make.output(output)
    make.writer.operator("MEAN", [x, make.constant(list(axes))], y, "ReducerOptions", KeepDims=True)


def movement(make):
    x = make.input((2, 3, 4))
    y = make.writer.operator("TRANSPOSE", [x, make.constant([2, 0, 1])], make.twin(x, (4, 2, 3)))
    z = make.writer.operator("PAD", [y, make.constant([[0, 1], [2, 0], [1, 1]])], make.twin(x, (5, 4, 5)))
    make.writer.operator("RESHAPE", [z, make.constant([5, 20])], make.twin(x, (5, 20)), "ReshapeOptions")


def requantize(make):
    x = make.input((3, 50), make.scale(-14, -8))
    make.writer.operator("QUANTIZE", [x], make.output((3, 50), make.scale(-14, -8)), "QuantizeOptions")


def to_eight_bits(make):
    x = make.input((3, 50), make.scale(-14, -8))
    y = make.writer.tensor((3, 50), "INT8", make.scale(-9, -4), int(make.random.integers(-128, 128)))
    make.writer.operator("QUANTIZE", [x], y, "QuantizeOptions")


def svdf(make):
    random = make.random
    batch, depth, rank, units, steps = (int(random.integers(1, limit)) for limit in (4, 20, 4, 6, 8))
    filters = rank * units
    x = make.input((batch, depth))
    writer = make.writer
    feature = writer.tensor(
        (filters, depth), "INT8", make.scale(-9, -6), data=random.integers(-127, 128, (filters, depth)).astype(np.int8)
    )
    time = writer.tensor(
        (filters, steps),
        "INT16",
        make.scale(-16, -13),
        data=random.integers(-32767, 32768, (filters, steps)).astype(np.int16),
    )
    state = writer.tensor((batch, filters * steps), "INT16", make.scale(-14, -10), variable=True)
    bias = (
        writer.tensor(
            (units,),
            "INT32",
            writer.tensors[state]["scales"] * writer.tensors[time]["scales"],
            data=random.integers(-9000, 9000, units).astype(np.int32),
        )
        if random.integers(3)
        else -1
    )
    y = make.output((batch, units), make.scale(-6, -2))
    writer.operator("SVDF", [x, feature, time, bias, state], y, "SVDFOptions", Rank=rank, FusedActivationFunction=1)


def lstm(make):
    random, writer = make.random, make.writer
    batch, steps, depth, units = (int(random.integers(1, limit)) for limit in (4, 6, 12, 8))
    major = bool(random.integers(2))
    x = make.input((steps, batch, depth) if major else (batch, steps, depth), make.scale(-7, -5))
    hidden_scale, hidden_zero = make.scale(-8, -6.5), int(random.integers(-20, 20))

    def weights(shape):
        return writer.tensor(shape, "INT8", make.scale(-8, -6), data=random.integers(-127, 128, shape).astype(np.int8))

    into = [weights((units, depth)) for _ in range(4)]
    recurrent = [weights((units, units)) for _ in range(4)]
    biases = [
        writer.tensor(
            (units,),
            "INT32",
            writer.tensors[x]["scales"] * writer.tensors[w]["scales"],
            data=random.integers(-9000, 9000, units).astype(np.int32),
        )
        for w in into
    ]
    hidden = writer.tensor((batch, units), "INT8", hidden_scale, hidden_zero, variable=True)
    cell = writer.tensor((batch, units), "INT16", 2.0 ** -int(random.integers(10, 15)), variable=True)
    y = writer.tensor((steps, batch, units) if major else (batch, steps, units), "INT8", hidden_scale, hidden_zero)
    between = [writer.tensor((0,), "INT16", 2.0**-12) for _ in range(4)]
    between.append(writer.tensor((0,), "INT8", hidden_scale, hidden_zero))
    inputs = [x, *into, *recurrent, -1, -1, -1, *biases, -1, -1, hidden, cell, -1, -1, -1, -1]
    writer.operator(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, y, "UnidirectionalSequenceLSTMOptions", FusedActivationFunction=TANH,
        TimeMajor=major, CellClip=float(random.choice([0.0, 1.5])),
    )  # fmt: skip
    writer.operators[-1].intermediates = between


def with_options(build, **options):
    return lambda make: build(make, **options)


EVERY = {
    "resize_nearest": resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    "sub": elementwise("SUB", "SubOptions"), "minimum": extremum("MINIMUM"), "maximum": extremum("MAXIMUM"),
}  # fmt: skip
EIGHT = {
    "logistic": nonlinear("LOGISTIC"), "tanh": nonlinear("TANH"),
    "hard_swish": nonlinear("HARD_SWISH", "HardSwishOptions"),
    "gelu": nonlinear("GELU", "GeluOptions", Approximate=False),
    "gelu_approximate": nonlinear("GELU", "GeluOptions", Approximate=True),
}  # fmt: skip
INT8 = {
    "resize_bilinear": resize("RESIZE_BILINEAR", "ResizeBilinearOptions"), "transpose_conv": transpose_conv,
    "svdf": svdf, "lstm": lstm, "fully_connected_ties": fully_connected_ties,
    "conv2d_int4": with_options(conv2d, four_bits=True, bias="int32"),
    "depthwise_conv2d_int4": with_options(depthwise_conv2d, four_bits=True, bias="int32"),
    "fully_connected_int4": with_options(fully_connected, four_bits=True, bias="int32"),
}  # fmt: skip
INT16 = {
    "resize_bilinear": INT8["resize_bilinear"], "transpose_conv": transpose_conv,
    "logistic": EIGHT["logistic"], "tanh": EIGHT["tanh"],
    "conv2d": conv2d, "conv2d_bias32": with_options(conv2d, bias="int32"),
    "depthwise_conv2d": depthwise_conv2d, "depthwise_conv2d_no_bias": with_options(depthwise_conv2d, bias=None),
    "fully_connected_ties": fully_connected_ties, "fully_connected": fully_connected,
    "fully_connected_no_bias": with_options(fully_connected, bias=None),
    "batch_matmul": batch_matmul, "add": elementwise("ADD", "AddOptions"), "mul": elementwise("MUL", "MulOptions"),
    "average_pool2d": pool2d("AVERAGE_POOL_2D"), "max_pool2d": pool2d("MAX_POOL_2D"), "softmax": softmax, "mean": mean,
    "movement": movement, "requantize": requantize, "to_eight_bits": to_eight_bits,
}  # fmt: skip
BUILDERS = {
    **{(name, kind): build for name, build in EVERY.items() for kind in ("INT8", "UINT8", "INT16")},
    **{(name, kind): build for name, build in EIGHT.items() for kind in ("INT8", "UINT8")},
    **{(name, "INT8"): build for name, build in INT8.items()},
    **{(name, "INT16"): build for name, build in INT16.items()},
}


@pytest.mark.parametrize(("name", "kind"), BUILDERS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_an_operator_with_random_parameters_is_bit_identical(name, kind, seed, tflite_writer, tmp_path):
    make = Maker(tflite_writer(), seed, kind)
    BUILDERS[name, kind](make)
    make.check(tmp_path)
