"""Kernels for AVX-512 with VNNI: 32 registers of 64 bytes, masks for tails, four products per lane and instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import x86_kernels
from workloads.codegen.x86 import Dialect
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.specs import Spec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array

# Tiles are ranked by VPDPBUSD's rate and latency: two a cycle, four cycles (measured on Zen 5).
DIALECT = Dialect(
    prefix="zmm", registers=32, lanes=16, masked=True, step=4, input_bytes=1, multiply_cycles=0.5, latency=4.0
)


def choices(spec: Spec, isa: InstructionSet) -> tuple[Options, ...]:  # noqa: ARG001 - one signature for all sets
    """Return the options offered for a specification, the set's own choice first."""
    return x86_kernels.choices(spec, DIALECT)


def generate(spec: Spec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel; its values follow the profile "onnxruntime".

    Raises
    ------
    NotImplementedError
        No kernel is generated for the operator.
    """
    return x86_kernels.generate(spec, isa, DIALECT, options)


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    return x86_kernels.pack(spec, operands, DIALECT, program.options)
