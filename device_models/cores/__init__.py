"""Core models: how many cycles a Program takes, one module per kind of core, one TOML file per core."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from device_models.figures import Figure, Sourced, read_toml, source_faults, tidy
from device_models.quantities import faults_of
from workloads import shipped
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from workloads.isa import InstructionSet
    from workloads.program import Program

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class CoreCost:
    """Cycles of a Program on one core with all data in the nearest memory.

    Parameters
    ----------
    bound
        The resource that binds: a key of ``by_resource``.
    by_resource
        Cycles that each resource alone would need; none exceeds ``cycles`` by more than rounding.
    by_cause
        Where the cycles go; they add up to ``cycles``. Keys are from ``CAUSES``.
    """

    cycles: float
    bound: str
    by_resource: Mapping[str, float]
    by_cause: Mapping[str, float] = field(default_factory=dict)


CAUSES = {
    "issue": "the front end or a port is busy",
    "latency": "an instruction waits for a result",
    "branch": "a loop's end was not predicted",
    "launch": "a kernel or a queue is started or waited for",
}


class Band(Sourced):
    """How far off an uncalibrated prediction may be, as factors: value 1.0 with a range."""

    latency: Figure[float]
    energy: Figure[float]


class CoreFile(Sourced):
    """The part of a core file that every core model shares; the rest is the model's own ``Timing``."""

    schema_version: int = Field(alias="schema")
    title: str
    model: str
    instruction_sets: tuple[str, ...] = Field(min_length=1)
    parameters: dict[str, int] = Field(default_factory=dict)
    band: Band
    sources: dict[str, str]


@dataclass(frozen=True, eq=False)
class Core:
    """A core: which model prices its Programs, and that model's timing tables.

    Parameters
    ----------
    model
        The module of ``device_models.cores`` that has ``cost`` and ``Timing``.
    instruction_sets
        What it executes, best first; code is generated for the first.
    parameters
        Of the instruction set, e.g. ``{"vlen": 256}``.
    timing
        The record ``Timing`` of the model's module.
    """

    name: str
    title: str
    model: str
    instruction_sets: tuple[str, ...]
    parameters: Mapping[str, int]
    band: Band
    timing: Any = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)

    def isa(self, name: str | None = None) -> InstructionSet:
        """Return an instruction set of the core, the best one unless named."""
        from workloads.isa import load_isa

        chosen = name or self.instruction_sets[0]
        if chosen not in self.instruction_sets:
            raise InputError(self.name, [f"{chosen!r} is not executed; {did_you_mean(chosen, self.instruction_sets)}"])
        known = load_isa(chosen).parameters
        return load_isa(chosen, **{key: value for key, value in self.parameters.items() if key in known})


def cost(program: Program, core: Core) -> CoreCost:
    """Return the cycles of a Program on a core.

    Raises
    ------
    InputError
        The core does not execute an instruction of the program, or has no timing for it.
    """
    if program.isa.name not in core.instruction_sets:
        raise InputError(
            core.name, [f"does not execute {program.isa.name!r}; it has {', '.join(core.instruction_sets)}"]
        )
    found: CoreCost = _module(core.model).cost(program, core)
    return found


def timeline(program: Program, core: Core, iterations: int = 2) -> str:
    """Return the steady state of the costliest innermost loop: a line per instruction, a column per cycle.

    Raises
    ------
    InputError
        As ``cost``; or cores of this kind draw none.
    """
    model = _module(core.model)
    if not hasattr(model, "timeline"):
        raise InputError(core.name, [f"{core.model!r} cores draw no timeline"])
    drawn: str = model.timeline(program, core, iterations)
    return drawn


def core_names() -> tuple[str, ...]:
    """Return the names of the shipped core files."""
    return shipped.names_in(_FOLDER)


@cache
def load_core(name: str) -> Core:
    """Return a shipped core by name, or the core file at a path.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    path = shipped.find(name, _FOLDER, "core")
    table = read_toml(path)
    shared = {key: value for key, value in table.items() if key in _SHARED}
    faults: list[str] = []
    common, timing = None, None
    try:
        common = CoreFile.model_validate(shared)
    except ValidationError as error:
        faults += faults_of(error, CoreFile)
    try:
        model = _module(str(table.get("model")))
        timing = model.Timing.model_validate({key: value for key, value in table.items() if key not in _SHARED})
    except ValidationError as error:
        faults += faults_of(error, model.Timing)
    except InputError as error:
        faults += error.problems
    if common is None or timing is None:
        raise InputError(path, tidy(faults))
    if faults := source_faults([common, timing], common.sources):
        raise InputError(path, faults)
    return Core(
        name=name,
        title=common.title,
        model=common.model,
        instruction_sets=common.instruction_sets,
        parameters=common.parameters,
        band=common.band,
        timing=timing,
        sources=common.sources,
    )


_SHARED = {field.alias or name for name, field in CoreFile.model_fields.items()}


def _module(name: str) -> ModuleType:
    """Return the core model called ``name``: the module of that name in this package."""
    known = [file.stem for file in _FOLDER.glob("*.py")]
    known.remove("__init__")
    if name not in known:
        raise InputError("model", [f"model: {name!r} is no core model; {did_you_mean(name, known)}"])
    return importlib.import_module(f"device_models.cores.{name}")
