"""Fold batch normalisation and constant sums into the weights and bias of the product before them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.graph import Graph, Layer
from workloads.operators import NO_CLAMP, Add, BatchNorm, Conv2d, DepthwiseConv2d, FullyConnected
from workloads.passes.rewrite import producers, rebuilt, uses
from workloads.tensor import Array, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

Product = Conv2d | DepthwiseConv2d | FullyConnected


def fold(graph: Graph) -> Graph:
    """Return the graph with batch normalisations and constant biases folded, where that is exact in the reals.

    A normalisation of an image that no product precedes becomes a 1 x 1 depthwise convolution. Weights stay lazy:
    they are combined when they are asked for.
    """
    while True:
        folded = _fold_one(graph)
        if folded is None:
            return graph
        graph = folded


def _fold_one(graph: Graph) -> Graph | None:
    """Fold the first layer that can be, or return None."""
    readers, makers = uses(graph), producers(graph)
    for layer in graph.layers:
        activation = _activation_input(graph, layer)
        if activation is None:
            continue
        product = makers.get(activation)
        alone = product is not None and readers[activation] == 1
        if product is not None and alone and _takes_bias(product):
            return _into_product(graph, product, layer, activation)
        if isinstance(layer.operator, BatchNorm) and len(graph[activation].shape) == 4:
            return _into_depthwise(graph, layer)
    return None


def _activation_input(graph: Graph, layer: Layer) -> str | None:
    """Return the activation of a float layer that scales or shifts channels by constants; None for other layers."""
    if graph[layer.outputs[0]].dtype != "float32":
        return None
    match layer.operator:
        case BatchNorm():
            return layer.inputs[0]
        case Add():
            constants = [name for name in layer.inputs if graph[name].is_constant]
            activations = [name for name in layer.inputs if not graph[name].is_constant]
            if len(constants) == 1 and graph[constants[0]].elements in {1, graph[activations[0]].shape[-1]}:
                shape, channels = graph[constants[0]].shape, graph[activations[0]].shape[-1:]
                same_shape = graph[layer.outputs[0]].shape == graph[activations[0]].shape
                if same_shape and (shape[-1:] == channels or graph[constants[0]].elements == 1):
                    return activations[0]
    return None


def _takes_bias(product: Layer) -> bool:
    """Whether a layer is a product with no activation behind it."""
    return isinstance(product.operator, Product) and product.operator.activation == NO_CLAMP


def _into_product(graph: Graph, product: Layer, layer: Layer, activation: str) -> Graph:
    """Replace product and layer by one product with new weights and bias."""
    operator, weights = product.operator, graph[product.inputs[1]]
    old_bias = graph[product.inputs[2]] if len(product.inputs) > 2 else None
    channels = graph[product.outputs[0]].shape[-1]
    factor, shift = _affine(graph, layer, activation, channels)
    axis = -1 if isinstance(operator, DepthwiseConv2d) else 0

    def scaled_weights() -> Array:
        array = weights.materialize()
        along = [1] * array.ndim
        along[axis] = -1
        return np.asarray(array * factor().reshape(along), np.float32)

    def shifted_bias() -> Array:
        start = np.zeros(channels) if old_bias is None else old_bias.materialize()
        return np.asarray(start * factor() + shift(), np.float32)

    new_weights = replace(weights, name=f"{weights.name}/{layer.name}", data=scaled_weights)
    new_bias = Tensor(f"{product.name}/{layer.name}/bias", (channels,), data=shifted_bias)
    merged = Layer(
        product.name,
        _absorb_activation(operator, layer),
        (product.inputs[0], new_weights.name, new_bias.name),
        layer.outputs,
    )
    layers = [merged if each is layer else each for each in graph.layers if each is not product]
    return rebuilt(graph, layers, {**graph.tensors, new_weights.name: new_weights, new_bias.name: new_bias})


def _absorb_activation(operator: object, layer: Layer) -> Product:
    """Give the product the activation of the sum that it absorbs."""
    if not isinstance(operator, Product):
        raise TypeError(f"{operator!r} is not a product")
    return replace(operator, activation=layer.operator.activation) if isinstance(layer.operator, Add) else operator


def _into_depthwise(graph: Graph, layer: Layer) -> Graph:
    """Replace a normalisation by a 1 x 1 depthwise convolution."""
    channels = graph[layer.inputs[0]].shape[-1]
    factor, shift = _affine(graph, layer, layer.inputs[0], channels)
    weights = Tensor(
        f"{layer.name}/weights", (1, 1, 1, channels), data=lambda: factor().reshape(1, 1, 1, -1).astype(np.float32)
    )
    bias = Tensor(f"{layer.name}/bias", (channels,), data=lambda: shift().astype(np.float32))
    merged = Layer(layer.name, DepthwiseConv2d(), (layer.inputs[0], weights.name, bias.name), layer.outputs)
    layers = [merged if each is layer else each for each in graph.layers]
    return rebuilt(graph, layers, {**graph.tensors, weights.name: weights, bias.name: bias})


def _affine(
    graph: Graph, layer: Layer, activation: str, channels: int
) -> tuple[Callable[[], Array], Callable[[], Array]]:
    """Return factor and shift per channel of a normalisation or a constant sum, in float64, made when called."""
    if isinstance(layer.operator, BatchNorm):
        scale, offset, mean, variance = (graph[name] for name in layer.inputs[1:5])
        epsilon = layer.operator.epsilon

        def factor() -> Array:
            return scale.materialize() / np.sqrt(variance.materialize().astype(np.float64) + epsilon)

        return factor, lambda: offset.materialize() - mean.materialize() * factor()
    constant = next(graph[name] for name in layer.inputs if name != activation)
    return lambda: np.ones(channels), lambda: np.broadcast_to(constant.materialize().ravel(), (channels,))
