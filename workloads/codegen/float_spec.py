"""Specifications and constants of float32 kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.codegen.specs import ConvSpec, MatrixSpec, Spec
    from workloads.tensor import Array


@dataclass(frozen=True)
class FloatSpec:
    """A convolution or product in float32, its results brought within ``bounds``: "low", "high", both or none."""

    shape: ConvSpec | MatrixSpec
    bounds: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates. [MAC]"""
        return self.shape.macs


@dataclass(frozen=True, eq=False)
class FloatOperands:
    """Constants of a float32 layer.

    Parameters
    ----------
    weights
        float32: (O,KH,KW,C/groups), depthwise (1,KH,KW,O), fully connected (N,K).
    bias
        float32 (O,); None means no bias.
    low, high
        Bounds of the results; a kernel uses those that its specification names.
    """

    weights: Array
    bias: Array | None = None
    low: float = -math.inf
    high: float = math.inf


if TYPE_CHECKING:
    AnySpec = Spec | FloatSpec
