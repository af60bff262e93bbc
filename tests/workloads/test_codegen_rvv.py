import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen import choices, generate, pack
from workloads.codegen.geometry import Convolution
from workloads.codegen.rvv_base import factor_values
from workloads.codegen.rvv_pool import reciprocal
from workloads.codegen.rvv_tiles import Tile, plan_of
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.executor import execute
from workloads.isa import ELEMENT_BYTES, load_isa
from workloads.kernels.integer import round_division
from workloads.operands import Operands
from workloads.operators import FullyConnected
from workloads.options import Options
from workloads.program import Instruction, Loop, count, operand_elements, walk

VLENS = (128, 256, 512)
FEW = settings(max_examples=30, deadline=None)
vlens = st.sampled_from(VLENS)


@FEW
@given(data=st.data(), vlen=vlens)
def test_a_convolution_equals_the_integer_kernel(codegen_cases, data, vlen):
    codegen_cases.check(
        data.draw(codegen_cases.convolutions(depthwise=False, max_channels=40)), load_isa("rvv", vlen=vlen)
    )


@FEW
@given(data=st.data(), vlen=vlens)
def test_a_depthwise_convolution_equals_the_integer_kernel(codegen_cases, data, vlen):
    codegen_cases.check(
        data.draw(codegen_cases.convolutions(depthwise=True, max_channels=40, max_extent=12)),
        load_isa("rvv", vlen=vlen),
    )


@FEW
@given(data=st.data(), vlen=vlens)
def test_a_fully_connected_layer_equals_the_integer_kernel(codegen_cases, data, vlen):
    codegen_cases.check(data.draw(codegen_cases.products()), load_isa("rvv", vlen=vlen))


@FEW
@given(data=st.data(), vlen=vlens)
def test_pooling_equals_the_integer_kernel(codegen_cases, data, vlen):
    codegen_cases.check(data.draw(codegen_cases.pools()), load_isa("rvv", vlen=vlen))


@FEW
@given(data=st.data(), vlen=vlens)
def test_an_elementwise_layer_equals_the_integer_kernel(codegen_cases, data, vlen):
    codegen_cases.check(data.draw(codegen_cases.elementwise()), load_isa("rvv", vlen=vlen))


@FEW
@given(elements=st.integers(1, 700), run=st.integers(1, 700), seed=st.integers(0, 2**32 - 1))
def test_a_copy_leaves_every_byte_as_it_was(codegen_cases, elements, run, seed):
    x = codegen_cases.random_int8(seed, (elements,))
    execution = execute(generate(CopySpec(elements, run), load_isa("rvv")), {"input": x})
    np.testing.assert_array_equal(execution.buffers["output"].view(np.int8), x)


@pytest.mark.parametrize("depth", [1, 511, 513])
@pytest.mark.parametrize("zero_point", [-128, 127])
@pytest.mark.parametrize(("x", "weight"), [(-128, -128), (127, -128), (-128, 127)])
def test_sums_of_extreme_products_are_exact(codegen_cases, depth, zero_point, x, weight):
    operands = Operands(
        (1.0,), (zero_point,), 16384.0, 0, -128, 127, np.full((19, depth), weight, np.int8), np.ones(19), 0,
        np.zeros(19, np.int32),
    )  # fmt: skip
    inputs = (np.full((3, depth), x, np.int8),)
    case = codegen_cases.Case(MatrixSpec(3, depth, 19), FullyConnected(), operands, inputs)
    codegen_cases.check(case, load_isa("rvv"))


def outputs_of_one_product(sums, scale):
    """Requantise given sums: a row of ones times weights, no zero points."""
    spec = MatrixSpec(1, 1, len(sums))
    operands = Operands(
        (1.0,), (0,), 1.0, 0, -128, 127, np.array(sums, np.int8)[:, None], np.full(len(sums), scale), 0, None
    )
    program = generate(spec, load_isa("rvv"))
    execution = execute(program, {"input": np.ones(1, np.int8), **pack(program, spec, operands)})
    return execution.buffers["output"].view(np.int8).tolist()


def test_both_roundings_are_half_up():
    # multiplier 2**30: with shift 0 the product is halved, with shift -1 halved twice, rounded half up each time
    assert outputs_of_one_product([1, -1, -3], 0.5) == [1, 0, -1]
    assert outputs_of_one_product([1, -2, 5, -6, -7], 0.25) == [1, 0, 2, -1, -1]


def test_a_scale_above_one_is_a_left_shift_first():
    assert outputs_of_one_product([3, -5, 100], 4.0) == [12, -20, 127]


