"""Amounts of CPUs: what each layer asks of vector units, caches and threads, whichever library computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.cpu.blocks import Blocks, direct, winograd
from device_models.layer_classes import layer_class
from device_models.memory import Traffic, added, home, memory_time
from workloads.graph import layer_macs
from workloads.operators import Conv2d, HardSwish, LayerNorm, Pool2d

if TYPE_CHECKING:
    from device_models.amounts import LayerAmounts
    from device_models.device import Device
    from device_models.estimate import Setting
    from device_models.memory import Working
    from workloads.graph import Graph, Layer

KEPT = 8  # networks: fits and estimates come back to the same ones
TOO_FEW = 8  # channels, for which no library transforms pixels
PRODUCTS = frozenset({"first", "pointwise", "winograd", "conv", "dense"})
STEPS = {HardSwish: 4, LayerNorm: 8}  # operations on a vector, of functions without an exponential
ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
SUMMED_BYTES = {"fp32": 4, "fp16": 2, "int8": 12}  # an int8 sum is written, packed and read again as 32 bits
SUMMED_VECTORS = {"fp32": 1, "fp16": 1, "int8": 4}  # of a sum on its way to the output
TRANSFORMED_BYTES = 2  # of an 8-bit number after Winograd's transform
NARROW = 8  # channels that lie together in 8-bit tensors: more lanes help none but the products of matrices
SCALAR = 0.25  # of a cycle for each element of an image's windows: too few channels for vectors
SCALED = {False: 1, True: 2}  # regions for an 8-bit output; Winograd's lies in another order first
ARRIVAL = 1 / 64  # of a fork, for each thread that must be told and waited for
ALONE = 1_000_000  # multiply-accumulates of a single pixel that are not worth a fork [MAC]


@dataclass(frozen=True)
class Asked:
    """A layer as its kernel runs it, on so many cores; ``share`` of its work falls to the busiest of them."""

    kind: str
    macs: int
    blocks: Blocks | None
    precision: str
    cores: int
    share: float


def cpu_amounts(
    graph: Graph, layer: Layer, setting: Setting, working: Working, precision: str, *, by_winograd: bool
) -> LayerAmounts:
    """Return what one layer asks of a device whose vectors have a known width."""
    from device_models.amounts import QUANTITIES, LayerAmounts

    device, kind = setting.device, kind_of(graph, layer)
    distinct = sum(graph[name].nbytes for name in (*layer.inputs, *layer.outputs))
    seconds: dict[str, float | None] = dict.fromkeys(QUANTITIES)
    if kind == "free":
        return LayerAmounts(layer, kind, 0, dict.fromkeys(seconds, 0.0), (), distinct, 0.0, 0)
    asked = _asked(graph, layer, setting, precision, by_winograd=by_winograd)
    clock_hz = busy_clock_hz(setting)
    cycles = _cycles(graph, layer, asked, device)
    seconds |= {name: None if each is None else each / clock_hz for name, each in cycles.items()}
    kept = kept_bytes(graph, precision, by_winograd=by_winograd) + working.activations_bytes
    waits, levels = _waits(graph, layer, asked, setting, kept)
    overhead = device.overhead
    seconds |= waits | {
        "calls": overhead.layer.value / clock_hz * _groups(asked) if overhead.layer else 0.0,
        "regions": _regions(graph, layer, asked) * _groups(asked) * fork_s(setting),
    }
    return LayerAmounts(layer, kind, asked.macs, seconds, levels, distinct, cycles["products"] or 0.0, 0)


def _asked(graph: Graph, layer: Layer, setting: Setting, precision: str, *, by_winograd: bool) -> Asked:
    """Return a layer as it is computed."""
    device, kind, macs = setting.device, kind_of(graph, layer), layer_macs(graph, layer)
    cores, blocks = min(setting.threads, device.cores), _blocks(graph, layer, by_winograd=by_winograd)
    channels = graph[layer.outputs[0]].shape[-1] // (1 if blocks is None else blocks.groups)
    return Asked(kind, macs, blocks, precision, cores, busiest(channels, lanes(device), cores))


def _blocks(graph: Graph, layer: Layer, *, by_winograd: bool) -> Blocks | None:
    """Return a layer as a product of matrices, None where it is none."""
    kind = kind_of(graph, layer)
    if kind not in PRODUCTS:
        return None
    if kind == "winograd" and by_winograd:
        return winograd(graph, layer)
    return direct(graph, layer, layer_macs(graph, layer))


@lru_cache(maxsize=KEPT)
def kept_bytes(graph: Graph, precision: str, *, by_winograd: bool) -> int:
    """Return the bytes of all weights as the kernels keep them. [B]"""
    return sum(
        _weight_bytes(graph, layer, _blocks(graph, layer, by_winograd=by_winograd), precision) for layer in graph.layers
    )


def kind_of(graph: Graph, layer: Layer) -> str:
    """Return the class of a layer for libraries of CPUs.

    A product of many rows is one of pixels, whatever its operator is called; pixels of few channels, or apart from
    each other, are not transformed.
    """
    kind = layer_class(graph, layer)
    if kind == "dense":
        return "pointwise" if math.prod(graph[layer.outputs[0]].shape[:-1]) > 1 else kind
    if kind == "winograd" and isinstance(layer.operator, Conv2d):
        outputs, _, _, inputs = graph[layer.inputs[1]].shape
        few = max(inputs, outputs // layer.operator.groups) <= TOO_FEW
        return "conv" if few or layer.operator.dilation != (1, 1) else kind
    return kind


def lanes(device: Device) -> int:
    """Return how many 32-bit numbers a vector holds."""
    vector = device.compute.vector
    return 1 if vector is None else max(1, int(vector.value) // 4)


def busiest(channels: int, width: int, cores: int) -> float:
    """Return the share of a layer's work that the busiest core does: channels are dealt by whole vectors."""
    vectors = math.ceil(channels / width)
    return math.ceil(vectors / cores) * width / channels


