"""Operations of the interpreter on contiguous lanes of fixed types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.executor import memory
from workloads.executor.codes import (
    ADD_WORDS,
    BROADCAST,
    DOT_BYTES,
    DOT_HALVES,
    HELD,
    LANES,
    MULTIPLY_ADD_BYTES,
    MULTIPLY_ADD_HALVES,
    MULTIPLY_ADD_WORDS,
    RESULT,
    STEP_A,
    STEP_B,
    STEP_C,
    STEP_D,
    TYPE_A,
)
from workloads.executor.lanes import column, get, put, wrap
from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.executor.floats import Int


@kernel
def fast_vector(row: Int, opcode: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run an operation on contiguous lanes of fixed types, without a type switch in the loop."""
    step_a, step_b, step_c = column(row, STEP_A), column(row, STEP_B), column(row, STEP_C)
    lanes = column(row, LANES)
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
        held, value = column(row, HELD), wrap(column(row, RESULT), get(column(row, TYPE_A), a))
        for i in range(lanes):
            put(held, d + i * column(row, STEP_D), value)
    else:  # EXTEND_BYTES
        for i in range(lanes):
            memory.write_16(d + 2 * i, memory.read_s8(a + i * step_a))
