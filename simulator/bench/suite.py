"""The suite file: which kernels to bench, on which devices; every fault of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import BeforeValidator, Field, ValidationError, create_model, model_validator

from device_models.device import Device, load_device
from device_models.figures import read_toml
from device_models.quantities import Hertz, faults_of
from simulator.bench.shapes import FLOATS, OPERATORS
from simulator.names import ChipName, ModelName, Text, chip_path
from simulator.schema import Count, Table
from workloads import shipped
from workloads.errors import InputError, did_you_mean
from workloads.options import Options

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def _listed(raw: Any) -> Any:
    return raw if isinstance(raw, list) else [raw]


OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_listed)]
_choices: dict[str, Any] = {
    name: (Annotated[hint, Field(strict=True)], None) for name, hint in get_type_hints(Options).items()
}
Choices = create_model("Choices", __base__=Table, **_choices)


class Kernels(Table):
    """Some kernels: operators by shapes, the layers of models, what a generator returns, or saved Programs.

    Operators and networks compute in int8, or where ``precision`` is "fp32" in float32.
    ``generator`` beside ``operator`` is called with each kernel's specification in place of ours. Without ``options``,
    ``choice`` says which of the offered ones: the fastest, as predictions take it, the generator's own, or each.
    """

    operator: OneOrMore[Text] = ()
    precision: Literal["int8", "fp32"] = "int8"
    shapes: OneOrMore[dict[str, Any]] = ()
    model: OneOrMore[ModelName] = ()
    generator: Text | None = None
    arguments: OneOrMore[dict[str, Any]] = ({},)
    program: OneOrMore[Text] = ()
    devices: OneOrMore[ChipName] = ()
    instruction_sets: OneOrMore[Text] = ()
    options: OneOrMore[Choices] = (Choices(),)
    choice: Literal["best", "own", "all"] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Kernels:
        given = [name for name in ("operator", "model", "generator", "program") if getattr(self, name)]
        if len(given) != 1 and given != ["operator", "generator"]:
            found = f"found {' and '.join(given)}" if given else "found none"
            raise ValueError(
                f"{found}; expected one of operator, model, generator and program, or operator and generator"
            )
        if bool(self.operator) != bool(self.shapes):
            raise ValueError("operator and shapes belong together")
        if self.precision == "fp32" and not set(self.operator) & set(OPERATORS) <= FLOATS:
            raise ValueError(f"in fp32 only {', '.join(sorted(FLOATS))} are generated")
        if self.precision == "fp32" and not (self.operator or self.model):
            raise ValueError("precision is for operators and networks; Programs have their own")
        if self.arguments != ({},) and self.generator is None:
            raise ValueError("arguments are for a generator")
        given_options = self.options != (Choices(),)
        if self.choice and (given_options or self.program or self.generator):
            owner = "options" if given_options else "a saved Program" if self.program else "a generator of your own"
            raise ValueError(f"choice says which of our generator's options to take; {owner} leaves none to choose")
        if self.choice == "all" and self.model:
            raise ValueError('choice = "all" is for operators; a network runs each layer once')
        if given_options and self.program:
            raise ValueError("a saved Program has no options")
        return self


class Document(Table):
    """The whole file."""

    schema_version: int = Field(alias="schema")
    title: Text
    devices: OneOrMore[ChipName] = Field((), min_length=1)
    instruction_sets: OneOrMore[Text] = ()
    threads: Count = 1
    frequency_hz: Hertz | None = Field(None, alias="frequency")
    kernels: tuple[Kernels, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Target:
    """A device with one of its instruction sets.

    Parameters
    ----------
    chip
        The name or path that the device was loaded by; empty for one that is only at hand.
    """

    device: Device
    isa: str
    chip: str = ""


@dataclass(frozen=True)
class Entry:
    """One table of kernels, its place in the file, and where to bench it."""

    place: str
    kernels: Kernels
    targets: tuple[Target, ...]
    options: tuple[Options, ...]


@dataclass(frozen=True)
class Suite:
    """A checked suite; ``frequency_hz`` is None for each device's nominal clock."""

    path: Path
    title: str
    threads: int
    frequency_hz: float | None
    entries: tuple[Entry, ...]

    @property
    def folder(self) -> Path:
        """Where the files that it names lie."""
        return self.path.parent

    @property
    def shipped(self) -> bool:
        """Whether it came with presage."""
        return self.folder.resolve() == _shipped().resolve()


