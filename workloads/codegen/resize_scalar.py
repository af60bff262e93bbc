"""Bilinear resizing on scalar sets, as many elements a trip as there are pairs of registers for values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import resize
from workloads.codegen.common import loop, split
from workloads.program import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workloads.codegen.common import Body
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs_images import ResizeSpec
    from workloads.program import Program
    from workloads.tensor import Array


def generate(spec: ResizeSpec, scalar: Scalar) -> Program:
    """Return the Program of a bilinear resize; a sum less one below zero rounds half away from it."""
    emit, (front, after, half) = scalar.emit, scalar.constants

    def weights(at: Address) -> Body:
        return emit("load_word", front, at), emit("load_word", after, at.plus(resize.WORD))

    def mixed(load: str, one: Address, other: Address, pair: tuple[str, str]) -> Body:
        """Leave the weighted sum of two elements in the first register of a pair."""
        value, spare = pair
        return (
            emit(load, value, one),
            emit(load, spare, other),
            emit("multiply", value, value, front),
            emit("multiply", spare, spare, after),
            emit("add", value, value, spare),
        )

    def down(at: Address, upper: Address, lower: Address) -> Body:
        def element(place: int, size: int, pair: tuple[str, str]) -> Body:
            one, other = (row.plus(place, run=size) for row in (upper, lower))
            target = Address("line", resize.WORD * place).plus(run=resize.WORD * size)
            return (*mixed("load_byte", one, other, pair), emit("store_word", target, pair[0]))

        return weights(at) + _each(scalar, spec.width * spec.channels, element)

    def across(pixels: Sequence[resize.Pixel]) -> Body:
        (pixel,) = pixels

        def element(place: int, size: int, pair: tuple[str, str]) -> Body:
            one, other = (side.plus(resize.WORD * place, run=resize.WORD * size) for side in (pixel.left, pixel.right))
            value, spare = pair
            return (
                *mixed("load_word", one, other, pair),
                emit("shift_right", spare, value, scalar.sign_shift),
                emit("add", value, value, half),
                emit("add", value, value, spare),
                emit("shift_right", value, value, resize.SHIFT),
                emit("store_byte", pixel.output.plus(place, run=size), value),
            )

        return weights(pixel.weights) + _each(scalar, spec.channels, element)

    head = (emit("immediate", half, resize.HALF),)
    kit = resize.Kit(head, down, across, resize.words(spec).nbytes)
    return resize.generate(spec, scalar.isa, scalar.profile, kit)


def _each(scalar: Scalar, elements: int, element: Callable[[int, int, tuple[str, str]], Body]) -> Body:
    """Emit a run of elements: (place, elements a trip, pair of registers) of each."""
    pairs = list(zip(scalar.values[::2], scalar.values[1::2], strict=True))
    body: Body = ()
    for first, size, trips in split(elements, len(pairs)):
        part = tuple(statement for n, pair in enumerate(pairs[:size]) for statement in element(first + n, size, pair))
        body += loop(scalar.isa, "run", trips, part)
    return body


def pack(spec: ResizeSpec) -> dict[str, Array]:
    """Return the weights."""
    return {"parameters": resize.words(spec).reshape(-1).view(np.uint8)}
