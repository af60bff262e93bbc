"""Service: what one request costs on one machine, as plain figures that need no model of the machine."""

from __future__ import annotations

from dataclasses import dataclass

CONSTANT, EXPONENTIAL = "constant", "exponential"


@dataclass(frozen=True)
class Service:
    """Time and energy of one request, everything the machine draws while it computes included.

    Parameters
    ----------
    distribution
        "constant", or "exponential" with ``latency_s`` as its mean; the power stays the same.
    fits
        False when the model does not fit the machine's memory: every request placed there is lost.
    """

    latency_s: float
    energy_j: float
    distribution: str = CONSTANT
    fits: bool = True

    @property
    def draw_w(self) -> float:
        """Mean power while computing; zero for a machine that costs no time. [W]"""
        return self.energy_j / self.latency_s if self.latency_s > 0.0 else 0.0
