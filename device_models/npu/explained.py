"""Explanations for DaVinci chips: how a layer's amounts follow from blocks, instructions, bytes and what overlaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.explain_parts import Term, given
from device_models.npu.amounts import ATTAINED, DIAGONAL, SINGLE, UNITS, asked_of
from device_models.npu.matrix import diagonal_cycles, product_cycles, product_of
from device_models.npu.vector import vector_cycles

if TYPE_CHECKING:
    from device_models.device import Device
    from device_models.estimate import Setting
    from workloads.graph import Graph, Layer

_FACTORS = {"cube": (1.0 / ATTAINED, "of the blocks' cycles: published kernels attain 0.8 of the unit's peak"),
            "diagonal": (DIAGONAL, "cycles for each block of which the diagonal is wanted"),
            "vector": (SINGLE, "functions compute partly in single precision")}  # fmt: skip


def unit_terms(graph: Graph, layer: Layer, setting: Setting) -> tuple[Term, ...]:
    """Return how long a layer's units work, alone and as far as the others of its kernel leave them exposed."""
    known = asked_of(graph, setting).get(layer.name)
    if known is None or known[0].seconds is None:
        return ()
    asked, busy = known
    alone = [
        _computing(graph, layer, setting, name, seconds) if name in _FACTORS else _moving(setting, name, seconds)
        for name, seconds in known[0].seconds.items()
        if seconds
    ]
    units = tuple(given(f"{unit}_unit_s", seconds, "s") for unit, seconds in busy.items())
    formula = "(" + " + ".join(f"{unit}_unit_s**2" for unit in busy) + ") ** 0.5"
    kernel_s = sum(seconds**2 for seconds in busy.values()) ** 0.5
    kernel = Term(
        "kernel_s", kernel_s, "s", formula, units, "units of a kernel, fused layers included, overlap in part"
    )
    exposed = [
        Term(f"{name}_part_s", seconds * busy[UNITS[name]] / kernel_s, "s",
             f"{name}_own_s * {UNITS[name]}_unit_s / kernel_s",
             (given(f"{name}_own_s", seconds, "s"), given(f"{UNITS[name]}_unit_s", busy[UNITS[name]], "s"),
              given("kernel_s", kernel_s, "s")))
        for name, seconds in (asked.seconds or {}).items()
        if seconds
    ]  # fmt: skip
    return (*alone, kernel, *exposed)


def _computing(graph: Graph, layer: Layer, setting: Setting, name: str, seconds: float) -> Term:
    """Return the time of a computing unit: cycles of a core's share, and what kernels usually take beside them."""
    device, core, cores = setting.device, setting.device.core, setting.threads
    product = product_of(graph, layer)
    if name == "cube" and product is not None:
        cycles = product_cycles(product, core, cores)
        shape = f"{product.repeats} x ({product.rows} x {product.depth_bytes} B x {product.columns})"
    elif name == "diagonal":
        cycles, shape = diagonal_cycles(graph, layer, core, cores), "depthwise"
    else:
        cycles, shape = vector_cycles(graph, layer, core, cores) or 0.0, f"{layer.op} by its formula"
    factor, words = _FACTORS[name]
    usual = seconds * setting.frequency_hz / cycles
    note = f"{shape} on {cores} cores" + (f"; {words}" if abs(usual - factor) < 1e-9 * factor else "")
    clock = given("clock", setting.frequency_hz, "Hz", f"{device.name}: {device.clock.frequency.source}")
    inputs = (given(f"{name}_cycles", cycles, "cycle"), given(f"{name}_usual", usual, ""), clock)
    formula = f"{name}_cycles * {name}_usual / clock"
    return Term(f"{name}_own_s", seconds, "s", formula, inputs, note, _timing_sources(setting.device, name))


def _moving(setting: Setting, name: str, seconds: float) -> Term:
    """Return the time of a memory: bytes as they are stored, at the rate of all cores or of the memory itself."""
    device, names = setting.device, list(setting.device.memory)
    label = names[0] if name == "inner" else names[-1]
    level, own = device.memory[label], device.read_bytes_per_s(label, setting.frequency_hz) or 0.0
    each, total = level.bandwidth or level.bytes_per_cycle, level.total_bandwidth
    rate = given(f"{label}_rate", own * setting.threads, "B/s", "" if each is None else f"{device.name}: {each.source}")
    if total is not None and total.value < rate.value:
        rate = given(f"{label}_rate", total.value, "B/s", f"{device.name}: {total.source}")
    stored = given(f"{name}_bytes", seconds * rate.value, "B")
    return Term(f"{name}_own_s", seconds, "s", f"{name}_bytes / {label}_rate", (stored, rate))


def _timing_sources(device: Device, name: str) -> tuple[str, ...]:
    """Return the sources of a unit's instruction timings."""
    timing = device.core.timing
    if name != "vector":
        found = {timing.cube.rows.source, timing.cube.depth.source, timing.cube.columns.source}
    else:
        found = {row.per_repeat.source for row in timing.vector} | {timing.repeat.source}
        found |= {timing.functions.source} if timing.functions is not None else set()
    return tuple(f"{device.core.name}: {source}" for source in sorted(found))
