"""Agreement of targets' arithmetics on a model, as plain data for the command and the reports."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.agreement import Agreement, agreement, applicable
from workloads.arithmetic import PROFILES
from workloads.errors import InputError
from workloads.execute import is_quantized
from workloads.readers.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workloads.graph import Graph
    from workloads.tensor import Array

SAMPLES = 4
SEEDED = "inputs: {samples} samples, seeded {seed}, uniform over the input's type"
QUANTIZED_HERE = "a float model: quantised by min-max on seeded inputs, as TFLite would hold it"


def compare(
    model: str,
    profiles: Sequence[str] = (),
    *,
    seed: int = 0,
    layer: str | None = None,
    sizes: Mapping[str, int] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Compare profiles on a model.

    Parameters
    ----------
    profiles
        Names; none for the common ones, "all" for one of each arithmetic.

    Returns
    -------
    found
        ``model, profiles`` (``name, verified``), ``notes, pairs, ends, layers, skipped``; the rows' fields are those of
        ``workloads.agreement``.

    Raises
    ------
    InputError
        The model cannot be read or executed, or a profile or the layer is unknown.
    """
    graph = load(model, sizes=dict(sizes or {}))
    return compare_graph(graph, profiles, seed=seed, layer=layer, progress=progress)


def compare_graph(
    graph: Graph,
    profiles: Sequence[str] = (),
    *,
    seed: int = 0,
    layer: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Do as ``compare`` for a graph that is loaded already."""
    notes = [SEEDED.format(samples=SAMPLES, seed=seed)]
    if not graph.executable:
        raise InputError(graph.name, ["the network is known by its shapes only: its numbers cannot be compared"])
    if not any(is_quantized(graph[each.outputs[0]]) for each in graph.layers):
        from workloads.passes.quantize import quantize

        graph = quantize(graph, arithmetic="litert")
        notes.append(QUANTIZED_HERE)
    chosen = applicable(graph, every=True) if "all" in profiles else tuple(profiles) or applicable(graph)
    samples = [_sample(graph, np.random.default_rng([seed, number])) for number in range(SAMPLES)]
    found = agreement(graph, samples, chosen, layer=layer, progress=progress)
    return _plain(graph, found, notes)


def _sample(graph: Graph, generator: np.random.Generator) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for name in graph.inputs:
        tensor = graph[name]
        if np.dtype(tensor.dtype).kind == "f":
            arrays[name] = generator.standard_normal(tensor.shape).astype(tensor.dtype)
        else:
            limits = np.iinfo(tensor.dtype)
            arrays[name] = generator.integers(limits.min, limits.max + 1, tensor.shape).astype(tensor.dtype)
    return arrays


def _plain(graph: Graph, found: Agreement, notes: list[str]) -> dict[str, Any]:
    return {
        "model": graph.name,
        "profiles": [{"name": name, "verified": PROFILES[name].verified} for name in found.profiles],
        "notes": notes,
        "pairs": [asdict(row) for row in found.pairs],
        "ends": [asdict(row) for row in found.ends],
        "layers": [asdict(row) for row in found.noise],
        "skipped": list(found.skipped),
    }
