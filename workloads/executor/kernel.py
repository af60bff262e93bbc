"""The compiled interpreter of encoded Programs: operands are byte addresses in one arena."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.executor import memory
from workloads.executor.blocks import block
from workloads.executor.codes import (
    ADD_WORD_HELD,
    COLUMNS,
    COPY_BLOCK,
    COPY_BYTES,
    COPY_DOUBLES,
    COPY_WORDS,
    DOT,
    END_LOOP,
    FLOAT,
    LANES,
    LOAD_BYTE,
    LOAD_BYTE_HELD,
    MULTIPLY_WORD_HELD,
    NOTHING,
    OPCODE,
    X0,
    X1,
    X2,
    X3,
    X4,
)
from workloads.executor.fast import fast_vector
from workloads.executor.lanes import column, elementwise, floating, horizontal
from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.executor.floats import Int
    from workloads.tensor import Array


@kernel
def _run(row: Int, d: Int, a: Int, b: Int, c: Int) -> None:
    """Run one micro-operation."""
    opcode, lanes = column(row, OPCODE), column(row, LANES)
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
        fast_vector(row, opcode, d, a, b, c)
    elif opcode < DOT:
        elementwise(row, d, a, b, c)
    elif opcode < FLOAT:
        horizontal(row, d, a, b, c)
    elif opcode < COPY_BLOCK:
        floating(row, d, a, b, c)
    else:
        block(row, d, a, b, c)


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
