from functools import cache
from pathlib import Path

import numpy as np
import pytest

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF
from workloads.isa import InstructionSet, load_isa
from workloads.models import build
from workloads.operators import (
    Add,
    Clamp,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    MatMul,
    Mean,
    Minimum,
    Mul,
    Pool2d,
    Reshape,
    Resize2d,
    Softmax,
    Transpose,
    TransposedConv2d,
)
from workloads.passes.quantize import quantize
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = [
    (name, parameters)
    for name in PROFILE_OF
    for parameters in ([{"vlen": vlen} for vlen in (128, 256, 512)] if name == "rvv" else [{}])
]
on_every_set = pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
MODELS = Path(__file__).parents[2].parent / "shared" / "models" / "mlperf_tiny"


TINY = ("resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder")


@cache
def tiny(model, profile):
    """A built-in network of MLPerf Tiny, quantised for the runtime whose arithmetic a set follows."""
    return quantize(build(model), arithmetic="onnxruntime" if profile == "onnxruntime" else "litert")


def quantization(scale, zero_point=0, axis=None):
    scale = np.atleast_1d(np.asarray(scale, np.float32))
    return Quantization(scale, np.full(scale.shape, zero_point, np.int32), axis)


def small_network(seed: int = 1):
    """A residual block over 8 channels, a depthwise layer, pools and a classifier."""
    generator = np.random.default_rng(seed)
    builder = GraphBuilder("small")

    def weights(name, shape, axis):
        scales = quantization(generator.uniform(0.001, 0.02, shape[axis]), axis=axis)
        data = generator.integers(-127, 128, shape).astype(np.int8)
        bias = generator.integers(-2000, 2000, shape[axis]).astype(np.int32)
        return [builder.constant(name, shape, data, "int8", scales),
                builder.constant(f"{name}_bias", bias.shape, bias, "int32")]  # fmt: skip

    same = (1, 1, 1, 1)
    x = builder.input("x", (1, 9, 11, 3), "int8", quantization(0.05, -3))
    relu = Clamp(0.0)
    stem = builder.layer(Conv2d((2, 1), same, activation=relu), [x, *weights("stem", (8, 3, 3, 3), 0)],
                         quantization=quantization(0.1, -128))  # fmt: skip
    depthwise = builder.layer(DepthwiseConv2d(padding=same), [stem, *weights("dw", (1, 3, 3, 8), 3)],
                              quantization=quantization(0.2, 10))  # fmt: skip
    total = builder.layer(Add(relu), [stem, depthwise], quantization=quantization(0.15, 4))
    scaled = builder.layer(Mul(), [total, total], quantization=quantization(0.9, -20))
    pooled = builder.layer(Pool2d("max", (2, 2), (2, 2)), [scaled], quantization=quantization(0.9, -20))
    mean = builder.layer(Mean((1, 2), keep_dims=False), [pooled], quantization=quantization(0.8, -20))
    flat = builder.layer(Reshape(), [mean], shape=(1, 8), quantization=quantization(0.8, -20))
    dense = builder.layer(FullyConnected(), [flat, *weights("dense", (5, 8), 0)], quantization=quantization(0.3, 7))
    out = builder.layer(Softmax(), [dense], quantization=quantization(2.0**-8, -128))
    return builder.build([out], "litert")


def decoding_network(seed: int = 2):
    """A decoder: a transposed convolution beside a resized image, each pixel compared with all others."""
    generator = np.random.default_rng(seed)
    builder = GraphBuilder("decoder")
    coarse = builder.input("coarse", (1, 3, 4, 6), "int8", quantization(0.05, -3))
    scales = quantization(generator.uniform(0.001, 0.02, 5), axis=0)
    weights = generator.integers(-127, 128, (5, 3, 3, 6)).astype(np.int8)
    bias = generator.integers(-2000, 2000, 5).astype(np.int32)
    filters = [builder.constant("up", weights.shape, weights, "int8", scales),
               builder.constant("up_bias", (5,), bias, "int32")]  # fmt: skip
    upper = builder.layer(TransposedConv2d((6, 8), (2, 2), (0, 1)), [coarse, *filters],
                          quantization=quantization(0.07, 11))  # fmt: skip
    resized = builder.layer(Resize2d("bilinear", (6, 8), half_pixel_centers=True), [coarse],
                            quantization=quantization(0.05, -3))  # fmt: skip
    both = builder.layer(Concat(3), [upper, resized], quantization=quantization(0.07, 11))
    rows = builder.layer(Reshape(), [both], shape=(1, 48, 11), quantization=quantization(0.07, 11))
    columns = builder.layer(Transpose((0, 2, 1)), [rows], quantization=quantization(0.07, 11))
    out = builder.layer(MatMul(), [rows, columns], quantization=quantization(0.9, -7))
    return builder.build([out], "litert")


