"""Products of quantised layers on the processor's own instructions: packed once, requantised while in cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.kernels import finish
from workloads.kernels.dispatch import kernel_path
from workloads.kernels.finish import Channels, Finish
from workloads.kernels.parallel import share, thread_count
from workloads.profiles import profile_of

if TYPE_CHECKING:
    from workloads.kernels.panels import Panels, Window
    from workloads.operands import Operands
    from workloads.requant_profile import RequantProfile
    from workloads.tensor import Array

WAYS = {
    ("high:half-up", "shift:half-away"): finish.DOUBLE,
    ("high:half-up", "shift:half-up"): finish.HALF_UP,
    ("product:half-up",): finish.SINGLE,
}
"""Roundings of the 31-bit profiles that a block of sums goes through at once; the other profiles take whole sums."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A layer's panels with what becomes of its sums; ``key`` says for which inputs."""

    key: tuple[object, ...]
    panels: Panels
    channels: Channels
    finish: Finish
    dtype: str


def way_of(profile: str | RequantProfile) -> int | None:
    """Return how a block of sums is finished under a profile, None where whole sums are needed."""
    record = profile_of(profile)
    if record.accumulator != "wrap32" or record.offset != "after" or record.offset_bits < 32 or record.limit_bits:
        return None
    if record.scale == "float32" and record.steps == ("real:half-even",) and record.clamp == "first":
        return finish.FLOAT
    return WAYS.get(record.steps) if record.scale == "q31" and record.clamp == "last" else None


def product(
    x: Array, weights: Array | None, operands: Operands, window: Window, profile: str | RequantProfile | None
) -> Array:
    """Convolve images with a layer's weights (O,KH,KW,C/groups) and finish the sums.

    Parameters
    ----------
    x
        (N,H,W,C), 8 or 16 bits.
    weights
        As stored; None takes the layer's own, packed once.
    profile
        One that ``way_of`` knows, or None for the int32 sums without bias.
    """
    given = operands.weights if weights is None else weights
    if given is None:
        raise ValueError("the layer has no weights")
    key = (kernel_path(), profile, x.shape, x.dtype.name, given.shape, window)
    ready = cast("Ready | None", operands.prepared.get("product"))
    if weights is not None or ready is None or ready.key != key:
        ready = _ready(key, x, given, operands, window, profile)
        if weights is None:
            operands.prepared["product"] = ready
    return run(ready, x)


def depthwise(x: Array, operands: Operands, window: Window, profile: str | RequantProfile | None) -> Array:
    """Convolve each channel of images with its own filter, weights (1,KH,KW,C), and finish the sums.

    Parameters are those of ``product``.
    """
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    key = (kernel_path(), profile, x.shape, x.dtype.name, operands.weights.shape, window)
    ready = cast("Ready | None", operands.prepared.get("depthwise"))
    if ready is None or ready.key != key:
        ready = _ready(key, x, operands.weights, operands, window, profile)
        operands.prepared["depthwise"] = ready
    return run(ready, x)


def run(ready: Ready, x: Array) -> Array:
    """Run a prepared layer on one batch of images, on the threads in use."""
    from workloads.kernels.depthwise import convolve_rows
    from workloads.kernels.implicit import multiply_blocks

    panels, geometry = ready.panels, ready.panels.geometry
    single = panels.depthwise
    pixels, outputs = geometry.rows * geometry.columns, geometry.groups * geometry.outputs
    out = np.empty((x.shape[0], pixels, outputs), ready.dtype)
    shape = (x.shape[0], geometry.rows, geometry.columns, outputs)
    if out.size == 0:
        return out.reshape(shape)
    images = np.ascontiguousarray(x).reshape(x.shape[0], -1)
    blocks = x.shape[0] * panels.blocks

    def compute(first_block: int, last_block: int, first_panel: int, last_panel: int) -> None:
        band = np.empty(*panels.band)
        constants = (panels.weights, panels.segments, ready.channels, geometry, ready.finish)
        if single:
            convolve_rows(images, *constants, (first_block, last_block), band, out)
        else:
            multiply_blocks(images, *constants, (first_block, last_block, first_panel, last_panel), band, out)

    threads = thread_count(out.size * panels.weights.size // outputs)
    if threads == 1:
        compute(0, blocks, 0, panels.panels)
    elif blocks >= 4 * threads or panels.panels == 1:
        share(lambda start, end: compute(start, end, 0, panels.panels), blocks, threads)
    else:
        share(lambda start, end: compute(0, blocks, start, end), panels.panels, threads)
    return out.reshape(shape)


def _ready(
    key: tuple[object, ...],
    x: Array,
    weights: Array,
    operands: Operands,
    window: Window,
    profile: str | RequantProfile | None,
) -> Ready:
    from workloads.kernels.panels import prepare, prepare_depthwise

    centred = weights.astype(np.int16) - np.int16(operands.weight_zero_point)
    given = (x.shape, x.dtype.name, operands.input_zero_points[0], centred, window)
    single = window.groups == x.shape[3] and weights.shape[0] == 1
    panels = prepare_depthwise(*given) if single else prepare(*given, kernel_path())
    if profile is None:
        nothing = Finish(finish.SUMS, 0, 0, 0)
        channels = channels_of(panels.correction, None, None, finish.SUMS)
        return Ready(key, panels, padded(channels, panels.geometry.groups, panels.geometry.lanes), nothing, "int32")
    way = way_of(profile)
    if way is None:
        raise ValueError(f"profile {profile_of(profile).name!r} needs whole sums")
    channels = channels_of(panels.correction, operands, profile, way)
    bounds = Finish(way, operands.output_zero_point, operands.low, operands.high)
    return Ready(key, panels, padded(channels, panels.geometry.groups, panels.geometry.lanes), bounds, operands.dtype)


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
