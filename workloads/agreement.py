"""How often, and by how much, the integers of a network differ between targets' arithmetics, and from float."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import PROFILES, effective_scales, quantize_multipliers
from workloads.errors import InputError, did_you_mean
from workloads.execute import execute, is_quantized, layer_profile, plan, run
from workloads.operands import Operands, has_weights, operands
from workloads.operators import Dequantize, MatMul, Mul, Quantize, Reshape, Softmax
from workloads.rounding_laws import predicted_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workloads.execute import Step
    from workloads.graph import Graph, Layer
    from workloads.tensor import Array, Tensor

CORE = ("tflite-double", "tflite-single", "ruy", "onnxruntime", "ascend-fixpipe")
WIDE = ("cmsis-nn-s16",)


@dataclass(frozen=True)
class PairRow:
    """Two profiles on one layer fed the same inputs; ``predicted`` is None where no law is known."""

    layer: str
    op: str
    first: str
    second: str
    outputs: int
    observed: float
    predicted: float | None
    largest: int


@dataclass(frozen=True)
class EndRow:
    """Two profiles on the whole network; ``same_answer`` is the share of samples with the same largest value."""

    output: str
    first: str
    second: str
    outputs: int
    observed: float
    largest: int
    same_answer: float


@dataclass(frozen=True)
class NoiseRow:
    """One layer's signal over its quantisation noise, all noise before it included [dB]; None without noise."""

    layer: str
    op: str
    sqnr_db: float | None


@dataclass(frozen=True)
class Agreement:
    """What ``agreement`` found; ``skipped`` says which profile cannot run which layer, and why."""

    profiles: tuple[str, ...]
    pairs: tuple[PairRow, ...]
    ends: tuple[EndRow, ...]
    noise: tuple[NoiseRow, ...]
    skipped: tuple[str, ...]


def applicable(graph: Graph, *, every: bool = False) -> tuple[str, ...]:
    """Return profiles to compare on a graph: the common ones, or one of each arithmetic that there is."""
    if any(graph[layer.inputs[0]].dtype == "int16" for layer in graph.layers if has_weights(layer.operator)):
        return WIDE
    if not every:
        return CORE
    distinct: dict[tuple[object, ...], str] = {}
    for name, profile in PROFILES.items():
        if profile.accumulator != "int64":
            key = (profile.accumulator, profile.scale, profile.steps, profile.offset, profile.clamp, profile.limit_bits)
            distinct.setdefault(key, name)
    return tuple(distinct.values())


