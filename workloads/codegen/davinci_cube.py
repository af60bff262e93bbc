"""Convolution, depthwise convolution and products on the davinci cube.

Bands of the image and panels of weights go from global memory to L1, img2col moves them as tiles to L0A and L0B, the cube
sums in L0C from the bias on, and fixpipe requantises on the way out. A depthwise convolution takes the cube too, with one
diagonal per 32 channels: simpler than vector instructions, and one fractal in 32 of its products is useful.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.common import loop
from workloads.codegen.davinci_plan import (
    Block,
    Depth,
    Plan,
    as_convolution,
    axes,
    blocks,
    depths,
    make_plan,
    total_depth,
)
from workloads.codegen.davinci_tiles import (
    HEADER_BYTES,
    Part,
    Segment,
    largest,
    move,
    on_chip,
    round_up,
    segments,
    split,
)
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.codegen.specs import ConvSpec, MatrixSpec
    from workloads.isa import InstructionSet
    from workloads.operands import Operands
    from workloads.program import Statement
    from workloads.tensor import Array

Body = tuple["Statement", ...]
INPUT, WEIGHTS, LEFT, RIGHT, SUMS = "l1_input", "l1_weights", "l0a_left", "l0b_right", "l0c_sums"
BIAS, QUANT = "bias_table_bias", "fixpipe_buffer_quant"
BOUNDS = "x0"  # lowest and highest result, a byte each


@dataclass(frozen=True)
class Job:
    """One block with its plan, and where its constants start.

    Parameters
    ----------
    weights_at
        Byte in the weights buffer of the first product's panels.
    columns_at
        Output channels, padded, of the blocks before this one.
    words_at
        Byte in the parameters buffer of the first quantisation word of all blocks.
    """

    spec: ConvSpec
    isa: InstructionSet
    block: Block
    plan: Plan
    found: tuple[Depth, ...]
    weights_at: int = 0
    columns_at: int = 0
    words_at: int = 0

    @property
    def depth(self) -> int:
        """Depth rows of one product, padded."""
        return total_depth(self.found)

    @property
    def columns(self) -> int:
        """Output channels of one product, each tile padded."""
        return sum(part.trips * self.padded(part.size) for part in self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Tiles of output channels."""
        return split(self.block.outputs, self.plan.outputs)

    def padded(self, outputs: int) -> int:
        """Output channels padded to the cube's block."""
        return round_up(outputs, self.isa.parameters["cube_n"])

    @property
    def line(self) -> int:
        """Bytes of one row of the band in L1."""
        return axes(self.spec)[1].needed(self.plan.columns) * self.block.channels

    @property
    def spaces(self) -> dict[str, int]:
        """Bytes used on chip, by ``space:purpose``."""
        deepest = max(depth.pitch for depth in self.found)
        outputs = self.padded(self.plan.outputs)
        rows = self.plan.rows * self.plan.columns
        return {
            "l1:input": axes(self.spec)[0].needed(self.plan.band_rows) * self.line,
            "l1:weights": (self.depth if self.plan.staged else deepest) * outputs,
            "l0a:left": rows * deepest,
            "l0b:right": deepest * outputs,
            "l0c:sums": rows * outputs * 4,
            "bias_table:bias": outputs * 4,
            "fixpipe_buffer:quant": outputs * 8,
        }


def make_jobs(spec: ConvSpec, isa: InstructionSet) -> tuple[Job, ...]:
    """Plan every block and lay out its constants one after the other."""
    jobs: list[Job] = []
    weights_at = columns_at = 0
    for block in blocks(spec, isa):
        plan = make_plan(spec, block, isa)
        job = Job(spec, isa, block, plan, depths(spec, block, plan.taps, isa), weights_at, columns_at)
        jobs.append(job)
        weights_at += block.trips * job.depth * job.columns
        columns_at += block.trips * job.columns
    words_at = round_up(HEADER_BYTES + 4 * columns_at, 8)
    return tuple(
        Job(spec, isa, job.block, job.plan, job.found, job.weights_at, job.columns_at, words_at) for job in jobs
    )


def generate(original: ConvSpec | MatrixSpec, isa: InstructionSet) -> Program:
    """Generate a convolution or a product with constant weights."""
    spec = as_convolution(original)
    jobs = make_jobs(spec, isa)
    last = jobs[-1]
    total = last.columns_at + last.block.trips * last.columns
    buffers = (
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, "global", "input"),
        Buffer("weights", last.weights_at + last.block.trips * last.depth * last.columns, "global", "weights"),
        Buffer("parameters", last.words_at + 8 * total, "global", "parameters"),
        Buffer("output", spec.batch * spec.height_out * spec.width_out * spec.channels_out, "global", "output"),
        *on_chip(isa, largest(*(job.spaces for job in jobs))),
    )
    bounds = Instruction("s_load_u16", BOUNDS, (Address("parameters", 2),))
    nests = (loop(isa, "block", job.block.trips, _block(job)) for job in jobs)
    body = (bounds, *(statement for nest in nests for statement in nest))
    kind = "depthwise" if spec.depthwise else "conv"
    first = jobs[0].plan
    notes = {
        "tile": f"{first.rows * first.columns} x {max(d.pitch for d in jobs[0].found)} x {first.outputs}",
        "buffers": "every on-chip buffer is one of two, so that moves and products overlap",
    }
    name = f"davinci_{kind}_{spec.kernel[0]}x{spec.kernel[1]}"
    return Program(name, isa, buffers, body, original.macs, "ascend-fixpipe", notes)


