"""Amounts of neural processors: what each layer asks of units that work at the same time, kernel by kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.layer_classes import layer_class
from device_models.memory import Traffic, added, memory_time
from device_models.npu.kernels import conversions, fused, is_free
from device_models.npu.matrix import diagonal_cycles, product_cycles, product_of, read_again
from device_models.npu.storage import stored_bytes
from device_models.npu.vector import vector_cycles
from workloads.graph import layer_macs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_models.amounts import LayerAmounts
    from device_models.device import Device
    from device_models.estimate import Setting
    from workloads.graph import Graph, Layer

KEPT = 8  # networks, and settings: fits and estimates come back to the same ones

# The kernels of the vendor's compiler beside what the units could do: multipliers of a runtime say how far off this is.
ATTAINED = 0.8  # of the matrix unit's cycles
DIAGONAL = 4.0  # cycles for each block of a depthwise convolution
COPY_S = 1e-3  # an input's way to the chip, the answer's way back, and a thread that waits for it
SINGLE = 1.5  # functions compute partly in single precision, half the lanes

UNITS = {"cube": "matrix", "diagonal": "matrix", "vector": "vector", "weights": "memory", "inner": "memory",
         "outer": "memory"}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What one layer asks, by quantity, as if it had its units alone; None without a formula. [s]

    Parameters
    ----------
    launches
        Kernels that it starts: its own unless it follows another layer, and conversions of its format.
    moved
        By level, nearest first.
    """

    seconds: Mapping[str, float] | None
    moved: tuple[Traffic, ...]
    launches: int


def npu_amounts(graph: Graph, layer: Layer, setting: Setting) -> LayerAmounts:
    """Return what one layer asks of a chip whose compiler fuses layers into kernels.

    The units of a kernel overlap in part: its time is the root of the sum of their squares, and each unit's part of it
    is shared out by square. So the parts of all layers add up to the time.
    """
    from device_models.amounts import QUANTITIES, LayerAmounts

    kind = "free" if is_free(graph, layer) else layer_class(graph, layer)
    names = (*layer.inputs, *layer.outputs)
    distinct = sum(graph[name].nbytes for name in names)
    if kind == "free":
        return LayerAmounts(layer, kind, 0, dict.fromkeys(QUANTITIES, 0.0), (), distinct, 0.0, 0)
    asked, busy = asked_of(graph, setting)[layer.name]
    seconds: dict[str, float | None] = dict.fromkeys(QUANTITIES)
    launch = setting.device.overhead.launch
    if asked.seconds is not None:
        seconds |= {name: each * exposed(busy, UNITS[name]) for name, each in asked.seconds.items()}
    seconds["calls"] = 0.0 if launch is None else launch.value * asked.launches
    seconds["host"] = COPY_S * sum(name in graph.inputs for name in layer.inputs)
    computed = 0.0 if asked.seconds is None else sum(asked.seconds[name] for name in ("cube", "diagonal", "vector"))
    cycles = computed * setting.frequency_hz * setting.threads
    return LayerAmounts(layer, kind, layer_macs(graph, layer), seconds, asked.moved, distinct, cycles, 0)


@lru_cache(maxsize=KEPT)
def asked_of(graph: Graph, setting: Setting) -> dict[str, tuple[Asked, dict[str, float]]]:
    """Return what every layer that costs something asks, and how long each kind of unit is busy in its kernel. [s]"""
    found: dict[str, tuple[Asked, dict[str, float]]] = {}
    for kernel in fused(graph):
        parts = _kernel(graph, kernel, setting)
        busy = dict.fromkeys(UNITS.values(), 0.0)
        for part in parts:
            for name, each in (part.seconds or {}).items():
                busy[UNITS[name]] += each
        found |= {layer.name: (part, busy) for layer, part in zip(kernel, parts, strict=True)}
    return found


def exposed(busy: Mapping[str, float], unit: str) -> float:
    """Return the share of a unit's time that its kernel lasts for it; all parts add up to the root of the squares."""
    total = math.hypot(*busy.values())
    return busy[unit] / total if total else 0.0


def _kernel(graph: Graph, kernel: tuple[Layer, ...], setting: Setting) -> list[Asked]:
    """Return what the layers of a kernel ask; what one hands to the next stays inside the core."""
    inside = {name for layer in kernel[:-1] for name in layer.outputs}
    outside = [
        sum(stored_bytes(graph, name) for name in (*layer.inputs, *layer.outputs)
            if name not in inside and not graph[name].is_constant)
        for layer in kernel
    ]  # fmt: skip
    kept = _kept(sum(outside), setting.device)
    return [_layer(graph, layer, setting, inside, kept, first=layer is kernel[0]) for layer in kernel]


def _layer(graph: Graph, layer: Layer, setting: Setting, inside: set[str], kept: float, *, first: bool) -> Asked:
    """Return what one layer of a kernel asks, if ``kept`` of its kernel's activations stay in the cache."""
    device, threads, clock_hz = setting.device, setting.threads, setting.frequency_hz
    weights = sum(stored_bytes(graph, name) for name in layer.inputs if graph[name].is_constant)
    if layer.op == "embedding":  # only the rows that are looked up
        weights = min(weights, stored_bytes(graph, layer.outputs[0]))
    activations = [name for name in layer.inputs if not graph[name].is_constant and name not in inside]
    times = 1 + conversions(graph).get(layer.name, 0)
    read = sum(stored_bytes(graph, name) for name in activations) * times * read_again(graph, layer, device.core)
    written = sum(stored_bytes(graph, name) for name in layer.outputs if name not in inside) * times
    inner, outer = _split(device, read, written, kept)
    fetched = Traffic(outer.level, weights, 0)
    work = _work(graph, layer, setting)
    moves = {"weights": fetched, "inner": inner, "outer": outer}
    waits = {name: memory_time((moved,), device, clock_hz, threads)[0] for name, moved in moves.items()}
    seconds = None if work is None else work | waits
    return Asked(seconds, added((inner, outer, fetched), device), times if first else 0)


def _work(graph: Graph, layer: Layer, setting: Setting) -> dict[str, float] | None:
    """Return the times of the computing units; None for an operator without a formula. [s]"""
    core, cores, clock_hz = setting.device.core, setting.threads, setting.frequency_hz
    product, vector = product_of(graph, layer), vector_cycles(graph, layer, core, cores)
    if vector is None:
        return None
    single = SINGLE if layer_class(graph, layer) == "function" else 1.0
    cube = 0.0 if product is None else product_cycles(product, core, cores)
    return {
        "cube": cube / ATTAINED / clock_hz,
        "diagonal": DIAGONAL * diagonal_cycles(graph, layer, core, cores) / clock_hz,
        "vector": single * vector / clock_hz,
    }


def _kept(activations_bytes: float, device: Device) -> float:
    """Return which share of a kernel's activations its cache holds: what is read may go as the results come."""
    return min(1.0, 2.0 * _cache_bytes(device) / max(1.0, activations_bytes))


def _cache_bytes(device: Device) -> float:
    """Return the size of the cache that all cores share; zero where there is none. [B]"""
    shared, *farther = device.memory.values()
    return shared.size.value if farther else 0.0


def _split(device: Device, read: float, written: float, kept: float) -> tuple[Traffic, Traffic]:
    """Return the traffic of activations that the cache delivers, and that of the memory behind it."""
    nearest, farthest = next(iter(device.memory)), list(device.memory)[-1]
    inner = Traffic(nearest, round(read * kept), round(written * kept))
    return inner, Traffic(farthest, round(read) - inner.read_bytes, round(written) - inner.written_bytes)
