from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.codegen import PROFILE_OF, choices, generate, pack
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.operands import Operands
from workloads.operators import Conv2d, FullyConnected
from workloads.options import Options
from workloads.program import Loop, count, walk

SETS = ["thumb2-dsp", "rv64gc", "rv32im"]
LAYER = ConvSpec(1, 12, 12, 64, 12, 12, 64, (3, 3), padding=(1, 1))
DEPTHWISE = ConvSpec(1, 12, 12, 16, 12, 12, 16, (3, 3), padding=(1, 1), groups=16, depthwise=True)
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
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_difference_equals_the_integer_kernel(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.elementwise(kinds=("sub",))), load_isa(name))


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


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_option_that_is_offered_gives_the_values_of_the_kernels(name, codegen_cases, data):
    isa = load_isa(name)
    layers = st.one_of(
        codegen_cases.convolutions(depthwise=False, max_channels=20),
        codegen_cases.convolutions(depthwise=True, max_channels=13, max_extent=12),
        codegen_cases.products(),
    )
    case = data.draw(layers)
    options = data.draw(st.sampled_from(choices(case.spec, isa)))
    codegen_cases.check(case, isa, options=options)


@pytest.mark.parametrize("name", SETS)
def test_both_lowerings_unrolling_and_a_pass_of_its_own_are_offered(name):
    offered = choices(LAYER, load_isa(name))
    assert {options.lowering for options in offered} == {"direct", "im2col"}
    assert {options.fuse for options in offered} == {True, False}
    assert len({options.unroll for options in offered}) > 1
    assert len({(options.rows, options.columns) for options in offered}) > 1
    assert len(set(offered)) == len(offered) <= 6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "spec", [LAYER, DEPTHWISE, MatrixSpec(1, 40, 10), PoolSpec("max", 1, 4, 4, 4, 2, 2, (2, 2), (2, 2))]
)
def test_the_first_choice_is_the_sets_own(name, spec):
    isa = load_isa(name)
    own, first = generate(spec, isa), generate(spec, isa, choices(spec, isa)[0])
    assert (first.body, first.buffers) == (own.body, own.buffers)


def test_open_options_are_filled_in_from_the_first_choice_that_agrees():
    isa = load_isa("thumb2-dsp")
    gathered = next(options for options in choices(LAYER, isa) if options.lowering == "im2col")
    assert generate(LAYER, isa, Options(lowering="im2col")) == generate(LAYER, isa, gathered)
    with pytest.raises(ValueError, match=r"does not offer rows=3 for .*; it offers rows=2 columns=2"):
        generate(LAYER, isa, Options(rows=3))


# A tile's sums, one pixel's words, the weights of up to two channels, pointers to pixels and weights, and a counter.
@pytest.mark.parametrize("spec", [LAYER, MatrixSpec(1, 64, 64), ConvSpec(1, 8, 8, 16, 8, 8, 16, (1, 1))])
def test_the_inner_loops_of_thumb2_leave_registers_for_pointers_and_the_counter(spec):
    isa = load_isa("thumb2-dsp")
    for options in choices(spec, isa):
        program = generate(spec, isa, options)
        for variable in ("depth", "gather"):
            inner = [i for i, loops in walk(program.body) if loops and loops[-1].variable == variable]
            operands = [o for i in inner for o in (i.destination, *i.sources)]
            registers = {operand for operand in operands if isinstance(operand, str)}
            assert len(registers) <= 14 - 3  # r0-r12 and r14, less input and weight pointers and the counter


def test_a_packed_sum_never_leaves_its_half():
    """Two products of bytes share a multiplication: at the deepest window offered, all extremes still add up."""
    isa, deep = load_isa("rv64gc"), (1 << 17) - 1
    spec = ConvSpec(1, 1, 2, deep, 1, 2, 2, (1, 1))
    assert any(options.lowering == "im2col" for options in choices(spec, isa))
    too_deep = ConvSpec(1, 1, 2, deep + 1, 1, 2, 2, (1, 1))
    assert not any(options.lowering == "im2col" for options in choices(too_deep, isa))


@pytest.mark.parametrize(("x", "w"), [(-128, -128), (-128, 127), (127, -128), (127, 127)])
@pytest.mark.parametrize("bias", [2**31 - 1, -(2**31), 0])
def test_packed_sums_of_extremes_equal_the_kernels(codegen_cases, x, w, bias):
    isa, depth = load_isa("rv64gc"), 3000
    weights = np.stack([np.full(depth, w), np.full(depth, -w - 1)]).astype(np.int8).reshape(2, 1, 1, depth)
    operands = Operands(
        (1.0,), (0,), 1.0, 3, -128, 127, weights=weights, weight_scales=np.full(2, 2.0**-18),
        bias=np.full(2, bias, np.int32),
    )  # fmt: skip
    inputs = np.stack([np.full(depth, x), np.full(depth, -x - 1), np.full(depth, x)]).astype(np.int8)
    spec = ConvSpec(1, 1, 3, depth, 1, 3, 2, (1, 1))
    case = codegen_cases.Case(spec, Conv2d(), operands, (inputs.reshape(1, 1, 3, depth),))
    gathered = next(options for options in choices(spec, isa) if options.lowering == "im2col")
    codegen_cases.check(case, isa, options=gathered)


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
