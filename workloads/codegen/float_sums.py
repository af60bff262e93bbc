"""Sums of products over register tiles, the core of every product in float32: rows of pixels by blocks of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.codegen.common import loop, nest, split
from workloads.codegen.float_set import FLOAT_BYTES
from workloads.codegen.float_tiles import registers_of

if TYPE_CHECKING:
    from workloads.codegen.common import Body
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_tiles import Registers, Tile
    from workloads.program import Address, Instruction


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
