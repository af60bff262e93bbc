"""Explanations: how each number of a layer's estimate came to be, as formulas with their values and sources."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from device_models import explain_parts as parts
from device_models.costing import FREE, Kernel, layer_kernel
from device_models.estimate import Setting, estimate, prepared_for, working_set
from device_models.figures import figures
from device_models.runtime import GENERATED, load_runtime
from workloads.errors import InputError, did_you_mean
from workloads.graph import layer_macs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_models.device import Device
    from device_models.explain_parts import Term
    from device_models.result import Estimate, LayerEstimate
    from device_models.runtime import Runtime
    from workloads.graph import Graph, Layer


@dataclass(frozen=True)
class Explanation:
    """One layer's estimate, term by term.

    Parameters
    ----------
    latency_s, total_s
        Of the layer, and of the network. [s]
    terms
        By section, in the order of computing; a term's inputs are figures, or earlier terms by name.
    program
        What the core executes: instruction set, options, instructions by mnemonic; empty where a rate stands.
    sources
        Full references by the keys that the terms name, as "file: key".
    """

    model: str
    device: str
    runtime: str
    layer: str
    op: str
    latency_s: float
    total_s: float
    terms: Mapping[str, tuple[Term, ...]]
    program: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def explain(
    graph: Graph, device: Device, layer: str | None = None, *, runtime: str = GENERATED, **options: Any
) -> Explanation:
    """Explain a layer of an estimate.

    Parameters
    ----------
    layer
        Its name; the one that takes longest if None.
    options
        As for ``estimate``.

    Raises
    ------
    InputError
        The estimate fails, or the network has no such layer.
    """
    result = estimate(graph, device, runtime=runtime, **options)
    row = _row(result, layer)
    setting = Setting(device, result.threads, result.frequency_hz)
    if runtime == GENERATED:
        prepared = prepared_for(graph, result.precision, result.batch)
        found = next(each for each in prepared.layers if each.name == row.name)
        kernel = layer_kernel(prepared, found, device, working_set(prepared)) or FREE
        terms = _generated(prepared, found, kernel, row, setting)
        program = _program(kernel, device)
        named: list[tuple[str, Mapping[str, str]]] = []
    else:
        library = load_runtime(runtime)
        terms, kernel = _fitted(graph, library, row, setting, result)
        program = _program(kernel, device)
        named = [(library.name, library.sources)]
    named += [(device.name, device.sources), (device.core.name, device.core.sources)]
    return Explanation(
        result.model, device.name, runtime, row.name, row.op, row.latency_s, result.latency_s, terms, program,
        _references(terms, named),
    )  # fmt: skip


def _row(result: Estimate, name: str | None) -> LayerEstimate:
    """Return the layer of that name, or the longest."""
    if name is None:
        return max(result.layers, key=lambda row: row.latency_s)
    names = [row.name for row in result.layers]
    if name not in names:
        raise InputError("--explain", [f"{result.model} has no layer {name!r}; {did_you_mean(name, names)}"])
    return result.layers[names.index(name)]


def _generated(
    graph: Graph, layer: Layer, kernel: Kernel, row: LayerEstimate, setting: Setting
) -> dict[str, tuple[Term, ...]]:
    """Return the terms of a layer that a generated Program, or a rate, stands for."""
    device, core = setting.device, setting.device.core
    low, high = core.band.latency.lowest * kernel.low, core.band.latency.highest * kernel.high
    key = f"{core.name}: {core.band.latency.source}"
    return {
        "work": (_work(graph, layer),),
        "cycles": (_cycles(graph, layer, kernel, device),),
        "compute": (parts.compute(row, setting),),
        "memory": parts.memory(kernel.moved, row, setting),
        "overhead": (parts.overhead(row, setting),),
        "latency": (parts.latency(row, device),),
        "band": (
            parts.Term("low_s", row.latency_s * low, "s", "latency_s * lowest",
                       (parts.given("latency_s", row.latency_s, "s"), parts.given("lowest", low, "", key))),
            parts.Term("high_s", row.latency_s * high, "s", "latency_s * highest",
                       (parts.given("latency_s", row.latency_s, "s"), parts.given("highest", high, "", key))),
        ),
        "energy": parts.energy_terms(row, kernel.moved, setting),
    }  # fmt: skip


def _work(graph: Graph, layer: Layer) -> Term:
    """Return how many products a layer sums up."""
    macs, outputs = layer_macs(graph, layer), graph[layer.outputs[0]].elements
    inputs = (parts.given("outputs", outputs, ""), parts.given("products", macs / outputs if outputs else 0.0, ""))
    return parts.Term("macs", macs, "MAC", "outputs * products", inputs)


def _cycles(graph: Graph, layer: Layer, kernel: Kernel, device: Device) -> Term:
    """Return where the cycles come from: causes in a Program, or a rate per element."""
    core = device.core
    if kernel.detail is not None:
        causes = tuple(parts.given(name, cycles, "cycle") for name, cycles in kernel.detail.by_cause if cycles)
        keys = sorted({source for _, _, source in figures(core.timing)})
        formula = " + ".join(cause.name for cause in causes)
        note = f"by the {core.model} model of {core.title}, timings from {', '.join(keys)}"
        return parts.Term("cycles", kernel.cycles, "cycle", formula, causes, note,
                          tuple(f"{core.name}: {key}" for key in keys))  # fmt: skip
    rate = device.operators.get(layer.op)
    if rate is None:
        return parts.Term("cycles", kernel.cycles, "cycle", note="nothing to compute")
    elements = max(graph[name].elements for name in (*layer.inputs, *layer.outputs))
    rated = parts.figure("rate", rate, "cycle", device.name)
    return parts.Term("cycles", kernel.cycles, "cycle", "elements * rate",
                      (parts.given("elements", elements, ""), rated))  # fmt: skip


def _program(kernel: Kernel, device: Device) -> dict[str, Any]:
    """Return what the core executes for a layer."""
    if kernel.detail is None:
        return {}
    detail = kernel.detail
    return {
        "instruction_set": device.core.instruction_sets[0],
        "options": detail.options,
        "digest": detail.program,
        "code_bytes": detail.code_bytes,
        "loaded_bytes": detail.loaded_bytes,
        "stored_bytes": detail.stored_bytes,
        "instructions": dict(sorted(detail.instructions, key=lambda pair: -pair[1])),
        "by_resource": dict(sorted(detail.by_resource, key=lambda pair: -pair[1])),
    }


def _fitted(
    graph: Graph, runtime: Runtime, row: LayerEstimate, setting: Setting, result: Estimate
) -> tuple[dict[str, tuple[Term, ...]], Kernel]:
    """Return the terms of a layer in a fitted runtime, and the Program that some of them are relative to."""
    from device_models import grey_box
    from device_models.npu.explained import unit_terms

    prepared = grey_box.runtime_graph(graph, runtime, result.precision, result.batch)
    working = working_set(prepared)
    found = grey_box.demand(prepared, runtime, setting, working, result.precision)
    names = [each.layer.name for each in found.layers]
    amounts, seconds = found.layers[names.index(row.name)], found.seconds[names.index(row.name)]
    by_part: dict[str, list[Term]] = {"compute": [], "memory": [], "overhead": []}
    for (name, term), amount in zip(runtime.terms.items(), seconds, strict=True):
        if amount:
            by_part[grey_box.part_of(term)].append(parts.scaled(name, term, float(amount), runtime, setting))
    values = {"compute": row.compute_s, "memory": row.memory_s, "overhead": row.overhead_s}
    reach = runtime.band.factor.value * grey_box.spread_of(found.total_s, runtime, setting.device.core.name)
    kernel = layer_kernel(prepared, amounts.layer, setting.device, working) if result.precision == "int8" else None
    terms: dict[str, tuple[Term, ...]] = {"work": (_work(prepared, amounts.layer),)}
    if kernel is not None:
        terms["program"] = (replace(_cycles(prepared, amounts.layer, kernel, setting.device), name="program_cycles"),)
    if setting.device.core.model == "davinci":
        terms["units"] = unit_terms(prepared, amounts.layer, setting)
    for part, scaled in by_part.items():
        inputs = tuple(parts.given(each.name, each.value, "s") for each in scaled)
        total = parts.Term(f"{part}_s", values[part], "s", " + ".join(each.name for each in scaled) or "0", inputs)
        terms[part] = (*scaled, total)
    sums = tuple(parts.given(f"{part}_s", seconds, "s") for part, seconds in values.items())
    terms["latency"] = (parts.Term("latency_s", row.latency_s, "s", "compute_s + memory_s + overhead_s", sums),)
    key = f"{runtime.name}: {runtime.band.factor.source}"
    terms["band"] = tuple(
        parts.Term(end, row.latency_s * math.exp(sign * reach), "s", f"latency_s * exp({'-' if sign < 0 else ''}reach)",
                   (parts.given("latency_s", row.latency_s, "s"), parts.given("reach", reach, "", key)))
        for end, sign in (("low_s", -1), ("high_s", 1))
    )  # fmt: skip
    terms["energy"] = parts.energy_terms(row, amounts.moved, setting)
    return terms, kernel or FREE


def _references(terms: Mapping[str, tuple[Term, ...]], named: list[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """Return the full text of every source that a term or an input names."""
    used = [source for group in terms.values() for term in group for source in term.all_sources()]
    texts = {f"{owner}: {key}": text for owner, sources in named for key, text in sources.items()}
    return {key: texts[key] for key in dict.fromkeys(used)}
