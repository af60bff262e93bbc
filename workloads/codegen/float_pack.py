"""Constants of float32 kernels: weights as the tiles read them, biases, bounds, factors of transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.codegen.float_product import table_of
from workloads.codegen.float_tiles import tile_of
from workloads.codegen.float_winograd_transforms import TRANSFORMS, Transform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_spec import FloatOperands
    from workloads.codegen.geometry import Convolution
    from workloads.options import Options
    from workloads.tensor import Array


def pack(conv: Convolution, operands: FloatOperands, kit: FloatSet, options: Options) -> dict[str, Array]:
    """Return the packed weights and parameters of a convolution."""
    filters, transform = conv.arranged(operands.weights), TRANSFORMS.get(options.lowering or "")
    matrices = filters.reshape(conv.groups, conv.channels_out // conv.groups, -1)
    if transform is not None:
        matrices = transformed(filters, transform)
    weights = _blocked(matrices, kit.pieces(matrices.shape[1], tile_of(kit, options).vectors))
    return {"weights": weights, "parameters": parameters(conv.channels_out, operands, kit, transform)}


def parameters(channels_out: int, operands: FloatOperands, kit: FloatSet, transform: Transform | None = None) -> Array:
    """Return the buffer of biases, bounds and factors."""
    factors = () if transform is None else transform.factors
    bias = np.zeros(channels_out) if operands.bias is None else operands.bias
    values = {"bias": bias, "low": np.full(1, operands.low), "high": np.full(1, operands.high)}
    values |= {f"factor{place}": np.full(kit.lanes if kit.memory_operands else 1, f) for place, f in enumerate(factors)}
    floats = {name: value.astype(np.float32) for name, value in values.items()}
    return table_of(kit, channels_out, len(factors)).pack(floats)


def transformed(filters: Array, transform: Transform) -> Array:
    """Return G filter G^T for each filter, (points * points, O, C): sums in float64, one division, one rounding."""
    g = np.array(transform.weights, np.float64)
    found = np.einsum("pi,oijc,qj->pqoc", g, filters.astype(np.float64), g) / transform.divisor**2
    return np.asarray(found.reshape(-1, filters.shape[0], filters.shape[3]).astype(np.float32))


def _blocked(matrices: Array, blocks: Iterable[tuple[int, tuple[int, ...], int]]) -> Array:
    """Lay (group, channels, products) out by block of channels, then by product."""
    parts = []
    for first, vectors, trips in blocks:
        size = sum(vectors)
        part = matrices[:, first : first + trips * size].reshape(len(matrices), trips, size, -1)
        parts.append(part.transpose(0, 1, 3, 2).reshape(len(matrices), -1))
    return np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)
