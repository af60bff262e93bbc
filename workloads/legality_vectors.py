"""Rules of RISC-V vectors: their length, the type that VSETVLI sets, and how groups of registers lie.

References
----------
.. [1] RISC-V "V" Vector Extension 1.0, 3.4.1 (SEW), 3.4.2 (LMUL), 5.2 (vector operands), 10.1 (forms, immediates).
.. [2] The draft 0.7.1 of it, 3.2.2 (LMUL), 6.1 (VSETVLI), 11.2 and 11.3 (widening, narrowing).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from workloads.isa import ELEMENT_BYTES
from workloads.program import operand_elements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.isa import InstructionSet, Meaning
    from workloads.program import Instruction, Operand

_SHORTEST, _LONGEST = 128, 65536  # VLEN of the V extension [bit]
_ELEN, _MOST = 64, 8  # the widest element [bit]; the largest group
_WIDTHS = {f"e{width}": width for width in (8, 16, 32, 64)}
_GROUPS = {f"m{size}": Fraction(size) for size in (1, 2, 4, 8)} | {f"mf{size}": Fraction(1, size) for size in (2, 4, 8)}
_FORM = re.compile(r"v\w+\.(?P<form>[vw][vxif])\.e\d+")
_SUFFIX = re.compile(r"v.*\.e(\d+)")
_POLICIES = {"ta", "tu", "ma", "mu"}  # of version 1.0: what becomes of lanes beyond vl, and of masked ones
_UNSIGNED = ("shift_left", "shift_right", "narrow")  # whose immediates are 0..31, others' are -16..15


@dataclass(frozen=True)
class Group:
    """A vector operand: its first register, how many registers it takes, the bits of its elements."""

    first: int
    registers: int
    width: int
    partial: bool

    def __str__(self) -> str:
        """Write it as its registers: v8, or v8..v11."""
        return f"v{self.first}" + (f"..v{self.first + self.registers - 1}" if self.registers > 1 else "")

    @property
    def end(self) -> int:
        """The register after the last."""
        return self.first + self.registers


@dataclass
class Setting:
    """What the last VSETVLI set, as the check goes through a Program in order; None where it did not say."""

    width: int | None = None
    length: int | None = None

    def faults(self, instruction: Instruction) -> Iterator[str]:
        """Take over what a VSETVLI sets; yield where another instruction works on something else."""
        if instruction.op == "vsetvli":
            self.width = _WIDTHS.get(str(instruction.sources[0])) if instruction.sources else None
            self.length = instruction.count
        elif instruction.op.startswith("v"):
            width = _SUFFIX.fullmatch(instruction.op)
            if width and self.width not in (None, int(width[1])):
                yield f"works on {width[1]} bits; VSETVLI set e{self.width}"
            if self.length is not None and instruction.count != self.length:
                yield f"works on {instruction.count} lanes; VSETVLI set vl {self.length}"


def length_faults(isa: InstructionSet) -> Iterator[str]:
    """Yield why no core can have vectors of this length."""
    vlen = isa.parameters.get("vlen")
    if vlen is not None and (vlen & (vlen - 1) or not _SHORTEST <= vlen <= _LONGEST):
        yield f"{isa.name}: VLEN {vlen} is no power of two in {_SHORTEST}..{_LONGEST}"


def type_faults(isa: InstructionSet, instruction: Instruction) -> Iterator[str]:
    """Yield the faults of a VSETVLI that names SEW and LMUL, and perhaps vl as its count."""
    if instruction.op != "vsetvli" or not instruction.sources:
        return
    names = [str(source) for source in instruction.sources]
    groups = [name for name, size in _GROUPS.items() if size >= 1 or not isa.whole_groups]
    if isa.whole_groups and _POLICIES.intersection(names):
        yield f"sets {', '.join(names)}; {isa.name} has no policies of tail and mask: lanes beyond vl become zero"
        return
    if len(names) != 2 or names[0] not in _WIDTHS or names[1] not in groups:
        expected = f"SEW, one of {', '.join(_WIDTHS)}, and LMUL, one of {', '.join(groups)}"
        fractional = len(names) == 2 and names[1] in _GROUPS
        yield f"sets {', '.join(names)}; expected {expected}" + (": no fractions of a register" if fractional else "")
        return
    width, group = _WIDTHS[names[0]], _GROUPS[names[1]]
    if width > group * _ELEN:
        yield f"{names[1]} holds elements of at most {int(group * _ELEN)} bits; SEW is {width}"
        return
    vlen = isa.parameters["vlen"]
    most = int(group * vlen / width)
    if instruction.count is not None and not 0 <= instruction.count <= most:
        yield f"vl {instruction.count} is outside 0..{most}, the lanes of {names[0]}, {names[1]} at VLEN {vlen}"


def vector_faults(isa: InstructionSet, instruction: Instruction, meaning: Meaning) -> Iterator[str]:
    """Yield the faults of an instruction's register groups and of its form."""
    if "vlen" not in isa.parameters:
        return
    written, read = operand_elements(instruction, meaning)
    suffix = _SUFFIX.fullmatch(instruction.op)
    unit = int(suffix[1]) if suffix and isa.whole_groups else 0
    target = _group(isa, instruction.destination, meaning.holds or meaning.result, written, unit)
    sources = [
        _group(isa, operand, kind, elements, unit)
        for operand, kind, elements in zip(instruction.sources, meaning.sources, read, strict=True)
    ]
    for group in (target, *sources):
        if group is None:
            continue
        if group.registers > _MOST:
            yield f"{group} are {group.registers} registers; a group has at most {_MOST}"
        elif group.first % group.registers:
            yield f"{group} is no group: {group.registers} registers begin at a multiple of {group.registers}"
    for group in sources:
        if target is not None and group is not None and _clash(target, group, strict=isa.whole_groups):
            yield f"{target} of {target.width}-bit results overlaps {group} of {group.width}-bit elements"
    yield from _form_faults(instruction, meaning)


