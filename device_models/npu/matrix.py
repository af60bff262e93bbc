"""Matrix unit of a DaVinci core: the products that a layer becomes, and the cycles of blocks, loads and drains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.npu.kernels import PRODUCTS
from device_models.npu.storage import (
    BLOCK,
    BLOCK_BYTES,
    THIN,
    channel_block,
    item_bytes,
    parts,
    stored_bytes,
    stored_rows,
    whole,
)
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, MatMul, TransposedConv2d

if TYPE_CHECKING:
    from device_models.cores import Core
    from device_models.cores.davinci_tables import Timing
    from workloads.graph import Graph, Layer

SUM_BYTES = 4
KEPT = 4096  # products: layers of a network repeat, and so do networks


@dataclass(frozen=True)
class Product:
    """Matrix products of one shape: (rows, depth) by (depth, columns), ``repeats`` of them; depth in bytes. [B]"""

    rows: int
    depth_bytes: int
    columns: int
    repeats: int = 1


def product_of(graph: Graph, layer: Layer) -> Product | None:
    """Return the products that a layer becomes on the matrix unit; None where it does without, or goes by diagonals.

    Grouped convolutions put groups side by side until a block is full; transposed ones see zeros between their pixels.
    """
    if not isinstance(layer.operator, PRODUCTS) or isinstance(layer.operator, DepthwiseConv2d):
        return None
    shape, out = graph[layer.inputs[1]].shape, graph[layer.outputs[0]].shape
    size = item_bytes(graph, layer.inputs[0])
    match layer.operator:
        case Conv2d(groups=groups) | TransposedConv2d(groups=groups):
            columns, height, width, channels = shape
            block = channel_block(graph, layer.inputs[0])
            beside = min(groups, parts(block, min(channels, columns // groups)))
            depth = whole(channels * beside, THIN if channels <= THIN and groups == 1 else block)
            rows = math.prod(out[:-1])
            return Product(rows, height * width * depth * size, columns // groups * beside, parts(groups, beside))
        case FullyConnected():
            return Product(stored_rows(out[:-1]), shape[1] * size, shape[0])
        case MatMul():
            return Product(out[-2], shape[-2] * size, out[-1], math.prod(out[:-2]))
    return None


@lru_cache(maxsize=KEPT)
def product_cycles(product: Product, core: Core, cores: int) -> float:
    """Return the cycles of a core that takes its share of products: a block each cycle, loads and drains beside it.

    Cores share the products, then the rows and columns of blocks, as is best.
    """
    together = min(product.repeats, cores)
    left = cores // together
    shares = (each for each in range(1, left + 1) if left % each == 0)
    return parts(product.repeats, together) * min(_tiled(product, core, each, left // each) for each in shares)


def _tiled(product: Product, core: Core, by_rows: int, by_columns: int) -> float:
    """Return the cycles of one core's rows and columns of blocks.

    Operands are loaded again for every tile of sums. The three queues work at the same time and wait for each other:
    their times are added by squares.
    """
    rows, columns = parts(product.rows, BLOCK * by_rows), parts(product.columns, BLOCK * by_columns)
    depth = parts(product.depth_bytes, BLOCK_BYTES)
    side = max(1, math.isqrt(core.parameters["l0c_bytes"] // (BLOCK * BLOCK * SUM_BYTES)))
    load = (
        rows * depth * parts(columns, side) / rate(core, "img2col_l0a")
        + columns * depth * parts(rows, side) / rate(core, "load2d_l0b")
    ) * (BLOCK * BLOCK_BYTES)
    drain = rows * columns * BLOCK * BLOCK * SUM_BYTES / rate(core, "fixpipe_s32", "move_ub_s32")
    return math.hypot(rows * columns * depth * _block_cycles(core), load, drain)


def diagonal_cycles(graph: Graph, layer: Layer, core: Core, cores: int) -> float:
    """Return the cycles of a core for a depthwise convolution: of each block's products one diagonal is wanted."""
    if not isinstance(layer.operator, DepthwiseConv2d):
        return 0.0
    out = graph[layer.outputs[0]].shape
    blocks = parts(math.prod(out[:-1]), BLOCK) * parts(out[-1], BLOCK)
    return parts(blocks, cores) * math.prod(graph[layer.inputs[1]].shape[1:3]) * _block_cycles(core)


def read_again(graph: Graph, layer: Layer, core: Core) -> float:
    """Return how often a convolution reads its image: rows at the edge of what its nearest memory holds come twice."""
    match layer.operator:
        case Conv2d(stride=(step, _)) | DepthwiseConv2d(stride=(step, _)):
            taps = graph[layer.inputs[1]].shape[1]
        case _:
            return 1.0
    images, height, _, _ = graph[layer.inputs[0]].shape
    row_bytes = max(1, stored_bytes(graph, layer.inputs[0]) // (images * height))
    held = core.parameters["l1_bytes"] // 2 // row_bytes  # the other half holds weights
    made = max(1, (held - taps) // step + 1)
    return 1.0 if held >= height else max(1.0, ((made - 1) * step + taps) / (made * step))


def rate(core: Core, *mnemonics: str) -> float:
    """Return the bytes that a move takes each cycle, by the first of some mnemonics that the core has. [B/cycle]"""
    timing: Timing = core.timing
    rates = {op: move.rate.value for move in timing.move for op in move.instructions}
    return next(rates[op] for op in mnemonics if op in rates)


def _block_cycles(core: Core) -> float:
    """Return the cycles of a block of products; more than one where the unit is narrower. [cycle]"""
    timing: Timing = core.timing
    return BLOCK * BLOCK / (timing.cube.rows.value * timing.cube.columns.value)
