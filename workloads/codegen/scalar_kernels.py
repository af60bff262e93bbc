"""Which shared generator a scalar set uses for a specification."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.codegen import (
    concat_scalar,
    lanes_scalar,
    lookup_scalar,
    lookup_tables,
    matmul_scalar,
    moves,
    norm_scalar,
    resize_scalar,
    scalar_conv,
    scalar_elementwise,
    scalar_pack,
    scalar_plan,
    scalar_pool,
    softmax_scalar,
    transposed,
)
from workloads.codegen.schedule import arrange
from workloads.codegen.specs import (
    ConcatSpec,
    ConvSpec,
    CopySpec,
    ElementwiseSpec,
    LookupSpec,
    MatMulSpec,
    MatrixSpec,
    MoveSpec,
    PoolSpec,
    SoftmaxSpec,
)
from workloads.codegen.specs_images import ResizeSpec, TransposedSpec
from workloads.codegen.specs_rows import LayerNormSpec, LstmSpec, SvdfSpec
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import Spec
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array


def choices(spec: Spec, scalar: Scalar) -> tuple[Options, ...]:
    """Return the options offered for a kernel, the set's own choice first."""
    if isinstance(spec, TransposedSpec):
        found = transposed.parts(spec, together=False)
        return transposed.choices(found, lambda one: scalar_plan.choices(one, scalar))
    return scalar_plan.choices(spec, scalar) if isinstance(spec, ConvSpec | MatrixSpec) else (DEFAULT,)


def generate(spec: Spec, scalar: Scalar, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel, its straight code ordered for the set's cores.

    Raises
    ------
    NotImplementedError
        No kernel is generated for the specification; the message names it.
    """
    return ordered(_generate(spec, scalar, options), scalar)


def ordered(program: Program, scalar: Scalar) -> Program:
    """Return a Program with its straight code ordered."""
    if scalar.tuning is None:
        return program
    return replace(program, body=arrange(program.body, scalar.isa, scalar.tuning))


def _generate(spec: Spec, scalar: Scalar, options: Options) -> Program:
    """Return the Program of a kernel as it is written."""
    match spec:
        case ConvSpec() | MatrixSpec():
            return scalar_conv.generate(spec, scalar, options)
        case ResizeSpec():
            return resize_scalar.generate(spec, scalar)
        case TransposedSpec():
            return transposed.generate(
                spec, scalar.isa, transposed.parts(spec, together=False),
                lambda convolution: _generate(convolution, scalar, options),
                lambda box, _: moves.copied(box, scalar.isa, scalar_elementwise.copy(scalar)),
            )  # fmt: skip
        case PoolSpec():
            return scalar_pool.generate(spec, scalar)
        case ElementwiseSpec():
            return scalar_elementwise.generate(spec, scalar)
        case CopySpec():
            return scalar_elementwise.generate_copy(spec, scalar)
        case MoveSpec():
            return scalar_elementwise.generate_move(spec, scalar)
        case ConcatSpec():
            return concat_scalar.generate(spec, scalar)
        case SoftmaxSpec():
            return softmax_scalar.generate(spec, scalar)
        case MatMulSpec():
            return matmul_scalar.generate(spec, scalar)
        case LookupSpec():
            return lookup_scalar.generate(spec, scalar)
        case LayerNormSpec():
            return norm_scalar.generate(spec, scalar)
        case SvdfSpec() | LstmSpec():
            return lanes_scalar.generate(spec, scalar)
    raise NotImplementedError(f"{scalar.isa.name}: no kernel is generated for {type(spec).__name__}")


def pack(spec: Spec, operands: Operands, scalar: Scalar, options: Options = DEFAULT) -> dict[str, Array]:
    """Return the constant buffers of a kernel."""
    match spec:
        case ConvSpec() | MatrixSpec():
            return scalar_pack.pack(spec, operands, scalar, options)
        case ResizeSpec():
            return resize_scalar.pack(spec)
        case TransposedSpec():
            found = transposed.parts(spec, together=False)
            return transposed.pack(
                found, operands, lambda one, constants: scalar_pack.pack(one, constants, scalar, options)
            )
        case PoolSpec():
            return scalar_pool.pack(spec, operands, scalar)
        case ElementwiseSpec():
            return scalar_elementwise.pack(spec, operands, scalar)
        case MoveSpec():
            return scalar_elementwise.pack_move(spec, operands)
        case ConcatSpec():
            return concat_scalar.pack(operands, scalar)
        case SoftmaxSpec():
            return softmax_scalar.pack(operands)
        case MatMulSpec():
            return matmul_scalar.pack(spec, operands, scalar)
        case LookupSpec():
            return lookup_tables.pack(operands)
        case LayerNormSpec():
            return norm_scalar.pack(spec, operands, scalar)
        case SvdfSpec() | LstmSpec():
            return lanes_scalar.pack(spec, operands, scalar)
    return {}
