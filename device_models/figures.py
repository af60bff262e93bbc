"""Figures: a value that cannot be written without its source, and the check that sources and figures match."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

T = TypeVar("T")


class Sourced(BaseModel):
    """A table of a data file: frozen, and complete in its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Figure(Sourced, Generic[T]):
    """A value with its source, written ``[value, source]`` or, when assumed, ``[value, source, range]``.

    Parameters
    ----------
    value
        In SI units.
    source
        A key of the file's ``[sources]``.
    low, high
        The range of an assumed value, "low .. high" in the file; None for a sourced one.
    text
        The value, and the range if any, as written.
    """

    value: T
    source: str
    low: T | None = None
    high: T | None = None
    text: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, raw: Any) -> Any:
        if not isinstance(raw, list):
            raise ValueError(f"{raw!r} is a figure without a source; write [value, source]")
        if len(raw) not in (2, 3) or not isinstance(raw[1], str):
            raise ValueError(f"{raw!r} is not a figure; write [value, source] or [value, source, range]")
        table: dict[str, Any] = {"value": raw[0], "source": raw[1], "text": str(raw[0])}
        if len(raw) == 3:
            low, separator, high = str(raw[2]).partition(" .. ")
            if not separator:
                raise ValueError(f'{raw[2]!r} is not a range; write "low .. high"')
            kind = type(raw[0]) if isinstance(raw[0], int | float) else str
            try:
                table |= {"low": kind(low), "high": kind(high), "text": f"{raw[0]} ({raw[2]})"}
            except ValueError:
                raise ValueError(f"{raw[2]!r} is not a range of the same kind as {raw[0]!r}") from None
        return table

    @model_validator(mode="after")
    def _inside(self) -> Figure[T]:
        low: Any = self.low
        high: Any = self.high
        if low is not None and not low <= self.value <= high:
            raise ValueError(f"the value of {self.text!r} is outside its range")
        return self

    @property
    def lowest(self) -> T:
        """The lower end of the range, or the value."""
        return self.value if self.low is None else self.low

    @property
    def highest(self) -> T:
        """The upper end of the range, or the value."""
        return self.value if self.high is None else self.high


def figures(record: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (place, text, source) of each figure and sourced row inside a record."""
    if isinstance(record, Figure):
        yield place, record.text, record.source
    elif isinstance(record, BaseModel):
        if isinstance(source := getattr(record, "source", None), str):
            yield place, ", ".join(getattr(record, "instructions", ())), source
        for name in type(record).model_fields:
            yield from figures(getattr(record, name), f"{place}.{name}" if place else name)
    elif isinstance(record, dict):
        for key, item in record.items():
            yield from figures(item, f"{place}.{key}" if place else str(key))
    elif isinstance(record, list | tuple):
        for index, item in enumerate(record):
            yield from figures(item, f"{place}[{index}]")


def source_faults(records: list[BaseModel], sources: Mapping[str, str]) -> list[str]:
    """Return a line per figure whose source is missing and per source that nothing uses."""
    used = [(place, source) for record in records for place, _, source in figures(record)]
    faults = [f"{place}: source {source!r} is not in [sources]" for place, source in used if source not in sources]
    unused = sorted(set(sources) - {source for _, source in used})
    return faults + [f"sources.{source}: no figure uses it; remove it or name it beside a figure" for source in unused]


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises
    ------
    InputError
        The file cannot be read, is no TOML, or has an unknown schema.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, [f"cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, [f"is not TOML: {error}"]) from None
    if table.get("schema") != 1:
        raise InputError(path, [f"schema: {table.get('schema')!r} is unknown; expected 1"])
    return table


def tidy(faults: list[str]) -> list[str]:
    """Name the figure, not the part of it that pydantic was reading."""
    return [
        fault.replace(".value:", ":").replace(".low:", " (range):").replace(".high:", " (range):") for fault in faults
    ]
