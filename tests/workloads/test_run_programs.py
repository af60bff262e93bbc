from pathlib import Path

import numpy as np
import pytest

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF
from workloads.isa import InstructionSet, load_isa
from workloads.operators import Add, Clamp, Conv2d, DepthwiseConv2d, FullyConnected, Mean, Mul, Pool2d, Reshape, Softmax
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = ["thumb2-dsp", "rv64gc", "rv32im"]
MODELS = Path(__file__).parents[2].parent / "shared" / "models" / "mlperf_tiny"


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


@pytest.mark.parametrize("name", SETS)
def test_a_network_run_through_programs_equals_the_kernels(name):
    graph, isa = small_network(), load_isa(name)
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-128, 128, graph["x"].shape).astype(np.int8)
        expected = kernels.execute(graph, {"x": x}, profile=PROFILE_OF[name])
        found = run(graph, {"x": x}, isa)
        assert found.keys() == expected.keys()
        for tensor, values in expected.items():
            np.testing.assert_array_equal(found[tensor], values, err_msg=tensor)


def test_layers_without_a_program_are_listed_with_the_reason():
    prepared = prepare(small_network(), load_isa("thumb2-dsp"))
    assert [(each.op, each.reason) for each in prepared.fallbacks] == [
        ("reshape", "no kernel is generated for operator 'reshape'"),
        ("softmax", "no kernel is generated for operator 'softmax'"),
    ]
    assert len(prepared.programs) == len(prepared.plan.steps) - 2
    assert sum(program.macs for program in prepared.programs.values()) == prepared.plan.graph.macs


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
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("model", ["ad01", "kws_dscnn", "sww_dscnn1d"])
def test_an_mlperf_tiny_network_run_through_programs_equals_the_kernels(name, model):
    from workloads.readers.load import load

    graph = load(MODELS / f"{model}_int8.tflite")
    x = {each: np.random.default_rng(3).integers(-128, 128, graph[each].shape).astype(np.int8) for each in graph.inputs}
    prepared = prepare(graph, load_isa(name))
    found = kernels.run(prepared.plan, x)
    for tensor, values in kernels.execute(graph, x, profile=PROFILE_OF[name]).items():
        np.testing.assert_array_equal(found[tensor], values, err_msg=tensor)
    products = sum(count(program).total_instructions for program in prepared.programs.values())
    assert graph.macs < products < 10 * graph.macs
