"""Products of quantised layers on the processor's own instructions: packed once, requantised while in cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.kernels import finish
from workloads.kernels.depthwise import convolve_rows
from workloads.kernels.dispatch import kernel_path
from workloads.kernels.finish import Channels, Finish
from workloads.kernels.implicit import multiply_blocks
from workloads.kernels.panels import (
    POINTWISE,
    Window,
    fits_int8,
    prepare,
    prepare_depthwise,
    prepare_product,
    prepare_vector,
)
from workloads.kernels.parallel import share, thread_count
from workloads.kernels.vector import multiply_vector
from workloads.profiles import profile_of

if TYPE_CHECKING:
    from workloads.kernels.panels import Panels
    from workloads.operands import Operands
    from workloads.operators import Conv2d, DepthwiseConv2d
    from workloads.requant_profile import RequantProfile
    from workloads.tensor import Array

WAYS = {
    ("high:half-up", "shift:half-away"): finish.DOUBLE,
    ("high:half-up", "shift:half-up"): finish.HALF_UP,
    ("product:half-up",): finish.SINGLE,
}
"""Roundings of the 31-bit profiles that a block of sums goes through at once; the other profiles take whole sums."""


PARTS = 2  # of a block's panels, for each thread

TYPES = "bBh"  # the characters of int8, uint8 and int16


@dataclass(frozen=True, eq=False)
class Ready:
    """A layer's panels with what becomes of its sums; ``key`` says for which inputs."""

    key: tuple[object, ...]
    panels: Panels
    channels: Channels
    finish: Finish
    dtype: str


@cache
def way_of(profile: str | RequantProfile) -> int | None:
    """Return how a block of sums is finished under a profile, None where whole sums are needed."""
    record = profile_of(profile)
    if record.accumulator != "wrap32" or record.offset != "after" or record.offset_bits < 32 or record.limit_bits:
        return None
    if record.scale == "float32" and record.steps == ("real:half-even",) and record.clamp == "first":
        return finish.FLOAT
    return WAYS.get(record.steps) if record.scale == "q31" and record.clamp == "last" else None


def takes(x: Array, operands: Operands, profile: str | RequantProfile | None = None) -> bool:
    """Whether a layer's products run here: not the portable path, 64-bit or whole sums, nor an empty batch."""
    if kernel_path() == "portable" or operands.wide or x.dtype.char not in TYPES or not x.size:
        return False
    return (profile is None or way_of(profile) is not None) and (operands.weights is None or operands.weights.size > 0)


def conv2d(x: Array, operands: Operands, operator: Conv2d, profile: str | RequantProfile | None) -> Array:
    """Convolution; x (N,H,W,C), weights (O,KH,KW,C/groups); without a profile its int32 sums."""
    window = Window(operator.stride, operator.padding, operator.dilation, operator.groups)
    return product(x, operands, window, profile)


def depthwise_conv2d(
    x: Array, operands: Operands, operator: DepthwiseConv2d, profile: str | RequantProfile | None
) -> Array:
    """Depthwise convolution; x (N,H,W,C), weights (1,KH,KW,C*multiplier)."""
    image = x if operator.multiplier == 1 else np.repeat(x, operator.multiplier, axis=3)
    window = Window(operator.stride, operator.padding, operator.dilation, image.shape[3])
    return product(image, operands, window, profile)


def fully_connected(x: Array, operands: Operands, profile: str | RequantProfile | None) -> Array:
    """Matrix product; x (...,K), weights (N,K)."""
    image = x.reshape(1, -1, 1, x.shape[-1])
    return product(image, operands, POINTWISE, profile).reshape(*x.shape[:-1], -1)


def matmul(a: Array, b: Array, operands: Operands, profile: str | RequantProfile | None) -> Array:
    """Matrix product of two activations; a (...,M,K), b (...,K,N), leading axes broadcast."""
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = np.broadcast_to(a, (*leading, *a.shape[-2:])), np.broadcast_to(b, (*leading, *b.shape[-2:]))
    dtype = "int32" if profile is None else operands.dtype
    result = np.empty((*leading, a.shape[-2], b.shape[-1]), dtype)
    for index in np.ndindex(leading):
        first, second = np.ascontiguousarray(left[index]), np.ascontiguousarray(right[index])
        panels = prepare_product(first, second, operands.input_zero_points, kernel_path())
        ready = _ready((), panels, operands, profile)
        result[index] = run(ready, first.reshape(1, -1, 1, first.shape[1])).reshape(result.shape[-2:])
    return result


def product(x: Array, operands: Operands, window: Window, profile: str | RequantProfile | None) -> Array:
    """Convolve images (N,H,W,C) of 8 or 16 bits with a layer's own weights and finish the sums.

    Parameters
    ----------
    window
        With as many groups as channels and weights (1,KH,KW,C), the convolution is depthwise.
    profile
        One that ``way_of`` knows, or None for the int32 sums without bias.
    """
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    key = (kernel_path(), profile, x.shape, x.dtype, window)
    ready = cast("Ready | None", operands.prepared.get("product"))
    if ready is None or ready.key != key:
        centred = operands.weights.astype(np.int16) - np.int16(operands.weight_zero_point)
        ready = _ready(key, _panels(x, centred, operands.input_zero_points[0], window), operands, profile)
        operands.prepared["product"] = ready
    return run(ready, x)


