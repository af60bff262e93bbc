"""One row of activations by a matrix of weights: bound by memory, so the weights stay bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from workloads.kernels.finish import finish_line
from workloads.kernels.jit import kernel
from workloads.kernels.llvm import I32, I64, count_up, load, prefetch, processor_features, splat, store
from workloads.kernels.tile import FOURS, GROUP_BYTES, dot, signed_dot, tile_shape
from workloads.kernels.turns import begin, take

if TYPE_CHECKING:
    from workloads.kernels.finish import Channels, Finish
    from workloads.tensor import Array

AHEAD_BYTES = 1024  # how far ahead weights are asked for: the prefetchers alone leave a tenth of the time waiting
LINE_BYTES = 64
VECTORS = 8  # of sums in registers: enough to hide the latency of a product


def panel_columns(features: frozenset[str]) -> int:
    """Return the columns of one panel."""
    return tile_shape(features, FOURS).lanes * VECTORS


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def multiply_panel(typing_context: Any, values: Any, weights: Any, steps: Any, sums: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """Write the sums of one panel.

    Parameters
    ----------
    values
        The row as uint8, or as int8 against weights above -128.
    weights, steps
        Address of the panel's int8 weights, and their number of groups of four.
    sums
        Address of the result, int32.
    """
    signed = values.dtype.signed

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        features = processor_features(context)
        lanes = tile_shape(features, FOURS).lanes
        vector = ir.VectorType(I32, lanes)
        row = builder.ptrtoint(context.make_array(signature.args[0])(context, builder, arguments[0]).data, I64)
        weights_at, groups, sums_at = arguments[1:]

        def step(index: Any, carried: list[Any]) -> list[Any]:
            panel = builder.add(weights_at, builder.mul(index, ir.Constant(I64, 4 * lanes * VECTORS)))
            for line in range(0, 4 * lanes * VECTORS, LINE_BYTES):
                prefetch(builder, builder.add(panel, ir.Constant(I64, AHEAD_BYTES + line)))
            group_at = builder.add(row, builder.mul(index, ir.Constant(I64, GROUP_BYTES)))
            group = splat(builder, load(builder, I32, group_at), vector)
            following = []
            for part, held in enumerate(carried):
                packed = load(builder, vector, builder.add(panel, ir.Constant(I64, 4 * lanes * part)))
                operands = (held, group, packed)
                product = signed_dot(builder, features, operands) if signed else dot(builder, features, FOURS, operands)
                following.append(product)
            return following

        zero = ir.Constant(vector, [0] * lanes)
        for part, result in enumerate(count_up(builder, groups, [zero] * VECTORS, step)):
            store(builder, result, builder.add(sums_at, ir.Constant(I64, 4 * lanes * part)))
        return context.get_dummy_value()

    return types.void(values, *[types.int64] * 3), generate


@kernel
def multiply_vector(
    x: Array,
    values: Array,
    offset: int,
    weights: Array,
    channels: Channels,
    finish: Finish,
    split: tuple[int, int],
    turns: Array,
    columns: int,
    out: Array,
) -> None:
    """Multiply one row (K) by panels of weights and finish the sums.

    Parameters
    ----------
    values
        Room for the row as bytes, filled up to groups of four.
    offset
        Added to each value to make it a byte of ``values``.
    weights
        (panels, steps, columns, 4) int8, flat.
    split
        (parts, panels): the parts that the panels are split into.
    turns
        Which part is next, shared by threads.
    columns
        Of a panel.
    out
        (N).
    """
    begin(turns)
    parts, panels = split
    steps = values.size // GROUP_BYTES
    sums = np.empty(columns, np.int32)
    values[x.size :] = 0
    for index in range(x.size):
        values[index] = x[index] + offset
    part = take(turns)
    while part < parts:
        for panel in range(panels * part // parts, panels * (part + 1) // parts):
            first = panel * columns
            multiply_panel(values, weights.ctypes.data + first * values.size, steps, sums.ctypes.data)
            finish_line(sums.ctypes.data, channels, first, finish, out[first : first + columns])
        part = take(turns)
