from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen import choices, generate, pack
from workloads.codegen.davinci_plan import blocks, make_plan
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec, SoftmaxSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.operands import Operands
from workloads.options import DEFAULT, Options
from workloads.program import count, walk

PROFILE = "ascend-fixpipe"
# Buffers small enough that small layers are cut into many tiles along every axis.
SMALL = {
    "l1_bytes": 12288, "l0a_bytes": 4096, "l0b_bytes": 4096, "l0c_bytes": 8192, "ub_bytes": 16384,
    "bias_table_bytes": 256, "fixpipe_buffer_bytes": 512,
}  # fmt: skip
NO_FIXPIPE = {"bias_table_bytes": 0, "fixpipe_buffer_bytes": 0}
FEW = settings(max_examples=20, deadline=None)


def isa_of(small, fixpipe):
    return load_isa("davinci", **({**(SMALL if small else {}), **({} if fixpipe else NO_FIXPIPE)}))


def check_options(case, isa, data):
    """Run two of the options offered for a layer: values of the integer kernel, counts of the closed form."""
    offered = choices(case.spec, isa)
    assert offered[0] == DEFAULT
    assert len(set(offered)) == len(offered)
    expected = case.expected(PROFILE)
    inputs = {"input": case.inputs[0].reshape(-1)}
    for options in data.draw(st.lists(st.sampled_from(offered), min_size=1, max_size=2, unique=True)):
        program = generate(case.spec, isa, options)
        assert program.options == options
        assert program.macs == case.spec.macs
        execution = execute(program, inputs | pack(program, case.spec, case.operands))
        counts = count(program)
        assert execution.instructions == counts.instructions
        assert execution.loaded_bytes == counts.loaded_bytes
        assert execution.stored_bytes == counts.stored_bytes
        found = execution.buffers["output"].view(np.int8).reshape(expected.shape)
        np.testing.assert_array_equal(found, expected)


@FEW
@given(st.data(), st.booleans(), st.booleans())
def test_every_option_of_a_convolution_gives_the_values_of_the_integer_kernel(codegen_cases, data, small, fixpipe):
    case = data.draw(codegen_cases.convolutions(max_channels=40, max_extent=11))
    check_options(case, isa_of(small, fixpipe), data)


@FEW
@given(st.data(), st.booleans(), st.booleans())
def test_every_option_of_a_product_gives_the_values_of_the_integer_kernel(codegen_cases, data, small, fixpipe):
    case = data.draw(codegen_cases.products(max_extent=300))
    check_options(case, isa_of(small, fixpipe), data)


LAYER = ConvSpec(1, 56, 56, 64, 56, 56, 64, (3, 3), padding=(1, 1))


@pytest.mark.parametrize("fixpipe", [True, False])
def test_options_change_what_is_generated(fixpipe):
    isa = isa_of(False, fixpipe)
    programs = [generate(LAYER, isa, options) for options in choices(LAYER, isa)]
    assert len(programs) >= 16
    assert len({(program.buffers, program.body) for program in programs}) == len(programs)


@pytest.mark.parametrize(("rows", "columns"), [(4, None), (None, 4), (8, 4)])
def test_rows_and_columns_bound_the_tile_in_blocks_of_the_cube(rows, columns):
    isa = load_isa("davinci")
    spec = replace(LAYER, channels_out=128)
    program = generate(spec, isa, Options(rows=rows, columns=columns))
    shapes = [instruction.shape for instruction, _ in walk(program.body) if instruction.op == "mmad_s8"]
    assert max(m for m, _, _ in shapes) <= 16 * (rows or 16)
    assert max(n for _, _, n in shapes) <= 16 * (columns or 8)


def test_a_direct_convolution_multiplies_one_tap_at_a_time():
    isa = load_isa("davinci")
    (block,) = blocks(LAYER, isa)
    assert make_plan(LAYER, block, isa).taps == (1, 2, 64)
    assert make_plan(LAYER, block, isa, Options(lowering="direct")).taps == (1, 1, 64)
    pointwise = ConvSpec(1, 8, 8, 64, 8, 8, 64, (1, 1))
    assert all(options.lowering is None for options in choices(pointwise, isa))


@pytest.mark.parametrize("fixpipe", [True, False])
def test_a_pass_of_its_own_requantises_what_leaves_the_cube_as_sums(fixpipe):
    isa = isa_of(False, fixpipe)
    fused, apart = (generate(LAYER, isa, Options(fuse=fuse)) for fuse in (None, False))
    assert {buffer.name for buffer in apart.buffers} - {buffer.name for buffer in fused.buffers} >= {"workspace"}
    sums = 4 * 56 * 56 * 64
    more = {
        key: count(apart).stored_bytes[key] - count(fused).stored_bytes.get(key, 0) for key in count(apart).stored_bytes
    }
    assert more["global"] == sums
    ops = {instruction.op for instruction, _ in walk(apart.body)}
    assert ops & {"fixpipe_s8", "dequantize_ub_s8"} == set()
    assert {"vmul_f32", "vconv_f16_s8", "fixpipe_s32" if fixpipe else "move_ub_s32"} <= ops


@pytest.mark.parametrize(
    "spec",
    [
        PoolSpec("max", 1, 8, 8, 16, 4, 4, (2, 2), (2, 2)),
        ElementwiseSpec("add", 1000, 1000),
        CopySpec(500, 20),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_vector_kernels_offer_one_buffer_or_two(spec):
    isa = load_isa("davinci")
    assert choices(spec, isa) == (DEFAULT, Options(buffers=1))
    one, two = (generate(spec, isa, options) for options in (Options(buffers=1), DEFAULT))
    assert one.body == two.body
    assert {buffer.copies for buffer in one.buffers} == {1}
    assert {buffer.copies for buffer in two.buffers if buffer.space != "global"} == {2}


def test_options_that_are_not_offered_are_refused_with_those_that_are():
    isa = load_isa("davinci")
    with pytest.raises(
        ValueError, match=r"davinci does not offer unroll=4 for CopySpec.*; it offers default; buffers=1"
    ):
        generate(CopySpec(500, 20), isa, Options(unroll=4))
    assert choices(SoftmaxSpec(1, 10), isa) == (DEFAULT, Options(buffers=1))
    assert choices(MatrixSpec(4, 4, 4, batch=2), isa) == (DEFAULT,)


def test_sums_at_their_extremes_are_requantised_alike_by_both_epilogues():
    # 9 bits are kept before the zero point is added, and sums beyond 24 bits are rounded when they become floats
    random = np.random.default_rng(7)
    spec = MatrixSpec(2, 2048, 16)
    x, weights = np.full((2, 2048), -128, np.int8), random.integers(-128, 128, (16, 2048), dtype=np.int8)
    weights[:4] = [[-128], [127], [-127], [1]]
    operands = Operands(
        (1.0,), (127,), 1.0, -128, -128, 127, weights, 2.0 ** random.uniform(-24, 0, 16), 0,
        np.arange(-(1 << 30), 1 << 30, 1 << 27)[:16].astype(np.int32),
    )  # fmt: skip
    results = []
    for options in (DEFAULT, Options(fuse=False)):
        for fixpipe in (True, False):
            program = generate(spec, isa_of(False, fixpipe), options)
            run = execute(program, {"input": x.ravel(), **pack(program, spec, operands)})
            results.append(run.buffers["output"].view(np.int8))
    assert len(np.unique(results[0])) > 2
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