@given(divisor=st.integers(1, 2**16), values=st.lists(st.integers(-128, 128), min_size=1, max_size=9))
@settings(max_examples=200, deadline=None)
def test_a_product_with_the_reciprocal_is_the_division_half_away_from_zero(divisor, values):
    half, factor, shift = reciprocal(divisor)
    assert factor < 2**32
    near = [
        value * divisor + offset
        for value in values
        for offset in (-divisor // 2 - 1, -divisor // 2, -1, 0, 1, divisor // 2)
    ]
    sums = [n for n in near if abs(n) <= 128 * divisor]
    found = [int(math.copysign(((abs(n) + half) * factor >> 32) >> shift, n)) for n in sums]
    assert found == round_division(np.array(sums, np.int64), np.full(len(sums), divisor)).tolist()


LAYER = ConvSpec(1, 56, 56, 64, 56, 56, 64, (3, 3), padding=(1, 1))


@pytest.mark.parametrize(
    ("vlen", "tile"),
    [
        (128, Tile(2, 14, 8)), (256, Tile(2, 14, 16)), (512, Tile(2, 14, 32)),
        (128, Tile(4, 6, 16)), (256, Tile(4, 6, 32)), (512, Tile(4, 6, 64)),
        (256, Tile(1, 28, 8)), (128, Tile(8, 2, 32)),
    ],
)  # fmt: skip
def test_the_inner_loop_of_a_3x3_convolution_follows_from_its_tile(vlen, tile):
    conv = Convolution(1, 56, 56, 64, 56, 56, 64, (3, 3), (1, 1), (1, 1))
    isa = load_isa("rvv", vlen=vlen)
    program = generate(LAYER, isa, Options(lmul=tile.group))
    assert plan_of(conv, isa, program.options).tile == tile
    innermost = [(math.prod(loop.trips for loop in loops), loops[-1]) for _, loops in walk(program.body) if loops]
    times, body = max(innermost, key=lambda item: item[0])
    assert not any(isinstance(statement, Loop) for statement in body.body)
    ops = [statement.op for statement in body.body]
    # eight steps: weights loaded and widened once per step, then per pixel one byte and one multiply-add
    assert ops.count("vwmacc.vx.e16") == ops.count("lb") == 8 * tile.pixels
    assert ops.count("vle8.v") == ops.count("vsext.vf2.e16") == 8
    assert len(ops) == 8 * (2 * tile.pixels + 2) + len(isa.loop_control)
    assert times == 64 // tile.lanes * 56 * (56 // tile.pixels) * 3 * (3 * 64 // 8)


@pytest.mark.parametrize(("vlen", "least"), [(128, 6.4), (256, 12.9), (512, 25.9)])
def test_a_3x3_convolution_keeps_its_products_per_instruction(vlen, least):
    # The inner loop alone gives lanes * 48 / 115: 6.7, 13.4 and 26.7; the rest is copies and results.
    program = generate(LAYER, load_isa("rvv", vlen=vlen), Options(lmul=4))
    assert program.macs / count(program).total_instructions > least


@settings(max_examples=60, deadline=None)
@given(data=st.data(), vlen=vlens)
def test_every_option_that_is_offered_gives_the_values_of_the_kernels(codegen_cases, data, vlen):
    layers = st.one_of(
        codegen_cases.convolutions(depthwise=False, max_channels=40),
        codegen_cases.convolutions(depthwise=True, max_channels=40, max_extent=12),
        codegen_cases.products(),
    )
    case, isa = data.draw(layers), load_isa("rvv", vlen=vlen)
    options = data.draw(st.sampled_from(choices(case.spec, isa)))
    codegen_cases.check(case, isa, options=options)


@pytest.mark.parametrize("vlen", VLENS)
def test_groups_tiles_unrolling_and_a_pass_of_its_own_are_offered(vlen):
    isa = load_isa("rvv", vlen=vlen)
    offered = choices(LAYER, isa)
    assert {options.lmul for options in offered} == {1, 2, 4, 8}
    assert {options.unroll for options in offered} == {8, 4, 1}
    assert {options.fuse for options in offered} == {True, False}
    assert len(set(offered)) == len(offered) <= 8
    assert all(options.columns == vlen * options.lmul // 32 for options in offered)
    assert len({generate(LAYER, isa, options).body for options in offered}) == len(offered)


@pytest.mark.parametrize("spec", [LAYER, MatrixSpec(1, 40, 10), ConvSpec(1, 9, 9, 70, 9, 9, 70, (3, 3), depthwise=True),
                                  CopySpec(100, 10)])  # fmt: skip
def test_the_first_choice_is_the_generators_own(spec):
    isa = load_isa("rvv")
    own, first = generate(spec, isa), generate(spec, isa, choices(spec, isa)[0])
    assert (first.body, first.buffers) == (own.body, own.buffers)


@pytest.mark.parametrize("lmul", [3, 16])
def test_a_group_that_does_not_exist_is_refused(lmul):
    with pytest.raises(ValueError, match=f"rvv does not offer lmul={lmul} for .*; it offers rows=14 columns=16"):
        generate(LAYER, load_isa("rvv"), Options(lmul=lmul))


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 31)), min_size=1, max_size=40))
def test_a_product_with_a_power_of_two_rounds_as_the_shift_does_once_saturated(pairs):
    sums, rights = (np.array(values, np.int64) for values in zip(*pairs, strict=True))
    factors = factor_values(np.zeros(len(pairs), np.int64), -rights)["right"]
    shifted = np.where(rights > 0, sums + (np.int64(1) << np.maximum(rights - 1, 0)) >> rights, sums)
    found = np.clip((sums * factors + 2**30) >> 31, -(2**31), 2**31 - 1)
    np.testing.assert_array_equal(np.clip(found, -(2**15), 2**15 - 1), np.clip(shifted, -(2**15), 2**15 - 1))