def compare(graph, name, parameters, seed=3):
    """Run a network whole through Programs and compare every activation with the integer kernels of the profile."""
    random = np.random.default_rng(seed)
    x = {each: random.integers(-128, 128, graph[each].shape).astype(np.int8) for each in graph.inputs}
    prepared = prepare(graph, load_isa(name, **parameters))
    assert prepared.fallbacks == ()
    found = kernels.run(prepared.plan, x)
    for tensor, values in kernels.execute(graph, x, profile=PROFILE_OF[name]).items():
        np.testing.assert_array_equal(found[tensor], values, err_msg=tensor)
    return prepared


@on_every_set
def test_a_network_run_through_programs_equals_the_kernels(name, parameters):
    graph, isa = small_network(), load_isa(name, **parameters)
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-128, 128, graph["x"].shape).astype(np.int8)
        expected = kernels.execute(graph, {"x": x}, profile=PROFILE_OF[name])
        found = run(graph, {"x": x}, isa)
        assert found.keys() == expected.keys()
        for tensor, values in expected.items():
            np.testing.assert_array_equal(found[tensor], values, err_msg=tensor)


@on_every_set
def test_a_decoder_run_through_programs_equals_the_kernels(name, parameters):
    compare(decoding_network(), name, parameters)


def test_layers_without_a_program_are_listed_with_the_reason():
    builder = GraphBuilder("odd")
    x = builder.input("x", (1, 6), "int8", quantization(0.5))
    probability = quantization(2.0**-8, -128)
    x = builder.layer(Softmax(beta=2.0), [x], quantization=probability)
    x = builder.layer(Softmax(), [x], quantization=quantization(0.5, 3))
    x = builder.layer(Minimum(), [x, x], quantization=probability)
    prepared = prepare(builder.build([x], "litert"), load_isa("thumb2-dsp"))
    assert [(each.op, each.reason) for each in prepared.fallbacks] == [
        ("softmax", "generated softmax has beta 1, not 2.0"),
        ("softmax", "softmax gives scale 1/256 and zero point -128; the output has scale 0.5 and zero point 3"),
        ("minimum", "no kernel is generated for operator 'minimum'"),
    ]
    assert not prepared.programs


def test_a_view_needs_no_program_and_no_kernel_computes_in_its_place():
    prepared = prepare(small_network(), load_isa("thumb2-dsp"))
    assert prepared.fallbacks == ()
    assert len(prepared.programs) == len(prepared.plan.steps) - 1
    assert sum(program.macs for program in prepared.programs.values()) == prepared.plan.graph.macs


@pytest.mark.parametrize(
    ("model", "name", "parameters"),
    [(model, *SETS[(3 * number + step) % len(SETS)]) for number, model in enumerate(TINY) for step in range(3)],
    ids=str,
)  # fmt: skip
def test_a_tiny_network_executes_whole_as_programs(model, name, parameters):
    """Each set in at least one network; all networks on all sets are a benchmark."""
    compare(tiny(model, PROFILE_OF[name]), name, parameters)


def test_a_set_without_a_generator_is_refused():
    isa = InstructionSet("rv64g", "", "", {}, {})
    with pytest.raises(ValueError, match="did you mean 'rv64gc'"):
        prepare(small_network(), isa)


@pytest.mark.parametrize("shapes", [((1, 4, 3, 5), (5,)), ((1, 1, 1, 5), (1, 4, 3, 5)), ((1, 4, 3, 5), (1, 4, 1, 5))])
def test_the_smaller_operand_of_a_sum_repeats_or_the_kernel_takes_over(shapes):
    builder = GraphBuilder("sum")
    names = [
        builder.input(name, shape, "int8", quantization(scale, 5))
        for name, shape, scale in zip("ab", shapes, (0.1, 0.3), strict=True)
    ]
    graph = builder.build([builder.layer(Add(), names, quantization=quantization(0.4, -9))], "litert")
    inputs = {name: np.random.default_rng(2).integers(-128, 128, graph[name].shape).astype(np.int8) for name in names}
    isa = load_isa("rv64gc")
    found, expected = run(graph, inputs, isa), kernels.execute(graph, inputs, profile="tflite-single")
    np.testing.assert_array_equal(found[graph.outputs[0]], expected[graph.outputs[0]])
    assert bool(prepare(graph, isa).fallbacks) == (shapes[1] == (1, 4, 1, 5))


@pytest.mark.skipif(
    not MODELS.is_dir(), reason="the folder shared with the MLPerf Tiny models is not beside the repository"
)
@on_every_set
@pytest.mark.parametrize("model", ["ad01", "sww_dscnn1d"])
def test_an_mlperf_tiny_file_executes_whole_as_programs(model, name, parameters):
    from workloads.readers.load import load

    graph = load(MODELS / f"{model}_int8.tflite")
    prepared = compare(graph, name, parameters)
    instructions = sum(count(program).total_instructions for program in prepared.programs.values())
    if name in ("thumb2-dsp", "rv32im", "rv64gc"):
        assert graph.macs < instructions < 10 * graph.macs
