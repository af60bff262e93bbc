"""Convolutions and fully connected layers in float32: an implicit matrix product over the image or a padded copy of it.

Lanes are output channels, a register tile is some pixels by some vectors. Every sum begins with its bias and adds the
products in the order of kernel row, tap and input channel, each fused into one rounding. Weights are packed
[group][block of channels][kernel row][tap][channel in][channel out].
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.codegen.common import Image, loop, nest, padded_copy, split
from workloads.codegen.float_set import FLOAT_BYTES
from workloads.codegen.float_sums import Product, products
from workloads.codegen.float_tiles import run_of, tile_of
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_tiles import Tile
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.options import Options

_CHUNK_BYTES = 1 << 16  # of the inputs of a chunk of pixels, where a row has no other end: near the core in any cache


def table_of(kit: FloatSet, channels_out: int, factors: int = 0) -> Constants:
    """Place the biases, a vector of zeros, the bounds, and factors (vectors where they are read as such)."""
    single = kit.vector_bytes if kit.memory_operands else FLOAT_BYTES
    regions = {"bias": FLOAT_BYTES * channels_out, "zeros": kit.vector_bytes, "low": FLOAT_BYTES, "high": FLOAT_BYTES}
    return constants({**regions, **{f"factor{number}": single for number in range(factors)}})


def generate(name: str, conv: Convolution, bounds: tuple[str, ...], kit: FloatSet, options: Options) -> Program:
    """Return the Program of a convolution."""
    table = table_of(kit, conv.channels_out)
    image, padding, scratch = padded(kit, conv, table)
    job, tile, unroll = _whole(conv, image, table, bounds), tile_of(kit, options), options.unroll or 1
    chunk = _chunk(conv, kit, tile)
    if chunk is None:
        body = products(kit, replace(job, loops=(("row", conv.height_out),)), tile, unroll)
    else:
        body = ()
        for first, width, trips in split(conv.width_out, chunk):
            source = job.source.plus(first * job.pitch, chunk=width * job.pitch)
            target = job.target.plus(first * job.target_pitch, chunk=width * job.target_pitch)
            part = products(kit, replace(job, width=width, source=source, target=target), tile, unroll)
            body += loop(kit.isa, "chunk", trips, part)
        body = loop(kit.isa, "row", conv.height_out, body)
    body = nest(kit.isa, [("image", conv.batch), ("group", conv.groups)], body)
    return Program(name, kit.isa, buffers_of(conv, table, scratch), padding + body, conv.macs)


def _chunk(conv: Convolution, kit: FloatSet, tile: Tile) -> int | None:
    """Return the pixels of a row that all blocks of channels see in turn; None where each block sees the whole image.

    What moves fewer bytes: the image again for each block of channels, or the weights again for each chunk of pixels.
    """
    depth, per_group = conv.channels // conv.groups, conv.channels_out // conv.groups
    pixels = conv.width_out if conv.height_out > 1 else max(tile.pixels, _CHUNK_BYTES // (FLOAT_BYTES * depth))
    chunks = conv.height_out * -(-conv.width_out // pixels)
    blocks = -(-len(kit.cut(per_group)) // tile.vectors)
    image = conv.padded_height * conv.padded_width * depth
    weights = per_group * conv.kernel[0] * conv.kernel[1] * depth
    return min(pixels, conv.width_out) if image + chunks * weights < blocks * image + weights else None


def buffers_of(
    conv: Convolution, table: Constants, scratch: tuple[Buffer, ...], weights: int | None = None
) -> tuple[Buffer, ...]:
    """Declare the buffers of a convolution with as many weights as given, or those of its kernel."""
    pixels = conv.batch * conv.height_out * conv.width_out
    kernel = conv.channels_out * conv.kernel[0] * conv.kernel[1] * (conv.channels // conv.groups)
    inputs = conv.batch * conv.height * conv.width * conv.channels
    return (
        Buffer("input", FLOAT_BYTES * inputs, role="input"),
        Buffer("weights", FLOAT_BYTES * (kernel if weights is None else weights), role="weights"),
        Buffer("parameters", table.nbytes, role="parameters"),
        *scratch,
        Buffer("output", FLOAT_BYTES * pixels * conv.channels_out, role="output"),
    )


def padded(kit: FloatSet, conv: Convolution, table: Constants) -> tuple[Image, Body, tuple[Buffer, ...]]:
    """Return the image to read, with zeros around it where windows leave it."""
    image, body, scratch = padded_copy(
        kit.isa,
        conv,
        lambda target, nbytes: kit.run(target, nbytes),
        lambda target, source, nbytes: kit.run(target, nbytes, source),
        channels=FLOAT_BYTES * conv.channels,
    )
    zeros = (*kit.begin(), *kit.load(kit.vectors[0], table.address("zeros"), kit.lanes))
    return image, (*zeros, *body) if body else (), scratch


def _whole(conv: Convolution, image: Image, table: Constants, bounds: tuple[str, ...]) -> Product:
    """Return a convolution as the sums of each of its rows; the image and its group move with loops of their own."""
    taps, depth = run_of(conv)
    into, per_group = FLOAT_BYTES * (conv.channels // conv.groups), conv.channels_out // conv.groups
    pixel = FLOAT_BYTES * conv.channels_out
    return Product(
        conv.width_out, per_group, conv.kernel[0], taps, depth,
        source=image.address(
            image=image.image_bytes, row=conv.stride[0] * image.row_bytes, group=into,
            ky=conv.dilation[0] * image.row_bytes, kx=conv.dilation[1] * image.pixel_bytes,
        ),
        pitch=conv.stride[1] * image.pixel_bytes,
        weights=Address("weights").plus(group=conv.kernel[0] * taps * depth * FLOAT_BYTES * per_group),
        start=table.address("bias", group=FLOAT_BYTES * per_group),
        target=Address("output").plus(
            image=conv.height_out * conv.width_out * pixel, row=conv.width_out * pixel, group=FLOAT_BYTES * per_group
        ),
        target_pitch=pixel,
        bounds=tuple((name, table.address(name)) for name in bounds),
    )  # fmt: skip
