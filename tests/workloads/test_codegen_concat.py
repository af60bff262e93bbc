"""Concatenation of inputs with different quantisations: Programs leave the bytes of the kernel of their profile."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.moves import buffer_name
from workloads.codegen.specs import ConcatSpec, MoveSpec, specify
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import integer
from workloads.legality import check
from workloads.operands import Operands
from workloads.operators import Concat
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = [
    ("thumb2-dsp", {}), ("rv32im", {}), ("rv64im", {}), ("rv64gc", {}), ("rvv", {"vlen": 128}), ("rvv", {"vlen": 512}),
    ("avx2", {}), ("avx512-vnni", {}), ("davinci", {}), ("davinci", {"ub_bytes": 8192}),
]  # fmt: skip
on_every_set = pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)


def joined(name, parameters, inputs, axis, operands):
    """Return what the Program puts out, with its legality and counts checked on the way."""
    pairs = zip(operands.input_scales, operands.input_zero_points, strict=True)
    rescaled = tuple(pair != (operands.output_scale, operands.output_zero_point) for pair in pairs)
    spec = ConcatSpec(tuple(x.shape for x in inputs), axis, rescaled)
    program = generate(spec, load_isa(name, **parameters))
    check(program)
    given = {buffer_name(number): x.reshape(-1) for number, x in enumerate(inputs)}
    execution, counts = execute(program, given | pack(program, spec, operands)), count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    return execution.buffers["output"].view(np.int8).reshape(spec.moved.output_shape)


def random_int8(seed, shape):
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


SCALES, ZEROS = st.floats(2.0**-10, 4.0), st.integers(-128, 127)


@on_every_set
@settings(max_examples=12, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple), seed=st.integers(0, 999))
def test_each_input_is_brought_to_the_output_s_quantization(name, parameters, data, shape, seed):
    axis = data.draw(st.integers(0, len(shape) - 1))
    extents = data.draw(st.lists(st.integers(1, 45), min_size=1, max_size=4))
    inputs = [random_int8(seed + extent, (*shape[:axis], extent, *shape[axis + 1 :])) for extent in extents]
    output = data.draw(st.tuples(SCALES, ZEROS))
    pairs = [data.draw(st.one_of(st.just(output), st.tuples(SCALES, ZEROS))) for _ in extents]
    scales, zeros = zip(*pairs, strict=True)
    operands = Operands(scales, zeros, *output, -128, 127, weight_scales=np.empty(0))
    expected = integer.concat(inputs, operands, Concat(axis), PROFILE_OF[name])
    np.testing.assert_array_equal(joined(name, parameters, inputs, axis, operands), expected)


@on_every_set
@pytest.mark.parametrize("ratio", [1e-6, 0.37, 1.0, 255.0, 1e6])
def test_every_byte_is_requantized_as_by_the_kernel_at_any_ratio_of_scales(name, parameters, ratio):
    x = np.arange(-128, 128).astype(np.int8)
    operands = Operands((ratio, 1.0), (-128, 5), 1.0, 127, -128, 127, weight_scales=np.empty(0))
    for zero_point in (-128, -1, 127):
        one = replace(operands, output_zero_point=zero_point)
        expected = integer.concat([x, x], one, Concat(0), PROFILE_OF[name])
        np.testing.assert_array_equal(joined(name, parameters, [x, x], 0, one), expected)


def network(*quantizations):
    """Return a graph that joins images of two and five channels to one of seven."""
    scales = [Quantization(np.array([scale], np.float32), np.array([zero])) for scale, zero in quantizations]
    builder = GraphBuilder("join")
    inputs = [builder.input(f"x{n}", (1, 3, 5, 2 + 3 * n), "int8", scale) for n, scale in enumerate(scales[:2])]
    return builder.build([builder.layer(Concat(3), inputs, output="y", quantization=scales[2])])


@pytest.mark.parametrize("name", sorted({name for name, _ in SETS}))
def test_a_concatenation_in_a_network_runs_as_a_program(name):
    graph, isa = network((0.5, 3), (0.25, -7), (0.5, 3)), load_isa(name)
    shapes = ((1, 3, 5, 2), (1, 3, 5, 5))
    assert specify(graph, graph.layers[0]) == ConcatSpec(shapes, 3, (False, True))
    assert not prepare(graph, isa).fallbacks
    inputs = {f"x{number}": random_int8(number, shape) for number, shape in enumerate(shapes)}
    expected = kernels.execute(graph, inputs, profile=PROFILE_OF[name])["y"]
    np.testing.assert_array_equal(run(graph, inputs, isa)["y"], expected)


def test_inputs_of_one_quantization_are_only_moved():
    graph = network((0.5, 3), (0.5, 3), (0.5, 3))
    assert specify(graph, graph.layers[0]) == MoveSpec("concat", ((1, 3, 5, 2), (1, 3, 5, 5)), (3,))
