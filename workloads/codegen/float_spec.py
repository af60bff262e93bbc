"""Specifications and constants of float32 kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.codegen.specs import ConvSpec, ElementwiseSpec, MatrixSpec, MoveSpec, PoolSpec, Spec
    from workloads.graph import Graph, Layer
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


def spec_of(graph: Graph, layer: Layer) -> AnySpec | None:
    """Return the kernel that a layer needs, in float32 where its output is; raises as ``specify``."""
    from workloads.codegen import specs

    return (specify if graph[layer.outputs[0]].dtype == "float32" else specs.specify)(graph, layer)


def specify(graph: Graph, layer: Layer) -> AnySpec | None:
    """Return the kernel that a layer of float32 tensors needs; None for layers that move nothing (reshape).

    Raises
    ------
    NotImplementedError
        No kernel is known for the operator in float32; the message names it.
    """
    from workloads.codegen import specs
    from workloads.operands import clamp_of

    clamp = clamp_of(layer.operator)
    limits = {"low": clamp.low, "high": clamp.high}
    match specs.specify(graph, layer):
        case None:
            return None
        case specs.MoveSpec() as move:
            return _of_four_bytes(move)
        case specs.ConvSpec() | specs.MatrixSpec(batch=1) | specs.ElementwiseSpec() as shape:
            return FloatSpec(shape, tuple(name for name, value in limits.items() if math.isfinite(value)))
        case specs.PoolSpec() as pool:
            return FloatSpec(pool)
    raise NotImplementedError(f"layer {layer.name!r}: no kernel is generated for operator {layer.op!r} in float32")


def _of_four_bytes(move: MoveSpec) -> MoveSpec:
    """Return a movement of float32 as one of bytes: each element is four neighbors along another axis, or the last."""
    if move.kind in ("pad", "concat", "transpose", "slice"):
        axis = len(move.shapes[0])
        more: dict[str, tuple[object, ...]] = {"pad": ((0, 0),), "transpose": (axis,)}
        shapes = tuple((*shape, 4) for shape in move.shapes)
        return replace(move, shapes=shapes, argument=(*move.argument, *more.get(move.kind, ())))
    return replace(move, shapes=tuple((*shape[:-1], 4 * shape[-1]) for shape in move.shapes))
