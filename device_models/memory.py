"""Memory: the bytes that cross each level of the hierarchy, and the time that takes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from math import exp
from typing import TYPE_CHECKING

from device_models.footprint import Nest, nest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device_models.device import Device, Kind, MemoryLevel
    from workloads.program import Program

WEIGHT_ROLES = ("weights", "parameters")


@dataclass(frozen=True)
class Traffic:
    """Bytes that one level delivers towards the core, and takes back. [B]"""

    level: str
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True)
class Working:
    """What else lives in the memories while a layer runs.

    Parameters
    ----------
    weights_bytes, activations_bytes
        Constants of the whole network, and the peak of its activations. [B]
    """

    weights_bytes: int
    activations_bytes: int


@dataclass(frozen=True)
class LayerTraffic:
    """Traffic of one layer by level, nearest first, and the distinct bytes it touches. [B]

    Parameters
    ----------
    weights
        The part of ``levels`` that fetches weights.
    """

    levels: tuple[Traffic, ...]
    distinct_bytes: int
    weights: tuple[Traffic, ...] = ()


def traffic(program: Program, device: Device, working: Working) -> LayerTraffic:
    """Return what crosses each level while a Program runs once, in repeated inferences of its network.

    A cache keeps what a loop touches if all of it fits: then the loop's bytes are fetched once. What it does not lose
    (``lost``) of the whole network is still there at the next inference; of one layer, for the next layer.
    """
    line = int(next((level.line.value for level in device.memory.values() if level.line is not None), 1))
    nest = nest_of(program, program.isa.spaces[0], line)
    kinds: dict[str, Kind] = {
        buffer.name: "weights" if buffer.role in WEIGHT_ROLES else "activations" for buffer in program.buffers
    }
    wanted: Mapping[Kind, int] = {"weights": working.weights_bytes, "activations": working.activations_bytes}
    moved: dict[Kind, defaultdict[str, list[int]]] = {kind: defaultdict(lambda: [0, 0]) for kind in wanted}
    for kind, nbytes in wanted.items():
        for cache, level in hops(device, kind, nbytes):
            capacity = 0.0 if cache is None else cache.size.value
            crossing, kept = fetched(nest, capacity), 1.0 - _gone(capacity, kind, nest.whole, working)
            for name in (name for name in crossing if kinds[name] == kind):
                if crossed := crossing[name] - round(kept * nest.whole[name]):
                    moved[kind][level][0] += crossed * (name in nest.loads)
                    moved[kind][level][1] += crossed * (name in nest.stores)
    weights = tuple(Traffic(name, *moved["weights"][name]) for name in device.memory if name in moved["weights"])
    rest = tuple(Traffic(name, *found) for name, found in moved["activations"].items())
    return LayerTraffic(added((*weights, *rest), device), sum(nest.whole.values()), weights)


def traffic_once(
    weights_bytes: int, read_bytes: int, written_bytes: int, device: Device, working: Working
) -> LayerTraffic:
    """Return what crosses each level while a layer reads and writes every byte once, whatever its kernel."""
    layer = {"weights": weights_bytes, "activations": read_bytes + written_bytes}
    moves: dict[Kind, tuple[int, int, int]] = {
        "weights": (working.weights_bytes, weights_bytes, 0),
        "activations": (working.activations_bytes, read_bytes, written_bytes),
    }
    found: dict[Kind, tuple[Traffic, ...]] = {}
    for kind, (total, read, written) in moves.items():
        parts = [
            (level, 1.0 if cache is None else _gone(cache.size.value, kind, layer, working))
            for cache, level in hops(device, kind, total)
        ]
        found[kind] = tuple(Traffic(level, round(part * read), round(part * written)) for level, part in parts if part)
    return LayerTraffic(added(found["weights"] + found["activations"], device), sum(layer.values()), found["weights"])


def added(parts: Sequence[Traffic], device: Device) -> tuple[Traffic, ...]:
    """Return traffic summed by level, nearest first."""
    by_level = {name: [each for each in parts if each.level == name] for name in device.memory}
    return tuple(
        Traffic(name, sum(each.read_bytes for each in found), sum(each.written_bytes for each in found))
        for name, found in by_level.items()
        if found
    )


def _gone(capacity: float, kind: Kind, layer: Mapping[str, int], working: Working) -> float:
    """Return the share of a layer's data, or of its input, that a cache has lost since the last inference or layer."""
    network = lost(working.weights_bytes + working.activations_bytes, capacity)
    return network if kind == "weights" else min(network, lost(sum(layer.values()), capacity))