def agreement(
    graph: Graph,
    samples: Sequence[Mapping[str, Array]],
    profiles: Sequence[str] | None = None,
    *,
    layer: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Agreement:
    """Run a quantised network under several profiles and compare what comes out.

    Parameters
    ----------
    samples
        Inputs, each as for ``execute``.
    profiles
        Keys of ``workloads.arithmetic.PROFILES``; by default ``applicable(graph)``.
    layer
        Compare this layer only; the ends and the noise are then left out.

    Raises
    ------
    InputError
        The network has no quantised layers or cannot be executed, or a profile or the layer is unknown.
    """
    chosen = tuple(dict.fromkeys(profiles or applicable(graph)))
    _check(graph, chosen, layer)
    own = plan(graph)
    values = [run(own, sample) for sample in samples]
    layers = [each for each in graph.layers if layer in (None, each.name) and is_quantized(graph[each.outputs[0]])]
    skipped: list[str] = []
    pairs: list[PairRow] = []
    for number, each in enumerate(layers):
        if progress is not None:
            progress(number, len(layers) + len(chosen), each.name)
        outputs = {name: _layer_outputs(graph, each, name, values, skipped) for name in chosen}
        pairs += _pairs(graph, each, {name: found for name, found in outputs.items() if found is not None}, values)
    if layer is not None:
        return Agreement(chosen, tuple(pairs), (), (), tuple(skipped))
    finals: dict[str, list[dict[str, Array]]] = {}
    for number, name in enumerate(chosen):
        if progress is not None:
            progress(len(layers) + number, len(layers) + len(chosen), name)
        try:
            prepared = plan(graph, profile=name)
            finals[name] = [run(prepared, sample) for sample in samples]
        except ValueError as error:
            skipped.append(f"{name} cannot run the network: {error}")
    return Agreement(chosen, tuple(pairs), _ends(graph, finals), _noise(graph, samples, values), tuple(skipped))


def dequantized(graph: Graph) -> Graph:
    """Return the float network that a quantised one stands for: its stored weights and biases as real numbers."""
    tensors = {name: _real_tensor(tensor) for name, tensor in graph.tensors.items()}
    layers = tuple(
        replace(layer, operator=Reshape()) if isinstance(layer.operator, Quantize | Dequantize) else layer
        for layer in graph.layers
    )
    return replace(graph, tensors=tensors, layers=layers, arithmetic="none")


def real(tensor: Tensor, integers: Array) -> Array:
    """Return what the integers of a quantised tensor stand for, float64."""
    quantization = tensor.quantization
    if quantization is None:
        return integers.astype(np.float64)
    shape = [1] * integers.ndim
    if quantization.axis is not None:
        shape[quantization.axis] = -1
    scale, zero_point = quantization.scale.astype(np.float64), quantization.zero_point.astype(np.float64)
    if quantization.axis is None:
        return np.asarray((integers - float(zero_point.ravel()[0])) * float(scale.ravel()[0]))
    return np.asarray((integers - zero_point.reshape(shape)) * scale.reshape(shape))


def compared(first: Array, second: Array) -> tuple[int, float, int]:
    """Return (values, share that differs, largest difference)."""
    distance = np.abs(first.astype(np.int64) - second.astype(np.int64))
    return distance.size, float(np.count_nonzero(distance)) / max(distance.size, 1), int(distance.max(initial=0))


def _check(graph: Graph, profiles: Sequence[str], layer: str | None) -> None:
    problems = [
        f"profile {name!r} is unknown; {did_you_mean(name, PROFILES)}" for name in profiles if name not in PROFILES
    ]
    names = [each.name for each in graph.layers]
    if layer is not None and layer not in names:
        problems.append(f"layer {layer!r} does not exist; {did_you_mean(layer, names)}")
    if not any(is_quantized(graph[each.outputs[0]]) for each in graph.layers):
        problems.append("the network has no quantised layers; quantise it first")
    if problems:
        raise InputError(graph.name, problems)


def _layer_outputs(
    graph: Graph, layer: Layer, profile: str, values: Sequence[Mapping[str, Array]], skipped: list[str]
) -> Array | None:
    """Run one layer of every sample under a profile; None, and a note, where the profile cannot."""
    part = replace(graph, layers=(layer,))
    try:
        step: Step = plan(part, profile=profile).steps[0]
        return np.concatenate([step.compute([sample[name] for name in step.values]).ravel() for sample in values])
    except ValueError as error:
        skipped.append(f"layer {layer.name!r} under {profile}: {error}")
        return None


def _pairs(
    graph: Graph, layer: Layer, outputs: Mapping[str, Array], values: Sequence[Mapping[str, Array]]
) -> list[PairRow]:
    once = has_weights(layer.operator) or isinstance(layer.operator, MatMul | Mul)
    constants = operands(graph, layer) if once else None
    own = np.concatenate([sample[layer.outputs[0]].ravel() for sample in values])
    rows = []
    for first, second in combinations(outputs, 2):
        predicted = None if constants is None else predict(constants, own, first, second)
        count, observed, largest = compared(outputs[first], outputs[second])
        rows.append(PairRow(layer.name, layer.op, first, second, count, observed, predicted, largest))
    return rows


def predict(constants: Operands, outputs: Array, first: str, second: str) -> float | None:
    """Return the share of a layer's outputs that two profiles should disagree on; None where no law is known.

    Parameters
    ----------
    outputs
        The layer's integers under any profile: they tell how many are clamped, and how many are negative.
    """
    stated = constants.stated.output if constants.stated is not None else None
    if stated is not None:
        multipliers, shifts = stated.multipliers, stated.shifts
    else:
        multipliers, shifts = quantize_multipliers(effective_scales(constants, "tflite-double"))
    inside = (outputs > constants.low) & (outputs < constants.high)
    negative = inside & (outputs < constants.output_zero_point)
    shares = (float(inside.mean()), float(negative.mean())) if outputs.size else (0.0, 0.0)
    return predicted_rate(PROFILES[first], PROFILES[second], multipliers, shifts, *shares)


def _ends(graph: Graph, finals: Mapping[str, Sequence[Mapping[str, Array]]]) -> tuple[EndRow, ...]:
    """Compare the outputs of the network and, where the last layer is a softmax, the logits it reads."""
    logits = [
        layer.inputs[0]
        for layer in graph.layers
        if isinstance(layer.operator, Softmax) and layer.outputs[0] in graph.outputs
    ]
    rows = []
    for name in dict.fromkeys((*logits, *graph.outputs)):
        for first, second in combinations(finals, 2):
            left = np.stack([sample[name].reshape(-1) for sample in finals[first]])
            right = np.stack([sample[name].reshape(-1) for sample in finals[second]])
            if left.dtype.kind == "f":
                tensor = graph[name]
                scale = float(max(np.abs(left).max(initial=0), 1e-30)) / 2**15 if tensor.quantization is None else 1.0
                left, right = np.rint(left / scale), np.rint(right / scale)
            count, observed, largest = compared(left, right)
            same = float((left.argmax(axis=1) == right.argmax(axis=1)).mean())
            rows.append(EndRow(name, first, second, count, observed, largest, same))
    return tuple(rows)


def _noise(
    graph: Graph, samples: Sequence[Mapping[str, Array]], values: Sequence[Mapping[str, Array]]
) -> tuple[NoiseRow, ...]:
    """Return every layer's signal-to-noise ratio against the float network."""
    twin = dequantized(graph)
    floats = [
        execute(twin, {name: real(graph[name], sample[name]).astype(np.float32) for name in graph.inputs})
        for sample in samples
    ]
    rows = []
    for layer in graph.layers:
        name = layer.outputs[0]
        if not is_quantized(graph[name]):
            continue
        truth = np.concatenate([sample[name].ravel() for sample in floats]).astype(np.float64)
        found = np.concatenate([real(graph[name], sample[name]).ravel() for sample in values])
        signal, noise = float(np.square(truth).sum()), float(np.square(found - truth).sum())
        ratio = 10 * float(np.log10(signal / noise)) if signal > 0 and noise > 0 else None
        rows.append(NoiseRow(layer.name, layer.op, ratio))
    return tuple(rows)


def _real_tensor(tensor: Tensor) -> Tensor:
    if tensor.dtype.startswith("float"):
        return tensor
    if tensor.quantization is None:
        return tensor if tensor.is_constant else replace(tensor, dtype="float32")

    def data() -> Array:
        return real(tensor, tensor.materialize()).astype(np.float32)

    return replace(tensor, dtype="float32", quantization=None, data=data if tensor.is_constant else None)


def own_profiles(graph: Graph) -> tuple[str, ...]:
    """Return the profiles that a graph's own arithmetic names for its layers."""
    return tuple(sorted({layer_profile(graph, layer) for layer in graph.layers}))
