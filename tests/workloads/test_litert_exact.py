"""Integer kernels against LiteRT's reference kernels, bit by bit, on every tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.execute import plan, run
from workloads.readers.tflite import read

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")

MODELS = Path(__file__).parents[2].parent / "shared" / "models" / "mlperf_tiny"
MACS = {  # mlcommons/tiny@1afd2c9820f7, counted from the layer shapes of the trained models
    "ad01_int8": 264_192,
    "ic_resnet8_int8": 12_501_632,
    "kws_dscnn_int8": 2_656_768,
    "vww_mobilenet025_int8": 7_489_664,
    "sww_dscnn1d_int8": 826_368,
}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
SAME, VALID = range(2)


def interpreter(source):
    options = {
        "experimental_op_resolver_type": litert.OpResolverType.BUILTIN_REF,
        "experimental_preserve_all_tensors": True,
    }
    name = "model_content" if isinstance(source, bytes) else "model_path"
    made = litert.Interpreter(**{name: source if isinstance(source, bytes) else str(source)}, **options)
    made.allocate_tensors()
    return made


def assert_identical(reference, prepared, arrays):
    """Every tensor of our run equals the interpreter's, and every tensor that a layer computes is compared."""
    names = {item["name"]: item for item in reference.get_tensor_details()}
    for name, array in arrays.items():
        reference.set_tensor(names[name]["index"], array)
    reference.invoke()
    ours = run(prepared, arrays)
    for name, array in ours.items():
        if name in names:
            np.testing.assert_array_equal(array, reference.get_tensor(names[name]["index"]), err_msg=name)
    assert all(":" in name for name in set(ours) - set(names))  # only what the reader inserts is not compared


@pytest.mark.parametrize("name", MACS)
def test_the_mlperf_tiny_networks_are_bit_identical_to_the_reference_kernels(name):
    path = MODELS / f"{name}.tflite"
    if not path.exists():
        pytest.skip("the sibling folder 'shared' with the trained models is absent")
    graph = read(path)
    assert graph.macs == MACS[name]
    (only,) = graph.inputs
    tensor, prepared, reference = graph[only], plan(graph), interpreter(path)
    generator = np.random.default_rng(7)
    samples = [generator.integers(-128, 128, tensor.shape, np.int8) for _ in range(32)]
    samples += [np.full(tensor.shape, value, np.int8) for value in (-128, 127, tensor.quantization.zero_point[0])]
    for sample in samples:
        assert_identical(reference, prepared, {only: sample})


def test_the_float_network_agrees_with_litert_within_float_tolerance():
    path = MODELS / "ic_resnet8_float.tflite"
    if not path.exists():
        pytest.skip("the sibling folder 'shared' with the trained models is absent")
    graph, reference = read(path), interpreter(path)
    sample = np.random.default_rng(7).uniform(0, 255, graph[graph.inputs[0]].shape).astype(np.float32)
    reference.set_tensor(reference.get_input_details()[0]["index"], sample)
    reference.invoke()
    ours = run(plan(graph), {graph.inputs[0]: sample})
    for item in reference.get_tensor_details():
        if item["name"] in ours:
            expected = reference.get_tensor(item["index"])
            tolerance = 1e-5 * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(ours[item["name"]], expected, rtol=1e-4, atol=tolerance)


# Models built here: one generator of random parameters per operator.


