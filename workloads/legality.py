"""Whether a Program is legal on its instruction set: every fault with its place, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.isa import ELEMENT_BYTES
from workloads.program import Address, Instruction, operand_elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workloads.isa import Meaning
    from workloads.program import Buffer, Operand, Program, Statement

_SHAPED = {"copy_block": 4, "fill_block": 3, "matrix_multiply": 3, "requantize_block": 2}


def check(program: Program) -> None:
    """Refuse a Program that its instruction set cannot run.

    Raises
    ------
    ValueError
        One line per fault: unknown mnemonic or register, operand out of bounds, wrong space, repeated loop variable.
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
    yield from _body(program, program.body, {}, "body")


def overflows(program: Program, sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield each space whose buffers, all copies counted, exceed its size, ``<space>_bytes`` in ``sizes``."""
    for space in program.isa.spaces:
        held = [buffer for buffer in program.buffers if buffer.space == space]
        taken, size = sum(buffer.copies * buffer.bytes for buffer in held), sizes.get(f"{space}_bytes")
        if size is not None and taken > size:
            parts = ", ".join(f"{buffer.name!r} {buffer.copies} x {buffer.bytes}" for buffer in held)
            yield f"space {space!r} has {size} bytes; its buffers take {taken}: {parts}"


def _body(program: Program, body: tuple[Statement, ...], trips: Mapping[str, int], place: str) -> Iterator[str]:
    """Yield the faults of statements inside loops of the given trip counts."""
    for number, statement in enumerate(body):
        here = f"{place}[{number}]"
        if isinstance(statement, Instruction):
            text = f"{here} {statement.op}"
            yield from (f"{text}: {fault}" for fault in _instruction(program, statement, trips))
            continue
        if statement.variable in trips:
            yield f"{here}: loop variable {statement.variable!r} is already used by a loop around it"
        if statement.trips < 0:
            yield f"{here}: loop {statement.variable!r} has {statement.trips} trips; at least 0 expected"
        if statement.trips > 0:
            yield from _body(program, statement.body, {**trips, statement.variable: statement.trips}, here)


def _instruction(program: Program, instruction: Instruction, trips: Mapping[str, int]) -> Iterator[str]:
    """Yield the faults of one instruction."""
    try:
        meaning = program.isa.meaning(instruction.op)
    except ValueError as error:
        yield str(error)
        return
    if meaning.kind == "control":
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
    lanes = len(meaning.sources) * meaning.lanes
    if meaning.kind == "permute" and any(index >= lanes for index in instruction.shape or meaning.indices):
        yield f"permutes lanes {instruction.shape or meaning.indices} of {lanes}"
    if len(instruction.sources) != len(meaning.sources):
        yield f"has {len(instruction.sources)} sources; {len(meaning.sources)} expected"
        return
    if meaning.kind == "gather" and not isinstance(instruction.sources[0], Address):
        yield f"looks up {instruction.sources[0]!r}; an address expected"
    registers = isinstance(instruction.destination, str)
    count = meaning.lanes if instruction.count is None else instruction.count
    if count < 1 or (registers and count > meaning.lanes):
        yield f"count {count} is outside 1..{meaning.lanes} lanes"
    for position, (operand, kind, nbytes) in enumerate(_operands(instruction, meaning)):
        space = meaning.spaces[position] if position < len(meaning.spaces) else ""
        yield from _operand(program, operand, kind, nbytes, trips, space)


def _operands(instruction: Instruction, meaning: Meaning) -> Iterator[tuple[Operand, str, int]]:
    """Yield (operand, element type, bytes from its first to its last) of destination and sources."""
    written, read = operand_elements(instruction, meaning)
    shape = instruction.shape
    held = meaning.holds or meaning.result
    if instruction.destination is not None:
        yield instruction.destination, held, _span(meaning, "destination", shape, written, ELEMENT_BYTES[held])
    for position, (operand, kind, elements) in enumerate(zip(instruction.sources, meaning.sources, read, strict=True)):
        size = ELEMENT_BYTES[kind]
        span = _span(meaning, f"source {position}", shape, elements, size)
        if meaning.kind == "extend":
            span = (meaning.start + (elements - 1) * meaning.step + 1) * size
        yield operand, kind, span


def _span(meaning: Meaning, role: str, shape: tuple[int, ...], elements: int, size: int) -> int:
    """Return the bytes from the first to the last that an operand touches."""
    match meaning.kind, role:
        case ("load", "source 0") | ("store", "destination") if shape:
            return (elements - 1) * shape[0] + size
        case "copy_block", _:
            return (shape[0] - 1) * shape[2 if role == "source 0" else 3] + shape[1] * size
        case "requantize_block", "destination" | "source 0" if len(shape) >= 4:
            return (shape[0] - 1) * shape[2 if role == "source 0" else 3] + shape[1] * size
        case "gather", "source 0":  # where the others lie is known when it runs
            return size
        case "fill_block", "destination":
            return (shape[0] - 1) * shape[2] + shape[1] * size
        case "requantize_block", "destination" | "source 0" if len(shape) >= 4:
            return (shape[0] - 1) * shape[2 if role == "source 0" else 3] + shape[1] * size
        case "matrix_multiply", _ if len(shape) >= 6:
            rows, row = {"source 0": (shape[0], shape[1]), "source 1": (shape[2], shape[1])}.get(
                role, (shape[0], 4 * shape[2])
            )
            return (rows - 1) * shape[{"source 0": 3, "source 1": 4}.get(role, 5)] + row
    return elements * size


def _operand(
    program: Program, operand: Operand, kind: str, nbytes: int, trips: Mapping[str, int], space: str
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
    yield from _bounds(buffer, operand, kind, nbytes, trips)


def _bounds(buffer: Buffer, address: Address, kind: str, nbytes: int, trips: Mapping[str, int]) -> Iterator[str]:
    """Yield the faults of an address: unknown variables, bytes outside the buffer, unaligned floats."""
    low = high = address.offset
    for variable, stride in address.strides:
        if variable not in trips:
            yield f"address in {buffer.name!r} moves with {variable!r}, which no loop around it counts"
            continue
        reach = stride * (trips[variable] - 1)
        low, high = low + min(reach, 0), high + max(reach, 0)
    if low < 0 or high + nbytes > buffer.bytes:
        yield f"touches bytes {low}..{high + nbytes} of {buffer.name!r}, which has {buffer.bytes}"
    size = ELEMENT_BYTES[kind]
    if kind[0] == "f" and any(part % size for part in (address.offset, *(stride for _, stride in address.strides))):
        yield f"float operand in {buffer.name!r} is not always aligned to {size} bytes"
