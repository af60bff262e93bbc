"""Estimates: what a network is predicted to cost on a device, with its band and its layers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LayerEstimate:
    """One layer: work, cycles and time by cause; ``bound`` names the binding resource."""

    name: str
    op: str
    macs: int
    cycles: float
    compute_s: float
    memory_s: float
    overhead_s: float
    latency_s: float
    energy_j: float
    bytes: int
    bound: str


@dataclass(frozen=True)
class Estimate:
    """A network on a device with a runtime; the fields of ``presage predict --format json``.

    Parameters
    ----------
    coverage
        Share of the layers that carry a cost, 0..1; below 1 only when the caller allowed uncovered layers.
    uncovered
        The layers without a cost, by name and operator.
    calibrated
        False when nothing of the runtime was fitted to measurements: the band is then wide by assumption.
    """

    model: str
    device: str
    runtime: str
    precision: str
    batch: int
    threads: int
    frequency_hz: float
    macs: int
    weights_bytes: int
    peak_ram_bytes: int
    fits: bool
    latency_s: float
    latency_low_s: float
    latency_high_s: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float
    average_power_w: float
    coverage: float
    calibrated: bool
    layers: tuple[LayerEstimate, ...]
    uncovered: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
