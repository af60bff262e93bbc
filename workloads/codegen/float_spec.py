"""Specifications and constants of float32 kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.codegen.specs import ConvSpec, ElementwiseSpec, MatrixSpec, PoolSpec, Spec
    from workloads.tensor import Array


@dataclass(frozen=True)
class FloatSpec:
    """A kernel in float32, its results brought within ``bounds``: "low", "high", both or none (pools have none)."""

    shape: ConvSpec | MatrixSpec | PoolSpec | ElementwiseSpec
    bounds: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates. [MAC]"""
        return getattr(self.shape, "macs", 0)


@dataclass(frozen=True, eq=False)
class FloatOperands:
    """Constants of a float32 layer.

    Parameters
    ----------
    weights
        float32: (O,KH,KW,C/groups), depthwise (1,KH,KW,O), fully connected (N,K); None without weights.
    bias
        float32 (O,); None means no bias.
    low, high
        Bounds of the results; a kernel uses those that its specification names.
    """

    weights: Array | None = None
    bias: Array | None = None
    low: float = -math.inf
    high: float = math.inf


if TYPE_CHECKING:
    AnySpec = Spec | FloatSpec
