"""Compiled elementwise sums of whole layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from workloads.kernels.jit import kernel
from workloads.kernels.turns import begin, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array


PART = 8192  # elements of one turn: a few microseconds


def fused(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """Return a * b + c, rounded once; in plain Python once to float64 and then to float32."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - numba's protocol
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - numba's protocol
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@overload(fused)  # type: ignore[untyped-decorator]
def _compiled(a: Any, b: Any, c: Any) -> Callable[..., Any]:  # noqa: ARG001 - numba's protocol
    def emitted(a: Any, b: Any, c: Any) -> Any:  # numba compares names and annotations
        return _multiply_add(a, b, c)

    return emitted


@kernel
def add_fused(
    a: Array,
    b: Array,
    ratio_a: float,
    ratio_b: float,
    fixed: float,
    bounds: tuple[float, float],
    turns: Array,
    out: Array,
) -> None:
    """Write round(b * ratio_b + (a * ratio_a + fixed)), half to even; each sum is rounded once to float32.

    All arrays are flat, the factors are float32 numbers, and ``turns`` says which part is next.
    """
    begin(turns)
    low, high = np.float32(bounds[0]), np.float32(bounds[1])
    first, second, start = np.float32(ratio_a), np.float32(ratio_b), np.float32(fixed)
    at = take(turns) * PART
    while at < out.size:
        for index in range(at, min(at + PART, out.size)):
            value = fused(np.float32(b[index]), second, fused(np.float32(a[index]), first, start))
            out[index] = np.int32(np.rint(min(max(value, low), high)))
        at = take(turns) * PART