def busy_clock_hz(setting: Setting) -> float:
    """Return the clock under load: where the nominal one is asked for, a governor goes higher. [Hz]"""
    clock, cores = setting.device.clock, setting.device.cores
    if clock.boost is None or setting.frequency_hz != clock.frequency.value:
        return setting.frequency_hz
    every = clock.frequency.value if clock.boost_all is None else clock.boost_all.value
    busy = (min(setting.threads, cores) - 1) / (cores - 1) if cores > 1 else 0.0
    return clock.boost.value + (every - clock.boost.value) * busy


def fork_s(setting: Setting) -> float:
    """Return the time of splitting work over threads and waiting for all. [s]"""
    fork = setting.device.overhead.fork_join
    return fork.value * (1.0 + ARRIVAL * setting.threads) if fork is not None and setting.threads > 1 else 0.0


def _cycles(graph: Graph, layer: Layer, asked: Asked, device: Device) -> dict[str, float | None]:
    """Return the cycles of the busiest core by quantity, None where a device's figure is not known. [cycle]"""
    share = asked.share
    width = min(lanes(device), NARROW) if asked.precision == "int8" else lanes(device)
    outputs = sum(graph[name].elements for name in layer.outputs)
    larger = max(outputs, sum(graph[name].elements for name in layer.inputs if not graph[name].is_constant))
    passed = outputs * math.prod(layer.operator.kernel) if isinstance(layer.operator, Pool2d) else larger
    function = _function_cycles(layer, device, width)
    none: dict[str, float | None] = dict.fromkeys(("products", "widened", "winograd", "arranged"), 0.0)
    found = none | {
        "macs": asked.macs * share,
        "elements": larger * share,
        "outputs": outputs * share,
        "taps": asked.macs / width * share,
        "vectors": passed / width * share,
        "functions": None if function is None else larger * function * share,
    }
    if asked.blocks is None:
        return found
    vectors = outputs * SUMMED_VECTORS[asked.precision] / width * share
    return found | _product_cycles(asked.blocks, asked, device, width) | {"vectors": vectors}


def _function_cycles(layer: Layer, device: Device, width: int) -> float | None:
    """Return the cycles of a function for one element; None if it takes an exponential of unknown cost. [cycle]"""
    steps = next((number for kind, number in STEPS.items() if isinstance(layer.operator, kind)), None)
    exponential = device.operators.get("exponential")
    return steps / width if steps is not None else None if exponential is None else exponential.value


def _product_cycles(blocks: Blocks, asked: Asked, device: Device, width: int) -> dict[str, float | None]:
    """Return the cycles of a product of matrices, and of what is put in order for it. [cycle]"""
    peak, wide = _rates(device, asked.precision)
    widened = None if wide is None else blocks.products / wide * asked.share
    plain = None if peak is None else blocks.products / peak * asked.share
    by_winograd = blocks.count > 1
    step = max(SCALAR, 1 / width) if asked.kind == "first" else 1 / width
    return {
        "products": widened if by_winograd else plain,
        "widened": widened,
        "winograd": widened if by_winograd else 0.0,
        "arranged": 0.0 if asked.kind == "dense" else blocks.arranged * step / _arranging(blocks, asked, device),
    }


