"""Floats of the interpreter: read and written as float64, rounded once; part of its compiled code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from workloads.executor import codes as k
from workloads.executor.memory import read_f32, read_f64, read_u16, write_16, write_f32, write_f64
from workloads.kernels.jit import kernel

Int = Any  # a numpy or plain integer
Float = Any  # a numpy or plain float


@kernel
def get_float(kind: Int, at: Int) -> Float:
    """Read a float of any type as float64."""
    if kind == k.F32:
        return read_f32(at)
    if kind == k.F64:
        return read_f64(at)
    bits = read_u16(at)
    exponent, fraction = (bits >> 10) & 31, bits & 1023
    sign = -1.0 if bits & 0x8000 else 1.0
    if exponent == 31:
        return sign * np.inf if fraction == 0 else np.nan
    if exponent == 0:
        return sign * fraction * 2.0**-24
    return sign * (1024 + fraction) * 2.0 ** np.float64(exponent - 25)


@kernel
def put_float(kind: Int, at: Int, value: Float) -> None:
    """Write a float64 as a float of any type, rounded half to even."""
    if kind == k.F32:
        write_f32(at, value)
        return
    if kind == k.F64:
        write_f64(at, value)
        return
    magnitude, bits = abs(value), np.int64(0x8000) if np.copysign(1.0, value) < 0 else np.int64(0)
    if np.isnan(value):
        bits = np.int64(0x7E00)
    elif magnitude >= 65520.0:
        bits |= np.int64(0x7C00)
    elif magnitude < 2.0**-14:
        bits |= np.int64(np.rint(magnitude * 2.0**24))
    else:
        exponent = np.int64(np.floor(np.log2(magnitude)))
        exponent += np.int64(magnitude >= 2.0 ** np.float64(exponent + 1))
        exponent -= np.int64(magnitude < 2.0 ** np.float64(exponent))
        quanta = np.int64(np.rint(magnitude * 2.0 ** np.float64(10 - exponent)))
        bits |= ((exponent + 14) << 10) + quanta
    write_16(at, bits)


@kernel
def fused(a: Float, b: Float, c: Float) -> Float:
    """Return a * b + c of float32 or float16 values as a float64 that those types round as they would the exact sum.

    The product is exact; an inexact sum is rounded to odd, so that it is never a tie or a neighbor's.

    References
    ----------
    .. [1] S. Boldo, G. Melquiond, "Emulation of a FMA and correctly rounded sums", IEEE Trans. Computers 57(4), 2008.
    """
    product = a * b
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    if not abs(error) > 0.0:  # exact, or no number
        return total
    fraction, _ = math.frexp(total)
    if np.int64(fraction * 2.0**53) & 1:
        return total
    return np.nextafter(total, np.inf if error > 0.0 else -np.inf)


@kernel
def scale19(word: Int) -> Float:
    """Return the float32 pattern with its low 13 bits cut, as float64; subnormals are zero."""
    exponent, fraction = (word >> 23) & 255, word & 0x7FE000
    if exponent == 0:
        return 0.0
    sign = -1.0 if word >> 31 else 1.0
    return sign * (0x800000 + fraction) * 2.0 ** np.float64(exponent - 150)
