"""Pads, concatenations, transposes, repeated pixels, differences: what Programs put out is what the kernels do."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.moves import boxes, buffer_name, progressions
from workloads.codegen.specs import MoveSpec, specify
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import movement, resize
from workloads.kernels.transposed import stretch
from workloads.legality import check
from workloads.operands import Operands
from workloads.operators import Concat, Pad, Resize2d, Slice, Sub, Transpose
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = ["thumb2-dsp", "rv32im", "rv64gc", "rvv", "avx2", "avx512-vnni", "davinci"]
SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
FEW = settings(max_examples=25, deadline=None)
FILLING = -7


def moved(spec, inputs, isa):
    """Return what the Program puts out, with its legality and counts checked on the way."""
    program = generate(spec, isa)
    check(program)
    operands = Operands((1.0,), (0,), 1.0, FILLING, -128, 127, weight_scales=np.empty(0))
    given = {buffer_name(number): x.reshape(-1) for number, x in enumerate(inputs)}
    execution = execute(program, {**given, **pack(program, spec, operands)})
    assert execution.instructions == count(program).instructions
    return execution.buffers["output"].view(np.int8).reshape(spec.output_shape)


def numbered(shape, first=0):
    return (np.arange(math.prod(shape)) + first).astype(np.int8).reshape(shape)


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data(), shape=SHAPES)
def test_padding_surrounds_with_the_zero_point(name, data, shape):
    amounts = tuple(data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in shape)
    found = moved(MoveSpec("pad", (shape,), amounts), [numbered(shape)], load_isa(name))
    np.testing.assert_array_equal(found, movement.pad(numbered(shape), Pad(amounts), FILLING))


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data(), shape=SHAPES, extents=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_concatenated_inputs_lie_side_by_side(name, data, shape, extents):
    axis = data.draw(st.integers(0, len(shape) - 1))
    shapes = tuple((*shape[:axis], extent, *shape[axis + 1 :]) for extent in extents)
    inputs = [numbered(part, 40 * number) for number, part in enumerate(shapes)]
    found = moved(MoveSpec("concat", shapes, (axis,)), inputs, load_isa(name))
    np.testing.assert_array_equal(found, movement.concat(inputs, Concat(axis)))


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data(), shape=SHAPES)
def test_transposed_axes_have_their_true_strides(name, data, shape):
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    found = moved(MoveSpec("transpose", (shape,), order), [numbered(shape)], load_isa(name))
    np.testing.assert_array_equal(found, movement.transpose(numbered(shape), Transpose(order)))


@pytest.mark.parametrize("name", SETS)
@FEW
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 5), st.integers(1, 20)),
    factors=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_repeated_pixels_are_the_nearest_neighbours(name, shape, factors):
    size = (shape[1] * factors[0], shape[2] * factors[1])
    found = moved(MoveSpec("nearest", (shape,), factors), [numbered(shape)], load_isa(name))
    np.testing.assert_array_equal(found, resize.resize2d(numbered(shape), Resize2d("nearest", size)))


def test_axes_that_stay_neighbours_are_joined():
    (box,) = boxes(MoveSpec("transpose", ((2, 3, 4, 8),), (1, 0, 2, 3)))
    assert (box.run, box.loops) == (32, ((3, 32, 64), (2, 96, 32)))
    (box,) = boxes(MoveSpec("transpose", ((5, 7),), (1, 0)))
    assert (box.run, box.loops) == (1, ((7, 1, 5), (5, 7, 1)))
    (first, second) = boxes(MoveSpec("concat", ((4, 4, 8), (4, 4, 24)), (2,)))
    assert (first.run, second.run, second.target_offset) == (8, 24, 8)
    assert first.loops == ((16, 8, 32),)


def layer(operator, *shapes, out, same=True):
    """Return a graph of one quantised layer."""
    builder = GraphBuilder("one")
    inputs = [builder.input(f"x{number}", shape) for number, shape in enumerate(shapes)]
    graph = builder.build([builder.layer(operator, inputs, shape=out)])
    tensors = dict(graph.tensors)
    for name, tensor in tensors.items():
        scale = 0.5 if same or name != "x0" else 0.25
        tensors[name] = replace(
            tensor, dtype="int8", quantization=Quantization(np.array([scale], np.float32), np.array([3], np.int32))
        )
    return replace(graph, tensors=tensors)


CASES = [
    (Pad(((0, 0), (1, 2), (0, 1), (0, 0)), 2.5), [(1, 4, 5, 6)], (1, 7, 6, 6)),
    (Concat(3), [(1, 3, 4, 8), (1, 3, 4, 5), (1, 3, 4, 8)], (1, 3, 4, 21)),
    (Concat(-1), [(1, 3, 4, 2), (1, 3, 4, 2)], (1, 3, 4, 4)),
    (Transpose((0, 3, 1, 2)), [(1, 3, 4, 5)], (1, 5, 3, 4)),
    (Slice(3, 1, 3), [(1, 3, 4, 5)], (1, 3, 4, 3)),
    (Resize2d("nearest", (5, 7)), [(1, 3, 4, 5)], (1, 5, 7, 5)),
    (Resize2d("nearest", (6, 12)), [(1, 3, 4, 5)], (1, 6, 12, 5)),
    (Resize2d("nearest", (6, 8), half_pixel_centers=True), [(1, 3, 4, 5)], (1, 6, 8, 5)),
]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("operator", "shapes", "out"), CASES)
def test_a_layer_runs_as_a_program_and_equals_the_kernels(name, operator, shapes, out):
    graph, isa = layer(operator, *shapes, out=out), load_isa(name)
    inputs = {f"x{number}": numbered(shape, 31 * number) for number, shape in enumerate(shapes)}
    prepared = prepare(graph, isa)
    assert not prepared.fallbacks
    found, expected = run(graph, inputs, isa), kernels.run(kernels.plan(graph), inputs)
    for output in graph.outputs:
        np.testing.assert_array_equal(found[output], expected[output])


def test_moves_larger_than_the_vector_buffer_go_in_tiles():
    isa = load_isa("davinci", ub_bytes=512)
    for spec in (
        MoveSpec("concat", ((3, 700), (3, 40)), (1,)),  # a run that does not fit, runs that do
        MoveSpec("transpose", ((40, 50),), (1, 0)),
        MoveSpec("pad", ((30, 40),), ((1, 2), (3, 0))),
    ):
        inputs = [numbered(shape, number) for number, shape in enumerate(spec.shapes)]
        expected = {
            "concat": lambda x: movement.concat(x, Concat(1)), "transpose": lambda x: x[0].T,
            "pad": lambda x: movement.pad(x[0], Pad(((1, 2), (3, 0))), FILLING),
        }[spec.kind](inputs)  # fmt: skip
        np.testing.assert_array_equal(moved(spec, inputs, isa), expected)


@pytest.mark.parametrize("name", SETS)
@FEW
@given(
    height=st.integers(1, 6), width=st.integers(1, 6), channels=st.integers(1, 5),
    size=st.tuples(*[st.integers(1, 14)] * 2), corners=st.booleans(), half=st.booleans(),
)  # fmt: skip
def test_neighbors_are_found_for_any_factor(name, height, width, channels, size, corners, half):
    operator = Resize2d("nearest", size, corners, half and not corners)
    graph = layer(operator, (2, height, width, channels), out=(2, *size, channels))
    x = numbered((2, height, width, channels))
    np.testing.assert_array_equal(
        moved(specify(graph, graph.layers[0]), [x], load_isa(name)), resize.resize2d(x, operator)
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).map(lambda steps: tuple(np.cumsum(steps).tolist())))
@FEW
def test_progressions_hold_every_place_once(indices):
    found = {}
    for one in progressions(indices):
        for number in range(one.number):
            found[one.place + number * one.apart] = one.value + number * one.step
    assert [found[place] for place in range(len(indices))] == list(indices)


def test_repeated_factors_are_few_progressions():
    assert [len(progressions(tuple(np.arange(60) * 2 // factor))) for factor in (1, 2, 3, 4)] == [1, 1, 3, 2]


@pytest.mark.parametrize("name", SETS)
@FEW
@given(data=st.data(), shape=SHAPES)
def test_slices_are_cut_out(name, data, shape):
    axis = data.draw(st.integers(0, len(shape) - 1))
    begin = data.draw(st.integers(0, shape[axis] - 1))
    extent = data.draw(st.integers(1, shape[axis] - begin))
    found = moved(MoveSpec("slice", (shape,), (axis, begin, extent)), [numbered(shape)], load_isa(name))
    np.testing.assert_array_equal(found, movement.take(numbered(shape), Slice(axis, begin, extent)))


@pytest.mark.parametrize("name", SETS)
def test_spread_images_have_the_zero_point_between_their_pixels(name):
    x = numbered((2, 3, 4, 5))
    found = moved(MoveSpec("spread", (x.shape,), (2, 3)), [x], load_isa(name))
    np.testing.assert_array_equal(found, stretch(x, (2, 3), FILLING))


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_difference_equals_the_kernel_of_the_profile(name, codegen_cases, data):
    codegen_cases.check(data.draw(codegen_cases.elementwise(kinds=("sub",))), load_isa(name))


@pytest.mark.parametrize("name", SETS)
def test_a_difference_keeps_the_order_of_its_operands(name):
    isa = load_isa(name)
    shapes = ((2, 3, 4, 8), (1, 1, 1, 8))
    inputs = {f"x{number}": numbered(shape, 31 * number) for number, shape in enumerate(shapes)}
    graph = layer(Sub(), *shapes, out=shapes[0])
    expected = kernels.run(kernels.plan(graph, profile=PROFILE_OF[name]), inputs)
    np.testing.assert_array_equal(run(graph, inputs, isa)[graph.outputs[0]], expected[graph.outputs[0]])
    swapped = layer(Sub(), *shapes[::-1], out=shapes[0])
    (left,) = prepare(swapped, isa).fallbacks
    assert "repeats, not the second" in left.reason
