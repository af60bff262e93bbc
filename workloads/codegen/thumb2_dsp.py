"""Kernels for Thumb-2 with DSP: 16 products in 4 word loads, 8 SXTB16 and 8 SMLAD, for 2 pixels by 2 channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import scalar_kernels, thumb2_depthwise
from workloads.codegen.scalar import Scalar, masked_words
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

Pair = tuple[str, str]

_VALUES = ("r0", "r1", "r2", "r3")
_WEIGHTS = (("r4", "r5"), ("r6", "r7"))  # even and odd bytes of each channel
_INPUT = ("r9", "r8")
_MULTIPLIER, _LEFT, _RIGHT, _MASK = "r4", "r5", "r6", "r7"
_WIDE, _WIDE_HIGH = "r8", "r9"  # a 64-bit pair
_OPERATIONS = {
    "load_byte": "ldrsb", "load_word": "ldr", "store_byte": "strb", "immediate": "mov", "move": "mov", "add": "add",
    "subtract": "sub", "multiply": "mul", "divide": "sdiv", "xor": "eor", "shift_left": "lsl", "shift_right": "asr",
    "store_word": "str", "load_half": "ldrsh", "store_half": "strh",
}  # fmt: skip
_MULTIPLIES = ("mul", "mla", "smull", "umull", "smlal", "smlad")
_STORES = ("str", "strh", "strb")
_DSP = ("sxtb", "sxtb16", "sxtb16.ror8", "pkhbt", "pkhtb", "ssat", "usat", "qadd", "clz")
# Cortex-M7: two a cycle, DSP instructions in the older slot only; other cores of the family issue one.
_TUNING = Tuning(
    width=2,
    unit=dict.fromkeys(_MULTIPLIES, "multiply") | dict.fromkeys(_DSP, "dsp") | dict.fromkeys(_STORES, "store"),
    latency={"ldr": (1, 2), "ldrsb": (2, 3), "ldrsh": (2, 3), "sdiv": (7, 7)} | dict.fromkeys(_MULTIPLIES, (2, 1)),
    early=frozenset((*_MULTIPLIES, "pkhbt", "pkhtb", "ssat", "usat")),
    older=frozenset(_DSP),
    glued=frozenset(("cmp", "it")),
)


def choices(spec: Spec, isa: InstructionSet) -> tuple[Options, ...]:
    """Return the options offered for a specification, the set's own choice first."""
    if thumb2_depthwise.takes(spec):
        return thumb2_depthwise.choices()
    return scalar_kernels.choices(spec, describe(isa))


def generate(spec: Spec, isa: InstructionSet, options: Options = DEFAULT) -> Program:
    """Return the Program of a kernel; its values follow the profile "tflite-double".

    Raises
    ------
    NotImplementedError
        No kernel is generated for the specification.
    """
    scalar = describe(isa)
    if thumb2_depthwise.takes(spec):
        return scalar_kernels.ordered(thumb2_depthwise.generate(spec, scalar, options), scalar)
    return scalar_kernels.generate(spec, scalar, options)


def pack(program: Program, spec: Spec, operands: Operands) -> dict[str, Array]:
    """Return the constant buffers of a Program."""
    if thumb2_depthwise.takes(spec):
        return thumb2_depthwise.pack(spec, operands, describe(program.isa))
    return scalar_kernels.pack(spec, operands, describe(program.isa), program.options)


def describe(isa: InstructionSet) -> Scalar:
    """Return the set's own pieces."""
    return Scalar(
        isa=isa, profile="tflite-double", op=_OPERATIONS, values=_VALUES, constants=("r10", "r11", "r12"), spare="r14",
        filler="r12", units=((4, 1, "ldr", "str"), (1, 1, "ldrsb", "strb")), tile=(2, 2), depthwise_tile=(4, 1),
        channel_bytes=16, sign_shift=31, load_parameters=_load_parameters, scale=_scale, bound=_bound, step=_step,
        single=_single, pack_channel=masked_words, blocks=((1, 4),), tuning=_TUNING, gather=Gather(
            blocks=((2, 2),), together=1, element_bytes=2, align=4, limit=1 << 31, collect=_collect,
            step=_gathered_step, single=_single,
        ),
    )  # fmt: skip


