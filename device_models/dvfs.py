"""Operating points and supply: what a clock asks of voltages and wait states, and what a cycle then costs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from device_models.figures import Figure, Sourced
from device_models.quantities import Hertz, JoulesPerCycle, Volts, Watts  # noqa: TC001 - pydantic reads annotations
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from device_models.device import Clock, Device


class OperatingPoint(Sourced):
    """A setting of the supply: it serves the clocks up to its own that no lower point reaches.

    Parameters
    ----------
    name
        As the maker calls it, e.g. "VOS1".
    frequency
        The fastest clock it allows. [Hz]
    voltage
        Of the cores; what they draw above idle goes with its square. [V]
    wait_step
        Memories with wait states take one more for each such step of the clock. [Hz]
    idle
        Waiting for work at its fastest clock; the device's own where absent. [W]
    per_cycle
        While running at its fastest clock, everything included; where absent, that of the device's nominal clock,
        scaled by the voltages. [J/cycle]
    """

    name: str = ""
    frequency: Figure[Hertz]
    voltage: Figure[Volts] | None = None
    wait_step: Figure[Hertz] | None = None
    idle: Figure[Watts] | None = None
    per_cycle: Figure[JoulesPerCycle] | None = None


class Supply(Sourced):
    """What a chip is supplied with, and how its power follows.

    Parameters
    ----------
    voltage
        At which the device's power figures hold. [V]
    minimum, maximum
        Between which it runs. [V]
    regulator
        Between the supply and the cores. A linear one draws the same current at any voltage, so the power goes with
        the voltage; a switching one draws the same power.
    """

    voltage: Figure[Volts]
    minimum: Figure[Volts]
    maximum: Figure[Volts]
    regulator: Literal["linear", "switching"]

    @model_validator(mode="after")
    def _ordered(self) -> Supply:
        if not 0 < self.minimum.value <= self.voltage.value <= self.maximum.value:
            raise ValueError("expected 0 < minimum <= voltage <= maximum")
        return self


@cache
def at_supply(device: Device, supply_v: float) -> Device:
    """Return a device as it is when supplied with another voltage: the same one at the voltage of its power figures.

    Raises
    ------
    InputError
        It does not run at that voltage, or nothing is known of its supply.
    """
    supply = device.supply
    if supply is None:
        raise InputError(
            device.name, ["supply voltage: how its power follows is not known; add a [supply] to its file"]
        )
    if not supply.minimum.value <= supply_v <= supply.maximum.value:
        ends = f"{supply.minimum.value:g} V to {supply.maximum.value:g} V"
        raise InputError(device.name, [f"supply voltage: {supply_v:g} V; expected {ends}"])
    return device if supply_v == supply.voltage.value else replace(device, supply_v=supply_v)


def supply_factor(device: Device) -> float:
    """Return the power at a device's supply, as a share of that at the voltage of its power figures."""
    supply = device.supply
    if supply is None or device.supply_v is None or supply.regulator == "switching":
        return 1.0
    return device.supply_v / supply.voltage.value


def supply_notes(device: Device) -> tuple[str, ...]:
    """Say what a supply of its own does to the power of a device."""
    if device.supply is None or device.supply_v is None:
        return ()
    known = f"{supply_factor(device):.3g} times the power at {device.supply.voltage.value:g} V"
    return (f"supplied with {device.supply_v:g} V through a {device.supply.regulator} regulator: {known}",)


def point_faults(points: Sequence[OperatingPoint], clock: Clock, *, power_known: bool, waits: bool) -> list[str]:
    """Return what a device's operating points contradict.

    Parameters
    ----------
    power_known
        Whether the device's power is known per cycle.
    waits
        Whether a memory has wait states.
    """
    faults = []
    clocks = [point.frequency.value for point in points]
    nominal = next((point for point in points if point.frequency.value >= clock.frequency.value), None)
    if points and (clocks != sorted(set(clocks)) or clocks[-1] != clock.maximum.value):
        faults.append("expected rising frequencies that end at the clock's maximum")
    if nominal is not None and (nominal.idle is not None or nominal.per_cycle is not None):
        faults.append("power at the nominal clock belongs under [power]")
    if not power_known and any(point.per_cycle is not None for point in points):
        faults.append("per_cycle needs that of the nominal clock under [power]")
    if waits and not (points and all(point.wait_step is not None for point in points)):
        faults.append("a memory waits, so each point needs a wait_step")
    return faults


def point_at(device: Device, frequency_hz: float) -> OperatingPoint | None:
    """Return the lowest operating point that serves a clock; None where the device has none."""
    return next((point for point in device.operating_points if frequency_hz <= point.frequency.value), None)


def wait_states(device: Device, frequency_hz: float) -> int | None:
    """Return how long memories with wait states keep the bus waiting; None where that is not known. [cycle]"""
    point = point_at(device, frequency_hz)
    if point is None or point.wait_step is None:
        return None
    return max(0, ceil(frequency_hz / point.wait_step.value) - 1)


def access_rate(device: Device, frequency_hz: float) -> float:
    """Return how fast memories with wait states answer, as a share of their rate at the nominal clock.

    An access takes one cycle and its wait states, so the rate saturates instead of following the clock.
    """
    nominal, here = wait_states(device, device.frequency_hz), wait_states(device, frequency_hz)
    if nominal is None or here is None:
        return 1.0
    return frequency_hz / device.frequency_hz * (1 + nominal) / (1 + here)


def voltage_factor(device: Device, frequency_hz: float) -> float:
    """Return what switching costs at a clock's supply, as a share of the nominal one: the voltages squared."""
    here, nominal = (point_at(device, clock) for clock in (frequency_hz, device.frequency_hz))
    if here is None or nominal is None or here.voltage is None or nominal.voltage is None:
        return 1.0
    return (here.voltage.value / nominal.voltage.value) ** 2
