"""Multi-head attention as the matrix products, softmax and moves that runtimes execute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.operators import Add, MatMul, Reshape, Softmax, Transpose

if TYPE_CHECKING:
    from workloads.builder import GraphBuilder


def attention(net: GraphBuilder, query: str, key: str, value: str, heads: int, mask: str | None = None) -> str:
    """Add softmax(q k' / sqrt(depth)) v of each head and return its output, (batch, rows, heads * depth).

    Parameters
    ----------
    query
        Projected already, (batch, rows, heads * depth).
    key, value
        Projected already, (batch, positions, groups * depth); ``heads / groups`` heads in a row share a group.
    heads
        Of the query.
    mask
        Added to the products before they are scaled, e.g. (batch, 1, 1, positions): 0, or far below it.

    References
    ----------
    .. [1] A. Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.2.
    .. [2] J. Ainslie et al., "GQA: training generalized multi-query transformer models", EMNLP 2023 (shared groups).
    """
    (batch, rows, width), (_, positions, narrow) = net.tensors[query].shape, net.tensors[key].shape
    depth = width // heads
    groups = narrow // depth
    shared = heads // groups
    split = net.layer(Reshape(), (query,), shape=(batch, rows, groups, shared, depth))
    split = net.layer(Transpose((0, 2, 3, 1, 4)), (split,))
    queries = net.layer(Reshape(), (split,), shape=(batch, groups, shared * rows, depth))
    sides = []
    for source, order in ((key, (0, 2, 3, 1)), (value, (0, 2, 1, 3))):
        side = net.layer(Reshape(), (source,), shape=(batch, positions, groups, depth))
        sides.append(net.layer(Transpose(order), (side,)))
    scores = net.layer(MatMul(), (queries, sides[0]))
    if mask is not None:
        scores = net.layer(Add(), (scores, mask))
    mixed = net.layer(MatMul(), (net.layer(Softmax(depth**-0.5), (scores,)), sides[1]))
    mixed = net.layer(Reshape(), (mixed,), shape=(batch, groups, shared, rows, depth))
    joined = net.layer(Transpose((0, 3, 1, 2, 4)), (mixed,))
    return net.layer(Reshape(), (joined,), shape=(batch, rows, width))
