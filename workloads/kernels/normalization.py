"""Layer normalisation of quantised rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.operands import Operands
    from workloads.operators import LayerNorm
    from workloads.tensor import Array


def layer_norm(x: Array, scale: Array, shift: Array, operands: Operands, operator: LayerNorm) -> Array:
    """Normalise over the last axis, then scale and shift with real constants (C,).

    No runtime's integer layer normalisation is followed; this is the definition. With n = C, S = sum of x and
    Q = sum of x**2 in exact integers, and e = epsilon / input scale**2: the normalised value is
    (n x - S) / sqrt(n Q - S**2 + n**2 e) in float64. It is multiplied by scale, shift is added, the sum is divided by
    the output scale, rounded half to even, and the zero point is added. Input zero point and scale cancel.
    """
    values = x.astype(np.int64)
    count = values.shape[-1]
    total = values.sum(axis=-1, keepdims=True)
    squares = (values * values).sum(axis=-1, keepdims=True)
    spread = count * squares - total * total
    epsilon = operator.epsilon / operands.input_scales[0] ** 2
    deviation = np.sqrt(spread.astype(np.float64) + float(count) ** 2 * epsilon)
    normalized = (count * values - total).astype(np.float64) / np.where(deviation > 0, deviation, 1.0)
    real = normalized * scale.astype(np.float64) + shift.astype(np.float64)
    rounded = np.rint((real / operands.output_scale).clip(-(2.0**31), 2.0**31)) + operands.output_zero_point
    return np.asarray(rounded.clip(operands.low, operands.high), operands.dtype)
