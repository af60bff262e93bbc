"""Quantities at the input edge: decimal text with a unit, parsed exactly into SI floats, and faults in house style."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from workloads.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

# The whole vocabulary of units, in pint's own syntax; nothing else is accepted in a file.
_DEFINITIONS = (
    "pico- = 1e-12 = p-", "nano- = 1e-9 = n-", "micro- = 1e-6 = µ- = u- = μ-", "milli- = 1e-3 = m-",
    "kilo- = 1e3 = k-", "mega- = 1e6 = M-", "giga- = 1e9 = G-", "tera- = 1e12 = T-",
    "kibi- = 1024 = Ki-", "mebi- = 1048576 = Mi-", "gibi- = 1073741824 = Gi-",
    "second = [time] = s", "minute = 60 * second = min", "hour = 3600 * second = h",
    "day = 86400 * second = d", "year = 31557600 * second",
    "hertz = 1 / second = Hz", "gram = [mass] = g = gCO2e", "tonne = 1e6 * gram = t = tCO2e",
    "joule = [energy] = J", "watt = joule / second = W", "watt_hour = 3600 * joule = Wh",
    "ampere = [current] = A", "volt = watt / ampere = V", "ampere_hour = 3600 * ampere * second = Ah",
    "byte = [information] = B", "bit = 0.125 * byte", "bit_per_second = bit / second = bps",
    "cycle = [cycle]", "MAC = [mac]", "element = [element]", "percent = 0.01",
)  # fmt: skip

_NUMBER_AND_UNIT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)\s*(.*?)\s*", re.ASCII)
_NAME = r"[A-Za-zµμ%]\w*"
_UNIT = re.compile(rf"(?:{_NAME}|/(?=[A-Za-z]))(?:[*/]?{_NAME}|/\({_NAME}(?:[*/]{_NAME})?\))*")


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its SI unit, the units its error message offers, and an example."""

    unit: str
    accepted: tuple[str, ...]
    example: str


@cache
def _registry() -> Any:
    """Return pint's registry of exactly the units above, with exact decimals."""
    import pint  # half a second: only when a quantity is read

    registry: Any = pint.UnitRegistry(None, non_int_type=Decimal)
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry


@cache
def _unit(text: str) -> tuple[Decimal, str] | None:
    """Return a unit's factor to base units and its dimensionality; None when it is not a unit."""
    from pint.errors import PintError

    text = text.replace(" ", "")
    if _UNIT.fullmatch(text) is None:
        return None
    text = text.replace("%", "percent")
    try:
        quantity = _registry().parse_expression(f"1{text}" if text.startswith("/") else text).to_root_units()
    except (PintError, AttributeError):
        return None  # a name that is no unit
    return Decimal(quantity.magnitude), str(quantity.dimensionality)