def lost(touched_bytes: float, capacity: float) -> float:
    """Return the share of what is touched over and over that a cache has lost when it is touched again.

    Where any line may have to make room for a missing one, a line outlives the misses of one round, ``share *
    touched_bytes``, with the probability exp(-share * touched_bytes / capacity), and the share is 1 less that. Under
    strict order of use nothing would be left beyond the capacity; latencies of real caches lie between the two.
    """
    if touched_bytes <= capacity:
        return 0.0
    if not capacity:
        return 1.0
    rounds = touched_bytes / capacity
    share = 1.0
    for _ in range(60):  # Newton's steps fall from 1 towards the root
        left = exp(-share * rounds)
        step = (share - 1.0 + left) / (1.0 - rounds * left)
        share -= step
        if step < 1e-12:
            break
    return share


def home(device: Device, kind: Kind, nbytes: float) -> str:
    """Return the nearest level that holds ``nbytes`` of weights or activations; the largest if none does."""
    homes = [name for name, level in device.memory.items() if kind in level.holds]
    return next((name for name in homes if device.memory[name].size.value >= nbytes), homes[-1])


def hops(device: Device, kind: Kind, nbytes: float) -> list[tuple[MemoryLevel | None, str]]:
    """Return the way of data to the core: (the cache that filters it, the level it is fetched from), nearest first.

    The nearest cache works at the core's own load rate, so the first fetch counted is the one that fills it.
    """
    end = home(device, kind, nbytes)
    names = list(device.memory)
    before = [name for name in names[: names.index(end)] if not device.memory[name].holds]
    way = [*before, end]
    if not before:
        return [(None, end)] if device.memory[end].read_bytes_per_s(1.0) is not None else []
    return [(device.memory[nearer], farther) for nearer, farther in pairwise(way)]


def fetched(nest: Nest, capacity: float) -> dict[str, int]:
    """Return the bytes of each buffer that cross a cache of ``capacity`` while a loop runs. [B]"""
    if sum(nest.once.values()) <= capacity:
        return dict(nest.whole)
    total = defaultdict(int, nest.own)
    for child in nest.children:
        for name, nbytes in fetched(child, capacity).items():
            total[name] += nbytes * nest.trips
    return {name: max(nbytes, nest.whole[name]) for name, nbytes in total.items()}


def memory_time(
    levels: Sequence[Traffic], device: Device, frequency_hz: float, threads: int = 1, working_s: float = 0.0
) -> tuple[float, str]:
    """Return the time of the slowest level, and its name; levels deliver at the same time. [s]

    Threads share a level that has a total bandwidth, and split the traffic of the others.

    Parameters
    ----------
    working_s
        How long the core executes besides: an in-order core waits afterwards, but what all cores share goes on. [s]
    """
    beside_s = working_s if device.core.model == "inorder" else 0.0
    times = [(_level_time(moved, device, frequency_hz, threads, beside_s), moved.level) for moved in levels]
    return max(times, default=(0.0, "none"))


def _level_time(moved: Traffic, device: Device, frequency_hz: float, threads: int, beside_s: float) -> float:
    """Return the time of one level's traffic split over threads. [s]"""
    level, read = device.memory[moved.level], device.read_bytes_per_s(moved.level, frequency_hz)
    if read is None or not (moved.read_bytes or moved.written_bytes):
        return 0.0
    write = read if level.write_bandwidth is None else level.write_bandwidth.value
    latency = 0.0 if level.latency is None else level.latency.value
    alone = moved.read_bytes / read + moved.written_bytes / write
    shared = 0.0
    if level.total_bandwidth is not None:
        shared = (moved.read_bytes + moved.written_bytes) / level.total_bandwidth.value - beside_s
    return latency + max(alone / threads, shared)
