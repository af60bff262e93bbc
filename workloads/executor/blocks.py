"""Block instructions of the interpreter: copies, fills, matrix products, requantisation."""

from __future__ import annotations

import numpy as np

from workloads.executor import memory
from workloads.executor.codes import (
    COPY_BLOCK,
    FILL_BLOCK,
    HIGH,
    LOW,
    MATRIX_MULTIPLY,
    OPCODE,
    RESULT,
    SOURCES,
    STEP_D,
    TYPE_A,
    X0,
    X1,
    X2,
    X3,
    X4,
    X5,
)
from workloads.executor.floats import Int, scale19
from workloads.executor.lanes import column, get, put
from workloads.kernels.jit import kernel


@kernel
def block(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run a block instruction; X0.. are its extents and strides in bytes."""
    opcode = column(row, OPCODE)
    x1, x2, x3 = column(row, X1), column(row, X2), column(row, X3)
    for i in range(column(row, X0)):
        if opcode == COPY_BLOCK:
            for j in range(x1):
                memory.write_8(d + i * x3 + j, memory.read_s8(a + i * x2 + j))
        elif opcode == FILL_BLOCK:
            for j in range(x1):
                put(column(row, RESULT), d + i * x2 + j * column(row, STEP_D), get(column(row, TYPE_A), a))
        elif opcode == MATRIX_MULTIPLY:
            for j in range(x2):
                at = d + i * column(row, X5) + 4 * j
                total = np.int32(memory.read_s32(at)) if column(row, SOURCES) > 2 else np.int32(0)
                left, right = a + i * x3, b + j * column(row, X4)
                for k in range(x1):
                    total = np.int32(total + np.int32(memory.read_s8(left + k)) * np.int32(memory.read_s8(right + k)))
                memory.write_32(at, total)
        else:
            _requantize_row(row, d + i * x3, a + i * x2, b, c)


@kernel
def _requantize_row(row: Int, d: Int, a: Int, words: Int, bounds: Int) -> None:
    """Requantise one row of accumulators by the quantisation word of each column."""
    low, high = column(row, LOW), column(row, HIGH)
    if column(row, SOURCES) > 2:
        low, high = memory.read_s8(bounds), memory.read_s8(bounds + 1)
    for j in range(column(row, X1)):
        word = memory.read_u32(words + 8 * j)
        offset = (memory.read_s32(words + 8 * j + 4) >> 5) & 511
        offset = offset - 512 if offset > 255 else offset
        # The scale's 11 significant bits make the float64 product exact; float32 rounds it once.
        value = np.float32(np.float64(np.float32(memory.read_s32(a + 4 * j))) * scale19(word))
        value = np.rint(min(max(value, np.float32(-256)), np.float32(255)))
        put(column(row, RESULT), d + j, min(max(np.int64(value) + offset, low), high))