def _rates(device: Device, precision: str) -> tuple[float | None, float | None]:
    """Return the multiply-adds of a cycle, and those of numbers that are widened to 16 bits first. [MAC/cycle]"""
    single = None if device.compute.fp32_peak is None else device.compute.fp32_peak.value
    if precision != "int8":
        return single, single
    eight = device.compute.int8_peak.value
    return eight, None if single is None else min(eight, 2 * single)


def _arranging(blocks: Blocks, asked: Asked, device: Device) -> int:
    """Return how many cores arrange operands: they are dealt by tiles that fill the cache of a core."""
    if blocks.count > 1:
        return min(asked.cores, max(1, blocks.depth // lanes(device)))
    tiles = math.ceil(blocks.operands * ELEMENT_BYTES[asked.precision] / _own_cache_bytes(device))
    return min(asked.cores, max(1, tiles))


def _own_cache_bytes(device: Device) -> float:
    """Return the size of the last cache that a core has for itself. [B]"""
    caches = [level.size.value for level in device.memory.values() if not level.holds]
    return caches[min(1, len(caches) - 1)] if caches else math.inf


def _waits(
    graph: Graph, layer: Layer, asked: Asked, setting: Setting, kept: int
) -> tuple[dict[str, float | None], tuple[Traffic, ...]]:
    """Return the times of memories by quantity, and the traffic behind them. [s]"""
    device, clock_hz = setting.device, busy_clock_hz(setting)
    read, written = _passed_bytes(graph, layer, asked)
    weights = _weight_bytes(graph, layer, asked.blocks, asked.precision)
    copied = _copied_bytes(asked)
    moves = {
        "streams": _traffic(device, kept, weights, 0),
        "passes": _traffic(device, read + written, read, written),
        "copies": _traffic(device, 2 * copied + written, copied, copied),
    }
    part = min(1.0, asked.share)
    times: dict[str, float | None] = {
        name: memory_time((each,), device, clock_hz)[0] * part for name, each in moves.items()
    }
    times["shared"] = sum(_shared_s(device, each) for each in moves.values()) if asked.cores > 1 else 0.0
    return times, added(tuple(moves.values()), device)


def _passed_bytes(graph: Graph, layer: Layer, asked: Asked) -> tuple[int, int]:
    """Return the bytes of activations that are read and written. [B]"""
    size = ELEMENT_BYTES[asked.precision]
    inputs = sum(graph[name].elements for name in layer.inputs if not graph[name].is_constant)
    outputs = sum(graph[name].elements for name in layer.outputs)
    return inputs * size, outputs * (size if asked.blocks is None else SUMMED_BYTES[asked.precision])


def _weight_bytes(graph: Graph, layer: Layer, blocks: Blocks | None, precision: str) -> int:
    """Return the bytes of a layer's weights as its kernel keeps them: transformed ones are more, and wider. [B]"""
    if blocks is not None and blocks.count > 1:
        return blocks.weights * max(ELEMENT_BYTES[precision], TRANSFORMED_BYTES)
    return ELEMENT_BYTES[precision] * sum(graph[name].elements for name in layer.inputs if graph[name].is_constant)


def _copied_bytes(asked: Asked) -> int:
    """Return the bytes of the operands that are arranged. [B]"""
    size, blocks = ELEMENT_BYTES[asked.precision], asked.blocks
    if blocks is None or asked.kind == "dense":
        return 0
    if blocks.count > 1:
        return blocks.operands * max(size, TRANSFORMED_BYTES)
    return blocks.operands * size


def _traffic(device: Device, footprint: float, read: float, written: float) -> Traffic:
    """Return what the nearest memory that holds a footprint delivers and takes."""
    names = list(device.memory)
    fitting = (name for name in names if device.memory[name].size.value >= footprint)
    return Traffic(next(fitting, home(device, "activations", footprint)), round(read), round(written))


def _shared_s(device: Device, moved: Traffic) -> float:
    """Return the time that a memory which all cores share is taken. [s]"""
    total = device.memory[moved.level].total_bandwidth
    return 0.0 if total is None else (moved.read_bytes + moved.written_bytes) / total.value


def _groups(asked: Asked) -> int:
    """Return how many convolutions a layer is: groups go one after the other."""
    return 1 if asked.blocks is None else asked.blocks.groups


def _regions(graph: Graph, layer: Layer, asked: Asked) -> int:
    """Return how often a layer's work is split: to arrange or transform, to multiply, to scale sums back to 8 bits."""
    pixels = math.prod(graph[layer.outputs[0]].shape[:-1])
    if pixels == 1 and asked.macs < ALONE:
        return 0
    if asked.blocks is None or asked.kind == "dense":
        return 1
    by_winograd = asked.blocks.count > 1
    back = SCALED[by_winograd] if asked.precision == "int8" else 0
    return (3 if by_winograd else 2) + back
