"""Encodes a Program into the flat arrays that the compiled interpreter runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.executor import codes as k
from workloads.isa import ELEMENT_BYTES, Meaning
from workloads.program import Address, Instruction, Operand, Program, Statement, operand_elements, walk

if TYPE_CHECKING:
    from workloads.tensor import Array

ALIGNMENT = 64
_STAGING_BYTES = 4096  # room to copy a source that a lane-wise write would overwrite; a few vector groups
_TYPES = {"s8": k.S8, "u8": k.U8, "s16": k.S16, "u16": k.U16, "s32": k.S32, "u32": k.U32, "s64": k.S64, "u64": k.U64,
          "f16": k.F16, "f32": k.F32}  # fmt: skip
_OPCODES = {
    "load": k.COPY, "store": k.COPY, "move": k.COPY, "immediate": k.COPY, "broadcast": k.COPY, "broadcast_load": k.COPY,
    "extend": k.COPY, "narrow": k.COPY, "add": k.ADD, "subtract": k.SUBTRACT, "multiply": k.MULTIPLY,
    "multiply_add": k.MULTIPLY_ADD, "multiply_high": k.MULTIPLY_HIGH, "minimum": k.MINIMUM, "maximum": k.MAXIMUM,
    "and": k.AND, "or": k.OR, "xor": k.XOR, "shift_left": k.SHIFT_LEFT, "shift_right": k.SHIFT_RIGHT,
    "select": k.SELECT, "less_than": k.LESS_THAN, "divide": k.DIVIDE, "count_leading_zeros": k.CLZ, "dot": k.DOT,
    "reduce_add": k.REDUCE_ADD, "horizontal_add": k.HORIZONTAL_ADD, "permute": k.PERMUTE, "copy_block": k.COPY_BLOCK,
    "fill_block": k.FILL_BLOCK, "matrix_multiply": k.MATRIX_MULTIPLY, "requantize_block": k.REQUANTIZE_BLOCK,
}  # fmt: skip
KINDS = frozenset({*_OPCODES, "convert", "control"})
_CROSSING = frozenset({k.DOT, k.REDUCE_ADD, k.HORIZONTAL_ADD, k.PERMUTE})  # a lane reads other lanes


@dataclass(frozen=True)
class Place:
    """Where an operand lies in the arena: first byte, bytes moved per loop variable, element type, bytes per lane."""

    at: int
    strides: tuple[tuple[str, int], ...]
    kind: str
    step: int
    space: str = ""  # of memory; empty for registers and constants


@dataclass
class Code:
    """The encoded Program, and what its rows count for."""

    arena_bytes: int = 0
    staging: int = 0
    places: dict[str, int] = field(default_factory=dict)  # buffer -> first byte
    rows: list[list[int]] = field(default_factory=list)
    at: list[list[int]] = field(default_factory=list)
    increments: list[tuple[int, int, int]] = field(default_factory=list)
    loops: int = 0
    constants: dict[tuple[str, float], int] = field(default_factory=dict)
    tables: dict[tuple[int, ...], int] = field(default_factory=dict)  # lane indices of permutations
    mnemonics: list[str] = field(default_factory=list)  # "" for rows that are no instruction
    traffic: list[tuple[tuple[str, int, bool], ...]] = field(default_factory=list)  # (space, bytes, is_store)

    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """Return (code, at, increments, counters) as the interpreter takes them."""
        return (
            np.array(self.rows, np.int64).reshape(-1, k.COLUMNS),
            np.array(self.at, np.int64).reshape(-1, 4),
            np.array(self.increments, np.int64).reshape(-1, 3),
            np.zeros(self.loops, np.int64),
        )

    def fill_constants(self, arena: Array) -> None:
        """Write the immediates into the arena."""
        for (kind, value), at in self.constants.items():
            dtype = np.float32 if kind == "f32" else np.float16 if kind == "f16" else np.int64
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
    return (kind, float(value)) if kind in ("f16", "f32") else ("s64", int(value))


def _body(
    code: Code, program: Program, body: tuple[Statement, ...], moves: dict[str, list[tuple[int, int, int]]]
) -> None:
    """Encode statements; ``moves`` collects, per open loop variable, which operands it moves and by how much."""
    for statement in body:
        if isinstance(statement, Instruction):
            _instruction(code, program, statement, moves)
            continue
        if statement.trips == 0:
            continue
        target, own = len(code.rows), {**moves, statement.variable: []}
        _body(code, program, statement.body, own)
        first = len(code.increments)
        code.increments += own[statement.variable]
        row = [0] * k.COLUMNS
        row[k.OPCODE], row[k.X0], row[k.X1], row[k.X2] = k.END_LOOP, target, statement.trips, code.loops
        row[k.X3], row[k.X4] = first, len(code.increments)
        code.loops += 1
        _emit(code, row, (), {})


def _emit(
    code: Code, row: list[int], places: tuple[Place, ...], moves: dict[str, list[tuple[int, int, int]]],
    mnemonic: str = "", traffic: tuple[tuple[str, int, bool], ...] = (),
) -> None:  # fmt: skip
    """Append one row with its operands' first addresses and their moves."""
    number = len(code.rows)
    code.rows.append(row)
    code.at.append(([place.at for place in places] + [0] * 4)[:4])
    code.mnemonics.append(mnemonic)
    code.traffic.append(traffic)
    for operand, place in enumerate(places):
        for variable, stride in place.strides:
            moves[variable].append((number, operand, stride))


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


