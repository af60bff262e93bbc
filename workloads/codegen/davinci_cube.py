"""Convolution, depthwise convolution and products on the davinci cube.

Bands of the image and panels of weights go from global memory to L1, img2col moves them as tiles to L0A and L0B, the
cube sums in L0C from the bias on, and the epilogue requantises. A depthwise convolution takes the cube too, one
diagonal per 32 channels: simpler than vector instructions, at the price that one product in 32 is useful.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.codegen import davinci_epilogue as epilogue
from workloads.codegen import davinci_requantize as requantize
from workloads.codegen.common import fixed, loop
from workloads.codegen.davinci_epilogue import NEXT, SUMS
from workloads.codegen.davinci_jobs import Job, make_jobs
from workloads.codegen.davinci_plan import Depth, as_convolution, axes
from workloads.codegen.davinci_tiles import (
    Part,
    Segment,
    copies_of,
    largest,
    move,
    on_chip,
    rebased,
    renamed,
    segments,
    split,
)
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.specs import ConvSpec, MatrixSpec
    from workloads.isa import InstructionSet
    from workloads.options import Options
    from workloads.program import Statement

Body = tuple["Statement", ...]
INPUT, WEIGHTS, LEFT, RIGHT = "l1_input", "l1_weights", "l0a_left", "l0b_right"
FLAGS = 8  # event flags between two queues, so tiles of streamed weights in flight


def generate(original: ConvSpec | MatrixSpec, isa: InstructionSet, options: Options) -> Program:
    """Generate a convolution or a product with constant weights."""
    spec = as_convolution(original, isa)
    jobs = make_jobs(spec, isa, options)
    used = largest(*(job.spaces for job in jobs))
    nests = (loop(isa, "block", job.block.trips, _block(job)) for job in jobs)
    body = (epilogue.bounds(), *(statement for nest in nests for statement in nest))
    pixels = spec.batch * spec.height_out * spec.width_out
    last = jobs[-1]
    buffers = [
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, "global", "input"),
        Buffer("weights", last.weights_at + last.block.trips * last.depth * last.columns, "global", "weights"),
        Buffer("parameters", epilogue.parameter_bytes(jobs), "global", "parameters"),
        Buffer("output", pixels * spec.channels_out, "global", "output"),
    ]
    if not last.fused:
        buffers.append(Buffer(epilogue.WORKSPACE, 4 * pixels * spec.channels_out, "global"))
        used |= requantize.spaces(pixels, spec.channels_out, isa)
        body = (*body, *requantize.generate(pixels, spec.channels_out, last.words_at, isa))
    buffers += on_chip(isa, used, _copies(jobs, used, options))
    kind = "depthwise" if spec.depthwise else "conv"
    first = jobs[0].plan
    notes = {
        "tile": f"{first.rows * first.columns} x {max(d.pitch for d in jobs[0].found)} x {first.outputs}",
        "buffers": "one of each on chip: queues wait for each other"
        if options.buffers == 1
        else "two or more of each on chip, so that moves and products overlap",
    }
    name = f"davinci_{kind}_{spec.kernel[0]}x{spec.kernel[1]}"
    return Program(name, isa, tuple(buffers), body, original.macs, "ascend-fixpipe", notes)


def _copies(jobs: tuple[Job, ...], used: dict[str, int], options: Options) -> dict[str, int] | None:
    """Return the tiles in flight per buffer; streamed weights take what L1 has left, to hide the memory's latency."""
    if options.buffers == 1:
        return copies_of(used, options)
    copies = {"l0c:sums": 1, "l0c:next": 1} if jobs[0].ahead else {}
    if not any(job.plan.staged for job in jobs):
        room = jobs[0].isa.parameters["l1_bytes"] - 2 * used["l1:input"]
        copies["l1:weights"] = min(FLAGS, room // used["l1:weights"])
    return copies


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
    if column.elements == spec.width and job.line == spec.width * block.channels:  # rows follow each other in both
        extent = (row.elements * spec.width, block.inputs)
        body.append(move("mte2_l1", target, source, extent, (spec.channels, block.channels)))
        return tuple(body)
    pixels = (column.elements, block.inputs)
    line = move(
        "mte2_l1", target.plus(line=job.line), source.plus(line=spec.width * spec.channels), pixels,
        (spec.channels, block.channels),
    )  # fmt: skip
    return (*body, *loop(job.isa, "line", row.elements, (line,)))


def _constants(job: Job, part: Part) -> Body:
    """Bring what the results need and, when L1 holds them all, the weights of one tile of output channels."""
    weights = (move("mte2_l1", Address(WEIGHTS), _panel(job, part), (job.depth, job.padded(part.size))),)
    return (*epilogue.constants(job, part), *(weights if job.plan.staged else ()))


def _panel(job: Job, part: Part) -> Address:
    """Return where the weights of one tile of output channels start in global memory."""
    outputs = job.padded(part.size)
    return Address("weights", job.weights_at + part.start * job.depth).plus(
        block=job.depth * job.columns, part=outputs * job.depth
    )


def _products(job: Job, part: Part, row: Segment, column: Segment) -> Body:
    """Sum, requantise and write the outputs of one band for one tile of output channels."""
    groups = split(row.size, job.plan.rows)
    starts = [epilogue.start(job, group.size * column.size, job.padded(part.size)) for group in groups]
    tiles = [(*_sums(job, part, group, column), *epilogue.finish(job, part, group, row, column)) for group in groups]
    if job.ahead:
        return _ahead(job, groups[0].trips, starts, tiles)
    return tuple(
        statement
        for group, start, tile in zip(groups, starts, tiles, strict=True)
        for statement in loop(job.isa, "group", group.trips, (start, *tile))
    )


def _ahead(job: Job, trips: int, starts: list[Instruction], tiles: list[Body]) -> Body:
    """Start each tile of sums before the one in front of it is finished: in turn in two buffers, a pair per trip.

    The vector queue does both in order, and would else hold the cube's next tile until the last one is out.
    """
    pairs = (trips - 1) // 2
    one, two = (rebased(tiles[0], "group", 2, place) for place in (0, 1))
    pair = (*renamed((starts[0],), SUMS, NEXT), *one, starts[0], *renamed(two, SUMS, NEXT))
    body = [starts[0], *loop(job.isa, "group", pairs, pair)]
    left = [(starts[0], fixed(tiles[0], "group", value=index)) for index in range(2 * pairs, trips)]
    left += list(zip(starts[1:], tiles[1:], strict=True))
    for place, (_, tile) in enumerate(left):
        here, there = ((SUMS, NEXT), (NEXT, SUMS))[place % 2]
        body += renamed(tuple(start for start, _ in left[place + 1 : place + 2]), SUMS, there)
        body += renamed(tile, SUMS, here)
    return tuple(body)


def _sums(job: Job, part: Part, group: Part, column: Segment) -> Body:
    """Add the products of all depth tiles."""
    body: list[Statement] = []
    for depth in job.found:
        tile = loop(job.isa, "deep", depth.channels.trips, _tile(job, part, group, column, depth))
        body += loop(job.isa, "down", depth.rows.trips, loop(job.isa, "across", depth.columns.trips, tile))
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
    pixel = spec.stride[1] * channels
    follow = spec.stride[0] * line == column.size * pixel  # the pixels of a row follow those of the row above
    rows, pixels = (1, group.size * column.size) if follow else (group.size, column.size)
    left: Body = (move("img2col_l0a", target, source, (pixels, tap_bytes), (pixel, depth.pitch)),)
    for variable, trips in (("kx", depth.columns.size), ("ky", depth.rows.size), ("row", rows)):
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
