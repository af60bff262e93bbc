"""Operations of the interpreter on lanes of any type; operands are byte addresses, aligned or not."""

from __future__ import annotations

import math

import numpy as np

from workloads.executor import codes as k
from workloads.executor import memory
from workloads.executor.floats import Float, Int, fused, get_float, put_float
from workloads.kernels.jit import kernel

_HIGHEST = np.int64(2**63 - 1)


@kernel
def column(row: Int, column: Int) -> Int:
    """Return one column of a row, given the row's address."""
    return memory.read_s64(row + 8 * column)


@kernel
def get(kind: Int, at: Int) -> Int:
    """Read an integer of any type."""
    if kind == k.S8:
        return memory.read_s8(at)
    if kind == k.S32:
        return memory.read_s32(at)
    if kind == k.S16:
        return memory.read_s16(at)
    if kind == k.U8:
        return memory.read_u8(at)
    if kind in (k.U32, k.F32):
        return memory.read_u32(at)
    if kind in (k.U16, k.F16):
        return memory.read_u16(at)
    return memory.read_s64(at)


@kernel
def put(kind: Int, at: Int, value: Int) -> None:
    """Write the low bits of an integer."""
    if kind <= k.U8:
        memory.write_8(at, value)
    elif kind <= k.U16 or kind == k.F16:
        memory.write_16(at, value)
    elif kind <= k.U32 or kind == k.F32:
        memory.write_32(at, value)
    else:
        memory.write_64(at, value)


@kernel
def wrap(kind: Int, value: Int) -> Int:
    """Keep the bits that the type holds."""
    if kind >= k.S64:
        return value
    unused = np.int64(56) if kind <= k.U8 else np.int64(48) if kind <= k.U16 else np.int64(32)
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
    if kind == k.U64:
        value &= ~(np.int64(-1) << (64 - amount))
    return value + half


@kernel
def _float_lane(inner: Int, a: Float, b: Float, c: Float) -> Float:
    """Compute one float lane; ``inner`` is the integer opcode of the same name."""
    if inner == k.ADD:
        return a + b
    if inner == k.SUBTRACT:
        return a - b
    if inner == k.MULTIPLY:
        return a * b
    if inner == k.MULTIPLY_ADD:
        return fused(a, b, c)
    if inner == k.MINIMUM:
        return min(b, a)
    if inner == k.MAXIMUM:
        return max(b, a)
    if inner == k.DIVIDE:
        return a / b
    if inner == k.EXPONENTIAL:
        return math.exp(a)
    if inner == k.SQUARE_ROOT:
        return np.sqrt(a)
    return a


@kernel
def _integer_lane(row: Int, opcode: Int, a: Int, b: Int, c: Int) -> Int:  # noqa: C901 - a flat switch
    """Compute one integer lane in 64 bits, before saturation or wrapping."""
    if opcode == k.COPY:
        return a
    if opcode == k.ADD:
        return a + b
    if opcode == k.SUBTRACT:
        return a - b
    if opcode == k.MULTIPLY:  # of two u32 more than int64 holds
        beyond = column(row, k.SATURATE) and a > 0 and b > _HIGHEST // a
        return _HIGHEST if beyond else a * b
    if opcode == k.MULTIPLY_ADD:
        return a * b + c
    if opcode == k.MULTIPLY_HIGH:
        return _shift_right(k.S64, a * b, column(row, k.SHIFT), column(row, k.ROUND)) + c
    if opcode == k.MINIMUM:
        return min(a, b)
    if opcode == k.MAXIMUM:
        return max(a, b)
    if opcode == k.AND:
        return a & b
    if opcode == k.OR:
        return a | b
    if opcode == k.XOR:
        return a ^ b
    if opcode == k.SHIFT_LEFT:
        return np.int64(0) if b > 63 else a << b
    if opcode == k.SHIFT_RIGHT:
        return _shift_right(column(row, k.TYPE_A), a, b, column(row, k.ROUND))
    if opcode == k.SELECT:
        return b if a != 0 else c
    if opcode == k.LESS_THAN:
        return np.int64(a < b)
    if opcode == k.CLZ:
        return _leading_zeros(column(row, k.TYPE_A), a)
    return _quotient(a, b, column(row, k.X0))


@kernel
def _quotient(a: Int, b: Int, zero_quotient: Int) -> Int:
    """Divide towards zero; the lowest integer by -1 is itself."""
    if b == 0:
        return zero_quotient
    if b == -1:
        return a if a < -_HIGHEST else -a
    floor = a // b
    return floor + 1 if floor < 0 and floor * b != a else floor


@kernel
def _leading_zeros(kind: Int, value: Int) -> Int:
    """Count zero bits above the highest one."""
    width = np.int64(64) if kind in (k.S64, k.U64) else np.int64(32)
    count = np.int64(0)
    while count < width and (value >> (width - 1 - count)) & 1 == 0:
        count += 1
    return count


