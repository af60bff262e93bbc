"""Layers with a state, bound to their constants: the state of the beginning, and one step from a state to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workloads.tensor import Array

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.operators import Lstm, Svdf

Advance = Callable[[Sequence[Array], Array], tuple[Array, Array]]
Bound = tuple[Callable[[], Array], Advance]


def integer_svdf(graph: Graph, layer: Layer, operator: Svdf, profile: str) -> Bound:
    """Bind a quantised filter over time."""
    from workloads.kernels.recurrent import svdf_step
    from workloads.operands_recurrent import svdf_constants

    constants, shape = svdf_constants(graph, layer, operator), _svdf_shape(graph, layer)

    def advance(inputs: Sequence[Array], state: Array) -> tuple[Array, Array]:
        return svdf_step(inputs[0], state, constants, profile)

    return lambda: np.zeros(shape, operator.state_dtype), advance


def float_svdf(graph: Graph, layer: Layer, operator: Svdf, profile: str) -> Bound:  # noqa: ARG001 - one signature for all
    """Bind a filter over time of real numbers."""
    from workloads.kernels import floating

    weights, shape = [graph[name].materialize() for name in layer.inputs[1:]], _svdf_shape(graph, layer)

    def advance(inputs: Sequence[Array], state: Array) -> tuple[Array, Array]:
        return floating.svdf_step([inputs[0], *weights], state, operator)

    return lambda: np.zeros(shape, np.float32), advance


def integer_lstm(graph: Graph, layer: Layer, operator: Lstm, profile: str) -> Bound:
    """Bind a quantised long short-term memory layer."""
    from workloads.kernels.recurrent import lstm, lstm_start
    from workloads.operands_recurrent import lstm_constants

    constants, batch = lstm_constants(graph, layer, operator), _lstm_batch(graph, layer, operator)

    def advance(inputs: Sequence[Array], state: Array) -> tuple[Array, Array]:
        result, following = lstm(_by_time(inputs[0], operator), state, constants, profile)
        return np.ascontiguousarray(_by_time(result, operator)), following

    return lambda: lstm_start(constants, batch), advance


def float_lstm(graph: Graph, layer: Layer, operator: Lstm, profile: str) -> Bound:  # noqa: ARG001 - one signature for all
    """Bind a long short-term memory layer of real numbers."""
    from workloads.kernels import floating

    weights, batch = [graph[name].materialize() for name in layer.inputs[1:]], _lstm_batch(graph, layer, operator)
    shape = (2, batch, weights[0].shape[0])

    def advance(inputs: Sequence[Array], state: Array) -> tuple[Array, Array]:
        result, following = floating.lstm(_by_time(inputs[0], operator), state, weights, operator)
        return np.ascontiguousarray(_by_time(result, operator)), following

    return lambda: np.zeros(shape, np.float32), advance


def _svdf_shape(graph: Graph, layer: Layer) -> tuple[int, ...]:
    return (graph[layer.inputs[0]].shape[0], *graph[layer.inputs[2]].shape)


def _lstm_batch(graph: Graph, layer: Layer, operator: Lstm) -> int:
    return graph[layer.inputs[0]].shape[1 if operator.time_major else 0]


def _by_time(x: Array, operator: Lstm) -> Array:
    """Exchange (batch, time) and (time, batch), unless the operator is time first already."""
    return x if operator.time_major else x.swapaxes(0, 1)
