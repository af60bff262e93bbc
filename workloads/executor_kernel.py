"""The compiled interpreter of encoded Programs: operands are byte addresses in one arena, aligned or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads import executor_memory as memory
from workloads.executor_floats import Float, Int, get_float, put_float, scale19
from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.tensor import Array

# Element types as numbers.
S8, U8, S16, U16, S32, U32, S64, U64, F16, F32 = range(10)

# Micro-operations: lane by lane on any type, then those that combine lanes, floats, blocks, and the FAST group on
# contiguous lanes of fixed types.
(
    NOTHING, END_LOOP, COPY, ADD, SUBTRACT, MULTIPLY, MULTIPLY_ADD, MULTIPLY_HIGH, MINIMUM, MAXIMUM, AND, OR, XOR,
    SHIFT_LEFT, SHIFT_RIGHT, SELECT, LESS_THAN, DIVIDE, CLZ, DOT, REDUCE_ADD, HORIZONTAL_ADD, PERMUTE,
    FLOAT, TO_FLOAT, TO_INTEGER, COPY_BLOCK, FILL_BLOCK, MATRIX_MULTIPLY, REQUANTIZE_BLOCK,
    COPY_BYTES, COPY_WORDS, COPY_DOUBLES, LOAD_BYTE, LOAD_BYTE_HELD, ADD_WORD_HELD, MULTIPLY_WORD_HELD, ADD_WORDS,
    MULTIPLY_ADD_WORDS, MULTIPLY_ADD_HALVES, MULTIPLY_ADD_BYTES, DOT_HALVES, DOT_BYTES, EXTEND_BYTES, BROADCAST,
) = range(45)  # fmt: skip

# Columns of the code.
(
    OPCODE, LANES, GROUP, RESULT, HELD, TYPE_A, TYPE_B, TYPE_C, STEP_D, STEP_A, STEP_B, STEP_C, SOURCES, SATURATE,
    LOW, HIGH, ROUND, SHIFT, INNER, X0, X1, X2, X3, X4, X5,
) = range(25)  # fmt: skip
COLUMNS = 25


@kernel
def _column(row: Int, column: Int) -> Int:
    """Return one column of a row, given the row's address."""
    return memory.read_s64(row + 8 * column)


@kernel
def _get(kind: Int, at: Int) -> Int:
    """Read an integer of any type."""
    if kind == S8:
        return memory.read_s8(at)
    if kind == S32:
        return memory.read_s32(at)
    if kind == S16:
        return memory.read_s16(at)
    if kind == U8:
        return memory.read_u8(at)
    if kind in (U32, F32):
        return memory.read_u32(at)
    if kind in (U16, F16):
        return memory.read_u16(at)
    return memory.read_s64(at)


@kernel
def _put(kind: Int, at: Int, value: Int) -> None:
    """Write the low bits of an integer."""
    if kind <= U8:
        memory.write_8(at, value)
    elif kind <= U16 or kind == F16:
        memory.write_16(at, value)
    elif kind <= U32 or kind == F32:
        memory.write_32(at, value)
    else:
        memory.write_64(at, value)


@kernel
def _wrap(kind: Int, value: Int) -> Int:
    """Keep the bits that the type holds."""
    if kind >= S64:
        return value
    unused = np.int64(56) if kind <= U8 else np.int64(48) if kind <= U16 else np.int64(32)
    if kind & 1:
        return value & ((np.int64(1) << (np.int64(64) - unused)) - 1)
    return (value << unused) >> unused


@kernel
def _shift_right(kind: Int, value: Int, amount: Int, rounding: Int) -> Int:
    """Shift arithmetically (logically for u64); ``rounding`` 1 adds half of the last bit first."""
    amount = min(max(amount, np.int64(0)), np.int64(63))
    if amount == 0:
        return value
    half = (value >> (amount - 1)) & 1 if rounding else np.int64(0)
    value = value >> amount
    if kind == U64:
        value &= ~(np.int64(-1) << (64 - amount))
    return value + half


@kernel
def _float_lane(inner: Int, a: Float, b: Float, c: Float) -> Float:
    """Compute one float lane; ``inner`` is the integer opcode of the same name."""
    if inner == ADD:
        return a + b
    if inner == SUBTRACT:
        return a - b
    if inner == MULTIPLY:
        return a * b
    if inner == MULTIPLY_ADD:
        return a * b + c
    if inner == MINIMUM:
        return min(a, b)
    if inner == MAXIMUM:
        return max(a, b)
    if inner == DIVIDE:
        return a / b
    return a