class Maker:
    """Random tensors for one model, from a seeded generator."""

    def __init__(self, writer, seed, kind="INT8"):
        self.writer, self.random, self.kind = writer, np.random.default_rng(seed), kind
        self.low, self.high = (-128, 127) if kind == "INT8" else (0, 255)

    def scale(self, low=-9.0, high=-2.0):
        return np.float32(2.0 ** self.random.uniform(low, high))

    def zero_point(self):
        return int(self.random.choice([self.low, self.high, self.random.integers(self.low, self.high + 1)]))

    def activation(self, shape, **kwargs):
        return self.writer.tensor(shape, self.kind, self.scale(), self.zero_point(), **kwargs)

    def input(self, shape):
        return self.writer.input(shape, self.kind, self.scale(), self.zero_point())

    def twin(self, source, shape):
        """A tensor with the quantisation of another."""
        tensor = self.writer.tensors[source]
        return self.writer.tensor(shape, self.kind, tensor["scales"], tensor["zero_points"])

    def weights(self, shape, axis, per_channel):
        count = shape[axis] if per_channel else 1
        if self.kind == "UINT8":  # per tensor, with a zero point
            data = self.random.integers(0, 256, shape).astype(np.uint8)
            return self.writer.tensor(shape, "UINT8", self.scale(-12, -6), self.zero_point(), data=data, axis=axis)
        data = self.random.integers(-127, 128, shape).astype(np.int8)
        scales = np.array([self.scale(-12, -6) for _ in range(count)], np.float32)
        return self.writer.tensor(shape, "INT8", scales, data=data, axis=axis)

    def bias(self, source, weights):
        scales = self.writer.tensors[source]["scales"] * self.writer.tensors[weights]["scales"]
        shape = self.writer.tensors[weights]["shape"]
        channels = shape[self.writer.tensors[weights]["axis"]]
        data = self.random.integers(-5000, 5000, channels).astype(np.int32)
        return self.writer.tensor((channels,), "INT32", scales, data=data)

    def constant(self, values):
        data = np.array(values, np.int32)
        return self.writer.tensor(data.shape, "INT32", data=data)

    def check(self, tmp_path, runs=2):
        model = self.writer.build()
        path = tmp_path / "model.tflite"
        path.write_bytes(model)
        graph, reference = read(path), interpreter(model)
        prepared = plan(graph)
        for _ in range(runs):
            arrays = {}
            for name in graph.inputs:
                tensor = graph[name]
                if tensor.dtype == "float32":
                    arrays[name] = self.random.normal(0, 3, tensor.shape).astype(np.float32)
                else:
                    arrays[name] = self.random.integers(self.low, self.high + 1, tensor.shape).astype(tensor.dtype)
            assert_identical(reference, prepared, arrays)


def window(random, limit=4):
    return {"Padding": int(random.integers(2)), "StrideH": int(random.integers(1, limit)),
            "StrideW": int(random.integers(1, limit))}  # fmt: skip


