"""A plan of activation memory: an offset for every tensor so that no two live ones overlap."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from workloads.operators import Reshape
from workloads.passes.overlays import IN_PLACE, kind, lead_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from workloads.graph import Graph

MOST_THRESHOLDS = 12  # by which overlays are chosen

__all__ = ["IN_PLACE", "MemoryPlan", "live_steps", "lower_bound", "plan", "scratch_name"]


@dataclass(frozen=True)
class MemoryPlan:
    """Where every activation lives in one arena.

    Parameters
    ----------
    offsets
        First byte of each activation, and of each layer's scratch as ``scratch_name`` calls it. [B]
    sizes
        Bytes of each. [B]
    lifetimes
        First and last step in which each is needed: step 0 is before the first layer, step i is layer i - 1.
    peak_bytes
        Size of the arena. [B]
    """

    offsets: Mapping[str, int]
    sizes: Mapping[str, int]
    lifetimes: Mapping[str, tuple[int, int]]
    peak_bytes: int


@dataclass
class _Slot:
    """Tensors that show the same elements, and the steps during which these are needed."""

    names: list[str]
    size: int
    first: int
    last: int


@dataclass
class _Body:
    """Slots at fixed distances, each written over the one before; ``places`` are their offsets within the body."""

    slots: list[_Slot]
    places: list[int] = field(default_factory=lambda: [0])
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)

    def settle(self) -> _Body:
        """Let the body begin at zero, and note the bytes that it takes in each step."""
        lowest = min(self.places)
        self.places = [place - lowest for place in self.places]
        for slot, place in zip(self.slots, self.places, strict=True):
            for step in range(slot.first, slot.last + 1):
                low, high = self.spans.get(step, (place, place + slot.size))
                self.spans[step] = (min(low, place), max(high, place + slot.size))
        return self

    @property
    def size(self) -> int:
        """Bytes from the lowest to the highest slot. [B]"""
        return max(place + slot.size for slot, place in zip(self.slots, self.places, strict=True))

    @property
    def key(self) -> tuple[int, int, int, str]:
        """What decides the order of placing: size, first and last step, and a name for the rest."""
        return self.size, self.slots[0].first, self.slots[-1].last, min(self.slots[0].names)


def scratch_name(layer: str) -> str:
    """Return the name under which a plan holds a layer's scratch."""
    return f"{layer} (scratch)"


def plan(
    graph: Graph,
    *,
    alignment: int = 1,
    in_place: bool = True,
    rows: Collection[str] = (),
    scratch: Mapping[str, int] | None = None,
) -> MemoryPlan:
    """Place every activation greedily at the lowest offset that is free during its lifetime.

    The largest go first; as that can leave gaps, the same is tried from the first layer on, from the last one back and
    from the fullest step outwards, with and without overlays; the smallest arena is kept, the first of equals.

    A reshape shares its input's place. With ``in_place``, a layer writes over an input that nothing needs afterwards:
    an elementwise one element by element, the kinds in ``rows`` row by row (see ``workloads.passes.overlays``).

    Parameters
    ----------
    alignment
        Every offset is a multiple of it. [B]
    rows
        Kinds of layers, of ``overlays.ROW_KINDS``, that write over their input row by row.
    scratch
        Working memory of layers, by name; it is taken during that layer only. [B]

    References
    ----------
    .. [1] Y. Pisarchyk, J. Lee, "Efficient memory management for deep neural net inference", arXiv:2001.03288
       (greedy by size for offset calculation).
    .. [2] P. Blacker, C. P. Bridges, S. Hadfield, "Diagonal memory optimisation for machine learning on
       micro-controllers", arXiv:2010.01668 (outputs that run ahead of the input they overwrite).
    """
    if alignment < 1:
        raise ValueError(f"alignment ({alignment}) must be at least 1")
    lifetimes, working = live_steps(graph), {name: size for name, size in (scratch or {}).items() if size}
    slots = _slots(graph, lifetimes)
    least = lower_bound(graph, in_place=in_place, rows=rows, scratch=working)
    live = _live_bytes(graph, slots, working)
    peak_step, best = live.index(max(live)), None
    for chosen in _choices(graph, slots, in_place, rows, working):
        bodies = [
            body.settle() for body in (*_bodies(graph, slots, chosen, alignment), *_scratch_bodies(graph, working))
        ]
        for order in _orders(bodies, peak_step):
            if best is None or best[0] > least:
                found = _placed(order, alignment)
                best = found if best is None or found[0] < best[0] else best
    peak, offsets = best or (0, {})
    sizes = {name: graph[name].nbytes for name in lifetimes}
    for step, layer in enumerate(graph.layers, start=1):
        if layer.name in working:
            sizes[scratch_name(layer.name)] = working[layer.name]
            lifetimes[scratch_name(layer.name)] = (step, step)
    return MemoryPlan({name: offsets[name] for name in lifetimes}, sizes, lifetimes, peak)


