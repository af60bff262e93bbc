"""Products of two activations on scalar sets: the second is packed as weights are, sums of both correct zero points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.codegen import scalar as shared
from workloads.codegen.common import Body, loop, nest, split
from workloads.codegen.scalar_plan import STEP
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.scalar import Accumulators, Scalar
    from workloads.codegen.specs import MatMulSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

_UNROLL = 2  # steps of four products a trip


def generate(spec: MatMulSpec, scalar: Scalar) -> Program:
    """Return the Program of a matrix product.

    With zero points a and b, and n products per output, sum (x - a)(y - b) = sum x y - a sum y - b sum x + n a b: what
    stands behind sum x y starts the sums, by column ("of_columns", with n a b) and by row ("of_rows").
    """
    isa, space = scalar.isa, scalar.isa.spaces[0]
    body = _row_terms(spec, scalar) + _packed(spec, scalar)
    tiles: Body = ()
    for first_row, rows, row_trips in split(spec.rows, scalar.tile[0]):
        for first, columns, trips in split(spec.columns, scalar.tile[1]):
            tile = _tile(spec, scalar, (first_row, rows), (first, columns))
            tiles += nest(isa, [("rows", row_trips), ("columns", trips)], tile)
    body = (*(scalar.load_constants() if scalar.keeps_constants else ()), *loop(isa, "batch", spec.batch, body + tiles))
    buffers = (
        Buffer("input", spec.batch * spec.rows * spec.depth, space, "input"),
        Buffer("input2", spec.batch * spec.depth * spec.columns, space, "input"),
        Buffer("parameters", shared.HEADER_BYTES + scalar.record_bytes, space, "parameters"),
        Buffer("packed", spec.depth * spec.columns, space),
        Buffer("of_rows", 4 * spec.rows, space),
        Buffer("of_columns", 4 * spec.columns, space),
        Buffer("output", spec.batch * spec.rows * spec.columns, space, "output"),
    )
    return Program(f"{isa.name}_matmul", isa, buffers, body, spec.macs, scalar.profile)


def _row_terms(spec: MatMulSpec, scalar: Scalar) -> Body:
    """Store -b sum x of each row."""
    total, *others = scalar.values
    at = Address("input", 0, (("batch", spec.rows * spec.depth), ("line", spec.depth)))
    body: Body = (scalar.emit("immediate", total, 0),)
    for first, size, trips in split(spec.depth, len(others)):
        part: Body = ()
        for number, value in enumerate(others[:size]):
            part += (scalar.emit("load_byte", value, at.plus(first + number, depth=size)),)
            part += (scalar.emit("add", total, total, value),)
        body += loop(scalar.isa, "depth", trips, part)
    body += _times(scalar, total, shared.SECOND_ZERO_POINT)
    body += (scalar.emit("store_word", Address("of_rows", 0, (("line", 4),)), total),)
    return loop(scalar.isa, "line", spec.rows, body)


def _packed(spec: MatMulSpec, scalar: Scalar) -> Body:
    """Copy each column: by tile of columns, step of four and column; then what is left, by row and column.

    Store n a b - a sum y of each.
    """
    isa, (total, *others) = scalar.isa, scalar.values
    steps, rest = divmod(spec.depth, STEP)
    body: Body = ()
    for first, columns, trips in split(spec.columns, scalar.tile[1]):
        moves = {"columns": columns, "column": 1}
        source = Address("input2", first, (("batch", spec.depth * spec.columns),)).plus(**moves)
        target = Address("packed", first * spec.depth).plus(columns=columns * spec.depth)
        column: Body = (scalar.emit("immediate", total, 0),)
        for start, size, times in ((0, STEP, steps), (steps * STEP, rest, 1)):
            part: Body = ()
            pitch = 1 if size == STEP else columns  # bytes from one row of a column to the next
            for number in range(size):
                value = others[number % len(others)]
                read = source.plus((start + number) * spec.columns, depth=STEP * spec.columns)
                written = target.plus(start * columns + number * pitch, depth=STEP * columns)
                written = written.plus(column=STEP if size == STEP else 1)
                part += (scalar.emit("load_byte", value, read), scalar.emit("store_byte", written, value))
                part += (scalar.emit("add", total, total, value),)
            column += loop(isa, "depth", times, part)
        column += _times(scalar, total, shared.FIRST_ZERO_POINT)
        column += (
            scalar.emit("load_word", scalar.spare, scalar.record(0)),
            scalar.emit("add", total, total, scalar.spare),
            scalar.emit(
                "store_word", Address("of_columns", 4 * first, (("columns", 4 * columns), ("column", 4))), total
            ),
        )
        body += nest(isa, [("columns", trips), ("column", columns)], column)
    return body


def _times(scalar: Scalar, value: str, zero_point: int) -> Body:
    """Multiply by the negative zero point at an offset of the parameters."""
    return (
        scalar.emit("load_word", scalar.spare, Address("parameters", zero_point)),
        scalar.emit("multiply", value, value, scalar.spare),
    )


def _tile(spec: MatMulSpec, scalar: Scalar, row: tuple[int, int], column: tuple[int, int]) -> Body:
    """Start the sums of a tile, accumulate its products, requantise and store."""
    (first_row, rows), (first, columns) = row, column
    names = iter(scalar.values)
    accumulators: Accumulators = tuple(tuple(next(names) for _ in range(columns)) for _ in range(rows))
    body: Body = ()
    for number, value in enumerate(accumulators[0]):
        start = Address("of_columns", 4 * (first + number), (("columns", 4 * columns),))
        body += (scalar.emit("load_word", value, start),)
        body += tuple(scalar.emit("move", other[number], value) for other in accumulators[1:])
    for number, values in enumerate(accumulators):
        start = Address("of_rows", 4 * (first_row + number), (("rows", 4 * rows),))
        body += (scalar.emit("load_word", scalar.spare, start),)
        body += tuple(scalar.emit("add", value, value, scalar.spare) for value in values)
    at = Address("input", first_row * spec.depth, (("batch", spec.rows * spec.depth), ("rows", rows * spec.depth)))
    inputs = tuple(at.plus(number * spec.depth) for number in range(rows))
    weights = Address("packed", first * spec.depth, (("columns", columns * spec.depth),))
    body += _products(spec, scalar, accumulators, inputs, weights)
    if not scalar.keeps_constants:
        body += scalar.load_constants()
    body += scalar.load_parameters(scalar.record(0).plus(8))
    batch = (("batch", spec.rows * spec.columns),)
    for number, values in enumerate(accumulators):
        out = Address("output", (first_row + number) * spec.columns + first, batch)
        out = out.plus(rows=rows * spec.columns, columns=columns)
        for place, value in enumerate(values):
            body += scalar.finish(value, out.plus(place))
    return body


def _products(
    spec: MatMulSpec, scalar: Scalar, accumulators: Accumulators, inputs: tuple[Address, ...], weights: Address
) -> Body:
    """Multiply-accumulate along the depth: steps of four, several a trip, then single products."""
    columns, steps = len(accumulators[0]), spec.depth // STEP
    body: Body = ()
    for first, size, trips in split(steps, _UNROLL):
        part: Body = ()
        for step in range(first, first + size):
            moved = tuple(at.plus(step * STEP, depth=size * STEP) for at in inputs)
            part += scalar.step(accumulators, moved, weights.plus(step * STEP * columns, depth=size * STEP * columns))
        body += loop(scalar.isa, "depth", trips, part)
    for element in range(steps * STEP, spec.depth):
        body += scalar.single(accumulators, tuple(at.plus(element) for at in inputs), weights.plus(element * columns))
    return body


def pack(spec: MatMulSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Return the negative zero points, n a b, and the one scale."""
    first, second = operands.input_zero_points
    head = shared.header(0, operands.output_zero_point, operands.low, operands.high, -first, -second)
    scales = effective_scales(operands, scalar.profile)[:1]
    start = np.array([spec.depth * first * second], np.int64).astype(np.int32)
    record = shared.records(scalar, start, *quantize_multipliers(scales))
    return {"parameters": shared.as_bytes(head + record)}
