"""Numbers of the encoded Programs: element types, micro-operations, columns of a row."""

from __future__ import annotations

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