@kernel
def _integer_lane(row: Int, opcode: Int, a: Int, b: Int, c: Int) -> Int:  # noqa: C901 - a flat switch
    """Compute one integer lane in 64 bits, before saturation or wrapping."""
    if opcode == COPY:
        return a
    if opcode == ADD:
        return a + b
    if opcode == SUBTRACT:
        return a - b
    if opcode == MULTIPLY:
        return a * b
    if opcode == MULTIPLY_ADD:
        return a * b + c
    if opcode == MULTIPLY_HIGH:
        return _shift_right(S64, a * b, _column(row, SHIFT), _column(row, ROUND)) + c
    if opcode == MINIMUM:
        return min(a, b)
    if opcode == MAXIMUM:
        return max(a, b)
    if opcode == AND:
        return a & b
    if opcode == OR:
        return a | b
    if opcode == XOR:
        return a ^ b
    if opcode == SHIFT_LEFT:
        return np.int64(0) if b > 63 else a << b
    if opcode == SHIFT_RIGHT:
        return _shift_right(_column(row, TYPE_A), a, b, _column(row, ROUND))
    if opcode == SELECT:
        return b if a != 0 else c
    if opcode == LESS_THAN:
        return np.int64(a < b)
    if opcode == CLZ:
        return _leading_zeros(_column(row, TYPE_A), a)
    if b == 0:  # DIVIDE: as Arm's SDIV
        return np.int64(0)
    magnitude = abs(a) // abs(b)
    return -magnitude if (a < 0) != (b < 0) else magnitude


@kernel
def _leading_zeros(kind: Int, value: Int) -> Int:
    """Count zero bits above the highest one."""
    width = np.int64(64) if kind in (S64, U64) else np.int64(32)
    count = np.int64(0)
    while count < width and (value >> (width - 1 - count)) & 1 == 0:
        count += 1
    return count


