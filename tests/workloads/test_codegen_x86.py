import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen import avx2, avx512_vnni, choices, generate, pack
from workloads.codegen.geometry import Convolution
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.codegen.x86_product import Tile, choose_tile, depth_of, vectors_of
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.operands import Operands
from workloads.operators import Conv2d, FullyConnected
from workloads.options import Options
from workloads.program import Loop, count, walk

SETS = ("avx2", "avx512-vnni")
DIALECTS = {"avx2": avx2.DIALECT, "avx512-vnni": avx512_vnni.DIALECT}
FEW = settings(max_examples=25, deadline=None)


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data())
def test_a_convolution_equals_the_integer_kernel(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.convolutions(depthwise=False, max_channels=40)), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data())
def test_a_depthwise_convolution_equals_the_integer_kernel(name, codegen_cases, data):
    codegen_cases.check(
        data.draw(codegen_cases.convolutions(depthwise=True, max_channels=40, max_extent=12)), load_isa(name)
    )


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data())
def test_a_fully_connected_layer_equals_the_integer_kernel(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.products()), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data())
def test_pooling_equals_the_integer_kernel(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.pools()), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data())
def test_an_elementwise_layer_equals_the_integer_kernel(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.elementwise()), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_difference_equals_the_integer_kernel(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.elementwise(kinds=("sub",))), load_isa(name))


