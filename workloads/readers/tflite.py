"""Read a .tflite file into a Graph."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.builder import GraphBuilder
from workloads.errors import InputError, did_you_mean
from workloads.readers.limits import read_file
from workloads.readers.tflite_context import Context, SkippedError
from workloads.readers.tflite_file import decode
from workloads.readers.tflite_operators import CONVERTERS
from workloads.readers.tflite_tensors import convert_tensor, input_shape, is_dynamic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workloads.graph import Graph
    from workloads.readers.tflite_file import RawModel


def read(path: str | Path, sizes: Mapping[str, int] | None = None) -> Graph:
    """Read a TensorFlow Lite model.

    Parameters
    ----------
    sizes
        Extents for dynamic axes: "batch" for the first axis of every input, "<input>.<axis>" for any other.

    Raises
    ------
    InputError
        The file is missing, damaged, or uses what presage cannot read; all faults at once.
    """
    path = Path(path)
    model = decode(path, read_file(path))
    names = _unique_names([tensor.name for tensor in model.tensors])
    problems = [*_unknown_operators(model), *_structure(model)]
    tensors = {}
    for index in [] if problems else sorted(_used(model) - {-1}):
        tensor = convert_tensor(model.tensors[index], names[index], problems)
        if tensor is not None:
            tensors[index] = tensor
    if problems:
        raise InputError(path, problems)
    context = Context(GraphBuilder(path.stem), model, tensors)
    problems = [*_inputs(context, sizes or {}), *_operators(context)]
    if problems:
        raise InputError(path, problems)
    outputs = [context.names[index] for index in model.outputs]
    return context.builder.build(outputs, "litert" if context.quantized else "none")


def _unknown_operators(model: RawModel) -> Iterator[str]:
    unknown = Counter(operator.name for operator in model.operators if operator.name not in CONVERTERS)
    for name, count in sorted(unknown.items()):
        yield f"operator {name} is not supported ({count} time{'s' if count != 1 else ''} in the file)"
    if unknown:
        yield f"supported operators: {', '.join(sorted(CONVERTERS))}"


def _structure(model: RawModel) -> Iterator[str]:
    """Find tensor indices that do not exist, and networks without a beginning or an end."""
    count = len(model.tensors)
    wrong = sorted(index for index in _used(model) if not -1 <= index < count)
    if wrong:
        yield f"tensors {', '.join(map(str, wrong[:5]))} do not exist; the file has {count}"
    for what, items in (("inputs", model.inputs), ("outputs", model.outputs), ("operators", model.operators)):
        if not items:
            yield f"the network has no {what}"
    ends = [*model.inputs, *model.outputs]
    if -1 in ends or len(set(model.inputs)) < len(model.inputs):
        yield "an input or output of the network is absent or listed twice"
    produced = Counter(index for operator in model.operators for index in operator.outputs)
    produced.update(model.inputs)
    twice = [index for index, times in produced.items() if times > 1 or index == -1]
    if twice:
        yield f"{len(twice)} tensors are computed twice or are absent outputs, e.g. tensor {twice[0]}"


def _used(model: RawModel) -> set[int]:
    used = {*model.inputs, *model.outputs}
    for operator in model.operators:
        used.update(operator.inputs, operator.outputs, operator.intermediates)
    return used


def _inputs(context: Context, sizes: Mapping[str, int]) -> Iterator[str]:
    """Add the network's inputs to the graph."""
    known = {"batch"}
    for index in context.model.inputs:
        tensor, raw = context.tensors[index], context.model.tensors[index]
        known.update(f"{tensor.name}.{axis}" for axis in range(len(raw.shape)) if is_dynamic(raw, axis))
        if tensor.is_constant:
            yield f"input {tensor.name!r} is a constant"
            continue
        try:
            context.add_input(index, input_shape(raw, tensor.name, sizes))
        except ValueError as fault:
            yield f"input {tensor.name!r}: {fault}"
            context.failed.add(index)
    for name in sorted(set(sizes) - known):
        yield f"size {name!r} fits no dynamic axis; {did_you_mean(name, known)}"


def _operators(context: Context) -> Iterator[str]:
    """Add every operator to the graph; one whose input was refused is passed over in silence."""
    for position, operator in enumerate(context.model.operators):
        try:
            CONVERTERS[operator.name](context, operator)
        except SkippedError:
            context.failed.update(operator.outputs)
        except ValueError as fault:
            context.failed.update(operator.outputs)
            output = context.tensors[operator.outputs[0]].name if operator.outputs else "no output"
            yield f"operator {position} {operator.name} ({output!r}): {fault}"
    for index in context.model.outputs:
        if index not in context.names and index not in context.failed:
            yield f"output {context.tensors[index].name!r} is not computed by any operator"


def _unique_names(names: list[str]) -> list[str]:
    """Return names made distinct by their index; the format does not promise that they are."""
    counts = Counter(names)
    unique = {name for name in names if name and counts[name] == 1}
    result = []
    for index, name in enumerate(names):
        candidate = name if name in unique else f"{name or 'tensor'}:{index}"
        while name not in unique and candidate in unique:
            candidate += "'"
        unique.add(candidate)
        result.append(candidate)
    return result