def _group(isa: InstructionSet, operand: Operand | None, kind: str, elements: int, unit: int) -> Group | None:
    """Return the registers of a vector operand: the smallest group that holds its elements; None for others.

    Where groups are whole, elements of ``unit`` bits (SEW) take a register at least, and wider ones as many more.
    """
    match = re.fullmatch(r"v(\d+)", operand) if isinstance(operand, str) else None
    if match is None:
        return None
    width, vlen = 8 * ELEMENT_BYTES[kind], isa.parameters["vlen"]
    needed = max(-(-elements * width // vlen), width // unit if unit else 1)
    partial = not unit and elements * width * 2 <= vlen
    return Group(int(match[1]), 1 << (needed - 1).bit_length(), width, partial)


def _clash(target: Group, source: Group, *, strict: bool) -> bool:
    """Whether results would overwrite elements of another width before they are read, or ``strict``ly any of them."""
    if target.width == source.width or target.end <= source.first or source.end <= target.first:
        return False
    if strict:
        return True
    if target.width < source.width:
        return target.first != source.first
    return source.partial or source.end != target.end


def _form_faults(instruction: Instruction, meaning: Meaning) -> Iterator[str]:
    """Yield operands that are not what the form of a mnemonic says: vv, vx, vi, wv, wi."""
    match = _FORM.fullmatch(instruction.op)
    if match is None:
        return
    form = match["form"]
    low, high = (0, 31) if meaning.kind in _UNSIGNED else (-16, 15)
    for position, operand in enumerate(instruction.sources):
        last = position == len(instruction.sources) - 1
        if position in meaning.scalar_sources:
            if not (isinstance(operand, str) and operand.startswith("f" if form[1] == "f" else "x")):
                yield f"source {operand!r} must be a scalar register: the form is {form}"
        elif form[1] == "i" and last:
            if not (isinstance(operand, int) and low <= operand <= high):
                yield f"source {operand!r} must be an immediate in {low}..{high}: the form is {form}"
        elif not (isinstance(operand, str) and operand.startswith("v")):
            yield f"source {operand!r} must be a vector register: the form is {form}"
