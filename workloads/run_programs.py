"""Run a Graph, quantised or of float32, through the generated Programs of an instruction set, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from workloads import execute as kernels
from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.moves import buffer_name
from workloads.codegen.specs import ElementwiseSpec, LookupSpec, specify
from workloads.codegen.specs_rows import LstmSpec, SvdfSpec
from workloads.errors import did_you_mean
from workloads.executor import Executable
from workloads.kernels.lut import table_of_bytes
from workloads.operands import Normalization, activation_count, larger_first, operands
from workloads.operands_recurrent import lstm_constants, svdf_constants
from workloads.operators import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    Function,
    LayerNorm,
    Lstm,
    MatMul,
    Mean,
    Mul,
    Pad,
    Pool2d,
    Quantize,
    Reshape,
    Resize2d,
    Slice,
    Softmax,
    Sub,
    Svdf,
    Transpose,
    TransposedConv2d,
)
from workloads.run_float_programs import bind_floats
from workloads.run_state import advance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workloads.graph import Graph, Layer
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.run_state import Advance
    from workloads.tensor import Array

_GENERATED = (
    Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Pool2d, Mean, Add, Sub, Mul, Activation, Quantize, Pad, Concat,
    Transpose, TransposedConv2d, Resize2d, Slice, Softmax, LayerNorm, Svdf,
    Lstm, *get_args(Function),
)  # fmt: skip


@dataclass(frozen=True)
class Fallback:
    """A layer that runs through the integer kernels instead of a Program, and why."""

    layer: str
    op: str
    reason: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """A graph bound to Programs: ``programs`` by layer name, ``fallbacks`` for the others, except views (reshape)."""

    plan: kernels.Plan
    programs: Mapping[str, Program]
    fallbacks: tuple[Fallback, ...]


def run(graph: Graph, inputs: Mapping[str, Array], isa: InstructionSet) -> dict[str, Array]:
    """Run a graph once and return every activation by name, inputs included; see ``prepare`` for the layers left out.

    Raises
    ------
    InputError, ValueError
        As ``workloads.execute.execute``.
    """
    return kernels.run(prepare(graph, isa).plan, inputs)


def prepare(graph: Graph, isa: InstructionSet) -> Prepared:
    """Generate a Program for each layer that has one; the others keep the integer kernel of the same profile.

    Raises
    ------
    ValueError
        The instruction set has no requantisation profile.
    """
    if isa.name not in PROFILE_OF:
        raise ValueError(f"no code generator for {isa.name!r}; {did_you_mean(isa.name, PROFILE_OF)}")
    plan = kernels.plan(graph, profile=PROFILE_OF[isa.name])
    steps: list[kernels.Step] = []
    programs: dict[str, Program] = {}
    fallbacks: list[Fallback] = []
    ready: dict[int, Executable] = {}
    for step in plan.steps:
        if isinstance(step.layer.operator, Reshape):
            steps.append(step)
            continue
        try:
            floats = graph[step.layer.outputs[0]].dtype == "float32"
            program, bound = (bind_floats if floats else _bind)(graph, step, isa, ready)
        except (NotImplementedError, ValueError) as reason:
            fallbacks.append(Fallback(step.layer.name, step.layer.op, str(reason)))
            steps.append(step)
            continue
        programs[step.layer.name] = program
        steps.append(bound)
    return Prepared(kernels.Plan(graph, tuple(steps)), programs, tuple(fallbacks))


def _bind(
    graph: Graph, step: kernels.Step, isa: InstructionSet, ready: dict[int, Executable]
) -> tuple[Program, kernels.Step]:
    """Return the Program of a layer, and the layer's step through it.

    ``ready`` keeps what layers of the same Program share, by its identity.
    """
    layer = step.layer
    _check_int8(graph, layer)
    names = layer.inputs[: activation_count(layer)]
    constants = operands(graph, layer)
    spec = specify(graph, layer)
    if spec is None:
        raise NotImplementedError("moves nothing")
    if isinstance(spec, ElementwiseSpec) and len(names) > 1:
        names, constants = _larger_first(graph, names, constants, commutes=spec.kind != "sub")
    program = generate(spec, isa)
    if isinstance(layer.operator, Pad):  # what surrounds the image need not be zero
        constants = replace(
            constants, output_zero_point=int(kernels.pad_value(layer.operator, graph[layer.outputs[0]]))
        )
    if isinstance(spec, LookupSpec):
        table = table_of_bytes(constants, layer.operator, PROFILE_OF[isa.name])
        constants = replace(constants, table=table)
    if isinstance(layer.operator, LayerNorm):
        scale, shift = (graph[name].materialize() for name in layer.inputs[1:3])
        constants = replace(constants, normalization=Normalization(scale, shift, layer.operator.epsilon))
    if isinstance(layer.operator, Svdf):
        constants = replace(constants, recurrent=svdf_constants(graph, layer, layer.operator))
    if isinstance(layer.operator, Lstm):
        constants = replace(constants, recurrent=lstm_constants(graph, layer, layer.operator))
    packed = pack(program, spec, constants)
    if id(program) not in ready:
        ready[id(program)] = Executable(program)
    executable = ready[id(program)]
    fixed = {name: graph[name].materialize() for name in names if graph[name].is_constant}
    shape = graph[layer.outputs[0]].shape
    if isinstance(spec, SvdfSpec | LstmSpec):
        return program, _stateful(step, advance(executable, spec, packed, shape))

    def compute(arrays: Sequence[Array]) -> Array:
        found = dict(zip(step.values, arrays, strict=True)) | fixed
        given = {buffer_name(number): found[name] for number, name in enumerate(names)}
        return np.array(executable.run({**given, **packed}).buffers["output"].view(np.int8).reshape(shape))

    return program, replace(step, compute=compute)


def _stateful(step: kernels.Step, advanced: Advance) -> kernels.Step:
    """Return a step with a state through its Program."""
    if step.initial is None:
        raise ValueError(f"layer {step.layer.name!r} keeps no state")
    initial = step.initial
    return replace(step, compute=lambda arrays: advanced(arrays, initial())[0], advance=advanced)


def _check_int8(graph: Graph, layer: Layer) -> None:
    """Refuse layers whose values no generated Program computes."""
    if not isinstance(layer.operator, _GENERATED):
        raise NotImplementedError(f"no kernel is generated for operator {layer.op!r}")
    if isinstance(layer.operator, Softmax) and layer.operator.beta != 1:
        raise NotImplementedError(f"generated softmax has beta 1, not {layer.operator.beta}")
    for name in (*layer.inputs[: activation_count(layer)], layer.outputs[0]):
        if graph[name].dtype != "int8" or graph[name].quantization is None:
            raise NotImplementedError(f"tensor {name!r} is {graph[name].dtype}; generated kernels take quantised int8")


def _larger_first(
    graph: Graph, names: tuple[str, ...], constants: Operands, *, commutes: bool
) -> tuple[tuple[str, ...], Operands]:
    """Order the inputs of a sum or product, and their constants, as ``larger_first`` does."""
    ordered = larger_first(graph, names, commutes=commutes)
    if ordered == names:
        return names, constants
    scales, zero_points = constants.input_scales[::-1], constants.input_zero_points[::-1]
    return ordered, replace(constants, input_scales=scales, input_zero_points=zero_points)
