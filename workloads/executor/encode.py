"""Encodes a Program into the flat arrays that the compiled interpreter runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.executor import codes as k
from workloads.executor.rows import BYTES, Place, general_row, plain_row, specialize
from workloads.isa import ELEMENT_BYTES
from workloads.program import Address, Instruction, Operand, Program, Statement, operand_elements, walk

if TYPE_CHECKING:
    from workloads.isa import Meaning
    from workloads.tensor import Array

ALIGNMENT = 64
Moves = dict[str, list[tuple[int, int, int]]]
_FLOATS: dict[str, type[np.generic]] = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
_STAGING_BYTES = 4096  # room to copy a source that a lane-wise write would overwrite; a few vector groups
_CROSSING = frozenset(
    {k.DOT, k.REDUCE_ADD, k.REDUCE_MAXIMUM, k.HORIZONTAL_ADD, k.PERMUTE, k.LOOKUP}
)  # a lane reads other lanes


@dataclass(frozen=True)
class Counted:
    """An instruction, and what one execution moves: (space, bytes, is_store).

    ``loop`` is the row that closes the loop directly around it, -1 outside all loops.
    """

    mnemonic: str
    loop: int
    traffic: tuple[tuple[str, int, bool], ...]


@dataclass
class Code:
    """The encoded Program, and what its instructions count for; addresses count from the arena's first byte."""

    arena_bytes: int = 0
    staging: int = 0
    places: dict[str, int] = field(default_factory=dict)  # buffer -> first byte
    rows: list[list[int]] = field(default_factory=list)
    moves: list[tuple[int, int, int]] = field(default_factory=list)  # (row, column, bytes per trip)
    constants: dict[tuple[str, float], int] = field(default_factory=dict)
    tables: dict[tuple[int, ...], int] = field(default_factory=dict)  # lane indices of permutations
    counted: list[Counted] = field(default_factory=list)

    def arrays(self, arena: int) -> tuple[Array, Array]:
        """Return (rows, moves) as the interpreter takes them, with the addresses of an arena and of themselves."""
        rows = np.array(self.rows, np.int64).reshape(-1, k.COLUMNS)
        moves = np.array(self.moves, np.int64).reshape(-1, 3)
        ends = rows[:, k.OPCODE] == k.END_LOOP
        rows[~ends, k.AT_D : k.AT_C + 1] += arena
        rows[rows[:, k.OPCODE] == k.GATHER, k.X0 : k.X1 + 1] += arena
        rows[ends, k.TARGET] = rows.ctypes.data + rows[ends, k.TARGET] * rows.strides[0]
        addressed = moves[:, 1:].copy()  # one row of a view counts as contiguous, with the strides of three columns
        addressed[:, 0] = rows.ctypes.data + moves[:, 0] * rows.strides[0] + moves[:, 1] * rows.itemsize
        for column in (k.FIRST_MOVE, k.LAST_MOVE):
            rows[ends, column] = addressed.ctypes.data + rows[ends, column] * addressed.strides[0]
        return rows, addressed

    def fill_constants(self, arena: Array) -> None:
        """Write the immediates into the arena."""
        for (kind, value), at in self.constants.items():
            dtype = _FLOATS.get(kind, np.int64)
            raw = np.array([value], dtype).view(np.uint8)
            arena[at : at + raw.size] = raw
        for table, at in self.tables.items():
            raw = np.array(table, np.int64).view(np.uint8)
            arena[at : at + raw.size] = raw


