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
from workloads.codegen.moves import boxes, buffer_name
from workloads.codegen.specs import CopySpec, ElementwiseSpec, MoveSpec, specify
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import movement, resize
from workloads.legality import check
from workloads.operands import Operands
from workloads.operators import Concat, Pad, Resize2d, Sub, Transpose
from workloads.program import count
from workloads.run_programs import prepare, run
from workloads.tensor import Quantization

SETS = ["thumb2-dsp", "rv32im", "rv64gc", "rvv", "avx2", "avx512-vnni"]
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


def test_what_is_no_plain_move_is_left_to_the_kernels():
    uneven = layer(Resize2d("nearest", (5, 7)), (1, 3, 4, 5), out=(1, 5, 7, 5))
    with pytest.raises(NotImplementedError, match="nearest_resize2d"):
        specify(uneven, uneven.layers[0])
    rescaled = layer(Concat(3), (1, 3, 4, 8), (1, 3, 4, 5), out=(1, 3, 4, 13), same=False)
    assert isinstance(specify(rescaled, rescaled.layers[0]), CopySpec)
    (left,) = prepare(rescaled, load_isa("rv64gc")).fallbacks
    assert "requantises its inputs" in left.reason


def test_the_cube_prices_moves_as_straight_copies_and_says_so():
    graph = layer(Transpose((0, 3, 1, 2)), (1, 3, 4, 5), out=(1, 5, 3, 4))
    program = generate(specify(graph, graph.layers[0]), load_isa("davinci"))
    assert program.notes["values"] == "davinci: moves are priced as straight copies"
    (left,) = prepare(graph, load_isa("davinci")).fallbacks
    assert "straight copies" in left.reason


@pytest.mark.parametrize("name", ["rvv", "davinci"])
def test_a_set_without_a_difference_says_so(name):
    with pytest.raises(NotImplementedError, match="no kernel is generated for elementwise 'sub'"):
        generate(ElementwiseSpec("sub", 8, 8), load_isa(name))


@pytest.mark.parametrize("name", ["thumb2-dsp", "avx2"])
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