@pytest.mark.parametrize("name", SETS)
@FEW
@given(elements=st.integers(1, 300), run=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_a_copy_leaves_every_byte_as_it_was(codegen_cases, name, elements, run, seed):
    x = codegen_cases.random_int8(seed, (elements,))
    execution = execute(generate(CopySpec(elements, run), load_isa(name)), {"input": x})
    np.testing.assert_array_equal(execution.buffers["output"].view(np.int8), x)


def extreme(codegen_cases, x, weight, zero_point, depth, columns=19):
    operands = Operands(
        (1.0,), (zero_point,), 16384.0, 0, -128, 127, np.full((columns, depth), weight, np.int8),
        np.ones(columns), 0, np.zeros(columns, np.int32),
    )  # fmt: skip
    return codegen_cases.Case(
        MatrixSpec(3, depth, columns), FullyConnected(), operands, (np.full((3, depth), x, np.int8),)
    )


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("depth", [1, 511, 512, 513])
@pytest.mark.parametrize("zero_point", [-128, 127])
@pytest.mark.parametrize(("x", "weight"), [(-128, -128), (127, -128), (-128, 127), (127, 127)])
def test_sums_of_extreme_products_are_exact(codegen_cases, name, depth, zero_point, x, weight):
    codegen_cases.check(extreme(codegen_cases, x, weight, zero_point, depth), load_isa(name))


@pytest.mark.parametrize("name", SETS)
def test_ties_are_rounded_to_even_before_the_zero_point(name):
    # scale 1/2 and an odd zero point: sums 1 and 3 are 0.5 and 1.5, rounded to 0 and 2, then 5 is added
    spec = MatrixSpec(1, 1, 2)
    operands = Operands(
        (0.5,), (0,), 1.0, 5, -128, 127, np.array([[1], [3]], np.int8), np.ones(2), 0, np.zeros(2, np.int32)
    )
    program = generate(spec, load_isa(name))
    execution = execute(program, {"input": np.ones(1, np.int8), **pack(program, spec, operands)})
    assert execution.buffers["output"].view(np.int8).tolist() == [5, 7]


def test_bytes_of_weights_are_those_of_the_layer_when_channels_fill_vectors():
    for name in SETS:
        program = generate(ConvSpec(1, 8, 8, 64, 8, 8, 64, (3, 3), padding=(1, 1)), load_isa(name))
        assert program.buffer("weights").bytes == 3 * 3 * 64 * 64


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_option_that_is_offered_gives_the_values_of_the_kernels(name, codegen_cases, data):
    isa = load_isa(name)
    layers = st.one_of(
        codegen_cases.convolutions(depthwise=False, max_channels=40),
        codegen_cases.convolutions(depthwise=True, max_channels=40, max_extent=12, max_kernel=7),
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
    assert len(set(offered)) == len(offered) <= 7


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("spec", [ConvSpec(1, 9, 9, 24, 9, 9, 40, (3, 3), padding=(1, 1)), MatrixSpec(1, 40, 10)])
def test_the_first_choice_is_the_sets_own(name, spec):
    isa = load_isa(name)
    own, first = generate(spec, isa), generate(spec, isa, choices(spec, isa)[0])
    assert (first.body, first.buffers) == (own.body, own.buffers)


@pytest.mark.parametrize("name", SETS)
def test_gathered_windows_waste_fewer_lanes_on_few_channels(name):
    """3 x 3 windows of 3 channels: three runs of 9 bytes, each rounded up to whole steps, or one of 27."""
    isa, spec = load_isa(name), ConvSpec(1, 8, 8, 3, 8, 8, 16, (3, 3), padding=(1, 1))
    dialect = DIALECTS[name]
    direct, gathered = (generate(spec, isa, Options(lowering=lowering)) for lowering in ("direct", "im2col"))
    steps = (3 * math.ceil(9 / dialect.step), math.ceil(27 / dialect.step))
    assert steps[1] < steps[0]
    multiply = "vpdpbusd" if name == "avx512-vnni" else "vpmaddwd"
    found = [count(program).instructions[multiply] for program in (direct, gathered)]
    assert found == [64 * 16 // dialect.lanes * number for number in steps]


@pytest.mark.parametrize("name", SETS)
def test_a_depthwise_convolution_widens_each_pixel_of_a_kernel_row_once(name):
    """A tile of 8 pixels under a row of 3 taps meets 10 columns, and 3 rows of them."""
    lanes = DIALECTS[name].lanes
    spec = ConvSpec(1, 10, 10, lanes, 8, 8, lanes, (3, 3), groups=lanes, depthwise=True)
    counts = count(generate(spec, load_isa(name), Options(rows=8))).instructions
    assert counts["vpmovsxbd.load"] == 8 * 3 * 10
    assert counts["vpdpwssd" if name == "avx512-vnni" else "vpmaddwd"] == 8 * 8 * 9


LAYER = ConvSpec(1, 56, 56, 64, 56, 56, 64, (3, 3), padding=(1, 1))


def inner_loop(program):
    """Return the instructions of the loop that is executed most often."""
    innermost = [(math.prod(loop.trips for loop in loops), loops[-1]) for _, loops in walk(program.body) if loops]
    times, loop = max(innermost, key=lambda item: item[0])
    assert not any(isinstance(statement, Loop) for statement in loop.body)
    return times, [statement.op for statement in loop.body]


@pytest.mark.parametrize(
    ("name", "tile", "multiply", "per_product", "loads"),
    [
        # 6 pixels x 4 vectors: 24 sums, 4 weights and 4 spare of 32 registers; 24 VPDPBUSD for 10 loads a step
        ("avx512-vnni", Tile(6, 4), "vpdpbusd", 1, ("vmovdqu8.load", "vpbroadcastd.load")),
        # 4 pixels x 2 vectors: 8 sums, 2 weights and 4 spare of 16 registers; VPMADDWD and VPADDD
        ("avx2", Tile(4, 2), "vpmaddwd", 2, ("vpmovsxbw.load", "vpbroadcastd.load")),
    ],
)
def test_the_inner_loop_of_a_3x3_convolution_follows_from_its_tile(name, tile, multiply, per_product, loads):
    dialect = DIALECTS[name]
    conv = Convolution(1, 56, 56, 64, 56, 56, 64, (3, 3), (1, 1), (1, 1))
    assert choose_tile(conv, dialect) == tile
    assert tile.pixels * tile.vectors + tile.vectors + 4 <= dialect.registers
    depth = depth_of(conv, dialect)
    assert (depth.taps, depth.steps * dialect.step) == (1, 3 * 64)
    isa = load_isa(name)
    program = generate(LAYER, isa)
    times, ops = inner_loop(program)
    products_per_step = tile.pixels * tile.vectors
    assert ops.count(multiply) == depth.unroll * products_per_step
    assert sum(ops.count(op) for op in loads) == depth.unroll * (tile.pixels + tile.vectors)
    expected = depth.unroll * (per_product * products_per_step + tile.pixels + tile.vectors) + len(isa.loop_control)
    assert len(ops) == expected
    blocks = vectors_of(conv, dialect) // tile.vectors
    assert times == blocks * 56 * (56 // tile.pixels) * 3 * (depth.steps // depth.unroll)


def tile_instructions(pixels, vectors, unroll, iterations, per_product, per_result):
    """Instructions of one tile: bias in, three kernel rows of unrolled steps, scales and bounds, results out."""
    start = vectors + (pixels - 1) * vectors
    step = per_product * pixels * vectors + pixels + vectors
    window = 3 * (iterations * (unroll * step + 3) + 3)
    return start + window + vectors + 3 + per_result * pixels * vectors


def test_the_instructions_of_an_avx512_3x3_convolution_follow_from_its_tile():
    # 9 tiles of 6 pixels and one of 2; 48 steps of 4 bytes a kernel row; a result takes 8 instructions
    tiles = 9 * (tile_instructions(6, 4, 4, 12, 1, 8) + 3) + tile_instructions(2, 4, 4, 12, 1, 8)
    fill = 1 + 58 * 58 * 64 // 256 * (4 + 3)
    copy = 1 + 56 * (56 * 64 // 256 * (3 * 4 + 3) + 3)
    program = generate(LAYER, load_isa("avx512-vnni"))
    assert count(program).total_instructions == 56 * (tiles + 3) + fill + copy
    assert program.macs / count(program).total_instructions == pytest.approx(41.55, abs=0.01)


def test_the_instructions_of_an_avx2_3x3_convolution_follow_from_its_tile():
    # 4 blocks of 2 vectors, 14 tiles of 4 pixels; 96 steps of 2 values a kernel row; a result takes 9 instructions
    tiles = 14 * (tile_instructions(4, 2, 4, 24, 2, 9) + 3)
    fill = 1 + 58 * 58 * 64 * 2 // 128 * (4 + 3)
    copy = 56 * (56 * 64 // 64 * (2 * 4 + 3) + 3)
    program = generate(LAYER, load_isa("avx2"))
    assert count(program).total_instructions == 4 * (56 * (tiles + 3) + 3) + fill + copy
    assert program.macs / count(program).total_instructions == pytest.approx(5.53, abs=0.01)


def test_the_multiply_adds_of_avx512_outweigh_its_loads():
    _, ops = inner_loop(generate(LAYER, load_isa("avx512-vnni")))
    dots = ops.count("vpdpbusd")
    assert sum(op.endswith(".load") for op in ops) < dots
    assert len(ops) < 1.5 * dots


@pytest.mark.parametrize("name", SETS)
def test_programs_do_not_grow_with_the_layer(name):
    isa = load_isa(name)
    small = generate(ConvSpec(1, 12, 12, 64, 12, 12, 64, (3, 3), padding=(1, 1)), isa)
    large = generate(ConvSpec(1, 240, 240, 640, 240, 240, 640, (3, 3), padding=(1, 1)), isa)
    assert sum(1 for _ in walk(large.body)) < 3 * sum(1 for _ in walk(small.body)) < 6000


@pytest.mark.parametrize("name", SETS)
def test_unknown_operations_and_batches_of_matrices_are_refused_by_name(name):
    isa = load_isa(name)
    with pytest.raises(NotImplementedError, match="'divide'"):
        generate(ElementwiseSpec("divide", 4, 4), isa)
    with pytest.raises(NotImplementedError, match="matmul"):
        generate(MatrixSpec(3, 4, 5, batch=2), isa)


@pytest.mark.parametrize("name", SETS)
def test_a_second_operand_that_does_not_repeat_is_refused(name):
    with pytest.raises(ValueError, match="add: 10 elements are no multiple of the second operand's 3"):
        generate(ElementwiseSpec("add", 10, 3), load_isa(name))


@pytest.mark.parametrize("name", SETS)
def test_weights_with_a_zero_point_are_refused(codegen_cases, name):
    case = extreme(codegen_cases, 1, 1, 0, 4)
    program = generate(case.spec, load_isa(name))
    with pytest.raises(ValueError, match="weights have zero point 3; vector kernels need 0"):
        pack(program, case.spec, replace(case.operands, weight_zero_point=3))


@pytest.mark.parametrize("name", SETS)
def test_a_window_that_lies_in_the_padding_gives_the_zero_point(codegen_cases, name):
    spec = ConvSpec(1, 1, 1, 3, 3, 3, 2, (1, 1), padding=(1, 1))
    operands = Operands(
        (0.5,),
        (7,),
        0.5,
        -3,
        -128,
        127,
        codegen_cases.random_int8(1, (2, 1, 1, 3)),
        np.ones(2),
        0,
        np.zeros(2, np.int32),
    )
    case = codegen_cases.Case(
        spec, Conv2d(padding=(1, 1, 1, 1)), operands, (codegen_cases.random_int8(2, (1, 1, 1, 3)),)
    )
    codegen_cases.check(case, load_isa(name))


@pytest.mark.parametrize("name", SETS)
def test_pooling_over_the_whole_image_reads_each_byte_once(name):
    program = generate(PoolSpec("average", 1, 7, 7, 64, 1, 1, (7, 7), (1, 1), mean=True), load_isa(name))
    widened = count(program).instructions["vpmovsxbd.load"]
    assert widened * DIALECTS[name].lanes == 7 * 7 * 64
