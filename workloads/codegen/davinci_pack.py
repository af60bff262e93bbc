"""Constants of the davinci cube: weights in the order of the tiles, bias, and quantisation words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen import davinci_requantize as requantize
from workloads.codegen.davinci_jobs import Job, make_jobs
from workloads.codegen.davinci_plan import as_convolution
from workloads.codegen.davinci_tiles import HEADER_BYTES, Part, round_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads.codegen.specs import ConvSpec, MatrixSpec
    from workloads.operands import Operands
    from workloads.program import Program
    from workloads.tensor import Array


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
    spec = as_convolution(original, program.isa)
    weights = _weights(spec, operands.weights)
    jobs = make_jobs(spec, program.isa, program.options)
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
    if program.options.fuse is False:
        result[words_at:] = requantize.factors(scales)
        halves = requantize.scalars(operands)
        result[requantize.SCALARS_AT : requantize.SCALARS_AT + halves.size] = halves
        return result
    words = np.zeros(order.size, np.uint64)
    words[used] = quantization_words(scales, operands.output_zero_point)[order[used]]
    result[words_at:] = words.view(np.uint8)
    return result


def quantization_words(scales: Array, zero_point: int) -> Array:
    """Pack scales and an offset as fixpipe reads them: 19 bits of a float32, offset, sign of the result.

    References
    ----------
    .. [1] CANN SetQuantVector: bits 13-31 scale as (1, 8, 10), 37-45 signed offset, 46 result is signed.
    """
    from workloads.arithmetic import fp19

    bits = fp19(scales.astype(np.float32)).view(np.uint32).astype(np.uint64)
    return bits | np.uint64((zero_point & 0x1FF) << 37) | np.uint64(1 << 46)
