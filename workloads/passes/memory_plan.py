"""A plan of activation memory: an offset for every tensor so that no two live ones overlap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.operators import Activation, Add, Mul, Quantize, Reshape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.graph import Graph, Layer

IN_PLACE = (Activation, Add, Mul, Quantize)  # element i of the output needs element i of the inputs only


@dataclass(frozen=True)
class MemoryPlan:
    """Where every activation lives in one arena.

    Parameters
    ----------
    offsets
        First byte of each activation, by tensor name. [B]
    sizes
        Bytes of each activation. [B]
    lifetimes
        First and last step in which each activation is needed: step 0 is before the first layer, step i is layer i - 1.
    peak_bytes
        Size of the arena. [B]
    """

    offsets: Mapping[str, int]
    sizes: Mapping[str, int]
    lifetimes: Mapping[str, tuple[int, int]]
    peak_bytes: int


@dataclass
class _Region:
    """Tensors that share one place, and the steps during which the place is taken."""

    names: list[str]
    size: int
    first: int
    last: int
    offset: int = 0


def plan(graph: Graph, *, alignment: int = 1, in_place: bool = True) -> MemoryPlan:
    """Place every activation greedily at the lowest offset that is free during its lifetime.

    The largest go first; as that can leave gaps, the same is tried from the first layer on and from the last one back,
    and the smallest arena is kept, the first of equals.

    A reshape shares its input's place. An elementwise layer writes over an input of the same size that nothing needs
    afterwards, unless ``in_place`` is False.

    References
    ----------
    .. [1] Y. Pisarchyk, J. Lee, "Efficient memory management for deep neural net inference", arXiv:2001.03288
       (greedy by size for offset calculation).
    """
    if alignment < 1:
        raise ValueError(f"alignment ({alignment}) must be at least 1")
    lifetimes = live_steps(graph)
    regions = _regions(graph, lifetimes, in_place)
    orders = (
        sorted(regions, key=lambda each: (-each.size, each.first, each.last, min(each.names))),
        sorted(regions, key=lambda each: (each.first, -each.size, each.last, min(each.names))),
        sorted(regions, key=lambda each: (-each.last, -each.size, each.first, min(each.names))),
    )
    placed = min((_placed(order, alignment) for order in orders), key=_peak_bytes)
    offsets = {name: region.offset for region in placed for name in region.names}
    return MemoryPlan(
        offsets={name: offsets[name] for name in lifetimes},
        sizes={name: graph[name].nbytes for name in lifetimes},
        lifetimes=lifetimes,
        peak_bytes=_peak_bytes(placed),
    )


def _placed(order: list[_Region], alignment: int) -> list[_Region]:
    """Return the regions with offsets given in order, each the lowest that is free."""
    placed: list[_Region] = []
    for region in order:
        placed.append(replace(region, offset=_lowest_free(region, placed, alignment)))
    return placed


def _peak_bytes(placed: list[_Region]) -> int:
    """Return the end of the highest region. [B]"""
    return max((region.offset + region.size for region in placed), default=0)


def live_steps(graph: Graph) -> dict[str, tuple[int, int]]:
    """Return the first and last step of every activation; graph outputs live until the end."""
    end = len(graph.layers)
    steps = dict.fromkeys(graph.inputs, (0, 0))
    for step, layer in enumerate(graph.layers, start=1):
        for name in layer.inputs:
            if not graph[name].is_constant:
                steps[name] = (steps[name][0] if name in steps else 0, step)
        steps.update(dict.fromkeys(layer.outputs, (step, step)))
    return {name: (first, end if name in graph.outputs else last) for name, (first, last) in steps.items()}


def _regions(graph: Graph, lifetimes: Mapping[str, tuple[int, int]], in_place: bool) -> list[_Region]:
    """Group tensors that may share a place."""
    region_of = {name: _Region([name], graph[name].nbytes, *steps) for name, steps in lifetimes.items()}
    for step, layer in enumerate(graph.layers, start=1):
        source = _shared_input(graph, layer, region_of, step, in_place)
        if source is None:
            continue
        kept, merged = region_of[source], region_of[layer.outputs[0]]
        kept.names += merged.names
        kept.first, kept.last = min(kept.first, merged.first), max(kept.last, merged.last)
        kept.size = max(kept.size, merged.size)
        region_of[layer.outputs[0]] = kept
    return list({id(region): region for region in region_of.values()}.values())


def _shared_input(
    graph: Graph, layer: Layer, region_of: Mapping[str, _Region], step: int, in_place: bool
) -> str | None:
    """Return the input whose place the output may take, or None."""
    y = graph[layer.outputs[0]]
    for name in layer.inputs:
        x = graph[name]
        if x.is_constant or x.nbytes != y.nbytes:
            continue
        if isinstance(layer.operator, Reshape):
            return name
        overwritable = in_place and isinstance(layer.operator, IN_PLACE) and region_of[name].last == step
        if overwritable and not set(region_of[name].names) & set(graph.outputs):
            return name
    return None


def _lowest_free(region: _Region, placed: list[_Region], alignment: int) -> int:
    """Return the lowest aligned offset at which a region meets no other that lives at the same time."""
    offset = 0
    neighbours = [each for each in placed if each.first <= region.last and region.first <= each.last]
    for other in sorted(neighbours, key=lambda each: each.offset):
        if offset + region.size <= other.offset:
            break
        offset = max(offset, -(-(other.offset + other.size) // alignment) * alignment)
    return offset