@kernel
def elementwise(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run any lane-wise integer operation on any types."""
    opcode, sources, result, held = (
        column(row, k.OPCODE),
        column(row, k.SOURCES),
        column(row, k.RESULT),
        column(row, k.HELD),
    )
    type_a, type_b, type_c = column(row, k.TYPE_A), column(row, k.TYPE_B), column(row, k.TYPE_C)
    step_d, step_a, step_b, step_c = (
        column(row, k.STEP_D), column(row, k.STEP_A), column(row, k.STEP_B), column(row, k.STEP_C)
    )  # fmt: skip
    saturate, low, high = column(row, k.SATURATE), column(row, k.LOW), column(row, k.HIGH)
    second = third = np.int64(0)
    for lane in range(column(row, k.LANES)):
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
    opcode, group, sources = column(row, k.OPCODE), column(row, k.GROUP), column(row, k.SOURCES)
    result, held, type_a, type_b = (
        column(row, k.RESULT),
        column(row, k.HELD),
        column(row, k.TYPE_A),
        column(row, k.TYPE_B),
    )
    step_a, step_b = column(row, k.STEP_A), column(row, k.STEP_B)
    if opcode in (k.REDUCE_ADD, k.REDUCE_MAXIMUM):
        adds = opcode == k.REDUCE_ADD
        nothing = np.int64(0) if adds else -_HIGHEST - 1
        total = get(type_b, b) if sources > 1 else nothing
        for lane in range(column(row, k.LANES)):
            value = get(type_a, a + lane * step_a)
            total = total + value if adds else max(total, value)
        put(held, d, wrap(result, total))
        return
    if opcode == k.GATHER:
        _gather(row, d, a, b)
        return
    for lane in range(column(row, k.LANES)):
        value = np.int64(0)
        if opcode == k.DOT:
            value = get(column(row, k.TYPE_C), c + lane * column(row, k.STEP_C)) if sources > 2 else np.int64(0)
            for j in range(lane * group, (lane + 1) * group):
                value += get(type_a, a + j * step_a) * get(type_b, b + j * step_b)
            value = min(max(value, column(row, k.LOW)), column(row, k.HIGH)) if column(row, k.SATURATE) else value
        elif opcode == k.PERMUTE:  # c holds the index table
            source, own = memory.read_s64(c + 8 * lane), column(row, k.X1)
            value = get(type_a, a + source * step_a) if source < own else get(type_a, b + (source - own) * step_a)
        elif opcode == k.LOOKUP:
            index = get(type_b, b + lane * step_b)
            value = get(type_a, a + (lane // group * group + index % group) * step_a) if index >= 0 else np.int64(0)
        else:  # k.HORIZONTAL_ADD: pairs of a, then pairs of b, inside each block of ``group`` lanes
            block, place, half = lane // group, lane % group, group // 2
            pair = (a if place < half else b) + (block * group + 2 * (place % half)) * step_a
            value = get(type_a, pair) + get(type_a, pair + step_a)
        put(held, d + lane * column(row, k.STEP_D), wrap(result, value))


@kernel
def _gather(row: Int, d: Int, table: Int, b: Int) -> None:
    """Look elements up; X0 and X1 bound the table's buffer, X2 becomes 1 where an index leaves it."""
    kind, size = column(row, k.TYPE_A), column(row, k.STEP_A)
    for lane in range(column(row, k.LANES)):
        at = table + get(column(row, k.TYPE_B), b + lane * column(row, k.STEP_B)) * size
        inside = column(row, k.X0) <= at and at + size <= column(row, k.X1)
        if not inside:
            memory.write_64(row + 8 * k.X2, np.int64(1))
        put(column(row, k.HELD), d + lane * column(row, k.STEP_D), get(kind, at) if inside else np.int64(0))


@kernel
def _reduce(row: Int, d: Int, a: Int, b: Int) -> None:
    """Add up the lanes, or take the largest, in float64."""
    kind, step, inner = column(row, k.TYPE_A), column(row, k.STEP_A), column(row, k.INNER)
    total = get_float(column(row, k.TYPE_B), b) if column(row, k.SOURCES) > 1 else -np.inf
    if inner == k.REDUCE_ADD and column(row, k.SOURCES) == 1:
        total = 0.0
    for lane in range(column(row, k.LANES)):
        value = get_float(kind, a + lane * step)
        total = total + value if inner == k.REDUCE_ADD else max(total, value)
    put_float(column(row, k.RESULT), d, total)


@kernel
def floating(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run float operations and conversions; products and sums in float64, then rounded to the result."""
    opcode, sources, result, kind = (
        column(row, k.OPCODE),
        column(row, k.SOURCES),
        column(row, k.RESULT),
        column(row, k.TYPE_A),
    )
    low, high = column(row, k.LOW), column(row, k.HIGH)
    if column(row, k.INNER) == k.REDUCE_ADD or column(row, k.INNER) == k.REDUCE_MAXIMUM:
        _reduce(row, d, a, b)
        return
    second = third = 0.0
    for lane in range(column(row, k.LANES)):
        to, first_at = d + lane * column(row, k.STEP_D), a + lane * column(row, k.STEP_A)
        if opcode == k.TO_FLOAT and kind < k.F16:
            put_float(result, to, np.float64(get(kind, first_at)))
            continue
        first = get_float(kind, first_at)
        if opcode == k.TO_INTEGER:
            rounded = np.rint(first)
            inside = np.float64(low) <= rounded <= np.float64(high)
            limit = high if column(row, k.SATURATE) and rounded > 0 else low
            put(column(row, k.HELD), to, np.int64(rounded) if inside else limit)
            continue
        if sources > 1:
            second = get_float(column(row, k.TYPE_B), b + lane * column(row, k.STEP_B))
        if sources > 2:
            third = get_float(column(row, k.TYPE_C), c + lane * column(row, k.STEP_C))
        put_float(result, to, _float_lane(column(row, k.INNER), first, second, third))
