"""Amounts: what a layer asks of a device, as times that a runtime's multipliers scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from device_models.costing import layer_kernel, precisions_of
from device_models.cpu.amounts import cpu_amounts
from device_models.layer_classes import layer_class
from device_models.memory import LayerTraffic, Traffic, added, memory_time, traffic_once
from device_models.npu.amounts import npu_amounts
from workloads.graph import layer_macs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_models.costing import Kernel
    from device_models.device import Device, Kind
    from device_models.estimate import Setting
    from device_models.memory import Working
    from device_models.runtime import Way
    from workloads.graph import Graph, Layer

# What a multiplier multiplies; cycles take the clock and are split over threads, except those of calls.
QUANTITIES = {
    "program": "cycles of the Program that presage generates, on the device's core",
    "peak": "cycles at the device's peak in the layer's precision",
    "macs": "a cycle for each multiply-accumulate",
    "outputs": "a cycle for each element of the output",
    "elements": "a cycle for each element of the larger side",
    "weights": "time of the memories that deliver every weight once",
    "reloads": "time of the memories that deliver weights again, in the loop order of presage's Programs",
    "activations": "time of the memories that deliver and take the activations",
    "calls": "the device's overhead of one layer",
    "forks": "the device's fork and join of threads, where there are several",
    "products": "cycles of the multiply-adds of a product of matrices at the device's peak, on the busiest core",
    "widened": "the same, at the peak of 16-bit numbers, for kernels that widen 8-bit ones",
    "winograd": "the same, of convolutions that Winograd's transforms serve",
    "taps": "a cycle for each vector of multiply-adds of single channels, on the busiest core",
    "arranged": "a cycle for each vector of elements that a product needs in another order",
    "vectors": "a cycle for each vector of elements that are computed or summed, on the busiest core",
    "functions": "the device's cycles of an exponential for each element, on the busiest core",
    "streams": "time of the busiest core's way to the weights, as kernels keep them",
    "passes": "time of the busiest core's way to the activations",
    "copies": "time of the busiest core's way to what was arranged, written and read",
    "shared": "time for which memories that all cores share are taken by all that moves, where there are several",
    "regions": "the device's fork and join of threads for each time that a layer is split, where there are several",
    "host": "a millisecond for each input of the network, which a host copies before it waits for the answer",
    "cube": "cycles of the matrix unit, its loads and drains included, as far as other units leave them exposed",
    "diagonal": "cycles of the matrix unit for depthwise convolutions, likewise",
    "vector": "cycles of the vector unit, likewise",
    "inner": "time of the cache that all cores share, for the activations it holds, likewise",
    "outer": "time of the memory behind it, for the activations it does not hold, likewise",
}
OUTSIDE = 3.0  # a memory that is slower than the next nearer one by this is off the chip
KINDS: tuple[Kind, ...] = ("weights", "activations")
COMPUTE = frozenset({
    "program", "peak", "macs", "outputs", "elements", "products", "widened", "winograd", "taps", "arranged", "vectors",
    "functions", "cube", "diagonal", "vector",
})  # fmt: skip
MEMORY = frozenset({"weights", "reloads", "activations", "streams", "passes", "copies", "shared", "inner", "outer"})


@dataclass(frozen=True)
class LayerAmounts:
    """One layer's class and times by quantity, None where a quantity is not known for it. [s]

    Parameters
    ----------
    cycles
        Of the generated Program, or of a rate; zero where neither is known. [cycle]
    """

    layer: Layer
    kind: str
    macs: int
    seconds: Mapping[str, float | None]
    moved: tuple[Traffic, ...]
    distinct_bytes: int
    cycles: float
    scratch_bytes: int


def layer_amounts(
    graph: Graph, layer: Layer, setting: Setting, working: Working, precision: str, way: Way = "programs"
) -> LayerAmounts:
    """Return what one layer asks of a device at a clock, with a number of threads, in a runtime's way."""
    device, clock_hz = setting.device, setting.frequency_hz
    if device.core.model == "davinci":
        return npu_amounts(graph, layer, setting)
    if way != "programs":
        return cpu_amounts(graph, layer, setting, working, precision, by_winograd=way == "winograd")
    macs = layer_macs(graph, layer)
    working = _placed(graph, layer, device, working)
    kernel = layer_kernel(graph, layer, device, working) if precision in precisions_of(device) else None
    kind = layer_class(graph, layer)
    once, moved = _moved(graph, layer, kernel, setting, working)
    peaks = {"int8": device.compute.int8_peak, "fp32": device.compute.fp32_peak}
    sizes = [graph[name].elements for name in (*layer.inputs, *layer.outputs)]
    cycles: dict[str, float | None] = {
        "program": None if kernel is None else kernel.cycles,
        "peak": None if (peak := peaks.get(precision)) is None else macs / peak.value,
        "macs": float(macs),
        "outputs": float(sum(graph[name].elements for name in layer.outputs)),
        "elements": float(max(sizes)),
    }
    seconds: dict[str, float | None] = dict.fromkeys(QUANTITIES)
    seconds |= {
        name: None if count is None else count / clock_hz / setting.threads for name, count in cycles.items()
    } | _waits(setting, once, moved)
    if kind == "free":
        seconds = dict.fromkeys(seconds, 0.0)
    return LayerAmounts(
        layer,
        kind,
        macs,
        seconds,
        moved.levels,
        moved.distinct_bytes,
        0.0 if kernel is None else kernel.cycles,
        0 if kernel is None else kernel.scratch_bytes,
    )


