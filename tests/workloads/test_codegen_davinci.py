from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen import davinci
from workloads.codegen.davinci_plan import blocks, depths, make_plan
from workloads.codegen.davinci_tiles import Windows, segments
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import ascend, integer
from workloads.operands import Operands
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, Pool2d
from workloads.program import count, walk

PROFILE = "ascend-fixpipe"
FEW = settings(max_examples=25, deadline=None)
# Buffers small enough that small layers are cut into many tiles along every axis.
SMALL = {
    "l1_bytes": 12288, "l0a_bytes": 2048, "l0b_bytes": 2048, "l0c_bytes": 4096, "ub_bytes": 8192,
    "bias_table_bytes": 256, "fixpipe_buffer_bytes": 512,
}  # fmt: skip


def isa_of(small):
    return load_isa("davinci", **(SMALL if small else {}))


def integers(random, shape):
    return random.integers(-128, 128, shape, dtype=np.int8)


def products(random, weights, channels_out, bias=True):
    low = int(random.integers(-128, 0))
    return Operands(
        (float(random.uniform(0.001, 0.1)),), (int(random.integers(-128, 128)),), float(random.uniform(0.05, 2.0)),
        int(random.integers(-128, 128)), low, int(random.integers(low, 128)), weights,
        random.uniform(0.0005, 0.02, channels_out), 0,
        random.integers(-5000, 5000, channels_out).astype(np.int32) if bias else None,
    )  # fmt: skip


def run(program, spec, operands, *inputs):
    """Execute and check that what was executed is what was counted, and that no space overflows."""
    names = ("input", "input2")[: len(inputs)]
    buffers = dict(zip(names, inputs, strict=True)) | (davinci.pack(program, spec, operands) if operands else {})
    execution, counts = execute(program, buffers), count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    check_capacity(program)
    return execution.buffers["output"].view(np.int8)


def check_capacity(program):
    for space in program.isa.spaces[1:]:
        used = sum(buffer.bytes for buffer in program.buffers if buffer.space == space)
        assert 2 * used <= program.isa.parameters[f"{space}_bytes"], space


@st.composite
def convolutions(draw, depthwise=False):
    def axis():
        taps, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        before, after = draw(st.integers(0, taps - 1)), draw(st.integers(0, taps - 1))
        span = (taps - 1) * dilation + 1
        extent = draw(st.integers(max(1, span - before - after), 11))
        return taps, stride, dilation, before, after, extent, (extent + before + after - span) // stride + 1

    (kh, sh, dh, top, bottom, height, height_out), (kw, sw, dw, left, right, width, width_out) = axis(), axis()
    groups = 1 if depthwise else draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if depthwise:
        channels, channels_out = inputs, inputs * draw(st.sampled_from([1, 1, 2]))
    else:
        channels, channels_out = inputs // 2 * groups + groups, outputs * groups
    spec = ConvSpec(
        draw(st.integers(1, 2)), height, width, channels, height_out, width_out, channels_out, (kh, kw), (sh, sw),
        (top, left), (dh, dw), groups, depthwise,
    )  # fmt: skip
    return spec, (top, left, bottom, right)