def extents(size, fields, kernel, dilation=(1, 1)):
    """Output extents by TensorFlow's own two formulas."""
    result = []
    for axis, stride in enumerate((fields["StrideH"], fields["StrideW"])):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        result.append(-(-size[axis] // stride) if fields["Padding"] == SAME else (size[axis] - span) // stride + 1)
    return tuple(result)


def conv2d(make):
    random = make.random
    groups = int(random.choice([1, 1, 2, 3]))
    channels, outputs = groups * int(random.integers(1, 6)), groups * int(random.integers(1, 6))
    kernel, dilation = tuple(random.integers(1, 4, 2).tolist()), tuple(random.integers(1, 3, 2).tolist())
    size = tuple(random.integers(7, 12, 2).tolist())
    fields = window(random)
    x = make.input((1, *size, channels))
    w = make.weights((outputs, *kernel, channels // groups), 0, bool(random.integers(2)))
    y = make.activation((1, *extents(size, fields, kernel, dilation), outputs))
    make.writer.operator(
        "CONV_2D", [x, w, make.bias(x, w)], y, "Conv2DOptions", **fields,
        DilationHFactor=dilation[0], DilationWFactor=dilation[1], FusedActivationFunction=int(random.integers(4)),
    )  # fmt: skip


def depthwise_conv2d(make):
    random = make.random
    channels, multiplier = int(random.integers(1, 9)), int(random.integers(1, 4))
    kernel, dilation = tuple(random.integers(1, 4, 2).tolist()), tuple(random.integers(1, 3, 2).tolist())
    size = tuple(random.integers(7, 12, 2).tolist())
    fields = window(random)
    x = make.input((1, *size, channels))
    w = make.weights((1, *kernel, channels * multiplier), 3, per_channel=True)
    y = make.activation((1, *extents(size, fields, kernel, dilation), channels * multiplier))
    make.writer.operator(
        "DEPTHWISE_CONV_2D", [x, w, make.bias(x, w)], y, "DepthwiseConv2DOptions", **fields,
        DepthMultiplier=multiplier, DilationHFactor=dilation[0], DilationWFactor=dilation[1],
        FusedActivationFunction=int(random.integers(4)),
    )  # fmt: skip


def fully_connected(make):
    random = make.random
    rows, depth, columns = (int(random.integers(1, limit)) for limit in (30, 70, 40))
    x = make.input((rows, depth))
    w = make.weights((columns, depth), 0, bool(random.integers(2)))
    inputs = [x, w] + ([make.bias(x, w)] if random.integers(4) else [])
    y = make.activation((rows, columns))
    make.writer.operator(
        "FULLY_CONNECTED", inputs, y, "FullyConnectedOptions", FusedActivationFunction=int(random.integers(4))
    )


def elementwise(name, options):
    def build(make):
        shape = tuple(make.random.integers(1, 6, 4).tolist())
        other = tuple(extent if make.random.integers(2) else 1 for extent in shape)
        a, b = make.input(shape), make.input(other if make.random.integers(2) else shape)
        fused = int(make.random.integers(4))
        make.writer.operator(name, [a, b], make.activation(shape), options, FusedActivationFunction=fused)

    return build


def pool2d(name):
    def build(make):
        random = make.random
        kernel = tuple(random.integers(1, 5, 2).tolist())
        size, channels = tuple(random.integers(5, 10, 2).tolist()), int(random.integers(1, 9))
        fields = window(random)
        x = make.input((1, *size, channels))
        y = make.twin(x, (1, *extents(size, fields, kernel), channels))
        make.writer.operator(
            name, [x], y, "Pool2DOptions", **fields, FilterHeight=kernel[0], FilterWidth=kernel[1],
            FusedActivationFunction=int(random.integers(4)),
        )  # fmt: skip

    return build


def mean(make):
    shape = tuple(make.random.integers(1, 8, 4).tolist())
    axes = [(1, 2), (1,), (3,), (2, 1), (-1,), (0, 1, 2, 3)][make.random.integers(6)]
    keep = bool(make.random.integers(2))
    reduced = {axis % 4 for axis in axes}
    output = tuple(1 if axis in reduced else extent for axis, extent in enumerate(shape) if keep or axis not in reduced)
    x = make.input(shape)
    y = make.twin(x, output) if make.random.integers(2) else make.activation(output)
    make.writer.operator("MEAN", [x, make.constant(list(axes))], y, "ReducerOptions", KeepDims=keep)


def softmax(make):
    shape = (int(make.random.integers(1, 4)), int(make.random.integers(1, 40)))
    x = make.writer.input(shape, make.kind, make.scale(-8, 0), make.zero_point())
    y = make.writer.tensor(shape, make.kind, 1 / 256, make.low)
    make.writer.operator("SOFTMAX", [x], y, "SoftmaxOptions", Beta=float(make.random.choice([1.0, 0.5, 2.0])))


def pad(make):
    shape = tuple(make.random.integers(1, 5, 4).tolist())
    amounts = make.random.integers(0, 3, (4, 2))
    x = make.input(shape)
    y = make.twin(x, tuple((np.array(shape) + amounts.sum(axis=1)).tolist()))
    make.writer.operator("PAD", [x, make.constant(amounts)], y)


def padv2(make):
    shape = tuple(make.random.integers(1, 5, 4).tolist())
    amounts = make.random.integers(0, 3, (4, 2))
    x = make.input(shape)
    tensor = make.writer.tensors[x]
    value = np.array([make.random.integers(make.low, make.high + 1)]).astype(make.kind.lower())
    constant = make.writer.tensor((1,), make.kind, tensor["scales"], tensor["zero_points"], data=value)
    y = make.twin(x, tuple((np.array(shape) + amounts.sum(axis=1)).tolist()))
    make.writer.operator("PADV2", [x, make.constant(amounts), constant], y)


def concatenation(make):
    shape, axis = tuple(make.random.integers(1, 5, 4).tolist()), int(make.random.integers(4))
    first = make.input(shape)
    others = [make.twin(first, shape) for _ in range(2)]
    make.writer.inputs += others
    output = tuple(3 * extent if position == axis else extent for position, extent in enumerate(shape))
    y = make.twin(first, output)
    make.writer.operator("CONCATENATION", [first, *others], y, "ConcatenationOptions", Axis=axis - 4)


def reshape_and_transpose(make):
    a, b, c = make.random.integers(1, 5, 3).tolist()
    x = make.input((a, b, c))
    y = make.writer.operator("TRANSPOSE", [x, make.constant([2, 0, 1])], make.twin(x, (c, a, b)))
    make.writer.operator("RESHAPE", [y, make.constant([c, a * b])], make.twin(x, (c, a * b)), "ReshapeOptions")


def relu(name):
    def build(make):
        shape = tuple(make.random.integers(1, 6, 3).tolist())
        x = make.input(shape)
        make.writer.operator(name, [x], make.activation(shape))

    return build


def requantize(make):
    x = make.input((3, 50))
    make.writer.operator("QUANTIZE", [x], make.activation((3, 50)), "QuantizeOptions")


def quantize_and_dequantize(make):
    x = make.writer.input((3, 50), "FLOAT32")
    y = make.writer.operator("QUANTIZE", [x], make.activation((3, 50)), "QuantizeOptions")
    make.writer.operator("DEQUANTIZE", [y], make.writer.tensor((3, 50), "FLOAT32"), "DequantizeOptions")


def batch_matmul(make):
    batch, m, k, n = (int(make.random.integers(1, limit)) for limit in (4, 6, 40, 8))
    a, b = make.input((batch, m, k)), make.input((batch, k, n))
    make.writer.operator("BATCH_MATMUL", [a, b], make.activation((batch, m, n)), "BatchMatMulOptions")


def batch_matmul_transposed(make):
    batch, m, k, n = (int(make.random.integers(1, limit)) for limit in (4, 6, 40, 8))
    a, b = make.input((batch, m, k)), make.input((batch, n, k))
    make.writer.operator("BATCH_MATMUL", [a, b], make.activation((batch, m, n)), "BatchMatMulOptions", AdjY=True)


def residual_network(make):
    """Convolution, depthwise, sum, pool, reshape, fully connected and softmax in one file."""
    writer, unit = make.writer, {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    x = make.input((1, 9, 8, 4))
    w = make.weights((4, 3, 3, 4), 0, per_channel=True)
    y = make.activation((1, 9, 8, 4))
    writer.operator("CONV_2D", [x, w, make.bias(x, w)], y, "Conv2DOptions", **unit, FusedActivationFunction=RELU)
    w = make.weights((1, 3, 3, 4), 3, per_channel=True)
    z = make.activation((1, 9, 8, 4))
    writer.operator(
        "DEPTHWISE_CONV_2D", [y, w, make.bias(y, w)], z, "DepthwiseConv2DOptions", **unit, DepthMultiplier=1
    )
    total = writer.operator("ADD", [x, z], make.activation((1, 9, 8, 4)), "AddOptions", FusedActivationFunction=RELU6)
    pooled = make.twin(total, (1, 4, 4, 4))
    window = {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2, "Padding": VALID}
    writer.operator("AVERAGE_POOL_2D", [total], pooled, "Pool2DOptions", **window)
    shape = make.constant([1, 64])
    flat = writer.operator("RESHAPE", [pooled, shape], make.twin(total, (1, 64)), "ReshapeOptions")
    w = make.weights((10, 64), 0, per_channel=False)
    logits = make.activation((1, 10))
    writer.operator("FULLY_CONNECTED", [flat, w, make.bias(flat, w)], logits, "FullyConnectedOptions")
    writer.operator(
        "SOFTMAX", [logits], writer.tensor((1, 10), make.kind, 1 / 256, make.low), "SoftmaxOptions", Beta=1.0
    )


BUILDERS = {
    "residual_network": residual_network,
    "conv2d": conv2d, "depthwise_conv2d": depthwise_conv2d, "fully_connected": fully_connected,
    "add": elementwise("ADD", "AddOptions"), "mul": elementwise("MUL", "MulOptions"),
    "average_pool2d": pool2d("AVERAGE_POOL_2D"), "max_pool2d": pool2d("MAX_POOL_2D"), "mean": mean,
    "softmax": softmax, "pad": pad, "padv2": padv2, "concatenation": concatenation,
    "reshape_and_transpose": reshape_and_transpose, "relu": relu("RELU"), "relu6": relu("RELU6"),
    "relu_n1_to_1": relu("RELU_N1_TO_1"), "requantize": requantize, "batch_matmul": batch_matmul,
    "quantize_and_dequantize": quantize_and_dequantize, "batch_matmul_transposed": batch_matmul_transposed,
}  # fmt: skip


CASES = [(name, "INT8") for name in BUILDERS]
CASES += [(name, "UINT8") for name in BUILDERS if "matmul" not in name]  # LiteRT has no uint8 product of activations


@pytest.mark.parametrize(("name", "kind"), CASES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_an_operator_with_random_parameters_is_bit_identical(name, kind, seed, tflite_writer, tmp_path):
    make = Maker(tflite_writer(), seed, kind)
    BUILDERS[name](make)
    make.check(tmp_path)
