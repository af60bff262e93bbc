"""Functions of one value on every instruction set: Programs leave the bytes of the integer kernel of their profile."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.lookup_tables import pack_steps
from workloads.codegen.specs import LookupSpec, specify
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import lut
from workloads.legality import check
from workloads.operands import Operands
from workloads.operators import Gelu, HardSigmoid, HardSwish, LeakyRelu, Logistic, Mish, Swish, Tanh
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = [
    ("thumb2-dsp", {}), ("rv32im", {}), ("rv64gc", {}), ("rvv", {"vlen": 128}), ("rvv", {"vlen": 512}), ("avx2", {}),
    ("avx512-vnni", {}), ("davinci", {}), ("davinci", {"ub_bytes": 8192}),
]  # fmt: skip
FUNCTIONS = [Logistic(), Tanh(), HardSwish(), HardSigmoid(), Swish(), Mish(), LeakyRelu(0.1), Gelu(), Gelu(True)]


def operands_of(table=None):
    return Operands((0.05,), (3,), 0.01, -7, -128, 127, weight_scales=np.empty(0), table=table)


def looked_up(name, parameters, x, operands):
    """Return what the Program puts out, with its legality and counts checked on the way."""
    spec = LookupSpec(x.size)
    program = generate(spec, load_isa(name, **parameters))
    check(program)
    execution, counts = execute(program, {"input": x, **pack(program, spec, operands)}), count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    return execution.buffers["output"].view(np.int8)


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@settings(max_examples=15, deadline=None)
@given(elements=st.integers(1, 700), seed=st.integers(0, 2**32 - 1))
@example(elements=1, seed=0)
@example(elements=33, seed=1)
def test_each_byte_becomes_its_entry_of_the_table(name, parameters, elements, seed):
    random = np.random.default_rng(seed)
    x, table = (random.integers(-128, 128, size).astype(np.int8) for size in (elements, 256))
    found = looked_up(name, parameters, x, operands_of(table))
    np.testing.assert_array_equal(found, table[x.astype(int) + 128])


@pytest.mark.parametrize("name", sorted({name for name, _ in SETS}))
@pytest.mark.parametrize("operator", FUNCTIONS, ids=lambda operator: type(operator).__name__)
def test_every_input_has_the_output_of_the_kernel_of_the_profile(name, operator):
    x, profile = np.arange(-128, 128).astype(np.int8), PROFILE_OF[name]
    operands = operands_of()
    if isinstance(operator, HardSwish):  # its fixed point asks for an output scale near the input's
        operands = replace(operands, output_scale=0.05)
    expected = lut.nonlinear(x, operands, operator, profile)
    table = lut.table_of_bytes(operands, operator, profile)
    np.testing.assert_array_equal(looked_up(name, {}, x, replace(operands, table=table)), expected)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_steps_of_sixteen_bytes_leave_the_entry_of_each_input(seed):
    """By the definition: exclusive or of what each step's bytes give where the moved input is not negative."""
    table = np.random.default_rng(seed).integers(-128, 128, 256).astype(np.int8)
    steps = pack_steps(operands_of(table), 16)["parameters"].reshape(17, 16)
    for x in range(-128, 128):
        risen = [np.int64(x + 16 * k).astype(np.int8) for k in range(1, 9)]
        fallen = [max(x - 16 * i, -128) for i in range(8)]
        chosen = [step[place % 16] for step, place in zip(steps, [*risen, *fallen], strict=False) if place >= 0]
        assert np.bitwise_xor.reduce(np.array(chosen, np.uint8)).astype(np.int8) == table[x + 128]


def network(operator):
    """Return a graph of one function of a (1, 5, 7, 3) image."""
    builder = GraphBuilder("function")
    x = builder.input("x", (1, 5, 7, 3), "int8", Quantization(np.array([0.04]), np.array([-5])))
    finer = Quantization(np.array([1 / 256]), np.array([-128]))
    return builder.build([builder.layer(operator, [x], output="y", quantization=finer)])


def test_operands_without_a_table_are_refused():
    spec = LookupSpec(4)
    with pytest.raises(ValueError, match="needs the table of its function"):
        pack(generate(spec, load_isa("rv64gc")), spec, operands_of())


def test_a_vector_unit_without_gather_has_no_lookup():
    with pytest.raises(NotImplementedError, match="has no gather"):
        generate(LookupSpec(4), load_isa("davinci", vector_gather=0))


@pytest.mark.parametrize("name", sorted({name for name, _ in SETS}))
def test_a_function_in_a_network_runs_as_a_program(name):
    graph, isa = network(Logistic()), load_isa(name)
    assert specify(graph, graph.layers[0]) == LookupSpec(105)
    assert not prepare(graph, isa).fallbacks
    x = np.arange(-50, 55).astype(np.int8).reshape(1, 5, 7, 3)
    expected = kernels.execute(graph, {"x": x}, profile=PROFILE_OF[name])["y"]
    np.testing.assert_array_equal(run(graph, {"x": x}, isa)["y"], expected)
