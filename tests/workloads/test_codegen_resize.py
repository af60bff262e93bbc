"""Bilinear resizing: Programs leave the bytes of the integer kernel, whatever the factor, on every set."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import generate, pack
from workloads.codegen.resize import runs, sides
from workloads.codegen.specs import specify
from workloads.codegen.specs_images import ResizeSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels.resize import resize2d
from workloads.legality import check
from workloads.operands import Operands
from workloads.operators import Resize2d
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = [
    ("thumb2-dsp", {}), ("rv32im", {}), ("rv64im", {}), ("rv64gc", {}), ("rvv", {"vlen": 128}), ("rvv", {"vlen": 512}),
    ("avx2", {}), ("avx512-vnni", {}), ("davinci", {}), ("davinci", {"ub_bytes": 2048}),
]  # fmt: skip
on_every_set = pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
NOTHING = Operands((1.0,), (0,), 1.0, 0, -128, 127, weight_scales=np.empty(0))


def resized(name, parameters, x, spec):
    """Return what the Program puts out, with its legality and counts checked on the way."""
    program = generate(spec, load_isa(name, **parameters))
    check(program)
    execution = execute(program, {"input": x, **pack(program, spec, NOTHING)})
    counts = count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    return execution.buffers["output"].view(np.int8).reshape(spec.batch, spec.height_out, spec.width_out, -1)


def compare(name, parameters, spec, x):
    operator = Resize2d("bilinear", (spec.height_out, spec.width_out), spec.align_corners, spec.half_pixel_centers)
    np.testing.assert_array_equal(resized(name, parameters, x, spec), resize2d(x, operator))


FLAGS = st.sampled_from([(False, False), (True, False), (False, True)])
EXTENT, WANTED = st.integers(1, 6), st.integers(1, 15)


@on_every_set
@settings(max_examples=15, deadline=None)
@given(
    image=st.tuples(st.integers(1, 2), EXTENT, EXTENT, st.integers(1, 11)), size=st.tuples(WANTED, WANTED),
    flags=FLAGS, seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@example(image=(1, 3, 4, 5), size=(6, 12), flags=(False, True), seed=0)
@example(image=(1, 5, 5, 3), size=(9, 9), flags=(True, False), seed=1)
def test_a_resized_image_equals_the_kernel_s(name, parameters, image, size, flags, seed):
    x = np.random.default_rng(seed).integers(-128, 128, image).astype(np.int8)
    compare(name, parameters, ResizeSpec(*image, *size, *flags), x)


@on_every_set
def test_what_lies_halfway_is_rounded_away_from_zero(name, parameters):
    """Halves and quarters of all differences of two bytes, ties among them: 1 x 2 images, one per channel."""
    pairs = np.stack(np.meshgrid(np.arange(-128, 128, 5), np.arange(-128, 128, 3)), axis=-1).reshape(-1, 2)
    x = np.ascontiguousarray(np.tile(pairs.T[None, None], (1, 2, 1, 1))[..., :21]).astype(np.int8)
    for first in range(0, len(pairs) - 21, 420):
        x[0, 0] = pairs[first : first + 21].T
        x[0, 1] = x[0, 0][::-1]
        compare(name, parameters, ResizeSpec(*x.shape, 5, 5, align_corners=True), x)


@given(extent=st.integers(1, 40), wanted=st.integers(1, 45), flags=FLAGS)
@settings(max_examples=60, deadline=None)
def test_runs_hold_every_output_once(extent, wanted, flags):
    firsts, parts = sides(ResizeSpec(1, extent, 1, 1, wanted, 1, *flags), 0)
    found = {}
    for one in runs(firsts):
        for j in range(one.number):
            for k in range(one.size):
                place = one.place + one.apart * j + k
                assert place not in found
                found[place] = one.first + one.step * j
    assert [found[place] for place in range(wanted)] == firsts.tolist()
    assert firsts.min() >= 0
    assert firsts.max() <= max(extent - 2, 0)
    assert parts.min() >= 0
    assert parts.max() <= 1024


def test_factors_whose_rounding_leaves_the_image_are_refused():
    with pytest.raises(NotImplementedError, match="bilinear from 1 to 65: in steps of 1/1024 that leaves the image"):
        generate(ResizeSpec(1, 1, 1, 1, 65, 1), load_isa("rv64gc"))


@pytest.mark.parametrize(("factor", "most"), [(2, 3), (3, 8), (4, 3), (8, 3), (16, 3)])
def test_whole_factors_are_few_runs(factor, most):
    for flags in ((False, False), (False, True)):
        assert len(runs(sides(ResizeSpec(1, 40, 1, 1, 40 * factor, 1, *flags), 0)[0])) <= most
    assert len(runs(sides(ResizeSpec(1, 33, 1, 1, 513, 1, align_corners=True), 0)[0])) <= most


@pytest.mark.parametrize("name", sorted({name for name, _ in SETS}))
def test_a_resize_in_a_network_runs_as_a_program(name):
    same = Quantization(np.array([0.05]), np.array([4]))
    builder = GraphBuilder("larger")
    x = builder.input("x", (1, 4, 5, 6), "int8", same)
    operator = Resize2d("bilinear", (8, 10), half_pixel_centers=True)
    graph = builder.build([builder.layer(operator, [x], output="y", quantization=same)])
    isa, image = load_isa(name), np.random.default_rng(0).integers(-128, 128, (1, 4, 5, 6)).astype(np.int8)
    assert specify(graph, graph.layers[0]) == ResizeSpec(1, 4, 5, 6, 8, 10, half_pixel_centers=True)
    assert not prepare(graph, isa).fallbacks
    np.testing.assert_array_equal(run(graph, {"x": image}, isa)["y"], kernels.execute(graph, {"x": image})["y"])
