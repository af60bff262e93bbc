"""The scenario file's schema: one record per table, quantities as text with a unit."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from device_models.quantities import BitsPerSecond, Bytes, Hertz, Joules, PerSecond, Ratio, Seconds, Watts
from simulator.names import ChipName, GridName, LinkName, ModelName, PolicyName, Text  # noqa: TC001 - pydantic reads them

Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Duration = Annotated[Seconds, Field(gt=0)]
Share = Annotated[Ratio, Field(gt=0)]


def _stated(raw: object) -> object:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float) or raw in (math.inf, -math.inf) or raw != raw:
        raise ValueError(f"{raw!r}; expected text with a unit, or a finite number for counts and shares")
    return raw


Stated = Annotated[Any, BeforeValidator(_stated), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})]


class Table(BaseModel):
    """A table of the file: frozen, and complete in its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Arrivals(Table):
    """When requests come: at random, in step, or at the times of a file."""

    process: Literal["poisson", "periodic", "trace"]
    rate_per_s: Annotated[PerSecond, Field(gt=0)] | None = Field(None, alias="rate")
    every_s: Duration | None = Field(None, alias="every")
    first_s: Seconds | None = Field(None, alias="first")
    file: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> Arrivals:
        given = {
            "rate": self.rate_per_s is not None,
            "every": self.every_s is not None,
            "first": self.first_s is not None,
            "file": self.file is not None,
        }
        needed, allowed = {
            "poisson": ("rate", {"rate"}),
            "periodic": ("every", {"every", "first"}),
            "trace": ("file", {"file"}),
        }[self.process]
        if not given[needed]:
            raise ValueError(f"process {self.process!r} needs {needed!r}")
        if extra := sorted(key for key, there in given.items() if there and key not in allowed):
            raise ValueError(f"process {self.process!r} has no use for {', '.join(map(repr, extra))}; remove it")
        return self

    def expected(self, duration_s: float) -> float:
        """Return how many requests come on average within a duration; 0 for a trace."""
        if self.rate_per_s is not None:
            return self.rate_per_s * duration_s
        return math.ceil(duration_s / self.every_s) if self.every_s else 0.0


class Workload(Table):
    """What arrives: a model to run, when, how soon, and what may leave the device."""

    model: ModelName
    arrivals: Arrivals
    deadline_s: Duration | None = Field(None, alias="deadline")
    privacy: Literal["none", "regions", "all"] = "none"
    sensitive: Ratio = 1.0
    input_bytes: Bytes | None = None
    output_bytes: Bytes | None = None


class Battery(Table):
    """A battery; what is left out comes from the defaults and their sources."""

    capacity_j: Annotated[Joules, Field(gt=0)] = Field(alias="capacity")
    state_of_charge: Share = 1.0
    cutoff: Ratio | None = None
    efficiency: Share | None = None
    charge_efficiency: Share | None = None
    model: Literal["counting", "kibam"] = "counting"
    available_share: Share | None = None
    rate_per_s: Annotated[PerSecond, Field(gt=0)] | None = Field(None, alias="rate")

    @model_validator(mode="after")
    def _possible(self) -> Battery:
        if self.cutoff is not None and self.cutoff >= self.state_of_charge:
            raise ValueError(f"cutoff ({self.cutoff:g}) must be below state_of_charge ({self.state_of_charge:g})")
        kinetic = self.available_share is not None or self.rate_per_s is not None
        if kinetic and self.model != "kibam":
            raise ValueError('available_share and rate belong to model = "kibam"; set it or remove them')
        if self.available_share == 1:
            raise ValueError('available_share of 1 leaves no bound well; use model = "counting"')
        return self


class Machine(Table):
    """A chip with the kernel library that runs the model on it."""

    chip: ChipName
    runtime: Text = "generated"
    precision: Text = "int8"
    threads: Count | None = None  # the device's own number: one core, or all of an accelerator
    frequency_hz: Annotated[Hertz, Field(gt=0)] | None = Field(None, alias="frequency")
    grid: GridName


