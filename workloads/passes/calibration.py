"""Calibration: what values a float network's activations take on given or seeded inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from workloads.graph import Graph
    from workloads.tensor import Array

METHODS = ("min-max", "percentile", "mse")
KEPT_VALUES = 2**14  # per tensor and sample, evenly spaced, for percentiles and squared errors
SHRINKS = 64  # ranges tried by "mse", from 1/64 of the observed one up to all of it


def seeded_inputs(graph: Graph, samples: int = 8, seed: int = 0) -> dict[str, Array]:
    """Return standard normal inputs, ``samples`` of them stacked along the first axis."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal((samples * graph[name].shape[0], *graph[name].shape[1:]), dtype=np.float32)
        for name in graph.inputs
    }


def load_inputs(graph: Graph, path: str | Path) -> dict[str, Array]:
    """Return the calibration inputs of an .npz file: one array per input, samples stacked along the first axis.

    Raises
    ------
    InputError
        The file cannot be read, or its arrays do not fit the inputs; all faults at once.
    """
    from workloads.infer import read_inputs

    arrays = read_inputs(path)
    problems = input_problems(graph, arrays)
    if problems:
        raise InputError(path, problems)
    return {name: arrays[name].astype(np.float32) for name in graph.inputs}


def input_problems(graph: Graph, arrays: Mapping[str, Array]) -> list[str]:
    """List what keeps arrays from being calibration inputs of a graph."""
    problems = [
        f"array {name!r}: no input has that name; {did_you_mean(name, graph.inputs)}"
        for name in arrays
        if name not in graph.inputs
    ]
    for name in graph.inputs:
        shape = graph[name].shape
        if name not in arrays:
            problems.append(f"input {name!r}: no array has that name; {did_you_mean(name, arrays)}")
            continue
        array = arrays[name]
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            problems.append(f"array {name!r}: {array.dtype} values must be finite numbers")
        if array.ndim != len(shape) or array.shape[1:] != shape[1:] or not array.shape[0] or array.shape[0] % shape[0]:
            expected = "x".join(map(str, ("n" if shape[0] == 1 else f"{shape[0]}n", *shape[1:])))
            problems.append(f"array {name!r}: shape {'x'.join(map(str, array.shape))}, expected {expected}")
    counts = {arrays[name].shape[0] // graph[name].shape[0] for name in graph.inputs if name in arrays}
    if len(counts) > 1 and not problems:
        problems.append(f"inputs hold {', '.join(map(str, sorted(counts)))} samples, expected equal numbers")
    return problems


def ranges(
    graph: Graph, inputs: Mapping[str, Array], method: str, percentile: float = 99.99
) -> dict[str, tuple[float, float]]:
    """Return the range of every activation.

    With "min-max" the lowest and highest value, with "percentile" of the inner ``percentile`` per cent of the values,
    with "mse" the part of the whole range whose int8 quantisation has the smallest mean squared error.

    Raises
    ------
    InputError
        The inputs do not fit, the method is unknown, or an activation is not finite.
    """
    problems = input_problems(graph, inputs)
    if method not in METHODS:
        problems.append(f"calibration method {method!r} is unknown; {did_you_mean(method, METHODS)}")
    if not 50 < percentile <= 100:
        problems.append(f"percentile is {percentile}, expected above 50 and at most 100")
    if problems:
        raise InputError("calibration", problems)
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    kept: dict[str, list[Array]] = {}
    for values in _activations(graph, inputs):
        for name, array in values.items():
            low[name] = min(low.get(name, np.inf), float(array.min()))
            high[name] = max(high.get(name, -np.inf), float(array.max()))
            if method != "min-max":
                flat = array.ravel()
                kept.setdefault(name, []).append(flat[:: -(-flat.size // KEPT_VALUES)].copy())
    wild = [name for name in low if not (np.isfinite(low[name]) and np.isfinite(high[name]))]
    if wild:
        raise InputError("calibration", [f"activation {name!r} is not finite on these inputs" for name in wild])
    if method == "min-max":
        return {name: (low[name], high[name]) for name in low}
    if method == "mse":
        return {name: least_squares_range(np.concatenate(parts), low[name], high[name]) for name, parts in kept.items()}
    tails = (100 - percentile, percentile)
    return {
        name: (float(bounds[0]), float(bounds[1]))
        for name, parts in kept.items()
        for bounds in [np.percentile(np.concatenate(parts), tails)]
    }


def least_squares_range(values: Array, low: float, high: float) -> tuple[float, float]:
    """Return the part of a range, shrunk towards 0, whose 256 levels hold the values with the least squared error."""
    low, high = min(low, 0.0), max(high, 0.0)
    wide = values.astype(np.float64)
    best, chosen = np.inf, (low, high)
    for part in range(SHRINKS, 0, -1):
        bottom, top = low * part / SHRINKS, high * part / SHRINKS
        step = (top - bottom) / 255
        if not step > 0:
            break
        levels = np.clip(np.rint(wide / step), np.rint(bottom / step), np.rint(bottom / step) + 255)
        error = float(np.square(levels * step - wide).mean())
        if error < best:
            best, chosen = error, (bottom, top)
    return chosen


def _activations(graph: Graph, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Run the float graph on one sample after another."""
    from workloads.execute import plan, run

    prepared = plan(graph)
    first = graph.inputs[0]
    for sample in range(inputs[first].shape[0] // graph[first].shape[0]):
        yield run(
            prepared,
            {
                name: inputs[name][sample * graph[name].shape[0] : (sample + 1) * graph[name].shape[0]].astype(
                    np.float32
                )
                for name in graph.inputs
            },
        )
