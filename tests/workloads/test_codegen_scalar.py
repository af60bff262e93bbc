from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec, SoftmaxSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.operands import Operands
from workloads.operators import FullyConnected
from workloads.program import Loop, count, walk

SETS = ["thumb2-dsp", "rv64gc"]
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", SETS)
@SLOW
@given(data=st.data())
def test_convolutions_equal_the_integer_kernels(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.convolutions()), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@SLOW
@given(data=st.data())
def test_depthwise_convolutions_equal_the_integer_kernels(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.convolutions(depthwise=True, max_channels=13)), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@SLOW
@given(data=st.data())
def test_fully_connected_layers_equal_the_integer_kernels(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.products()), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@SLOW
@given(data=st.data())
def test_pools_equal_the_integer_kernels(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.pools()), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@SLOW
@given(data=st.data())
def test_elementwise_layers_equal_the_integer_kernels(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.elementwise()), load_isa(name))


@pytest.mark.parametrize("name", SETS)
def test_extreme_accumulators_wrap_and_requantise_as_the_kernels_do(name, codegen_cases):
    """Biases at the ends of int32, and shifts from 31 to the right to 20 to the left."""
    columns = 52
    scales = 2.0 ** np.arange(-31, 21, dtype=np.float64) * 0.75
    for bias in (2**31 - 1, -(2**31), 2**30, -1):
        operands = Operands(
            (1.0,), (0,), 1.0, 3, -128, 127, weights=np.full((columns, 4), 127, np.int8), weight_scales=scales,
            bias=np.full(columns, bias, np.int32),
        )  # fmt: skip
        x = np.array([[127, -128, 5, 0]], np.int8)
        codegen_cases.check(
            codegen_cases.Case(MatrixSpec(1, 4, columns), FullyConnected(), operands, (x,)), load_isa(name)
        )


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=30, deadline=None)
@given(elements=st.integers(1, 300), run=st.integers(1, 80))
def test_copies_move_every_byte(name, elements, run):
    x = np.arange(elements).astype(np.int8)
    program = generate(CopySpec(elements, run), load_isa(name))
    execution = execute(program, {"input": x})
    assert np.array_equal(execution.buffers["output"].view(np.int8), x)
    assert execution.stored_bytes == {"memory": elements}


# CMSIS-NN's DSP matrix multiply: 16 MACs take 4 word loads, 8 SXTB16 and 8 SMLAD.
def test_the_inner_loop_of_thumb2_has_the_published_mix():
    program = generate(ConvSpec(1, 8, 8, 16, 8, 8, 16, (1, 1)), load_isa("thumb2-dsp"))
    inner = [i.op for i, loops in walk(program.body) if loops and loops[-1].variable == "depth"]
    mix = {op: inner.count(op) for op in ("ldr", "sxtb16", "sxtb16.ror8", "smlad")}
    assert mix == {"ldr": 4, "sxtb16": 4, "sxtb16.ror8": 4, "smlad": 8}
    assert count(program).instructions["smlad"] == program.macs / 2


def _statements(body):
    return sum(1 + _statements(s.body) if isinstance(s, Loop) else 1 for s in body)


@pytest.mark.parametrize("name", SETS)
def test_the_size_of_a_program_does_not_grow_with_its_trip_counts(name):
    isa = load_isa(name)
    small = ConvSpec(2, 32, 32, 64, 32, 32, 64, (3, 3), padding=(1, 1))
    large = ConvSpec(4, 224, 224, 256, 224, 224, 256, (3, 3), padding=(1, 1))
    assert _statements(generate(small, isa).body) == _statements(generate(large, isa).body)


def test_programs_are_made_once_and_depend_on_shapes_only():
    isa = load_isa("rv64gc")
    assert generate(MatrixSpec(1, 8, 8), isa) is generate(MatrixSpec(1, 8, 8), isa)
    other = replace(isa)  # not the shipped set: generated anew, never taken from the store
    assert generate(MatrixSpec(1, 8, 8), other).isa is other


@pytest.mark.parametrize("name", SETS)
def test_every_program_names_its_profile(name):
    isa = load_isa(name)
    for spec in (MatrixSpec(1, 4, 4), ElementwiseSpec("add", 8, 8), PoolSpec("max", 1, 4, 4, 4, 2, 2, (2, 2), (2, 2))):
        assert generate(spec, isa).profile == PROFILE_OF[name]


@pytest.mark.parametrize("name", SETS)
def test_what_has_no_kernel_is_named(name):
    isa = load_isa(name)
    with pytest.raises(NotImplementedError, match="SoftmaxSpec"):
        generate(SoftmaxSpec(1, 10), isa)
    with pytest.raises(NotImplementedError, match="matmul"):
        generate(MatrixSpec(4, 4, 4, batch=2), isa)
    with pytest.raises(NotImplementedError, match="'divide'"):
        generate(ElementwiseSpec("divide", 4, 4), isa)


def test_weights_with_a_zero_point_are_refused():
    spec, isa = MatrixSpec(1, 4, 4), load_isa("rv64gc")
    operands = Operands((1.0,), (0,), 1.0, 0, -128, 127, weights=np.ones((4, 4), np.int8),
                        weight_scales=np.ones(4), weight_zero_point=3)  # fmt: skip
    with pytest.raises(ValueError, match="zero point 3"):
        pack(generate(spec, isa), spec, operands)
