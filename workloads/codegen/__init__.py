"""Code generators: one module per instruction set, each turns a kernel specification into a Program."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from workloads.codegen.float_spec import FloatSpec
from workloads.isa import InstructionSet, load_isa
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.float_spec import AnySpec, FloatOperands
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array

PROFILE_OF = {
    "thumb2-dsp": "tflite-double",
    "rv32im": "tflite-double",
    "rv64gc": "tflite-single",
    "rv64im": "tflite-single",
    "rvv": "ruy",
    "avx2": "onnxruntime",
    "avx512-vnni": "onnxruntime",
    "davinci": "ascend-fixpipe",
}  # instruction set -> requantisation profile of its generated kernels


def generate(spec: AnySpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program that computes ``spec`` on ``isa``; it depends on shapes and options only, and is made once.

    What ``options`` leave open is filled in from the first of ``choices`` that agrees with the rest.

    Raises
    ------
    NotImplementedError
        The set's generator has no kernel for that specification; the message names both.
    ValueError
        The generator does not offer those options for that specification; the message lists what it offers.
    """
    parameters = tuple(sorted(isa.parameters.items()))
    if load_isa(isa.name, **dict(parameters)) is isa:
        return _generate(spec, isa.name, parameters, options)
    return _made(spec, isa, options)


def choices(spec: AnySpec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options that the set's generator offers for ``spec``, its own choice first."""
    module = _module(isa.name, spec)
    if not hasattr(module, "choices"):
        return (DEFAULT,)
    found: tuple[Options, ...] = module.choices(spec, isa)
    return found


def pack(program: Program, spec: AnySpec, operands: Operands | FloatOperands) -> dict[str, Array]:
    """Return the constant buffers (weights, parameters) of a generated Program."""
    packed: dict[str, Array] = _module(program.isa.name, spec).pack(program, spec, operands)
    return packed


@cache
def _generate(spec: AnySpec, name: str, parameters: tuple[tuple[str, int], ...], options: Options) -> Program:
    """Generate for a shipped instruction set."""
    return _made(spec, load_isa(name, **dict(parameters)), options)


def _made(spec: AnySpec, isa: InstructionSet, options: Options) -> Program:
    from workloads.codegen.common import settled

    if options == DEFAULT:
        made: Program = _module(isa.name, spec).generate(spec, isa)
        return replace(made, body=settled(made.body))
    offered = choices(spec, isa)
    chosen = next((one for one in offered if options.agrees(one)), None)
    if chosen is None:
        raise ValueError(f"{isa.name} does not offer {options} for {spec}; it offers {'; '.join(map(str, offered))}")
    made = _module(isa.name, spec).generate(spec, isa, chosen)
    return replace(made, body=settled(made.body), options=chosen)


def _module(name: str, spec: AnySpec) -> Any:
    """Return the generator module of an instruction set, its name with underscores; all share that of floats."""
    if isinstance(spec, FloatSpec):
        return import_module("workloads.codegen.float_kernels")
    path = f"workloads.codegen.{name.replace('-', '_')}"
    if find_spec(path) is None:
        raise NotImplementedError(f"no code generator for instruction set {name!r}")
    return import_module(path)
