"""Energy: power by what is known about a device, times the time it is busy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_models.dvfs import point_at, supply_factor, voltage_factor

if TYPE_CHECKING:
    from device_models.device import Device
    from device_models.figures import Figure


@dataclass(frozen=True)
class Activity:
    """What one layer, or one inference, does.

    Parameters
    ----------
    latency_s
        Busy time. [s]
    macs
        Multiply-accumulates. [MAC]
    outer_bytes
        Bytes moved to and from the outermost memory. [B]
    """

    latency_s: float
    macs: int
    outer_bytes: int


def _value(figure: Figure[float] | None, end: str) -> float:
    """Return a figure's value, or an end of its range; 0 when it is absent."""
    if figure is None:
        return 0.0
    return {"value": figure.value, "low": figure.lowest, "high": figure.highest}[end]


def idle_power(device: Device, frequency_hz: float, end: str = "value") -> float:
    """Return the power while waiting for work at a clock's operating point, at the device's supply. [W]"""
    return supply_factor(device) * _idle(device, frequency_hz, end)


def _idle(device: Device, frequency_hz: float, end: str) -> float:
    """Return the power while waiting, at the supply that the figures are for. [W]"""
    point = point_at(device, frequency_hz)
    return _value(device.power.idle if point is None or point.idle is None else point.idle, end)


def busy_power(device: Device, threads: int, frequency_hz: float, end: str = "value") -> float:
    """Return the power while computing, without the energy per operation, at the device's supply. [W]

    What is above idle at a known clock scales with the clock, and with the square of the voltage where both operating
    points have one. A device known per operation draws its idle power.
    """
    return supply_factor(device) * _busy(device, threads, frequency_hz, end)


def _busy(device: Device, threads: int, frequency_hz: float, end: str) -> float:
    """Return the power while computing, at the supply that the figures are for. [W]"""
    power, point = device.power, point_at(device, frequency_hz)
    idle = _idle(device, frequency_hz, end)
    if point is not None and point.per_cycle is not None:
        clock_hz = point.frequency.value
        return idle + max(0.0, _value(point.per_cycle, end) * clock_hz - idle) * frequency_hz / clock_hz
    waiting = _value(power.idle, end)
    scale = frequency_hz / device.frequency_hz * voltage_factor(device, frequency_hz)
    if power.per_cycle is not None:
        return idle + max(0.0, _value(power.per_cycle, end) * device.frequency_hz - waiting) * scale
    if power.active is None:
        return idle
    one, every = _value(power.active, end), _value(power.active_all, end)
    share = min(1.0, (threads - 1) / (device.cores - 1)) if device.cores > 1 else 0.0
    return idle + max(0.0, one + (every - one) * share - waiting) * scale


def energy(device: Device, activity: Activity, threads: int, frequency_hz: float, end: str = "value") -> float:
    """Return the energy of an activity, never below idle power times its time. [J]

    Parameters
    ----------
    end
        "value", or "low" or "high" to take that end of every assumed figure's range.
    """
    operations = _value(device.power.per_mac, end) * activity.macs
    moved = _value(device.power.per_byte, end) * activity.outer_bytes
    own = supply_factor(device) * (operations + moved)
    return busy_power(device, threads, frequency_hz, end) * activity.latency_s + own