def encode(program: Program) -> Code:
    """Encode a legal Program."""
    code = Code(staging=program.isa.register_file_bytes)
    at = code.staging + 3 * _STAGING_BYTES
    constants, tables = _immediates(program)
    for constant in constants:
        code.constants[constant] = at
        at += 8
    for table in tables:
        code.tables[table] = at
        at += 8 * len(table)
    for buffer in program.buffers:
        at = -(-at // ALIGNMENT) * ALIGNMENT
        code.places[buffer.name] = at
        at += buffer.bytes
    code.arena_bytes = -(-at // ALIGNMENT) * ALIGNMENT
    _body(code, program, program.body, {})
    return code


def _immediates(program: Program) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[int, ...], ...]]:
    """Return the immediates and the index tables of a Program, each once."""
    constants = {_constant("s64", 0): None}
    tables: dict[tuple[int, ...], None] = {}
    for instruction, _ in walk(program.body):
        meaning = program.isa.meaning(instruction.op)
        for operand, kind in zip(instruction.sources, meaning.sources, strict=False):
            if isinstance(operand, int | float):
                constants[_constant(kind, operand)] = None
        if meaning.kind == "permute":
            tables[instruction.shape or meaning.indices] = None
    return tuple(constants), tuple(tables)


def _constant(kind: str, value: float) -> tuple[str, float]:
    """Return the key of an immediate: integers of all types share a 64-bit pattern."""
    return (kind, float(value)) if kind[0] == "f" else ("s64", int(value))


def _body(code: Code, program: Program, body: tuple[Statement, ...], moves: Moves) -> None:
    """Encode statements; ``moves`` collects, per open loop variable, which operands it moves and by how much."""
    for statement in body:
        if isinstance(statement, Instruction):
            _instruction(code, program, statement, moves)
            continue
        if statement.trips == 0:
            continue
        target, inside, own = len(code.rows), len(code.counted), {**moves, statement.variable: []}
        _body(code, program, statement.body, own)
        row = [0] * k.COLUMNS
        row[k.OPCODE], row[k.TARGET], row[k.TRIPS] = k.END_LOOP, target, statement.trips
        row[k.FIRST_MOVE] = len(code.moves)
        code.moves += own[statement.variable]
        row[k.LAST_MOVE] = len(code.moves)
        for number, counted in enumerate(code.counted[inside:], inside):
            if counted.loop < 0:
                code.counted[number] = replace(counted, loop=len(code.rows))
        code.rows.append(row)


def _emit(code: Code, row: list[int], places: tuple[Place, ...], moves: Moves) -> None:
    """Append one row with its operands' first addresses and their moves."""
    number = len(code.rows)
    code.rows.append(row)
    for operand, place in enumerate(places):
        row[k.AT_D + operand] = place.at
        for variable, stride in place.strides:
            moves[variable].append((number, k.AT_D + operand, stride))


def _place(code: Code, program: Program, operand: Operand, kind: str, step: int) -> Place:
    """Locate an operand in the arena."""
    if isinstance(operand, Address):
        space = program.buffer(operand.buffer).space
        return Place(code.places[operand.buffer] + operand.offset, operand.strides, kind, step, space)
    if isinstance(operand, str):
        return Place(program.isa.register(operand)[0], (), kind, step)
    return Place(code.constants[_constant(kind, operand)], (), kind, 0)


def _sources(code: Code, program: Program, instruction: Instruction, meaning: Meaning) -> list[Place]:
    """Locate the sources, with the bytes from lane to lane that the meaning gives them."""
    found = []
    for position, (operand, kind) in enumerate(zip(instruction.sources, meaning.sources, strict=False)):
        size = ELEMENT_BYTES[kind]
        scalar = position in meaning.scalar_sources or meaning.kind in ("broadcast", "broadcast_load", "immediate")
        step = 0 if scalar else size * meaning.step
        if meaning.kind == "load" and instruction.shape:
            step = instruction.shape[0]
        place = _place(code, program, operand, kind, step)
        if meaning.kind == "extend":
            place = Place(place.at + meaning.start * size, place.strides, kind, place.step, place.space)
        found.append(place)
    return found


