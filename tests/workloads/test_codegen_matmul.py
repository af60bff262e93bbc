"""Products of two activations: the Program leaves the bytes of the integer kernel, whatever the zero points."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.specs import MatMulSpec, specify
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import integer
from workloads.legality import check
from workloads.operands import Operands
from workloads.operators import MatMul
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

OLDER = {"fixpipe_buffer_bytes": 0, "bias_table_bytes": 0, "l0c_bytes": 262144, "transposing_load": 0}
CUBES = ({}, OLDER, {"transposing_load": 0, "l1_bytes": 65536})
SETS = [
    ("thumb2-dsp", {}), ("rv32im", {}), ("rv64gc", {}), ("rvv", {"vlen": 128}), ("rvv", {"vlen": 512}), ("avx2", {}),
    ("avx512-vnni", {}), *[("davinci", parameters) for parameters in CUBES],
]  # fmt: skip


def multiplied(name, parameters, a, b, operands):
    """Return what the Program puts out, with its legality and counts checked on the way."""
    spec = MatMulSpec(a.shape[1], a.shape[2], b.shape[2], a.shape[0])
    program = generate(spec, load_isa(name, **parameters))
    check(program)
    execution = execute(program, {"input": a, "input2": b, **pack(program, spec, operands)})
    counts = count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    assert program.macs == spec.macs == a.shape[0] * a.shape[1] * a.shape[2] * b.shape[2]
    return execution.buffers["output"].view(np.int8).reshape(a.shape[0], a.shape[1], b.shape[2])


def operands_of(zero_points, scale, output_zero_point=3, low=-128, high=127):
    return Operands((0.02, 0.05), zero_points, scale, output_zero_point, low, high, weight_scales=np.empty(0))


ZERO_POINTS = st.sampled_from([-128, -1, 0, 3, 127])


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 3), shape=st.tuples(st.integers(1, 12), st.integers(1, 19), st.integers(1, 40)),
    zero_points=st.tuples(ZERO_POINTS, ZERO_POINTS), scale=st.floats(0.005, 0.5), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@example(batch=1, shape=(9, 64, 17), zero_points=(-128, 127), scale=0.02, seed=0)
@example(batch=2, shape=(1, 1, 1), zero_points=(0, 0), scale=0.02, seed=0)
def test_a_product_equals_the_kernel_of_the_profile(name, parameters, batch, shape, zero_points, scale, seed):
    rows, depth, columns = shape
    random = np.random.default_rng(seed)
    a, b = (
        random.integers(-128, 128, size).astype(np.int8) for size in ((batch, rows, depth), (batch, depth, columns))
    )
    operands = operands_of(zero_points, scale, low=-100, high=90)
    expected = integer.matmul(a, b, operands, MatMul(), PROFILE_OF[name])
    np.testing.assert_array_equal(multiplied(name, parameters, a, b, operands), expected)


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@pytest.mark.parametrize("value", [-128, 127])
def test_extremes_less_the_opposite_zero_points_do_not_wrap(name, parameters, value):
    a, b = np.full((1, 3, 512), value, np.int8), np.full((1, 512, 9), -1 - value, np.int8)
    operands = operands_of((-1 - value, value), 300.0)
    expected = integer.matmul(a, b, operands, MatMul(), PROFILE_OF[name])
    assert expected.min() > -128
    np.testing.assert_array_equal(multiplied(name, parameters, a, b, operands), expected)


def network(a, b):
    builder = GraphBuilder("product")
    inputs = [
        builder.input(name, shape, "int8", Quantization(np.array([0.05]), np.array([zero_point])))
        for name, shape, zero_point in (("a", a, -128), ("b", b, 5))
    ]
    finer = Quantization(np.array([0.1]), np.array([-3]))
    return builder.build([builder.layer(MatMul(), inputs, output="y", quantization=finer)])


@pytest.mark.parametrize(("a", "b", "spec"), [
    ((2, 3, 4, 5), (2, 3, 5, 6), MatMulSpec(4, 5, 6, 6)),
    ((2, 3, 4, 5), (5, 6), MatMulSpec(24, 5, 6)),  # all rows meet the same columns
    ((3, 4, 5), (1, 3, 5, 6), MatMulSpec(4, 5, 6, 3)),
])  # fmt: skip
@pytest.mark.parametrize("name", ["rv64gc", "rvv", "avx2", "davinci"])
def test_a_product_in_a_network_runs_as_a_program(name, a, b, spec):
    graph, isa, random = network(a, b), load_isa(name), np.random.default_rng(0)
    assert specify(graph, graph.layers[0]) == spec
    assert not prepare(graph, isa).fallbacks
    inputs = {key: random.integers(-128, 128, shape).astype(np.int8) for key, shape in (("a", a), ("b", b))}
    expected = kernels.execute(graph, inputs, profile=PROFILE_OF[name])["y"]
    np.testing.assert_array_equal(run(graph, inputs, isa)["y"], expected)


def test_a_product_whose_leading_axes_broadcast_is_named():
    graph = network((2, 1, 4, 5), (2, 3, 5, 6))
    with pytest.raises(NotImplementedError, match=r"shapes \(2, 1, 4, 5\) and \(2, 3, 5, 6\), which broadcast"):
        specify(graph, graph.layers[0])


@pytest.mark.parametrize(("name", "parameters"), SETS[-len(CUBES) :], ids=str)
@pytest.mark.parametrize(("rows", "depth", "columns"), [(130, 70, 140), (1, 1100, 3), (200, 33, 200), (17, 300, 33)])
def test_a_cube_multiplies_more_than_one_tile(name, parameters, rows, depth, columns):
    random = np.random.default_rng(rows)
    a, b = (random.integers(-128, 128, size).astype(np.int8) for size in ((2, rows, depth), (2, depth, columns)))
    operands = operands_of((-128, -1), 3.0)
    expected = integer.matmul(a, b, operands, MatMul(), PROFILE_OF[name])
    assert expected.std() > 10
    np.testing.assert_array_equal(multiplied(name, parameters, a, b, operands), expected)


def test_rows_longer_than_the_cube_s_buffers_are_refused():
    with pytest.raises(NotImplementedError, match="rows of 70000 elements are too long"):
        generate(MatMulSpec(4, 70000, 4), load_isa("davinci"))
