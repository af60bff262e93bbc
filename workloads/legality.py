"""Whether a Program is legal on its instruction set: every fault with its place, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.isa import ELEMENT_BYTES
from workloads.legality_addresses import address_faults, span
from workloads.legality_vectors import Setting, length_faults, type_faults, vector_faults
from workloads.listing import text
from workloads.program import Address, Instruction, operand_elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workloads.isa import InstructionSet, Meaning
    from workloads.program import Operand, Program, Statement

_EXTENTS = {"copy_block": 2, "fill_block": 2, "matrix_multiply": 3, "requantize_block": 2}  # that must be positive
_SHAPED = {"copy_block": 4, "fill_block": 3, "matrix_multiply": 3, "requantize_block": 2}


def check(program: Program) -> None:
    """Refuse a Program that its instruction set cannot run.

    Raises
    ------
    ValueError
        One line per fault: unknown mnemonic or register, operand out of bounds or misaligned, register group that
        lies wrong, wrong space, buffers beyond their space, repeated loop variable.
    """
    problems = tuple(faults(program))
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"program {program.name!r}: {len(problems)} problem{'s' * (len(problems) > 1)}\n{lines}")


def faults(program: Program) -> Iterator[str]:
    """Yield each fault of a Program as one line."""
    names = [buffer.name for buffer in program.buffers]
    yield from (
        f"buffer {name!r} is declared more than once" for name in sorted({n for n in names if names.count(n) > 1})
    )
    for buffer in program.buffers:
        if buffer.space not in program.isa.spaces:
            known = ", ".join(program.isa.spaces)
            yield f"buffer {buffer.name!r}: {program.isa.name} has no space {buffer.space!r}; known: {known}"
        if buffer.copies < 1:
            yield f"buffer {buffer.name!r} has {buffer.copies} copies; at least 1 expected"
    yield from overflows(program, program.isa.parameters)
    yield from length_faults(program.isa)
    yield from _body(program, program.body, {}, "body", Setting())


def overflows(program: Program, sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield each space whose buffers, all copies counted, exceed its size, ``<space>_bytes`` in ``sizes``."""
    for space in program.isa.spaces:
        held = [buffer for buffer in program.buffers if buffer.space == space]
        taken, size = sum(buffer.copies * buffer.bytes for buffer in held), sizes.get(f"{space}_bytes")
        if size is not None and taken > size:
            parts = ", ".join(f"{buffer.name!r} {buffer.copies} x {buffer.bytes}" for buffer in held)
            yield f"space {space!r} has {size} bytes; its buffers take {taken}: {parts}"


def _body(
    program: Program, body: tuple[Statement, ...], trips: Mapping[str, int], place: str, setting: Setting
) -> Iterator[str]:
    """Yield the faults of statements inside loops of the given trip counts."""
    around = f" ({', '.join(f'{name} 0..{count - 1}' for name, count in trips.items())})" if trips else ""
    for number, statement in enumerate(body):
        here = f"{place}[{number}]"
        if isinstance(statement, Instruction):
            types = setting.faults(statement) if "vlen" in program.isa.parameters else ()
            for fault in (*_instruction(program, statement, trips), *types):
                yield f"{here}{around} {' '.join(text(statement).split())}: {fault}"
            continue
        if statement.variable in trips:
            yield f"{here}: loop variable {statement.variable!r} is already used by a loop around it"
        if statement.trips < 0:
            yield f"{here}: loop {statement.variable!r} has {statement.trips} trips; at least 0 expected"
        if statement.trips > 0:
            yield from _body(program, statement.body, {**trips, statement.variable: statement.trips}, here, setting)


