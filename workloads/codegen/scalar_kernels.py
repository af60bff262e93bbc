"""Which shared generator a scalar set uses for a specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import scalar_conv, scalar_elementwise, scalar_pool
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import Spec
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array


def generate(spec: Spec, scalar: Scalar) -> Program:
    """Return the Program of a kernel.

    Raises
    ------
    NotImplementedError
        No kernel is generated for the specification; the message names it.
    """
    match spec:
        case ConvSpec() | MatrixSpec():
            return scalar_conv.generate(spec, scalar)
        case PoolSpec():
            return scalar_pool.generate(spec, scalar)
        case ElementwiseSpec():
            return scalar_elementwise.generate(spec, scalar)
        case CopySpec():
            return scalar_elementwise.generate_copy(spec, scalar)
    raise NotImplementedError(f"{scalar.isa.name}: no kernel is generated for {type(spec).__name__}")


def pack(spec: Spec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Return the constant buffers of a kernel."""
    match spec:
        case ConvSpec() | MatrixSpec():
            return scalar_conv.pack(spec, operands, scalar)
        case PoolSpec():
            return scalar_pool.pack(spec, operands, scalar)
        case ElementwiseSpec():
            return scalar_elementwise.pack(spec, operands, scalar)
    return {}