@kernel
def _elementwise(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run any lane-wise integer operation on any types."""
    opcode, sources, result, held = (
        _column(row, OPCODE),
        _column(row, SOURCES),
        _column(row, RESULT),
        _column(row, HELD),
    )
    type_a, type_b, type_c = _column(row, TYPE_A), _column(row, TYPE_B), _column(row, TYPE_C)
    step_d, step_a, step_b, step_c = (
        _column(row, STEP_D), _column(row, STEP_A), _column(row, STEP_B), _column(row, STEP_C)
    )  # fmt: skip
    saturate, low, high = _column(row, SATURATE), _column(row, LOW), _column(row, HIGH)
    second = third = np.int64(0)
    for lane in range(_column(row, LANES)):
        first = _get(type_a, a + lane * step_a)
        if sources > 1:
            second = _get(type_b, b + lane * step_b)
        if sources > 2:
            third = _get(type_c, c + lane * step_c)
        value = _integer_lane(row, opcode, first, second, third)
        value = min(max(value, low), high) if saturate else _wrap(result, value)
        _put(held, d + lane * step_d, value)


@kernel
def _horizontal(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run the operations that combine several source lanes into one."""
    opcode, group, sources = _column(row, OPCODE), _column(row, GROUP), _column(row, SOURCES)
    result, held, type_a, type_b = _column(row, RESULT), _column(row, HELD), _column(row, TYPE_A), _column(row, TYPE_B)
    step_a, step_b = _column(row, STEP_A), _column(row, STEP_B)
    if opcode == REDUCE_ADD:
        total = _get(type_b, b) if sources > 1 else np.int64(0)
        for lane in range(_column(row, LANES)):
            total += _get(type_a, a + lane * step_a)
        _put(held, d, _wrap(result, total))
        return
    for lane in range(_column(row, LANES)):
        value = np.int64(0)
        if opcode == DOT:
            value = _get(_column(row, TYPE_C), c + lane * _column(row, STEP_C)) if sources > 2 else np.int64(0)
            for j in range(lane * group, (lane + 1) * group):
                value += _get(type_a, a + j * step_a) * _get(type_b, b + j * step_b)
            value = min(max(value, _column(row, LOW)), _column(row, HIGH)) if _column(row, SATURATE) else value
        elif opcode == PERMUTE:  # c holds the index table
            source, own = memory.read_s64(c + 8 * lane), _column(row, X1)
            value = _get(type_a, a + source * step_a) if source < own else _get(type_a, b + (source - own) * step_a)
        else:  # HORIZONTAL_ADD: pairs of a, then pairs of b, inside each block of ``group`` lanes
            block, place, half = lane // group, lane % group, group // 2
            pair = (a if place < half else b) + (block * group + 2 * (place % half)) * step_a
            value = _get(type_a, pair) + _get(type_a, pair + step_a)
        _put(held, d + lane * _column(row, STEP_D), _wrap(result, value))


@kernel
def _floating(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run float operations and conversions; products and sums in float64, then rounded to the result."""
    opcode, sources, result, kind = (
        _column(row, OPCODE),
        _column(row, SOURCES),
        _column(row, RESULT),
        _column(row, TYPE_A),
    )
    low, high = _column(row, LOW), _column(row, HIGH)
    second = third = 0.0
    for lane in range(_column(row, LANES)):
        to, first_at = d + lane * _column(row, STEP_D), a + lane * _column(row, STEP_A)
        if opcode == TO_FLOAT and kind < F16:
            put_float(result == F32, to, np.float64(_get(kind, first_at)))
            continue
        first = get_float(kind == F32, first_at)
        if opcode == TO_INTEGER:
            rounded = np.rint(first)
            inside = np.float64(low) <= rounded <= np.float64(high)
            limit = high if _column(row, SATURATE) and rounded > 0 else low
            _put(_column(row, HELD), to, np.int64(rounded) if inside else limit)
            continue
        if sources > 1:
            second = get_float(_column(row, TYPE_B) == F32, b + lane * _column(row, STEP_B))
        if sources > 2:
            third = get_float(_column(row, TYPE_C) == F32, c + lane * _column(row, STEP_C))
        put_float(result == F32, to, _float_lane(_column(row, INNER), first, second, third))


@kernel
def _block(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run a block instruction; X0.. are its extents and strides in bytes."""
    opcode = _column(row, OPCODE)
    x1, x2, x3 = _column(row, X1), _column(row, X2), _column(row, X3)
    for i in range(_column(row, X0)):
        if opcode == COPY_BLOCK:
            for j in range(x1):
                memory.write_8(d + i * x3 + j, memory.read_s8(a + i * x2 + j))
        elif opcode == FILL_BLOCK:
            for j in range(x1):
                _put(_column(row, RESULT), d + i * x2 + j * _column(row, STEP_D), _get(_column(row, TYPE_A), a))
        elif opcode == MATRIX_MULTIPLY:
            for j in range(x2):
                at = d + i * _column(row, X5) + 4 * j
                total = np.int32(memory.read_s32(at)) if _column(row, SOURCES) > 2 else np.int32(0)
                left, right = a + i * x3, b + j * _column(row, X4)
                for k in range(x1):
                    total = np.int32(total + np.int32(memory.read_s8(left + k)) * np.int32(memory.read_s8(right + k)))
                memory.write_32(at, total)
        else:
            _requantize_row(row, d + i * x3, a + i * x2, b, c)


@kernel
def _requantize_row(row: Int, d: Int, a: Int, words: Int, bounds: Int) -> None:
    """Requantise one row of accumulators by the quantisation word of each column."""
    low, high = _column(row, LOW), _column(row, HIGH)
    if _column(row, SOURCES) > 2:
        low, high = memory.read_s8(bounds), memory.read_s8(bounds + 1)
    for j in range(_column(row, X1)):
        word = memory.read_u32(words + 8 * j)
        offset = (memory.read_s32(words + 8 * j + 4) >> 5) & 511
        offset = offset - 512 if offset > 255 else offset
        # The scale's 11 significant bits make the float64 product exact; float32 rounds it once.
        value = np.float32(np.float64(np.float32(memory.read_s32(a + 4 * j))) * scale19(word))
        value = np.rint(min(max(value, np.float32(-256)), np.float32(255)))
        _put(_column(row, RESULT), d + j, min(max(np.int64(value) + offset, low), high))


@kernel
def _fast_vector(row: Int, opcode: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run an operation on contiguous lanes of fixed types, without a type switch in the loop."""
    step_a, step_b, step_c = _column(row, STEP_A), _column(row, STEP_B), _column(row, STEP_C)
    lanes = _column(row, LANES)
    if opcode == ADD_WORDS:
        for i in range(lanes):
            memory.write_32(d + 4 * i, memory.read_s32(a + i * step_a) + memory.read_s32(b + i * step_b))
    elif opcode == MULTIPLY_ADD_WORDS:
        for i in range(lanes):
            memory.write_32(
                d + 4 * i,
                memory.read_s32(a + i * step_a) * memory.read_s32(b + i * step_b) + memory.read_s32(c + i * step_c),
            )
    elif opcode == MULTIPLY_ADD_HALVES:
        for i in range(lanes):
            memory.write_32(
                d + 4 * i,
                memory.read_s16(a + i * step_a) * memory.read_s16(b + i * step_b) + memory.read_s32(c + i * step_c),
            )
    elif opcode == MULTIPLY_ADD_BYTES:
        for i in range(lanes):
            memory.write_16(
                d + 2 * i,
                memory.read_s8(a + i * step_a) * memory.read_s8(b + i * step_b) + memory.read_s16(c + i * step_c),
            )
    elif opcode == DOT_HALVES:
        for i in range(lanes):
            total = memory.read_s32(c + i * step_c) + memory.read_s16(a + 4 * i) * memory.read_s16(b + 4 * i)
            memory.write_32(d + 4 * i, total + memory.read_s16(a + 4 * i + 2) * memory.read_s16(b + 4 * i + 2))
    elif opcode == DOT_BYTES:
        for i in range(lanes):
            total = memory.read_s32(c + i * step_c)
            x, y = a + 4 * i, b + 4 * i
            total += memory.read_u8(x) * memory.read_s8(y) + memory.read_u8(x + 1) * memory.read_s8(y + 1)
            memory.write_32(
                d + 4 * i,
                total + memory.read_u8(x + 2) * memory.read_s8(y + 2) + memory.read_u8(x + 3) * memory.read_s8(y + 3),
            )
    elif opcode == BROADCAST:
        held, value = _column(row, HELD), _wrap(_column(row, RESULT), _get(_column(row, TYPE_A), a))
        for i in range(lanes):
            _put(held, d + i * _column(row, STEP_D), value)
    else:  # EXTEND_BYTES
        for i in range(lanes):
            memory.write_16(d + 2 * i, memory.read_s8(a + i * step_a))


@kernel
def _run(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run one micro-operation."""
    opcode, lanes = _column(row, OPCODE), _column(row, LANES)
    if opcode == COPY_BYTES:
        for i in range(lanes):
            memory.write_8(d + i, memory.read_s8(a + i))
    elif opcode == COPY_WORDS:
        for i in range(lanes):
            memory.write_32(d + 4 * i, memory.read_s32(a + 4 * i))
    elif opcode == COPY_DOUBLES:
        for i in range(lanes):
            memory.write_64(d + 8 * i, memory.read_s64(a + 8 * i))
    elif opcode == LOAD_BYTE:
        memory.write_32(d, memory.read_s8(a))
    elif opcode == LOAD_BYTE_HELD:
        memory.write_64(d, memory.read_s8(a))
    elif opcode == ADD_WORD_HELD:
        memory.write_64(d, np.int64(np.int32(memory.read_s32(a) + memory.read_s32(b))))
    elif opcode == MULTIPLY_WORD_HELD:
        memory.write_64(d, np.int64(np.int32(memory.read_s32(a) * memory.read_s32(b))))
    elif opcode > MULTIPLY_WORD_HELD:
        _fast_vector(row, opcode, d, a, b, c)
    elif opcode < DOT:
        _elementwise(row, d, a, b, c)
    elif opcode < FLOAT:
        _horizontal(row, d, a, b, c)
    elif opcode < COPY_BLOCK:
        _floating(row, d, a, b, c)
    else:
        _block(row, d, a, b, c)


@kernel
def interpret(rows: Int, code: Array, at: Array, increments: Array, counters: Array, executed: Array) -> None:
    """Run encoded code to its end; all arrays are int64.

    ``rows`` is the address of ``code`` (rows, COLUMNS); END_LOOP rows hold target, trips, counter, first and last
    increment. ``at`` (rows, 4) holds the current addresses of destination and sources, moved by ``increments``
    (row, operand, bytes per trip of its loop). ``counters`` holds trips done per loop, ``executed`` runs per row.
    """
    i = np.int64(0)
    while i < code.shape[0]:
        executed[i] += 1
        opcode = code[i, OPCODE]
        if opcode == END_LOOP:
            counter, trips = code[i, X2], code[i, X1]
            counters[counter] += 1
            again = counters[counter] < trips
            factor = np.int64(1) if again else 1 - trips
            for j in range(code[i, X3], code[i, X4]):
                at[increments[j, 0], increments[j, 1]] += increments[j, 2] * factor
            if again:
                i = code[i, X0]
                continue
            counters[counter] = 0
        elif opcode != NOTHING:
            _run(rows + i * (8 * COLUMNS), at[i, 0], at[i, 1], at[i, 2], at[i, 3])
        i += 1