def _block(job: Job) -> Body:
    """Nest the loops over output channels and over bands of the image in the order that moves less."""
    height, width = axes(job.spec)
    bands = [
        (row, column) for row in segments(height, job.plan.band_rows) for column in segments(width, job.plan.columns)
    ]
    body: list[Statement] = []
    if job.plan.weights_outside:
        for part in job.parts:
            inner = tuple(
                statement
                for row, column in bands
                for statement in _over_band(
                    job, row, column, (*_image(job, row, column), *_products(job, part, row, column))
                )
            )
            body += loop(
                job.isa, "part", part.trips, (*_constants(job, part), *loop(job.isa, "image", job.spec.batch, inner))
            )
        return tuple(body)
    for row, column in bands:
        inner = tuple(
            statement
            for part in job.parts
            for statement in loop(
                job.isa, "part", part.trips, (*_constants(job, part), *_products(job, part, row, column))
            )
        )
        body += _over_band(job, row, column, (*_image(job, row, column), *inner))
    return loop(job.isa, "image", job.spec.batch, tuple(body))


def _over_band(job: Job, row: Segment, column: Segment, body: Body) -> Body:
    return loop(job.isa, "band", row.trips, loop(job.isa, "strip", column.trips, body))


def _image(job: Job, row: Segment, column: Segment) -> Body:
    """Bring a band of the image to L1, its padding filled with the zero point."""
    spec, block = job.spec, job.block
    source = Address("input", (row.first * spec.width + column.first) * spec.channels + block.input_at).plus(
        block=block.inputs,
        image=spec.height * spec.width * spec.channels,
        band=row.size * spec.stride[0] * spec.width * spec.channels,
        strip=column.size * spec.stride[1] * spec.channels,
    )
    target = Address(INPUT, row.before * job.line + column.before * block.channels)
    body: list[Statement] = []
    if row.padded or column.padded:
        height, width = axes(spec)
        extent = height.needed(row.size), width.needed(column.size) * block.channels
        body.append(Instruction("img2col_pad", Address(INPUT), (Address("parameters", 0),), shape=(*extent, job.line)))
    if not row.elements or not column.elements:
        return tuple(body)
    if block.inputs == block.channels == spec.channels:  # rows of the image are dense: one move
        extent = (row.elements, column.elements * spec.channels)
        body.append(move("mte2_l1", target, source, extent, (spec.width * spec.channels, job.line)))
        return tuple(body)
    pixels = (column.elements, block.inputs)
    line = move(
        "mte2_l1", target.plus(line=job.line), source.plus(line=spec.width * spec.channels), pixels,
        (spec.channels, block.channels),
    )  # fmt: skip
    return (*body, *loop(job.isa, "line", row.elements, (line,)))


def _constants(job: Job, part: Part) -> Body:
    """Bring bias, quantisation words and, when L1 holds them all, the weights of one tile of output channels."""
    outputs = job.padded(part.size)
    column = job.columns_at + part.start
    steps = {"block": job.columns, "part": outputs}
    bias = Address("parameters", HEADER_BYTES + 4 * column).plus(0, **{key: 4 * step for key, step in steps.items()})
    words = Address("parameters", job.words_at + 8 * column).plus(0, **{key: 8 * step for key, step in steps.items()})
    body = [
        move("mte2_bias", Address(BIAS), bias, (1, outputs)),
        move("mte2_quant", Address(QUANT), words, (1, outputs)),
    ]
    if job.plan.staged:
        body.append(move("mte2_l1", Address(WEIGHTS), _panel(job, part), (job.depth, outputs)))
    return tuple(body)


def _panel(job: Job, part: Part) -> Address:
    """Return where the weights of one tile of output channels start in global memory."""
    outputs = job.padded(part.size)
    return Address("weights", job.weights_at + part.start * job.depth).plus(
        block=job.depth * job.columns, part=outputs * job.depth
    )