def check_convolution(case, small, seed):
    spec, padding = case
    random = np.random.default_rng(seed)
    operators = {"stride": spec.stride, "padding": padding, "dilation": spec.dilation}
    if spec.depthwise:
        weights = integers(random, (1, *spec.kernel, spec.channels_out))
        operator = DepthwiseConv2d(**operators, multiplier=spec.channels_out // spec.channels)
        kernel = integer.depthwise_conv2d
    else:
        weights = integers(random, (spec.channels_out, *spec.kernel, spec.channels // spec.groups))
        operator, kernel = Conv2d(**operators, groups=spec.groups), integer.conv2d
    operands = products(random, weights, spec.channels_out)
    x = integers(random, (spec.batch, spec.height, spec.width, spec.channels))
    found = run(davinci.generate(spec, isa_of(small)), spec, operands, x)
    np.testing.assert_array_equal(found, kernel(x, operands, operator, PROFILE).ravel())


@FEW
@given(convolutions(), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_convolution_on_the_cube_equals_the_integer_kernel(case, small, seed):
    check_convolution(case, small, seed)


@FEW
@given(convolutions(depthwise=True), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_depthwise_convolution_on_the_cube_equals_the_integer_kernel(case, small, seed):
    check_convolution(case, small, seed)


def test_blocks_of_channels_whose_largest_buffers_exceed_l1_together_share_it():
    """Of 37 channels, 32 need most room for weights and five for the image."""
    spec = ConvSpec(1, 11, 6, 37, 6, 3, 37, (1, 4), (2, 1), depthwise=True)
    check_convolution((spec, (0, 0, 0, 0)), small=True, seed=0)


@FEW
@given(st.integers(1, 40), st.integers(1, 700), st.integers(1, 70), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_fully_connected_layer_on_the_cube_equals_the_integer_kernel(rows, depth, columns, small, seed):
    random = np.random.default_rng(seed)
    spec = MatrixSpec(rows, depth, columns)
    operands = products(random, integers(random, (columns, depth)), columns, bias=False)
    x = integers(random, (rows, depth))
    found = run(davinci.generate(spec, isa_of(small)), spec, operands, x)
    expected = integer.fully_connected(x, operands, FullyConnected(), PROFILE)
    np.testing.assert_array_equal(found, expected.ravel())


def scaled(random, inputs):
    low = int(random.integers(-128, 0))
    return Operands(
        tuple(float(value) for value in random.uniform(0.001, 0.2, inputs)),
        tuple(int(value) for value in random.integers(-128, 128, inputs)),
        float(random.uniform(0.005, 0.5)), int(random.integers(-128, 128)), low, int(random.integers(low, 128)),
    )  # fmt: skip


@FEW
@given(
    st.sampled_from(["add", "mul", "requantize", "clamp"]), st.integers(1, 900), st.integers(1, 40), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_elementwise_kernels_equal_the_half_precision_reference(kind, period, repeats, small, seed):
    random = np.random.default_rng(seed)
    two = kind in ("add", "mul")
    spec = ElementwiseSpec(kind, period * repeats, period)
    operands = scaled(random, 1 + two)
    x = integers(random, (repeats, period))
    inputs = (x, integers(random, (period,))) if two else (x,)
    found = run(davinci.generate(spec, isa_of(small)), spec, operands, *inputs)
    reference = {"add": ascend.add, "mul": ascend.mul}.get(kind, ascend.rescale)
    np.testing.assert_array_equal(found, reference(*inputs, operands).ravel())


@st.composite
def pools(draw, kind):
    def axis():
        taps, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        before, after = draw(st.integers(0, taps - 1)), draw(st.integers(0, taps - 1))
        extent = draw(st.integers(taps, 11))
        return taps, stride, before, after, extent, (extent + before + after - taps) // stride + 1

    (kh, sh, top, bottom, height, height_out), (kw, sw, left, right, width, width_out) = axis(), axis()
    channels, batch = draw(st.integers(1, 70)), draw(st.integers(1, 2))
    spec = PoolSpec(kind, batch, height, width, channels, height_out, width_out, (kh, kw), (sh, sw), (top, left))
    return spec, Pool2d(kind, (kh, kw), (sh, sw), (top, left, bottom, right))


@FEW
@given(pools("max"), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_maximum_pool_is_exact(case, small, seed):
    spec, operator = case
    random = np.random.default_rng(seed)
    operands = scaled(random, 1)
    operands = replace(operands, output_scale=operands.input_scales[0], output_zero_point=operands.input_zero_points[0])
    x = integers(random, (spec.batch, spec.height, spec.width, spec.channels))
    found = run(davinci.generate(spec, isa_of(small)), spec, operands, x)
    shape = (spec.batch, spec.height_out, spec.width_out, spec.channels)
    np.testing.assert_array_equal(found.reshape(shape), ascend.max_pool(x, operator, shape, operands))
    np.testing.assert_array_equal(found.reshape(shape), integer.pool2d(x, operands, operator, "onnxruntime"))


@FEW
@given(pools("average"), st.booleans(), st.integers(0, 2**32 - 1))
def test_an_average_pool_equals_the_single_precision_reference(case, small, seed):
    spec, operator = case
    random = np.random.default_rng(seed)
    operands = scaled(random, 1)
    x = integers(random, (spec.batch, spec.height, spec.width, spec.channels))
    found = run(davinci.generate(spec, isa_of(small)), spec, operands, x)
    shape = (spec.batch, spec.height_out, spec.width_out, spec.channels)
    np.testing.assert_array_equal(found.reshape(shape), ascend.average_pool(x, operator, shape, operands))


@FEW
@given(st.integers(1, 5000), st.integers(1, 6000), st.booleans())
def test_a_copy_moves_every_byte(elements, run_bytes, small):
    spec = CopySpec(elements, run_bytes)
    x = np.arange(elements).astype(np.int8)
    np.testing.assert_array_equal(run(davinci.generate(spec, isa_of(small)), spec, None, x), x)


@pytest.mark.parametrize(
    ("spec", "macs"),
    [
        (ConvSpec(1, 224, 224, 3, 112, 112, 64, (7, 7), (2, 2), (3, 3)), 118_013_952),
        (ConvSpec(1, 14, 14, 512, 14, 14, 512, (3, 3), padding=(1, 1)), 462_422_016),
        (ConvSpec(4, 112, 112, 32, 112, 112, 32, (3, 3), padding=(1, 1), depthwise=True), 14_450_688),
        (ConvSpec(1, 572, 572, 64, 570, 570, 64, (3, 3)), 11_977_113_600),
        (MatrixSpec(1, 25088, 4096), 102_760_448),
        (MatrixSpec(64, 200_000, 1000), 12_800_000_000),
    ],
)
def test_tiles_of_large_layers_fit_two_at_a_time_and_cover_every_product(spec, macs):
    program = davinci.generate(spec, load_isa("davinci"))
    check_capacity(program)
    assert program.macs == macs
    work = 0
    for instruction, loops in walk(program.body):
        if instruction.op == "mmad_s8":
            m, k, n = instruction.shape[:3]
            assert k % 32 == 0
            assert n % 16 == 0
            work += m * k * n * np.prod([loop.trips for loop in loops], dtype=np.int64)
    if not getattr(spec, "depthwise", False):
        assert macs <= work <= 2 * macs
    else:
        assert work == 32 * macs  # one diagonal per 32 x 32 block


def test_the_size_of_a_program_does_not_grow_with_the_layer():
    sizes = [
        len(list(walk(davinci.generate(ConvSpec(n, s, s, c, s, s, c, (3, 3), padding=(1, 1)), isa_of(False)).body)))
        for n, s, c in ((1, 56, 64), (64, 448, 64), (1, 112, 1024))
    ]
    assert max(sizes) < 200


def test_the_first_layer_is_stored_four_channels_wide_and_others_in_groups_of_thirty_two():
    isa = load_isa("davinci")
    spec = ConvSpec(1, 8, 8, 3, 8, 8, 16, (3, 3), padding=(1, 1))
    assert [block.channels for block in blocks(spec, isa)] == [4]
    assert [block.channels for block in blocks(replace(spec, channels=33), isa)] == [64]
    depthwise = replace(spec, channels=70, channels_out=70, depthwise=True)
    assert [(block.trips, block.inputs, block.channels) for block in blocks(depthwise, isa)] == [
        (2, 32, 32),
        (1, 6, 32),
    ]


def test_depth_tiles_follow_each_other_without_a_gap():
    isa = load_isa("davinci", **SMALL)
    spec = ConvSpec(1, 9, 9, 40, 9, 9, 24, (3, 3), padding=(1, 1))
    (block,) = blocks(spec, isa)
    found = depths(spec, block, make_plan(spec, block, isa).taps, isa)
    covered = sorted(
        depth.at + y * depth.steps[0] + x * depth.steps[1] + c * depth.steps[2] + inside
        for depth in found
        for y in range(depth.rows.trips)
        for x in range(depth.columns.trips)
        for c in range(depth.channels.trips)
        for inside in range(depth.pitch)
    )
    assert covered == list(range(9 * 64))


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 6), st.integers(0, 5), st.integers(1, 9))
def test_segments_cover_each_output_once_and_say_what_they_read(extent, stride, span, padding, size):
    extent_out = max((extent + 2 * padding - span) // stride + 1, 1)
    seen = []
    for segment in segments(Windows(extent, extent_out, stride, span, padding), size):
        for trip in range(segment.trips):
            start = segment.start + trip * segment.size
            seen += range(start, start + segment.size)
            wanted = range(start * stride - padding, (start + segment.size - 1) * stride - padding + span)
            inside = [at for at in wanted if 0 <= at < extent]
            first = segment.first + trip * segment.size * stride
            assert inside == list(range(first, first + segment.elements))
            assert segment.padded == (len(inside) < len(wanted))
            if inside:
                assert inside[0] - wanted[0] == segment.before
    assert seen == list(range(extent_out))


def test_asymmetric_weights_are_refused():
    spec = MatrixSpec(1, 4, 4)
    operands = replace(products(np.random.default_rng(0), np.ones((4, 4), np.int8), 4), weight_zero_point=3)
    with pytest.raises(ValueError, match="symmetric"):
        davinci.pack(davinci.generate(spec, isa_of(False)), spec, operands)


def test_a_window_larger_than_l1_is_refused():
    with pytest.raises(ValueError, match="exceeds L1"):
        davinci.generate(ConvSpec(1, 9, 9, 60_000, 1, 1, 16, (9, 9)), load_isa("davinci"))


def test_products_of_two_activations_are_not_generated():
    with pytest.raises(NotImplementedError, match="davinci: no kernel"):
        davinci.generate(MatrixSpec(4, 4, 4, batch=2), load_isa("davinci"))


def test_half_precision_addition_rounds_to_even():
    operands = Operands((0.5, 0.5), (0, 0), 1.0, 0, -128, 127)
    a, b = np.array([1, 3, -1, 127, -128], np.int8), np.array([0, 0, 0, 127, -128], np.int8)
    assert ascend.add(a, b, operands).tolist() == [0, 2, 0, 127, -128]  # 0.5 and 1.5 and -0.5 are ties


def test_an_average_that_counts_the_padding_is_refused_by_name():
    spec = PoolSpec("average", 1, 4, 4, 16, 4, 4, (3, 3), (1, 1), (1, 1), count_padding=True)
    with pytest.raises(NotImplementedError, match="counts the padding"):
        davinci.generate(spec, load_isa("davinci"))
    davinci.generate(replace(spec, padding=(0, 0), height_out=2, width_out=2), load_isa("davinci"))
