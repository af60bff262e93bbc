"""Data movement on any set with addresses: boxes of bytes copied to their places with their true strides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import Body, nest, split
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workloads.codegen.specs import MoveSpec
    from workloads.isa import InstructionSet

UNROLL = 4  # short runs that are copied per trip, each through its own register
_SHORT = 8  # bytes
FILLED = frozenset({"pad", "spread"})  # kinds whose output has places that no input goes to


@dataclass(frozen=True)
class Box:
    """Bytes of one input that keep their order: ``loops`` of (trips, source stride, target stride) over runs. [B]"""

    source: int
    source_offset: int
    target_offset: int
    loops: tuple[tuple[int, int, int], ...]
    run: int


@dataclass(frozen=True)
class Fill:
    """How a set fills a run of bytes: what it loads first, the bytes of its "parameters", and a run of a store."""

    head: Body
    nbytes: int
    emit: Callable[[Address, int], Body]


def buffer_name(number: int) -> str:
    """Return the name of an input buffer, counted from 0: "input", "input2", "input3" ..."""
    return f"input{number + 1}" if number else "input"


def boxes(spec: MoveSpec) -> tuple[Box, ...]:
    """Return what is copied from where to where."""
    shape, out = spec.shapes[0], spec.output_shape
    source, target = _strides(shape), _strides(out)
    match spec.kind:
        case "pad":
            offset = sum(before * stride for (before, _), stride in zip(spec.argument, target, strict=True))
            return (box_of(0, 0, offset, shape, source, target),)
        case "concat":
            axis, found, offset = spec.argument[0], [], 0
            for number, part in enumerate(spec.shapes):
                found.append(box_of(number, 0, offset, part, _strides(part), target))
                offset += part[axis] * target[axis]
            return tuple(found)
        case "transpose":
            return (box_of(0, 0, 0, out, [source[axis] for axis in spec.argument], target),)
        case "slice":
            axis, begin, _ = spec.argument
            return (box_of(0, begin * source[axis], 0, out, source, target),)
        case "spread":
            rows, columns = spec.argument
            apart = (target[0], rows * target[1], columns * target[2], 1)
            return (box_of(0, 0, 0, shape, source, apart),)
        case "resample":
            return tuple(_resampled(spec, source, target))
    batch, height, width, channels = shape  # nearest: rows and columns repeat
    rows, columns = spec.argument
    extents = (batch, height, rows, width, columns, channels)
    read = (source[0], source[1], 0, source[2], 0, 1)
    written = (target[0], rows * target[1], target[1], columns * target[2], target[2], 1)
    return (box_of(0, 0, 0, extents, read, written),)


def _resampled(spec: MoveSpec, source: list[int], target: list[int]) -> Iterator[Box]:
    """Yield a box for each pair of progressions of rows and columns, from where and to where they go."""
    batch, _, _, channels = spec.shapes[0]
    for row in progressions(spec.argument[0]):
        for column in progressions(spec.argument[1]):
            read = (source[0], row.step * source[1], column.step * source[2], 1)
            written = (target[0], row.apart * target[1], column.apart * target[2], 1)
            at, to = (
                row.value * source[1] + column.value * source[2],
                row.place * target[1] + column.place * target[2],
            )
            yield box_of(0, at, to, (batch, row.number, column.number, channels), read, written)


@dataclass(frozen=True)
class Progression:
    """Places ``place``, ``place`` + ``apart`` ... of a list that hold ``value``, ``value`` + ``step`` ..."""

    place: int
    apart: int
    value: int
    step: int
    number: int


def progressions(indices: tuple[int, ...]) -> tuple[Progression, ...]:
    """Cut a list into the fewest interleaved progressions of equal distance: each period of it rises by the same."""
    values = np.array(indices)
    apart = next(size for size in range(1, len(values) + 1) if len(set((values[size:] - values[:-size]).tolist())) <= 1)
    step = int(values[apart] - values[0]) if apart < len(values) else 0
    return tuple(
        Progression(place, apart, int(values[place]), step, len(range(place, len(values), apart)))
        for place in range(apart)
    )


def _strides(shape: Sequence[int]) -> list[int]:
    """Return the distance of neighbours along each axis. [B]"""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def box_of(
    source: int, source_offset: int, target_offset: int, extents: Sequence[int], read: Sequence[int],
    written: Sequence[int],
) -> Box:  # fmt: skip
    """Join axes that are neighbours on both sides; the innermost contiguous ones are the run."""
    loops: list[tuple[int, int, int]] = []
    for extent, first, second in zip(extents, read, written, strict=True):
        if extent == 1:
            continue
        if loops and loops[-1][1:] == (extent * first, extent * second):
            extent *= loops.pop()[0]
        loops.append((extent, first, second))
    run = loops.pop()[0] if loops and loops[-1][1:] == (1, 1) else 1
    return Box(source, source_offset, target_offset, tuple(loops), run)


def generate(
    spec: MoveSpec, isa: InstructionSet, profile: str, copy: Callable[[Address, Address, int, int], Body], fill: Fill
) -> Program:
    """Return the Program of a data movement.

    Parameters
    ----------
    copy
        Emit the copy of a run: (target, source, bytes, number of the run among those of a trip).
    """
    space = isa.spaces[0]
    elements = math.prod(spec.output_shape)
    padded = spec.kind in FILLED
    body: Body = (*fill.head, *fill.emit(Address("output"), elements)) if padded else ()
    for box in boxes(spec):
        body += copied(box, isa, copy)
    inputs = tuple(
        Buffer(buffer_name(number), math.prod(shape), space, "input") for number, shape in enumerate(spec.shapes)
    )
    parameters = (Buffer("parameters", fill.nbytes, space, "parameters"),) if padded else ()
    buffers = (*inputs, *parameters, Buffer("output", elements, space, "output"))
    return Program(f"{isa.name}_{spec.kind}", isa, buffers, body, profile=profile)


def copied(box: Box, isa: InstructionSet, copy: Callable[[Address, Address, int, int], Body]) -> Body:
    """Copy a box; short runs go several a trip."""
    loops = list(box.loops)
    trips, first, second = loops.pop() if loops else (1, 0, 0)
    source = Address(buffer_name(box.source), box.source_offset)
    target = Address("output", box.target_offset)
    for number, (_, read, written) in enumerate(loops):
        source, target = source.plus(**{f"axis{number}": read}), target.plus(**{f"axis{number}": written})
    body: Body = ()
    for begin, size, times in split(trips, UNROLL if box.run < _SHORT else 1):
        inner: Body = ()
        for step in range(size):
            to = target.plus((begin + step) * second, inner=size * second)
            of = source.plus((begin + step) * first, inner=size * first)
            inner += copy(to, of, box.run, step)
        body += nest(isa, [("inner", times)], inner)
    return nest(isa, [(f"axis{number}", trips) for number, (trips, _, _) in enumerate(loops)], body)
