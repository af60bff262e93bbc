"""Convolutions and fully connected layers on RVV: lanes are output channels, each activation a scalar factor.

RVV 1.0 has no 8-bit dot product: weights are widened to 16 bits once per tile of pixels, and VWMACC.VX adds exact
products to 32 bits. Weights are packed [group][block of channels][kernel row][tap][channel in][channel out].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.codegen import rvv_base as base
from workloads.codegen import rvv_sums
from workloads.codegen.common import Image, fixed, loop, split
from workloads.codegen.regions import constants
from workloads.codegen.rvv_tiles import REGISTERS, plan_of, runs_of
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.codegen.rvv_base import Body
    from workloads.codegen.rvv_tiles import Plan
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

_FIRST_FACTOR, _FACTORS = 5, 4  # x5 to x8 hold activations


def table_of(conv: Convolution) -> Constants:
    """Place the per-channel words and the bounds."""
    words = dict.fromkeys(("bias", "left", "multiplier", "right"), 4 * conv.channels_out)
    return constants({**words, **base.BOUND_REGIONS})


def generate(name: str, conv: Convolution, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a convolution."""
    table, plan = table_of(conv), plan_of(conv, isa, options)
    image, padding, scratch = base.padded_image(isa, conv.spec, table)
    nest = _nest(conv, image, table, plan, isa)
    pixels_out = conv.batch * conv.height_out * conv.width_out
    if not plan.fuse:
        scratch += (Buffer("sums", 4 * pixels_out * conv.channels_out),)
        nest += rvv_sums.requantize(pixels_out, conv.channels_out, isa, table)
    buffers = (
        Buffer("input", conv.batch * conv.height * conv.width * conv.channels, role="input"),
        Buffer("weights", conv.channels_out * _depth(conv), role="weights"),
        Buffer("parameters", table.nbytes, role="parameters"),
        *scratch,
        Buffer("output", pixels_out * conv.channels_out, role="output"),
    )
    body = (base.ROUND_HALF_UP, *base.load_bounds(table), *padding, *nest)
    return Program(name, isa, buffers, body, conv.macs, base.PROFILE)


def sums(conv: Convolution, isa: InstructionSet, plan: Plan) -> Body:
    """Return the statements that leave the sums of a product, unscaled, in "sums"; "parameters" are its biases."""
    image = Image("input", conv.height, conv.width, conv.channels)
    return _nest(conv, image, constants({"bias": 4 * conv.channels_out}), plan, isa)


