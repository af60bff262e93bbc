"""What the generators of scalar instruction sets share: the set's pieces as a record, parameters, runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.codegen.common import Body, loop
from workloads.program import Address, Instruction, Operand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.codegen.scalar_gather import Gather
    from workloads.codegen.schedule import Tuning
    from workloads.isa import InstructionSet
    from workloads.tensor import Array

Accumulators = tuple[tuple[str, ...], ...]  # by pixel and channel
Multiply = Callable[[Accumulators, tuple[Address, ...], Address], Body]  # (accumulators, inputs, weights) -> statements

# The parameters buffer begins with a header of little-endian words.
FILL, ZERO_POINT, LOW, HIGH, FIRST_ZERO_POINT, SECOND_ZERO_POINT = 0, 8, 12, 16, 20, 24
HEADER_BYTES = 32
BIAS_ALONE = -4  # bytes of requantisation parameters that leave of a record its bias word


@dataclass(frozen=True)
class Scalar:
    """A scalar instruction set, as the shared generators use it.

    Parameters
    ----------
    op
        Mnemonic of: load_byte, load_word, store_byte, immediate, move, add, subtract, multiply, divide, xor,
        shift_left, shift_right.
    values
        Registers for accumulators and elements; disjoint from those that the functions below use.
    constants
        Registers of the output zero point and of the lowest and highest output.
    spare, filler
        A register for one more value; the register that holds the fill pattern.
    units
        Loads and stores for runs of bytes, widest first: bytes, alignment, load, store.
    tile, depthwise_tile
        Pixels and channels of one tile, with several channels per group and with one.
    channel_bytes
        Requantisation parameters of one channel, after their bias word. [B]
    load_parameters, scale
        Load the parameters of one channel; requantise a register by them.
    bound
        Bring a register to at least, or at most, another: (mnemonic role, register, bound).
    step, single
        Multiply-accumulate 4 deep, or 1 deep: (accumulators[pixel][channel], input addresses, weight address).
    pack_channel
        Bytes that ``load_parameters`` reads, from (multiplier, shift).
    blocks
        Further tiles that leave registers for pointers and the counter.
    gather
        How windows are gathered ahead of the products, where that can pay.
    unpacked
        Registers of sums taken from packed accumulators.
    keeps_constants
        There are registers enough to load the constants once.
    tuning
        How straight code is ordered; None leaves it as it was written.
    """

    isa: InstructionSet
    profile: str
    op: Mapping[str, str]
    values: tuple[str, ...]
    constants: tuple[str, str, str]
    spare: str
    filler: str
    units: tuple[tuple[int, int, str, str], ...]
    tile: tuple[int, int]
    depthwise_tile: tuple[int, int]
    channel_bytes: int
    sign_shift: int
    load_parameters: Callable[[Address], Body]
    scale: Callable[[str], Body]
    bound: Callable[[str, str, str], Body]
    step: Multiply
    single: Multiply
    pack_channel: Callable[[int, int], bytes]
    blocks: tuple[tuple[int, int], ...] = ()
    gather: Gather | None = None
    unpacked: tuple[str, ...] = ()
    keeps_constants: bool = False
    tuning: Tuning | None = None

    def emit(self, role: str, destination: str | Address, *sources: Operand) -> Instruction:
        """Return the instruction that plays a role."""
        return Instruction(self.op[role], destination, sources)

    def load_constants(self, *, offset: bool = True) -> Body:
        """Load the output bounds, and the output zero point for results that are offset by it."""
        zero_point, low, high = self.constants
        words = (*(((zero_point, ZERO_POINT),) if offset else ()), (low, LOW), (high, HIGH))
        return tuple(self.emit("load_word", register, Address("parameters", at)) for register, at in words)

    def clamp_store(self, value: str, target: Address) -> Body:
        """Clamp a register to the output bounds and store it as a byte."""
        _, low, high = self.constants
        clamped = self.bound("maximum", value, low) + self.bound("minimum", value, high)
        return (*clamped, self.emit("store_byte", target, value))

    def finish(self, value: str, target: Address) -> Body:
        """Requantise a register by the loaded parameters, add the zero point, clamp, store."""
        added = self.emit("add", value, value, self.constants[0])
        return (*self.scale(value), added, *self.clamp_store(value, target))

    @property
    def record_bytes(self) -> int:
        """Bias and requantisation parameters of one channel. [B]"""
        return 8 + self.channel_bytes

    def record(self, index: int, **strides: int) -> Address:
        """Return the address of a channel's bias word; its requantisation parameters are 8 bytes on."""
        return Address("parameters", HEADER_BYTES + index * self.record_bytes, tuple(strides.items()))


