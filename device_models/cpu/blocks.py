"""Blocks: a layer as libraries for CPUs compute it, a product of matrices in tiles, directly or by Winograd."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.operators import Conv2d

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer

PIPES = 8  # sums a core keeps in flight: two multiply-adds a cycle, four cycles long
LARGEST = 6  # outputs along a side of a tile: beyond, sums of single precision lose digits
FEW, MANY = 64, 128  # channels: below, large tiles cost little to transform; above, weights of small ones stay small


@dataclass(frozen=True)
class Blocks:
    """A product of ``count`` pairs of matrices, (rows, depth) weights by (depth, columns) activations.

    Parameters
    ----------
    groups
        In so many groups of the rows, each with operands of its own.
    """

    rows: int
    columns: int
    depth: int
    count: int = 1
    groups: int = 1

    @property
    def weights(self) -> int:
        """Elements of the matrices of weights."""
        return self.rows * self.depth * self.count

    @property
    def operands(self) -> int:
        """Elements of the matrices of activations."""
        return self.columns * self.depth * self.count * self.groups

    @property
    def arranged(self) -> int:
        """Elements that are put in another order; Winograd's are transformed first, and its sums behind the product."""
        return self.operands if self.count == 1 else 2 * self.operands + self.rows * self.columns * self.count

    @property
    def products(self) -> int:
        """Multiply-adds, columns rounded up to what keeps the pipes full. [MAC]

        Columns behind the last full block go in powers of two, each of which takes as long as a full one.
        """
        full, rest = divmod(self.columns, PIPES)
        return self.rows * self.depth * self.count * PIPES * (full + rest.bit_count())


def direct(graph: Graph, layer: Layer, macs: int) -> Blocks:
    """Return a convolution or a fully connected layer as one product; windows become columns."""
    shape = graph[layer.outputs[0]].shape
    columns = max(1, math.prod(shape[:-1]))
    depth = max(1, macs // (shape[-1] * columns))
    return Blocks(shape[-1], columns, depth, groups=groups_of(graph, layer))


def winograd(graph: Graph, layer: Layer) -> Blocks:
    """Return a convolution of 3x3 pixels with stride 1 by Winograd: as many products as a tile has inputs.

    References
    ----------
    .. [1] A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
    """
    batch, height, width, rows = graph[layer.outputs[0]].shape
    groups, depth = groups_of(graph, layer), graph[layer.inputs[1]].shape[-1]
    tile = tile_extent(depth, rows // groups, min(height, width))
    columns, count = batch * math.ceil(height / tile) * math.ceil(width / tile), (tile + 2) ** 2
    return Blocks(rows, columns, depth, count, groups)


def groups_of(graph: Graph, layer: Layer) -> int:
    """Return in how many groups a convolution takes its channels; one for other layers."""
    if not isinstance(layer.operator, Conv2d):
        return 1
    return graph[layer.inputs[0]].shape[-1] // graph[layer.inputs[1]].shape[-1]


def tile_extent(inputs: int, outputs: int, extent: int) -> int:
    """Return the outputs along a side of the tile a library takes for some channels and an image.

    Large tiles save most products; small images waste them, and many channels' weights grow with them. The bounds
    follow ncnn's table of profiled choices (Tencent/ncnn@a4d2ea1d4:src/layer/x86/convolution_x86.cpp).
    """
    if max(inputs, outputs) < FEW:
        return LARGEST
    few = min(inputs, outputs)
    small = 12 if few >= 2 * MANY else 10 if few >= FEW else 0
    return 2 if extent <= small else 4
