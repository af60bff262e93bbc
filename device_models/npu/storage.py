"""Storage formats of DaVinci chips: channels in blocks of 32 bytes, matrices in blocks of 16 rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.operators import Concat, Slice, Transpose

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer

BLOCK = 16  # rows and columns of a block
BLOCK_BYTES = 32  # depth of a block, and of the channels that are stored together
THIN = 4  # channels up to which the compiler stores an image's pixels without padding to a whole block


def item_bytes(graph: Graph, name: str) -> int:
    """Return the bytes of an element of a tensor. [B]"""
    return max(1, graph[name].nbytes // max(1, graph[name].elements))


def channel_block(graph: Graph, name: str) -> int:
    """Return how many channels of a tensor are stored together."""
    return max(1, BLOCK_BYTES // item_bytes(graph, name))


def stored_elements(graph: Graph, name: str) -> int:
    """Return the elements of a tensor as it is stored: channels padded to whole blocks, rows of matrices too."""
    *outer, channels = graph[name].shape or (1,)
    if channels <= THIN or graph[name].is_constant:
        return graph[name].elements
    return stored_rows(tuple(outer)) * whole(channels, channel_block(graph, name))


def stored_bytes(graph: Graph, name: str) -> int:
    """Return the bytes of a tensor as it is stored. [B]"""
    return stored_elements(graph, name) * item_bytes(graph, name)


def stored_rows(outer: tuple[int, ...]) -> int:
    """Return the rows of a tensor as they are stored: a sequence's in whole blocks, an image's pixels as they are."""
    if len(outer) == 2 and outer[1] > 1:
        return outer[0] * whole(outer[1], BLOCK)
    return math.prod(outer)


def is_apart(graph: Graph, layer: Layer) -> bool:
    """Whether a layer needs channels stored apart: it shuffles, cuts or joins them inside a block."""
    block, first = channel_block(graph, layer.outputs[0]), graph[layer.inputs[0]]
    last = len(first.shape) - 1
    match layer.operator:
        case Transpose(permutation=permutation):
            return last > 3 and permutation[-1] != last
        case Slice(axis=axis, begin=begin, extent=extent):
            return last == 3 and axis % 4 == 3 and (begin % block or (begin + extent) % block) != 0
        case Concat(axis=axis):
            return last == 3 and axis % 4 == 3 and any(graph[name].shape[-1] % block for name in layer.inputs[:-1])
    return False


def parts(count: int, block: int) -> int:
    """Return how many blocks hold a count."""
    return -(-count // block)


def whole(count: int, block: int) -> int:
    """Return a count padded to whole blocks."""
    return parts(count, block) * block
