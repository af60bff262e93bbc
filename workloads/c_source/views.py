"""Which typed local holds a vector register group: C gives each width and group size a type of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workloads.isa import ELEMENT_BYTES
from workloads.program import Address, Instruction, operand_elements, walk

if TYPE_CHECKING:
    from workloads.isa import InstructionSet, Meaning
    from workloads.program import Loop, Statement

_LEAST_LANES = 64  # the smallest group holds vlen/64 lanes of any width: mf8 of bytes, mf2 of words


@dataclass(frozen=True)
class View:
    """A register group as lanes of one element type; ``ratio`` is vlen over the lanes that the group has room for."""

    register: int
    kind: str
    ratio: int
    lanes: int

    @property
    def eighths(self) -> int:
        """Size of the group in eighths of a register."""
        return 64 * ELEMENT_BYTES[self.kind] // self.ratio

    @property
    def span(self) -> range:
        """The registers of the group."""
        return range(self.register, self.register + max(self.eighths // 8, 1))

    @property
    def type(self) -> str:
        """The type as intrinsics write it, e.g. i32m4."""
        letter = "i" if self.kind[0] == "s" else self.kind[0]
        group = f"m{self.eighths // 8}" if self.eighths >= 8 else f"mf{8 // self.eighths}"
        return f"{letter}{8 * ELEMENT_BYTES[self.kind]}{group}"

    @property
    def name(self) -> str:
        """The local variable."""
        return f"v{self.register}_{self.type}"


def view(isa: InstructionSet, name: str, kind: str, lanes: int) -> View:
    """Return the view of ``lanes`` elements from register ``name`` on."""
    vlen = isa.parameters["vlen"]
    room = 1 << (max(lanes, vlen // _LEAST_LANES) - 1).bit_length()
    return View(int(name[1:]), kind, vlen // room, lanes)


@dataclass
class Views:
    """The view that each register was last written through, in the order of execution."""

    isa: InstructionSet
    held: dict[int, View] = field(default_factory=dict)

    def write(self, to: View) -> str:
        """Note a write and return the local that takes it."""
        self.held.update(dict.fromkeys(to.span, to))
        return to.name

    def read(self, wanted: View) -> str:
        """Return C for a register group as the wanted type, converted where it was written as another.

        Raises
        ------
        ValueError
            No single write gave all those lanes.
        """
        written = {self.held.get(register) for register in wanted.span}
        found = next(iter(written))
        if len(written) > 1 or found is None or found.register != wanted.register:
            raise ValueError(f"v{wanted.register} is read as {wanted.type} but not written as one group before")
        if found.lanes * ELEMENT_BYTES[found.kind] < wanted.lanes * ELEMENT_BYTES[wanted.kind]:
            raise ValueError(f"v{wanted.register}: {wanted.lanes} lanes are read, {found.lanes} were written")
        return _converted(found, wanted)

    def enter(self, loop: Loop) -> None:
        """Begin a loop: keep only what each of its iterations finds the same."""
        for register, last in _writes(self.isa, loop.body).items():
            before = self.held.get(register)
            if before is None or (before.register, before.type) != (last.register, last.type):
                self.held.pop(register, None)
            else:
                self.held[register] = replace(before, lanes=min(before.lanes, last.lanes))


def _converted(found: View, wanted: View) -> str:
    """Return ``found`` as the type of ``wanted``; elements change while the group is large: small ones lack types."""
    text, of = found.name, found
    if of.eighths < wanted.eighths:
        text, of = _cast("vlmul_ext", text, of, replace(of, ratio=of.ratio * of.eighths // wanted.eighths))
    # Intrinsics change the sign or the width of elements, not both at once, and no width of floats.
    first = found.kind[0] + wanted.kind[1:] if wanted.kind[0] == "f" else wanted.kind[0] + found.kind[1:]
    for kind in dict.fromkeys((first, wanted.kind)):
        if kind != of.kind:
            ratio = of.ratio * ELEMENT_BYTES[kind] // ELEMENT_BYTES[of.kind]
            text, of = _cast("vreinterpret", text, of, replace(of, kind=kind, ratio=ratio))
    return _cast("vlmul_trunc", text, of, wanted)[0] if of.eighths > wanted.eighths else text


def _cast(intrinsic: str, text: str, of: View, to: View) -> tuple[str, View]:
    """Return C that casts, and what it gives."""
    return f"__riscv_{intrinsic}_v_{of.type}_{to.type}({text})", to


def _writes(isa: InstructionSet, body: tuple[Statement, ...]) -> dict[int, View]:
    """Return the view that each register was last written through after ``body``."""
    found: dict[int, View] = {}
    for instruction, loops in walk(body):
        to = destination_view(isa, instruction, isa.meaning(instruction.op))
        if to is not None and all(loop.trips for loop in loops):
            found.update(dict.fromkeys(to.span, to))
    return found


def destination_view(isa: InstructionSet, instruction: Instruction, meaning: Meaning) -> View | None:
    """Return the view that an instruction writes, if its destination is a vector register."""
    name = instruction.destination
    if name is None or isinstance(name, Address) or not name.startswith("v"):
        return None
    return view(isa, name, meaning.holds or meaning.result, operand_elements(instruction, meaning)[0])