def lower_bound(
    graph: Graph, *, in_place: bool = True, rows: Collection[str] = (), scratch: Mapping[str, int] | None = None
) -> int:
    """Return the most bytes that are live at once: no plan by the same rules is smaller. [B]

    An output and the input that it may write over count as the bytes that the two together take.
    """
    slots = _slots(graph, live_steps(graph))
    overlays = _overlays(graph, slots, rows) if in_place else {}
    live = _live_bytes(graph, slots, scratch or {})
    for step, (x, lead) in overlays.items():
        live[step] -= x.size - max(0, lead + x.size - graph[graph.layers[step - 1].outputs[0]].nbytes)
    return max(live)


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


def _slots(graph: Graph, lifetimes: Mapping[str, tuple[int, int]]) -> dict[str, _Slot]:
    """Return the place of each tensor; a reshape shows its input's elements."""
    slots = {name: _Slot([name], graph[name].nbytes, *steps) for name, steps in lifetimes.items()}
    for layer in graph.layers:
        if isinstance(layer.operator, Reshape) and not graph[layer.inputs[0]].is_constant:
            kept, other = slots[layer.inputs[0]], slots[layer.outputs[0]]
            if kept.size == other.size:
                kept.names += other.names
                kept.first, kept.last = min(kept.first, other.first), max(kept.last, other.last)
                slots[layer.outputs[0]] = kept
    return slots


def _overlays(graph: Graph, slots: Mapping[str, _Slot], rows: Collection[str]) -> dict[int, tuple[_Slot, int]]:
    """Return, by step, the input that the output may write over to save the most, and how far ahead it must be. [B]"""
    found = {}
    for step, layer in enumerate(graph.layers, start=1):
        how = kind(graph, layer)
        if how != "element" and how not in rows:
            continue
        y, legal = slots[layer.outputs[0]], []
        for name in layer.inputs:
            lead = None if graph[name].is_constant else lead_bytes(graph, layer, name)
            x = slots.get(name)
            if x and lead is not None and lead < y.size and x.last == step and not set(x.names) & set(graph.outputs):
                legal.append((x, lead))
        if legal:
            found[step] = max(legal, key=lambda each: each[0].size - max(0, each[1] + each[0].size - y.size))
    return found


def _live_bytes(graph: Graph, slots: Mapping[str, _Slot], scratch: Mapping[str, int]) -> list[int]:
    """Return the bytes that are needed in each step. [B]"""
    live = [0, *(scratch.get(layer.name, 0) for layer in graph.layers)]
    for slot in _distinct(slots):
        for step in range(slot.first, slot.last + 1):
            live[step] += slot.size
    return live


