"""Which x86 kernel computes a specification, and its constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import (
    concat_x86,
    lanes_x86,
    lookup_tables,
    lookup_x86,
    matmul_x86,
    moves,
    norm_x86,
    resize_x86,
    softmax_x86,
    transposed,
    x86_depthwise,
    x86_elementwise,
    x86_pool,
    x86_product,
    x86_tiles,
)
from workloads.codegen.geometry import product
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
    from workloads.codegen.x86 import Dialect
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array


def _direct(spec: ConvSpec) -> bool:
    """Whether lanes can be the channels of the input: depthwise with one output per channel."""
    return spec.depthwise and spec.channels == spec.channels_out


def choices(spec: Spec, dialect: Dialect) -> tuple[Options, ...]:
    """Return the options offered for a specification, the set's own choice first."""
    match spec:
        case ConvSpec() if _direct(spec):
            return x86_depthwise.choices(spec, dialect)
        case ConvSpec() | MatrixSpec():
            return x86_tiles.choices(product(spec), dialect)
        case TransposedSpec():
            found = transposed.parts(spec, together=False)
            return transposed.choices(found, lambda one: choices(one, dialect))
    return (DEFAULT,)


def generate(spec: Spec, isa: InstructionSet, dialect: Dialect, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel."""
    match spec:
        case ConvSpec() if _direct(spec):
            return x86_depthwise.generate("depthwise_conv2d", spec, isa, dialect, options)
        case ConvSpec():
            return x86_product.generate("conv2d", product(spec), isa, dialect, options)
        case MatrixSpec():
            return x86_product.generate("fully_connected", product(spec), isa, dialect, options)
        case ResizeSpec():
            return resize_x86.generate(spec, isa, dialect)
        case TransposedSpec():
            return transposed.generate(
                spec, isa, transposed.parts(spec, together=False),
                lambda convolution: generate(convolution, isa, dialect, options),
                lambda box, _: moves.copied(box, isa, x86_elementwise.copy(isa, dialect)),
            )  # fmt: skip
        case PoolSpec():
            return x86_pool.generate(spec, isa, dialect)
        case ElementwiseSpec():
            return x86_elementwise.generate(spec, isa, dialect)
        case CopySpec():
            return x86_elementwise.generate_copy(spec, isa, dialect)
        case MoveSpec():
            return x86_elementwise.generate_move(spec, isa, dialect)
        case ConcatSpec():
            return concat_x86.generate(spec, isa, dialect)
        case SoftmaxSpec():
            return softmax_x86.generate(spec, isa, dialect)
        case MatMulSpec():
            return matmul_x86.generate(spec, isa, dialect)
        case LookupSpec():
            return lookup_x86.generate(spec, isa, dialect)
        case LayerNormSpec():
            return norm_x86.generate(spec, isa, dialect)
        case SvdfSpec() | LstmSpec():
            return lanes_x86.generate(spec, isa, dialect)


def pack(spec: Spec, operands: Operands, dialect: Dialect, options: Options = DEFAULT) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    match spec:
        case ConvSpec() if _direct(spec):
            return x86_depthwise.pack(spec, operands, dialect)
        case ConvSpec() | MatrixSpec():
            return x86_product.pack(product(spec), operands, dialect, options)
        case ResizeSpec():
            return resize_x86.pack(spec, dialect)
        case TransposedSpec():
            found = transposed.parts(spec, together=False)
            return transposed.pack(found, operands, lambda one, constants: pack(one, constants, dialect, options))
        case PoolSpec():
            return x86_pool.pack(spec, operands, dialect)
        case ElementwiseSpec():
            return x86_elementwise.pack(spec, operands, dialect)
        case MoveSpec():
            return x86_elementwise.pack_move(spec, operands)
        case ConcatSpec():
            return concat_x86.pack(operands, dialect)
        case SoftmaxSpec():
            return softmax_x86.pack(spec, operands, dialect)
        case MatMulSpec():
            return matmul_x86.pack(operands, dialect)
        case LookupSpec():
            return lookup_tables.pack_steps(operands, dialect.vector_bytes)
        case LayerNormSpec():
            return norm_x86.pack(spec, operands, dialect)
        case SvdfSpec() | LstmSpec():
            return lanes_x86.pack(spec, operands, dialect)
    return {}
