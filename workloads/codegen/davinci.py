"""Kernels for Ascend AI cores: what each specification becomes, and its constants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.codegen import (
    concat_davinci,
    davinci_choices,
    davinci_cube,
    davinci_moves,
    davinci_pack,
    davinci_pool,
    davinci_vector,
    lookup_davinci,
    matmul_davinci,
    norm_davinci,
    resize_davinci,
    softmax_davinci,
    transposed_davinci,
)
from workloads.codegen.common import settled
from workloads.codegen.davinci_plan import as_convolution
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


def generate(spec: Spec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Generate the kernel of one layer; it depends on shapes and options only.

    Raises
    ------
    NotImplementedError
        Batches of products with constant weights, and what the core lacks the instructions for.
    """
    made = _generate(spec, isa, options)
    return replace(made, body=settled(made.body))


def _generate(spec: Spec, isa: InstructionSet, options: Options) -> Program:
    """Return the kernel of one layer as it is written."""
    match spec:
        case ConvSpec():
            return davinci_cube.generate(spec, isa, options)
        case MatrixSpec(batch=1):
            return davinci_cube.generate(spec, isa, options)
        case ResizeSpec():
            return resize_davinci.generate(spec, isa, options)
        case TransposedSpec():
            return transposed_davinci.generate(spec, isa, options)
        case PoolSpec():
            return davinci_pool.generate(spec, isa, options)
        case ElementwiseSpec():
            return davinci_vector.generate(spec, isa, options)
        case CopySpec():
            return davinci_vector.generate_copy(spec, isa, options)
        case MoveSpec():
            return davinci_moves.generate(spec, isa, options)
        case ConcatSpec():
            return concat_davinci.generate(spec, isa, options)
        case MatMulSpec():
            return matmul_davinci.generate(spec, isa, options)
        case MatrixSpec():
            raise NotImplementedError("davinci: no kernel is generated for batches of products with constant weights")
        case SoftmaxSpec():
            return softmax_davinci.generate(spec, isa, options)
        case LookupSpec():
            return lookup_davinci.generate(spec, isa, options)
        case LayerNormSpec():
            return norm_davinci.generate(spec, isa, options)
        case SvdfSpec() | LstmSpec():
            raise NotImplementedError("davinci: layers with a state need integer factors, ascend-fixpipe has none")


def choices(spec: Spec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options offered for a layer: buffers for all; tiles, lowering and epilogue for the cube."""
    match spec:
        case ConvSpec() | MatrixSpec(batch=1):
            return davinci_choices.choices(as_convolution(spec, isa), isa)
        case TransposedSpec():
            return transposed_davinci.choices(spec, isa)
        case MatrixSpec():
            return (DEFAULT,)
    return DEFAULT, Options(buffers=1)


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a generated kernel.

    Raises
    ------
    ValueError
        The operands do not fit the kernel: no weights, weights that are not symmetric, or a missing input.
    """
    match spec:
        case ConvSpec() | MatrixSpec():
            return davinci_pack.pack(program, spec, operands)
        case ResizeSpec():
            return resize_davinci.pack(spec)
        case TransposedSpec():
            return transposed_davinci.pack(program, spec, operands)
        case MatMulSpec():
            return matmul_davinci.pack(spec, operands, program.isa)
        case PoolSpec():
            return davinci_pool.pack(program, spec, operands)
        case MoveSpec():
            return davinci_moves.pack(spec, operands)
        case ConcatSpec():
            return concat_davinci.pack(operands)
        case ElementwiseSpec():
            return davinci_vector.pack(spec, operands)
        case SoftmaxSpec():
            return softmax_davinci.pack(operands)
        case LayerNormSpec():
            return norm_davinci.pack(spec, operands)
        case LookupSpec():
            return lookup_davinci.pack(operands)
    return {}
