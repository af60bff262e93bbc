"""The record of a bench: what every kernel costs on every device; the same file is the baseline of the next one."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reports.store import RecordError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Chip(_Frozen):
    """A device as it was benched; ``tables`` is a fingerprint of its core, memories, clock and power.

    ``peak_macs_per_cycle`` is that of all threads together.
    """

    title: str
    core: str
    frequency_hz: float
    threads: int
    peak_macs_per_cycle: float
    tables: str


class Measured(_Frozen):
    """One kernel on one device.

    Parameters
    ----------
    group
        The network, operator, generator or file it belongs to.
    options, chosen
        What the suite asked of the generator, "" for the best; what the Program was made with.
    layers
        The layers of the network that are this kernel; empty for a kernel on its own.
    cycles
        From call to return at the device's clock, memory and launch included. [cycle]
    loaded_bytes, stored_bytes
        By the core's own instructions, to and from its outermost space. [B]
    read_bytes, written_bytes
        By memory level, nearest first. [B]
    code_bytes
        None where the encoding is not known. [B]
    causes
        Where the cycles go; they add up to ``cycles``.
    resources
        Cycles that each resource of the core alone would need.
    instructions
        Executed, by mnemonic; empty for a rate per element.
    program
        Digest of what is executed; None for a rate per element.
    """

    group: str
    kernel: str
    options: str = ""
    chosen: str = ""
    device: str
    isa: str
    layers: tuple[str, ...] = ()
    macs: int
    cycles: float
    time_s: float
    energy_j: float
    loaded_bytes: int
    stored_bytes: int
    read_bytes: dict[str, int] = {}
    written_bytes: dict[str, int] = {}
    code_bytes: int | None = None
    macs_per_cycle: float
    share_of_peak: float
    bound: str
    causes: dict[str, float]
    resources: dict[str, float] = {}
    instructions: dict[str, int] = {}
    program: str | None = None

    @property
    def times(self) -> int:
        """How often the kernel runs in its group."""
        return max(1, len(self.layers))

    @property
    def bytes(self) -> int:
        """Bytes that cross all levels, and those of the core's own loads and stores. [B]"""
        levels = sum(self.read_bytes.values()) + sum(self.written_bytes.values())
        return self.loaded_bytes + self.stored_bytes + levels

    @property
    def title(self) -> str:
        """The kernel and the options it was asked for."""
        return f"{self.kernel} [{self.options}]" if self.options else self.kernel

    @property
    def name(self) -> str:
        """What identifies the row in a record."""
        return f"{self.group}: {self.title} on {self.device} ({self.isa})"


class Bench(_Frozen):
    """Every kernel of a suite on every device; ``generators`` is a fingerprint of what made the Programs."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    suite: str
    generators: str
    devices: dict[str, Chip]
    kernels: tuple[Measured, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Bench:
        names = [row.name for row in self.kernels]
        if twice := sorted(name for name, times in Counter(names).items() if times > 1):
            raise ValueError(f"{twice[0]!r} is there twice")
        return self


def to_data(bench: Bench) -> dict[str, Any]:
    """Return a record as plain data with every field, its kernels by name."""
    table = bench.model_dump(mode="json", by_alias=True)
    return table | {"kernels": {row.name: row.model_dump(mode="json") for row in _sorted(bench)}}


def to_json(bench: Bench) -> str:
    """Return a record as text: kernels sorted by name, a line each, without empty fields; a difference reads well."""
    table = bench.model_dump(by_alias=True)
    head = [f'  "{key}": {_text(table[key])},' for key in ("schema", "suite", "generators")]
    devices = _lines(dict(sorted(table["devices"].items())))
    kernels = _lines({row.name: row.model_dump(exclude_defaults=True) for row in _sorted(bench)})
    return "\n".join(["{", *head, f'  "devices": {devices},', f'  "kernels": {kernels}', "}"]) + "\n"


def _sorted(bench: Bench) -> list[Measured]:
    return sorted(bench.kernels, key=lambda row: row.name)


def _lines(tables: dict[str, dict[str, Any]]) -> str:
    """Write tables, a line each."""
    found = [f"    {_text(name)}: {_text(table)}" for name, table in tables.items()]
    return "{\n" + ",\n".join(found) + "\n  }" if found else "{}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)


def read(path: Path) -> Bench:
    """Read a record.

    Raises
    ------
    RecordError
        With every fault: not JSON, another schema, missing, unknown or wrong fields, a kernel under a foreign name.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(path, [f"cannot be read as text: {error}"]) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordError(path, [f"is not JSON: {error}"]) from error
    return from_data(raw, path)


def from_data(raw: Any, path: object = "baseline") -> Bench:
    """Return the record that plain data describes; see ``read``."""
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != SCHEMA or isinstance(found, bool):
        raise RecordError(path, [f"schema: found {found!r}; this version reads {SCHEMA}; accept a new baseline"])
    named = raw.get("kernels")
    if not isinstance(named, dict):
        raise RecordError(path, ["kernels: expected a table of kernels by name"])
    try:
        bench = Bench.model_validate_json(json.dumps(raw | {"kernels": list(named.values())}), strict=True)
    except ValidationError as error:
        raise RecordError(
            path, [_problem(dict(fault), list(named)) for fault in error.errors(include_url=False)]
        ) from error
    wrong = [name for name, row in zip(named, bench.kernels, strict=True) if name != row.name]
    if wrong:
        raise RecordError(
            path, [f"kernels: {name!r} is the name of another kernel than its fields say" for name in wrong]
        )
    return bench


def _problem(fault: dict[str, Any], names: list[str]) -> str:
    steps = [str(step) for step in fault["loc"]]
    if steps[:1] == ["kernels"] and len(steps) > 1 and steps[1].isdecimal():
        steps[1] = repr(names[int(steps[1])])
    found = fault["input"]
    shown = "" if isinstance(found, dict | list) else f"; found {found!r}"
    return f"{'.'.join(steps) or 'file'}: {fault['msg'][0].lower()}{fault['msg'][1:]}{shown}"
