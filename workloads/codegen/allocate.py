"""Straight code on as many words as it takes, and the registers of a set that they are given."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workloads.program import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.common import Body

REMADE = frozenset(
    ("load", "load_byte", "immediate")
)  # a word that is dropped is made again rather than kept in memory


@dataclass(frozen=True)
class Word:
    """One word: the number of the operation that makes it."""

    number: int


Operand = Word | int | Address


@dataclass(frozen=True)
class Operation:
    """What makes a word, or stores one ("store", "store_byte": the word, then the address)."""

    role: str
    operands: tuple[Operand, ...]


@dataclass
class Code:
    """Operations in the order in which they are written."""

    operations: list[Operation] = field(default_factory=list)

    def do(self, role: str, *operands: Operand) -> Word:
        """Write an operation and return its word."""
        self.operations.append(Operation(role, operands))
        return Word(len(self.operations) - 1)

    def number(self, value: int) -> Word:
        """Return a word that holds a number."""
        return self.do("immediate", value)

    def load(self, address: Address) -> Word:
        """Return a word from memory that nothing written here changes."""
        return self.do("load", address)

    def store(self, word: Word, address: Address) -> None:
        """Store a word."""
        self.do("store", word, address)


@dataclass(frozen=True)
class Machine:
    """How a set writes operations on words.

    Parameters
    ----------
    registers
        That words may take.
    emit
        (role, destination, operands: registers, numbers, addresses) -> statements.
    apart
        Roles whose destination must be none of their sources.
    """

    registers: tuple[str, ...]
    emit: Callable[[str, str, tuple[str | int | Address, ...]], Body]
    apart: frozenset[str] = frozenset()


@dataclass
class _Registers:
    """Which word each register holds, and where the words are that memory keeps."""

    code: Code
    machine: Machine
    slot: Callable[[int], Address]
    uses: dict[int, list[int]]
    body: list[object] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)
    kept: dict[int, Address] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)

    def next_use(self, number: int, place: int) -> int:
        """Return the place of the next operation after ``place`` that reads a word."""
        uses = self.uses[number]
        later = bisect_right(uses, place)
        return uses[later] if later < len(uses) else len(self.code.operations)

    def take(self, place: int, needed: set[int]) -> str:
        """Return a register; the word that is read last makes room, none of those needed now."""
        if self.free:
            return self.free.pop()
        number = max((n for n in self.held if n not in needed), key=lambda n: self.next_use(n, place))
        register = self.held.pop(number)
        if self.code.operations[number].role not in REMADE and number not in self.kept:
            self.kept[number] = self.slot(len(self.kept))
            self.body += self.machine.emit("store", "", (register, self.kept[number]))
        return register

    def bring(self, number: int, place: int, needed: set[int]) -> str:
        """Return the register of a word, made or loaded again where it was dropped."""
        if number not in self.held:
            self.held[number] = self.take(place, needed)
            made = self.code.operations[number]
            role, operand = ("load", self.kept[number]) if number in self.kept else (made.role, made.operands[0])
            if isinstance(operand, Word):
                raise ValueError(f"word {number} is read before it is made")
            self.body += self.machine.emit(role, self.held[number], (operand,))
        return self.held[number]


def allocated(code: Code, machine: Machine, slot: Callable[[int], Address]) -> Body:
    """Return the statements of straight code; words beyond the registers wait in memory, ``slot(number)``."""
    uses: dict[int, list[int]] = defaultdict(list)
    for place, operation in enumerate(code.operations):
        for operand in operation.operands:
            if isinstance(operand, Word):
                uses[operand.number].append(place)
    state = _Registers(code, machine, slot, uses, free=list(reversed(machine.registers)))
    for place, operation in enumerate(code.operations):
        if operation.role in REMADE:
            continue  # where it is read first
        words = [operand.number for operand in operation.operands if isinstance(operand, Word)]
        needed = set(words)
        brought = {number: state.bring(number, place, needed) for number in words}
        operands = tuple(brought[one.number] if isinstance(one, Word) else one for one in operation.operands)
        done = [number for number in brought if state.next_use(number, place) == len(code.operations)]
        apart = operation.role in machine.apart
        if not apart:
            _release(state, done)
        destination = ""
        if not operation.role.startswith("store"):
            destination = state.take(place, needed)
            state.held[place] = destination
        state.body += machine.emit(operation.role, destination, operands)
        if apart:
            _release(state, done)
    return tuple(state.body)  # type: ignore[arg-type]  # only statements are emitted


def _release(state: _Registers, numbers: list[int]) -> None:
    """Free the registers of words that are not read again."""
    for number in numbers:
        state.free.append(state.held.pop(number))
