"""Matching: a measured row to a device, a runtime and a network, or the reason why not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING

from device_models.device import device_names, load_device
from device_models.dvfs import at_supply
from device_models.networks import plain
from device_models.runtime import GENERATED, load_runtime, runtime_names
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from device_models.device import Device
    from device_models.measured import Measured
    from device_models.networks import Models
    from device_models.runtime import Runtime


ST = re.compile(r"stm32|nucleo|disco|eval", re.IGNORECASE)
SHORTEST = 5  # letters and digits of a chip's name that may stand among other words

# Boards named for a build whose weights or buffers lie elsewhere than the library puts them by itself.
BUILDS = ("max_performance", "min_ram")


@dataclass(frozen=True)
class Matched:
    """A measured row, and what it was measured on: device, runtime, and where the network is."""

    row: Measured
    device: Device
    runtime: Runtime
    place: str

    @property
    def frequency_hz(self) -> float:
        """Clock of the row, the device's nominal one where the row has none. [Hz]"""
        return self.device.frequency_hz if self.row.frequency_hz is None else self.row.frequency_hz

    @property
    def threads(self) -> int:
        """Threads of the row, the device's default where the row has none."""
        return self.device.default_threads if self.row.threads is None else self.row.threads


@dataclass(frozen=True)
class Unmatched:
    """A measured row that cannot be predicted, and why."""

    row: Measured
    reason: str


def match(
    row: Measured, models: Models, *, device: Device | None = None, runtime: Runtime | None = None
) -> Matched | Unmatched:
    """Return what a row was measured on; ``device`` and ``runtime`` stand for what its names say."""
    try:
        chosen = device or device_of(row)
        library = runtime or find_runtime(row.runtime, row.precision, chosen, row.year)
        place = models.find(row.model, row.runtime)
    except InputError as error:
        return Unmatched(row, "; ".join(error.problems))
    if place is None:
        return Unmatched(row, f"network {row.model!r} is in no folder of models, and is not built in")
    try:
        supplied = chosen if row.supply_v is None or chosen.supply is None else at_supply(chosen, row.supply_v)
    except InputError as error:
        return Unmatched(row, "; ".join(error.problems))
    found = Matched(row, supplied, library, place)
    reason = _reason(found)
    return found if reason is None else Unmatched(row, reason)


def _reason(found: Matched) -> str | None:
    """Return why a row of a known device, runtime and network cannot be predicted."""
    from device_models.estimate import option_problems

    row = found.row
    if build := next((build for build in BUILDS if row.device.endswith(build)), None):
        return f"build {build!r}: weights or buffers lie elsewhere than this library puts them"
    if "/" in row.precision:
        return f"precision {row.precision!r}: the network is not the one of its name"
    said, core = re.search(r"cortex-[am]\d+", row.core.lower()), found.device.core.name
    if said and core.startswith("cortex-") and said[0] != core:
        return f"core {row.core!r} is not the one of {found.device.name}, {core}"
    if row.superseded:
        return "superseded by a newer row of the same source"
    if row.latency_s is None:
        return "no latency is published"
    at = (row.precision, row.batch, found.threads, found.frequency_hz)
    problems = option_problems(found.device, found.runtime, *at)
    return "; ".join(problems) if problems else None


def device_of(row: Measured) -> Device:
    """Return the device of the catalogue that a row names, the one for its code if there is such a one.

    Raises
    ------
    InputError
        None is called so.
    """
    built = f"{row.device} {row.isa}"
    return find_device(built if plain(built) in _chips() else row.device)


@cache
def find_device(name: str) -> Device:
    """Return the device of the catalogue that a row names, whatever its case, its punctuation, and words around it.

    Raises
    ------
    InputError
        None is called so.
    """
    known = _chips()
    chip = known.get(plain(name)) or _chip_within(name)
    if chip is None:
        raise InputError("device", [f"device {name!r} is not in the catalogue; {_hint(name, known)}"])
    return load_device(chip)


def _chip_within(name: str) -> str | None:
    """Return the device that words in a row call by a name with a digit, None where several or none are called so.

    The longest names count: "Kirin990-5G" is not the Kirin990. ST's parts go on with letters for pins and memory.
    """
    known, words = _chips(), re.findall(r"[a-z0-9.+]+", name.lower())
    parts = (re.fullmatch(r"(?:stm32)?([fghluw]\d[a-z0-9]\d)[a-z]{1,3}\d?", word) for word in words)
    words_of_st = [f"stm32{part[1]}" for part in parts if part] if ST.search(name) else []
    for length in range(len(words), 0, -1):
        runs = {"".join(words[at : at + length]) for at in range(len(words) - length + 1)}
        called = {run for run in (runs if length > 1 else {*runs, *words_of_st}) if re.search(r"\d", run)}
        if found := {known[run] for run in called if run in known and len(run) >= SHORTEST}:
            return found.pop() if len(found) == 1 else None
    return None


@cache
def _chips() -> dict[str, str]:
    """Return the devices of the catalogue by all their names."""
    return {plain(alias): chip for chip in device_names() for alias in (chip, *load_device(chip).aliases)}


def find_runtime(name: str, precision: str, device: Device, year: int | None = None) -> Runtime:
    """Return the runtime that a row names: of those that are called so, the one for the device's core and precision.

    Of several generations a year takes the first that reaches it, and no year the newest. Where no row of a runtime is
    from the core, cores that start from the same prior stand for it.

    Raises
    ------
    InputError
        None is called so, or none of those is for the core or the precision.
    """
    every = [load_runtime(each) for each in runtime_names() if each != GENERATED]
    called = [
        each for each in every if any(fnmatchcase(name.lower(), alias.lower()) for alias in (each.name, *each.aliases))
    ]
    if not called:
        raise InputError("runtime", [f"runtime {name!r} is unknown; {_hint(name, [each.name for each in every])}"])
    able = [each for each in called if precision in each.precisions]
    alike = [each for each in able if each.knows(device.core.name) or _is_alike(each, device.core.name)]
    fitting = [each for each in alike if each.knows(device.core.name)] or alike
    if not fitting:
        names = ", ".join(each.name for each in called)
        raise InputError("runtime", [f"runtime {names} has no {precision} for core {device.core.name}"])
    dated = sorted((each.years, each.name) for each in alike if each.years is not None)
    if len(dated) < len(alike):
        return fitting[0]
    reaching = (name for years, name in dated if year is not None and year <= years[1])
    return load_runtime(next(reaching, dated[-1][1]))


def _is_alike(runtime: Runtime, core: str) -> bool:
    """Whether a runtime's fit started from a prior that was written for a core too."""
    return runtime.prior is not None and load_runtime(runtime.prior).knows(core)


def _hint(name: str, known: Iterable[str]) -> str:
    """Suggest a close name; a list of all would be as long as the catalogue."""
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did") else "nothing is called like it"
