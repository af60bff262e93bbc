"""The table of a function of one value, as the sets that look bytes up keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.tensor import Array

BYTES = 256
CENTER = 128  # the place of the result of 0 among those of -128 to 127
NIBBLES = 16  # bytes that VPSHUFB chooses from
STEPS = BYTES // NIBBLES


def table_of(operands: Operands) -> Array:
    """Return the outputs of the inputs from -128 to 127.

    Raises
    ------
    ValueError
        The layer is no function of one value.
    """
    if operands.table is None:
        raise ValueError("a lookup needs the table of its function; these operands have none")
    return operands.table


def pack(operands: Operands) -> dict[str, Array]:
    """Return the table from the lowest input to the highest."""
    return {"parameters": table_of(operands).view(np.uint8)}


def pack_unsigned(operands: Operands) -> dict[str, Array]:
    """Return the table by the inputs' bytes as unsigned numbers: from 0 up, then from -128 up."""
    return {"parameters": np.roll(table_of(operands), CENTER).view(np.uint8)}


def pack_steps(operands: Operands, vector_bytes: int) -> dict[str, Array]:
    """Return what VPSHUFB chooses from at each step, each repeated to a vector, and the number 16 in every byte.

    With T[h] for the inputs from 16 h to 16 h + 15, h from -8 to 7. The input plus 16 k, wrapped, is not negative for
    -k <= h <= 7 - k: steps k = 1 to 8 turn T[-k - 1] into T[-k], so that T[h] is left where h < 0, and
    T[-1] ^ T[h - 8] elsewhere. The input less 16 i, saturated, is not negative for h >= i: steps i = 0 to 7 turn that
    into T[h].
    """
    tables = table_of(operands).view(np.uint8).reshape(STEPS, NIBBLES)  # T[h] is row h + 8
    half = STEPS // 2
    # By exclusive or, what a step adds is the difference to what the step before left.
    up = [tables[half - k] ^ (tables[half - k - 1] if k < half else 0) for k in range(1, half + 1)]
    wanted = [tables[half + h] ^ tables[half - 1] ^ tables[h] for h in range(half)]
    down = [wanted[0], *(wanted[h] ^ wanted[h - 1] for h in range(1, half))]
    rows = (*up, *down, np.full(NIBBLES, NIBBLES, np.uint8))
    return {"parameters": np.concatenate([np.tile(row, vector_bytes // NIBBLES) for row in rows])}
