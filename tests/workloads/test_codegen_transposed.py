"""Transposed convolutions: Programs leave the bytes of the kernel of their profile, and waste no products."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF, choices, generate, pack
from workloads.codegen.specs import specify
from workloads.codegen.specs_images import TransposedSpec
from workloads.codegen.transposed import parts
from workloads.executor import execute
from workloads.graph import layer_macs
from workloads.isa import load_isa
from workloads.kernels.transposed import transposed_conv2d
from workloads.legality import check
from workloads.operands import Operands
from workloads.operators import TransposedConv2d
from workloads.options import DEFAULT
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = [
    ("thumb2-dsp", {}), ("rv32im", {}), ("rv64im", {}), ("rv64gc", {}), ("rvv", {"vlen": 128}), ("rvv", {"vlen": 512}),
    ("avx2", {}), ("avx512-vnni", {}), ("davinci", {}), ("davinci", {"fixpipe_buffer_bytes": 0, "bias_table_bytes": 0}),
]  # fmt: skip
on_every_set = pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)


def random_int8(random, shape):
    return random.integers(-128, 128, shape).astype(np.int8)


def operands_of(random, spec):
    """Draw constants; scales reach above 1, so that left shifts occur."""
    return Operands(
        (0.5,), (int(random.integers(-128, 128)),), float(2.0 ** random.uniform(-2, 6)),
        int(random.integers(-128, 128)), -120, 115,
        weights=random_int8(random, (spec.channels_out, *spec.kernel, spec.channels // spec.groups)),
        weight_scales=2.0 ** random.uniform(-8, 1, spec.channels_out),
        bias=random.integers(-30000, 30000, spec.channels_out, np.int32) if random.random() < 0.7 else None,
    )  # fmt: skip


def compare(name, parameters, spec, seed, options=None):
    """Run the Program of a layer and compare its bytes with the kernel's, its counts with the closed form."""
    random, isa = np.random.default_rng(seed), load_isa(name, **parameters)
    operands = operands_of(random, spec)
    x = random_int8(random, (spec.batch, spec.height, spec.width, spec.channels))
    program = generate(spec, isa, *([options] if options else []))
    check(program)
    execution, counts = execute(program, {"input": x, **pack(program, spec, operands)}), count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    operator = TransposedConv2d((spec.height_out, spec.width_out), spec.stride, spec.crop, groups=spec.groups)
    expected = transposed_conv2d(x, operands, operator, PROFILE_OF[name])
    np.testing.assert_array_equal(execution.buffers["output"].view(np.int8).reshape(expected.shape), expected)


PAIRS = {top: st.tuples(*[st.integers(1, top)] * 2) for top in (3, 4, 5)}


