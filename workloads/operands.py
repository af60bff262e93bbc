"""The integer constants of one quantised layer, as every kernel and every generated Program takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.tensor import Array


@dataclass(frozen=True, eq=False)
class Operands:
    """Constants of a quantised layer.

    Parameters
    ----------
    input_scales, input_zero_points
        One per activation input.
    output_scale, output_zero_point
        Of the output tensor.
    low, high
        The final clamp, in integers of the output type.
    weights
        int8: (O,KH,KW,C/groups), depthwise (1,KH,KW,O), fully connected (N,K); None without weights.
    weight_scales
        float64, one per output channel (per-tensor scales are repeated); empty without weights.
    weight_zero_point
        Of the weights, 0 when symmetric.
    bias
        int32 (or int64), one per output channel; None means no bias.
    """

    input_scales: tuple[float, ...]
    input_zero_points: tuple[int, ...]
    output_scale: float
    output_zero_point: int
    low: int
    high: int
    weights: Array | None = None
    weight_scales: Array | None = None
    weight_zero_point: int = 0
    bias: Array | None = None
