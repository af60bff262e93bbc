"""A memory plan never lets two live tensors share a byte, and is as small as it can be where that is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.builder import GraphBuilder
from workloads.models import BUILT_IN, build
from workloads.operators import Activation, Add, Clamp, Concat, Mean, Reshape, Transpose
from workloads.passes.memory_plan import IN_PLACE, live_steps, plan
from workloads.passes.prepare import prepare

if TYPE_CHECKING:
    from workloads.graph import Graph


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random graphs of moves, sums, concatenations and reductions over matrices."""
    net = GraphBuilder("random")
    names = [net.input(f"input{index}", (1, draw(st.integers(1, 64)))) for index in range(draw(st.integers(1, 2)))]
    for _ in range(draw(st.integers(1, 12))):
        x = draw(st.sampled_from(names))
        shape = net.tensors[x].shape
        match draw(st.sampled_from(["clamp", "add", "concat", "reshape", "transpose", "mean"])):
            case "clamp":
                names.append(net.layer(Activation(Clamp(low=0.0)), (x,)))
            case "add":
                y = draw(st.sampled_from([name for name in names if net.tensors[name].shape == shape]))
                names.append(net.layer(Add(), (x, y)))
            case "concat":
                fits = [name for name in names if net.tensors[name].shape[:-1] == shape[:-1]]
                names.append(net.layer(Concat(len(shape) - 1), (x, draw(st.sampled_from(fits)))))
            case "reshape":
                names.append(net.layer(Reshape(), (x,), shape=(*shape, 1)))
            case "transpose":
                names.append(net.layer(Transpose(tuple(range(len(shape)))[::-1]), (x,)))
            case "mean":
                names.append(net.layer(Mean((len(shape) - 1,)), (x,)))
    made = [layer.outputs[0] for layer in net.layers]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    return net.build(outputs)


def assert_no_overlap(graph: Graph, *, in_place: bool, alignment: int = 1) -> None:
    result = plan(graph, in_place=in_place, alignment=alignment)
    names = list(result.offsets)
    makers = {layer.outputs[0]: layer for layer in graph.layers}
    for index, a in enumerate(names):
        assert result.offsets[a] % alignment == 0
        assert result.offsets[a] + result.sizes[a] <= result.peak_bytes
        for b in names[index + 1 :]:
            (first_a, last_a), (first_b, last_b) = result.lifetimes[a], result.lifetimes[b]
            if max(first_a, first_b) > min(last_a, last_b):
                continue
            apart = (
                result.offsets[a] + result.sizes[a] <= result.offsets[b]
                or result.offsets[b] + result.sizes[b] <= result.offsets[a]
            )
            assert apart or may_share(makers, result.lifetimes, a, b, in_place=in_place), (a, b)


def origin(makers, name):  # type: ignore[no-untyped-def]  # a local helper of the check
    """Follow reshapes back to the tensor whose elements a tensor shows."""
    while name in makers and isinstance(makers[name].operator, Reshape):
        name = makers[name].inputs[0]
    return name


def may_share(makers, lifetimes, a, b, *, in_place: bool) -> bool:  # type: ignore[no-untyped-def]  # as above
    """Whether two tensors show the same elements, or one is written over the other in its last step."""
    if origin(makers, a) == origin(makers, b):
        return True
    for later, earlier in ((a, b), (b, a)):
        maker = makers.get(origin(makers, later))
        if in_place and maker is not None and isinstance(maker.operator, IN_PLACE):
            step = lifetimes[maker.outputs[0]][0]
            if lifetimes[earlier][1] <= step and origin(makers, earlier) in {origin(makers, x) for x in maker.inputs}:
                return True
    return False


@settings(max_examples=60, deadline=None)
@given(graphs(), st.booleans(), st.sampled_from([1, 4, 16]))
def test_live_tensors_never_overlap(graph: Graph, in_place: bool, alignment: int) -> None:
    assert_no_overlap(graph, in_place=in_place, alignment=alignment)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_peak_is_at_least_what_is_live_at_once(graph: Graph) -> None:
    makers = {layer.outputs[0]: layer for layer in graph.layers}
    result, lifetimes = plan(graph, in_place=False), live_steps(graph)
    for step in range(len(graph.layers) + 1):
        live = {origin(makers, name) for name, (first, last) in lifetimes.items() if first <= step <= last}
        assert result.peak_bytes >= sum(graph[name].nbytes for name in live)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_in_which_tensors_are_listed_does_not_matter(graph: Graph, random) -> None:  # type: ignore[no-untyped-def]  # hypothesis' own generator type
    names = list(graph.tensors)
    random.shuffle(names)
    shuffled = replace(graph, tensors={name: graph[name] for name in names})
    assert plan(shuffled) == plan(graph)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_arena_is_never_larger_than_all_tensors_together(graph: Graph) -> None:
    result = plan(graph)
    assert result.peak_bytes <= sum(result.sizes.values())


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_networks_are_planned_without_overlap(name: str) -> None:
    assert_no_overlap(prepare(build(name), "int8"), in_place=True, alignment=16)


def test_resnet8_needs_three_images_of_16_channels() -> None:
    # The residual keeps the block's input alive over two convolutions: 3 x 32 x 32 x 16 bytes in int8.
    assert plan(prepare(build("resnet8"), "int8")).peak_bytes == 3 * 32 * 32 * 16


def test_mobilenet_needs_input_and_output_of_its_widest_layer() -> None:
    assert plan(prepare(build("mobilenet_v1_025_96"), "int8")).peak_bytes == 48 * 48 * (8 + 16)


def test_a_sum_is_written_over_an_operand_that_is_needed_no_more() -> None:
    net = GraphBuilder("sum")
    a, b = net.input("a", (1, 100)), net.input("b", (1, 100))
    graph = net.build([net.layer(Add(), (a, b))])
    assert plan(graph).peak_bytes == 800
    assert plan(graph, in_place=False).peak_bytes == 1200


def test_an_output_of_the_graph_is_never_written_over() -> None:
    net = GraphBuilder("kept")
    kept = net.layer(Activation(Clamp(low=0.0)), (net.input("x", (1, 10)),))
    graph = net.build([kept, net.layer(Activation(Clamp(high=1.0)), (kept,))])
    assert plan(graph).peak_bytes == 80


def test_running_inside_the_planned_arena_gives_the_same_values() -> None:
    """Every tensor is written at its offset and read back only from there."""
    from workloads.execute import execute

    graph = build("resnet8")
    result = plan(graph)
    arena = np.zeros(result.peak_bytes, np.uint8)

    def stored(name: str) -> np.ndarray:
        raw = arena[result.offsets[name] : result.offsets[name] + result.sizes[name]]
        return raw.view(np.float32).reshape(graph[name].shape)

    image = np.random.default_rng(0).standard_normal((1, 32, 32, 3), dtype=np.float32)
    stored("image")[...] = image
    expected = execute(graph, {"image": image})
    for layer in graph.layers:
        activations = tuple(dict.fromkeys(name for name in layer.inputs if not graph[name].is_constant))
        one = replace(graph, layers=(layer,), inputs=activations, outputs=layer.outputs)
        values = execute(one, {name: stored(name).copy() for name in activations})
        stored(layer.outputs[0])[...] = values[layer.outputs[0]]
    np.testing.assert_array_equal(stored("probabilities"), expected["probabilities"])


def test_alignment_must_be_positive() -> None:
    with pytest.raises(ValueError, match="alignment"):
        plan(build("fc_autoencoder"), alignment=0)
