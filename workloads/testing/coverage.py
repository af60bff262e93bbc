"""The edge cases that a case covers, in words, so that a report can say what was tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.testing.calling import output_shape
from workloads.testing.case import Case, factors
from workloads.testing.strategies import limits

if TYPE_CHECKING:
    from workloads.tensor import Array


def labels(case: Case) -> tuple[str, ...]:
    """Return the names of the edge cases that a case covers."""
    operands, shape = case.operands, output_shape(case)
    low, high = limits(operands.dtype)
    found = {
        "empty batch": 0 in shape,
        "one-pixel output": len(shape) == 4 and shape[1:3] == (1, 1),
        "odd number of pixels": len(shape) == 4 and bool(shape[1] * shape[2] % 2) and shape[1] * shape[2] > 1,
        "channels that fill no vector of 16": bool(shape) and shape[-1] % 16 != 0,
        "zero point at an end of the type": bool({low, high} & {*operands.input_zero_points}),
        "output zero point at an end of the type": operands.output_zero_point in (low, high),
        "narrow clamp": (operands.low, operands.high) != (low, high),
        "all inputs lowest": _all(case.inputs[0], low),
        "all inputs highest": _all(case.inputs[0], high),
    }
    found |= _of_weights(case) | _of_operator(case)
    if case.op not in ("add", "softmax", "average_pool2d", "max_pool2d"):
        found |= _of_factors(case)
    return tuple(name for name, holds in found.items() if holds)


def _of_weights(case: Case) -> dict[str, bool]:
    weights = case.operands.weights
    if weights is None:
        return {}
    depth = weights.size // max(weights.shape[-1 if case.op == "depthwise_conv2d" else 0], 1)
    lowest = _all(case.inputs[0], limits(case.operands.dtype)[0]) and _all(weights, limits("int8")[0])
    return {
        "all lowest times all lowest": lowest,
        "depth not divisible by 4": depth % 4 != 0,
        "depth of 511, 512 or 513": depth in (511, 512, 513),
        "depth of 1024 or more": depth >= 1024,
        "no bias": case.operands.bias is None,
    }


def _of_operator(case: Case) -> dict[str, bool]:
    operator = case.operator
    padding, stride = getattr(operator, "padding", (0,)), getattr(operator, "stride", (1,))
    return {
        "padding": any(padding),
        "uneven padding": any(padding) and len(set(padding)) > 1,
        "stride above 1": max(stride) > 1,
        "dilation": max(getattr(operator, "dilation", (1,))) > 1,
        "groups": getattr(operator, "groups", 1) > 1,
        "several outputs per input channel": getattr(operator, "multiplier", 1) > 1,
        "broadcasting": len(case.inputs) == 2 and case.inputs[0].shape != case.inputs[1].shape and case.op != "matmul",
    }


def _of_factors(case: Case) -> dict[str, bool]:
    chosen = factors(case)
    return {
        "scale of 1 or more": bool((chosen.scales >= 1).any()),
        "power-of-two scale (exact ties)": any(math.frexp(float(scale))[0] == 0.5 for scale in chosen.scales),
        "largest multiplier": bool((chosen.multipliers == 2**31 - 1).any()),
        "multiplier below 2^30": bool(((chosen.multipliers < 2**30) & (chosen.multipliers > 0)).any()),
        "factors that differ by channel": np.unique(chosen.scales).size > 1,
        "tiny scale (shift of -24 or less)": bool((chosen.shifts <= -24).any()),
    }


def _all(values: Array, value: int) -> bool:
    return bool(values.size) and bool((values == value).all())