def _products(job: Job, part: Part, row: Segment, column: Segment) -> Body:
    """Sum, requantise and write the outputs of one band for one tile of output channels."""
    body: list[Statement] = []
    outputs = job.padded(part.size)
    for group in split(row.size, job.plan.rows):
        pixels = group.size * column.size
        inner: list[Statement] = [move("bias_l0c", Address(SUMS), Address(BIAS), (pixels, outputs), (0, 4 * outputs))]
        for depth in job.found:
            tile = _tile(job, part, group, column, depth)
            tile = loop(job.isa, "deep", depth.channels.trips, tile)
            inner += loop(job.isa, "down", depth.rows.trips, loop(job.isa, "across", depth.columns.trips, tile))
        inner += _write(job, part, group, row, column)
        body += loop(job.isa, "group", group.trips, tuple(inner))
    return tuple(body)


def _tile(job: Job, part: Part, group: Part, column: Segment, depth: Depth) -> Body:
    """Move one tile of each operand and multiply them."""
    spec, channels, outputs = job.spec, job.block.channels, job.padded(part.size)
    line = job.line
    tap = (spec.dilation[0] * line, spec.dilation[1] * channels)
    source = Address(
        INPUT,
        group.start * spec.stride[0] * line + depth.rows.start * tap[0] + depth.columns.start * tap[1]
        + depth.channels.start,
    ).plus(
        group=group.size * spec.stride[0] * line, down=depth.rows.size * tap[0], across=depth.columns.size * tap[1],
        deep=depth.channels.size, row=spec.stride[0] * line, ky=tap[0], kx=tap[1],
    )  # fmt: skip
    tap_bytes = depth.channels.size
    target = Address(LEFT).plus(
        row=column.size * depth.pitch, ky=depth.columns.size * tap_bytes, kx=tap_bytes
    )  # fmt: skip
    left: Body = (
        move("img2col_l0a", target, source, (column.size, tap_bytes), (spec.stride[1] * channels, depth.pitch)),
    )
    for variable, trips in (("kx", depth.columns.size), ("ky", depth.rows.size), ("row", group.size)):
        left = loop(job.isa, variable, trips, left)
    steps = dict(zip(("down", "across", "deep"), (step * outputs for step in depth.steps), strict=True))
    extent = (depth.pitch, outputs)
    if job.plan.staged:
        right: Body = (
            move("load2d_l0b", Address(RIGHT), Address(WEIGHTS, depth.at * outputs).plus(0, **steps), extent),
        )
    else:
        right = (
            move("mte2_l1", Address(WEIGHTS), _panel(job, part).plus(depth.at * outputs, **steps), extent),
            move("load2d_l0b", Address(RIGHT), Address(WEIGHTS), extent),
        )
    shape = (group.size * column.size, depth.pitch, outputs)
    return (*left, *right, Instruction("mmad_s8", Address(SUMS), (Address(LEFT), Address(RIGHT)), shape=shape))


def _write(job: Job, part: Part, group: Part, row: Segment, column: Segment) -> Body:
    """Requantise one tile of sums into the output image."""
    spec, outputs = job.spec, job.padded(part.size)
    pixel, line = spec.channels_out, spec.width_out * spec.channels_out
    target = Address(
        "output", (row.start + group.start) * line + column.start * pixel + job.block.output_at + part.start
    ).plus(
        block=job.block.outputs, part=part.size, image=spec.height_out * line, band=row.size * line,
        strip=column.size * pixel, group=group.size * line,
    )  # fmt: skip
    sums = Address(SUMS)
    if column.size == spec.width_out:  # whole rows follow each other in the output
        return (_fixpipe(target, sums, (group.size * column.size, part.size), (4 * outputs, pixel)),)
    step = {"row": column.size * outputs * 4}
    inner = _fixpipe(target.plus(row=line), sums.plus(0, **step), (column.size, part.size), (4 * outputs, pixel))
    return loop(job.isa, "row", group.size, (inner,))


def _fixpipe(target: Address, sums: Address, extent: tuple[int, int], pitches: tuple[int, int]) -> Instruction:
    return Instruction("fixpipe_s8", target, (sums, Address(QUANT), BOUNDS), shape=(*extent, *pitches))


def pack(program: Program, original: ConvSpec | MatrixSpec, operands: Operands) -> dict[str, Array]:
    """Lay out weights as the tiles read them, bias with the input's zero point folded in, quantisation words.

    Raises
    ------
    ValueError
        The weights are not symmetric: the cube has no zero point for them.
    """
    if operands.weights is None:
        raise ValueError("a convolution needs weights")
    if operands.weight_zero_point:
        raise ValueError(
            f"weight zero point {operands.weight_zero_point}: the davinci cube multiplies symmetric weights"
        )
    spec = as_convolution(original)
    weights = _weights(spec, operands.weights)
    jobs = make_jobs(spec, program.isa)
    sums = weights.astype(np.int64).sum(axis=(1, 2, 3))
    bias = (0 if operands.bias is None else operands.bias.astype(np.int64)) - operands.input_zero_points[0] * sums
    panels = [panel for job in jobs for panel in _panels(job, weights)]
    order = np.concatenate([index for job in jobs for index in _channels(job)])
    return {
        "weights": np.concatenate(panels).view(np.uint8),
        "parameters": _parameters(program, jobs[0].words_at, bias, order, operands),
    }