@st.composite
def specs(draw):
    """Draw a layer whose output may end before or after what the input reaches."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    image, kernel, stride = draw(PAIRS[5]), draw(PAIRS[4]), draw(PAIRS[3])
    crop = draw(st.tuples(*[st.integers(0, 3)] * 2))
    full = [(size - 1) * step + taps for size, step, taps in zip(image, stride, kernel, strict=True)]
    size = tuple(max(1, extent - cut + draw(st.integers(-2, 2))) for extent, cut in zip(full, crop, strict=True))
    channels, outputs = (groups * draw(st.integers(1, 7)) for _ in range(2))
    return TransposedSpec(draw(st.integers(1, 2)), *image, channels, *size, outputs, kernel, stride, crop, groups)


@on_every_set
@settings(max_examples=8, deadline=None)
@given(spec=specs(), seed=st.integers(0, 2**32 - 1))
@example(spec=TransposedSpec(1, 5, 4, 6, 10, 8, 5, (2, 2), (2, 2)), seed=0)
@example(spec=TransposedSpec(1, 4, 4, 8, 8, 8, 3, (3, 3), (2, 2), (0, 0)), seed=1)
@example(spec=TransposedSpec(1, 4, 4, 8, 8, 8, 3, (4, 4), (2, 2), (1, 1)), seed=2)
@example(spec=TransposedSpec(1, 3, 3, 4, 9, 9, 4, (1, 1), (3, 3), (1, 0)), seed=3)  # most outputs meet no tap
def test_a_transposed_convolution_equals_the_kernel_of_the_profile(name, parameters, spec, seed):
    compare(name, parameters, spec, seed)


@pytest.mark.parametrize("name", ["thumb2-dsp", "rv64gc", "rvv", "avx2", "davinci"])
def test_options_leave_the_same_bytes(name):
    spec, isa = TransposedSpec(1, 6, 7, 40, 12, 14, 24, (4, 4), (2, 2), (1, 1)), load_isa(name)
    offered = choices(spec, isa)
    assert len(offered) > 1
    for options in offered[:: 1 + len(offered) // 8]:
        compare(name, {}, spec, 5, options)


@pytest.mark.parametrize("name", ["thumb2-dsp", "rv64gc", "rvv", "avx2"])
def test_options_are_those_that_every_convolution_offers(name):
    spec, isa = TransposedSpec(1, 8, 8, 16, 16, 16, 8, (3, 3), (2, 2)), load_isa(name)
    first, *rest = choices(spec, isa)
    assert first == DEFAULT
    for part in parts(spec, together=False):
        assert set(rest) <= set(choices(part.convolution, isa))


@given(spec=specs())
@settings(max_examples=50, deadline=None)
def test_phases_meet_each_tap_of_the_filter_once(spec):
    taps = [
        (row.tap + spec.stride[0] * i, column.tap + spec.stride[1] * j)
        for part in parts(spec, together=False)
        for row in part.rows.phases
        for column in part.columns.phases
        for i in range(part.rows.taps)
        for j in range(part.columns.taps)
    ]
    inside = [pair for pair in taps if pair[0] < spec.kernel[0] and pair[1] < spec.kernel[1]]
    assert len(inside) == len(set(inside))
    if all(size >= step for size, step in zip((spec.height_out, spec.width_out), spec.stride, strict=True)):
        assert len(inside) == math.prod(spec.kernel)


def test_filters_of_whole_multiples_of_the_stride_are_one_convolution():
    for kernel, stride, crop in ((2, 2, 0), (4, 2, 1), (6, 2, 2), (6, 3, 0)):
        size = 8 * stride
        spec = TransposedSpec(1, 8, 8, 16, size, size, 8, (kernel, kernel), (stride, stride), (crop, crop))
        (part,) = parts(spec, together=False)
        assert (part.convolution.kernel, part.phases) == ((kernel // stride,) * 2, stride**2)
    spec = TransposedSpec(1, 8, 8, 16, 16, 16, 8, (2, 2), (2, 2))
    assert parts(spec, together=False)[0].convolution.macs == spec.macs


def test_uneven_filters_multiply_no_zeros():
    """Of nine taps: four, two, two and one, for outputs that each meet all of theirs."""
    found = parts(TransposedSpec(1, 8, 8, 16, 16, 16, 8, (3, 3), (2, 2), (0, 0)), together=False)
    assert [part.convolution.kernel for part in found] == [(2, 2), (2, 1), (1, 2), (1, 1)]
    assert sum(part.convolution.macs for part in found) == 9 * 8 * 8 * 16 * 8


def test_an_unstrided_one_writes_its_output_itself():
    program = generate(TransposedSpec(1, 8, 8, 16, 8, 8, 8, (3, 3), (1, 1), (1, 1)), load_isa("rv64gc"))
    assert "phases" not in [buffer.name for buffer in program.buffers]


@pytest.mark.parametrize("name", sorted({name for name, _ in SETS}))
def test_a_transposed_convolution_in_a_network_runs_as_a_program(name):
    random = np.random.default_rng(0)
    builder = GraphBuilder("up")
    x = builder.input("x", (1, 4, 5, 6), "int8", Quantization(np.array([0.05]), np.array([4])))
    scales = Quantization(random.uniform(0.001, 0.02, 7), np.zeros(7, np.int32), 0)
    weights = builder.constant("w", (7, 3, 3, 6), random_int8(random, (7, 3, 3, 6)), "int8", scales)
    bias = builder.constant("b", (7,), random.integers(-2000, 2000, 7, np.int32), "int32")
    finer = Quantization(np.array([0.1]), np.array([-9]))
    operator = TransposedConv2d((8, 10), (2, 2), (1, 1))
    graph = builder.build([builder.layer(operator, [x, weights, bias], output="y", quantization=finer)])
    spec, isa = specify(graph, graph.layers[0]), load_isa(name)
    assert spec == TransposedSpec(1, 4, 5, 6, 8, 10, 7, (3, 3), (2, 2), (1, 1))
    assert spec.macs == layer_macs(graph, graph.layers[0])
    assert not prepare(graph, isa).fallbacks
    inputs = {"x": random_int8(random, (1, 4, 5, 6))}
    expected = kernels.execute(graph, inputs, profile=PROFILE_OF[name])["y"]
    np.testing.assert_array_equal(run(graph, inputs, isa)["y"], expected)
