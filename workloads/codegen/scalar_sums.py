"""Requantisation as a pass of its own on scalar sets, over int32 sums that a convolution stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen.common import Body, loop, split
from workloads.program import Address, Buffer

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar

_PIXELS = 4  # that share a channel's parameters


def buffer(outputs: int, scalar: Scalar) -> Buffer:
    """Declare the stored sums."""
    return Buffer("sums", 4 * outputs, scalar.isa.spaces[0])


def requantize(pixels: int, channels: int, scalar: Scalar) -> Body:
    """Requantise all stored sums, some pixels of a channel at a time."""
    body: Body = ()
    for first, size, trips in split(pixels, _PIXELS):
        strides = (("pixels", size * channels), ("channel", 1))
        words = Address("sums", 4 * first * channels, tuple((name, 4 * stride) for name, stride in strides))
        results = Address("output", first * channels, strides)
        inner: Body = scalar.load_parameters(scalar.record(0, channel=scalar.record_bytes).plus(8))
        values = scalar.values[:size]
        inner += tuple(
            scalar.emit("load_word", value, words.plus(4 * pixel * channels)) for pixel, value in enumerate(values)
        )
        for pixel, value in enumerate(values):
            inner += scalar.finish(value, results.plus(pixel * channels))
        body += loop(scalar.isa, "pixels", trips, loop(scalar.isa, "channel", channels, inner))
    return (() if scalar.keeps_constants else scalar.load_constants()) + body
