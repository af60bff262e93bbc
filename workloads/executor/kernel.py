"""The compiled interpreter of encoded Programs: operands are byte addresses in one arena."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.executor import codes as k
from workloads.executor.blocks import block
from workloads.executor.fast import run_form
from workloads.executor.lanes import column, elementwise, floating, horizontal
from workloads.executor.memory import read_s64, write_64
from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.executor.floats import Int

ROW_BYTES = 8 * k.COLUMNS


@kernel
def _run(row: Int, opcode: Int) -> None:
    """Run one general micro-operation."""
    d, a, b, c = column(row, k.AT_D), column(row, k.AT_A), column(row, k.AT_B), column(row, k.AT_C)
    if opcode < k.DOT:
        elementwise(row, d, a, b, c)
    elif opcode < k.FLOAT:
        horizontal(row, d, a, b, c)
    elif opcode < k.COPY_BLOCK:
        floating(row, d, a, b, c)
    else:
        block(row, d, a, b, c)


@kernel
def _end_loop(row: Int) -> Int:
    """Count a trip, move the operands of the loop, and return the row to run next."""
    done, trips = column(row, k.DONE) + 1, column(row, k.TRIPS)
    again = done < trips
    factor = np.int64(1) if again else 1 - trips
    for move in range(column(row, k.FIRST_MOVE), column(row, k.LAST_MOVE), 16):
        at = read_s64(move)
        write_64(at, read_s64(at) + read_s64(move + 8) * factor)
    write_64(row + 8 * k.DONE, done if again else np.int64(0))
    write_64(row + 8 * k.TOTAL, column(row, k.TOTAL) + 1)
    return column(row, k.TARGET) if again else row + ROW_BYTES


@kernel
def interpret(row: Int, end: Int) -> None:
    """Run encoded rows, from the address of the first to the end of the last."""
    while row < end:
        opcode = column(row, k.OPCODE)
        if opcode >= k.FIRST_FORM:
            run_form(row, opcode)
        elif opcode == k.END_LOOP:
            row = _end_loop(row)
            continue
        else:
            _run(row, opcode)
        row += ROW_BYTES
