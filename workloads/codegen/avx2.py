"""Kernels for AVX2: 16 registers of 32 bytes, tails in powers of two, exact products of 16-bit pairs (VPMADDWD)."""

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

# Tiles are ranked by VPMADDWD and VPADDD on three vector ports, and by VPADDD's latency of one cycle (Skylake).
DIALECT = Dialect(
    prefix="ymm", registers=16, lanes=8, masked=False, step=2, input_bytes=2, multiply_cycles=2 / 3, latency=1.0
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
