"""Convolutions and fully connected layers in float32: an implicit matrix product over the image or a padded copy of it.

Lanes are output channels, a register tile is some pixels by some vectors. Every sum begins with its bias and adds the
products in the order of kernel row, tap and input channel, each fused into one rounding. Weights are packed
[group][block of channels][kernel row][tap][channel in][channel out].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.codegen.common import Image, loop, nest, padded_copy, split
from workloads.codegen.float_set import FLOAT_BYTES
from workloads.codegen.float_tiles import registers_of, run_of, tile_of
from workloads.codegen.regions import constants
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_tiles import Registers, Tile
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.options import Options

_CHUNK_BYTES = 1 << 16  # of the inputs of a chunk of pixels, where a row has no other end: near the core in any cache


@dataclass(frozen=True)
class Product:
    """Sums for rows of pixels by channels: where their operands lie, and in which loops.

    Parameters
    ----------
    width, channels
        Pixels of a row; channels of a group.
    rows, taps, depth
        A sum runs over ``rows * taps`` runs of ``depth`` floats, from the addresses that "ky" and "kx" move.
    source, pitch
        Where the first pixel's first run begins; bytes from pixel to pixel.
    weights, start, target
        Where the first channel's weights, what its sum begins with, and its results lie.
    starts
        Each channel's sum begins with its own; otherwise all begin with zeros.
    target_pitch
        Bytes from pixel to pixel of the results.
    bounds
        Where the bounds of the results lie, by name.
    loops
        Between the loop over blocks of channels and those over pixels.
    """

    width: int
    channels: int
    rows: int
    taps: int
    depth: int
    source: Address
    pitch: int
    weights: Address
    start: Address
    target: Address
    target_pitch: int
    starts: bool = True
    bounds: tuple[tuple[str, Address], ...] = ()
    loops: tuple[tuple[str, int], ...] = ()

    @property
    def products(self) -> int:
        """Products of one sum."""
        return self.rows * self.taps * self.depth


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


def products(kit: FloatSet, job: Product, tile: Tile, unroll: int) -> Body:
    """Return the loops over blocks of channels and tiles of pixels."""
    body: Body = ()
    for first, vectors, trips in kit.pieces(job.channels, tile.vectors):
        columns: Body = ()
        for pixel, pixels, times in split(job.width, tile.pixels):
            part = _Part(kit, job, first, vectors, pixel, pixels, registers_of(kit, job.channels, pixels, len(vectors)))
            columns += loop(kit.isa, "tile", times, _tile(part, unroll))
        body += nest(kit.isa, [("block", trips), *job.loops], columns)
    return body


@dataclass(frozen=True)
class _Part:
    """One register tile: channels ``first`` .. in vectors of some lanes, pixels ``pixel`` ..; loops move both."""

    kit: FloatSet
    job: Product
    first: int
    vectors: tuple[int, ...]
    pixel: int
    pixels: int
    registers: Registers

    @property
    def block_bytes(self) -> int:
        """Bytes of one float for each channel of the block. [B]"""
        return FLOAT_BYTES * sum(self.vectors)

    def channel(self, vector: int) -> int:
        """Bytes from the block's first channel to the first of a vector. [B]"""
        return FLOAT_BYTES * sum(self.vectors[:vector])

    def source(self, pixel: int) -> Address:
        """Locate the first float of a pixel's window."""
        job = self.job
        return job.source.plus((self.pixel + pixel) * job.pitch, tile=self.pixels * job.pitch)

    def weights(self, vector: int) -> Address:
        """Locate the first weights of a vector of channels."""
        job, run = self.job, self.job.depth * self.block_bytes
        return job.weights.plus(
            FLOAT_BYTES * self.first * job.products + self.channel(vector),
            block=job.products * self.block_bytes, ky=job.taps * run, kx=run,
        )  # fmt: skip

    def start(self, vector: int) -> Address:
        """Locate what the sums of a vector of channels begin with."""
        if not self.job.starts:
            return self.job.start
        return self.job.start.plus(FLOAT_BYTES * self.first + self.channel(vector), block=self.block_bytes)

    def target(self, pixel: int, vector: int) -> Address:
        """Locate the results of a pixel's vector of channels."""
        job = self.job
        return job.target.plus(
            (self.pixel + pixel) * job.target_pitch + FLOAT_BYTES * self.first + self.channel(vector),
            tile=self.pixels * job.target_pitch, block=self.block_bytes,
        )  # fmt: skip


