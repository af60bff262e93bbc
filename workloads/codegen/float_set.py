"""What the float32 generators know of an instruction set: its registers, its mnemonics by role, how it moves tails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen.common import Body, loop
from workloads.program import Address, Instruction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.codegen.schedule import Tuning
    from workloads.isa import InstructionSet
    from workloads.program import Operand

Move = Callable[[str, Address, int], Body]  # (register, address, lanes) -> statements
FLOAT_BYTES = 4
_UNROLL = 4  # vectors per iteration where data are only moved


@dataclass(frozen=True)
class Rates:
    """Cycles between independent instructions, and between dependent multiply-adds; they rank tiles, price nothing.

    Loads happen beside multiply-adds, or else (``overlap``) take turns with them.
    """

    multiply_add: float
    load: float
    splat: float
    latency: float
    overlap: bool = True


@dataclass(frozen=True)
class FloatSet:
    """An instruction set on vectors of float32; a scalar set has vectors of one lane.

    Parameters
    ----------
    vectors
        Registers of vectors (of groups of them: their first ones).
    factors
        Registers of single floats that multiply vectors; empty where these are vectors too.
    lanes
        Floats of a full vector.
    op
        Mnemonic of: splat (one float from memory to all lanes, or to a factor), multiply_add (factor times vector),
        multiply_add_each (vector times vector), add, subtract, maximum_each, move; maximum, minimum (of a vector and a
        splat).
    load, store
        Move some lanes between a register and memory.
    widths
        Lanes that a shorter move can take, widest first; empty where it can take any.
    counted
        Every vector instruction says how many lanes it computes.
    memory_operands
        A multiply-add can read its second factor from memory.
    lmul
        Registers in a group, where the set has groups.
    tuning
        How straight code is ordered; None leaves it as it was written.
    """

    isa: InstructionSet
    vectors: tuple[str, ...]
    factors: tuple[str, ...]
    lanes: int
    op: Mapping[str, str]
    load: Move
    store: Move
    rates: Rates
    widths: tuple[int, ...] = ()
    counted: bool = False
    memory_operands: bool = False
    lmul: int | None = None
    tuning: Tuning | None = None

    @property
    def vector_bytes(self) -> int:
        """Bytes of a full vector. [B]"""
        return FLOAT_BYTES * self.lanes

    def emit(self, role: str, destination: str, *sources: Operand, lanes: int) -> Instruction:
        """Return the vector instruction that plays a role."""
        return Instruction(self.op[role], destination, sources, lanes if self.counted else None)

    def splat(self, register: str, address: Address) -> Instruction:
        """Read one float as a factor of vectors."""
        return Instruction(self.op["splat"], register, (address,))

    @property
    def accumulates(self) -> bool:
        """Whether a multiply-add replaces its addend."""
        return self.isa.meaning(self.op["multiply_add"]).accumulate

    def multiply_add(
        self, total: str, factor: str, vector: str | Address, lanes: int, role: str = "multiply_add"
    ) -> Instruction:
        """Add a product to ``total``, rounded once."""
        return self.emit(role, total, factor, vector, *(() if self.accumulates else (total,)), lanes=lanes)

    def copies(self, of: str, others: tuple[str, ...], lanes: int) -> Body:
        """Copy a register to others; a move of two sources is the larger of a register and itself."""
        sources = (of,) * len(self.isa.meaning(self.op["move"]).sources)
        return tuple(self.emit("move", other, *sources, lanes=lanes) for other in others)

    def begin(self) -> Body:
        """Return what sets the number of lanes for the instructions that follow, where they do not say it."""
        return (Instruction("vsetvli"),) if self.counted else ()

    def cut(self, total: int) -> tuple[int, ...]:
        """Cut a run of floats into vectors: full ones, then a tail that the set can move."""
        whole, tail = divmod(total, self.lanes)
        found = [self.lanes] * whole
        if not self.widths:
            return (*found, *([tail] if tail else []))
        for width in self.widths:
            found += [width] * (tail // width)
            tail %= width
        return tuple(found)

    def pieces(self, total: int, width: int = 1) -> tuple[tuple[int, tuple[int, ...], int], ...]:
        """Cut a run of floats into blocks of ``width`` vectors: (first float, lanes of the vectors, trips).

        Where lanes are set ahead, all vectors of a block have as many.
        """
        vectors = self.cut(total)
        full = vectors.count(self.lanes)
        starts = [*range(0, full, width)] if self.counted else [*range(0, len(vectors), width)]
        starts += [full] if self.counted and len(vectors) > full else []
        blocks: list[tuple[int, tuple[int, ...], int]] = []
        first = 0
        for begin, end in zip(starts, [*starts[1:], len(vectors)], strict=True):
            block = vectors[begin:end]
            if blocks and blocks[-1][1] == block:
                blocks[-1] = (*blocks[-1][:2], blocks[-1][2] + 1)
            else:
                blocks.append((first, block, 1))
            first += sum(block)
        return tuple(blocks)

    def run(self, target: Address, nbytes: int, source: Address | None = None) -> Body:
        """Copy a run of floats, or store the first vector register over it, which copies leave alone."""
        body: Body = ()
        for first, vectors, trips in self.pieces(nbytes // FLOAT_BYTES, _UNROLL):
            at = FLOAT_BYTES * first
            inner = self.begin()
            for number, lanes in enumerate(vectors):
                register = self.vectors[0 if source is None else 1 + number]
                if source is not None:
                    inner += self.load(register, source.plus(at, run=FLOAT_BYTES * sum(vectors)), lanes)
                inner += self.store(register, target.plus(at, run=FLOAT_BYTES * sum(vectors)), lanes)
                at += FLOAT_BYTES * lanes
            body += loop(self.isa, "run", trips, inner)
        return body
