"""The compiled interpreter of encoded Programs: one flat arena holds registers, constants and buffers."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numba
import numpy as np

from workloads.kernels.jit import F, kernel
from workloads.tensor import Array  # noqa: TC001  # the named tuple's annotations are read at run time

# Element types as numbers.
S8, U8, S16, U16, S32, U32, S64, U64, F16, F32 = range(10)

# Micro-operations. The first group works on any type, lane by lane; the FAST group on aligned lanes of one type.
(
    NOTHING, END_LOOP, COPY, ADD, SUBTRACT, MULTIPLY, MULTIPLY_ADD, MULTIPLY_HIGH, MINIMUM, MAXIMUM, AND, OR, XOR,
    SHIFT_LEFT, SHIFT_RIGHT, SELECT, LESS_THAN, DIVIDE, DOT, REDUCE_ADD, HORIZONTAL_ADD, PERMUTE, CLZ,
    FLOAT, TO_FLOAT, TO_INTEGER, COPY_BLOCK, FILL_BLOCK, MATRIX_MULTIPLY, REQUANTIZE_BLOCK,
    COPY_BYTES, COPY_WORDS, COPY_DOUBLES, LOAD_BYTE, DOT_BYTES, DOT_HALVES, ADD_WORDS, MULTIPLY_ADD_WORDS,
    MULTIPLY_ADD_HALVES, MULTIPLY_ADD_BYTES, EXTEND_BYTES, ADD_WORD_HELD, MULTIPLY_WORD_HELD,
    LOAD_BYTE_HELD,
) = range(44)  # fmt: skip

# Columns of the code.
(
    OPCODE, LANES, GROUP, RESULT, HELD, TYPE_A, TYPE_B, TYPE_C, STEP_D, STEP_A, STEP_B, STEP_C, SOURCES, SATURATE,
    LOW, HIGH, ROUND, SHIFT, INNER, X0, X1, X2, X3, X4, X5,
) = range(25)  # fmt: skip
COLUMNS = 25

Int = Any  # a numpy or plain integer
Float = Any  # a numpy or plain float

_FP19_MASK = 0xFFFFE000


def inlined(function: F) -> F:
    """Compile a kernel into its callers: a call would pass the eight views by value."""
    return cast("F", numba.njit(forceinline=True, nogil=True, error_model="numpy")(function))


class Views(NamedTuple):
    """Typed views of the one arena."""

    u8: Array
    i8: Array
    u16: Array
    i16: Array
    u32: Array
    i32: Array
    i64: Array
    f32: Array


def views_of(arena: Array) -> Views:
    """Return typed views of an arena of uint8 whose size is a multiple of 8."""
    types = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.float32)
    return Views(*(arena.view(dtype) for dtype in types))


@inlined
def _bytes(v: Views, at: Int, count: Int) -> Int:
    """Assemble ``count`` little-endian bytes into an int64, unsigned."""
    value = np.int64(0)
    for i in range(count):
        value |= np.int64(v.u8[at + i]) << np.int64(8 * i)
    return value


@inlined
def _get(v: Views, kind: Int, at: Int) -> Int:
    """Read an integer of any type at any byte."""
    if kind == S8:
        return np.int64(v.i8[at])
    if kind == U8:
        return np.int64(v.u8[at])
    if kind == S32:
        return np.int64(v.i32[at >> 2]) if at & 3 == 0 else np.int64(np.int32(_bytes(v, at, 4)))
    if kind == S16:
        return np.int64(v.i16[at >> 1]) if at & 1 == 0 else np.int64(np.int16(_bytes(v, at, 2)))
    if kind in (U16, F16):
        return np.int64(v.u16[at >> 1]) if at & 1 == 0 else _bytes(v, at, 2)
    if kind in (U32, F32):
        return np.int64(v.u32[at >> 2]) if at & 3 == 0 else _bytes(v, at, 4)
    return v.i64[at >> 3] if at & 7 == 0 else _bytes(v, at, 8)


@inlined
def _put(v: Views, kind: Int, at: Int, value: Int) -> None:
    """Write the low bits of an integer at any byte."""
    size = np.int64(1) if kind <= U8 else np.int64(2) if kind <= U16 or kind == F16 else np.int64(4)
    if kind in (S64, U64):
        size = np.int64(8)
    if at & (size - 1):
        for i in range(size):
            v.u8[at + i] = np.uint8((value >> np.int64(8 * i)) & 255)
    elif size == 1:
        v.u8[at] = np.uint8(value & 255)
    elif size == 2:
        v.u16[at >> 1] = np.uint16(value & 0xFFFF)
    elif size == 4:
        v.u32[at >> 2] = np.uint32(value & 0xFFFFFFFF)
    else:
        v.i64[at >> 3] = value


@inlined
def _wrap(kind: Int, value: Int) -> Int:
    """Keep the bits that the type holds."""
    if kind == S32:
        return np.int64(np.int32(value & 0xFFFFFFFF))
    if kind == S8:
        return np.int64(np.int8(value & 0xFF))
    if kind == S16:
        return np.int64(np.int16(value & 0xFFFF))
    if kind == U8:
        return value & 0xFF
    if kind == U16:
        return value & 0xFFFF
    if kind == U32:
        return value & 0xFFFFFFFF
    return value


@inlined
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
def _get_float(v: Views, kind: Int, at: Int) -> Float:
    """Read a float as float64."""
    if kind == F32:
        return np.float64(v.f32[at >> 2])
    bits = np.int64(v.u16[at >> 1])
    exponent, fraction = (bits >> 10) & 31, bits & 1023
    sign = -1.0 if bits & 0x8000 else 1.0
    if exponent == 31:
        return sign * np.inf if fraction == 0 else np.nan
    if exponent == 0:
        return sign * fraction * 2.0**-24
    return sign * (1024 + fraction) * 2.0 ** np.float64(exponent - 25)


@kernel
def _put_float(v: Views, kind: Int, at: Int, value: Float) -> None:
    """Write a float64 rounded half to even."""
    if kind == F32:
        v.f32[at >> 2] = np.float32(value)
        return
    magnitude, bits = abs(value), np.int64(0x8000) if np.copysign(1.0, value) < 0 else np.int64(0)
    if np.isnan(value):
        bits = np.int64(0x7E00)
    elif magnitude >= 65520.0:
        bits |= np.int64(0x7C00)
    elif magnitude < 2.0**-14:
        bits |= np.int64(np.rint(magnitude * 2.0**24))
    else:
        exponent = np.int64(np.floor(np.log2(magnitude)))
        exponent += np.int64(magnitude >= 2.0 ** np.float64(exponent + 1)) - np.int64(
            magnitude < 2.0 ** np.float64(exponent)
        )
        quanta = np.int64(np.rint(magnitude * 2.0 ** np.float64(10 - exponent)))
        bits |= ((exponent + 14) << 10) + quanta
    v.u16[at >> 1] = np.uint16(bits)


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


@inlined
def _integer_lane(row: Array, a: Int, b: Int, c: Int) -> Int:
    """Compute one integer lane in 64 bits, before saturation or wrapping."""
    opcode = row[OPCODE]
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
        return _shift_right(S64, a * b, row[SHIFT], row[ROUND]) + c
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
        return _shift_right(row[TYPE_A], a, b, row[ROUND])
    if opcode == SELECT:
        return b if a != 0 else c
    if opcode == LESS_THAN:
        return np.int64(a < b)
    if opcode == CLZ:
        return _leading_zeros(row[TYPE_A], a)
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
def _elementwise(v: Views, row: Array, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run any lane-wise integer operation on any types."""
    first = second = third = np.int64(0)
    for lane in range(row[LANES]):
        first = _get(v, row[TYPE_A], a + lane * row[STEP_A])
        if row[SOURCES] > 1:
            second = _get(v, row[TYPE_B], b + lane * row[STEP_B])
        if row[SOURCES] > 2:
            third = _get(v, row[TYPE_C], c + lane * row[STEP_C])
        value = _integer_lane(row, first, second, third)
        value = min(max(value, row[LOW]), row[HIGH]) if row[SATURATE] else _wrap(row[RESULT], value)
        _put(v, row[HELD], d + lane * row[STEP_D], value)