def _nest(conv: Convolution, image: Image, table: Constants, plan: Plan, isa: InstructionSet) -> Body:
    """Loop over images, groups, blocks of channels, rows and tiles of pixels."""
    nest: Body = ()
    for first, count, trips in split(conv.channels_out // conv.groups, plan.tile.lanes):
        columns: Body = ()
        for pixel, pixels, times in split(conv.width_out, plan.tile.pixels):
            part = _Part(conv, plan, image, table, first, count, pixel, pixels)
            columns += loop(isa, "tile", times, _tile(part, isa))
        nest += loop(isa, "block", trips, loop(isa, "row", conv.height_out, columns))
    return loop(isa, "image", conv.batch, loop(isa, "group", conv.groups, nest))


def _depth(conv: Convolution) -> int:
    """Products per output."""
    return math.prod(conv.kernel) * (conv.channels // conv.groups)


@dataclass(frozen=True)
class _Part:
    """One tile of a convolution: channels ``first`` .. of a group, pixels ``pixel`` .. of a row; loops move both."""

    conv: Convolution
    plan: Plan
    image: Image
    table: Constants
    first: int
    count: int
    pixel: int
    pixels: int

    def parameters(self, name: str) -> Address:
        """Locate words per channel."""
        per_group = self.conv.channels_out // self.conv.groups
        return self.table.address(name, 4 * self.first, group=4 * per_group, block=4 * self.count)

    def output(self, number: int, buffer: str = "output", size: int = 1) -> Address:
        """Locate the results of a pixel, of ``size`` bytes each."""
        conv = self.conv
        line = size * conv.width_out * conv.channels_out
        return Address(buffer, size * ((self.pixel + number) * conv.channels_out + self.first)).plus(
            image=conv.height_out * line, row=line, tile=size * self.pixels * conv.channels_out,
            group=size * (conv.channels_out // conv.groups), block=size * self.count,
        )  # fmt: skip

    def input(self, number: int) -> Address:
        """Locate the first activation of a pixel's window."""
        conv, image = self.conv, self.image
        return image.address((self.pixel + number) * conv.stride[1] * conv.channels).plus(
            image=image.image_bytes, row=conv.stride[0] * image.row_bytes, group=conv.channels // conv.groups,
            tile=self.pixels * conv.stride[1] * conv.channels, ky=conv.dilation[0] * image.row_bytes,
            kx=conv.dilation[1] * conv.channels,
        )  # fmt: skip

    def weights(self) -> Address:
        """Locate the first weights of the channels."""
        depth, (taps, elements) = _depth(self.conv), runs_of(self.conv)
        per_group = self.conv.channels_out // self.conv.groups
        return Address("weights", self.first * depth).plus(
            group=per_group * depth, block=self.count * depth, ky=taps * elements * self.count, kx=elements * self.count
        )


def _tile(part: _Part, isa: InstructionSet) -> Body:
    """Return one register tile: bias in, the sums over the window, requantised bytes out."""
    conv, count, group = part.conv, part.count, part.plan.tile.group
    sums = [base.vector(group * number) for number in range(part.pixels)]
    body: Body = (base.SET_VL, Instruction("vle32.v", sums[0], (part.parameters("bias"),), count))
    body += base.copies(sums[0], sums[1:], count)
    taps, elements = runs_of(conv)
    unroll = part.plan.unroll
    steps = loop(isa, "step", elements // unroll, _steps(part, sums, 0, unroll, unroll))
    whole = elements // unroll * unroll
    steps += fixed(_steps(part, sums, whole, elements - whole, 0), "step")
    body += (base.SET_VL, *loop(isa, "ky", conv.kernel[0], loop(isa, "kx", taps, steps)))
    if not part.plan.fuse:
        stored = [part.output(number, "sums", 4) for number in range(part.pixels)]
        return body + tuple(Instruction("vse32.v", at, (total,), count) for at, total in zip(stored, sums, strict=True))
    body += base.requantize_each(sums, base.vector(REGISTERS[group].held), count, part.parameters)
    return body + base.finish(sums, [part.output(number) for number in range(part.pixels)], count)


def _steps(part: _Part, sums: list[str], first: int, number: int, moving: int) -> Body:
    """Return ``number`` multiply-adds per accumulator; "step" moves by ``moving`` elements.

    An in-order core issues this as written: weights are loaded two steps and widened one step before their use,
    activations are loaded two multiply-adds before.
    """
    count, registers = part.count, REGISTERS[part.plan.tile.group]

    def narrow(step: int) -> str:
        return base.vector(registers.narrow[step % len(registers.narrow)])

    def wide(step: int) -> str:
        return base.vector(registers.wide[step % len(registers.wide)])

    def load(step: int) -> Instruction:
        at = part.weights().plus((first + step) * count, step=moving * count)
        return Instruction("vle8.v", narrow(step), (at,), count)

    def widen(step: int) -> Instruction:
        return Instruction("vsext.vf2.e16", wide(step), (narrow(step),), count)

    def activation(place: int) -> Instruction:
        step, pixel = divmod(place, len(sums))
        return Instruction("lb", _factor(place), (part.input(pixel).plus(first + step, step=moving),))

    body: list[Instruction] = [load(step) for step in range(min(2, number))]
    body += [activation(place) for place in range(min(2, number * len(sums)))]
    body += [widen(0)] if number else []
    for place in range(number * len(sums)):
        step, pixel = divmod(place, len(sums))
        if pixel == 0 and step + 2 < number:
            body.append(load(step + 2))
        if pixel == len(sums) // 2 and step + 1 < number:
            body.append(widen(step + 1))
        if place + 2 < number * len(sums):
            body.append(activation(place + 2))
        body.append(Instruction("vwmacc.vx.e16", sums[pixel], (_factor(place), wide(step)), count))
    return tuple(body)


def _factor(place: int) -> str:
    """Name the activation of a multiply-add; few are in flight."""
    return f"x{_FIRST_FACTOR + place % _FACTORS}"


def pack(conv: Convolution, program: Program, operands: Operands) -> dict[str, Array]:
    """Return the packed weights and parameters of a convolution; blocks are as wide as the Program's tile."""
    plan = plan_of(conv, program.isa, program.options)
    values = channel_values(conv, operands) | base.bound_values(operands, operands.input_zero_points[0])
    return {"weights": pack_weights(conv, conv.filters(operands), plan), "parameters": table_of(conv).pack(values)}


def pack_weights(conv: Convolution, filters: Array, plan: Plan) -> Array:
    """Return weights (O, KH, KW, C/groups) by group and block of channels."""
    per_group, lanes = conv.channels_out // conv.groups, plan.tile.lanes
    runs = filters.reshape(conv.groups, per_group, -1)
    blocks = [runs[:, first : first + lanes].transpose(0, 2, 1) for first in range(0, per_group, lanes)]
    return np.ascontiguousarray(np.concatenate([block.reshape(conv.groups, -1) for block in blocks], axis=1))


def channel_values(conv: Convolution, operands: Operands) -> dict[str, Array]:
    """Return bias and factors per output channel."""
    scales = np.broadcast_to(effective_scales(operands, base.PROFILE), (conv.channels_out,))
    return {
        "bias": conv.bias(operands, operands.input_zero_points[0]),
        **base.factor_values(*quantize_multipliers(scales)),
    }
