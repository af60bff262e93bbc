"""Runs a Program: the values that its instructions leave in its buffers, and what was executed.

The closed set of meanings (``Meaning.kind``). Lanes i run over the active lanes (``Instruction.count`` or
``Meaning.lanes``); sources a, b, c are registers, memory or immediates alike; an immediate, and a source listed in
``scalar_sources``, gives one element to every lane. Integer results wrap to ``result`` unless ``saturate``; a
register wider than its result keeps it sign-extended when ``holds`` says so. Lanes beyond the active ones stay as they
were, or become zero with ``zeroing``.

========================= ========================================================================================
load, store, move         d[i] = a[i], extended or cut to ``result``; ``shape = (stride_bytes,)`` strides the memory
immediate, broadcast,     d[i] = a[0], from an immediate, a register, memory
broadcast_load
extend                    d[i] = a[start + i * step], sign- or zero-extended (SXTB16 with ROR #8: start 1, step 2)
narrow                    d[i] = saturate(a[i]), or saturate(a[i] >> b) with ``rounding``
add, subtract, multiply,  d[i] = a[i] op b[i]; divide truncates towards zero, a zero divisor gives ``zero_quotient``
divide, and, or, xor,
minimum, maximum
multiply_add              d[i] = a[i] * b[i] + c[i]; c is the destination with ``accumulate``
multiply_high             d[i] = (a[i] * b[i] >> shift, with ``rounding``) + c[i] where c is given
dot                       d[i] = c[i] + sum of a[i * group + j] * b[i * group + j]; c as for multiply_add, or zero
shift_left, shift_right   d[i] = a[i] shifted by b[i]; right is arithmetic for signed a; ``rounding`` "up" adds half
less_than, select         d[i] = 1 if a[i] < b[i] else 0; d[i] = b[i] if a[i] != 0 else c[i]
count_leading_zeros       d[i] = zero bits above the highest one of a 32- or 64-bit a[i]
convert                   between integer and float or two floats, half to even; out of range gives the lowest integer,
                          or the nearest with ``saturate``
reduce_add,               d[0] = sum of a[i], + b[0] where b is given, or the largest of them; floats one after another
reduce_maximum            in float64
exponential, square_root  d[i] = e ** a[i]; square root of a[i]
gather                    d[i] = element b[i], or byte b[i] (``unit``), of the table that begins at memory address a
lookup                    d[i] = element b[i] mod ``group`` of the block of ``group`` elements of a that i lies in; 0
                          where b[i] is negative
horizontal_add            in each block of ``group`` lanes: sums of neighbouring pairs of a, then of b (VPHADDD: 4)
permute                   d[i] = lane ``indices[i]`` of a then b (``Meaning.lanes`` each); ``shape`` may give them
control                   nothing: loop counters, compares, branches; counted and timed only
copy_block                shape (rows, row_elements, source_stride_bytes, destination_stride_bytes)
fill_block                shape (rows, row_elements, destination_stride_bytes): every element = a[0]
matrix_multiply           shape (m, k, n[, pitches of a, b and d in bytes]): d (m, n) int32 = a (m, k) int8 times the
                          transpose of b (n, k) int8, all row-major; added to d with ``accumulate``
requantize_block          shape (rows, columns[, pitches of a and d in bytes]): d int8 from a int32, row-major:
                          saturate(round_half_even(clip(a * scale, -256, 255)) + offset); b holds one 64-bit word per
                          column: scale in the float32 pattern of bits 0..31 (low 13 cut), signed 9-bit offset in
                          bits 37..45; c, where given, the lowest and the highest result, a signed byte each
========================= ========================================================================================

Float lanes are rounded once to ``result``, half to even (multiply_add too: it is fused). A minimum or maximum of floats
is b unless a is smaller or larger, as on x86: of equal zeros the second. Memory may be unaligned, except for floats;
operands in memory coincide or do not overlap. The host is little-endian, as the modelled targets are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.legality import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.executor.encode import Code
    from workloads.program import Program
    from workloads.tensor import Array

_GIVEN = frozenset({"input", "weights", "parameters"})


@dataclass(frozen=True, eq=False)
class Execution:
    """What a run left and did.

    Parameters
    ----------
    buffers
        Every buffer after the run, uint8.
    instructions
        Executed instructions by mnemonic.
    loaded_bytes, stored_bytes
        Bytes moved by memory operands, by space. [B]
    """

    buffers: Mapping[str, Array]
    instructions: Mapping[str, int]
    loaded_bytes: Mapping[str, int]
    stored_bytes: Mapping[str, int]


def execute(program: Program, buffers: Mapping[str, Array]) -> Execution:
    """Run a Program once on the given contents of its buffers; see ``Executable``.

    Raises
    ------
    ValueError
        The Program is not legal, or the buffers do not fit; all faults at once.
    """
    return Executable(program).run(buffers)


class Executable:
    """A Program made ready to run many times.

    Raises
    ------
    ValueError
        The Program is not legal; all faults at once.
    """

    def __init__(self, program: Program) -> None:
        from workloads.executor.encode import encode

        check(program)
        self._program, self._code = program, encode(program)

    def run(self, buffers: Mapping[str, Array]) -> Execution:
        """Run on the given contents of its buffers; those not given start as zeros.

        Parameters
        ----------
        buffers
            By buffer name: any array with exactly the buffer's bytes. Inputs, weights and parameters must be given.

        Raises
        ------
        ValueError
            The buffers do not fit (all faults at once), or an index leads out of a table.
        """
        from workloads.executor.codes import GATHER, OPCODE, X2
        from workloads.executor.encode import ALIGNMENT
        from workloads.executor.kernel import interpret

        _check_buffers(self._program, buffers)
        code = self._code
        arena = np.zeros(code.arena_bytes + ALIGNMENT, np.uint8)
        arena = arena[-arena.ctypes.data % ALIGNMENT :][: code.arena_bytes]
        code.fill_constants(arena)
        for name, contents in buffers.items():
            raw = np.ascontiguousarray(contents).reshape(-1).view(np.uint8)
            arena[code.places[name] : code.places[name] + raw.size] = raw
        rows, _moves = code.arrays(arena.ctypes.data)
        interpret(rows.ctypes.data, rows.ctypes.data + rows.nbytes)
        if rows[rows[:, OPCODE] == GATHER, X2].any():
            raise ValueError(f"program {self._program.name!r}: an index leads out of the buffer that it looks up")
        return _execution(self._program, code, arena, rows)


def _check_buffers(program: Program, buffers: Mapping[str, Array]) -> None:
    """Refuse contents that do not fit the declared buffers."""
    declared = {buffer.name: buffer for buffer in program.buffers}
    problems = [
        f"buffer {name!r} is not declared; known: {', '.join(declared)}" for name in buffers if name not in declared
    ]
    for name, buffer in declared.items():
        if name not in buffers and buffer.role in _GIVEN:
            problems.append(f"buffer {name!r} ({buffer.role}) is not given; {buffer.bytes} bytes expected")
        elif name in buffers and buffers[name].nbytes != buffer.bytes:
            problems.append(f"buffer {name!r} has {buffers[name].nbytes} bytes; {buffer.bytes} expected")
    if problems:
        raise ValueError(f"program {program.name!r} cannot run:\n" + "\n".join(f"  {problem}" for problem in problems))


def _execution(program: Program, code: Code, arena: Array, rows: Array) -> Execution:
    """Gather the buffers and the counts of a finished run."""
    from workloads.executor.codes import TOTAL

    instructions: Counter[str] = Counter()
    loaded: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    for counted in code.counted:
        times = int(rows[counted.loop, TOTAL]) if counted.loop >= 0 else 1
        instructions[counted.mnemonic] += times
        for space, nbytes, is_store in counted.traffic:
            (stored if is_store else loaded)[space] += nbytes * times
    contents = {
        buffer.name: arena[code.places[buffer.name] : code.places[buffer.name] + buffer.bytes]
        for buffer in program.buffers
    }
    return Execution(contents, dict(instructions), dict(loaded), dict(stored))