def _load_parameters(address: Address) -> Body:
    """Load multiplier, left shift, right shift and the mask of the bits shifted out."""
    registers = (_MULTIPLIER, _LEFT, _RIGHT, _MASK)
    return tuple(Instruction("ldr", register, (address.plus(4 * i),)) for i, register in enumerate(registers))


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


def _single(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate one product per pixel and channel; the weights of the channels are neighbours."""
    registers = [name for pair in _WEIGHTS for name in pair][: len(accumulators[0])]
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


def _step(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate four products per pixel and channel; each channel has four neighbouring weights.

    With several pixels, the weights of up to two channels stay extended; with one pixel, its inputs do.
    """
    channels = len(accumulators[0])
    if len(inputs) == 1 and channels > len(_WEIGHTS):
        body = _loaded(_INPUT, inputs[0])
        for channel, total in enumerate(accumulators[0]):
            pair = _WEIGHTS[channel % len(_WEIGHTS)]
            body += (*_loaded(pair, weights.plus(4 * channel)), *_products((total,), (pair,), _INPUT))
        return body
    pairs = _WEIGHTS[:channels]
    body = tuple(instruction for c, pair in enumerate(pairs) for instruction in _loaded(pair, weights.plus(4 * c)))
    for number, (row, address) in enumerate(zip(accumulators, inputs, strict=True)):
        held = (_INPUT[0], (_INPUT[1], "r14")[number % 2])
        body += (*_loaded(held, address), *_products(row, pairs, held))
    return body


def _loaded(pair: Pair, address: Address) -> Body:
    """Load four bytes and extend the even and the odd ones to halfwords."""
    even, odd = pair
    return (
        Instruction("ldr", odd, (address,)),
        Instruction("sxtb16", even, (odd,)),
        Instruction("sxtb16.ror8", odd, (odd,)),
    )


def _products(row: tuple[str, ...], pairs: tuple[Pair, ...], held: Pair) -> Body:
    """Accumulate the odd, then the even bytes of one pixel with every channel's weights."""
    return tuple(
        Instruction("smlad", total, (held[half], pair[half], total))
        for half in (0, 1)
        for total, pair in zip(row, pairs, strict=True)
    )


def _gathered_step(accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address) -> Body:
    """Accumulate four products per pixel and channel; inputs are halfwords already, the even ones first."""
    pairs = _WEIGHTS[: len(accumulators[0])]
    body = tuple(instruction for c, pair in enumerate(pairs) for instruction in _loaded(pair, weights.plus(4 * c)))
    for row, address in zip(accumulators, inputs, strict=True):
        body += tuple(Instruction("ldr", held, (address.plus(4 * half),)) for half, held in enumerate(_INPUT))
        body += _products(row, pairs, _INPUT)
    return body


def _collect(sources: tuple[Address, ...], target: Address, elements: int) -> Body:
    """Extend four bytes of each pixel to halfwords, the even ones first; missing ones meet weights of zero."""
    body: Body = ()
    for pixel, source in enumerate(sources):
        even, odd = (*_WEIGHTS, _INPUT)[pixel % 3]
        place = target.plus(8 * pixel)
        if elements == 4:
            body += _loaded((even, odd), source)
        else:
            names = (even, odd, "r14")[:elements]
            body += tuple(Instruction("ldrsb", name, (source.plus(k),)) for k, name in enumerate(names))
        if elements == 3:
            body += (Instruction("pkhbt", even, (even, "r14")),)
        body += (Instruction("str", place, (even,)),)
        if elements > 1:
            body += (Instruction("str", place.plus(4), (odd,)),)
    return body
