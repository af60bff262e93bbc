"""Kernels for RV64GC with Zba and Zbb: byte loads, 32-bit products, register blocks of 2 pixels by 4 channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import scalar_depthwise, scalar_kernels
from workloads.codegen.scalar import Scalar
from workloads.codegen.scalar_gather import Gather
from workloads.codegen.schedule import Tuning
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
_MULTIPLIER, _SHIFT, _ROUNDING, _FREE = _WEIGHTS
_OPERATIONS = {
    "load_byte": "lb", "load_word": "lw", "store_byte": "sb", "immediate": "li", "move": "mv", "add": "add",
    "subtract": "sub", "multiply": "mulw", "divide": "div", "xor": "xor", "shift_left": "slli", "shift_right": "srai",
    "store_word": "sw", "load_half": "lh", "store_half": "sh",
}  # fmt: skip
_PAIR_DEPTH = 1 << 17  # from which a sum of products of bytes may leave 32 bits
_MULTIPLIES, _LOADS = ("mul", "mulw"), ("lb", "lh", "lw", "ld")
# U74: loads and stores in one pipe, multiplies and branches in the other, simple instructions in both.
_TUNING = Tuning(
    width=2,
    unit=dict.fromkeys((*_LOADS, "sb", "sh", "sw", "sd"), "memory") | dict.fromkeys((*_MULTIPLIES, "div"), "multiply"),
    latency=dict.fromkeys((*_LOADS, *_MULTIPLIES), (1, 3)),
    early=frozenset((*_MULTIPLIES, "div", "sb", "sh", "sw", "sd")),
)


def choices(spec: Spec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options offered for a specification, the set's own choice first."""
    if scalar_depthwise.takes(spec, _SLIDE):
        return scalar_depthwise.choices(spec)
    return scalar_kernels.choices(spec, describe(isa))


