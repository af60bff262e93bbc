"""Block instructions of the interpreter: copies, fills, matrix products, requantisation."""

from __future__ import annotations

import numpy as np

from workloads.executor import codes as k
from workloads.executor import memory
from workloads.executor.floats import Int, scale19
from workloads.executor.lanes import column, get, put
from workloads.executor.matrix import multiply_matrix
from workloads.kernels.jit import kernel


@kernel
def block(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run a block instruction; X0.. are its extents and strides in bytes."""
    opcode = column(row, k.OPCODE)
    x0, x1, x2, x3 = column(row, k.X0), column(row, k.X1), column(row, k.X2), column(row, k.X3)
    if opcode == k.COPY_BLOCK:
        for i in range(x0):
            memory.copy(d + i * x3, a + i * x2, x1)
    elif opcode == k.FILL_BLOCK:
        for i in range(x0):
            for j in range(x1):
                put(column(row, k.RESULT), d + i * x2 + j * column(row, k.STEP_D), get(column(row, k.TYPE_A), a))
    elif opcode == k.MATRIX_MULTIPLY:
        if column(row, k.SOURCES) == 2:
            _clear(d, column(row, k.X5), x0, x2)
        multiply_matrix(a, x3, b, column(row, k.X4), d, column(row, k.X5), x0, x1, x2)
    else:
        for i in range(x0):
            _requantize_row(row, d + i * x3, a + i * x2, b, c)


@kernel
def _clear(d: Int, pitch: Int, rows: Int, columns: Int) -> None:
    """Set a matrix of int32 to zero."""
    for i in range(rows):
        for j in range(columns):
            memory.write_32(d + i * pitch + 4 * j, np.int64(0))


@kernel
def _requantize_row(row: Int, d: Int, a: Int, words: Int, bounds: Int) -> None:
    """Requantise one row of accumulators by the quantisation word of each column."""
    low, high = column(row, k.LOW), column(row, k.HIGH)
    if column(row, k.SOURCES) > 2:
        low, high = memory.read_s8(bounds), memory.read_s8(bounds + 1)
    for j in range(column(row, k.X1)):
        word = memory.read_u32(words + 8 * j)
        offset = (memory.read_s32(words + 8 * j + 4) >> 5) & 511
        offset = offset - 512 if offset > 255 else offset
        # The scale's 11 significant bits make the float64 product exact; float32 rounds it once.
        value = np.float32(np.float64(np.float32(memory.read_s32(a + 4 * j))) * scale19(word))
        value = np.rint(min(max(value, np.float32(-256)), np.float32(255)))
        put(column(row, k.RESULT), d + j, min(max(np.int64(value) + offset, low), high))
