"""Requantisation as a pass of its own on x86, over int32 sums that a convolution stored by whole vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import x86
from workloads.codegen.common import nest, split
from workloads.program import Address, Buffer

if TYPE_CHECKING:
    from workloads.codegen.regions import Constants
    from workloads.codegen.x86 import Body, Dialect
    from workloads.isa import InstructionSet


def buffer(pixels: int, groups: int, vectors: int, dialect: Dialect) -> Buffer:
    """Declare the stored sums: (pixel, group, vector, lane)."""
    return Buffer("sums", pixels * groups * vectors * dialect.vector_bytes)


def requantize(
    pixels: int, groups: int, channels: int, isa: InstructionSet, dialect: Dialect, table: Constants
) -> Body:
    """Requantise the sums of ``groups`` times ``channels`` per pixel, some pixels of a vector at a time."""
    whole, tail = divmod(channels, dialect.lanes)
    vector_bytes, group_bytes = dialect.vector_bytes, (whole + bool(tail)) * dialect.vector_bytes
    body: Body = ()
    for first, size, trips in split(pixels, x86.PIXELS):
        for vector, count, vectors in ((0, dialect.lanes, whole), (whole, tail, int(tail > 0))):
            scale = table.address("scale", vector * vector_bytes, group=group_bytes, vector=vector_bytes)
            words = Address("sums", first * groups * group_bytes + vector * vector_bytes).plus(
                pixels=size * groups * group_bytes, group=group_bytes, vector=vector_bytes
            )
            results = Address("output", first * groups * channels + vector * dialect.lanes).plus(
                pixels=size * groups * channels, group=channels, vector=dialect.lanes
            )
            places = [
                (words.plus(pixel * groups * group_bytes), results.plus(pixel * groups * channels), count)
                for pixel in range(size)
            ]
            loops = [("pixels", trips), ("group", groups), ("vector", vectors)]
            body += nest(isa, loops, _vector(dialect, table, scale, places) if vectors else ())
    return body


def _vector(dialect: Dialect, table: Constants, scale: Address, places: list[tuple[Address, Address, int]]) -> Body:
    """Requantise one vector of channels at each (sums, result, lanes)."""
    held, *spare = (dialect.register(len(places) + index) for index in range(1 + x86.TEMPORARIES))
    body: Body = (x86.load(dialect, held, scale, dialect.vector_bytes),)
    results = []
    for index, (words, result, count) in enumerate(places):
        register = dialect.register(index)
        body += (x86.load(dialect, register, words, dialect.vector_bytes),)
        results.append(x86.Result(register, result, count, x86.scaled(register, held)))
    return body + x86.finish(dialect, table, results, spare)