@kernel
def _horizontal(v: Views, row: Array, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run the operations that combine several source lanes into one."""
    opcode, lanes = row[OPCODE], row[LANES]
    if opcode == REDUCE_ADD:
        total = _get(v, row[TYPE_B], b) if row[SOURCES] > 1 else np.int64(0)
        for lane in range(lanes):
            total += _get(v, row[TYPE_A], a + lane * row[STEP_A])
        _put(v, row[HELD], d, _wrap(row[RESULT], total))
        return
    for lane in range(lanes):
        value = _get(v, row[TYPE_C], c + lane * row[STEP_C]) if row[SOURCES] > 2 else np.int64(0)
        if opcode == DOT:
            for j in range(lane * row[GROUP], (lane + 1) * row[GROUP]):
                value += _get(v, row[TYPE_A], a + j * row[STEP_A]) * _get(v, row[TYPE_B], b + j * row[STEP_B])
            value = min(max(value, row[LOW]), row[HIGH]) if row[SATURATE] else value
        elif opcode == PERMUTE:
            source = v.i64[(row[X0] >> 3) + lane]
            within = source if source < row[X1] else source - row[X1]
            value = _get(v, row[TYPE_A], (a if source < row[X1] else b) + within * row[STEP_A])
        else:  # HORIZONTAL_ADD: pairs of a, then pairs of b, inside each block of GROUP lanes
            block, place = lane // row[GROUP], lane % row[GROUP]
            half = row[GROUP] // 2
            pair = (a if place < half else b) + (block * row[GROUP] + 2 * (place % half)) * row[STEP_A]
            value = _get(v, row[TYPE_A], pair) + _get(v, row[TYPE_A], pair + row[STEP_A])
        _put(v, row[HELD], d + lane * row[STEP_D], _wrap(row[RESULT], value))


@kernel
def _floating(v: Views, row: Array, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run float operations and conversions; products and sums in float64, then rounded to the result."""
    second = third = 0.0
    for lane in range(row[LANES]):
        at = d + lane * row[STEP_D]
        if row[OPCODE] == TO_FLOAT and row[TYPE_A] < F16:
            _put_float(v, row[RESULT], at, np.float64(_get(v, row[TYPE_A], a + lane * row[STEP_A])))
            continue
        first = _get_float(v, row[TYPE_A], a + lane * row[STEP_A])
        if row[OPCODE] == TO_INTEGER:
            rounded = np.rint(first)
            inside = np.float64(row[LOW]) <= rounded <= np.float64(row[HIGH])
            limit = row[HIGH] if row[SATURATE] and rounded > 0 else row[LOW]
            _put(v, row[HELD], at, np.int64(rounded) if inside else limit)
            continue
        if row[SOURCES] > 1:
            second = _get_float(v, row[TYPE_B], b + lane * row[STEP_B])
        if row[SOURCES] > 2:
            third = _get_float(v, row[TYPE_C], c + lane * row[STEP_C])
        _put_float(v, row[RESULT], at, _float_lane(row[INNER], first, second, third))


@kernel
def _dot(a: Array, b: Array) -> np.int32:
    """Sum of products, wrapping; over slices, whose plain loop the compiler vectorises."""
    total = np.int32(0)
    for i in range(a.size):
        total = np.int32(total + np.int32(a[i]) * np.int32(b[i]))
    return total


@kernel
def _block(v: Views, row: Array, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run a block instruction; X0.. are its extents and strides in bytes."""
    opcode, rows = row[OPCODE], row[X0]
    for i in range(rows):
        if opcode == COPY_BLOCK:
            for j in range(row[X1]):
                v.u8[d + i * row[X3] + j] = v.u8[a + i * row[X2] + j]
        elif opcode == FILL_BLOCK:
            for j in range(row[X1]):
                _put(v, row[RESULT], d + i * row[X2] + j * row[STEP_D], _get(v, row[TYPE_A], a))
        elif opcode == MATRIX_MULTIPLY:
            for j in range(row[X2]):
                at = (d + i * row[X5] + 4 * j) >> 2
                total = v.i32[at] if row[SOURCES] > 2 else np.int32(0)
                left, right = a + i * row[X3], b + j * row[X4]
                v.i32[at] = np.int32(total + _dot(v.i8[left : left + row[X1]], v.i8[right : right + row[X1]]))
        else:
            for j in range(row[X1]):
                word = b + 8 * j
                scale = _scale19(v, word)
                offset = (np.int64(v.u32[(word >> 2) + 1]) >> 5) & 511
                offset = offset - 512 if offset > 255 else offset
                value = np.float32(v.i32[((a + i * row[X2]) >> 2) + j]) * scale
                value = np.rint(min(max(value, np.float32(-256)), np.float32(255)))
                low, high = row[LOW], row[HIGH]
                if row[SOURCES] > 2:
                    low, high = np.int64(v.i8[c]), np.int64(v.i8[c + 1])
                _put(v, row[RESULT], d + i * row[X3] + j, min(max(np.int64(value) + offset, low), high))


@kernel
def _scale19(v: Views, word: Int) -> Float:
    """Return the float32 in the low half of a quantisation word, with its low 13 bits cut."""
    bits = np.int64(v.u32[word >> 2]) & _FP19_MASK
    exponent, fraction = (bits >> 23) & 255, bits & 0x7FFFFF
    if exponent == 0:
        return np.float32(0.0)
    sign = np.float32(-1.0) if bits >> 31 else np.float32(1.0)
    return sign * np.float32((0x800000 + fraction) * 2.0 ** np.float64(exponent - 150))


@inlined
def _add_words(v: Views, code: Array, i: Int, d: Int, a: Int, b: Int) -> None:
    step_a, step_b = code[i, STEP_A] >> 2, code[i, STEP_B] >> 2
    for j in range(code[i, LANES]):
        v.i32[(d >> 2) + j] = np.int32(v.i32[(a >> 2) + j * step_a] + v.i32[(b >> 2) + j * step_b])


@inlined
def _multiply_add_words(v: Views, code: Array, i: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    step_a, step_b, step_c = code[i, STEP_A] >> 2, code[i, STEP_B] >> 2, code[i, STEP_C] >> 2
    for j in range(code[i, LANES]):
        total = v.i32[(a >> 2) + j * step_a] * v.i32[(b >> 2) + j * step_b]
        v.i32[(d >> 2) + j] = np.int32(total + v.i32[(c >> 2) + j * step_c])


@inlined
def _dot_halves(v: Views, code: Array, i: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    step_c, x, y = code[i, STEP_C] >> 2, a >> 1, b >> 1
    for j in range(code[i, LANES]):
        total = v.i32[(c >> 2) + j * step_c] + np.int32(v.i16[x + 2 * j]) * np.int32(v.i16[y + 2 * j])
        total += np.int32(v.i16[x + 2 * j + 1]) * np.int32(v.i16[y + 2 * j + 1])
        v.i32[(d >> 2) + j] = np.int32(total)


@inlined
def _dot_bytes(v: Views, code: Array, i: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    step_c = code[i, STEP_C] >> 2
    for j in range(code[i, LANES]):
        total = np.int32(v.i32[(c >> 2) + j * step_c])
        x, y = a + 4 * j, b + 4 * j
        total += np.int32(v.u8[x]) * np.int32(v.i8[y]) + np.int32(v.u8[x + 1]) * np.int32(v.i8[y + 1])
        total += np.int32(v.u8[x + 2]) * np.int32(v.i8[y + 2]) + np.int32(v.u8[x + 3]) * np.int32(v.i8[y + 3])
        v.i32[(d >> 2) + j] = np.int32(total)


@inlined
def _multiply_add_halves(v: Views, code: Array, i: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    step_a, step_b, step_c = code[i, STEP_A] >> 1, code[i, STEP_B] >> 1, code[i, STEP_C] >> 2
    for j in range(code[i, LANES]):
        total = np.int32(v.i16[(a >> 1) + j * step_a]) * np.int32(v.i16[(b >> 1) + j * step_b])
        v.i32[(d >> 2) + j] = np.int32(total + v.i32[(c >> 2) + j * step_c])


@inlined
def _multiply_add_bytes(v: Views, code: Array, i: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    step_a, step_b, step_c = code[i, STEP_A], code[i, STEP_B], code[i, STEP_C] >> 1
    for j in range(code[i, LANES]):
        total = np.int16(v.i8[a + j * step_a]) * np.int16(v.i8[b + j * step_b])
        v.i16[(d >> 1) + j] = np.int16(total + v.i16[(c >> 1) + j * step_c])


@kernel
def _general(v: Views, row: Array, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run one operation in its general form."""
    opcode = row[OPCODE]
    if opcode >= COPY_BLOCK:
        _block(v, row, d, a, b, c)
    elif opcode >= FLOAT:
        _floating(v, row, d, a, b, c)
    elif DOT <= opcode <= PERMUTE:
        _horizontal(v, row, d, a, b, c)
    else:
        _elementwise(v, row, d, a, b, c)


@kernel
def interpret(v: Views, code: Array, at: Array, increments: Array, counters: Array, executed: Array) -> None:
    """Run encoded code to its end.

    Parameters
    ----------
    v
        Views of the arena.
    code
        int64 (rows, COLUMNS): micro-operations; END_LOOP rows hold target, trips, counter, first and last increment.
    at
        int64 (rows, 4): current byte of destination and sources, moved by ``increments``.
    increments
        int64 (moves, 3): row, operand, bytes per trip of the loop that owns the move.
    counters, executed
        int64: trips done per loop; executions per row.
    """
    i = np.int64(0)
    while i < code.shape[0]:
        executed[i] += 1
        opcode, lanes = code[i, OPCODE], code[i, LANES]
        d, a, b, c = at[i, 0], at[i, 1], at[i, 2], at[i, 3]
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
        elif opcode == COPY_WORDS:
            for j in range(lanes):
                v.i32[(d >> 2) + j] = v.i32[(a >> 2) + j]
        elif opcode == COPY_DOUBLES:
            for j in range(lanes):
                v.i64[(d >> 3) + j] = v.i64[(a >> 3) + j]
        elif opcode == COPY_BYTES:
            for j in range(lanes):
                v.u8[d + j] = v.u8[a + j]
        elif opcode == LOAD_BYTE:
            v.i32[d >> 2] = np.int32(v.i8[a])
        elif opcode == LOAD_BYTE_HELD:
            v.i64[d >> 3] = np.int64(v.i8[a])
        elif opcode == ADD_WORD_HELD:
            v.i64[d >> 3] = np.int64(np.int32(v.i32[a >> 2] + v.i32[b >> 2]))
        elif opcode == MULTIPLY_WORD_HELD:
            v.i64[d >> 3] = np.int64(np.int32(v.i32[a >> 2] * v.i32[b >> 2]))
        elif opcode == EXTEND_BYTES:
            for j in range(lanes):
                v.i16[(d >> 1) + j] = np.int16(v.i8[a + j * code[i, STEP_A]])
        elif opcode == ADD_WORDS:
            _add_words(v, code, i, d, a, b)
        elif opcode == MULTIPLY_ADD_WORDS:
            _multiply_add_words(v, code, i, d, a, b, c)
        elif opcode == DOT_HALVES:
            _dot_halves(v, code, i, d, a, b, c)
        elif opcode == DOT_BYTES:
            _dot_bytes(v, code, i, d, a, b, c)
        elif opcode == MULTIPLY_ADD_HALVES:
            _multiply_add_halves(v, code, i, d, a, b, c)
        elif opcode == MULTIPLY_ADD_BYTES:
            _multiply_add_bytes(v, code, i, d, a, b, c)
        elif opcode != NOTHING:
            _general(v, code[i], d, a, b, c)
        i += 1
