"""Layer normalisation on every instruction set: the Program leaves the bytes of the integer kernel."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads import run_programs as programs
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.specs import specify
from workloads.codegen.specs_rows import LayerNormSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import ascend
from workloads.kernels.normalization import layer_norm
from workloads.operands import Normalization, Operands
from workloads.operators import LayerNorm
from workloads.program import count
from workloads.run_programs import prepare
from workloads.tensor import Quantization

SETS = [
    (name, parameters)
    for name in PROFILE_OF
    for parameters in ([{"vlen": vlen} for vlen in (128, 256, 512)] if name == "rvv" else [{}])
]


def operands_of(random, columns, epsilon, power):
    """Draw constants whose scales are ``power`` powers of two around one; results fill the output's range and more."""
    columns_of = random.normal(0.5, 1, (2, columns)) * (random.random((2, columns)) < 0.9)  # some are zero
    own = Normalization(*columns_of.astype(np.float32), epsilon)
    low = int(random.integers(-128, 1))
    scale, output_scale = (float(np.float32(2.0 ** random.uniform(-power, power))) for _ in range(2))
    return Operands(
        (scale,), (int(random.integers(-128, 128)),), output_scale / 16, int(random.integers(-128, 128)), low,
        int(random.integers(low, 128)), weight_scales=np.empty(0), normalization=own,
    )  # fmt: skip


def expected(name, x, operands):
    """Return what the integer kernel of a set's profile gives: on Ascend a normalisation in single precision."""
    own, compute = operands.normalization, ascend.layer_norm if name == "davinci" else layer_norm
    return compute(x, own.scale, own.shift, operands, LayerNorm(own.epsilon))


def run(name, parameters, x, operands):
    spec = LayerNormSpec(*x.shape)
    program = generate(spec, load_isa(name, **parameters))
    execution, counts = execute(program, {"input": x, **pack(program, spec, operands)}), count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    return execution.buffers["output"].view(np.int8).reshape(x.shape)


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 90)), spread=st.sampled_from([0, 1, 3, 255]),
    epsilon=st.sampled_from([0.0, 1e-12, 1e-5, 1.0]), power=st.sampled_from([1, 4, 30]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@example(shape=(2, 768), spread=255, epsilon=1e-5, power=1, seed=1)
@example(shape=(1, 7), spread=0, epsilon=0.0, power=1, seed=2)
def test_a_layer_norm_equals_the_kernel(name, parameters, shape, spread, epsilon, power, seed):
    random = np.random.default_rng(seed)
    x = (127 - random.integers(0, spread + 1, shape)).astype(np.int8)
    operands = operands_of(random, shape[1], epsilon, power)
    np.testing.assert_array_equal(run(name, parameters, x, operands), expected(name, x, operands))


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
def test_results_between_two_integers_go_to_the_even_one(name, parameters):
    """Deviations of one, and an output scale for which results are odd halves, or just miss them."""
    x = np.tile(np.array([-1, 1, 1, -1], np.int8), (1, 8))
    for output_scale in (2.0, 2 / 3, 2 / 5, 2 / 7, 2 / 9):
        own = Normalization(np.ones(32, np.float32), np.zeros(32, np.float32), 0.0)
        operands = Operands((0.5,), (0,), output_scale, 3, -128, 127, weight_scales=np.empty(0), normalization=own)
        np.testing.assert_array_equal(run(name, parameters, x, operands), expected(name, x, operands))


@pytest.mark.parametrize("name", sorted({name for name, _ in SETS} - {"davinci"}))
def test_rows_whose_squares_do_not_fit_are_refused(name):
    with pytest.raises(NotImplementedError, match=r"layer normalisation over 131072 columns; at most 131071"):
        generate(LayerNormSpec(1, 1 << 17), load_isa(name))


def test_words_take_scales_of_single_precision_alone():
    spec, third = LayerNormSpec(1, 2), np.full(2, 1 / 3)
    own = Normalization(third, np.zeros(2), 0.0)
    operands = Operands((0.1,), (0,), 0.1, 0, -128, 127, normalization=own)
    with pytest.raises(ValueError, match=r"scale 0\.3333333333333333 is not of single precision"):
        pack(generate(spec, load_isa("rv32im")), spec, operands)


def test_operands_without_scale_and_shift_are_refused():
    spec = LayerNormSpec(1, 4)
    with pytest.raises(ValueError, match="needs its scale and shift"):
        pack(generate(spec, load_isa("avx2")), spec, Operands((0.1,), (0,), 0.1, 0, -128, 127))


def network():
    """Return a graph of one normalisation of (2, 5, 24) values."""
    builder = GraphBuilder("norm")
    x = builder.input("x", (2, 5, 24), "int8", Quantization(np.array([0.04]), np.array([-5])))
    random = np.random.default_rng(7)
    scale, shift = (builder.constant(name, (24,), random.normal(1, 0.3, 24).astype(np.float32)) for name in "ab")
    finer = Quantization(np.array([1 / 32]), np.array([3]))
    return builder.build([builder.layer(LayerNorm(1e-5), [x, scale, shift], output="y", quantization=finer)], "litert")


@pytest.mark.parametrize("name", sorted({name for name, _ in SETS}))
def test_a_layer_norm_in_a_network_runs_as_a_program(name):
    graph, isa = network(), load_isa(name)
    assert specify(graph, graph.layers[0]) == LayerNormSpec(10, 24)
    assert not prepare(graph, isa).fallbacks
    x = np.random.default_rng(1).integers(-128, 128, (2, 5, 24)).astype(np.int8)
    found = programs.run(graph, {"x": x}, isa)["y"]
    np.testing.assert_array_equal(found, kernels.execute(graph, {"x": x}, profile=PROFILE_OF[name])["y"])


@settings(max_examples=15, deadline=None)
@given(columns=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_single_precision_is_within_one_step_of_double(columns, seed):
    random = np.random.default_rng(seed)
    x, operands = random.integers(-128, 128, (3, columns)).astype(np.int8), operands_of(random, columns, 1e-5, 1)
    steps = expected("davinci", x, operands).astype(int) - expected("rv64gc", x, operands)
    assert np.abs(steps).max() <= 1
