"""Kernels of a neural processor's compiler: which layers of a network run as one, and which cost nothing."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.npu.storage import is_apart
from workloads.operators import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Dequantize,
    FullyConnected,
    HardSigmoid,
    LeakyRelu,
    Logistic,
    MatMul,
    Mish,
    Mul,
    Prelu,
    Quantize,
    Reshape,
    Tanh,
    TransposedConv2d,
)

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer

KEPT = 8  # networks: devices and runtimes come back to the same ones

PRODUCTS = (Conv2d, DepthwiseConv2d, FullyConnected, MatMul, TransposedConv2d)
# What the vector unit does to a product's result before it is stored. Swish and GELU arrive as several operators of an
# exchanged model, which become a kernel of their own.
FOLLOWERS = (Activation, Dequantize, HardSigmoid, LeakyRelu, Logistic, Mish, Prelu, Quantize, Tanh)


def is_free(graph: Graph, layer: Layer) -> bool:
    """Whether a layer costs nothing: other shapes, scales that weights absorb, channels that lie in one piece.

    Channels are stored in blocks, all pixels of a block together: so the images of a batch of one follow each other.

    References
    ----------
    .. [1] hiascend.com, graph fusion reference of CANN: concatenations without a task, products by constants.
    """
    match layer.operator:
        case Reshape():
            return True
        case Mul():
            return any(graph[name].is_constant and graph[name].elements == 1 for name in layer.inputs)
        case Concat(axis=axis):
            shape = graph[layer.outputs[0]].shape
            return shape[0] == 1 and axis % len(shape) == len(shape) - 1 and not is_apart(graph, layer)
    return False


@lru_cache(maxsize=KEPT)
def conversions(graph: Graph) -> dict[str, int]:
    """Return how many kernels convert formats for layers that need channels apart, by layer, where there are any.

    One on the way in and one on the way out, unless the neighbor has them apart too.
    """
    apart = {layer.name for layer in graph.layers if is_apart(graph, layer)}
    made = {name: layer for layer in graph.layers for name in layer.outputs}
    read = {name: layer for layer in reversed(graph.layers) for name in layer.inputs}
    found = {}
    for layer in (layer for layer in graph.layers if layer.name in apart):
        before = [_past(made, name, "inputs") for name in layer.inputs if not graph[name].is_constant]
        after = [_past(read, name, "outputs") for name in layer.outputs]
        found[layer.name] = sum(any(each not in apart for each in side) for side in (before, after))
    return found


def _past(near: dict[str, Layer], name: str, side: str) -> str:
    """Return the layer that makes or reads a tensor, reshapes looked through; nothing at the network's ends."""
    layer = near.get(name)
    while layer is not None and isinstance(layer.operator, Reshape):
        layer = near.get(getattr(layer, side)[0])
    return "" if layer is None else layer.name


@lru_cache(maxsize=KEPT)
def fused(graph: Graph) -> tuple[tuple[Layer, ...], ...]:
    """Return the kernels that a network becomes: each a layer and those that follow it in the vector unit.

    A layer follows a product if nobody else wants the product's result; a sum with other activations ends the kernel.
    """
    readers = Counter(name for layer in graph.layers for name in layer.inputs) + Counter(graph.outputs)
    kernels: list[list[Layer]] = []
    made_by: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        if is_free(graph, layer):
            source = next((name for name in layer.inputs if name in made_by), None)
            if source is not None and len(layer.inputs) - sum(graph[name].is_constant for name in layer.inputs) == 1:
                made_by[layer.outputs[0]] = made_by[source]
            continue
        kernel = next((made_by[name] for name in reversed(layer.inputs) if _open(layer, name, made_by, readers)), None)
        if kernel is None:
            kernel = []
            kernels.append(kernel)
        kernel.append(layer)
        made_by |= dict.fromkeys(layer.outputs, kernel)
    return tuple(map(tuple, kernels))


def _open(layer: Layer, name: str, made_by: dict[str, list[Layer]], readers: Counter[str]) -> bool:
    """Whether a layer can join the kernel that makes one of its inputs."""
    if not isinstance(layer.operator, (*FOLLOWERS, Add)) or name not in made_by or readers[name] > 1:
        return False
    before = made_by[name]
    return isinstance(before[0].operator, PRODUCTS) and not isinstance(before[-1].operator, Add)