def specifications():
    yield LAYER
    yield ConvSpec(2, 9, 7, 5, 5, 4, 21, (3, 3), (2, 2), (1, 1))
    yield ConvSpec(1, 9, 9, 70, 9, 9, 70, (3, 3), padding=(1, 1), depthwise=True)
    yield ConvSpec(1, 9, 9, 3, 9, 9, 6, (3, 3), padding=(1, 1), depthwise=True)
    yield MatrixSpec(3, 77, 10)
    for kind in ("average", "max"):
        yield PoolSpec(kind, 1, 9, 9, 70, 4, 4, (3, 3), (2, 2), (1, 1))
        yield PoolSpec(kind, 1, 9, 9, 70, 4, 4, (3, 3), (2, 2), (1, 1), rescale=True)
    yield PoolSpec("average", 1, 9, 9, 70, 1, 1, (9, 9), (1, 1), mean=True)
    for kind in ("add", "mul", "requantize", "clamp"):
        yield ElementwiseSpec(kind, 1000, 1000)
    yield CopySpec(1000, 300)


def groups_of(instruction: Instruction, isa):
    """Yield (first register, registers) of each vector operand."""
    meaning = isa.meaning(instruction.op)
    written, read = operand_elements(instruction, meaning)
    operands = [(instruction.destination, meaning.result, written)]
    operands += list(zip(instruction.sources, meaning.sources, read, strict=True))
    for operand, kind, elements in operands:
        match = re.fullmatch(r"v(\d+)", operand) if isinstance(operand, str) else None
        if match:
            needed = math.ceil(elements * ELEMENT_BYTES[kind] * 8 / isa.parameters["vlen"])
            yield int(match[1]), 1 << (needed - 1).bit_length()


@pytest.mark.parametrize("vlen", VLENS)
def test_every_register_group_is_aligned_and_at_most_eight_registers(vlen):
    isa = load_isa("rvv", vlen=vlen)
    for spec, options in itertools.chain.from_iterable(
        [(spec, options) for options in choices(spec, isa)] for spec in specifications()
    ):
        for instruction, _ in walk(generate(spec, isa, options).body):
            if isa.meaning(instruction.op).kind == "control":
                continue
            for first, registers in groups_of(instruction, isa):
                assert registers <= 8, (spec, instruction)
                assert first % registers == 0, (spec, instruction)
                assert first + registers <= 32, (spec, instruction)


@pytest.mark.parametrize("vlen", VLENS)
def test_every_vsetvli_names_the_smallest_group_that_holds_its_lanes(vlen):
    isa = load_isa("rvv", vlen=vlen)
    sizes = {f"m{size}": size for size in (1, 2, 4, 8)} | {f"mf{size}": 1 / size for size in (2, 4, 8)}
    for spec in specifications():
        settings_ = [one for one, _ in walk(generate(spec, isa).body) if one.op == "vsetvli"]
        assert settings_
        for one in settings_:
            width, group = int(one.sources[0][1:]), sizes[one.sources[1]]
            assert one.count * width <= group * vlen
            assert 2 * one.count * width > group * vlen or group * 64 == width


def test_vector_instructions_state_their_length():
    isa = load_isa("rvv")
    for spec in specifications():
        for instruction, _ in walk(generate(spec, isa).body):
            if instruction.op.startswith("v") and instruction.op != "vsetvli":
                assert instruction.count is not None, instruction


def test_programs_do_not_grow_with_the_layer():
    isa = load_isa("rvv")
    small = generate(ConvSpec(1, 12, 12, 64, 12, 12, 64, (3, 3), padding=(1, 1)), isa)
    large = generate(ConvSpec(1, 240, 240, 640, 240, 240, 640, (3, 3), padding=(1, 1)), isa)
    assert sum(1 for _ in walk(large.body)) < 3 * sum(1 for _ in walk(small.body)) < 3000


def test_what_cannot_be_generated_is_refused_by_name():
    isa = load_isa("rvv")
    with pytest.raises(NotImplementedError, match="matmul"):
        generate(MatrixSpec(3, 4, 5, batch=2), isa)
    with pytest.raises(ValueError, match="mul: 10 elements are no multiple of the second operand's 3"):
        generate(ElementwiseSpec("mul", 10, 3), isa)


def test_weights_with_a_zero_point_are_refused():
    spec = MatrixSpec(1, 2, 3)
    operands = Operands((1.0,), (0,), 1.0, 0, -128, 127, np.ones((3, 2), np.int8), np.ones(3))
    program = generate(spec, load_isa("rvv"))
    with pytest.raises(ValueError, match="weights have zero point 3; vector kernels need 0"):
        pack(program, spec, replace(operands, weight_zero_point=3))
