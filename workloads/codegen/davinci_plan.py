"""How a convolution is cut for the davinci cube: blocks of channels, tiles of each operand, order of the loops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.codegen.davinci_tiles import Part, Windows, half, round_up, segments, split
from workloads.codegen.specs import ConvSpec, MatrixSpec
from workloads.options import DEFAULT, Options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.isa import InstructionSet

SMALL_CHANNELS = 4  # up to so many input channels are stored in groups of 4 instead of 32 bytes
MOST_ROWS, MOST_OUTPUTS = 256, 128  # of one product tile; more leave too little depth in the operand buffers
LEAST_BANDS = 4  # of an image, so that the first product does not wait for all of it


@dataclass(frozen=True)
class Block:
    """``trips`` products alike: the channels of one or several groups, stored dense.

    Parameters
    ----------
    input_at, output_at
        First channel of the first product.
    inputs, outputs
        Channels of one product.
    channels
        Input channels with the padding of the storage format.
    groups
        Convolution groups in one product; more than one leaves zeros beside the diagonal.
    """

    input_at: int
    output_at: int
    inputs: int
    outputs: int
    channels: int
    groups: int
    trips: int


@dataclass(frozen=True)
class Plan:
    """Tile sizes of one block; every tile fits half of its space, also where it is the only one in flight.

    Parameters
    ----------
    columns, rows, band_rows
        Output columns of a tile, output rows of a product tile, and of the band of the image held in L1.
    outputs
        Output channels of a product tile.
    taps
        Kernel rows, kernel columns and channels in one depth tile.
    staged
        Whether L1 holds the weights of all depth tiles at once.
    weights_outside
        Whether the loop over output channels runs outside the loop over the image.
    """

    columns: int
    rows: int
    band_rows: int
    outputs: int
    taps: tuple[int, int, int]
    staged: bool
    weights_outside: bool


@dataclass(frozen=True)
class Depth:
    """One depth tile shape: parts of kernel rows, kernel columns and channels, and where its weights start."""

    rows: Part
    columns: Part
    channels: Part
    pitch: int  # depth padded to the cube's block
    at: int  # depth rows before the first tile
    steps: tuple[int, int, int]  # depth rows from one tile to the next along each of the three


def as_convolution(spec: ConvSpec | MatrixSpec, isa: InstructionSet) -> ConvSpec:
    """Write a product, or a pointwise convolution, as a convolution over one long row of pixels.

    Without fixpipe as one long column, whose bands hold several tiles: their sums are started ahead of each other.
    """
    if isinstance(spec, MatrixSpec):
        spec = ConvSpec(1, 1, spec.rows, spec.depth, 1, spec.rows, spec.columns, (1, 1))
    pointwise = spec.kernel == (1, 1) and spec.stride == (1, 1) and spec.padding == (0, 0)
    if pointwise and (spec.height, spec.width) == (spec.height_out, spec.width_out):
        pixels = spec.batch * spec.height * spec.width
        height, width = (1, pixels) if has_fixpipe(isa) else (pixels, 1)
        return replace(spec, batch=1, height=height, width=width, height_out=height, width_out=width)
    return spec


def axes(spec: ConvSpec) -> tuple[Windows, Windows]:
    """Return the windows along height and width."""
    spans = [(taps - 1) * dilation + 1 for taps, dilation in zip(spec.kernel, spec.dilation, strict=True)]
    return (
        Windows(spec.height, spec.height_out, spec.stride[0], spans[0], spec.padding[0]),
        Windows(spec.width, spec.width_out, spec.stride[1], spans[1], spec.padding[1]),
    )


def blocks(spec: ConvSpec, isa: InstructionSet) -> tuple[Block, ...]:
    """Gather groups until their channels fill the storage format; a depthwise channel is a group."""
    groups = spec.channels if spec.depthwise else spec.groups
    inputs, outputs = spec.channels // groups, spec.channels_out // groups
    together = max(1, isa.parameters["c0_bytes"] // inputs) if groups > 1 else 1
    return tuple(
        Block(
            part.start * inputs, part.start * outputs, part.size * inputs, part.size * outputs,
            stored_channels(part.size * inputs, isa), part.size, part.trips,
        )
        for part in split(groups, together)
    )  # fmt: skip


def stored_channels(channels: int, isa: InstructionSet) -> int:
    """Channels with padding: a multiple of C0, or of 4 where there are no more than 4."""
    return round_up(channels, SMALL_CHANNELS if channels <= SMALL_CHANNELS else isa.parameters["c0_bytes"])


def depths(spec: ConvSpec, block: Block, taps: tuple[int, int, int], isa: InstructionSet) -> tuple[Depth, ...]:
    """List the depth tile shapes in the order of execution, which is the order of the packed weights."""
    c0 = isa.parameters["c0_bytes"]
    row_parts, column_parts = split(spec.kernel[0], taps[0]), split(spec.kernel[1], taps[1])
    channel_parts = split(block.channels, taps[2])

    def pitch(row: Part, column: Part, channel: Part) -> int:
        return round_up(row.size * column.size * channel.size, c0)

    found, at = [], 0
    for row in row_parts:
        columns = [(part, sum(c.trips * pitch(row, part, c) for c in channel_parts)) for part in column_parts]
        row_step = sum(part.trips * step for part, step in columns)
        inside = 0
        for column, column_step in columns:
            deep = 0
            for channel in channel_parts:
                step = pitch(row, column, channel)
                found.append(Depth(row, column, channel, step, at + inside + deep, (row_step, column_step, step)))
                deep += channel.trips * step
            inside += column.trips * column_step
        at += row.trips * row_step
    return tuple(found)


def total_depth(found: tuple[Depth, ...]) -> int:
    """Depth rows of all tiles."""
    return sum(d.rows.trips * d.columns.trips * d.channels.trips * d.pitch for d in found)


def make_plan(spec: ConvSpec, block: Block, isa: InstructionSet, options: Options = DEFAULT) -> Plan:
    """Choose the largest tiles that fit, output channels first.

    Raises
    ------
    ValueError
        Not even one pixel's window fits L1.
    """
    height, width = axes(spec)
    room = half(isa, "l1")
    for staged, outputs, columns in _candidates(spec, block, isa, options):
        most_rows = _most_rows(outputs, isa, options)
        row_bytes = width.needed(columns) * block.channels
        rows = _best_rows(height.extent_out, columns, most_rows, isa)
        taps = _taps(spec, block, round_up(rows * columns, isa.parameters["cube_m"]), outputs, isa, options)
        found = depths(spec, block, taps, isa)
        held = (total_depth(found) if staged else max(depth.pitch for depth in found)) * outputs
        lines = (room - held) // row_bytes
        if lines < height.span:
            continue
        fitting = min((lines - height.span) // height.stride + 1, height.extent_out)
        rows = min(rows, fitting)
        plan = Plan(columns, rows, fitting // rows * rows, outputs, taps, staged, weights_outside=False)
        return _ordered(spec, block, plan, held)
    raise ValueError(f"one window of {height.span} x {width.span} x {block.channels} bytes exceeds L1 ({room} bytes)")


def _ordered(spec: ConvSpec, block: Block, plan: Plan, panel_bytes: int) -> Plan:
    """Choose the order of the loops, and what streams: bands of the image, weights that are used once."""
    band = min(plan.band_rows, round_up(-(-spec.height_out // LEAST_BANDS), plan.rows))
    banded = replace(plan, band_rows=band)
    if plan.staged and _weights_outside(spec, block, banded, panel_bytes):
        return replace(banded, weights_outside=True)
    if _bands(spec, banded) * _panels_bytes(spec, block, plan) <= _image_bytes(spec, block):
        plan = banded  # weights once per band are little beside the image
    groups = -(-min(plan.band_rows, spec.height_out) // plan.rows)
    return replace(plan, staged=plan.staged and groups > 1)


def _candidates(spec: ConvSpec, block: Block, isa: InstructionSet, options: Options) -> Iterator[tuple[bool, int, int]]:
    """Yield (weights staged, output channels, output columns) from the preferred to the last resort."""
    step = isa.parameters["cube_n"]
    sizes = []
    limit = _most_outputs(isa) if options.columns is None else min(_most_outputs(isa), options.columns * step)
    for most in sorted({max(limit // part // step * step, step) for part in (1, 2, 4, 8)}, reverse=True):
        pieces = -(-block.outputs // most)
        size = round_up(-(-block.outputs // pieces), step)
        if size not in sizes:
            sizes.append(size)
    for outputs in sizes:
        most = _most_rows(outputs, isa, options)
        yield True, outputs, _whole(spec.width_out, most, isa)
        if spec.batch * spec.height_out * spec.width_out <= most:  # weights used once need no room for all of them
            yield False, outputs, spec.width_out
    for outputs in sizes:
        columns = _whole(spec.width_out, _most_rows(outputs, isa, options), isa)
        while columns >= 1:
            yield True, outputs, columns
            yield False, outputs, columns
            columns //= 2


def _whole(extent: int, most: int, isa: InstructionSet) -> int:
    """Return the largest tile that fits, in whole blocks of the cube; the last one is smaller.

    Equal tiles would shrink as an extent grows past a multiple of ``most``: less to load before the first product, so
    that more work took less time.
    """
    step = isa.parameters["cube_m"]
    return min(extent, most // step * step or most)


def _most_rows(outputs: int, isa: InstructionSet, options: Options) -> int:
    """Rows of a product tile that the accumulators, and without fixpipe the vector buffer, leave room for."""
    rows = min(MOST_ROWS, half(isa, "l0a") // isa.parameters["c0_bytes"], half(isa, "l0c") // (4 * outputs))
    if not has_fixpipe(isa):
        rows = min(rows, half(isa, "ub") // 2 // (outputs * result_bytes(options)))
    return rows if options.rows is None else min(rows, options.rows * isa.parameters["cube_m"])


def _most_outputs(isa: InstructionSet) -> int:
    """Output channels whose weights, biases and quantisation words fit their buffers."""
    weights = min(MOST_OUTPUTS, half(isa, "l0b") // isa.parameters["c0_bytes"])
    if not has_fixpipe(isa):
        return min(weights, half(isa, "ub") // 4 // (4 + 8))  # a bias and a quantisation word each
    return min(weights, half(isa, "bias_table") // 4, half(isa, "fixpipe_buffer") // 8)


def has_fixpipe(isa: InstructionSet) -> bool:
    """Whether results leave the accumulators by fixpipe; else the vector queue moves them."""
    return isa.parameters["fixpipe_buffer_bytes"] > 0


def result_bytes(options: Options) -> int:
    """Bytes of one result of the cube: requantised on the way out, or as a sum for a pass of its own."""
    return 4 if options.fuse is False else 1


def _best_rows(height: int, columns: int, most: int, isa: InstructionSet) -> int:
    """Return the output rows per product tile that waste least of the cube's 16 rows; the largest of equals."""
    step = isa.parameters["cube_m"]

    def work(rows: int) -> int:
        return sum(part.trips * round_up(part.size * columns, step) for part in split(height, rows))

    limit = max(1, min(most // columns, height))
    return min(range(1, limit + 1), key=lambda rows: (work(rows), -rows))


def _taps(
    spec: ConvSpec, block: Block, rows: int, outputs: int, isa: InstructionSet, options: Options
) -> tuple[int, int, int]:
    """Return the deepest tile of whole kernel rows, else of whole taps, else of one tap's channels."""
    c0 = isa.parameters["c0_bytes"]
    most = min(half(isa, "l0a") // rows, half(isa, "l0b") // outputs) // c0 * c0
    tap_rows, tap_columns = spec.kernel
    if options.lowering == "direct" or block.channels > most:
        return 1, 1, min(most, block.channels)
    if tap_columns * block.channels <= most:
        return min(tap_rows, most // (tap_columns * block.channels)), tap_columns, block.channels
    return 1, most // block.channels, block.channels


def _weights_outside(spec: ConvSpec, block: Block, plan: Plan, panel_bytes: int) -> bool:
    """Whether reading the image once per tile of output channels moves fewer bytes than the weights once per band."""
    tiles = -(-block.outputs // plan.outputs)
    return _image_bytes(spec, block) * (tiles - 1) < panel_bytes * tiles * (_bands(spec, plan) - 1)


def _bands(spec: ConvSpec, plan: Plan) -> int:
    """Count the bands of all images."""
    height, width = axes(spec)
    bands = spec.batch * sum(part.trips for part in segments(height, plan.band_rows))
    return bands * sum(part.trips for part in segments(width, plan.columns))


def _image_bytes(spec: ConvSpec, block: Block) -> int:
    return spec.batch * spec.height * spec.width * block.inputs


def _panels_bytes(spec: ConvSpec, block: Block, plan: Plan) -> int:
    """Bytes of the weights of all tiles of output channels."""
    return -(-block.outputs // plan.outputs) * plan.outputs * spec.kernel[0] * spec.kernel[1] * block.channels
