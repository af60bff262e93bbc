"""Devices: one TOML file each, every figure with its source; a core, memories, power and overheads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from device_models.cores import Core, load_core
from device_models.dvfs import OperatingPoint, Supply, access_rate, point_faults
from device_models.figures import Figure, Sourced, read_toml, source_faults, tidy
from device_models.quantities import (
    Bytes,
    BytesPerCycle,
    BytesPerSecond,
    Cycles,
    CyclesPerElement,
    Hertz,
    Joules,
    JoulesPerByte,
    JoulesPerCycle,
    JoulesPerMac,
    MacsPerCycle,
    Seconds,
    Watts,
    faults_of,
)
from workloads import shipped
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Kind = Literal["weights", "activations"]


class Clock(Sourced):
    """The clock of the cores: nominal, and the range of operating points.

    Parameters
    ----------
    boost, boost_all
        Where a governor goes when the nominal clock is asked for: with one core busy, and with all.
    """

    frequency: Figure[Hertz]
    minimum: Figure[Hertz]
    maximum: Figure[Hertz]
    boost: Figure[Hertz] | None = None
    boost_all: Figure[Hertz] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Clock:
        if not 0 < self.minimum.value <= self.frequency.value <= self.maximum.value:
            raise ValueError("expected 0 < minimum <= frequency <= maximum")
        return self


class Compute(Sourced):
    """Cores and what one of them does per cycle at best.

    Parameters
    ----------
    together
        Kernels are dealt over all cores unless fewer are asked for, as on accelerators; else one core runs them.
    fp32_peak, vector
        Single precision, and the width of a register; runtimes of CPUs need both. [MAC/cycle], [B]
    threads_per_core
        Hardware threads of a core, one if absent.
    """

    cores: Figure[int]
    int8_peak: Figure[MacsPerCycle]
    fp32_peak: Figure[MacsPerCycle] | None = None
    vector: Figure[Bytes] | None = None
    threads_per_core: Figure[int] | None = None
    together: bool = False

    @field_validator("cores", mode="after")
    @classmethod
    def _some(cls, cores: Figure[int]) -> Figure[int]:
        if cores.value < 1:
            raise ValueError(f"{cores.value} is not a number of cores; expected at least 1")
        return cores


class MemoryLevel(Sourced):
    """One level: a cache, or with ``holds`` the home of weights or activations.

    Parameters
    ----------
    bandwidth, bytes_per_cycle
        What one core reads from here: independent of the core's clock, or in step with it; absent means no cost.
    waits
        The bandwidth is that at the nominal clock and goes with the wait states of the operating points;
        ``bytes_per_cycle`` is then what the bus carries at most.
    write_bandwidth
        What one core writes to here, where it differs from reading.
    total_bandwidth
        What all cores together get; absent for a memory of each core's own.
    latency
        Of the first access. [s]
    line
        Smallest transfer. [B]
    """

    size: Figure[Bytes]
    bandwidth: Figure[BytesPerSecond] | None = None
    bytes_per_cycle: Figure[BytesPerCycle] | None = None
    write_bandwidth: Figure[BytesPerSecond] | None = None
    total_bandwidth: Figure[BytesPerSecond] | None = None
    latency: Figure[Seconds] | None = None
    line: Figure[Bytes] | None = None
    holds: tuple[Kind, ...] = ()
    waits: bool = False

    @model_validator(mode="after")
    def _one_bandwidth(self) -> MemoryLevel:
        if self.bandwidth is not None and self.bytes_per_cycle is not None and not self.waits:
            raise ValueError("bandwidth and bytes_per_cycle exclude each other; keep one")
        if self.waits and self.bandwidth is None:
            raise ValueError("waits needs the bandwidth at the nominal clock")
        return self

    def read_bytes_per_s(self, frequency_hz: float, access: float = 1.0) -> float | None:
        """Return what one core reads from here; None when it costs nothing. [B/s]

        Parameters
        ----------
        access
            How fast a memory with wait states answers, as a share of its rate at the nominal clock.
        """
        bus = None if self.bytes_per_cycle is None else self.bytes_per_cycle.value * frequency_hz
        own = None if self.bandwidth is None else self.bandwidth.value * (access if self.waits else 1.0)
        return min((rate for rate in (bus, own) if rate is not None), default=None)


class Power(Sourced):
    """Power and energy, by what is known: per cycle, per board, or per operation.

    Parameters
    ----------
    idle
        Waiting for work, powered. [W]
    sleep
        The deepest state that keeps the memory. [W]
    wake, wake_time
        Energy and time from sleep to active. [J], [s]
    per_cycle
        While running, at the nominal operating point, everything included. [J/cycle]
    active, active_all
        The whole board with one core busy, and with all busy. [W]
    per_mac, per_byte
        Added to idle power: of the products, and of the outermost memory. [J/MAC], [J/B]
    """

    idle: Figure[Watts]
    sleep: Figure[Watts] | None = None
    wake: Figure[Joules] | None = None
    wake_time: Figure[Seconds] | None = None
    per_cycle: Figure[JoulesPerCycle] | None = None
    active: Figure[Watts] | None = None
    active_all: Figure[Watts] | None = None
    per_mac: Figure[JoulesPerMac] | None = None
    per_byte: Figure[JoulesPerByte] | None = None

    @model_validator(mode="after")
    def _one_model(self) -> Power:
        known = [self.per_cycle is not None, self.active is not None, self.per_mac is not None]
        if sum(known) != 1:
            raise ValueError("expected exactly one of per_cycle, active and per_mac beside idle")
        if (self.active is None) != (self.active_all is None):
            raise ValueError("active and active_all belong together")
        return self


class Overhead(Sourced):
    """Costs that no Program shows.

    Parameters
    ----------
    layer
        Calling one layer's kernel. [cycle]
    launch
        Starting one kernel, independent of the clock. [s]
    fork_join
        Splitting one layer over threads and waiting for all. [s]
    """

    layer: Figure[Cycles] | None = None
    launch: Figure[Seconds] | None = None
    fork_join: Figure[Seconds] | None = None


class Measured(Sourced):
    """A measured row: a test of the predictions, never an input."""

    model: str
    runtime: str
    precision: str = "int8"
    threads: int = 1
    latency: Figure[Seconds] | None = None
    energy: Figure[Joules] | None = None


class DeviceFile(Sourced):
    """The tables of a device file; ``operators`` are cycles per element where no kernel is generated.

    Parameters
    ----------
    instruction_set
        The one of the core's that code is built for, where that is not the best.
    """

    schema_version: int = Field(alias="schema")
    title: str
    core: str
    instruction_set: str | None = None
    aliases: tuple[str, ...] = ()
    clock: Clock
    compute: Compute
    memory: dict[str, MemoryLevel] = Field(min_length=1)
    power: Power
    supply: Supply | None = None
    overhead: Overhead
    operators: dict[str, Figure[CyclesPerElement]] = Field(default_factory=dict)
    operating_points: tuple[OperatingPoint, ...] = Field((), alias="operating_point")
    measured: tuple[Measured, ...] = ()
    sources: dict[str, str]

    @field_validator("memory", mode="after")
    @classmethod
    def _homes(cls, memory: dict[str, MemoryLevel]) -> dict[str, MemoryLevel]:
        held = {kind for level in memory.values() for kind in level.holds}
        if missing := {"weights", "activations"} - held:
            raise ValueError(f"no level holds {' or '.join(sorted(missing))}")
        return memory

    @model_validator(mode="after")
    def _points(self) -> DeviceFile:
        power_known = self.power.per_cycle is not None
        waits = any(level.waits for level in self.memory.values())
        if faults := point_faults(self.operating_points, self.clock, power_known=power_known, waits=waits):
            raise ValueError(f"operating_point: {'; '.join(faults)}")
        return self


@dataclass(frozen=True, eq=False)
class Device:
    """A device: the tables of its file, its core, and the figures that follow.

    Parameters
    ----------
    memory
        Levels, nearest to the core first.
    operators
        Cycles per element of the larger of input and output, by operator name, where no kernel is generated.
    operating_points
        The slowest first; none where nothing is known beyond the nominal one.
    supply_v
        The voltage that it is supplied with; None for that of its power figures.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    core: Core
    clock: Clock
    compute: Compute
    memory: Mapping[str, MemoryLevel]
    power: Power
    overhead: Overhead
    operators: Mapping[str, Figure[float]]
    operating_points: tuple[OperatingPoint, ...]
    measured: tuple[Measured, ...] = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)
    supply: Supply | None = None
    supply_v: float | None = None

    @property
    def cores(self) -> int:
        """Number of cores."""
        return self.compute.cores.value

    @property
    def threads(self) -> int:
        """Number of hardware threads."""
        each = self.compute.threads_per_core
        return self.cores * (1 if each is None else each.value)

    @property
    def frequency_hz(self) -> float:
        """Nominal clock. [Hz]"""
        return self.clock.frequency.value

    @property
    def peak_macs_per_s(self) -> float:
        """Best int8 rate of all cores at the nominal clock. [MAC/s]"""
        return self.compute.int8_peak.value * self.cores * self.frequency_hz

    @property
    def memory_bytes_per_s(self) -> float:
        """What one core reads from the outermost memory. [B/s]"""
        rates = [level.read_bytes_per_s(self.frequency_hz) for level in self.memory.values()]
        return next((rate for rate in reversed(rates) if rate is not None), float("inf"))

    @property
    def default_threads(self) -> int:
        """Number of cores that share a kernel unless another one is asked for."""
        return self.cores if self.compute.together else 1

    def read_bytes_per_s(self, level: str, frequency_hz: float) -> float | None:
        """Return what one core reads from a level at a clock; None when it costs nothing. [B/s]"""
        return self.memory[level].read_bytes_per_s(frequency_hz, access_rate(self, frequency_hz))

    def capacity_bytes(self, kind: Kind) -> float:
        """Size of the largest memory that holds weights or activations. [B]"""
        return max(level.size.value for level in self.memory.values() if kind in level.holds)


