"""Kernels for RV32IM: byte loads, 32-bit products, blocks of 2 pixels by 4 channels, bounds without branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import scalar_depthwise, scalar_kernels
from workloads.codegen.scalar import Scalar, masked_words
from workloads.codegen.scalar_gather import Gather
from workloads.options import DEFAULT, Options
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.scalar import Accumulators
    from workloads.codegen.specs import Spec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array

_VALUES = tuple(f"x{number}" for number in range(5, 13))
_INPUTS, _WEIGHTS = ("x13", "x14", "x15", "x16"), ("x17", "x18", "x19", "x20")
_PRODUCTS = ("x21", "x22", "x23", "x24")
_MULTIPLIER, _LEFT, _RIGHT, _MASK = _WEIGHTS
_LOW, _HIGH, _NUDGE, _FREE = _PRODUCTS
_OPERATIONS = {
    "load_byte": "lb", "load_word": "lw", "store_byte": "sb", "store_word": "sw", "load_half": "lh", "store_half": "sh",
    "immediate": "li", "move": "mv",
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "xor": "xor", "shift_left": "slli",
    "shift_right": "srai",
}  # fmt: skip


def choices(spec: Spec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options offered for a specification, the set's own choice first."""
    if scalar_depthwise.takes(spec, _SLIDE):
        return scalar_depthwise.choices(spec)
    return scalar_kernels.choices(spec, describe(isa))


def generate(spec: Spec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel; its values follow the profile "tflite-double".

    Raises
    ------
    NotImplementedError
        No kernel is generated for the specification.
    """
    if scalar_depthwise.takes(spec, _SLIDE):
        return scalar_depthwise.generate(spec, describe(isa), _SLIDE, options)
    return scalar_kernels.generate(spec, describe(isa), options)


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    if scalar_depthwise.takes(spec, _SLIDE):
        return scalar_depthwise.pack(spec, operands, describe(program.isa))
    return scalar_kernels.pack(spec, operands, describe(program.isa), program.options)


def _multiply_add(total: str, value: str, weight: str, number: int) -> Body:
    """Accumulate one product through one of the registers for products."""
    product = _PRODUCTS[number % len(_PRODUCTS)]
    return Instruction("mul", product, (value, weight)), Instruction("add", total, (total, product))


_SLIDE = scalar_depthwise.Slide(_INPUTS, (*_WEIGHTS, "x30"), _multiply_add)


def describe(isa: InstructionSet) -> Scalar:
    """Return the set's own pieces."""
    return Scalar(
        isa=isa, profile="tflite-double", op=_OPERATIONS, values=_VALUES, constants=("x27", "x28", "x29"), spare="x25",
        filler="x26", units=((4, 4, "lw", "sw"), (1, 1, "lb", "sb")), tile=(2, 4), depthwise_tile=(4, 1),
        channel_bytes=16, sign_shift=31, load_parameters=_load_parameters, scale=_scale, bound=_bound, step=_step,
        single=_single, pack_channel=masked_words, blocks=((4, 2),), keeps_constants=True, gather=Gather(
            blocks=((2, 4),), together=1, element_bytes=1, align=1, limit=1 << 31, collect=_collect,
            step=_gathered_step, single=_single,
        ),
    )  # fmt: skip


def _load_parameters(address: Address) -> Body:
    """Load multiplier, left shift, right shift and the mask of the bits shifted out."""
    return tuple(Instruction("lw", register, (address.plus(4 * index),)) for index, register in enumerate(_WEIGHTS))


def _scale(value: str) -> Body:
    """Shift left, take the rounded high half of the doubled product, shift right rounding half away from zero.

    The right shift adds one where the bits shifted out exceed half of the last bit, less one for values below zero:
    exact for all of int32, where adding half first would overflow.
    """
    return (
        Instruction("sll", value, (value, _LEFT)),
        Instruction("mulh", _HIGH, (value, _MULTIPLIER)),
        Instruction("mul", _LOW, (value, _MULTIPLIER)),
        Instruction("li", _NUDGE, (1 << 30,)),
        Instruction("add", _LOW, (_LOW, _NUDGE)),
        Instruction("sltu", _NUDGE, (_LOW, _NUDGE)),  # the carry
        Instruction("add", _HIGH, (_HIGH, _NUDGE)),
        Instruction("srli", _LOW, (_LOW, 31)),
        Instruction("slli", _HIGH, (_HIGH, 1)),
        Instruction("or", value, (_HIGH, _LOW)),
        Instruction("and", _LOW, (value, _MASK)),
        Instruction("srli", _HIGH, (_MASK, 1)),
        Instruction("srli", _NUDGE, (value, 31)),
        Instruction("add", _HIGH, (_HIGH, _NUDGE)),  # half of the last bit, and one more below zero
        Instruction("slt", _HIGH, (_HIGH, _LOW)),
        Instruction("sra", value, (value, _RIGHT)),
        Instruction("add", value, (value, _HIGH)),
    )


def _bound(role: str, value: str, limit: str) -> Body:
    """Keep a value or take its limit through a mask: all ones where the value goes beyond."""
    beyond = (limit, value) if role == "minimum" else (value, limit)
    return (
        Instruction("slt", _FREE, beyond),
        Instruction("slli", _FREE, (_FREE, 31)),
        Instruction("srai", _FREE, (_FREE, 31)),
        Instruction("xor", _LOW, (value, limit)),
        Instruction("and", _LOW, (_LOW, _FREE)),
        Instruction("xor", value, (value, _LOW)),
    )


def _single(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate one product per pixel and channel; the weights of the channels are neighbours."""
    return _deep(accumulators, inputs, weights, 1)


def _step(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address, pitch: int = 1) -> Body:
    """Accumulate four products per pixel and channel; each channel has four neighbouring weights.

    The bytes of one pixel are ``pitch`` apart.
    """
    return tuple(
        statement
        for k in range(4)
        for statement in _deep(accumulators, tuple(place.plus(k * pitch) for place in inputs), weights.plus(k), 4)
    )


def _gathered_step(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate four products per pixel and channel; the pixels' bytes alternate."""
    return _step(accumulators, inputs, weights, len(inputs))


def _collect(sources: tuple[Address, ...], target: Address, elements: int) -> Body:
    """Copy bytes, those of the pixels in turn."""
    body: Body = ()
    for element in range(elements):
        for pixel, source in enumerate(sources):
            value = (*_INPUTS, *_WEIGHTS)[(element * len(sources) + pixel) % 8]
            place = target.plus(element * len(sources) + pixel)
            body += (Instruction("lb", value, (source.plus(element),)), Instruction("sb", place, (value,)))
    return body


def _deep(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address, pitch: int) -> Body:
    """Accumulate one depth; the weights of neighbouring channels are ``pitch`` bytes apart."""
    held = _INPUTS[: len(inputs)]
    body: Body = tuple(Instruction("lb", register, (address,)) for register, address in zip(held, inputs, strict=True))
    for channel, weight in enumerate(_WEIGHTS[: len(accumulators[0])]):
        body += (Instruction("lb", weight, (weights.plus(channel * pitch),)),)
        for pixel, (row, value) in enumerate(zip(accumulators, held, strict=True)):
            body += _multiply_add(row[channel], value, weight, channel * len(held) + pixel)
    return body
