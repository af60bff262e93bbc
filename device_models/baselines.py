"""Baselines: what anyone could predict without a model of the hardware, and what presage must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_models.layer_classes import layer_class
from workloads.graph import layer_macs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from workloads.graph import Graph

    Learn = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

# The nine features: products by kind, bytes by kind, layers, and one.
_KINDS = {"pointwise": 0, "winograd": 1, "conv": 2, "first": 2, "depthwise": 3, "dense": 4}
FEATURES = 9


def features(graph: Graph) -> NDArray[np.float64]:
    """Return MACs (1x1, 3x3 with stride 1, other, depthwise, fully connected), bytes, layers, and one; (9,)."""
    found = np.zeros(FEATURES)
    found[8] = 1.0
    for layer in graph.layers:
        kind = layer_class(graph, layer)
        if kind in _KINDS:
            found[_KINDS[kind]] += layer_macs(graph, layer)
        found[5] += sum(graph[name].nbytes for name in layer.outputs)
        found[6] += sum(graph[name].nbytes for name in layer.inputs if graph[name].is_constant)
        found[7] += kind != "free"
    return found


def by_macs(found: NDArray[np.float64], measured_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nine coefficients of MACs times the median rate of the rows."""
    rate = np.median(measured_s / found[:, :5].sum(axis=1))
    return np.concatenate([np.full(5, rate), np.zeros(4)])


def by_features(found: NDArray[np.float64], measured_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nine coefficients of the non-negative regression that minimises relative errors."""
    from scipy.optimize import nnls

    relative = found / measured_s[:, None]
    scale = np.maximum(relative.max(axis=0), 1e-300)
    return np.asarray(nnls(relative / scale, np.ones(len(measured_s)))[0] / scale)


def left_out(
    found: NDArray[np.float64],
    measured_s: NDArray[np.float64],
    groups: Sequence[str],
    learn: Learn,
) -> NDArray[np.float64]:
    """Return each row as a baseline predicts it that never saw the row's group; nan where there is no other group."""
    names = np.array(groups)
    predicted = np.full(len(names), np.nan)
    for name in set(groups):
        out = names == name
        if not out.all():
            predicted[out] = found[out] @ learn(found[~out], measured_s[~out])
    return predicted
