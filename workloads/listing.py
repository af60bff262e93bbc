"""A Program as text: buffers, loops and instructions, readable like assembly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.options import DEFAULT
from workloads.program import Address, Instruction, Loop, count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.program import Operand, Program, Statement

_INDENT = "    "


def listing(program: Program, *, counts: bool = True) -> str:
    """Return a Program as text.

    Parameters
    ----------
    counts
        Close with what one run executes: instructions, and bytes per memory space.
    """
    lines = [f"; {line}" for line in heading(program)]
    width = max((len(buffer.name) for buffer in program.buffers), default=0)
    for buffer in program.buffers:
        copies = f"  {buffer.copies} copies" if buffer.copies > 1 else ""
        lines.append(f".buffer {buffer.name:<{width}}  {buffer.bytes} B  {buffer.space}  {buffer.role}{copies}")
    lines += _body(program.body, "")
    if counts:
        lines += _totals(program)
    return "\n".join(lines) + "\n"


def heading(program: Program) -> list[str]:
    """Return what a Program is, as lines: its set and profile, its generator's options, its notes."""
    parameters = "".join(f", {name} {value}" for name, value in program.isa.parameters.items())
    lines = [f"{program.name} for {program.isa.title}{parameters}, profile {program.profile}, {program.macs} MAC"]
    lines += [f"options: {program.options}"] if program.options != DEFAULT else []
    notes = (f"{key}: {value}".splitlines() for key, value in program.notes.items())
    return [*lines, *(line for note in notes for line in note)]


def _body(body: tuple[Statement, ...], indent: str) -> Iterator[str]:
    """Yield the lines of statements at one depth."""
    for statement in body:
        if isinstance(statement, Loop):
            yield f"{indent}loop {statement.variable} = 0..{statement.trips - 1}:"
            yield from _body(statement.body, indent + _INDENT)
        else:
            yield indent + text(statement)


def text(instruction: Instruction) -> str:
    """Return one instruction as text: mnemonic, destination, sources, active lanes and shape."""
    operands = [operand(each) for each in (instruction.destination, *instruction.sources) if each is not None]
    line = f"{instruction.op:<12} {', '.join(operands)}".rstrip()
    if instruction.count is not None:
        line += f"  lanes={instruction.count}"
    if instruction.shape:
        line += f"  shape={'x'.join(str(extent) for extent in instruction.shape)}"
    return line


def operand(value: Operand) -> str:
    """Return an operand as text: a register, #immediate, or [buffer + offset + stride*variable]."""
    if isinstance(value, Address):
        terms = [value.buffer]
        if value.offset:
            terms.append(str(value.offset))
        for variable, stride in value.strides:
            terms.append(f"{stride}*{variable}" if stride != 1 else variable)
        return f"[{' + '.join(terms)}]".replace("+ -", "- ")
    return value if isinstance(value, str) else f"#{value}"


def _totals(program: Program) -> Iterator[str]:
    """Yield what one run executes."""
    counts = count(program)
    yield f"; {counts.total_instructions} instructions: " + ", ".join(
        f"{mnemonic} {times}" for mnemonic, times in sorted(counts.instructions.items())
    )
    for direction, moved in (("loaded from", counts.loaded_bytes), ("stored to", counts.stored_bytes)):
        for space, nbytes in sorted(moved.items()):
            yield f"; {nbytes} B {direction} {space}"
