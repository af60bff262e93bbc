"""Which float32 kernel computes a specification, on any set that has float units."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.codegen import (
    float_depthwise,
    float_elementwise,
    float_pack,
    float_pool,
    float_product,
    float_tiles,
    float_winograd,
)
from workloads.codegen.float_kits import kits_of
from workloads.codegen.float_winograd_transforms import TRANSFORMS
from workloads.codegen.geometry import product
from workloads.codegen.rvv_types import typed
from workloads.codegen.schedule import arrange
from workloads.codegen.specs import ConvSpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_spec import FloatOperands, FloatSpec
    from workloads.isa import InstructionSet
    from workloads.program import Program
    from workloads.tensor import Array


def choices(spec: FloatSpec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options offered for a specification, the set's own choice first: the longest vectors that it fills.

    Raises
    ------
    NotImplementedError
        The set has no float kernels.
    """
    width = _width(spec)
    kits = sorted(kits_of(isa), key=lambda kit: (kit.lanes > width, abs(kit.lanes - width)))
    return tuple(one for kit in kits for one in _choices(spec, kit))


def _width(spec: FloatSpec) -> int:
    """Return the floats that lanes can be."""
    match spec.shape:
        case ElementwiseSpec(period=period):
            return period
        case PoolSpec(channels=channels):
            return channels
        case shape:
            conv = product(shape)
            return conv.channels_out if _direct(spec) else conv.channels_out // conv.groups


def _choices(spec: FloatSpec, kit: FloatSet) -> tuple[Options, ...]:
    """Return the options offered for one use of a set."""
    match spec.shape:
        case ElementwiseSpec():
            return float_elementwise.choices(kit)
        case PoolSpec() as pool:
            return float_pool.choices(pool, kit)
        case shape:
            offer = float_depthwise.choices if _direct(spec) else float_tiles.choices
            return offer(product(shape), kit)


def generate(spec: FloatSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel; every float operation of it rounds once, half to even.

    Raises
    ------
    NotImplementedError
        The set has no float kernels, or none for that specification.
    """
    chosen = choices(spec, isa)[0] if options == DEFAULT else options
    kit = _kit(isa, chosen)
    made = _generate(spec, kit, chosen)
    if kit.counted:
        return typed(made)
    return made if kit.tuning is None else replace(made, body=arrange(made.body, isa, kit.tuning))


def _generate(spec: FloatSpec, kit: FloatSet, options: Options) -> Program:
    """Return the Program of a kernel as it is written."""
    match spec.shape:
        case ElementwiseSpec() as elements:
            return float_elementwise.generate(elements, spec.bounds, kit)
        case PoolSpec() as pool:
            return float_pool.generate(pool, kit, options)
        case shape:
            conv = product(shape)
    if _direct(spec):
        return float_depthwise.generate("depthwise_conv2d_f32", conv, spec.bounds, kit, options)
    if options.lowering in TRANSFORMS:
        return float_winograd.generate("conv2d_f32_winograd", conv, spec.bounds, kit, options)
    name = "fully_connected" if isinstance(shape, MatrixSpec) else "conv2d"
    return float_product.generate(f"{name}_f32", conv, spec.bounds, kit, options)


def pack(program: Program, spec: FloatSpec, operands: FloatOperands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    options = choices(spec, program.isa)[0] if program.options == DEFAULT else program.options
    kit = _kit(program.isa, options)
    match spec.shape:
        case ElementwiseSpec():
            return float_elementwise.pack(operands, kit)
        case PoolSpec() as pool:
            return float_pool.pack(pool, kit)
        case shape:
            make = float_depthwise.pack if _direct(spec) else float_pack.pack
            return make(product(shape), operands, kit, options)


def _direct(spec: FloatSpec) -> bool:
    """Whether lanes can be the channels of the input: depthwise with one output per channel."""
    shape = spec.shape
    return isinstance(shape, ConvSpec) and shape.depthwise and shape.channels == shape.channels_out


def _kit(isa: InstructionSet, options: Options) -> FloatSet:
    """Return the set as the options use it."""
    return next(kit for kit in kits_of(isa) if kit.lmul == options.lmul)
