"""Weights packed into panels for the tile, and everything else a blocked product needs, made once per layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.finish import LANES
from workloads.kernels.implicit import Geometry, pack_columns
from workloads.kernels.llvm import processor_features
from workloads.kernels.tile import (
    BOUNDED,
    CROSSED,
    FOURS,
    GROUP_BYTES,
    PAIRS,
    Shape,
    group_bytes,
    in_bytes,
    tile_rows,
    tile_shape,
)
from workloads.kernels.vector import panel_columns
from workloads.shapes import windows

if TYPE_CHECKING:
    from workloads.operators import Padding, Pair
    from workloads.tensor import Array

BLOCK_PIXELS = 64  # outputs of one block: enough rows per panel, sums that stay in cache, blocks enough for two threads
LEAST_PIXELS = 8
BLOCK_BYTES = 192 * 1024


@dataclass(frozen=True)
class Window:
    """How a filter moves over an image."""

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int


POINTWISE = Window((1, 1), (0, 0, 0, 0), (1, 1), 1)


@dataclass(frozen=True, eq=False)
class Panels:
    """A layer ready for ``multiply_blocks`` on images of one shape.

    Parameters
    ----------
    weights, segments, geometry
        As ``multiply_blocks`` takes them.
    correction
        int32 to add to each output channel's sums; what the shift to unsigned values changed.
    band
        Elements of the band and their type.
    kind
        "blocks" for ``multiply_blocks``, "depthwise" for ``convolve_rows``, "vector" for ``multiply_vector``: weights
        and segments are what that kernel takes.
    """

    weights: Array
    segments: Array
    geometry: Geometry
    correction: Array
    band: tuple[int, str]
    kind: str = "blocks"

    @property
    def panels(self) -> int:
        """Panels of one group."""
        return -(-self.geometry.outputs // (self.geometry.lanes * self.geometry.vectors))

    @property
    def blocks(self) -> int:
        """Blocks of one image."""
        return -(-self.geometry.rows // self.geometry.block)


def prepare(shape: tuple[int, ...], dtype: str, zero_point: int, weights: Array, window: Window, path: str) -> Panels:
    """Pack centred int16 weights (O,KH,KW,C/groups) for images (N,H,W,C) of one shape, type and zero point."""
    kind = _kind(dtype, weights, window, path)
    offset = _offset(dtype, zero_point, unsigned=in_bytes(kind))
    geometry, segments, elements = _layout(shape, weights.shape, window, kind, offset, zero_point + offset)
    runs = weights.reshape(weights.shape[0], segments.shape[1], -1)
    tile = Shape(geometry.lanes, geometry.vectors)
    correction = -geometry.fill * runs.sum(axis=(1, 2), dtype=np.int64)
    if kind == CROSSED:
        correction = -column_terms(runs)
    packed = pack(runs, window.groups, geometry.steps, tile, kind)
    return Panels(packed, segments, geometry, correction.astype(np.int32), (elements, _band_type(kind)))


def _kind(dtype: str, weights: Array, window: Window, path: str) -> str:
    """Choose the arithmetic: 16-bit activations leave no room for crossed sums, and short runs fill too few groups."""
    if np.dtype(dtype).itemsize > 1:
        return PAIRS
    if path == "vnni" and fits_int8(weights):
        return FOURS
    length = weights.shape[3] * (weights.shape[2] if window.groups == 1 and window.dilation[1] == 1 else 1)
    if fits_int8(weights) and pairs_fit(weights.reshape(-1, length)):
        return BOUNDED
    return CROSSED if -(-length // 4) * 4 <= 1.05 * (-(-length // 2) * 2) else PAIRS


def prepare_product(a: Array, b: Array, zero_points: tuple[int, ...], path: str) -> Panels:
    """Pack the second factor (K,N) of a matrix product for the first, (M,K)."""
    fours = path == "vnni" and a.dtype.itemsize == 1 and b.dtype.name == "int8" and zero_points[1] == 0
    kind = FOURS if fours else PAIRS
    offset = _offset(a.dtype.name, zero_points[0], unsigned=fours)
    shape, weights = (1, a.shape[0], 1, a.shape[1]), (b.shape[1], 1, 1, b.shape[0])
    geometry, segments, elements = _layout(shape, weights, POINTWISE, kind, offset, zero_points[0] + offset)
    columns = -(-b.shape[1] // geometry.lanes) * geometry.lanes
    group = GROUP_BYTES if fours else GROUP_BYTES // 2
    packed = np.empty(columns * geometry.steps, np.int32)
    sums = np.zeros(b.shape[1], np.int32)
    pack_columns(b, zero_points[1], geometry.lanes * geometry.vectors, columns, group, packed, sums)
    correction = -geometry.fill * sums.astype(np.int64)
    return Panels(
        packed.view(kind), segments, geometry, correction.astype(np.int32),
        (elements, _band_type(kind)),
    )  # fmt: skip


def prepare_vector(shape: tuple[int, ...], dtype: str, zero_point: int, weights: Array, path: str) -> Panels:
    """Lay out weights (N,1,1,K) that are bytes above -128 for one row of bytes; signed ones without ``vpdpbusd``."""
    columns = panel_columns(processor_features())
    outputs, depth = weights.shape[0], weights.shape[3]
    steps = -(-depth // GROUP_BYTES)
    packed = pack(weights.reshape(outputs, 1, depth), 1, steps, Shape(columns, 1), FOURS)
    unsigned = path == "vnni"
    offset = _offset(dtype, zero_point, unsigned=True) - (0 if unsigned else 128)
    geometry, segments, _ = _layout(shape, weights.shape, POINTWISE, FOURS, offset, zero_point + offset)
    correction = -geometry.fill * weights.reshape(outputs, depth).sum(axis=1, dtype=np.int64)
    return Panels(
        packed, segments, geometry._replace(lanes=columns, vectors=1), correction.astype(np.int32),
        (GROUP_BYTES * steps, "uint8" if unsigned else "int8"), kind="vector",
    )  # fmt: skip


def _offset(dtype: str, zero_point: int, *, unsigned: bool) -> int:
    """Return what is added to values in a band: bytes become unsigned, int16 values lose their zero point."""
    if unsigned:
        return 128 if dtype == "int8" else 0
    return -zero_point


def _band_type(kind: str) -> str:
    return "uint8" if in_bytes(kind) else "int16"


def _layout(
    shape: tuple[int, ...], weights: tuple[int, ...], window: Window, kind: str, offset: int, fill: int
) -> tuple[Geometry, Array, int]:
    """Return the geometry, the segments and the elements of a band."""
    outputs, kernel_y, kernel_x, channels = weights
    size = 1 if in_bytes(kind) else 2
    tile = tile_shape(processor_features(), kind)
    _, height, width, depth = shape
    rows, columns = windows((height, width), (kernel_y, kernel_x), window.stride, window.padding, window.dilation)
    top, left, _, right = window.padding
    padded = width + left + right
    # A row of the window is one run of memory, unless dilation or groups leave gaps in it.
    taps = 1 if window.groups == 1 and window.dilation[1] == 1 else kernel_x
    steps = -(-(kernel_x * channels // taps * size) // group_bytes(kind))
    window_rows = (kernel_y - 1) * window.dilation[0] + 1
    pixel_bytes = depth * size
    block = _block_rows(rows, columns, padded * pixel_bytes * window.stride[0], outputs // window.groups)
    geometry = Geometry(
        height, width, depth, rows, columns, *window.stride, top, left, padded, window_rows, window.groups,
        outputs // window.groups, steps, group_bytes(kind), tile.lanes, tile.vectors, tile_rows(kind), block,
        offset, fill,
    )  # fmt: skip
    at_rows = np.arange(kernel_y)[:, None] * window.dilation[0] * padded
    corners = (at_rows + np.arange(taps)[None] * window.dilation[1]).reshape(1, -1) * pixel_bytes
    segments = corners + np.arange(window.groups)[:, None] * channels * size
    elements = ((block - 1) * window.stride[0] + window_rows) * padded * depth + group_bytes(kind) // size
    return geometry, np.ascontiguousarray(segments, np.int64), elements


def prepare_depthwise(shape: tuple[int, ...], dtype: str, zero_point: int, weights: Array, window: Window) -> Panels:
    """Lay out centred int16 weights (1,KH,KW,C) of a depthwise convolution; no type but int16 is used."""
    del dtype
    _, height, width, channels = shape
    _, kernel_y, kernel_x, _ = weights.shape
    rows, columns = windows((height, width), (kernel_y, kernel_x), window.stride, window.padding, window.dilation)
    top, left, _, right = window.padding
    padded = width + left + right
    window_rows = (kernel_y - 1) * window.dilation[0] + 1
    block = _block_rows(rows, columns, padded * channels * 2 * window.stride[0], 1)
    geometry = Geometry(
        height, width, channels, rows, columns, *window.stride, top, left, padded, window_rows, 1, channels,
        1, GROUP_BYTES, LANES, 1, 1, block, -zero_point, 0,
    )  # fmt: skip
    at_rows = np.arange(kernel_y)[:, None] * window.dilation[0] * padded
    offsets = (at_rows + np.arange(kernel_x)[None] * window.dilation[1]).ravel() * channels * 2
    elements = ((block - 1) * window.stride[0] + window_rows) * padded * channels + LANES
    lower = np.zeros((kernel_y * kernel_x, -(-channels // LANES) * LANES), np.int32)
    lower[:, :channels] = weights.reshape(-1, channels).view(np.uint16)
    return Panels(
        lower, offsets.astype(np.int64), geometry,
        np.zeros(channels, np.int32), (elements, "int16"), kind="depthwise",
    )  # fmt: skip


def pack(runs: Array, groups: int, steps: int, tile: Shape, kind: str) -> Array:
    """Return (outputs, segments, length) weights as panels: steps, then columns, then the elements of one group.

    Crossed weights come a vector of columns at a time: the upper halves of their groups, then the lower ones.
    """
    outputs, segments, length = runs.shape
    size = 1 if in_bytes(kind) else 2
    per_group, group = outputs // groups, group_bytes(kind) // size
    columns = -(-per_group // tile.lanes) * tile.lanes
    room = np.zeros((groups, columns, segments, steps * group), np.int8 if in_bytes(kind) else np.int16)
    room[:, :per_group, :, :length] = runs.reshape(groups, per_group, segments, length)
    steps_first = room.reshape(groups, columns, segments * steps, group).transpose(0, 2, 1, 3)
    full = tile.lanes * tile.vectors
    panels = [steps_first[one, :, start : start + full] for one in range(groups) for start in range(0, columns, full)]
    if kind != CROSSED:
        return np.concatenate([panel.ravel() for panel in panels]).view(kind)
    halves = [panel.reshape(segments * steps, -1, tile.lanes, 2, 2)[:, :, :, ::-1] for panel in panels]
    return np.concatenate([half.transpose(0, 1, 3, 2, 4).ravel() for half in halves]).view(kind)


def column_terms(runs: Array) -> Array:
    """Return the sum of w0 w2 + w1 w3 over the groups of four of each output's weights (outputs, segments, length)."""
    outputs, segments, length = runs.shape
    room = np.zeros((outputs, segments, -(-length // 4), 2, 2), np.int64)
    room.reshape(outputs, segments, -1)[:, :, :length] = runs
    return np.asarray((room[..., 0, :] * room[..., 1, :]).sum(axis=(1, 2, 3)))


def _block_rows(rows: int, columns: int, row_bytes: int, outputs: int) -> int:
    """Return the output rows of a block: about BLOCK_PIXELS outputs, unless band and sums would leave the cache."""
    wanted = -(-BLOCK_PIXELS // max(columns, 1))
    fitting = BLOCK_BYTES // max(row_bytes + columns * outputs * 4, 1)
    even = max(min(wanted, fitting), -(-LEAST_PIXELS // max(columns, 1)))
    blocks = -(-rows // max(even, 1))
    return max(-(-rows // max(blocks, 1)), 1)


def fits_int8(weights: Array, lowest: int = -128) -> bool:
    """Whether centred weights are bytes of at least ``lowest``."""
    return bool(weights.size == 0 or (weights.min() >= lowest and weights.max() <= 127))


def pairs_fit(runs: Array) -> bool:
    """Whether no two neighbours of (outputs, length) weights can take a sum with unsigned bytes beyond 16 bits."""
    limit = (2**15 - 1) // 255
    pairs = np.zeros((runs.shape[0], -(-runs.shape[1] // 2), 2), np.int32)
    pairs.reshape(runs.shape[0], -1)[:, : runs.shape[1]] = runs
    most, least = np.maximum(pairs, 0).sum(axis=2), np.minimum(pairs, 0).sum(axis=2)
    return bool(most.max(initial=0) <= limit and least.min(initial=0) >= -limit)
