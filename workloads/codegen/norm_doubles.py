"""Layer normalisation in doubles, as ``workloads.kernels.normalization`` defines it: the constants of any set.

Sums are exact integers. With n columns, sum S and sum of squares Q of a row, and e of the constants below, an element x
becomes round(clamp((n x - S) / max(sqrt(n Q - S**2 + e), tiny) * scale + shift) / output scale)) + zero point. A
deviation of zero divides differences of zero, so that any other divisor leaves the same; bounds are integers, so that
clamping first leaves the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.codegen.specs_rows import LayerNormSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

MOST_COLUMNS = (1 << 17) - 1  # the sum of squares fits 31 bits


@dataclass(frozen=True, eq=False)
class Doubles:
    """Constants in float64: of the row and of the result one each, of the columns (C,)."""

    epsilon: float
    tiny: float
    output_scale: float
    low: float
    high: float
    scale: Array
    shift: Array


def doubles(spec: LayerNormSpec, operands: Operands) -> Doubles:
    """Return the constants of a layer.

    Raises
    ------
    ValueError
        The operands have no scale and shift.
    """
    own = operands.normalization
    if own is None:
        raise ValueError("a layer normalisation needs its scale and shift")
    epsilon = float(spec.columns) ** 2 * (own.epsilon / operands.input_scales[0] ** 2)
    zero_point = operands.output_zero_point
    return Doubles(
        epsilon, float(np.finfo(np.float64).tiny), operands.output_scale, operands.low - zero_point,
        operands.high - zero_point, own.scale.astype(np.float64), own.shift.astype(np.float64),
    )  # fmt: skip


def check_columns(spec: LayerNormSpec, name: str) -> None:
    """Refuse rows whose sums of squares do not fit.

    Raises
    ------
    NotImplementedError
        The rows are too long.
    """
    if spec.columns > MOST_COLUMNS:
        raise NotImplementedError(f"{name}: layer normalisation over {spec.columns} columns; at most {MOST_COLUMNS}")
