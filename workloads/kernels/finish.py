"""Compiled end of an integer product: bias, requantisation and clamp of a block of sums that is still in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.tensor import Array

SUMS, DOUBLE, SINGLE, HALF_UP, FLOAT = range(5)  # what happens to the sums: nothing, or one way of rounding


class Finish(NamedTuple):
    """What becomes of the sums: one of the ways above, then the output's zero point and bounds."""

    way: int
    zero_point: int
    low: int
    high: int


class Channels(NamedTuple):
    """Per-channel constants: bias and multiplier, left and right shift (int32), and the float32 scale."""

    bias: Array
    multipliers: Array
    left: Array
    right: Array
    scales: Array


@kernel
def _double(sums: Array, channels: Channels, finish: Finish, first: int, out: Array) -> None:
    bottom, top = np.int64(finish.low - finish.zero_point), np.int64(finish.high - finish.zero_point)
    for column in range(out.size):
        channel = first + column
        total = np.int32(sums[column] + channels.bias[channel])
        shifted = np.int32(total << channels.left[channel])
        product = np.int64(shifted) * np.int64(channels.multipliers[channel]) + np.int64(1 << 30)
        high, right = np.int32(product >> np.int64(31)), channels.right[channel]
        mask = np.int32((np.int64(1) << right) - np.int64(1))
        up = np.int32(high & mask) > np.int32(np.int32(mask >> 1) + np.int32(high < 0))
        value = np.int32(np.int32(high >> right) + np.int32(up))
        out[column] = min(max(value, np.int32(bottom)), np.int32(top)) + finish.zero_point


@kernel
def _half_up(sums: Array, channels: Channels, finish: Finish, first: int, out: Array) -> None:
    for column in range(out.size):
        channel = first + column
        total = np.int32(sums[column] + channels.bias[channel])
        shifted = np.int32(total << channels.left[channel])
        product = np.int64(shifted) * np.int64(channels.multipliers[channel]) + np.int64(1 << 30)
        high, right = product >> np.int64(31), np.int64(channels.right[channel])
        value = ((high + ((np.int64(1) << right) >> np.int64(1))) >> right) + np.int64(finish.zero_point)
        out[column] = min(max(value, np.int64(finish.low)), np.int64(finish.high))


@kernel
def _single(sums: Array, channels: Channels, finish: Finish, first: int, out: Array) -> None:
    for column in range(out.size):
        channel = first + column
        total = np.int32(sums[column] + channels.bias[channel])
        right = np.int64(31) + np.int64(channels.right[channel]) - np.int64(channels.left[channel])
        product = np.int64(total) * np.int64(channels.multipliers[channel])
        value = ((product + (np.int64(1) << (right - 1))) >> right) + np.int64(finish.zero_point)
        out[column] = min(max(value, np.int64(finish.low)), np.int64(finish.high))


@kernel
def _float(sums: Array, channels: Channels, finish: Finish, first: int, out: Array) -> None:
    bottom, top = np.float32(finish.low - finish.zero_point), np.float32(finish.high - finish.zero_point)
    for column in range(out.size):
        channel = first + column
        value = np.float32(np.int32(sums[column] + channels.bias[channel])) * channels.scales[channel]
        value = min(max(value, bottom), top)
        out[column] = np.int32(np.rint(value)) + np.int32(finish.zero_point)


@kernel
def finish_row(sums: Array, channels: Channels, finish: Finish, first: int, out: Array) -> None:
    """Turn one row of int32 sums into outputs; the first of them belongs to channel ``first``."""
    if finish.way == DOUBLE:
        _double(sums, channels, finish, first, out)
    elif finish.way == SINGLE:
        _single(sums, channels, finish, first, out)
    elif finish.way == HALF_UP:
        _half_up(sums, channels, finish, first, out)
    elif finish.way == FLOAT:
        _float(sums, channels, finish, first, out)
    else:
        for column in range(out.size):
            out[column] = np.int32(sums[column] + channels.bias[first + column])
