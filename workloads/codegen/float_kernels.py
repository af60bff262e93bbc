"""Which float32 kernel computes a specification, on any set that has float units."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.codegen import float_depthwise, float_pack, float_product, float_tiles, float_winograd
from workloads.codegen.float_kits import kits_of
from workloads.codegen.float_winograd_transforms import TRANSFORMS
from workloads.codegen.geometry import product
from workloads.codegen.rvv_types import typed
from workloads.codegen.schedule import arrange
from workloads.codegen.specs import ConvSpec, MatrixSpec
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
    offer, conv = float_depthwise.choices if _direct(spec) else float_tiles.choices, product(spec.shape)
    channels = conv.channels_out if _direct(spec) else conv.channels_out // conv.groups
    kits = sorted(kits_of(isa), key=lambda kit: (kit.lanes > channels, abs(kit.lanes - channels)))
    return tuple(one for kit in kits for one in offer(conv, kit))


def generate(spec: FloatSpec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel; every float operation of it rounds once, half to even.

    Raises
    ------
    NotImplementedError
        The set has no float kernels.
    """
    chosen = choices(spec, isa)[0] if options == DEFAULT else options
    kit, conv = _kit(isa, chosen), product(spec.shape)
    if _direct(spec):
        made = float_depthwise.generate("depthwise_conv2d_f32", conv, spec.bounds, kit, chosen)
    elif chosen.lowering in TRANSFORMS:
        made = float_winograd.generate("conv2d_f32_winograd", conv, spec.bounds, kit, chosen)
    else:
        name = "fully_connected" if isinstance(spec.shape, MatrixSpec) else "conv2d"
        made = float_product.generate(f"{name}_f32", conv, spec.bounds, kit, chosen)
    if kit.counted:
        return typed(made)
    return made if kit.tuning is None else replace(made, body=arrange(made.body, isa, kit.tuning))


def pack(program: Program, spec: FloatSpec, operands: FloatOperands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    options = choices(spec, program.isa)[0] if program.options == DEFAULT else program.options
    make = float_depthwise.pack if _direct(spec) else float_pack.pack
    return make(product(spec.shape), operands, _kit(program.isa, options), options)


def _direct(spec: FloatSpec) -> bool:
    """Whether lanes can be the channels of the input: depthwise with one output per channel."""
    shape = spec.shape
    return isinstance(shape, ConvSpec) and shape.depthwise and shape.channels == shape.channels_out


def _kit(isa: InstructionSet, options: Options) -> FloatSet:
    """Return the set as the options use it."""
    return next(kit for kit in kits_of(isa) if kit.lmul == options.lmul)
