"""Kernels for Thumb-2 with DSP: 16 products in 4 word loads, 8 SXTB16 and 8 SMLAD, for 2 pixels by 2 channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import scalar_kernels, thumb2_depthwise
from workloads.codegen.scalar import Scalar
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.specs import Spec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array

_VALUES = ("r0", "r1", "r2", "r3")
_WEIGHTS = (("r4", "r5"), ("r6", "r7"))  # even and odd bytes of each channel
_INPUT = ("r9", "r8")  # even and odd bytes; loaded into the odd ones' register
_MULTIPLIER, _LEFT, _RIGHT, _MASK = "r4", "r5", "r6", "r7"
_WIDE, _WIDE_HIGH = "r8", "r9"  # a 64-bit pair
_OPERATIONS = {
    "load_byte": "ldrsb", "load_word": "ldr", "store_byte": "strb", "immediate": "mov", "move": "mov", "add": "add",
    "subtract": "sub", "multiply": "mul", "divide": "sdiv", "xor": "eor", "shift_left": "lsl", "shift_right": "asr",
}  # fmt: skip


def generate(spec: Spec, isa: InstructionSet) -> Program:
    """Return the Program of a kernel; its values follow the profile "tflite-double".

    Raises
    ------
    NotImplementedError
        No kernel is generated for the specification.
    """
    if thumb2_depthwise.takes(spec):
        return thumb2_depthwise.generate(spec, describe(isa))
    return scalar_kernels.generate(spec, describe(isa))


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    if thumb2_depthwise.takes(spec):
        return thumb2_depthwise.pack(spec, operands, describe(program.isa))
    return scalar_kernels.pack(spec, operands, describe(program.isa))


def describe(isa: InstructionSet) -> Scalar:
    """Return the set's own pieces."""
    return Scalar(
        isa=isa, profile="tflite-double", op=_OPERATIONS, values=_VALUES, constants=("r10", "r11", "r12"), spare="r14",
        filler="r12", units=((4, 1, "ldr", "str"), (1, 1, "ldrsb", "strb")), tile=(2, 2), depthwise_tile=(4, 1),
        channel_bytes=16, sign_shift=31, load_parameters=_load_parameters, scale=_scale, bound=_bound, step=_step,
        single=_single, pack_channel=_pack_channel,
    )  # fmt: skip


def _load_parameters(address: Address) -> Body:
    """Load multiplier, left shift, right shift and the mask of the bits shifted out."""
    registers = (_MULTIPLIER, _LEFT, _RIGHT, _MASK)
    return tuple(Instruction("ldr", register, (address.plus(4 * i),)) for i, register in enumerate(registers))


def _pack_channel(multiplier: int, shift: int) -> bytes:
    """Return multiplier, left shift, right shift and the mask of the bits shifted out."""
    left, right = max(shift, 0), max(-shift, 0)
    return np.array([multiplier, left, right, (1 << right) - 1], np.int64).astype(np.int32).tobytes()


def _scale(value: str) -> Body:
    """Shift left, take the rounded high half of the doubled product, shift right rounding half away from zero.

    The right shift adds one where the bits shifted out exceed half of the last bit, less one for values below zero:
    exact for all of int32, where adding half first would overflow.
    """
    return (
        Instruction("lsl", value, (value, _LEFT)),
        Instruction("mov", _WIDE, (1 << 30,)),
        Instruction("mov", _WIDE_HIGH, (0,)),
        Instruction("smlal", _WIDE, (value, _MULTIPLIER)),
        Instruction("lsr", _WIDE, (_WIDE, 31)),
        Instruction("lsl", _WIDE_HIGH, (_WIDE_HIGH, 1)),
        Instruction("orr", value, (_WIDE_HIGH, _WIDE)),
        Instruction("and", _WIDE, (value, _MASK)),
        Instruction("lsr", _WIDE_HIGH, (_MASK, 1)),
        Instruction("sub", _WIDE_HIGH, (_WIDE_HIGH, _WIDE)),
        Instruction("lsr", _WIDE, (value, 31)),
        Instruction("add", _WIDE_HIGH, (_WIDE_HIGH, _WIDE)),
        Instruction("asr", value, (value, _RIGHT)),
        Instruction("lsr", _WIDE_HIGH, (_WIDE_HIGH, 31)),
        Instruction("add", value, (value, _WIDE_HIGH)),
    )


def _bound(role: str, value: str, limit: str) -> Body:
    """Compare, and move the limit under a condition."""
    move = "movgt" if role == "minimum" else "movlt"
    return (Instruction("cmp", None, (value, limit)), Instruction("it"), Instruction(move, value, (value, limit)))


def _single(accumulators: tuple[tuple[str, ...], ...], inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate one product per pixel and channel; the weights of the channels are neighbours."""
    registers = [pair[0] for pair in _WEIGHTS[: len(accumulators[0])]]
    body: Body = tuple(
        Instruction("ldrsb", register, (weights.plus(channel),)) for channel, register in enumerate(registers)
    )
    for row, address in zip(accumulators, inputs, strict=True):
        body += (Instruction("ldrsb", _INPUT[0], (address,)),)
        body += tuple(
            Instruction("mla", total, (_INPUT[0], register, total))
            for total, register in zip(row, registers, strict=True)
        )
    return body


def _step(accumulators: tuple[tuple[str, ...], ...], inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate four products per pixel and channel; each channel has four neighbouring weights.

    Loads stand ahead of their use, and the second channel's extensions between the first one's products: an in-order
    core pairs them. The next pixel's word is loaded as soon as the odd bytes of this one are used.
    """
    pairs = _WEIGHTS[: len(accumulators[0])]
    body: Body = tuple(Instruction("ldr", pair[0], (weights.plus(4 * channel),)) for channel, pair in enumerate(pairs))
    body += (Instruction("ldr", _INPUT[1], (inputs[0],)), *_widen(pairs[0]))
    late = [instruction for pair in pairs[1:] for instruction in _widen(pair)]
    for pixel, row in enumerate(accumulators):
        even, odd = _INPUT
        body += (Instruction("sxtb16", even, (odd,)), Instruction("sxtb16.ror8", odd, (odd,)))
        for half in (1, 0):
            for channel, (total, pair) in enumerate(zip(row, pairs, strict=True)):
                body += (Instruction("smlad", total, (_INPUT[half], pair[half], total)),)
                if late and channel == 0:
                    body += (late.pop(0),)
            if half and pixel + 1 < len(inputs):
                body += (Instruction("ldr", odd, (inputs[pixel + 1],)),)
    return body


def _widen(pair: tuple[str, str]) -> Body:
    """Extend the odd and the even bytes of a word to halfwords; the even ones take its register."""
    even, odd = pair
    return Instruction("sxtb16.ror8", odd, (even,)), Instruction("sxtb16", even, (even,))