def _placed(graph: Graph, layer: Layer, device: Device, working: Working) -> Working:
    """Return what decides where a layer's activations lie: libraries keep outside the chip only what must be there."""
    inside = _inside_bytes(device)
    if working.activations_bytes <= inside:
        return working
    own = sum(graph[name].nbytes for name in (*layer.inputs, *layer.outputs) if not graph[name].is_constant)
    return replace(working, activations_bytes=int(max(own, inside)))


def _inside_bytes(device: Device) -> float:
    """Return how many bytes of activations fit memories that are not several times slower than the one before. [B]"""
    homes = [name for name, level in device.memory.items() if "activations" in level.holds]
    rates = [device.read_bytes_per_s(name, device.frequency_hz) or math.inf for name in homes]
    near = [
        name for name, rate in zip(homes, rates, strict=True) if OUTSIDE * rate >= rates[-2 if len(rates) > 1 else -1]
    ]
    return max(device.memory[name].size.value for name in near)


def _waits(setting: Setting, once: LayerTraffic, moved: LayerTraffic) -> dict[str, float | None]:
    """Return the times of memories, and of starting a layer. [s]"""
    device, clock_hz, threads = setting.device, setting.frequency_hz, setting.threads
    rest = _without(moved.levels, moved.weights)
    overhead = device.overhead
    calls_s = (overhead.layer.value / clock_hz if overhead.layer else 0.0) + (
        overhead.launch.value if overhead.launch else 0.0
    )
    every_s, once_s = (memory_time(each.weights, device, clock_hz, threads)[0] for each in (moved, once))
    return {
        "weights": min(once_s, every_s),
        "reloads": max(0.0, every_s - once_s),
        "activations": memory_time(rest, device, clock_hz, threads)[0],
        "calls": calls_s,
        "forks": overhead.fork_join.value if overhead.fork_join and threads > 1 else 0.0,
    }


def _moved(
    graph: Graph, layer: Layer, kernel: Kernel | None, setting: Setting, working: Working
) -> tuple[LayerTraffic, LayerTraffic]:
    """Return the traffic of every byte moved once, and that of a layer's Program, if it has one."""
    device = setting.device
    sizes = {True: 0, False: 0}
    for name in layer.inputs:
        sizes[graph[name].is_constant] += graph[name].nbytes
    written = sum(graph[name].nbytes for name in layer.outputs)
    once = traffic_once(sizes[True], sizes[False], written, device, working)
    if kernel is None or kernel.detail is None:
        return once, once
    moved = {"weights": kernel.weights_moved, "activations": _without(kernel.moved, kernel.weights_moved)}
    first = {"weights": once.weights, "activations": _without(once.levels, once.weights)}
    inside = {kind: _kept_inside(moved[kind], first[kind], device, kind) for kind in KINDS}
    every = LayerTraffic(
        added(inside["weights"] + inside["activations"], device), once.distinct_bytes, inside["weights"]
    )
    return once, every


def _kept_inside(
    moved: tuple[Traffic, ...], once: tuple[Traffic, ...], device: Device, kind: Kind
) -> tuple[Traffic, ...]:
    """Return traffic in which what lives outside the nearest home comes in once, and is read again from that home."""
    homes = [name for name, level in device.memory.items() if kind in level.holds]
    least = {each.level: each for each in once}
    result = []
    for each in moved:
        if each.level not in homes[1:] or each.level not in least:
            result.append(each)
            continue
        came = least[each.level]
        read, written = min(each.read_bytes, came.read_bytes), min(each.written_bytes, came.written_bytes)
        result += [
            Traffic(each.level, read, written),
            Traffic(homes[0], each.read_bytes - read, each.written_bytes - written),
        ]
    return tuple(result)


def _without(levels: tuple[Traffic, ...], part: tuple[Traffic, ...]) -> tuple[Traffic, ...]:
    """Return traffic less a part of it."""
    taken = {each.level: each for each in part}
    return tuple(
        Traffic(each.level, each.read_bytes - out.read_bytes, each.written_bytes - out.written_bytes)
        if (out := taken.get(each.level))
        else each
        for each in levels
    )