def _instruction(
    code: Code, program: Program, instruction: Instruction, moves: dict[str, list[tuple[int, int, int]]]
) -> None:
    """Encode one instruction and the hidden rows around it (staging of overwritten sources, zeroing)."""
    meaning = program.isa.meaning(instruction.op)
    if meaning.kind == "control":
        row = [0] * k.COLUMNS
        _emit(code, row, (), {}, instruction.op)
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
        table = code.tables[instruction.shape or meaning.indices]
        sources = [sources[0], sources[-1], Place(table, (), "s64", ELEMENT_BYTES["s64"])]
    row = _row(meaning, lanes, destination, sources, instruction)
    traffic = _traffic(instruction, meaning, destination, sources)
    sources = _stage(code, row, destination, sources, lanes, meaning)
    sources = _fast(code, row, meaning.result, destination, sources)
    _emit(code, row, (destination, *sources), moves, instruction.op, traffic)
    if meaning.zeroing and isinstance(instruction.destination, str):
        first, size, _ = program.isa.register(instruction.destination)
        active = operand_elements(instruction, meaning)[0] * ELEMENT_BYTES[held]
        zero = _place(code, program, 0, "s64", 0)
        _emit(code, _plain(k.COPY, max(size - active, 0), "u8", 0), (Place(first + active, (), "u8", 1), zero), {})


def _plain(opcode: int, lanes: int, kind: str, step: int) -> list[int]:
    """Return a row that copies ``lanes`` elements of one type."""
    row = [0] * k.COLUMNS
    size = ELEMENT_BYTES[kind]
    for column, value in ((k.OPCODE, opcode), (k.LANES, lanes), (k.RESULT, _TYPES[kind]), (k.HELD, _TYPES[kind]),
                          (k.TYPE_A, _TYPES[kind]), (k.STEP_D, size), (k.STEP_A, step), (k.SOURCES, 1)):  # fmt: skip
        row[column] = value
    return row


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


def _opcode(meaning: Meaning) -> tuple[int, int]:
    """Return the general opcode of a meaning, and the inner opcode of a float operation."""
    if meaning.kind == "convert":
        return (k.TO_FLOAT if meaning.result in ("f16", "f32") else k.TO_INTEGER), k.COPY
    opcode = _OPCODES[meaning.kind]
    if meaning.kind == "narrow" and len(meaning.sources) > 1:
        opcode = k.SHIFT_RIGHT
    moved = meaning.kind in (
        "load",
        "store",
        "move",
        "immediate",
        "broadcast",
        "broadcast_load",
        "permute",
        "copy_block",
        "fill_block",
    )
    if meaning.result in ("f16", "f32") and not moved:
        return k.FLOAT, opcode
    return opcode, opcode


def _row(meaning: Meaning, lanes: int, destination: Place, sources: list[Place], instruction: Instruction) -> list[int]:
    """Fill the columns of the general form of an instruction."""
    row = [0] * k.COLUMNS
    row[k.OPCODE], row[k.INNER] = _opcode(meaning)
    row[k.LANES], row[k.GROUP], row[k.SHIFT] = lanes, meaning.group, meaning.shift
    row[k.RESULT], row[k.HELD] = _TYPES[meaning.result], _TYPES[destination.kind]
    row[k.STEP_D], row[k.SOURCES] = destination.step, len(sources)
    for position, place in enumerate(sources[:3]):
        row[k.TYPE_A + position], row[k.STEP_A + position] = _TYPES[place.kind], place.step
    row[k.ROUND] = {"none": 0, "up": 1}[meaning.rounding]
    row[k.SATURATE] = int(meaning.saturate or meaning.kind == "narrow")
    row[k.LOW], row[k.HIGH] = _limits(meaning.result)
    _blocks(row, meaning, instruction)
    return row


