"""What the passes share: who consumes a tensor, and a graph rebuilt without what nothing uses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workloads.graph import Graph, Layer
    from workloads.tensor import Tensor


def uses(graph: Graph) -> Counter[str]:
    """Count the readers of each tensor; being an output of the graph is one more use."""
    return Counter([name for layer in graph.layers for name in layer.inputs]) + Counter(graph.outputs)


def producers(graph: Graph) -> dict[str, Layer]:
    """Return the layer that makes each tensor."""
    return {name: layer for layer in graph.layers for name in layer.outputs}


def rebuilt(graph: Graph, layers: Iterable[Layer], tensors: Mapping[str, Tensor]) -> Graph:
    """Return the graph with other layers and tensors, without layers and tensors that no output needs."""
    needed, kept = set(graph.outputs), []
    for layer in reversed(tuple(layers)):
        if needed.intersection(layer.outputs):
            needed.update(layer.inputs)
            kept.append(layer)
    kept.reverse()
    used = {*graph.inputs, *graph.outputs, *(name for layer in kept for name in (*layer.inputs, *layer.outputs))}
    return replace(
        graph, layers=tuple(kept), tensors={name: tensor for name, tensor in tensors.items() if name in used}
    )


def redirected(layers: Iterable[Layer], alias: Mapping[str, str]) -> list[Layer]:
    """Return the layers with aliased inputs replaced by what they stand for."""

    def resolve(name: str) -> str:
        while name in alias:
            name = alias[name]
        return name

    return [replace(layer, inputs=tuple(map(resolve, layer.inputs))) for layer in layers]