def generate(spec: Spec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel; its values follow the profile "tflite-single".

    Raises
    ------
    NotImplementedError
        No kernel is generated for the specification.
    """
    scalar = describe(isa)
    if scalar_depthwise.takes(spec, _SLIDE):
        return scalar_kernels.ordered(scalar_depthwise.generate(spec, scalar, _SLIDE, options), scalar)
    return scalar_kernels.generate(spec, scalar, options)


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    if scalar_depthwise.takes(spec, _SLIDE):
        return scalar_depthwise.pack(spec, operands, describe(program.isa))
    return scalar_kernels.pack(spec, operands, describe(program.isa), program.options)


def _multiply_add(total: str, value: str, weight: str, number: int) -> Body:
    """Accumulate one product, wrapped to 32 bits, through one of the registers for products."""
    product = _PRODUCTS[number % len(_PRODUCTS)]
    return Instruction("mulw", product, (value, weight)), Instruction("addw", total, (total, product))


_SLIDE = scalar_depthwise.Slide(_INPUTS, (*_WEIGHTS, "x30"), _multiply_add)


def describe(isa: InstructionSet) -> Scalar:
    """Return the set's own pieces."""
    return Scalar(
        isa=isa, profile="tflite-single", op=_OPERATIONS, values=_VALUES, constants=("x27", "x28", "x29"), spare="x25",
        filler="x26", units=((8, 8, "ld", "sd"), (4, 4, "lw", "sw"), (1, 1, "lb", "sb")), tile=(2, 4),
        depthwise_tile=(4, 1), channel_bytes=16, sign_shift=63, load_parameters=_load_parameters, scale=_scale,
        bound=_bound if "min" in isa.instructions else _bound_without_zbb, step=_step, single=_single,
        pack_channel=_pack_channel, unpacked=_PRODUCTS,
        keeps_constants=True, tuning=_TUNING, gather=Gather(
            blocks=((4, 4),), together=2, element_bytes=4, align=1, limit=_PAIR_DEPTH, collect=_collect,
            step=_paired_step, single=_paired, unpack=_unpack,
        ),
    )  # fmt: skip


def _load_parameters(address: Address) -> Body:
    """Load multiplier, right shift and rounding term of one channel."""
    return (
        Instruction("lw", _MULTIPLIER, (address,)),
        Instruction("lw", _SHIFT, (address.plus(4),)),
        Instruction("ld", _ROUNDING, (address.plus(8),)),
    )


def _pack_channel(multiplier: int, shift: int) -> bytes:
    """Return multiplier, right shift of the 64-bit product, and half of its last bit."""
    right = 31 - shift
    return np.array([multiplier, right], np.int32).tobytes() + np.array([1 << (right - 1)], np.int64).tobytes()


def _scale(value: str) -> Body:
    """Multiply in 64 bits, add the rounding term, shift."""
    return (
        Instruction("mul", value, (value, _MULTIPLIER)),
        Instruction("add", value, (value, _ROUNDING)),
        Instruction("sra", value, (value, _SHIFT)),
    )


def _bound(role: str, value: str, limit: str) -> Body:
    """Take a minimum or maximum with Zbb."""
    return (Instruction("min" if role == "minimum" else "max", value, (value, limit)),)


def _bound_without_zbb(role: str, value: str, limit: str) -> Body:
    """Keep the difference to the limit where its sign allows: a mask of that sign takes the rest away."""
    upper = role == "minimum"
    return (
        Instruction("sub", value, (value, limit) if upper else (limit, value)),
        Instruction("srai", _FREE, (value, 63)),
        Instruction("and", value, (value, _FREE)),
        Instruction("add" if upper else "sub", value, (limit, value)),
    )


def _single(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate one product per pixel and channel; the weights of the channels are neighbours."""
    return _deep(accumulators, inputs, weights, 1)


def _step(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate four products per pixel and channel; each channel has four neighbouring weights."""
    return tuple(
        statement
        for k in range(4)
        for statement in _deep(accumulators, tuple(address.plus(k) for address in inputs), weights.plus(k), 4)
    )


def _deep(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address, pitch: int) -> Body:
    """Accumulate one depth; the weights of neighbouring channels are ``pitch`` bytes apart."""
    held = _INPUTS[: len(inputs)]
    body: Body = tuple(Instruction("lb", register, (address,)) for register, address in zip(held, inputs, strict=True))
    for channel, weight in enumerate(_WEIGHTS[: len(accumulators[0])]):
        body += (Instruction("lb", weight, (weights.plus(channel * pitch),)),)
        for pixel, (row, value) in enumerate(zip(accumulators, held, strict=True)):
            body += _multiply_add(row[channel], value, weight, channel * len(held) + pixel)
    return body


def _collect(sources: tuple[Address, ...], target: Address, elements: int) -> Body:
    """Join the bytes of two pixels: the first in the low, the second in the high word of 64 bits.

    An odd last pixel stands beside itself; that sum is never taken.
    """
    pairs = [(sources[first], sources[min(first + 1, len(sources) - 1)]) for first in range(0, len(sources), 2)]
    places = iter([*zip(_INPUTS, _WEIGHTS, strict=True)] * elements)
    body: Body = ()
    for element in range(elements):
        for number, (low, high) in enumerate(pairs):
            first, second = next(places)
            body += (
                Instruction("lb", first, (low.plus(element),)),
                Instruction("lb", second, (high.plus(element),)),
                Instruction("slli", second, (second, 32)),
                Instruction("add", first, (first, second)),
                Instruction("sd", target.plus(8 * (element * len(pairs) + number)), (first,)),
            )
    return body


def _paired_step(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate four products per pixel and channel, two pixels at a time."""
    pitch = 8 * len(inputs)
    return tuple(
        statement
        for k in range(4)
        for statement in _pairs(accumulators, tuple(a.plus(k * pitch) for a in inputs), weights.plus(k), 4)
    )


def _paired(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate one product per pixel and channel, two pixels at a time."""
    return _pairs(accumulators, inputs, weights, 1)


def _pairs(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address, pitch: int) -> Body:
    """Multiply words of two pixels by one weight each: both products of a word are sums of their own.

    The low sum borrows from the high one when it is negative, and gives that back when it is taken out.
    """
    held = _INPUTS[: len(inputs)]
    body: Body = tuple(Instruction("ld", register, (address,)) for register, address in zip(held, inputs, strict=True))
    for channel, weight in enumerate(_WEIGHTS[: len(accumulators[0])]):
        body += (Instruction("lb", weight, (weights.plus(channel * pitch),)),)
        for stream, (row, pair) in enumerate(zip(accumulators, held, strict=True)):
            product = _PRODUCTS[(channel * len(held) + stream) % len(_PRODUCTS)]
            body += (
                Instruction("mul", product, (pair, weight)),
                Instruction("add", row[channel], (row[channel], product)),
            )
    return body


def _unpack(accumulator: str, pixel: int, bias: str, value: str) -> Body:
    """Take a pixel's sum out of an accumulator and add the bias, wrapped to 32 bits."""
    if pixel == 0:
        return (Instruction("addw", value, (accumulator, bias)),)
    return (
        Instruction("slli", value, (accumulator, 32)),
        Instruction("srai", value, (value, 32)),
        Instruction("sub", value, (accumulator, value)),
        Instruction("srai", value, (value, 32)),
        Instruction("addw", value, (value, bias)),
    )