def _choices(
    graph: Graph, slots: Mapping[str, _Slot], in_place: bool, rows: Collection[str], scratch: Mapping[str, int]
) -> Iterable[dict[int, tuple[_Slot, int]]]:
    """Return the overlays to try: none, all, and those of the layers that need the most.

    An output that runs ahead moves all that is written over it, so overlays that are not needed can cost memory.
    """
    yield {}
    overlays = _overlays(graph, slots, rows) if in_place else {}
    if overlays:
        live = _live_bytes(graph, slots, scratch)
        moving = {live[step] for step, (_, lead) in overlays.items() if lead}
        for least in (0, *sorted(moving, reverse=True)[:MOST_THRESHOLDS]):
            yield {step: each for step, each in overlays.items() if not each[1] or live[step] >= least}


def _bodies(
    graph: Graph, slots: Mapping[str, _Slot], overlays: Mapping[int, tuple[_Slot, int]], alignment: int
) -> list[_Body]:
    """Chain slots that are written over one another."""
    body_of = {id(slot): _Body([slot]) for slot in _distinct(slots)}
    for step, (x, lead) in overlays.items():
        y, body = slots[graph.layers[step - 1].outputs[0]], body_of[id(x)]
        body.places.append(body.places[-1] - _aligned(lead, alignment))
        body.slots.append(y)
        body_of[id(y)] = body
    return list({id(body): body for body in body_of.values()}.values())


def _scratch_bodies(graph: Graph, scratch: Mapping[str, int]) -> list[_Body]:
    """Return the working memory of layers."""
    steps = zip(graph.layers, count(1), strict=False)
    return [
        _Body([_Slot([scratch_name(layer.name)], scratch[layer.name], step, step)])
        for layer, step in steps
        if layer.name in scratch
    ]


def _distinct(slots: Mapping[str, _Slot]) -> Iterable[_Slot]:
    """Return each slot once."""
    return {id(slot): slot for slot in slots.values()}.values()


def _orders(bodies: list[_Body], peak_step: int) -> Iterable[list[_Body]]:
    """Return the orders in which bodies are placed: by size, from the front, from the back, from the peak outwards."""
    keys = [(*body.key, at) for at, body in enumerate(bodies)]
    ranked = (
        sorted((-size, first, last, name, at) for size, first, last, name, at in keys),
        sorted((first, -size, last, name, at) for size, first, last, name, at in keys),
        sorted((-last, -size, first, name, at) for size, first, last, name, at in keys),
        sorted(
            (max(first - peak_step, peak_step - last, 0), -size, first, name, at)
            for size, first, last, name, at in keys
        ),
    )
    return ([bodies[rank[-1]] for rank in order] for order in ranked)


def _placed(order: list[_Body], alignment: int) -> tuple[int, dict[str, int]]:
    """Return the size of the arena and the offsets if bodies are placed in this order, each as low as it can be. [B]"""
    taken: dict[int, list[tuple[int, int]]] = {}
    offsets: dict[str, int] = {}
    peak = 0
    for body in order:
        base = _lowest_free(body, taken, alignment)
        for step, (low, high) in body.spans.items():
            taken.setdefault(step, []).append((base + low, base + high))
        for slot, place in zip(body.slots, body.places, strict=True):
            offsets.update(dict.fromkeys(slot.names, base + place))
        peak = max(peak, base + body.size)
    return peak, offsets


def _lowest_free(body: _Body, taken: Mapping[int, list[tuple[int, int]]], alignment: int) -> int:
    """Return the lowest aligned offset at which a body meets nothing else in any of its steps. [B]"""
    barred = {
        (begin - high, end - low)  # offsets strictly between these would overlap
        for step, (low, high) in body.spans.items()
        for begin, end in taken.get(step, ())
    }
    offset = 0
    for begin, end in sorted(barred):
        if offset <= begin:
            break
        if offset < end:
            offset = _aligned(end, alignment)
    return offset


def _aligned(offset: int, alignment: int) -> int:
    """Return the next multiple of the alignment. [B]"""
    return -(-offset // alignment) * alignment
