"""Folding, fusing and retyping change the layers, not what the network computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.builder import GraphBuilder
from workloads.errors import InputError
from workloads.execute import execute
from workloads.models import build
from workloads.operators import (
    Activation,
    Add,
    BatchNorm,
    Clamp,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Mul,
    Pad,
    Reshape,
    Transpose,
)
from workloads.passes.fold import fold
from workloads.passes.fuse import fuse, intersect
from workloads.passes.memory_plan import plan
from workloads.passes.prepare import prepare
from workloads.passes.retype import precision_of, retype

if TYPE_CHECKING:
    from workloads.graph import Graph

RELU = Activation(Clamp(low=0.0))


def constant(net: GraphBuilder, name: str, shape: tuple[int, ...], seed: int, positive: bool = False) -> str:
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return net.constant(name, shape, np.abs(values) + np.float32(0.1) if positive else values)


def normalisation(net: GraphBuilder, x: str, seed: int) -> str:
    channels = net.tensors[x].shape[-1]
    parts = [constant(net, f"n{seed}_{index}", (channels,), seed + index, index == 3) for index in range(4)]
    return net.layer(BatchNorm(1e-3), (x, *parts))


def network(kind: str, biased: bool, normalised: bool, clamped: bool) -> Graph:
    """A product with optional bias, normalisation and activation behind it."""
    net = GraphBuilder(kind)
    x = net.input("x", (2, 6, 5, 4)) if kind != "dense" else net.input("x", (2, 6))
    shapes = {"conv": (8, 3, 3, 2), "depthwise": (1, 3, 3, 8), "dense": (5, 6)}
    operators = {"conv": Conv2d(padding=(1, 1, 1, 1), groups=2), "depthwise": DepthwiseConv2d(multiplier=2),
                 "dense": FullyConnected()}  # fmt: skip
    inputs = [x, constant(net, "w", shapes[kind], 1)]
    channels = shapes[kind][3] if kind == "depthwise" else shapes[kind][0]
    if biased:
        inputs.append(constant(net, "b", (channels,), 2))
    y = net.layer(operators[kind], inputs)
    y = normalisation(net, y, 10) if normalised else y
    return net.build([net.layer(RELU, (y,)) if clamped else y])


def assert_same(before: Graph, after: Graph, tolerance: float = 1e-5) -> None:
    generator = np.random.default_rng(0)
    inputs = {name: generator.standard_normal(before[name].shape, dtype=np.float32) for name in before.inputs}
    first, second = execute(before, inputs), execute(after, inputs)
    for name in before.outputs:
        np.testing.assert_allclose(second[name], first[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("clamped", [False, True])
def test_normalisation_and_activation_end_up_in_the_product(kind: str, biased: bool, clamped: bool) -> None:
    before = network(kind, biased, normalised=True, clamped=clamped)
    after = prepare(before)
    assert [layer.op for layer in after.layers] == [before.layers[0].op]
    assert len(after.layers[0].inputs) == 3
    assert_same(before, after, 1e-4)


def test_normalisation_without_a_product_becomes_a_depthwise_convolution() -> None:
    net = GraphBuilder("alone")
    before = net.build([normalisation(net, net.input("x", (1, 3, 3, 4)), 5)])
    after = fold(before)
    assert [layer.op for layer in after.layers] == ["depthwise_conv2d"]
    assert_same(before, after)


def test_normalisation_is_not_folded_into_a_product_that_others_read() -> None:
    net = GraphBuilder("shared")
    x = net.input("x", (1, 3, 3, 4))
    y = net.layer(Conv2d(), (x, constant(net, "w", (4, 1, 1, 4), 1)))
    before = net.build([net.layer(Add(), (normalisation(net, y, 5), y))])
    after = prepare(before)
    assert [layer.op for layer in after.layers] == ["conv2d", "depthwise_conv2d", "add"]
    assert_same(before, after)


def test_a_constant_sum_behind_a_product_becomes_its_bias() -> None:
    net = GraphBuilder("bias")
    y = net.layer(FullyConnected(), (net.input("x", (2, 3)), constant(net, "w", (4, 3), 1)))
    before = net.build([net.layer(Add(Clamp(low=0.0)), (constant(net, "b", (4,), 2), y))])
    after = prepare(before)
    assert [layer.op for layer in after.layers] == ["fully_connected"]
    assert_same(before, after)


def test_a_constant_that_broadcasts_otherwise_is_not_a_bias() -> None:
    net = GraphBuilder("rows")
    y = net.layer(FullyConnected(), (net.input("x", (4, 3)), constant(net, "w", (4, 3), 1)))
    before = net.build([net.layer(Add(), (y, constant(net, "b", (4, 1), 2)))])
    after = prepare(before)
    assert [layer.op for layer in after.layers] == ["fully_connected", "add"]
    assert_same(before, after)


def test_a_product_behind_an_activation_keeps_its_normalisation_outside() -> None:
    net = GraphBuilder("order")
    y = net.layer(
        Conv2d(activation=Clamp(low=0.0)), (net.input("x", (1, 4, 4, 2)), constant(net, "w", (3, 1, 1, 2), 1))
    )
    before = net.build([normalisation(net, y, 5)])
    after = prepare(before)
    assert [layer.op for layer in after.layers] == ["conv2d", "depthwise_conv2d"]
    assert_same(before, after)


def test_a_zero_pad_joins_the_convolution_behind_it() -> None:
    net = GraphBuilder("pad")
    padded = net.layer(Pad(((0, 0), (0, 1), (1, 2), (0, 0))), (net.input("x", (1, 5, 5, 2)),))
    before = net.build([net.layer(Conv2d((2, 2)), (padded, constant(net, "w", (3, 3, 3, 2), 1)))])
    after = fuse(before)
    assert [layer.op for layer in after.layers] == ["conv2d"]
    assert after.layers[0].operator.padding == (0, 1, 1, 2)  # type: ignore[union-attr]  # it is the convolution
    assert_same(before, after)


@pytest.mark.parametrize("pad", [Pad(((0, 0), (1, 1), (1, 1), (0, 0)), 1.0), Pad(((0, 0), (0, 0), (0, 0), (0, 1)))])
def test_other_pads_stay(pad: Pad) -> None:
    net = GraphBuilder("pad")
    padded = net.layer(pad, (net.input("x", (1, 5, 5, 2)),))
    channels = net.tensors[padded].shape[3]
    before = net.build([net.layer(Conv2d(), (padded, constant(net, "w", (3, 1, 1, channels), 1)))])
    assert [layer.op for layer in fuse(before).layers] == ["pad", "conv2d"]


def test_moves_that_undo_each_other_disappear() -> None:
    net = GraphBuilder("moves")
    x = net.layer(Mul(), (net.input("x", (1, 2, 3, 4)), constant(net, "c", (1,), 1)))
    first = net.layer(Transpose((0, 3, 1, 2)), (x,))
    back = net.layer(Transpose((0, 2, 3, 1)), (first,))
    flat = net.layer(Reshape(), (net.layer(Reshape(), (back,), shape=(6, 4)),), shape=(1, 2, 3, 4))
    before = net.build([net.layer(RELU, (flat,))])
    after = fuse(before)
    assert [layer.op for layer in after.layers] == ["mul"]
    assert_same(before, after)


@settings(max_examples=50, deadline=None)
@given(*[st.floats(-4, 4) for _ in range(4)], st.floats(-8, 8))
def test_intersect_is_one_clamp_after_the_other(a: float, b: float, c: float, d: float, x: float) -> None:
    first, second = Clamp(min(a, b), max(a, b)), Clamp(min(c, d), max(c, d))
    both = intersect(first, second)
    one_by_one = min(max(min(max(x, first.low), first.high), second.low), second.high)
    assert min(max(x, both.low), both.high) == one_by_one


def test_folding_leaves_the_weights_lazy() -> None:
    calls = []

    def weights() -> np.ndarray:
        calls.append(1)
        return np.ones((4, 1, 1, 2), np.float32)

    net = GraphBuilder("lazy")
    y = net.layer(Conv2d(), (net.input("x", (1, 4, 4, 2)), net.constant("w", (4, 1, 1, 2), weights)))
    after = prepare(net.build([normalisation(net, y, 3)]), "int8")
    assert after.macs == 4 * 4 * 4 * 2
    assert plan(after).peak_bytes == 4 * 4 * (2 + 4)
    assert not calls


@pytest.mark.parametrize(
    ("precision", "weights", "activations", "bias"),
    [("fp32", 4, 4, 4), ("fp16", 2, 2, 2), ("int8", 1, 1, 4), ("int4", 0.5, 1, 4)],
)
def test_retype_changes_the_bytes_and_nothing_else(
    precision: str, weights: float, activations: float, bias: float
) -> None:
    graph = build("resnet8")
    after = retype(graph, precision)
    assert after.macs == graph.macs
    assert precision_of(after) == precision
    assert plan(after).peak_bytes == 3 * 32 * 32 * 16 * activations
    biases = sum(t.elements for t in graph.tensors.values() if t.is_constant and len(t.shape) == 1)
    others = sum(t.elements for t in graph.tensors.values() if t.is_constant and len(t.shape) > 1)
    assert after.weights_bytes == others * weights + biases * bias
    assert after.executable == (precision == "fp32")


def test_a_retyped_graph_says_that_it_has_no_weights() -> None:
    after = retype(build("fc_autoencoder"), "int8")
    name = next(name for name, tensor in after.tensors.items() if tensor.is_constant)
    with pytest.raises(ValueError, match="known by its shape only"):
        after[name].materialize()
    with pytest.raises(InputError, match="known by its shapes only"):
        execute(after, {})


def test_an_unknown_precision_suggests_the_closest() -> None:
    with pytest.raises(InputError, match="did you mean 'int8'"):
        retype(build("resnet8"), "int9")


def test_retyping_a_quantised_graph_removes_conversions() -> None:
    from workloads.operators import Dequantize, Quantize
    from workloads.passes.quantize import quantize

    quantized = quantize(build("fc_autoencoder"))
    assert retype(quantized, "int8") is quantized
    back = retype(quantized, "fp32")
    assert {tensor.dtype for tensor in back.tensors.values()} == {"float32"}
    assert not any(isinstance(layer.operator, (Quantize, Dequantize)) for layer in back.layers)
    assert back.macs == quantized.macs
