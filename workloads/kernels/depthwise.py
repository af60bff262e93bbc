"""Depthwise convolution by rows: vectors run over the channels, sums are finished while in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from workloads.kernels.finish import LANES, finish_line
from workloads.kernels.implicit import fill_band
from workloads.kernels.jit import kernel
from workloads.kernels.llvm import I16, I32, I64, count_up, load, processor_features, store
from workloads.kernels.tile import PAIRS, dot
from workloads.kernels.turns import begin, take

if TYPE_CHECKING:
    from workloads.kernels.finish import Channels, Finish
    from workloads.kernels.implicit import Geometry
    from workloads.tensor import Array

WIDE_VECTORS = 4  # vectors of channels whose sums are held at once, to hide the latency of a product


def _emit_sums(builder: ir.IRBuilder, features: frozenset[str], vectors: int, arguments: list[Any]) -> None:
    """Emit the sums over all taps of some vectors of channels, held in registers."""
    band, offsets, taps, weights, pitch, sums = arguments
    words, halves = ir.VectorType(I32, LANES), ir.VectorType(I16, LANES)

    def tap(index: Any, carried: list[Any]) -> list[Any]:
        values_at = builder.add(band, load(builder, I64, builder.add(offsets, builder.mul(index, ir.Constant(I64, 8)))))
        weights_at = builder.add(weights, builder.mul(index, pitch))
        following = []
        for part, held in enumerate(carried):
            # The upper half of each weight is zero, so that a product of pairs is the product of the lower halves.
            values = load(builder, halves, builder.add(values_at, ir.Constant(I64, 2 * LANES * part)))
            weight = load(builder, words, builder.add(weights_at, ir.Constant(I64, 4 * LANES * part)))
            following.append(dot(builder, features, PAIRS, (held, builder.sext(values, words), weight)))
        return following

    results = count_up(builder, taps, [ir.Constant(words, [0] * LANES)] * vectors, tap)
    for part, result in enumerate(results):
        store(builder, result, builder.add(sums, ir.Constant(I64, 4 * LANES * part)))


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def sum_taps(
    typing_context: Any,  # noqa: ARG001 - numba's protocol
    vectors: Any,  # noqa: ARG001 - typed by the signature
    band: Any,  # noqa: ARG001
    offsets: Any,  # noqa: ARG001
    taps: Any,  # noqa: ARG001
    weights: Any,  # noqa: ARG001
    pitch: Any,  # noqa: ARG001
    sums: Any,  # noqa: ARG001
) -> Any:
    """Write the int32 sums over all taps of one vector of channels, or of WIDE_VECTORS.

    Parameters
    ----------
    vectors
        1 or WIDE_VECTORS.
    band
        Address of the window's corner, at the first of the channels.
    offsets, taps
        Address and number of the taps' offsets from it, int64. [B]
    weights, pitch
        Address of the weights, int32 with an upper half of zero, and distance from tap to tap. [B]
    sums
        Address of the result.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - numba's protocol
        features = processor_features(context)
        done = builder.append_basic_block("taps_done")
        switch = builder.switch(arguments[0], done)
        for vectors in (1, WIDE_VECTORS):
            block = builder.append_basic_block(f"taps{vectors}")
            switch.add_case(ir.Constant(I64, vectors), block)
            builder.position_at_end(block)
            _emit_sums(builder, features, vectors, list(arguments[1:]))
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


@kernel
def convolve_rows(
    image: Array,
    weights: Array,
    offsets: Array,
    channels: Channels,
    geometry: Geometry,
    finish: Finish,
    blocks: int,
    turns: Array,
    band: Array,
    out: Array,
) -> None:
    """Compute blocks of output rows.

    Parameters
    ----------
    image
        (batch, H*W*C).
    weights
        (taps, C) int32, centred, the upper halves zero, C filled up to whole vectors.
    offsets
        (taps) int64: bytes from a window's corner in the band.
    blocks
        Of all images.
    turns
        Which block is next, shared by threads.
    band
        Room for a block's values, int16, and one vector more.
    out
        (batch, rows*columns, C).
    """
    begin(turns)
    image_blocks = (geometry.rows + geometry.block - 1) // geometry.block
    count = geometry.channels
    vectors = weights.shape[1] // LANES
    sums = np.empty(weights.shape[1], np.int32)
    index = take(turns)
    while index < blocks:
        n, row = index // image_blocks, index % image_blocks * geometry.block
        rows = min(geometry.block, geometry.rows - row)
        top = row * geometry.stride_y - geometry.top
        fill_band(image[n], geometry, top, (rows - 1) * geometry.stride_y + geometry.window_rows, band)
        for y in range(rows):
            for x in range(geometry.columns):
                corner = (y * geometry.stride_y * geometry.padded + x * geometry.stride_x) * count
                vector = 0
                while vector < vectors:
                    wide = WIDE_VECTORS if vector + WIDE_VECTORS <= vectors else 1
                    sum_taps(
                        wide, band.ctypes.data + 2 * (corner + vector * LANES), offsets.ctypes.data, offsets.size,
                        weights.ctypes.data + 4 * vector * LANES, 4 * weights.shape[1],
                        sums.ctypes.data + 4 * vector * LANES,
                    )  # fmt: skip
                    vector += wide
                line = out[n, (row + y) * geometry.columns + x]
                finish_line(sums.ctypes.data, channels, 0, finish, line)
        index = take(turns)
