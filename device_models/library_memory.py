"""Memory of a network with a kernel library: flash for weights and code, RAM for the arena and the library's state."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ValidationError

from device_models.figures import Figure, Sourced, read_toml, source_faults, tidy
from device_models.quantities import Bytes, faults_of
from device_models.scratch import SCRATCH
from workloads.errors import InputError, did_you_mean
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, Reshape
from workloads.passes.memory_plan import MemoryPlan, plan
from workloads.passes.pads import with_pads_apart, with_pads_inside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.graph import Graph

KEPT = 8  # plans: many devices and runtimes are asked about one network after the other

BytesFigure = Figure[Annotated[float, *Bytes.__metadata__]]


class Beside(Sourced):
    """Bytes that grow with the number of layers and of channels of weights."""

    base: BytesFigure
    per_layer: BytesFigure
    per_channel: BytesFigure

    def nbytes(self, layers: int, channels: int) -> int:
        """Return the bytes for so many layers and channels. [B]"""
        return round(self.base.value + layers * self.per_layer.value + channels * self.per_channel.value)


class Library(Sourced):
    """The rules of one library.

    Parameters
    ----------
    runtimes
        Patterns of the runtimes that follow them.
    pads
        Whether an image with its border is a tensor of its own ("apart"), never ("inside"), or where the file says so.
    in_place, rows
        As for ``workloads.passes.memory_plan.plan``.
    scratch
        A key of ``device_models.scratch.SCRATCH``.
    state, code
        RAM beside the arena; flash beside the weights.
    ram, flash
        1, with the range of measured / predicted over the networks at hand.
    """

    runtimes: tuple[str, ...]
    pads: Literal["apart", "inside", "as read"]
    in_place: bool = True
    rows: tuple[str, ...]
    scratch: Literal["none", "cmsis-nn", "x-cube-ai"]
    alignment: BytesFigure
    state: Beside
    code: Beside
    ram: Figure[float]
    flash: Figure[float]


@dataclass(frozen=True)
class NetworkMemory:
    """What a network takes with a library, and where its tensors lie.

    Parameters
    ----------
    graph
        The network with the layers that the plan is for.
    ram_bytes, flash_bytes
        Arena and state; weights and code. [B]
    """

    graph: Graph
    arena: MemoryPlan
    state_bytes: int
    weights_bytes: int
    code_bytes: int
    library: Library

    @property
    def ram_bytes(self) -> int:
        """Arena and state. [B]"""
        return self.arena.peak_bytes + self.state_bytes

    @property
    def flash_bytes(self) -> int:
        """Weights and code. [B]"""
        return self.weights_bytes + self.code_bytes


def library_of(runtime: str) -> Library | None:
    """Return the rules that a runtime follows, or None where nothing is known of its memory."""
    rules = (rules for rules in libraries().values() if any(fnmatchcase(runtime, each) for each in rules.runtimes))
    return next(rules, None)


def network_memory(graph: Graph, runtime: str, scratch: Mapping[str, int] | None = None) -> NetworkMemory:
    """Return the memory that a prepared network takes with a runtime.

    Parameters
    ----------
    scratch
        Working memory of layers, by name, instead of what the library's formulas give. [B]

    Raises
    ------
    InputError
        Nothing is known of the runtime's memory.
    """
    rules = library_of(runtime)
    if rules is None:
        raise InputError("memory", [f"nothing is known of {runtime!r}; {did_you_mean(runtime, libraries())}"])
    laid = _laid(graph, rules.pads)
    if scratch is None:
        scratch = {layer.name: SCRATCH[rules.scratch](laid, layer) for layer in laid.layers}
    needed = tuple((name, size) for name, size in scratch.items() if size)
    arena = _planned(laid, int(rules.alignment.value), rules.in_place, rules.rows, needed)
    layers = sum(not isinstance(layer.operator, Reshape) for layer in graph.layers)
    channels = sum(
        graph[layer.outputs[0]].shape[-1]
        for layer in graph.layers
        if isinstance(layer.operator, Conv2d | DepthwiseConv2d | FullyConnected)
    )
    beside = rules.state.nbytes(layers, channels), rules.code.nbytes(layers, channels)
    return NetworkMemory(laid, arena, beside[0], graph.weights_bytes, beside[1], rules)


@lru_cache(maxsize=KEPT)
def _laid(graph: Graph, pads: str) -> Graph:
    """Return the network with the tensors that a library keeps."""
    return {"apart": with_pads_apart, "inside": with_pads_inside}.get(pads, lambda same: same)(graph)


@lru_cache(maxsize=KEPT)
def _planned(
    graph: Graph, alignment: int, in_place: bool, rows: tuple[str, ...], scratch: tuple[tuple[str, int], ...]
) -> MemoryPlan:
    return plan(graph, alignment=alignment, in_place=in_place, rows=rows, scratch=dict(scratch))


@cache
def libraries() -> dict[str, Library]:
    """Return the libraries whose memory is known, by name.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    path = Path(str(files("device_models") / "library_memory.toml"))
    table = read_toml(path)
    sources = table.pop("sources", {})
    found, faults = {}, []
    for name, entry in table.items():
        if name != "schema":
            try:
                found[name] = Library.model_validate(entry)
            except ValidationError as error:
                faults += [f"{name}.{fault}" for fault in tidy(faults_of(error, Library))]
    faults = faults or source_faults(list(found.values()), sources)
    if faults:
        raise InputError(path, faults)
    return found
