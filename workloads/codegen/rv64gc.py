"""Kernels for RV64GC with Zba and Zbb: byte loads, 32-bit products, register blocks of 2 pixels by 4 channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import scalar_kernels
from workloads.codegen.scalar import Scalar
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.specs import Spec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array

_VALUES = tuple(f"x{number}" for number in range(5, 13))
_INPUTS, _WEIGHTS = ("x13", "x14", "x15", "x16"), ("x17", "x18", "x19", "x20")
_PRODUCTS = ("x21", "x22", "x23", "x24")
_MULTIPLIER, _SHIFT, _ROUNDING = "x17", "x18", "x19"
_OPERATIONS = {
    "load_byte": "lb", "load_word": "lw", "store_byte": "sb", "immediate": "li", "move": "mv", "add": "add",
    "subtract": "sub", "multiply": "mulw", "divide": "div", "xor": "xor", "shift_left": "slli", "shift_right": "srai",
}  # fmt: skip


def generate(spec: Spec, isa: InstructionSet) -> Program:
    """Return the Program of a kernel; its values follow the profile "tflite-single".

    Raises
    ------
    NotImplementedError
        No kernel is generated for the specification.
    """
    return scalar_kernels.generate(spec, describe(isa))


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    return scalar_kernels.pack(spec, operands, describe(program.isa))


def describe(isa: InstructionSet) -> Scalar:
    """Return the set's own pieces."""
    return Scalar(
        isa=isa, profile="tflite-single", op=_OPERATIONS, values=_VALUES, constants=("x27", "x28", "x29"), spare="x25",
        filler="x26", units=((8, 8, "ld", "sd"), (4, 4, "lw", "sw"), (1, 1, "lb", "sb")), tile=(2, 4),
        depthwise_tile=(4, 1), channel_bytes=16, sign_shift=63, load_parameters=_load_parameters, scale=_scale,
        bound=_bound, step=_step, single=_single, pack_channel=_pack_channel,
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


def _single(accumulators: tuple[tuple[str, ...], ...], inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate one product per pixel and channel; the weights of the channels are neighbours."""
    return _deep(accumulators, inputs, weights, 1)


def _step(accumulators: tuple[tuple[str, ...], ...], inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate four products per pixel and channel; each channel has four neighbouring weights."""
    return tuple(
        statement
        for k in range(4)
        for statement in _deep(accumulators, tuple(address.plus(k) for address in inputs), weights.plus(k), 4)
    )


def _deep(accumulators: tuple[tuple[str, ...], ...], inputs: tuple[Address, ...], weights: Address, pitch: int) -> Body:
    """Accumulate one depth; the weights of neighbouring channels are ``pitch`` bytes apart.

    Loads come first, then products and sums four at a time, so that an in-order core waits for none of them.
    """
    channels = range(len(accumulators[0]))
    body: Body = tuple(
        Instruction("lb", register, (address,)) for register, address in zip(_INPUTS, inputs, strict=False)
    )
    body += tuple(Instruction("lb", _WEIGHTS[channel], (weights.plus(channel * pitch),)) for channel in channels)
    pairs = [
        (row[channel], x, _WEIGHTS[channel])
        for channel in channels
        for row, x in zip(accumulators, _INPUTS, strict=False)
    ]
    for first in range(0, len(pairs), len(_PRODUCTS)):
        some = list(zip(pairs[first : first + len(_PRODUCTS)], _PRODUCTS, strict=False))
        body += tuple(Instruction("mulw", product, (x, weight)) for (_, x, weight), product in some)
        body += tuple(Instruction("addw", total, (total, product)) for (total, _, _), product in some)
    return body