def _shipped() -> Path:
    return shipped.folder_of("scenarios", "suites")


def find_suite(name: str) -> Path:
    """Return the file that a path, or the name of a shipped suite, stands for.

    Raises
    ------
    InputError
        The name is neither.
    """
    return shipped.find(name, _shipped(), "suite")


def load_suite(path: Path) -> Suite:
    """Read and check a suite.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    table = read_toml(path)
    faults = _shape_faults(table)
    document = None
    try:
        document = Document.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        faults = [*faults_of(error, Document), *faults]
    entries = (
        []
        if document is None
        else [_entry(document, index, path.parent, faults) for index in range(len(document.kernels))]
    )
    if document is None or faults:
        raise InputError(path, list(dict.fromkeys(faults)))
    return Suite(path, document.title, document.threads, document.frequency_hz, tuple(entries))


def _shape_faults(table: dict[str, Any]) -> list[str]:
    """Return the faults of operators and their shapes, which no other table depends on."""
    faults = []
    entries = table.get("kernels")
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        for operator in _listed(entry.get("operator", [])) if isinstance(entry, dict) else []:
            place = f"kernels[{index}]"
            if not isinstance(operator, str) or operator not in OPERATORS:
                faults.append(f"{place}.operator: {operator!r} is unknown; {did_you_mean(str(operator), OPERATORS)}")
                continue
            model, _ = OPERATORS[operator]
            for number, shape in enumerate(_listed(entry.get("shapes", []))):
                try:
                    model.model_validate(shape)
                except ValidationError as error:
                    where = f"{place}.shapes[{number}]"
                    faults += [f"{where}.{fault}".replace(".file:", ":") for fault in faults_of(error, model)]
    return faults


def _entry(document: Document, index: int, folder: Path, faults: list[str]) -> Entry:
    """Return an entry with its devices, adding what is wrong with them to ``faults``."""
    from device_models.estimate import option_problems

    kernels, place = document.kernels[index], f"kernels[{index}]"
    paths = [chip_path(name, folder) for name in kernels.devices or document.devices]
    chips = [load_device(path) for path in paths]
    wanted = kernels.instruction_sets or document.instruction_sets
    targets: list[Target] = []
    if not chips:
        faults.append(f"{place}.devices: none here, and none for the whole suite")
    for path, chip in zip(paths, chips, strict=True):
        frequency_hz = chip.frequency_hz if document.frequency_hz is None else document.frequency_hz
        wrong = option_problems(chip, "generated", "int8", 1, document.threads, frequency_hz)
        faults += [f"{problem} ({chip.name})" for problem in wrong]
        sets = (
            [name for name in wanted if name in chip.core.instruction_sets]
            if wanted
            else [chip.core.instruction_sets[0]]
        )
        targets += [Target(chip, name, path) for name in sets]
        if not sets:
            known = ", ".join(chip.core.instruction_sets)
            faults.append(f"{place}.instruction_sets: {chip.name} executes none of {', '.join(wanted)}; it has {known}")
    every = {name for chip in chips for name in chip.core.instruction_sets}
    faults += [
        f"{place}.instruction_sets: no device here executes {name!r}; {did_you_mean(name, every)}"
        for name in wanted
        if name not in every
    ]
    options = tuple(Options(**choice.model_dump()) for choice in kernels.options)
    return Entry(place, kernels, tuple(targets), options)
