"""The memory of one network on one device as a picture: ``presage predict --memory-plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.device import load_device
from device_models.estimate import prepared_for, working_set
from device_models.grey_box import runtime_graph
from device_models.memory import home
from device_models.placement import placed, scratch_of
from device_models.runtime import GENERATED, load_runtime
from reports import memory_plot
from reports.memory_plot import Block, MemoryMap, Store
from workloads.errors import InputError
from workloads.operators import Pad
from workloads.readers.load import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from device_models.device import Device
    from device_models.library_memory import NetworkMemory
    from simulator.predict import Options
    from workloads.graph import Graph

FORMATS = {".svg": memory_plot.svg, ".html": memory_plot.html}


def write_plot(models: Sequence[str], devices: Sequence[str], options: Options, path: Path) -> None:
    """Draw a network's memory on a device into a file, SVG or HTML by its name.

    Raises
    ------
    InputError
        There is more than one model or device, the file's name ends otherwise, or it cannot be written.
    """
    problems = []
    if len(models) != 1 or len(devices) != 1:
        problems.append(f"{len(models)} models on {len(devices)} devices; a plot shows one model on one device")
    if path.suffix not in FORMATS:
        problems.append(f"{str(path)!r}: expected a name that ends in {' or '.join(FORMATS)}")
    if problems:
        raise InputError("--memory-plot", problems)
    graph, device = load(models[0], sizes=options.sizes), load_device(devices[0])
    title = f"{graph.name} on {device.name}, {options.runtime}"
    text = FORMATS[path.suffix](memory_map(title, memory_on(graph, device, options), device))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError("--memory-plot", [f"{str(path)!r} cannot be written: {error.strerror}"]) from None


def memory_on(graph: Graph, device: Device, options: Options) -> NetworkMemory:
    """Return what a network takes of a device's memories, as predictions count it."""
    if options.runtime != GENERATED:
        library = load_runtime(options.runtime)
        return placed(runtime_graph(graph, library, options.precision, options.batch), library.name, {})
    prepared = prepared_for(graph, options.precision, options.batch)
    return placed(prepared, GENERATED, scratch_of(prepared, device, working_set(prepared)))


def memory_map(title: str, memory: NetworkMemory, device: Device) -> MemoryMap:
    """Return what the picture shows of a network's memory."""
    graph, arena = memory.graph, memory.arena
    ends = [0] * (len(graph.layers) + 1)
    for name, (first, last) in arena.lifetimes.items():
        for step in range(first, last + 1):
            ends[step] = max(ends[step], arena.offsets[name] + arena.sizes[name])
    blocks = tuple(
        Block(name, _kind(graph, name), arena.offsets[name], arena.sizes[name], *arena.lifetimes[name])
        for name in arena.offsets
    )
    weights = [sum(graph[name].nbytes for name in layer.inputs if graph[name].is_constant) for layer in graph.layers]
    return MemoryMap(
        title=title,
        steps=("input", *(layer.name for layer in graph.layers)),
        blocks=blocks,
        weights_bytes=(0, *weights),
        peak_bytes=arena.peak_bytes,
        peak_step=ends.index(max(ends)),
        stores=_stores(memory, device),
    )


def _kind(graph: Graph, name: str) -> str:
    """Return what a tensor of the arena is."""
    if name not in graph.tensors:
        return "scratch"
    if name in graph.inputs:
        return "input"
    if name in graph.outputs:
        return "output"
    padded = any(isinstance(layer.operator, Pad) and name in layer.outputs for layer in graph.layers)
    return "padded" if padded else "activation"


def _stores(memory: NetworkMemory, device: Device) -> tuple[Store, ...]:
    """Return the memories that hold activations and weights, the first one first; they may be one."""
    ram = home(device, "activations", memory.ram_bytes)
    flash = home(device, "weights", memory.flash_bytes)
    kept = {ram: [("arena", memory.arena.peak_bytes), ("state", memory.state_bytes)]}
    kept.setdefault(flash, []).extend([("weights", memory.weights_bytes), ("code", memory.code_bytes)])
    return tuple(
        Store(f"{device.name}'s {name}", device.memory[name].size.value, tuple((kind, n) for kind, n in parts if n))
        for name, parts in kept.items()
    )
