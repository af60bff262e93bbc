"""Convolutions and matrix products as one blocked product over a band of the image, without patches in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workloads.kernels.finish import finish_line
from workloads.kernels.jit import kernel
from workloads.kernels.tile import multiply_tile, row_term
from workloads.kernels.turns import begin, take

if TYPE_CHECKING:
    from workloads.kernels.finish import Channels, Finish
    from workloads.tensor import Array


class Geometry(NamedTuple):
    """One convolution over images (H,W,C): where each output's values lie in a band of padded rows.

    Parameters
    ----------
    height, width, channels
        Of the image.
    rows, columns
        Of the output.
    stride_y, stride_x, top, left
        Of the window; the band begins ``top`` rows above and ``left`` columns before the image.
    padded, window_rows
        Columns of the band and rows of a dilated window.
    groups, outputs
        Groups and outputs of each.
    steps, group_bytes
        Groups per segment, and the bytes of weights in one group and column.
    lanes, vectors, tile_rows
        Of the tile.
    block
        Output rows of one block; a block's band and sums stay in cache.
    offset, fill
        Added to each value on its way into the band; the band's value outside the image.
    """

    height: int
    width: int
    channels: int
    rows: int
    columns: int
    stride_y: int
    stride_x: int
    top: int
    left: int
    padded: int
    window_rows: int
    groups: int
    outputs: int
    steps: int
    group_bytes: int
    lanes: int
    vectors: int
    tile_rows: int
    block: int
    offset: int
    fill: int


@kernel
def fill_band(image: Array, geometry: Geometry, first: int, rows: int, band: Array) -> None:
    """Copy rows of an image (H*W*C flat) into a band, padded, with the offset added."""
    pitch, line = geometry.padded * geometry.channels, geometry.width * geometry.channels
    left = geometry.left * geometry.channels
    for row in range(rows):
        y = first + row
        target = band[row * pitch : (row + 1) * pitch]
        if y < 0 or y >= geometry.height:
            target[:] = geometry.fill
            continue
        target[:left] = geometry.fill
        target[left + line :] = geometry.fill
        inside, source = target[left : left + line], image[y * line : (y + 1) * line]
        for index in range(line):
            inside[index] = source[index] + geometry.offset


@kernel
def multiply_blocks(
    image: Array,
    weights: Array,
    segments: Array,
    channels: Channels,
    geometry: Geometry,
    finish: Finish,
    split: tuple[int, int, int],
    turns: Array,
    band: Array,
    out: Array,
) -> None:
    """Compute blocks of output rows by panels of output channels, one part of a block's panels after the other.

    Parameters
    ----------
    image
        (batch, H*W*C).
    weights
        Packed panels, one after the other, groups outermost.
    segments
        (groups, segments) int64: offsets in the band from a window's corner. [B]
    split
        (blocks, parts, panels): blocks of all images, and the parts that the panels of each group are split into.
    turns
        Which part of which block is next, shared by threads.
    band
        Room for a block's values, int16 or uint8 as the weights ask, and one group more.
    out
        (batch, rows*columns, groups*outputs).
    """
    begin(turns)
    blocks, parts, panels = split
    columns, outputs, full = geometry.columns, geometry.outputs, geometry.lanes * geometry.vectors
    image_blocks = (geometry.rows + geometry.block - 1) // geometry.block
    depth = segments.shape[1] * geometry.steps * geometry.group_bytes
    tail = (outputs + geometry.lanes - 1) // geometry.lanes * geometry.lanes
    pixel_bytes = geometry.channels * band.itemsize
    addresses = np.empty(geometry.block * columns + geometry.tile_rows, np.int64)
    firsts = np.zeros(addresses.size, np.int32)
    sums = np.empty((geometry.block * columns + geometry.tile_rows) * ((panels - 1) // parts + 1) * full, np.int32)
    filled = -1
    turn = take(turns)
    while turn < blocks * parts:
        index, part = turn // parts, turn % parts
        n, row = index // image_blocks, index % image_blocks * geometry.block
        rows = min(geometry.block, geometry.rows - row)
        count = rows * columns
        if index != filled:
            top = row * geometry.stride_y - geometry.top
            fill_band(image[n], geometry, top, (rows - 1) * geometry.stride_y + geometry.window_rows, band)
            filled = index
            position = 0
            for y in range(rows):
                corner = band.ctypes.data + y * geometry.stride_y * geometry.padded * pixel_bytes
                for x in range(columns):
                    addresses[position] = corner + x * geometry.stride_x * pixel_bytes
                    position += 1
            addresses[count:] = addresses[count - 1]  # the last tile repeats a pixel into rows that nobody reads
        first_panel, last_panel = panels * part // parts, panels * (part + 1) // parts
        start, end = first_panel * full, min(last_panel * full, outputs)
        pitch = min(last_panel * full, tail) - start
        for group in range(geometry.groups):
            table = segments[group].ctypes.data
            if weights.itemsize == 4:  # crossed
                for position in range(count):
                    firsts[position] = -row_term(addresses[position], table, segments.shape[1], geometry.steps)
            for panel in range(first_panel, last_panel):
                vectors = min(geometry.vectors, (tail - panel * full) // geometry.lanes)
                base = (group * tail + panel * full) * depth
                for position in range(0, count, geometry.tile_rows):
                    multiply_tile(
                        weights, base, vectors, addresses.ctypes.data + 8 * position,
                        firsts.ctypes.data + 4 * position, table, segments.shape[1], geometry.steps,
                        sums.ctypes.data + 4 * (position * pitch + (panel - first_panel) * full), 4 * pitch,
                    )  # fmt: skip
            channel = group * outputs + start
            for position in range(count):
                line = out[n, row * columns + position, channel : channel + end - start]
                finish_line(sums.ctypes.data + 4 * position * pitch, channels, group * tail + start, finish, line)
        turn = take(turns)


@kernel
def pack_columns(b: Array, zero_point: int, full: int, columns: int, group: int, packed: Array, sums: Array) -> None:
    """Pack (K,N) into panels of ``full`` columns, ``columns`` in all, and add the sum of each column to ``sums``.

    A word of ``packed``, int32, holds one group: two int16 or four int8 of one column.
    """
    depth, width = b.shape
    steps = packed.size // columns
    mask = np.int32(0xFF) if group == 4 else np.int32(0xFFFF)
    for start in range(0, columns, full):
        here = min(full, columns - start)
        inside = min(here, width - start)
        sums_here = sums[start : start + inside]
        for step in range(steps):
            words = packed[start * steps + step * here : start * steps + (step + 1) * here]
            words[:] = 0
            for part in range(min(group, depth - step * group)):
                values, shift = b[step * group + part, start : start + inside], np.int32(part * 32 // group)
                for column in range(inside):
                    value = np.int32(np.int32(values[column]) - np.int32(zero_point))
                    sums_here[column] = np.int32(sums_here[column] + value)
                    words[column] |= np.int32(np.int32(value & mask) << shift)
