"""The passes that come before costing, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.passes.fold import fold
from workloads.passes.fuse import fuse
from workloads.passes.retype import retype

if TYPE_CHECKING:
    from workloads.graph import Graph


def prepare(graph: Graph, precision: str | None = None) -> Graph:
    """Return the graph folded, fused and, when a precision is given, retyped for costing.

    Integer layers are left as the file has them; only float layers are merged.
    """
    merged = fuse(fold(fuse(graph)))
    return merged if precision is None else retype(merged, precision)
