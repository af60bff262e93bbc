"""Layers of float32 through the generated Programs of an instruction set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import generate, pack
from workloads.codegen.float_spec import FloatOperands, FloatSpec, specify
from workloads.codegen.moves import buffer_name
from workloads.codegen.specs import ElementwiseSpec
from workloads.executor import Executable
from workloads.operands import activation_count, clamp_of, has_weights, larger_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.execute import Step
    from workloads.graph import Graph, Layer
    from workloads.isa import InstructionSet
    from workloads.program import Program
    from workloads.tensor import Array


def bind_floats(graph: Graph, step: Step, isa: InstructionSet, ready: dict[int, Executable]) -> tuple[Program, Step]:
    """Return the Program of a layer of float32, and the layer's step through it; ``ready`` as for integer layers.

    Raises
    ------
    NotImplementedError
        None is generated for it.
    """
    layer, spec = step.layer, specify(graph, step.layer)
    if not isinstance(spec, FloatSpec):
        raise NotImplementedError(f"layer {layer.name!r}: movements of float32 are priced, not executed")
    names = layer.inputs[: activation_count(layer)]
    if isinstance(spec.shape, ElementwiseSpec) and len(names) > 1:
        names = larger_first(graph, names, commutes=spec.shape.kind != "sub")
    program = generate(spec, isa)
    packed = pack(program, spec, _operands(graph, layer))
    executable = ready.setdefault(id(program), Executable(program))
    fixed = {name: graph[name].materialize() for name in names if graph[name].is_constant}
    shape = graph[layer.outputs[0]].shape

    def compute(arrays: Sequence[Array]) -> Array:
        found = dict(zip(step.values, arrays, strict=True)) | fixed
        given = {buffer_name(number): found[name] for number, name in enumerate(names)}
        return np.array(executable.run({**given, **packed}).buffers["output"].view(np.float32).reshape(shape))

    return program, replace(step, compute=compute)


def _operands(graph: Graph, layer: Layer) -> FloatOperands:
    """Collect the constants of a layer."""
    clamp = clamp_of(layer.operator)
    constants = [graph[name].materialize() for name in layer.inputs[1:]] if has_weights(layer.operator) else []
    weights, bias = (*constants, None, None)[:2]
    return FloatOperands(weights, bias, clamp.low, clamp.high)
