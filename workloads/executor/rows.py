"""Rows of encoded Programs: the columns of an instruction, and the form with fixed types that can run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba

from workloads.executor import codes as k
from workloads.executor.forms import OPCODE_OF, Form
from workloads.isa import ELEMENT_BYTES, Meaning

if TYPE_CHECKING:
    from workloads.program import Instruction

_TYPES = {"s8": k.S8, "u8": k.U8, "s16": k.S16, "u16": k.U16, "s32": k.S32, "u32": k.U32, "s64": k.S64, "u64": k.U64,
          "f16": k.F16, "f32": k.F32, "f64": k.F64}  # fmt: skip
_OPCODES = {
    "load": k.COPY, "store": k.COPY, "move": k.COPY, "immediate": k.COPY, "broadcast": k.COPY, "broadcast_load": k.COPY,
    "extend": k.COPY, "narrow": k.COPY, "add": k.ADD, "subtract": k.SUBTRACT, "multiply": k.MULTIPLY,
    "multiply_add": k.MULTIPLY_ADD, "multiply_high": k.MULTIPLY_HIGH, "minimum": k.MINIMUM, "maximum": k.MAXIMUM,
    "and": k.AND, "or": k.OR, "xor": k.XOR, "shift_left": k.SHIFT_LEFT, "shift_right": k.SHIFT_RIGHT,
    "select": k.SELECT, "less_than": k.LESS_THAN, "divide": k.DIVIDE, "count_leading_zeros": k.CLZ, "dot": k.DOT,
    "reduce_add": k.REDUCE_ADD, "reduce_maximum": k.REDUCE_MAXIMUM, "gather": k.GATHER, "lookup": k.LOOKUP,
    "exponential": k.EXPONENTIAL, "square_root": k.SQUARE_ROOT,
    "horizontal_add": k.HORIZONTAL_ADD, "permute": k.PERMUTE, "copy_block": k.COPY_BLOCK,
    "fill_block": k.FILL_BLOCK, "matrix_multiply": k.MATRIX_MULTIPLY, "requantize_block": k.REQUANTIZE_BLOCK,
}  # fmt: skip
BYTES = Meaning("move", "s8", ("s8",))


@dataclass(frozen=True)
class Place:
    """Where an operand lies in the arena: first byte, bytes moved per loop variable, element type, bytes per lane."""

    at: int
    strides: tuple[tuple[str, int], ...]
    kind: str
    step: int
    space: str = ""  # of memory; empty for registers and constants


def plain_row(opcode: int, lanes: int, kind: str, step: int) -> list[int]:
    """Return a row that copies ``lanes`` elements of one type."""
    row = [0] * k.COLUMNS
    size = ELEMENT_BYTES[kind]
    row[k.OPCODE] = row[k.INNER] = opcode
    row[k.RESULT] = row[k.HELD] = row[k.TYPE_A] = _TYPES[kind]
    row[k.LANES], row[k.STEP_D], row[k.STEP_A], row[k.SOURCES] = lanes, size, step, 1
    return row


def _opcode(meaning: Meaning) -> tuple[int, int]:
    """Return the general opcode of a meaning, and the inner opcode of a float operation."""
    if meaning.kind == "convert":
        return (k.TO_FLOAT if meaning.result[0] == "f" else k.TO_INTEGER), k.COPY
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
        "gather",
        "copy_block",
        "fill_block",
    )
    if meaning.result[0] == "f" and not moved:
        return k.FLOAT, opcode
    return opcode, opcode


def general_row(
    meaning: Meaning, lanes: int, destination: Place, sources: list[Place], instruction: Instruction
) -> list[int]:
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
    """Fill the extents and strides of block instructions, and what only one meaning has."""
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
        case "divide":
            row[k.X0] = meaning.zero_quotient


def specialize(
    row: list[int], meaning: Meaning, destination: Place, sources: list[Place], indices: tuple[int, ...] = ()
) -> None:
    """Give a row the opcode of the form with its types, where there is one; plain Python knows only general rows."""
    if numba.config.DISABLE_JIT:
        return
    if row[k.OPCODE] == k.PERMUTE:
        pick = Form(k.PERMUTE, (meaning.result,) * 3, destination.kind, single=True, indices=indices)
        row[k.OPCODE] = OPCODE_OF.get(pick, k.PERMUTE)
        return
    lanes, sizes = row[k.LANES], [ELEMENT_BYTES[place.kind] for place in sources]
    single = lanes == 1
    if not single and destination.step != ELEMENT_BYTES[destination.kind]:
        return
    steps = [size if single else place.step for place, size in zip(sources, sizes, strict=True)]
    step, rest = divmod(steps[0], sizes[0]) if steps[0] > sizes[0] else (1, 0)
    if rest or any(found not in (size, 0) for found, size in zip(steps[1:], sizes[1:], strict=True)):
        return
    form = Form(
        row[k.INNER], (meaning.result, *(place.kind for place in sources)), destination.kind, single,
        tuple(place for place, found in enumerate(steps) if found == 0), bool(row[k.SATURATE]), bool(row[k.ROUND]),
        meaning.shift, meaning.group, step,
    )  # fmt: skip
    if row[k.OPCODE] in (k.TO_FLOAT, k.TO_INTEGER):
        form = form._replace(operation=row[k.OPCODE])
    same = form.operation == k.COPY and form.types[0] == form.types[1] == form.held and not form.saturate
    if same and step == 1:
        lanes, form = _widest_copy(lanes, form)
    if form in OPCODE_OF:
        row[k.OPCODE], row[k.LANES] = OPCODE_OF[form], lanes


def _widest_copy(lanes: int, form: Form) -> tuple[int, Form]:
    """Return a copy of bits in the widest elements that make up its lanes; a broadcast keeps their size."""
    size = ELEMENT_BYTES[form.held]
    unit = size if form.scalars else next(unit for unit in (8, 4, 2, 1) if lanes * size % unit == 0)
    lanes = lanes * size // unit
    kind = f"s{8 * unit}"
    return lanes, form._replace(
        types=(kind, kind), held=kind, single=lanes == 1, scalars=form.scalars if lanes > 1 else ()
    )