class Device(Machine):
    """Where it may run, at hand; without a battery it is on mains."""

    battery: Battery | None = None
    idle_w: Watts | None = Field(None, alias="idle")
    sleep_w: Watts | None = Field(None, alias="sleep")
    sleep_after_s: Seconds | None = Field(None, alias="sleep_after")

    @model_validator(mode="after")
    def _sleeps(self) -> Device:
        if self.sleep_w is not None and self.sleep_after_s is None:
            raise ValueError('sleep needs sleep_after, e.g. sleep_after = "1 s"')
        return self


class Cloud(Machine):
    """Where it may run, far away: equal workers behind one queue."""

    workers: Count = 1
    pue: Annotated[float, Field(ge=1, le=10)] | None = None


class Spell(Table):
    """A random interruption: on average one begins every ``every`` and lasts ``last``."""

    every_s: Duration = Field(alias="every")
    last_s: Duration = Field(alias="last")

    @model_validator(mode="after")
    def _shorter(self) -> Spell:
        if self.last_s >= self.every_s:
            raise ValueError(f"last ({self.last_s:g} s) must be shorter than every ({self.every_s:g} s)")
        return self


class Weak(Spell):
    """A weak signal: a factor on the rates, or the rates themselves."""

    factor: Share | None = None
    up_bps: Annotated[BitsPerSecond, Field(gt=0)] | None = Field(None, alias="up")
    down_bps: Annotated[BitsPerSecond, Field(gt=0)] | None = Field(None, alias="down")

    @model_validator(mode="after")
    def _one_way(self) -> Weak:
        rates = (self.up_bps is not None, self.down_bps is not None)
        if (self.factor is not None) == any(rates) or rates[0] != rates[1]:
            raise ValueError("expected either factor, or up and down")
        return self


class Link(Table):
    """The way between them; rates and round trip override the profile's."""

    profile: LinkName
    up_bps: Annotated[BitsPerSecond, Field(gt=0)] | None = Field(None, alias="up")
    down_bps: Annotated[BitsPerSecond, Field(gt=0)] | None = Field(None, alias="down")
    round_trip_s: Seconds | None = Field(None, alias="round_trip")
    patience_s: Seconds | None = Field(None, alias="patience")
    outages: Spell | None = None
    weak: Weak | None = None


class Offload(Table):
    """Who decides: a policy by name, and its parameters."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    policy: PolicyName = "local"

    @property
    def parameters(self) -> dict[str, Any]:
        """The keys beside ``policy``."""
        return dict(self.model_extra or {})


class Expect(Table):
    """A requirement on a metric; ``when`` picks points of the comparison."""

    metric: Text
    at_most: Stated = None
    at_least: Stated = None
    when: dict[str, Any] = {}

    @model_validator(mode="after")
    def _bounded(self) -> Expect:
        if self.at_most is None and self.at_least is None:
            raise ValueError("expected at_most or at_least")
        return self


class Claim(Table):
    """A published figure to audit; ``when`` picks points of the comparison."""

    metric: Text
    value: Stated
    source: Text
    when: dict[str, Any] = {}


class Sections(Table):
    """What one node is made of, after inheritance."""

    workload: Workload
    device: Device
    cloud: Cloud | None = None
    link: Link | None = None
    offload: Offload = Offload()


class NodeTable(Table):
    """One of several devices; each table inherits the file's table of that name key by key."""

    name: Annotated[str, Field(strict=True, pattern=r"^[^\s:.]+$")]
    workload: dict[str, Any] = {}
    device: dict[str, Any] = {}
    link: dict[str, Any] = {}
    offload: dict[str, Any] = {}


class Document(Table):
    """The whole file, its inheritable tables still unread."""

    schema_version: Literal[1] = Field(1, alias="schema")
    title: Text
    duration_s: Duration = Field(alias="duration")
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)]
    replications: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    workload: dict[str, Any] = {}
    device: dict[str, Any] = {}
    cloud: dict[str, Any] | None = None
    link: dict[str, Any] | None = None
    offload: dict[str, Any] = {}
    node: Annotated[tuple[NodeTable, ...], Field(max_length=10_000)] = ()
    compare: dict[str, list[Any]] = {}
    expect: tuple[Expect, ...] = ()
    claim: tuple[Claim, ...] = ()
