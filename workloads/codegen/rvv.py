"""Kernels for RISC-V vectors 1.0 of any VLEN: registers in groups, tails by vl, fixed point rounded half up twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.codegen import (
    concat_rvv,
    lanes_rvv,
    lookup_rvv,
    lookup_tables,
    matmul_rvv,
    moves,
    norm_rvv,
    resize_rvv,
    resize_scalar,
    rvv_elementwise,
    rvv_pool,
    rvv_product,
    rvv_tiles,
    rvv_window,
    softmax_rvv,
    transposed,
)
from workloads.codegen.geometry import product
from workloads.codegen.rvv_types import typed
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
    Spec,
)
from workloads.codegen.specs_images import ResizeSpec, TransposedSpec
from workloads.codegen.specs_rows import LayerNormSpec, LstmSpec, SvdfSpec
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array


def _direct(spec: ConvSpec) -> bool:
    """Whether lanes can be the channels of the input: depthwise with one output per channel."""
    return spec.depthwise and spec.channels == spec.channels_out


def choices(spec: Spec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options offered for a specification, the generator's own choice first."""
    match spec:
        case ConvSpec() if _direct(spec):
            return rvv_window.choices(spec, isa)
        case ConvSpec() | MatrixSpec():
            return rvv_tiles.choices(product(spec), isa)
        case TransposedSpec():
            found = transposed.parts(spec, together=False)
            return transposed.choices(found, lambda one: choices(one, isa))
    return (DEFAULT,)


def generate(spec: Spec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel; its values follow the profile "ruy".

    Raises
    ------
    NotImplementedError
        No kernel is generated for the operator.
    """
    return typed(_generate(spec, isa, options))


def _generate(spec: Spec, isa: InstructionSet, options: Options) -> Program:
    """Return the Program of a kernel whose VSETVLI do not say yet what they set."""
    match spec:
        case ConvSpec() if _direct(spec):
            return rvv_window.generate_depthwise(spec, isa, options)
        case ConvSpec():
            return rvv_product.generate("conv2d", product(spec), isa, options)
        case MatrixSpec():
            return rvv_product.generate("fully_connected", product(spec), isa, options)
        case ResizeSpec():
            return resize_rvv.generate(spec, isa)
        case TransposedSpec():
            return transposed.generate(
                spec, isa, transposed.parts(spec, together=False),
                lambda convolution: _generate(convolution, isa, options),
                lambda box, _: moves.copied(box, isa, rvv_elementwise.copy(isa)),
            )  # fmt: skip
        case PoolSpec():
            return rvv_pool.generate(spec, isa)
        case ElementwiseSpec():
            return rvv_elementwise.generate(spec, isa)
        case CopySpec():
            return rvv_elementwise.generate_copy(spec, isa)
        case MoveSpec():
            return rvv_elementwise.generate_move(spec, isa)
        case ConcatSpec():
            return concat_rvv.generate(spec, isa)
        case SoftmaxSpec():
            return softmax_rvv.generate(spec, isa)
        case MatMulSpec():
            return matmul_rvv.generate(spec, isa)
        case LookupSpec():
            return lookup_rvv.generate(spec, isa)
        case LayerNormSpec():
            return norm_rvv.generate(spec, isa)
        case SvdfSpec() | LstmSpec():
            return lanes_rvv.generate(spec, isa)


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a Program; the layout of weights depends on its VLEN and options."""
    match spec:
        case ConvSpec() if _direct(spec):
            return rvv_window.pack_depthwise(spec, operands)
        case ConvSpec() | MatrixSpec():
            return rvv_product.pack(product(spec), program, operands)
        case ResizeSpec():
            return resize_scalar.pack(spec)
        case TransposedSpec():
            isa, options = program.isa, program.options
            return transposed.pack(
                transposed.parts(spec, together=False), operands,
                lambda one, constants: pack(replace(generate(one, isa, options), options=options), one, constants),
            )  # fmt: skip
        case PoolSpec():
            return rvv_pool.pack(spec, operands)
        case ElementwiseSpec():
            return rvv_elementwise.pack(spec, operands)
        case MoveSpec():
            return rvv_elementwise.pack_move(spec, operands)
        case ConcatSpec():
            return concat_rvv.pack(operands)
        case SoftmaxSpec():
            return softmax_rvv.pack(operands)
        case MatMulSpec():
            return matmul_rvv.pack(operands)
        case LookupSpec():
            return lookup_tables.pack_unsigned(operands)
        case LayerNormSpec():
            return norm_rvv.pack(spec, operands)
        case SvdfSpec() | LstmSpec():
            return lanes_rvv.pack(spec, operands, program.isa)
    return {}