def _instruction(code: Code, program: Program, instruction: Instruction, moves: Moves) -> None:
    """Encode one instruction and the hidden rows around it (staging of overwritten sources, zeroing)."""
    meaning = program.isa.meaning(instruction.op)
    if meaning.kind == "control":
        code.counted.append(Counted(instruction.op, -1, ()))
        return
    lanes = instruction.count or meaning.lanes
    held = meaning.holds or meaning.result
    sources = _sources(code, program, instruction, meaning)
    step = instruction.shape[0] if meaning.kind == "store" and instruction.shape else ELEMENT_BYTES[held]
    if instruction.destination is None:
        raise ValueError(f"{instruction.op} needs a destination")
    destination = _place(code, program, instruction.destination, held, step)
    if meaning.accumulate and meaning.kind != "matrix_multiply":
        missing = 2 - len(sources)
        sources += [_place(code, program, 0, "s64", 0)] * missing
        sources.append(Place(destination.at, destination.strides, meaning.result, destination.step))
    if meaning.kind == "permute":
        indices = code.tables[instruction.shape or meaning.indices]
        sources = [sources[0], sources[-1], Place(indices, (), "s64", ELEMENT_BYTES["s64"])]
    row = general_row(meaning, lanes, destination, sources, instruction)
    if meaning.kind == "gather" and isinstance(instruction.sources[0], Address):
        table = instruction.sources[0].buffer
        row[k.X0], row[k.X1] = code.places[table], code.places[table] + program.buffer(table).bytes
        row[k.STEP_A] = meaning.unit or row[k.STEP_A]
    code.counted.append(Counted(instruction.op, -1, _traffic(instruction, meaning, destination, sources)))
    sources = _stage(code, row, destination, sources, lanes, meaning)
    specialize(row, meaning, destination, sources, instruction.shape or meaning.indices)
    _emit(code, row, (destination, *sources), moves)
    if meaning.zeroing and isinstance(instruction.destination, str):
        first, size, _ = program.isa.register(instruction.destination)
        active = operand_elements(instruction, meaning)[0] * ELEMENT_BYTES[held]
        size <<= (max(-(-active // size), 1) - 1).bit_length()  # of the group of registers
        if size > active:
            zero = _place(code, program, 0, "s64", 0)
            beyond = Place(first + active, (), "s8", 1)
            _emit(code, plain_row(k.COPY, size - active, "s8", 0), (beyond, zero), {})


def _traffic(
    instruction: Instruction, meaning: Meaning, destination: Place, sources: list[Place]
) -> tuple[tuple[str, int, bool], ...]:
    """Return (space, bytes, is_store) of each memory operand of one execution."""
    written, read = operand_elements(instruction, meaning)
    found = [(destination.space, written * ELEMENT_BYTES[meaning.result], True)] if destination.space else []
    found += [
        (place.space, elements * ELEMENT_BYTES[place.kind], False)
        for place, elements in zip(sources, read, strict=False)
        if place.space
    ]
    return tuple(found)


def _stage(
    code: Code, row: list[int], destination: Place, sources: list[Place], lanes: int, meaning: Meaning
) -> list[Place]:
    """Copy register sources that an earlier lane's write would overwrite, and return where they lie now."""
    if lanes == 1 or destination.space or row[k.OPCODE] >= k.COPY_BLOCK:
        return sources
    start, end = destination.at, destination.at + lanes * destination.step
    staged = []
    for position, place in enumerate(sources):
        elements = lanes * meaning.group if meaning.kind == "dot" and position < 2 else lanes
        size = (elements - 1) * place.step + ELEMENT_BYTES[place.kind]
        lane_by_lane = row[k.OPCODE] not in _CROSSING or position == 2
        safe = lane_by_lane and place.at >= start and place.step >= destination.step
        if safe or place.space or place.at >= end or place.at + size <= start:
            staged.append(place)
            continue
        at = code.staging + position * _STAGING_BYTES
        target = Place(at, (), "s8", 1)
        copy = plain_row(k.COPY, size, "s8", 1)
        specialize(copy, BYTES, target, [replace(place, kind="s8", step=1)])
        _emit(code, copy, (target, place), {})
        staged.append(replace(place, at=at))
    return staged
