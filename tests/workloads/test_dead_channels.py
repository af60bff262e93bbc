"""Channels that always hold zero are found from weights and biases, and leaving them out changes no other count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from workloads.builder import GraphBuilder
from workloads.operators import Add, Clamp, Conv2d, DepthwiseConv2d, Pool2d
from workloads.passes.dead_channels import dead_channels, without_dead_channels
from workloads.tensor import Quantization

if TYPE_CHECKING:
    from workloads.graph import Graph

RELU = Clamp(0.0, np.inf)


def scale(value: float) -> Quantization:
    return Quantization(np.array([value]), np.array([-128], np.int32))


def network(bias: list[int], *, summed: bool = False) -> Graph:
    """Return conv 1x1 4 -> 3 (the last channel's weights all zero), depthwise 3x3, conv 1x1 3 -> 5, of int8."""
    builder = GraphBuilder("net")
    x = builder.input("x", (1, 8, 8, 4), "int8", scale(0.5))
    weights = np.ones((3, 1, 1, 4), np.int8)
    weights[2] = 0
    first = [
        x,
        builder.constant("w", (3, 1, 1, 4), weights, "int8", scale(0.25)),
        builder.constant("b", (3,), np.array(bias, np.int32), "int32"),
    ]
    y = builder.layer(Conv2d(activation=RELU), first, quantization=scale(1.0))
    taps = builder.constant("taps", (1, 3, 3, 3), None, "int8", scale(0.25))
    z = builder.layer(DepthwiseConv2d(padding=(1, 1, 1, 1)), [y, taps], quantization=scale(1.0))
    if summed:
        z = builder.layer(Add(), [z, y], quantization=scale(1.0))
    pooled = builder.layer(Pool2d("average", (2, 2), (2, 2)), [z], quantization=scale(1.0))
    last = builder.constant("v", (5, 1, 1, 3), np.ones((5, 1, 1, 3), np.int8), "int8", scale(0.25))
    return builder.build([builder.layer(Conv2d(), [pooled, last], quantization=scale(1.0))])


@pytest.mark.parametrize(
    ("bias", "dead"),
    [
        (3, 1),  # 3 * 0.125 = 0.375, rounds to zero
        (5, 0),  # 0.625 rounds to one: the channel is constant, but not zero
        (-800, 1),  # below zero, where the activation clamps
    ],
)
def test_a_channel_is_dead_if_its_bias_becomes_the_zero_point(bias, dead):
    assert sum(dead_channels(network([0, 0, bias])).values()) == dead


def test_without_dead_channels_neither_they_nor_their_readers_are_computed():
    graph = network([0, 0, 0])
    small = without_dead_channels(graph, dead_channels(graph))
    assert graph.macs == 64 * (3 * 4 + 3 * 9) + 16 * 5 * 3
    assert small.macs == 64 * (2 * 4 + 2 * 9) + 16 * 5 * 2
    assert small[small.outputs[0]].shape == graph[graph.outputs[0]].shape
    assert not small.executable


def test_a_channel_that_a_sum_reads_is_kept():
    graph = network([0, 0, 0], summed=True)
    assert without_dead_channels(graph, dead_channels(graph)).macs == graph.macs


def test_a_network_without_dead_channels_stays_as_it_is():
    graph = network([0, 0, 80])
    assert dead_channels(graph) == {}
    assert without_dead_channels(graph, {}).macs == graph.macs
