"""Operations of the interpreter on lanes of any type; operands are byte addresses, aligned or not."""

from __future__ import annotations

import numpy as np

from workloads.executor import memory
from workloads.executor.codes import (
    ADD,
    AND,
    CLZ,
    COPY,
    DIVIDE,
    DOT,
    F16,
    F32,
    GROUP,
    HELD,
    HIGH,
    INNER,
    LANES,
    LESS_THAN,
    LOW,
    MAXIMUM,
    MINIMUM,
    MULTIPLY,
    MULTIPLY_ADD,
    MULTIPLY_HIGH,
    OPCODE,
    OR,
    PERMUTE,
    REDUCE_ADD,
    RESULT,
    ROUND,
    S8,
    S16,
    S32,
    S64,
    SATURATE,
    SELECT,
    SHIFT,
    SHIFT_LEFT,
    SHIFT_RIGHT,
    SOURCES,
    STEP_A,
    STEP_B,
    STEP_C,
    STEP_D,
    SUBTRACT,
    TO_FLOAT,
    TO_INTEGER,
    TYPE_A,
    TYPE_B,
    TYPE_C,
    U8,
    U16,
    U32,
    U64,
    X1,
    XOR,
)
from workloads.executor.floats import Float, Int, get_float, put_float
from workloads.kernels.jit import kernel


@kernel
def column(row: Int, column: Int) -> Int:
    """Return one column of a row, given the row's address."""
    return memory.read_s64(row + 8 * column)


@kernel
def get(kind: Int, at: Int) -> Int:
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
def put(kind: Int, at: Int, value: Int) -> None:
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
def wrap(kind: Int, value: Int) -> Int:
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
        return _shift_right(S64, a * b, column(row, SHIFT), column(row, ROUND)) + c
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
        return _shift_right(column(row, TYPE_A), a, b, column(row, ROUND))
    if opcode == SELECT:
        return b if a != 0 else c
    if opcode == LESS_THAN:
        return np.int64(a < b)
    if opcode == CLZ:
        return _leading_zeros(column(row, TYPE_A), a)
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
def elementwise(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run any lane-wise integer operation on any types."""
    opcode, sources, result, held = (
        column(row, OPCODE),
        column(row, SOURCES),
        column(row, RESULT),
        column(row, HELD),
    )
    type_a, type_b, type_c = column(row, TYPE_A), column(row, TYPE_B), column(row, TYPE_C)
    step_d, step_a, step_b, step_c = (
        column(row, STEP_D), column(row, STEP_A), column(row, STEP_B), column(row, STEP_C)
    )  # fmt: skip
    saturate, low, high = column(row, SATURATE), column(row, LOW), column(row, HIGH)
    second = third = np.int64(0)
    for lane in range(column(row, LANES)):
        first = get(type_a, a + lane * step_a)
        if sources > 1:
            second = get(type_b, b + lane * step_b)
        if sources > 2:
            third = get(type_c, c + lane * step_c)
        value = _integer_lane(row, opcode, first, second, third)
        value = min(max(value, low), high) if saturate else wrap(result, value)
        put(held, d + lane * step_d, value)


@kernel
def horizontal(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run the operations that combine several source lanes into one."""
    opcode, group, sources = column(row, OPCODE), column(row, GROUP), column(row, SOURCES)
    result, held, type_a, type_b = column(row, RESULT), column(row, HELD), column(row, TYPE_A), column(row, TYPE_B)
    step_a, step_b = column(row, STEP_A), column(row, STEP_B)
    if opcode == REDUCE_ADD:
        total = get(type_b, b) if sources > 1 else np.int64(0)
        for lane in range(column(row, LANES)):
            total += get(type_a, a + lane * step_a)
        put(held, d, wrap(result, total))
        return
    for lane in range(column(row, LANES)):
        value = np.int64(0)
        if opcode == DOT:
            value = get(column(row, TYPE_C), c + lane * column(row, STEP_C)) if sources > 2 else np.int64(0)
            for j in range(lane * group, (lane + 1) * group):
                value += get(type_a, a + j * step_a) * get(type_b, b + j * step_b)
            value = min(max(value, column(row, LOW)), column(row, HIGH)) if column(row, SATURATE) else value
        elif opcode == PERMUTE:  # c holds the index table
            source, own = memory.read_s64(c + 8 * lane), column(row, X1)
            value = get(type_a, a + source * step_a) if source < own else get(type_a, b + (source - own) * step_a)
        else:  # HORIZONTAL_ADD: pairs of a, then pairs of b, inside each block of ``group`` lanes
            block, place, half = lane // group, lane % group, group // 2
            pair = (a if place < half else b) + (block * group + 2 * (place % half)) * step_a
            value = get(type_a, pair) + get(type_a, pair + step_a)
        put(held, d + lane * column(row, STEP_D), wrap(result, value))


@kernel
def floating(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run float operations and conversions; products and sums in float64, then rounded to the result."""
    opcode, sources, result, kind = (
        column(row, OPCODE),
        column(row, SOURCES),
        column(row, RESULT),
        column(row, TYPE_A),
    )
    low, high = column(row, LOW), column(row, HIGH)
    second = third = 0.0
    for lane in range(column(row, LANES)):
        to, first_at = d + lane * column(row, STEP_D), a + lane * column(row, STEP_A)
        if opcode == TO_FLOAT and kind < F16:
            put_float(result == F32, to, np.float64(get(kind, first_at)))
            continue
        first = get_float(kind == F32, first_at)
        if opcode == TO_INTEGER:
            rounded = np.rint(first)
            inside = np.float64(low) <= rounded <= np.float64(high)
            limit = high if column(row, SATURATE) and rounded > 0 else low
            put(column(row, HELD), to, np.int64(rounded) if inside else limit)
            continue
        if sources > 1:
            second = get_float(column(row, TYPE_B) == F32, b + lane * column(row, STEP_B))
        if sources > 2:
            third = get_float(column(row, TYPE_C) == F32, c + lane * column(row, STEP_C))
        put_float(result == F32, to, _float_lane(column(row, INNER), first, second, third))
