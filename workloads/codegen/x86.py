"""What the x86 vector sets share: how a set moves tails, multiplies, and requantises in float32 (half even)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop
from workloads.program import Address, Instruction, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workloads.codegen.regions import Constants
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.tensor import Array

Body = tuple[Statement, ...]
PROFILE = "onnxruntime"
TEMPORARIES = 4  # registers beside accumulators and weights: broadcasts and products, then bounds and the narrow result
PIXELS = 8  # accumulators of a window kernel: enough to hide the latency of the multiply-add
UNROLL = 4  # vectors per iteration where data are only moved or mapped


@dataclass(frozen=True)
class Dialect:
    """How one x86 vector set writes the kernels.

    Parameters
    ----------
    prefix, registers
        Name and number of the vector registers.
    lanes
        32-bit lanes of a vector.
    masked
        Tails are one masked move; otherwise they are moved in powers of two.
    step
        Products summed into one 32-bit lane by one multiply-add.
    input_bytes
        Of one activation in the copy that a product reads: 1 unsigned, or 2 signed.
    multiply_cycles, latency
        Cycles between independent multiply-adds, and between dependent ones; they rank tiles and price nothing.
    """

    prefix: str
    registers: int
    lanes: int
    masked: bool
    step: int
    input_bytes: int
    multiply_cycles: float
    latency: float

    @property
    def vector_bytes(self) -> int:
        """Bytes of a vector register. [B]"""
        return 4 * self.lanes

    @property
    def step_bytes(self) -> int:
        """Bytes of packed weights that one step reads per vector. [B]"""
        return self.lanes * self.step

    def register(self, index: int) -> str:
        """Name of a vector register."""
        if not 0 <= index < self.registers:
            raise ValueError(f"register {index} of {self.registers}")
        return f"{self.prefix}{index}"


_LOADS = {
    32: "vmovdqu.load", 16: "vmovdqu.xmm.load", 8: "vmovq.load", 4: "vmovd.load", 2: "vpinsrw.load", 1: "vpinsrb.load",
}  # fmt: skip
_STORES = {
    32: "vmovdqu.store", 16: "vmovdqu.xmm.store", 8: "vmovq.store", 4: "vmovd.store", 2: "vpextrw.store",
    1: "vpextrb.store",
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """``trips`` runs of ``size`` elements from element ``offset`` on."""

    offset: int
    size: int
    trips: int


def pieces(total: int, widths: Sequence[int], dialect: Dialect) -> list[Piece]:
    """Cut ``total`` elements into runs of the given widths, widest first, then a tail that the set can move."""
    found = []
    offset = 0
    for width in widths:
        trips = (total - offset) // width
        found.append(Piece(offset, width, trips))
        offset += width * trips
    tail = total - offset
    if dialect.masked:
        found.append(Piece(offset, tail, 1 if tail else 0))
    else:
        for bit in reversed(range(tail.bit_length())):
            size = tail & (1 << bit)
            found.append(Piece(offset, size, 1 if size else 0))
            offset += size
    return [piece for piece in found if piece.trips]


def load(dialect: Dialect, register: str, address: Address, nbytes: int) -> Instruction:
    """Load ``nbytes`` bytes."""
    if dialect.masked:
        return Instruction("vmovdqu8.load", register, (address,), None if nbytes == dialect.vector_bytes else nbytes)
    return Instruction(_LOADS[nbytes], register, (address,))


def store(dialect: Dialect, register: str, address: Address, nbytes: int) -> Body:
    """Store the low ``nbytes`` bytes; without masks, fewer than eight bytes go through a scalar register."""
    if dialect.masked:
        count = None if nbytes == dialect.vector_bytes else nbytes
        return (Instruction("vmovdqu8.store", address, (register,), count),)
    if nbytes in _STORES:
        return (Instruction(_STORES[nbytes], address, (register,)),)
    found = []
    if nbytes & 4:
        found.append(Instruction("vmovd.store", address, (register,)))
    found.append(Instruction("vpextrd" if nbytes & 4 else "vmovd", "r0", (register,)))
    if nbytes & 2:
        found.append(Instruction("mov.word.store", address.plus(nbytes & 4), ("r0",)))
    if nbytes & 1:
        if nbytes & 2:
            found.append(Instruction("shr", "r0", ("r0", 16)))
        found.append(Instruction("mov.byte.store", address.plus(nbytes & 6), ("r0",)))
    return tuple(found)


def widen(dialect: Dialect, register: str, address: Address, elements: int, spare: str) -> Body:
    """Load int8 elements into 32-bit lanes."""
    if dialect.masked:
        count = None if elements == dialect.lanes else elements
        return (Instruction("vpmovsxbd.load", register, (address,), count),)
    if elements == dialect.lanes:
        return (Instruction("vpmovsxbd.load", register, (address,)),)
    return (load(dialect, spare, address, elements), Instruction("vpmovsxbd", register, (spare,)))


def widen_half(dialect: Dialect, register: str, address: Address, elements: int, spare: str) -> Body:
    """Load int8 elements into 16-bit lanes."""
    if dialect.masked:
        count = None if elements == 2 * dialect.lanes else elements
        return (Instruction("vpmovsxbw.load", register, (address,), count),)
    if elements == 2 * dialect.lanes:
        return (Instruction("vpmovsxbw.load", register, (address,)),)
    return (load(dialect, spare, address, elements), Instruction("vpmovsxbw.xmm", register, (spare,)))


def move(dialect: Dialect, register: str, source: str) -> Instruction:
    """Copy a whole register."""
    return Instruction("vmovdqa32" if dialect.masked else "vmovdqa", register, (source,))


def bound_regions(dialect: Dialect) -> dict[str, int]:
    """Regions that ``finish`` reads: vectors of the bounds, the zero point and, without masks, two permutations."""
    names = ("low", "high", "zero_point") + (() if dialect.masked else ("bytes_of_lanes", "halves"))
    return dict.fromkeys(names, dialect.vector_bytes)


def bound_values(dialect: Dialect, low: float, high: float, zero_point: int) -> dict[str, Array]:
    """Fill the regions of ``bound_regions``; the bounds hold before the zero point is added."""
    values: dict[str, Array] = {
        "low": np.full(dialect.lanes, low, np.float32),
        "high": np.full(dialect.lanes, high, np.float32),
        "zero_point": np.full(dialect.lanes, zero_point, np.int32),
    }
    if not dialect.masked:
        values["bytes_of_lanes"] = np.tile(np.arange(0, 16, 4, dtype=np.uint8), 8)
        values["halves"] = np.tile(np.array([0, 4], np.int32), 4)
    return values


def offset_bounds(dialect: Dialect, operands: Operands) -> dict[str, Array]:
    """Fill the regions of ``bound_regions`` for results to which the zero point is added after rounding."""
    zero_point = operands.output_zero_point
    return bound_values(dialect, operands.low - zero_point, operands.high - zero_point, zero_point)


@dataclass(frozen=True)
class Result:
    """An accumulator that becomes ``count`` bytes at ``address``; ``prepared`` makes it a scaled float first."""

    register: str
    address: Address
    count: int
    prepared: Body


def scaled(register: str, scale: str | Address) -> Body:
    """Return the int32 accumulator as a float32 times its scale."""
    return (Instruction("vcvtdq2ps", register, (register,)), Instruction("vmulps", register, (register, scale)))


def finish(
    dialect: Dialect, table: Constants, results: Sequence[Result], temporaries: Sequence[str], offset: bool = True
) -> Body:
    """Clamp scaled floats, round them half to even, add the zero point (``offset``), narrow and store them."""
    low, high, third, narrow = temporaries[:TEMPORARIES]
    vector = dialect.vector_bytes
    body: list[Statement] = [load(dialect, low, table.address("low"), vector)]
    body.append(load(dialect, high, table.address("high"), vector))
    zero_point: str | Address = table.address("zero_point")
    if not dialect.masked:
        body.append(load(dialect, third, table.address("halves"), vector))
    elif offset:
        body.append(load(dialect, third, table.address("zero_point"), vector))
        zero_point = third
    for result in results:
        register = result.register
        body += result.prepared
        body.append(Instruction("vmaxps", register, (register, low)))
        body.append(Instruction("vminps", register, (register, high)))
        body.append(Instruction("vcvtps2dq", register, (register,)))
        if offset:
            body.append(Instruction("vpaddd", register, (register, zero_point)))
        if dialect.masked:
            body.append(Instruction("vpmovsdb", narrow, (register,)))
            body += store(dialect, narrow, result.address, result.count)
        else:  # every value already fits a byte: permutations narrow it
            body.append(Instruction("vpshufb", narrow, (register, table.address("bytes_of_lanes"))))
            body.append(Instruction("vpermd", register, (narrow, third)))
            body += store(dialect, register, result.address, result.count)
    return tuple(body)


def fill_run(isa: InstructionSet, dialect: Dialect, value: str, address: Address, nbytes: int) -> Body:
    """Store a vector register over a run of bytes."""
    vector = dialect.vector_bytes
    body: Body = ()
    for piece in pieces(nbytes, (UNROLL * vector, vector), dialect):
        target = address.plus(piece.offset, run=piece.size)
        parts = range(0, piece.size, vector)
        inner = (s for part in parts for s in store(dialect, value, target.plus(part), min(vector, piece.size)))
        body += loop(isa, "run", piece.trips, inner)
    return body


def copy_run(
    isa: InstructionSet, dialect: Dialect, target: Address, source: Address, nbytes: int, first: int = 1
) -> Body:
    """Copy a run of bytes through the vector registers from ``first`` on."""
    vector = dialect.vector_bytes
    body: Body = ()
    for piece in pieces(nbytes, (UNROLL * vector, vector), dialect):
        inner: Body = ()
        for part in range(0, piece.size, vector):
            register, size = dialect.register(first + part // vector), min(vector, piece.size)
            inner += (load(dialect, register, source.plus(piece.offset + part, run=piece.size), size),)
            inner += store(dialect, register, target.plus(piece.offset + part, run=piece.size), size)
        body += loop(isa, "run", piece.trips, inner)
    return body
