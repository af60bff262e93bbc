"""Specifications of kernels that go row by row or step by step: normalisation, layers with a state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerNormSpec:
    """Normalisation of rows of ``columns`` elements, each scaled and shifted by constants of its column."""

    rows: int
    columns: int


@dataclass(frozen=True)
class SvdfSpec:
    """One step of a filter over time: ``units`` outputs of ``rank`` filters each, whose states hold ``steps`` moments.

    Parameters
    ----------
    state_bytes, weight_bytes
        Of one element of the state, and of one weight over time. [B]
    """

    batch: int
    depth: int
    units: int
    rank: int
    steps: int
    state_bytes: int = 2
    weight_bytes: int = 2

    @property
    def filters(self) -> int:
        """Filters of all outputs."""
        return self.units * self.rank

    @property
    def macs(self) -> int:
        """Multiply-accumulates. [MAC]"""
        return self.batch * self.filters * (self.depth + self.steps)


@dataclass(frozen=True)
class LstmSpec:
    """A long short-term memory layer over a sequence.

    Parameters
    ----------
    power
        The cell state has the scale 2**power.
    time_major
        Inputs and outputs are (time, batch, element) rather than (batch, time, element).
    """

    steps: int
    batch: int
    depth: int
    units: int
    power: int
    time_major: bool = False

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the gates. [MAC]"""
        return self.steps * self.batch * 4 * self.units * (self.depth + self.units)