def parse_quantity(raw: object, dimension: Dimension) -> float:
    """Return a quantity as an SI float, exactly rounded once: "121.9 mW" is 0.1219.

    Parameters
    ----------
    raw
        What the file holds; only text with a unit is accepted.
    dimension
        What is expected.

    Raises
    ------
    ValueError
        The text is not a non-negative number with a unit of the dimension.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f'{raw!r} is not a quantity; write it as text, e.g. "{dimension.example}"')
    match = _NUMBER_AND_UNIT.fullmatch(raw) if isinstance(raw, str) else None
    if not isinstance(raw, str) or (match is not None and not match[2]):
        raise ValueError(f'{raw!r} has no unit; write it as text, e.g. "{dimension.example}"')
    if match is None:
        raise ValueError(f'{raw!r} is not a number with a unit; write e.g. "{dimension.example}"')
    magnitude, unit = Decimal(match[1]), match[2]
    found, expected = _unit(unit), _unit(dimension.unit)
    if expected is None:
        raise RuntimeError(f"dimension unit {dimension.unit!r} is not defined")
    if found is None or found[1] != expected[1]:
        expectation = ", ".join(dimension.accepted)
        many = "one of " if len(dimension.accepted) > 1 else ""
        raise ValueError(f"{raw!r} has unit {unit!r}; expected {many}{expectation} (with an SI prefix)")
    if magnitude < 0:
        raise ValueError(f"{raw!r} is negative; expected at least 0 {dimension.accepted[0]}")
    value = float(magnitude * found[0] / expected[0])
    if value == float("inf"):
        raise ValueError(f"{raw!r} is too large")
    return value


def _quantity(unit: str, accepted: tuple[str, ...], example: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """Return the pydantic annotations of a quantity."""
    dimension = Dimension(unit, accepted, example)
    schema = {"type": "string", "description": f"a number with a unit: {', '.join(accepted)}", "examples": [example]}
    return BeforeValidator(lambda raw: parse_quantity(raw, dimension)), WithJsonSchema(schema)


def _ratio(raw: object) -> object:
    """Read a share: a bare number, or text in percent."""
    return parse_quantity(raw, Dimension("percent", ("%",), "90 %")) / 100 if isinstance(raw, str) else raw


Seconds = Annotated[float, *_quantity("s", ("s", "min", "h", "d"), "100 ms")]
Hertz = Annotated[float, *_quantity("Hz", ("Hz",), "280 MHz")]
PerSecond = Annotated[float, *_quantity("/s", ("/s", "/min", "/h", "/d"), "1 /s")]
Watts = Annotated[float, *_quantity("W", ("W",), "121.9 mW")]
WattsPerHertz = Annotated[float, *_quantity("W/Hz", ("W/Hz",), "0.1 mW/MHz")]
Joules = Annotated[float, *_quantity("J", ("J", "Wh"), "3.7 Wh")]
Volts = Annotated[float, *_quantity("V", ("V",), "3.7 V")]
Amperes = Annotated[float, *_quantity("A", ("A",), "20 mA")]
Bytes = Annotated[float, *_quantity("B", ("B", "bit"), "512 KiB")]
BytesPerSecond = Annotated[float, *_quantity("B/s", ("B/s",), "862 MB/s")]
BitsPerSecond = Annotated[float, *_quantity("bit/s", ("bit/s", "B/s"), "5 Mbit/s")]
BytesPerCycle = Annotated[float, *_quantity("B/cycle", ("B/cycle",), "64 B/cycle")]
Cycles = Annotated[float, *_quantity("cycle", ("cycle",), "8 cycle")]
CyclesPerElement = Annotated[float, *_quantity("cycle/element", ("cycle/element",), "100 cycle/element")]
MacsPerCycle = Annotated[float, *_quantity("MAC/cycle", ("MAC/cycle",), "2 MAC/cycle")]
JoulesPerCycle = Annotated[float, *_quantity("J/cycle", ("J/cycle",), "0.45 nJ/cycle")]
JoulesPerMac = Annotated[float, *_quantity("J/MAC", ("J/MAC",), "0.5 pJ/MAC")]
JoulesPerByte = Annotated[float, *_quantity("J/B", ("J/B", "J/bit"), "100 pJ/B")]
JoulesPerBit = Annotated[float, *_quantity("J/bit", ("J/bit", "J/B"), "20 nJ/bit")]
WattsPerBitPerSecond = Annotated[float, *_quantity("W/(bit/s)", ("W/(bit/s)", "J/bit"), "20 mW/(Mbit/s)")]
GramsPerKilowattHour = Annotated[float, *_quantity("g/(kWh)", ("g/kWh", "gCO2e/kWh"), "581 gCO2e/kWh")]
Grams = Annotated[float, *_quantity("g", ("g", "gCO2e", "t"), "12 kg")]
Ratio = Annotated[float, BeforeValidator(_ratio), Field(ge=0, le=1)]


def _records(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the pydantic records inside an annotation, e.g. of ``dict[str, Radio] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _records(part)


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Return the keys that the table at ``location`` may have."""
    models = [model]
    for key in location:
        fields = [record.model_fields[key] for record in models if isinstance(key, str) and key in record.model_fields]
        models = [found for field in fields for found in _records(field.annotation)] or models
    return {field.alias or name for record in models for name, field in record.model_fields.items()}


def _place(location: tuple[int | str, ...]) -> str:
    """Write a location as in the file: ``device.expect[0].metric``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in location)
    return text.removeprefix(".") or "file"


def _fault(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Write one fault: where, what was found, what was expected."""
    location, found = error["loc"], error["input"]
    where = _place(location)
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; {did_you_mean(str(location[-1]), _known_keys(model, location[:-1]))}"
        case "missing":
            return f"{where}: required key is missing"
        case "value_error":
            return f"{where}: {error['ctx']['error']}"
    expectation = error["msg"].replace("Input should be", "expected", 1)
    shown = repr(found) if len(repr(found)) <= 80 else f"{repr(found)[:77]}..."
    return f"{where}: {shown}; {expectation[0].lower()}{expectation[1:]}"


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return every fault of a validated file, one line each, with a suggestion for unknown keys.

    Parameters
    ----------
    error
        What pydantic raised.
    model
        The record that was validated: its keys are the ones suggested.
    """
    return [_fault(detail, model) for detail in error.errors(include_url=False)]