def _instruction(program: Program, instruction: Instruction, trips: Mapping[str, int]) -> Iterator[str]:
    """Yield the faults of one instruction."""
    isa = program.isa
    try:
        meaning = isa.meaning(instruction.op)
    except ValueError as error:
        yield str(error)
        return
    if meaning.kind == "control":
        yield from type_faults(isa, instruction)
        return
    if instruction.destination is None:
        yield "has no destination"
    extents = _SHAPED.get(meaning.kind, 0)
    if len(instruction.shape) < extents:
        yield f"shape {instruction.shape} has {len(instruction.shape)} extents; {meaning.kind} needs {extents}"
        return
    if any(extent < 0 for extent in instruction.shape):
        yield f"shape {instruction.shape} has an extent, stride or index below 0"
        return
    if 0 in instruction.shape[: _EXTENTS.get(meaning.kind, 0)]:
        yield f"shape {instruction.shape} has an extent of 0"
        return
    if len(instruction.sources) != len(meaning.sources):
        yield f"has {len(instruction.sources)} sources; {len(meaning.sources)} expected"
        return
    lanes = len(meaning.sources) * meaning.lanes
    picked = instruction.shape or meaning.indices
    if meaning.kind == "permute" and any(not 0 <= index < lanes for index in picked):
        yield f"permutes lanes {picked} of {lanes}"
    if meaning.kind == "gather" and not isinstance(instruction.sources[0], Address):
        yield f"looks up {instruction.sources[0]!r}; an address expected"
    registers = isinstance(instruction.destination, str)
    count = meaning.lanes if instruction.count is None else instruction.count
    if count < 1 or (registers and count > meaning.lanes):
        yield f"count {count} is outside 1..{meaning.lanes} lanes"
    if count < 1:
        return
    if isa.load_store:
        yield from _places(isa, instruction, meaning)
    for position, (operand, kind, nbytes) in enumerate(_operands(instruction, meaning)):
        space = meaning.spaces[position] if position < len(meaning.spaces) else ""
        yield from _operand(program, operand, kind, nbytes, trips, space, meaning.align)
    yield from vector_faults(isa, instruction, meaning)


def _places(isa: InstructionSet, instruction: Instruction, meaning: Meaning) -> Iterator[str]:
    """Yield the operands that lie in memory, or do not, against the rule that only loads and stores reach it."""
    loads, stores = meaning.kind in ("load", "broadcast_load", "gather"), meaning.kind == "store"
    read = (("reads", one, loads and place == 0) for place, one in enumerate(instruction.sources))
    operands = (("writes", instruction.destination, stores), *read)
    for verb, operand, expected in operands:
        if operand is not None and isinstance(operand, Address) != expected:
            found, other = ("memory", "no memory") if isinstance(operand, Address) else ("no memory", "memory")
            yield f"{verb} {found}; a {meaning.kind} {verb} {other} on {isa.name}"


def _operands(instruction: Instruction, meaning: Meaning) -> Iterator[tuple[Operand, str, int]]:
    """Yield (operand, element type, bytes from its first to its last) of destination and sources."""
    written, read = operand_elements(instruction, meaning)
    held = meaning.holds or meaning.result
    if instruction.destination is not None:
        kind = meaning.result if isinstance(instruction.destination, Address) else held
        yield instruction.destination, kind, span(instruction, meaning, "destination", written, ELEMENT_BYTES[kind])
    for position, (operand, kind, elements) in enumerate(zip(instruction.sources, meaning.sources, read, strict=True)):
        yield operand, kind, span(instruction, meaning, f"source {position}", elements, ELEMENT_BYTES[kind])


def _operand(
    program: Program, operand: Operand, kind: str, nbytes: int, trips: Mapping[str, int], space: str, align: int
) -> Iterator[str]:
    """Yield the faults of one operand that touches ``nbytes`` from its first byte on."""
    if isinstance(operand, str):
        try:
            start, _, end = program.isa.register(operand)
        except ValueError as error:
            yield str(error)
            return
        if start + nbytes > end:
            yield f"{operand!r} with {nbytes} bytes reaches beyond the last register"
        return
    if not isinstance(operand, Address):
        if not isinstance(operand, int | float):
            yield f"operand {operand!r} is neither a register, a number nor an address"
        return
    buffer = next((item for item in program.buffers if item.name == operand.buffer), None)
    if buffer is None:
        yield f"there is no buffer {operand.buffer!r}"
        return
    if space and buffer.space != space:
        yield f"{operand.buffer!r} lies in space {buffer.space!r}; {space!r} expected"
    yield from address_faults(buffer, operand, kind, nbytes, trips, align)
