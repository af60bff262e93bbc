"""Compiled elementwise sums of whole layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels.jit import kernel

if TYPE_CHECKING:
    from workloads.tensor import Array


@kernel
def add_fused(
    a: Array, b: Array, ratio_a: float, ratio_b: float, fixed: float, bounds: tuple[float, float], out: Array
) -> None:
    """Write round(b * ratio_b + (a * ratio_a + fixed)), half to even; each sum is rounded once to float32.

    A product of 8 and 24 bits is exact in float64; all arrays are flat.
    """
    low, high = np.float32(bounds[0]), np.float32(bounds[1])
    for index in range(out.size):
        partial = np.float32(np.float64(a[index]) * ratio_a + fixed)
        value = np.float32(np.float64(b[index]) * ratio_b + np.float64(partial))
        out[index] = np.int32(min(max(np.float32(np.rint(value)), low), high))