def _tile(part: _Part, unroll: int) -> Body:
    """Return one register tile: biases in, the sums over the window, bounded results out."""
    kit, job, sums = part.kit, part.job, part.registers.sums
    body = kit.begin()
    for number, lanes in enumerate(part.vectors):
        body += kit.load(sums[0][number], part.start(number), lanes)
        body += kit.copies(sums[0][number], tuple(row[number] for row in sums[1:]), lanes)
    whole, rest = divmod(job.depth, unroll)
    steps = loop(kit.isa, "step", whole, _steps(part, 0, unroll, unroll))
    steps += _steps(part, whole * unroll, rest, 0)
    body += nest(kit.isa, [("ky", job.rows), ("kx", job.taps)], steps)
    values = [(sums[pixel][number], lanes) for pixel in range(part.pixels) for number, lanes in enumerate(part.vectors)]
    body += bounded(kit, values, job.bounds, part.registers.factors)
    for pixel in range(part.pixels):
        for number, lanes in enumerate(part.vectors):
            body += kit.store(sums[pixel][number], part.target(pixel, number), lanes)
    return body


def bounded(
    kit: FloatSet, values: list[tuple[str, int]], bounds: tuple[tuple[str, Address], ...], factors: tuple[str, ...]
) -> Body:
    """Bring (register, lanes) within bounds, read from memory as factors."""
    body: Body = ()
    for place, (name, address) in enumerate(bounds):
        held = factors[place % len(factors)]
        body += (kit.splat(held, address),)
        role = "maximum" if name == "low" else "minimum"
        body += tuple(kit.emit(role, value, value, held, lanes=lanes) for value, lanes in values)
    return body


def _steps(part: _Part, first: int, number: int, moving: int) -> Body:
    """Return ``number`` steps of multiply-adds from float ``first`` of a run; "step" moves by ``moving`` floats.

    An in-order core issues this as written: weights are loaded a step ahead where registers allow, factors two
    multiply-adds ahead.
    """
    kit, sums, weights, factors = part.kit, part.registers.sums, part.registers.weights, part.registers.factors
    ahead = len(weights) - 1
    total = number * part.pixels
    early = min(2, len(factors) - 1)

    def load(step: int) -> Body:
        at = (first + step) * part.block_bytes
        return tuple(
            statement
            for place, lanes in enumerate(part.vectors)
            for statement in kit.load(
                weights[step % len(weights)][place], part.weights(place).plus(at, step=moving * part.block_bytes), lanes
            )
        )

    def factor(place: int) -> Instruction:
        step, pixel = divmod(place, part.pixels)
        at = part.source(pixel).plus(FLOAT_BYTES * (first + step), step=FLOAT_BYTES * moving)
        return kit.splat(factors[place % len(factors)], at)

    body: Body = load(0) if number and ahead > 0 else ()
    body += tuple(factor(place) for place in range(min(early, total)))
    for place in range(total):
        step, pixel = divmod(place, part.pixels)
        if pixel == 0 and weights and step + ahead < number:
            body += load(step + ahead)
        if place + early < total:
            body += (factor(place + early),)
        for vector, lanes in enumerate(part.vectors):
            held: str | Address = part.weights(vector).plus(
                (first + step) * part.block_bytes, step=moving * part.block_bytes
            )
            if weights:
                held = weights[step % len(weights)][vector]
            body += (kit.multiply_add(sums[pixel][vector], factors[place % len(factors)], held, lanes),)
    return body
