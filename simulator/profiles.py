"""Profiles: links, grids and defaults as data files, every figure with its source."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from device_models.figures import Figure, Sourced, read_toml, source_faults, tidy
from device_models.quantities import (
    BitsPerSecond,
    GramsPerKilowattHour,
    JoulesPerBit,
    PerSecond,
    Ratio,
    Seconds,
    Watts,
    faults_of,
)
from simulator.grid import Grid
from simulator.radio import Phase, Radio, cycle_mean_w
from workloads import shipped
from workloads.errors import InputError


class Idle(Sourced):
    """A state without data: a power, and perhaps bursts in which the radio listens."""

    power: Figure[Watts]
    burst_power: Figure[Watts] | None = None
    burst: Figure[Seconds] | None = None
    every: Figure[Seconds] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Idle:
        if len({self.burst_power is None, self.burst is None, self.every is None}) != 1:
            raise ValueError("burst_power, burst and every belong together")
        if self.burst is not None and self.every is not None and not 0 < self.burst.value <= self.every.value:
            raise ValueError("expected 0 < burst <= every")
        return self

    def phase(self, name: str, last_s: float) -> Phase:
        """Return the state with its mean power."""
        if self.burst_power is None or self.burst is None or self.every is None:
            return Phase(name, last_s, self.power.value)
        on_s, cycle_s = self.burst.value, self.every.value
        mean_w = cycle_mean_w(self.power.value, self.burst_power.value, on_s, cycle_s)
        return Phase(name, last_s, mean_w, on_s, cycle_s)


class Tail(Idle):
    """A state after the last byte, for a time."""

    name: str
    last: Figure[Seconds]


class RadioTable(Sourced):
    """The radio's states and its energy per bit."""

    promotion: Figure[Seconds]
    promotion_power: Figure[Watts]
    base: Figure[Watts]
    up: Figure[JoulesPerBit]
    down: Figure[JoulesPerBit]
    idle: Idle
    tail: tuple[Tail, ...] = ()


class Rates(Sourced):
    """What the link does at its best."""

    up: Figure[BitsPerSecond]
    down: Figure[BitsPerSecond]
    round_trip: Figure[Seconds]

    @model_validator(mode="after")
    def _positive(self) -> Rates:
        if self.up.value <= 0 or self.down.value <= 0:
            raise ValueError("expected up > 0 and down > 0")
        return self


class Network(Sourced):
    """Energy of the network beyond the radio."""

    up: Figure[JoulesPerBit]
    down: Figure[JoulesPerBit]


class _Profile(Sourced):
    schema_version: Literal[1] = Field(alias="schema")
    title: str
    sources: dict[str, str]


class LinkProfile(_Profile):
    """A link and the radio that uses it; without ``network`` the energy beyond the radio is unknown."""

    link: Rates
    radio: RadioTable
    network: Network | None = None

    def the_radio(self) -> Radio:
        """Return the radio as the simulator uses it."""
        table = self.radio
        return Radio(
            promotion_s=table.promotion.value,
            promotion_w=table.promotion_power.value,
            base_w=table.base.value,
            up_j_per_bit=table.up.value,
            down_j_per_bit=table.down.value,
            tail=tuple(state.phase(state.name, state.last.value) for state in table.tail),
            idle=table.idle.phase("idle", math.inf),
        )


class GridProfile(_Profile):
    """A grid's carbon intensity; average and marginal are different things."""

    kind: Literal["average", "marginal"]
    intensity: Figure[GramsPerKilowattHour]

    def the_grid(self, name: str) -> Grid:
        """Return the grid as the simulator uses it."""
        return Grid(name, self.intensity.value, self.kind)


class BatteryDefaults(Sourced):
    """What a battery is where the scenario says nothing."""

    efficiency: Figure[Ratio]
    charge_efficiency: Figure[Ratio]
    cutoff: Figure[Ratio]
    available_share: Figure[Ratio]
    rate: Figure[PerSecond]


class CloudDefaults(Sourced):
    """What a data centre is where the scenario says nothing."""

    pue: Figure[float]


class LinkDefaults(Sourced):
    """How a device treats a missing signal where the scenario says nothing."""

    patience: Figure[Seconds]


class Defaults(_Profile):
    """The file ``defaults.toml``."""

    battery: BatteryDefaults
    cloud: CloudDefaults
    link: LinkDefaults


def known(kind: str) -> list[str]:
    """Return the names of the bundled profiles, ``kind`` being "links" or "grids"."""
    return list(shipped.names_in(shipped.folder_of("simulator", kind)))


def _find(name: str, kind: str, base: Path) -> Path:
    """Return the file of a profile: a bundled name, or a path beside the scenario."""
    folder = shipped.folder_of("simulator", kind)
    return base / name if name.endswith(".toml") else shipped.find(name, folder, kind.removesuffix("s"))


@cache
def _read(path: Path, model: type[_Profile]) -> Any:
    table = read_toml(path)
    try:
        found = model.model_validate(table)
    except ValidationError as error:
        raise InputError(path, tidy(faults_of(error, model))) from None
    if faults := source_faults([found], found.sources):
        raise InputError(path, faults)
    return found


def load_link(name: str, base: Path = Path()) -> LinkProfile:
    """Return a link profile by name, or by the path of a TOML file.

    Raises
    ------
    InputError
        There is no such profile, or its file is wrong; all faults at once.
    """
    profile: LinkProfile = _read(_find(name, "links", base), LinkProfile)
    return profile


def load_grid(name: str, base: Path = Path()) -> Grid:
    """Return a grid by name, or by the path of a TOML file; errors as for links."""
    profile: GridProfile = _read(_find(name, "grids", base), GridProfile)
    return profile.the_grid(name)


def load_defaults() -> Defaults:
    """Return what is assumed where a scenario says nothing."""
    defaults: Defaults = _read(shipped.folder_of("simulator") / "defaults.toml", Defaults)
    return defaults


def sources_of(name: str, kind: str, base: Path = Path()) -> dict[str, str]:
    """Return the sources of a profile, ``kind`` being "links" or "grids"."""
    models: dict[str, type[_Profile]] = {"links": LinkProfile, "grids": GridProfile}
    profile: _Profile = _read(_find(name, kind, base), models[kind])
    return {f"{kind.removesuffix('s')} {name}, {key}": text for key, text in profile.sources.items()}