def _panels(x: Array, weights: Array, zero_point: int, window: Window) -> Panels:
    """Choose the kernel of a layer and pack its centred weights for it."""
    filters = weights if weights.ndim == 4 else weights[:, None, None, :]
    given = (x.shape, x.dtype.name, zero_point, filters, window)
    if window.groups == x.shape[3] and filters.shape[0] == 1 and filters.shape[3] == x.shape[3]:
        return prepare_depthwise(*given)
    if window == POINTWISE and x.shape[:3] == (1, 1, 1) and x.dtype.itemsize == 1 and fits_int8(filters, -127):
        return prepare_vector(x.shape, x.dtype.name, zero_point, filters, kernel_path())
    return prepare(*given, kernel_path())


def run(ready: Ready, x: Array) -> Array:
    """Run a prepared layer on one batch of images, on the threads in use."""
    panels, geometry = ready.panels, ready.panels.geometry
    outputs = geometry.groups * geometry.outputs
    out = np.empty((x.shape[0], geometry.rows * geometry.columns, outputs), ready.dtype)
    shape = (x.shape[0], geometry.rows, geometry.columns, outputs)
    if out.size == 0:
        return out.reshape(shape)
    images = np.ascontiguousarray(x).reshape(x.shape[0], -1)
    blocks = x.shape[0] * panels.blocks
    threads = thread_count(out.size * panels.weights.size // outputs)
    # Parts of one block fill its band again in each thread, so that blocks are split only where they are few.
    parts = 1 if threads == 1 or blocks >= 2 * threads else min(panels.panels, PARTS * threads)
    share(lambda turns: _compute(ready, images, out, (blocks, parts, panels.panels), turns), threads)
    return out.reshape(shape)


def _compute(ready: Ready, images: Array, out: Array, split: tuple[int, int, int], turns: Array) -> None:
    """Compute the parts of a layer whose turn it is with its kernel."""
    panels, geometry = ready.panels, ready.panels.geometry
    # Zeros, because a tile reads a group past the last pixel: crossed sums of whatever lies there would overflow.
    band = np.zeros(*panels.band)
    if panels.kind == "vector":
        multiply_vector(
            images[0], band, geometry.offset, panels.weights, ready.channels, ready.finish, split[1:], turns,
            geometry.lanes, out[0, 0],
        )  # fmt: skip
        return
    constants = (panels.weights, panels.segments, ready.channels, geometry, ready.finish)
    if panels.kind == "depthwise":
        convolve_rows(images, *constants, split[0], turns, band, out)
    else:
        multiply_blocks(images, *constants, split, turns, band, out)


def _ready(key: tuple[object, ...], panels: Panels, operands: Operands, profile: str | RequantProfile | None) -> Ready:
    """Join panels with the constants of one profile."""
    groups, lanes = panels.geometry.groups, panels.geometry.lanes
    if profile is None:
        sums = channels_of(panels.correction, None, None, finish.SUMS)
        return Ready(key, panels, padded(sums, groups, lanes), Finish(finish.SUMS, 0, 0, 0), "int32")
    way = way_of(profile)
    if way is None:
        raise ValueError(f"profile {profile_of(profile).name!r} needs whole sums")
    channels = channels_of(panels.correction, operands, profile, way)
    bounds = Finish(way, operands.output_zero_point, operands.low, operands.high)
    return Ready(key, panels, padded(channels, groups, lanes), bounds, operands.dtype)


def channels_of(
    correction: Array, operands: Operands | None, profile: str | RequantProfile | None, way: int
) -> Channels:
    """Return the constants of each output channel; without a profile only the correction of the sums."""
    count = correction.size
    nothing, no_scales = np.zeros(count, np.int32), np.zeros(count, np.float32)
    if operands is None or profile is None:
        return Channels(correction, nothing, nothing, nothing, no_scales)
    bias = correction if operands.bias is None else correction + operands.bias.astype(np.int32)
    stated = operands.stated.output if operands.stated is not None else None
    if stated is not None and way != finish.FLOAT:
        multipliers, shifts = stated.multipliers, stated.shifts
    else:
        scales = effective_scales(operands, profile) if stated is None else stated.scales
        if way == finish.FLOAT:
            return Channels(bias, nothing, nothing, nothing, no_scales + scales.astype(np.float32))
        multipliers, shifts = quantize_multipliers(scales)
    left, right = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    return Channels(bias, multipliers + nothing, left + nothing, right + nothing, no_scales)


def padded(channels: Channels, groups: int, lanes: int) -> Channels:
    """Return the constants with every group filled up to whole vectors."""

    def fill(values: Array) -> Array:
        rows = values.reshape(groups, -1)
        room = np.zeros((groups, -(-rows.shape[1] // lanes) * lanes), values.dtype)
        room[:, : rows.shape[1]] = rows
        return room.ravel()

    return Channels(*(fill(values) for values in channels))
