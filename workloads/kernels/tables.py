"""Tables of the 16-bit nonlinear functions, from their closed forms; equal to those that TFLite and CMSIS-NN ship."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.conversion import round_half_away

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array

INTERVALS = 512  # of the two softmax tables
SIGMOID_STEPS_PER_UNIT = 24  # the sigmoid table covers 0 .. 255/24


@cache
def exp_table() -> Array:
    """exp(x) in Q0.15 at 513 points of -10 .. 0; int64."""
    return _interpolated(np.exp, -10.0, 0.0, np.dtype("float32"))


@cache
def reciprocal_table(*, single: bool = True) -> Array:
    """1 / (1 + x) in Q0.15 at 513 points of 0 .. 1; int64.

    CMSIS-NN ships the table made in float32, LiteRT 2.3.0 makes it in float64: entries 160 and 294 differ by one.
    """
    return _interpolated(lambda x: 1 / (1 + x), 0.0, 1.0, np.dtype("float32" if single else "float64"))


@cache
def sigmoid_table() -> Array:
    """Logistic function in Q0.16 at 0, 1/24 .. 255/24; int64.

    Each sample is raised by half the error of a linear interpolation at the middle of its interval; the last entry is
    the largest number.

    References
    ----------
    .. [1] CMSIS-NN@99f736a63036:Source/NNSupportFunctions/arm_nntables.c, sigmoid_table_uint16: all 256 values agree.
    """
    points = np.arange(256) / SIGMOID_STEPS_PER_UNIT
    step = 1 / SIGMOID_STEPS_PER_UNIT
    sample, middle, following = (65536 * _logistic(points + part * step) for part in (0.0, 0.5, 1.0))
    table: Array = np.floor(sample + (middle - (sample + following) / 2) / 2 + 0.5).astype(np.int64)
    table[-1] = 65535
    return table


def _logistic(x: Array) -> Array:
    return np.array([1 / (1 + math.exp(-value)) for value in x], np.float64)


def _interpolated(
    function: Callable[[Array], Array], low: float, high: float, precision: np.dtype[np.floating]
) -> Array:
    """Sample a function for linear interpolation in a precision: samples less half the error in mid-interval.

    tflite-micro@90b983c2:tensorflow/lite/kernels/internal/common.h, LUTPopulate for int16_t.
    """
    single = precision.type
    step = single((high - low) / INTERVALS)
    points = single(low) + np.arange(INTERVALS + 1, dtype=precision) * step

    def scaled(x: Array) -> Array:
        # float64 rounded to float32: the correctly rounded value, as the C library's float functions give here.
        return np.asarray(function(x.astype(np.float64)).astype(precision) * single(32768))

    samples = round_half_away(scaled(points))
    middle = round_half_away(scaled(points[:-1] + step / single(2)))
    chord = round_half_away((scaled(points[1:]) + samples[:-1]) / single(2))
    table: Array = samples.astype(np.int64)
    table[:-1] -= round_half_away((chord - middle).astype(np.float64) / 2).astype(np.int64)
    return np.asarray(table.clip(-32768, 32767))