def device_names() -> tuple[str, ...]:
    """Return the names of the devices in the catalogue."""
    return shipped.names_in(_catalog())


def _catalog() -> Path:
    return shipped.folder_of("device_models", "catalog")


@cache
def load_device(name_or_path: str) -> Device:
    """Return a device of the catalogue by name or alias, or the device file at a path ending in ``.toml``.

    Raises
    ------
    InputError
        There is no such device, or its file is wrong; with every fault.
    """
    names = device_names()
    if name_or_path not in names and not name_or_path.endswith(".toml"):
        called = [name for name in names if name_or_path in load_device(name).aliases]
        if called:
            return load_device(called[0])
    return read_device(shipped.find(name_or_path, _catalog(), "device"))


def read_device(path: Path) -> Device:
    """Return the device that a file describes.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    table = read_toml(path)
    try:
        checked = DeviceFile.model_validate(table)
    except ValidationError as error:
        raise InputError(path, tidy(faults_of(error, DeviceFile))) from None
    faults = source_faults([checked], checked.sources)
    core = None
    try:
        core = load_core(str(path.parent / checked.core) if checked.core.endswith(".toml") else checked.core)
    except InputError as error:
        faults += [f"core: {problem}" for problem in error.problems]
    chosen = checked.instruction_set
    if core is not None and chosen is not None:
        if chosen not in core.instruction_sets:
            faults.append(f"instruction_set: {chosen!r} is unknown; {did_you_mean(chosen, core.instruction_sets)}")
        core = replace(core, instruction_sets=(chosen,))
    if core is None or faults:
        raise InputError(path, faults)
    return Device(
        path.stem, checked.title, checked.aliases, core, checked.clock, checked.compute, checked.memory, checked.power,
        checked.overhead, checked.operators, checked.operating_points, checked.measured, checked.sources,
        checked.supply,
    )  # fmt: skip
