"""Steps on 32-bit words that scalar registers and vector lanes take alike: layers with a state are written in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workloads.codegen.common import loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workloads.codegen.common import Body
    from workloads.codegen.specs import MatrixSpec
    from workloads.isa import InstructionSet
    from workloads.program import Address, Instruction, Statement
    from workloads.tensor import Array


@dataclass(frozen=True)
class ProductBytes:
    """Bytes of a product's weights, parameters and sums, and of the buffer "scratch" that it may need. [B]"""

    weights: int
    parameters: int
    sums: int
    scratch: int = 0


SHIFTS = frozenset(("left", "right"))  # whose second operand is a number of bits


@dataclass(frozen=True)
class Lanes:
    """A set as the generators of layers with a state use it.

    Parameters
    ----------
    cut
        Cuts elements into (first, lanes, trips) that operations take; the most lanes come first.
    before
        What every Program begins with.
    words
        Registers of words; where words are scaled, the first ``scalable`` of them.
    held, spare
        Scalar registers for constants: those that stay during a pass, and one for the others.
    immediate, fetch
        (register, number), (register, address) -> the instruction that brings a number, or a word in memory, to a
        scalar register.
    load, store
        (bytes of an element, word, address, lanes): extend elements to words; store words that fit.
    emit
        (role, destination, a, b, lanes); roles add, subtract, multiply (the low 32 bits), and, xor, minimum, maximum,
        left and right (keeping the sign). b is a word, a scalar register, or a number of bits.
    scale_bytes, pack_scale, load_scale, scale
        A factor in memory [B], from (multiplier, shift); the statements that load it, and that requantise a word by
        it: (word, its address, lanes).
    product, product_bytes, pack_product
        Statements that leave the product of a row, "input", and "weights", onto the start of each column in
        "parameters", in "sums" as words; their bytes; both from weights (columns, depth) and int32 starts.
    """

    isa: InstructionSet
    profile: str
    cut: Callable[[int], tuple[tuple[int, int, int], ...]]
    before: Body
    words: tuple[str, ...]
    scalable: int
    held: tuple[str, ...]
    spare: str
    immediate: Callable[[str, int], Instruction]
    fetch: Callable[[str, Address], Instruction]
    load: Callable[[int, str, Address, int], Body]
    store: Callable[[int, str, Address, int], Body]
    emit: Callable[[str, str, str, str | int, int], Body]
    scale_bytes: int
    pack_scale: Callable[[int, int], bytes]
    load_scale: Callable[[Address], Body]
    scale: Callable[[str, Address, int], Body]
    product: Callable[[MatrixSpec], Body]
    product_bytes: Callable[[MatrixSpec], ProductBytes]
    pack_product: Callable[[MatrixSpec, Array, Array], tuple[Array, Array]]


@dataclass
class Strip:
    """Statements on ``count`` elements, as they are written; ``constants`` are in registers, by number or by name."""

    lanes: Lanes
    count: int
    constants: Mapping[int | str, str]
    factor: Address | None = None
    asked: Counter[int] = field(default_factory=Counter)
    body: list[Statement] = field(default_factory=list)

    def load(self, word: str, nbytes: int, address: Address) -> None:
        """Load elements as words."""
        self.body += self.lanes.load(nbytes, word, address, self.count)

    def store(self, word: str, nbytes: int, address: Address) -> None:
        """Store words as elements."""
        self.body += self.lanes.store(nbytes, word, address, self.count)

    def do(self, role: str, destination: str, a: str, b: str | int) -> None:
        """Combine a word with a word, with a constant (a number, or a name), or shift it by a number of bits."""
        if role not in SHIFTS:
            b = self._operand(b)
        self.body += self.lanes.emit(role, destination, a, b, self.count)

    def _operand(self, b: str | int) -> str:
        """Return the register of a constant, brought to the spare one unless it is held; a word is one itself."""
        if isinstance(b, str):
            return self.constants.get(b, b)
        self.asked[b] += 1
        if b not in self.constants:
            self.body.append(self.lanes.immediate(self.lanes.spare, b))
        return self.constants.get(b, self.lanes.spare)

    def scale(self, word: str) -> None:
        """Requantise a word by the pass's factor."""
        if self.factor is None:
            raise ValueError("a pass that scales needs a factor")
        self.body += self.lanes.scale(word, self.factor, self.count)

    def within(self, word: str, low: int | str, high: int | str) -> None:
        """Clamp a word."""
        self.do("maximum", word, word, low)
        self.do("minimum", word, word, high)

    def inside(self, variable: str, trips: int, write: Callable[[], None]) -> None:
        """Write a loop around what ``write`` writes."""
        outer, self.body = self.body, []
        write()
        self.body = outer + list(loop(self.lanes.isa, variable, trips, self.body))


def each(
    lanes: Lanes, elements: int, write: Callable[[Strip, int], None], factor: Address | None = None,
    named: Mapping[str, Address] | None = None,
) -> Body:  # fmt: skip
    """Return a pass over elements: ``write(strip, first)`` writes the statements of a strip from element ``first`` on.

    Its addresses move by the variable "strip", a trip of which is ``strip.count`` elements. The ``factor`` of
    ``scale``, the ``named`` constants in memory and the numbers asked for most are loaded before the loop.
    """
    registers: dict[int | str, str] = dict(zip(named or (), lanes.held, strict=False))
    body: Body = tuple(lanes.fetch(registers[name], address) for name, address in (named or {}).items())
    pieces = lanes.cut(elements)
    trial = Strip(lanes, pieces[0][1], registers, factor)
    write(trial, 0)
    free = lanes.held[len(registers) :]
    most = [number for number, _ in trial.asked.most_common(len(free))]
    body += tuple(lanes.immediate(register, number) for number, register in zip(most, free, strict=False))
    registers |= dict(zip(most, free, strict=False))
    body += lanes.load_scale(factor) if factor is not None else ()
    for first, count, trips in pieces:
        strip = Strip(lanes, count, registers, factor)
        write(strip, first)
        body += loop(lanes.isa, "strip", trips, strip.body)
    return body
