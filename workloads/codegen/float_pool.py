"""Maxima and averages over windows in float32: lanes are channels, a tile is some pixels of a row.

A maximum begins with the lowest float, an average with zero; both go by kernel row and tap. An average is its sum times
the float32 next to one over the number of taps, added to zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import needs_padding, nest, padded_copy, split
from workloads.codegen.float_set import FLOAT_BYTES
from workloads.codegen.regions import constants
from workloads.options import Options
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body, Image
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.regions import Constants
    from workloads.codegen.specs import PoolSpec
    from workloads.tensor import Array

_PIXELS = 4  # of a tile, where registers allow


def choices(spec: PoolSpec, kit: FloatSet) -> tuple[Options, ...]:
    """Return the one option offered for a set."""
    rows = max(1, min(_PIXELS, spec.width_out, (len(kit.vectors) - 1) // 2))
    return (Options(rows=rows, columns=kit.lanes, lmul=kit.lmul),)


def table_of(kit: FloatSet) -> Constants:
    """Place what windows begin with (also around the image), zeros, and the factor of an average."""
    return constants({"start": kit.vector_bytes, "zeros": kit.vector_bytes, "share": FLOAT_BYTES})


def generate(spec: PoolSpec, kit: FloatSet, options: Options) -> Program:
    """Return the Program of a pool.

    Raises
    ------
    NotImplementedError
        An average whose windows hold fewer elements at the border.
    """
    if spec.kind == "average" and needs_padding(spec) and not spec.count_padding:
        raise NotImplementedError(f"{kit.isa.name}: no average in float32 leaves its padding out")
    table = table_of(kit)
    image, padding, scratch = padded_copy(
        kit.isa,
        spec,
        lambda target, nbytes: kit.run(target, nbytes),
        lambda target, source, nbytes: kit.run(target, nbytes, source),
        channels=FLOAT_BYTES * spec.channels,
    )
    if padding:
        padding = (*kit.begin(), *kit.load(kit.vectors[0], table.address("start"), kit.lanes), *padding)
    row: Body = ()
    for first, (lanes,), trips in kit.pieces(spec.channels):
        for pixel, pixels, times in split(spec.width_out, options.rows or 1):
            tile = _tile(spec, image, table, kit, (FLOAT_BYTES * first, lanes), (pixel, pixels))
            row += nest(kit.isa, [("block", trips), ("tile", times)], tile)
    body = nest(kit.isa, [("image", spec.batch), ("row", spec.height_out)], row)
    sizes = [spec.batch * height * width * spec.channels * FLOAT_BYTES for height, width in _extents(spec)]
    buffers = (
        Buffer("input", sizes[0], role="input"), Buffer("parameters", table.nbytes, role="parameters"), *scratch,
        Buffer("output", sizes[1], role="output"),
    )  # fmt: skip
    return Program(f"{spec.kind}_pool2d_f32", kit.isa, buffers, padding + body)


def _extents(spec: PoolSpec) -> tuple[tuple[int, int], tuple[int, int]]:
    return (spec.height, spec.width), (spec.height_out, spec.width_out)


def _tile(
    spec: PoolSpec, image: Image, table: Constants, kit: FloatSet, channels: tuple[int, int], columns: tuple[int, int]
) -> Body:
    """Return the results of some pixels of a vector of channels, given as (first, number) each."""
    (at, lanes), (first, pixels) = channels, columns
    size, pixel_out, step = FLOAT_BYTES * lanes, FLOAT_BYTES * spec.channels, spec.stride[1] * image.pixel_bytes
    sums, values, line = kit.vectors[:pixels], kit.vectors[pixels : 2 * pixels], spec.width_out * pixel_out
    source = image.address(first * step + at).plus(
        image=image.image_bytes, row=spec.stride[0] * image.row_bytes, block=size, tile=pixels * step,
        ky=image.row_bytes, kx=image.pixel_bytes,
    )  # fmt: skip
    target = Address("output", first * pixel_out + at).plus(
        image=spec.height_out * line, row=line, block=size, tile=pixels * pixel_out
    )
    role = "maximum_each" if spec.kind == "max" else "add"
    body = kit.begin() + kit.load(sums[0], table.address("start"), lanes) + kit.copies(sums[0], sums[1:], lanes)
    tap: Body = ()
    for pixel, value in enumerate(values):
        tap += kit.load(value, source.plus(pixel * step), lanes)
    tap += tuple(kit.emit(role, total, total, value, lanes=lanes) for total, value in zip(sums, values, strict=True))
    body += nest(kit.isa, [("ky", spec.kernel[0]), ("kx", spec.kernel[1])], tap)
    if spec.kind == "average":
        factor = (kit.factors or kit.vectors[-1:])[0]
        body += (kit.splat(factor, table.address("share")),)
        body += kit.load(values[0], table.address("zeros"), lanes) + kit.copies(values[0], values[1:], lanes)
        pairs = zip(values, sums, strict=True)
        body += tuple(kit.multiply_add(value, factor, total, lanes) for value, total in pairs)
        sums = values
    for pixel, total in enumerate(sums):
        body += kit.store(total, target.plus(pixel * pixel_out), lanes)
    return body


def pack(spec: PoolSpec, kit: FloatSet) -> dict[str, Array]:
    """Return what windows begin with and the factor of an average."""
    start = -math.inf if spec.kind == "max" else 0.0
    values = {
        "start": np.full(kit.lanes, start, np.float32),
        "share": np.full(1, 1 / (spec.kernel[0] * spec.kernel[1]), np.float32),
    }
    return {"parameters": table_of(kit).pack(values)}