def _limits(kind: str) -> tuple[int, int]:
    """Return the smallest and largest value of an integer type (of u64: as far as int64 holds)."""
    if kind[0] == "f":
        return 0, 0
    bits = 8 * ELEMENT_BYTES[kind]
    return (0, min(2**bits, 2**63) - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _blocks(row: list[int], meaning: Meaning, instruction: Instruction) -> None:
    """Fill the extents and strides of block instructions and the lanes that a permutation's indices count."""
    shape, size = instruction.shape, ELEMENT_BYTES[meaning.result]
    match meaning.kind:
        case "copy_block":
            row[k.X0 : k.X4] = [shape[0], shape[1] * size, shape[2], shape[3]]
        case "fill_block":
            row[k.X0 : k.X3] = [shape[0], shape[1], shape[2]]
        case "requantize_block":
            pitches = shape[2:4] or (4 * shape[1], shape[1])
            row[k.X0 : k.X4] = [shape[0], shape[1], *pitches]
        case "matrix_multiply":
            m, depth, n = shape[:3]
            pitches = shape[3:6] or (depth, depth, 4 * n)
            row[k.X0 : k.X5 + 1] = [m, depth, n, *pitches]
            row[k.SOURCES] = 3 if meaning.accumulate else 2
        case "permute":
            row[k.X1] = meaning.lanes


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
        safe = lane_by_lane and place.at == start and place.step == destination.step
        if safe or place.space or place.at >= end or place.at + size <= start:
            staged.append(place)
            continue
        at = code.staging + position * _STAGING_BYTES
        copy = _plain(k.COPY_BYTES, size, "u8", 1)
        _emit(code, copy, (Place(at, (), "u8", 1), place), {})
        staged.append(replace(place, at=at))
    return staged


_FAST = {  # (opcode, result, held, types of the first two sources) -> opcode; products also add a third source
    (k.ADD, "s32", "s32", "s32", "s32"): k.ADD_WORDS,
    (k.ADD, "s32", "s64", "s32", "s32"): k.ADD_WORD_HELD,
    (k.MULTIPLY, "s32", "s64", "s32", "s32"): k.MULTIPLY_WORD_HELD,
    (k.MULTIPLY_ADD, "s32", "s32", "s32", "s32"): k.MULTIPLY_ADD_WORDS,
    (k.MULTIPLY_ADD, "s32", "s32", "s16", "s16"): k.MULTIPLY_ADD_HALVES,
    (k.MULTIPLY_ADD, "s16", "s16", "s8", "s8"): k.MULTIPLY_ADD_BYTES,
    (k.DOT, "s32", "s32", "s16", "s16"): k.DOT_HALVES,
    (k.DOT, "s32", "s32", "u8", "s8"): k.DOT_BYTES,
    (k.COPY, "s16", "s16", "s8", ""): k.EXTEND_BYTES,
    (k.COPY, "s32", "s32", "s8", ""): k.LOAD_BYTE,
    (k.COPY, "s64", "s64", "s8", ""): k.LOAD_BYTE_HELD,
}
_GROUPS = {k.DOT_HALVES: 2, k.DOT_BYTES: 4}
_ONE_LANE = frozenset({k.LOAD_BYTE, k.LOAD_BYTE_HELD, k.ADD_WORD_HELD, k.MULTIPLY_WORD_HELD})


def _fast(code: Code, row: list[int], result: str, destination: Place, sources: list[Place]) -> list[Place]:
    """Rewrite a row to its FAST form where the types allow; return its sources."""
    held, size = destination.kind, ELEMENT_BYTES[destination.kind]
    if row[k.SATURATE] or destination.step != size:
        return sources
    opcode = row[k.OPCODE]
    first = sources[0]
    if opcode == k.COPY and first.step == ELEMENT_BYTES[first.kind] == size and held == result:
        total = row[k.LANES] * size
        unit = next(unit for unit in (8, 4, 1) if total % unit == 0)
        row[k.OPCODE] = {8: k.COPY_DOUBLES, 4: k.COPY_WORDS, 1: k.COPY_BYTES}[unit]
        row[k.LANES] = total // unit
        return sources
    if opcode == k.COPY and first.step == 0 and row[k.LANES] > 1:
        row[k.OPCODE] = k.BROADCAST
        return sources
    opcode = k.MULTIPLY_ADD if opcode == k.MULTIPLY and held == result else opcode
    first_kind, second_kind = ([place.kind for place in sources] + ["", ""])[:2]
    fast = _FAST.get((opcode, result, held, first_kind, second_kind), 0)
    contiguous = all(place.step == ELEMENT_BYTES[place.kind] for place in sources[:2])
    if (
        not fast
        or (fast in _ONE_LANE and row[k.LANES] != 1)
        or (fast in _GROUPS and (row[k.GROUP] != _GROUPS[fast] or not contiguous))
        or (len(sources) > 2 and sources[2].kind != result)
    ):
        return sources
    if opcode in (k.MULTIPLY_ADD, k.DOT) and len(sources) == 2:
        sources = [*sources, Place(code.constants[_constant("s64", 0)], (), result, 0)]
        row[k.STEP_C] = 0
    row[k.OPCODE] = fast
    return sources