def _weights(spec: ConvSpec, weights: Array) -> Array:
    """Bring weights to (output, kernel row, kernel column, channel of its group)."""
    if spec.depthwise:
        return weights.transpose(3, 1, 2, 0)
    return weights.reshape(spec.channels_out, *spec.kernel, spec.channels // spec.groups)


def _panels(job: Job, weights: Array) -> Iterator[Array]:
    """Yield the weights of each product and tile of output channels, depth tile after depth tile."""
    block = job.block
    inputs, outputs = block.inputs // block.groups, block.outputs // block.groups
    for trip in range(block.trips):
        first = block.output_at + trip * block.outputs
        dense = np.zeros((*job.spec.kernel, block.channels, round_up(block.outputs, job.padded(1))), np.int8)
        for group in range(block.groups):
            chosen = weights[first + group * outputs : first + (group + 1) * outputs]
            dense[:, :, group * inputs : (group + 1) * inputs, group * outputs : (group + 1) * outputs] = (
                chosen.transpose(1, 2, 3, 0)
            )
        for part in job.parts:
            for index in range(part.trips):
                start = part.start + index * part.size
                yield from _depth_tiles(job, dense[..., start : start + job.padded(part.size)])


def _depth_tiles(job: Job, panel: Array) -> Iterator[Array]:
    """Yield each depth tile of a panel (kernel row, kernel column, channel, output), padded with zeros."""
    outputs = panel.shape[-1]
    ranges: dict[Part, list[slice]] = {}
    for depth in job.found:
        for part in (depth.rows, depth.columns, depth.channels):
            starts = range(part.start, part.start + part.trips * part.size, part.size)
            ranges[part] = [slice(start, start + part.size) for start in starts]
    row_parts = dict.fromkeys(depth.rows for depth in job.found)
    column_parts = dict.fromkeys(depth.columns for depth in job.found)
    channel_parts = dict.fromkeys(depth.channels for depth in job.found)
    for rows in (piece for part in row_parts for piece in ranges[part]):
        for columns in (piece for part in column_parts for piece in ranges[part]):
            for channels in (piece for part in channel_parts for piece in ranges[part]):
                tile = panel[rows, columns, channels].reshape(-1, outputs).T
                padding = round_up(tile.shape[1], job.isa.parameters["c0_bytes"]) - tile.shape[1]
                yield np.pad(tile, ((0, 0), (0, padding))).ravel()


def _channels(job: Job) -> Iterator[Array]:
    """Yield the output channel behind each padded column, -1 behind padding."""
    for trip in range(job.block.trips):
        for part in job.parts:
            for index in range(part.trips):
                first = job.block.output_at + trip * job.block.outputs + part.start + index * part.size
                column = np.full(job.padded(part.size), -1)
                column[: part.size] = np.arange(first, first + part.size)
                yield column


def _parameters(program: Program, words_at: int, bias: Array, order: Array, operands: Operands) -> Array:
    """Return the parameter buffer: zero point and bounds, bias, quantisation words."""
    from workloads.arithmetic import effective_scales

    result = np.zeros(program.buffer("parameters").bytes, np.uint8)
    scalars = (operands.input_zero_points[0], 0, operands.low, operands.high)
    result[:4] = np.array(scalars, np.int8).view(np.uint8)
    used = order >= 0
    columns = np.zeros(order.size, np.int32)
    columns[used] = np.broadcast_to(bias, order.max() + 1)[order[used]]
    result[HEADER_BYTES : HEADER_BYTES + columns.nbytes] = columns.view(np.uint8)
    scales = np.broadcast_to(effective_scales(operands, program.profile), order.max() + 1)
    words = np.zeros(order.size, np.uint64)
    words[used] = quantization_words(scales, operands.output_zero_point)[order[used]]
    result[words_at:] = words.view(np.uint8)
    return result


def quantization_words(scales: Array, zero_point: int) -> Array:
    """Pack scales and an offset as fixpipe reads them: 19 bits of float32, 9-bit offset at 37, sign of the result at 46.

    References
    ----------
    .. [1] CANN SetQuantVector: bits 13-31 scale as (1, 8, 10), 37-45 signed offset, 46 result is signed.
    """
    from workloads.arithmetic import fp19

    bits = fp19(scales.astype(np.float32)).view(np.uint32).astype(np.uint64)
    return bits | np.uint64((zero_point & 0x1FF) << 37) | np.uint64(1 << 46)
