"""Products of int8 matrices for the cube's instruction: small tiles whose sums stay in registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from workloads.executor import memory
from workloads.kernels.jit import kernel
from workloads.kernels.llvm import I8, I16, I32, I64, count_up, declare, load, processor_features, store
from workloads.kernels.tile import PAIRS, dot

if TYPE_CHECKING:
    from workloads.executor.floats import Int

ROWS, COLUMNS, DEPTH = 4, 2, 16  # of a tile: products of a row by a column are taken 16 at a time


def add_tile(a: Int, a_pitch: Int, b: Int, b_pitch: Int, depth: Int, d: Int, d_pitch: Int) -> None:
    """Add the products of ROWS rows of a by COLUMNS rows of b to int32 d; ``depth`` is a multiple of DEPTH."""
    for row in range(ROWS):
        for column in range(COLUMNS):
            add_products(a + row * a_pitch, b + column * b_pitch, depth, d + row * d_pitch + 4 * column)


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _add_tile(context: Any, a: Any, a_pitch: Any, b: Any, b_pitch: Any, depth: Any, d: Any, d_pitch: Any) -> Any:  # noqa: ARG001 - numba's protocol
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - as above
        a, a_pitch, b, b_pitch, depth, d, d_pitch = arguments
        sums, halves = ir.VectorType(I32, DEPTH // 2), ir.VectorType(I16, DEPTH)
        places = [(row, column) for row in range(ROWS) for column in range(COLUMNS)]

        def plus(address: Any, number: int, pitch: Any) -> Any:
            return builder.add(address, builder.mul(pitch, ir.Constant(I64, number)))

        def widened(address: Any) -> Any:
            value = builder.sext(load(builder, ir.VectorType(I8, DEPTH), address), halves)
            return builder.bitcast(value, sums)

        def step(index: Any, carried: list[Any]) -> list[Any]:
            at = builder.mul(index, ir.Constant(I64, DEPTH))
            left = [widened(builder.add(plus(a, row, a_pitch), at)) for row in range(ROWS)]
            right = [widened(builder.add(plus(b, column, b_pitch), at)) for column in range(COLUMNS)]
            features = processor_features()
            return [
                dot(builder, features, PAIRS, (held, left[row], right[column]))
                for held, (row, column) in zip(carried, places, strict=True)
            ]

        zero = ir.Constant(sums, [0] * sums.count)
        totals = count_up(builder, builder.sdiv(depth, ir.Constant(I64, DEPTH)), [zero] * len(places), step)
        reduce = declare(builder, f"llvm.vector.reduce.add.v{sums.count}i32", I32, [sums])
        for total, (row, column) in zip(totals, places, strict=True):
            at = builder.add(plus(d, row, d_pitch), ir.Constant(I64, 4 * column))
            store(builder, builder.add(load(builder, I32, at), builder.call(reduce, [total])), at)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


@overload(add_tile)  # type: ignore[untyped-decorator]  # numba has no types
def _compiled(a: Any, a_pitch: Any, b: Any, b_pitch: Any, depth: Any, d: Any, d_pitch: Any) -> Any:  # noqa: ARG001 - numba's protocol
    def implementation(a: Any, a_pitch: Any, b: Any, b_pitch: Any, depth: Any, d: Any, d_pitch: Any) -> Any:
        return _add_tile(a, a_pitch, b, b_pitch, depth, d, d_pitch)

    return implementation


@kernel
def add_products(a: Int, b: Int, depth: Int, at: Int) -> None:
    """Add the products of two rows of int8 to the int32 at an address."""
    total = memory.read_s32(at)
    for step in range(depth):
        total += memory.read_s8(a + step) * memory.read_s8(b + step)
    memory.write_32(at, total)


@kernel
def multiply_matrix(
    a: Int, a_pitch: Int, b: Int, b_pitch: Int, d: Int, d_pitch: Int, m: Int, depth: Int, n: Int
) -> None:
    """Add a (m, depth) times the transpose of b (n, depth) to d (m, n); pitches in bytes."""
    whole = np.int64(depth // DEPTH * DEPTH)
    for j in range(0, n, COLUMNS):
        for i in range(0, m, ROWS):
            left, right, at = a + i * a_pitch, b + j * b_pitch, d + i * d_pitch + 4 * j
            first = np.int64(0)
            if whole and i + ROWS <= m and j + COLUMNS <= n:
                add_tile(left, a_pitch, right, b_pitch, whole, at, d_pitch)
                first = whole
            if first == depth:
                continue
            for row in range(min(ROWS, m - i)):
                for column in range(min(COLUMNS, n - j)):
                    add_products(
                        left + row * a_pitch + first, right + column * b_pitch + first, depth - first,
                        at + row * d_pitch + 4 * column,
                    )  # fmt: skip
