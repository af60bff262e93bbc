"""Specifications of kernels that go row by row or step by step: normalisation, layers with a state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerNormSpec:
    """Normalisation of rows of ``columns`` elements, each scaled and shifted by constants of its column."""

    rows: int
    columns: int
