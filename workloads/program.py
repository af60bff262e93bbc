"""Programs: loop nests of instructions over named buffers, and the counts that follow in closed form."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workloads.isa import ELEMENT_BYTES, InstructionSet, Meaning
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Buffer:
    """A named region of ``bytes`` in a memory space; ``role`` is input, weights, parameters, scratch or output.

    With two ``copies``, used in turn, queues fill the next tile while this one is read; values do not depend on it.
    """

    name: str
    bytes: int
    space: str = "memory"
    role: str = "scratch"
    copies: int = 1


@dataclass(frozen=True)
class Address:
    """A byte address in a buffer, affine in the loop variables: offset + sum(stride * variable)."""

    buffer: str
    offset: int = 0
    strides: tuple[tuple[str, int], ...] = ()

    def plus(self, offset: int = 0, **strides: int) -> Address:
        """Return the address moved by a constant and by further strides per loop variable."""
        return Address(self.buffer, self.offset + offset, (*self.strides, *strides.items()))


Operand = str | int | float | Address  # a register name, an immediate, or memory


@dataclass(frozen=True)
class Instruction:
    """One instruction: mnemonic, destination, sources; ``count`` limits the active lanes (mask or vl).

    ``shape`` holds the extents and strides of block instructions (matrix_multiply, copy_block ...).
    """

    op: str
    destination: str | Address | None = None
    sources: tuple[Operand, ...] = ()
    count: int | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Loop:
    """``body`` repeated ``trips`` times with ``variable`` counting from 0."""

    variable: str
    trips: int
    body: tuple[Statement, ...]


Statement = Loop | Instruction


@dataclass(frozen=True)
class Program:
    """A generated kernel: statements over buffers, for one instruction set and one requantisation profile.

    Parameters
    ----------
    macs
        Useful multiply-accumulates of the layer it computes (not the padded work). [MAC]
    profile
        Name of the requantisation profile that its values follow.
    options
        What its generator was told.
    """

    name: str
    isa: InstructionSet
    buffers: tuple[Buffer, ...]
    body: tuple[Statement, ...]
    macs: int = 0
    profile: str = "none"
    notes: Mapping[str, str] = field(default_factory=dict)
    options: Options = DEFAULT

    def buffer(self, name: str) -> Buffer:
        """Return the buffer called ``name``."""
        return next(buffer for buffer in self.buffers if buffer.name == name)


@dataclass(frozen=True)
class Counts:
    """What a Program executes: instructions by mnemonic and bytes moved by space and direction."""

    instructions: Mapping[str, int]
    loaded_bytes: Mapping[str, int]
    stored_bytes: Mapping[str, int]

    @property
    def total_instructions(self) -> int:
        """All instructions executed."""
        return sum(self.instructions.values())


def walk(body: tuple[Statement, ...], loops: tuple[Loop, ...] = ()) -> Iterator[tuple[Instruction, tuple[Loop, ...]]]:
    """Yield each instruction with the loops around it, outermost first."""
    for statement in body:
        if isinstance(statement, Loop):
            yield from walk(statement.body, (*loops, statement))
        else:
            yield statement, loops


def operand_elements(instruction: Instruction, meaning: Meaning) -> tuple[int, tuple[int, ...]]:
    """Return the elements of the destination and of each source of one execution."""
    shape = instruction.shape
    match meaning.kind:
        case "copy_block":  # shape: rows, row elements, source stride, destination stride
            return shape[0] * shape[1], (shape[0] * shape[1],)
        case "fill_block":  # shape: rows, row elements, destination stride
            return shape[0] * shape[1], (1,)
        case "matrix_multiply":  # shape: m, k, n
            m, k, n = shape[:3]
            return m * n, (m * k, k * n)
        case "requantize_block":  # shape: rows, columns; sources: accumulators, a word per column, bounds
            return shape[0] * shape[1], (shape[0] * shape[1], shape[1], 1)[: len(instruction.sources)]
    lanes = instruction.count or meaning.lanes
    number = len(instruction.sources)
    match meaning.kind:
        case "broadcast_load" | "broadcast" | "immediate":
            return lanes, (1,) * number
        case "dot":
            return lanes, (*(lanes * meaning.group,) * 2, lanes)[:number]
        case "reduce_add" | "reduce_maximum":
            return 1, (lanes, 1)[:number]
    return lanes, tuple(1 if place in meaning.scalar_sources else lanes for place in range(number))


def accesses(instruction: Instruction, isa: InstructionSet) -> tuple[tuple[Address, int, bool], ...]:
    """Return (address, bytes, is_store) of each memory access of one execution of an instruction."""
    meaning = isa.meaning(instruction.op)
    stored, loaded = operand_elements(instruction, meaning)
    found: list[tuple[Address, int, bool]] = []
    if isinstance(instruction.destination, Address):
        found.append((instruction.destination, stored * ELEMENT_BYTES[meaning.result], True))
    for operand, elements, kind in zip(instruction.sources, loaded, meaning.sources, strict=False):
        if isinstance(operand, Address):
            found.append((operand, elements * ELEMENT_BYTES[kind], False))
    return tuple(found)


def count(program: Program) -> Counts:
    """Count instructions and bytes from the trip counts, without executing anything."""
    instructions: Counter[str] = Counter()
    loaded: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    spaces = {buffer.name: buffer.space for buffer in program.buffers}
    for instruction, loops in walk(program.body):
        times = math.prod(loop.trips for loop in loops)
        instructions[instruction.op] += times
        for address, nbytes, is_store in accesses(instruction, program.isa):
            (stored if is_store else loaded)[spaces[address.buffer]] += nbytes * times
    return Counts(dict(instructions), dict(loaded), dict(stored))
