"""Runtimes: named kernel libraries as data, at most about eight fitted multipliers on what a layer asks of a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from device_models.figures import Figure, Sourced, read_toml, source_faults, tidy
from device_models.layer_classes import CLASSES
from device_models.quantities import Hertz, Seconds, faults_of
from workloads import shipped
from workloads.errors import InputError, did_you_mean
from workloads.passes.retype import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GENERATED = "generated"
Z80 = 1.2815515655446004  # of a normal distribution, 80 % lie within this many standard deviations
Quantity = Literal[
    "program",
    "peak",
    "macs",
    "outputs",
    "elements",
    "weights",
    "reloads",
    "activations",
    "calls",
    "forks",
    "products",
    "widened",
    "winograd",
    "taps",
    "arranged",
    "vectors",
    "functions",
    "streams",
    "passes",
    "copies",
    "shared",
    "regions",
    "cube",
    "diagonal",
    "vector",
    "inner",
    "outer",
    "host",
]
Way = Literal["programs", "direct", "winograd"]
# What only kernels of matrices in blocks ask for.
BLOCKED = frozenset({
    "products", "widened", "winograd", "taps", "arranged", "vectors", "functions", "streams", "passes", "copies",
    "shared", "regions",
})  # fmt: skip


class Term(Sourced):
    """One multiplier: of which quantity, of which layers.

    Parameters
    ----------
    layers
        Layer classes, or "all".
    multiplier
        Its range holds the true one in 80 of 100 cases; without a range it is fixed.
    bounds
        What physics allows.
    """

    layers: tuple[str, ...] = Field(min_length=1)
    quantity: Quantity
    multiplier: Figure[float]
    bounds: tuple[float, float] = (0.0, 1000.0)

    @model_validator(mode="after")
    def _sound(self) -> Term:
        if unknown := [name for name in self.layers if name not in {*CLASSES, "all"}]:
            raise ValueError(f"layers: {unknown[0]!r} is unknown; {did_you_mean(unknown[0], [*CLASSES, 'all'])}")
        low, high = self.bounds
        if not 0 <= low <= self.multiplier.value <= high:
            raise ValueError(f"multiplier {self.multiplier.value:g} is outside its bounds {low:g} .. {high:g}")
        return self

    def covers(self, kind: str) -> bool:
        """Whether the term applies to a layer class."""
        return kind in self.layers or "all" in self.layers

    @property
    def spread(self) -> float:
        """Standard deviation of the multiplier; zero if it is fixed."""
        figure = self.multiplier
        return 0.0 if figure.low is None else (figure.highest - figure.lowest) / (2 * Z80)


class Band(Sourced):
    """How far off predictions are.

    Parameters
    ----------
    residual
        Standard deviation of ln(measured / predicted) with the multipliers as they are.
    factor
        So many predicted standard deviations to either side hold 80 % of held-out measurements.
    elsewhere
        Standard deviation added on a core that no fitted row is from.
    correlation
        Of the fitted multipliers, in the order of the terms; none where absent.
    """

    residual: Figure[float]
    factor: Figure[float]
    elsewhere: Figure[float]
    correlation: tuple[tuple[float, ...], ...] = ()


class FittedRow(Sourced):
    """A measured row that a fit used, and what the fit makes of it, with and without the row's family.

    Parameters
    ----------
    reach
        How far the band without the family reaches from ln(held_out) to either side; None where it was not kept.
    """

    model: str
    device: str
    family: str
    frequency: Annotated[float, *Hertz.__metadata__]
    threads: int = 1
    batch: int = 1
    precision: str = "int8"
    measured: Annotated[float, *Seconds.__metadata__]
    fitted: Annotated[float, *Seconds.__metadata__]
    held_out: Annotated[float, *Seconds.__metadata__]
    reach: float | None = None
    source: str


class RuntimeFile(Sourced):
    """The tables of a runtime's file.

    Parameters
    ----------
    aliases
        Patterns of names under which measurements call it, e.g. "X-CUBE-AI 10.*".
    cores
        Patterns of cores that its rows are from.
    core_factors
        By pattern of the core: what compiled kernels take there, relative to Programs whose schedule is ideal.
    prior
        The runtime that the fit was drawn towards.
    years
        First and last year of its rows, where a name means another generation of kernels every few years.
    prior_for
        Patterns of cores for which this file is the start of a fit, and the answer without one.
    drops_dead_channels
        Whether it leaves out channels that always hold zero.
    """

    schema_version: int = Field(alias="schema")
    title: str
    aliases: tuple[str, ...] = ()
    cores: tuple[str, ...] = Field(min_length=1)
    precisions: tuple[str, ...] = Field(min_length=1)
    prior: str | None = None
    years: tuple[int, int] | None = None
    prior_for: tuple[str, ...] = ()
    drops_dead_channels: bool = False
    core_factors: dict[str, Figure[float]] = Field(default_factory=dict)
    terms: dict[str, Term] = Field(min_length=1)
    band: Band
    rows: tuple[FittedRow, ...] = ()
    sources: dict[str, str]

    @model_validator(mode="after")
    def _sound(self) -> RuntimeFile:
        if unknown := [name for name in self.precisions if name not in PRECISIONS]:
            raise ValueError(f"precisions: {unknown[0]!r} is unknown; {did_you_mean(unknown[0], PRECISIONS)}")
        fitted = sum(term.spread > 0 for term in self.terms.values())
        shape = {len(self.band.correlation), *map(len, self.band.correlation)}
        if self.band.correlation and shape != {fitted}:
            raise ValueError(f"band.correlation: expected {fitted} rows of {fitted} for the terms with a range")
        return self


@dataclass(frozen=True, eq=False)
class Runtime:
    """A runtime: its name, and the tables of its file."""

    name: str
    title: str
    aliases: tuple[str, ...]
    cores: tuple[str, ...]
    precisions: tuple[str, ...]
    prior: str | None
    years: tuple[int, int] | None
    prior_for: tuple[str, ...]
    drops_dead_channels: bool
    core_factors: Mapping[str, Figure[float]]
    terms: Mapping[str, Term]
    band: Band
    rows: tuple[FittedRow, ...] = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)

    @property
    def calibrated(self) -> bool:
        """Whether measurements stand behind the multipliers."""
        return bool(self.rows)

    @property
    def way(self) -> Way:
        """How it computes: as presage's Programs, or matrices in blocks, directly or by Winograd's transforms."""
        asked = {term.quantity for term in self.terms.values()}
        return "winograd" if "winograd" in asked else "direct" if asked & BLOCKED else "programs"

    def core_factor(self, core: str) -> float:
        """Return what compiled kernels take on a core, relative to Programs; 1 where nothing is said."""
        found = (factor.value for pattern, factor in self.core_factors.items() if fnmatchcase(core, pattern))
        return next(found, 1.0)

    def knows(self, core: str) -> bool:
        """Whether rows of a core were fitted, or the file was written for it."""
        return any(fnmatchcase(core, pattern) for pattern in self.cores)


def runtime_names() -> tuple[str, ...]:
    """Return the names of the shipped runtimes, and ``generated``."""
    return (GENERATED, *shipped.names_in(_folder()))


def _folder() -> Path:
    return shipped.folder_of("device_models", "runtimes")


@cache
def load_runtime(name_or_path: str) -> Runtime:
    """Return a shipped runtime by name, or the one at a path ending in ``.toml``.

    Raises
    ------
    InputError
        There is no such runtime, or its file is wrong; with every fault.
    """
    return read_runtime(shipped.find(name_or_path, _folder(), "runtime"))


def prior_for(core: str, precision: str | None = None) -> Runtime:
    """Return the runtime that a fit for a core starts from: the one whose pattern says most of the core's name.

    Of several for one core, it is the one for the precision.
    """
    found: list[tuple[int, int, str]] = []
    for name in runtime_names():
        if name != GENERATED:
            start = load_runtime(name)
            patterns = [each for each in start.prior_for if fnmatchcase(core, each)]
            found += [(precision in start.precisions, len(pattern), name) for pattern in patterns]
    if not found:
        raise InputError("runtime", [f"no prior for core {core!r}; name one"])
    return load_runtime(max(found)[2])


def read_runtime(path: Path) -> Runtime:
    """Return the runtime that a file describes.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    return runtime_of(read_toml(path), path)


def runtime_of(table: Mapping[str, Any], path: Path) -> Runtime:
    """Return the runtime that the tables of a file describe; the file's stem is its name.

    Raises
    ------
    InputError
        With every fault of the tables.
    """
    try:
        checked = RuntimeFile.model_validate(table)
    except ValidationError as error:
        raise InputError(path, tidy(faults_of(error, RuntimeFile))) from None
    if faults := source_faults([checked], checked.sources):
        raise InputError(path, faults)
    return Runtime(
        path.stem, checked.title, checked.aliases, checked.cores, checked.precisions, checked.prior,
        checked.years, checked.prior_for, checked.drops_dead_channels, checked.core_factors, checked.terms,
        checked.band, checked.rows, checked.sources,
    )  # fmt: skip