def copy_run(scalar: Scalar, target: Address, source: Address, nbytes: int, register: str = "") -> Body:
    """Copy a run of bytes in the widest units that both addresses allow, by default through the spare register."""
    held = register or scalar.spare
    return _run(scalar, (target, source), nbytes, lambda unit, places: (
        Instruction(unit[2], held, (places[1],)),
        Instruction(unit[3], places[0], (held,)),
    ))  # fmt: skip


def fill_run(scalar: Scalar, target: Address, nbytes: int) -> Body:
    """Fill a run of bytes from the fill register."""
    return _run(scalar, (target,), nbytes, lambda unit, places: (Instruction(unit[3], places[0], (scalar.filler,)),))


def _run(
    scalar: Scalar,
    places: tuple[Address, ...],
    nbytes: int,
    move: Callable[[tuple[int, int, str, str], tuple[Address, ...]], Body],
) -> Body:
    """Emit ``move`` over a run: four units a trip, then single units, then narrower ones."""
    body: Body = ()
    done = 0
    for unit in scalar.units:
        size, alignment = unit[0], unit[1]
        if any(_alignment(place) % alignment for place in places):
            continue
        trips, rest = divmod((nbytes - done) // size, 4)
        four = [move(unit, tuple(place.plus(done + j * size, run=4 * size) for place in places)) for j in range(4)]
        body += loop(scalar.isa, "run", trips, (statement for part in four for statement in part))
        done += 4 * trips * size
        for j in range(rest):
            body += move(unit, tuple(place.plus(done + j * size) for place in places))
        done += rest * size
    return body


def _alignment(address: Address) -> int:
    """Return the largest power of two that divides each address it takes, up to 64."""
    return math.gcd(64, address.offset, *(stride for _, stride in address.strides))


def load_filler(scalar: Scalar) -> Body:
    """Load the fill pattern."""
    load = scalar.units[0][2]
    return (Instruction(load, scalar.filler, (Address("parameters", FILL),)),)


def header(fill: int, zero_point: int, low: int, high: int, first: int = 0, second: int = 0) -> bytes:
    """Return the header of a parameters buffer; the fill byte is repeated eight times."""
    words = np.array([zero_point, low, high, first, second, 0], np.int32)
    return bytes([fill & 255]) * 8 + words.tobytes()


def records(scalar: Scalar, biases: Array, multipliers: Any, shifts: Any) -> bytes:
    """Return one parameter record per channel: bias word, a word of padding, requantisation parameters."""
    parts = []
    for bias, multiplier, shift in zip(biases.tolist(), multipliers, shifts, strict=True):
        parts.append(np.array([bias, 0], np.int32).tobytes() + scalar.pack_channel(int(multiplier), int(shift)))
    return b"".join(parts)


def as_bytes(raw: bytes) -> Array:
    """Return bytes as a uint8 array."""
    return np.frombuffer(raw, np.uint8).copy()


def masked_words(multiplier: int, shift: int) -> bytes:
    """Return multiplier, left shift, right shift and the mask of the bits shifted out."""
    left, right = max(shift, 0), max(-shift, 0)
    return np.array([multiplier, left, right, (1 << right) - 1], np.int64).astype(np.int32).tobytes()
