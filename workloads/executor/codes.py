"""Numbers of the encoded Programs: element types, micro-operations, columns of a row."""

from __future__ import annotations

# Element types.
S8, U8, S16, U16, S32, U32, S64, U64, F16, F32, F64 = range(11)

# Micro-operations: lane by lane on any type, then those that combine lanes, floats and blocks. What lies beyond is
# compiled for fixed types (``workloads.executor.forms``).
(
    END_LOOP, COPY, ADD, SUBTRACT, MULTIPLY, MULTIPLY_ADD, MULTIPLY_HIGH, MINIMUM, MAXIMUM, AND, OR, XOR,
    SHIFT_LEFT, SHIFT_RIGHT, SELECT, LESS_THAN, DIVIDE, CLZ, DOT, REDUCE_ADD, REDUCE_MAXIMUM, HORIZONTAL_ADD, PERMUTE,
    GATHER, LOOKUP, EXPONENTIAL, SQUARE_ROOT, FLOAT, TO_FLOAT, TO_INTEGER, COPY_BLOCK, FILL_BLOCK, MATRIX_MULTIPLY,
    REQUANTIZE_BLOCK, FIRST_FORM,
) = range(35)  # fmt: skip

# Columns of a row, all int64. The first eight fill a cache line: what a form with fixed types needs.
(
    OPCODE, LANES, AT_D, AT_A, AT_B, AT_C, SHIFT, GROUP,
    RESULT, HELD, TYPE_A, TYPE_B, TYPE_C, STEP_D, STEP_A, STEP_B, STEP_C, SOURCES, SATURATE,
    LOW, HIGH, ROUND, INNER, X0, X1, X2, X3, X4, X5,
) = range(29)  # fmt: skip
COLUMNS = 32

# Columns of the row that closes a loop: where its body begins, trips per run, trips done of this run and in all, and
# the moves of its operands: (address of a column, bytes per trip) from FIRST to LAST.
TARGET, TRIPS, DONE, TOTAL, FIRST_MOVE, LAST_MOVE = range(1, 7)
