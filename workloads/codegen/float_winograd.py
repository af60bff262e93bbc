"""3x3 convolutions in float32 by Winograd's algorithm: tiles of the image transformed, one product a point, back.

A band of rows of tiles at a time goes through three passes: the transform of its input into "inputs" (point, tile,
channel), one matrix product a point into "products" (point, tile, channel out), whose sums begin with zero, and the
transform back, where biases are added and bounds applied. A transform takes the columns of a tile first, then its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.codegen.common import loop, nest, split
from workloads.codegen.float_lines import line, lines_of
from workloads.codegen.float_product import buffers_of, padded, table_of
from workloads.codegen.float_set import FLOAT_BYTES
from workloads.codegen.float_sums import Product, products
from workloads.codegen.float_tiles import tile_of
from workloads.codegen.float_winograd_transforms import TRANSFORMS, band_of
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workloads.codegen.common import Body, Image
    from workloads.codegen.float_lines import Lines
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_winograd_transforms import Step, Transform
    from workloads.codegen.geometry import Convolution
    from workloads.codegen.regions import Constants
    from workloads.options import Options


@dataclass(frozen=True)
class _Job:
    """What the passes share; a band has at most ``rows`` rows of tiles, a row ``columns`` of them."""

    kit: FloatSet
    conv: Convolution
    image: Image
    table: Constants
    transform: Transform
    lines: Lines
    bounds: tuple[tuple[str, Address], ...]
    rows: int
    columns: int

    def point_bytes(self, channels: int) -> int:
        """Bytes of all tiles of a band at one point. [B]"""
        return FLOAT_BYTES * self.rows * self.columns * channels


@dataclass(frozen=True)
class _Band:
    """Rows of tiles from ``first`` on, ``rows`` at once, ``trips`` times; of their outputs ``height`` rows exist."""

    first: int
    rows: int
    trips: int
    height: int


def generate(name: str, conv: Convolution, bounds: tuple[str, ...], kit: FloatSet, options: Options) -> Program:
    """Return the Program of a 3x3 convolution with stride 1."""
    transform = TRANSFORMS[options.lowering or "winograd"]
    m, n = transform.outputs, transform.points
    table = table_of(kit, conv.channels_out, len(transform.factors))
    rows, columns = -(-conv.height_out // m), -(-conv.width_out // m)
    band_rows = band_of(conv.height_out, conv.width_out, transform)
    grown = replace(conv, height_out=rows * m, width_out=columns * m)
    image, padding, scratch = padded(kit, grown, table)
    limits = tuple((bound, table.address(bound)) for bound in bounds)
    job = _Job(kit, conv, image, table, transform, lines_of(kit, table, transform), limits, band_rows, columns)
    bands: Body = ()
    for band in _bands(conv.height_out, m, band_rows):
        tiles = band.rows * columns
        inside = _inputs(job, band) + _products(job, tiles, options) + _outputs(job, band)
        bands += loop(kit.isa, "band", band.trips, inside)
    body = (*padding, *loop(kit.isa, "image", conv.batch, bands))
    scratch += (
        Buffer("inputs", n * n * job.point_bytes(conv.channels)),
        Buffer("products", n * n * job.point_bytes(conv.channels_out)),
        Buffer("tile", n * n * kit.vector_bytes),
    )
    buffers = buffers_of(conv, table, scratch, n * n * conv.channels * conv.channels_out)
    return Program(name, kit.isa, buffers, body, conv.macs)


def _bands(height: int, outputs: int, rows: int) -> list[_Band]:
    """Cut an image into bands of whole rows of tiles, then one row of tiles that reaches beyond it."""
    whole, rest = divmod(height, outputs)
    bands = [_Band(first, count, trips, outputs) for first, count, trips in split(whole, rows)]
    return [*bands, *([_Band(whole, 1, 1, rest)] if rest else [])]


def _inputs(job: _Job, band: _Band) -> Body:
    """Transform the image under a band, a vector of channels of one tile at a time."""
    kit, image, m, n = job.kit, job.image, job.transform.outputs, job.transform.points
    point, pixel = job.point_bytes(job.conv.channels), FLOAT_BYTES * job.conv.channels
    body: Body = job.lines.load
    for first, (lanes,), trips in kit.pieces(job.conv.channels):
        at, size = FLOAT_BYTES * first, FLOAT_BYTES * lanes
        source = image.address(band.first * m * image.row_bytes + at).plus(
            image=image.image_bytes, band=band.rows * m * image.row_bytes, tile_row=m * image.row_bytes,
            tile_column=m * image.pixel_bytes, channels=size, column=image.pixel_bytes,
        )  # fmt: skip
        target = Address("inputs", at).plus(
            tile_row=job.columns * pixel, tile_column=pixel, channels=size, line=n * point
        )
        sources = [source.plus(place * image.row_bytes) for place in range(n)]
        targets = [target.plus(place * point) for place in range(n)]
        inner = _columns(job, job.transform.inputs, sources, n, lanes) + _rows(
            job, job.transform.inputs, targets, n, lanes
        )
        body += nest(kit.isa, [("tile_row", band.rows), ("tile_column", job.columns), ("channels", trips)], inner)
    return body


def _columns(
    job: _Job, steps: Sequence[Step], sources: list[Address], results: int, lanes: int, reserved: Sequence[str] = ()
) -> Body:
    """Transform each column of a tile into "tile", row by row; "column" moves the sources."""
    n, size = job.transform.points, job.kit.vector_bytes
    targets = [Address("tile").plus(place * n * size, column=size) for place in range(results)]
    return loop(job.kit.isa, "column", n, line(job.lines, steps, sources, targets, lanes, reserved=reserved))


def _rows(
    job: _Job, steps: Sequence[Step], targets: list[Address], rows: int, lanes: int,
    finish: Callable[[str], Body] = lambda _: (), reserved: Sequence[str] = (),
) -> Body:  # fmt: skip
    """Transform each row of "tile" into its targets; "line" moves them."""
    n, size = job.transform.points, job.kit.vector_bytes
    sources = [Address("tile").plus(place * size, line=n * size) for place in range(n)]
    return loop(job.kit.isa, "line", rows, line(job.lines, steps, sources, targets, lanes, finish, reserved))


def _products(job: _Job, tiles: int, options: Options) -> Body:
    """Multiply the tiles of a band with the weights, point by point."""
    kit, conv, points = job.kit, job.conv, job.transform.points**2
    pixel, result = FLOAT_BYTES * conv.channels, FLOAT_BYTES * conv.channels_out
    sums = Product(
        tiles, conv.channels_out, 1, 1, conv.channels,
        source=Address("inputs").plus(point=job.point_bytes(conv.channels)), pitch=pixel,
        weights=Address("weights").plus(point=conv.channels * result),
        start=job.table.address("zeros"), starts=False,
        target=Address("products").plus(point=job.point_bytes(conv.channels_out)), target_pitch=result,
    )  # fmt: skip
    return loop(kit.isa, "point", points, products(kit, sums, tile_of(kit, options), options.unroll or 1))


def _outputs(job: _Job, band: _Band) -> Body:
    """Transform the sums of a band back, add biases, apply bounds; what lies beyond the image is not computed."""
    kit, m, n = job.kit, job.transform.outputs, job.transform.points
    point, pixel = job.point_bytes(job.conv.channels_out), FLOAT_BYTES * job.conv.channels_out
    row = job.conv.width_out * pixel
    bias, *spare = reversed(job.lines.free)
    limits = [(name, register) for (name, _), register in zip(job.bounds, kit.factors or spare, strict=False)]
    body = job.lines.load + tuple(
        kit.splat(register, address) for (_, register), (_, address) in zip(limits, job.bounds, strict=True)
    )
    reserved = (bias, *(register for _, register in limits))
    for first, (lanes,), trips in kit.pieces(job.conv.channels_out):
        at, size = FLOAT_BYTES * first, FLOAT_BYTES * lanes

        def finish(register: str, lanes: int = lanes) -> Body:
            bounds = {"low": "maximum", "high": "minimum"}
            added = kit.emit("add", register, register, bias, lanes=lanes)
            return (added, *(kit.emit(bounds[name], register, register, held, lanes=lanes) for name, held in limits))

        for column, number, width in _widths(job.conv.width_out, m):
            source = Address("products", at + column * pixel).plus(
                tile_row=job.columns * pixel, tile_column=pixel, channels=size, column=point
            )
            target = Address("output", (band.first * row + column * pixel) * m + at).plus(
                image=job.conv.height_out * row, band=band.rows * m * row, tile_row=m * row, tile_column=m * pixel,
                channels=size, line=row,
            )  # fmt: skip
            sources = [source.plus(place * n * point) for place in range(n)]
            targets = [target.plus(place * pixel) for place in range(width)]
            inner = _columns(job, job.transform.results, sources, band.height, lanes, reserved)
            inner += kit.begin()
            inner += kit.load(bias, job.table.address("bias", at, channels=size), lanes)
            inner += _rows(job, job.transform.results, targets, band.height, lanes, finish, reserved)
            body += nest(kit.isa, [("tile_row", band.rows), ("tile_column", number), ("channels", trips)], inner)
    return body


def _widths(width: int, outputs: int) -> list[tuple[int, int, int]]:
    """Cut a row of outputs into (first tile, tiles, outputs of each)."""
    whole, rest = divmod(width, outputs)
    return [(first, tiles, size) for first, tiles, size in ((0, whole, outputs), (whole, 1, rest)) if tiles and size]
