"""Programs as files: a versioned JSON text from which an equal Program is read, or every fault of it is told."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import MISSING, fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, did_you_mean
from workloads.files import replacing
from workloads.isa import InstructionSet, load_isa
from workloads.legality import faults as legality_faults
from workloads.options import Options
from workloads.program import Address, Buffer, Instruction, Loop, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Reader = Callable[[Any, str, list[str]], Any]

SCHEMA = 1


def save(program: Program, path: str | Path) -> None:
    """Write a Program; the file replaces an older one only when it is whole.

    Raises
    ------
    ValueError
        Its instruction set is none of the shipped ones.
    InputError
        The file cannot be written.
    """
    text = to_json(program)
    with replacing(path) as file:
        file.write(text.encode())


def load(path: str | Path) -> Program:
    """Read a Program and check that its instruction set can run it.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, [f"cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    return from_json(text, path)


def digest(program: Program) -> str:
    """Return a short hash of what a Program executes; equal for Programs that differ in name, notes or options only."""
    isa = (program.isa.name, sorted(program.isa.parameters.items()))
    executed = (isa, program.macs, program.profile, program.buffers, program.body)
    return hashlib.sha256(repr(executed).encode()).hexdigest()[:12]


def to_json(program: Program) -> str:
    """Return a Program as text, an instruction a line."""
    isa = program.isa
    if load_isa(isa.name, **isa.parameters) != isa:
        raise ValueError(
            f"program {program.name!r}: {isa.name!r} is not the shipped set of that name; it has no file form"
        )
    table = {"schema": SCHEMA, **_plain(program)}
    body = table.pop("body")
    head = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in table.items()]
    return "\n".join(["{", *head, '  "body": [', *_lines(body, "    "), "  ]", "}"]) + "\n"


def from_json(text: str, path: str | Path = "program") -> Program:
    """Return the Program that a text holds; see ``load``."""
    try:
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(path, [f"is not JSON: {error}"]) from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA or isinstance(raw["schema"], bool):
        found = raw.get("schema") if isinstance(raw, dict) else raw
        raise InputError(path, [f"schema: found {found!r:.40}; a program file has schema {SCHEMA}"])
    problems: list[str] = []
    program = _program({key: value for key, value in raw.items() if key != "schema"}, "", problems)
    problems = problems or list(legality_faults(program))
    if problems:
        raise InputError(path, problems)
    read: Program = program
    return read


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is there twice: JSON would keep the last."""
    keys = [key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"key {twice[0]!r} is there twice in one table")
    return dict(pairs)


def _no_number(text: str) -> Any:
    raise ValueError(f'{text} is no JSON number; write {{"float": "inf"}}, "-inf" or "nan"')


def _plain(value: Any) -> Any:
    """Return a record as JSON holds it: fields that have their default are left out."""
    if isinstance(value, InstructionSet):
        return {"name": value.name, "parameters": dict(value.parameters)}
    if is_dataclass(value):
        return {
            field.name: _plain(found)
            for field in fields(value)
            if (found := getattr(value, field.name)) != _default(field)
        }
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}  # JSON has no infinity
    return {key: _plain(each) for key, each in value.items()}


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _lines(body: list[dict[str, Any]], indent: str) -> Iterator[str]:
    """Yield the lines of statements: one per instruction, and two around the body of each loop."""
    for index, statement in enumerate(body):
        comma = "," if index < len(body) - 1 else ""
        if "variable" not in statement:
            yield f"{indent}{json.dumps(statement)}{comma}"
            continue
        head = json.dumps({key: value for key, value in statement.items() if key != "body"})
        yield f'{indent}{head[:-1]}, "body": ['
        yield from _lines(statement["body"], indent + "  ")
        yield f"{indent}]}}{comma}"


def _of(kind: type, expected: str) -> Reader:
    """Return the reader of a plain value."""

    def read(raw: Any, place: str, problems: list[str]) -> Any:
        if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
            problems.append(f"{place}: {raw!r:.60}; expected {expected}")
        return raw

    return read


_text, _whole, _truth = _of(str, "a text"), _of(int, "a whole number"), _of(bool, "true or false")


def _list(each: Reader) -> Reader:
    """Return the reader of a list."""

    def read(raw: Any, place: str, problems: list[str]) -> Any:
        if not isinstance(raw, list):
            problems.append(f"{place}: {raw!r:.60}; expected a list")
            return ()
        return tuple(each(item, f"{place}[{index}]", problems) for index, item in enumerate(raw))

    return read


def _table(each: Reader) -> Reader:
    """Return the reader of a table whose keys are free."""

    def read(raw: Any, place: str, problems: list[str]) -> Any:
        if not isinstance(raw, dict):
            problems.append(f"{place}: {raw!r:.60}; expected a table")
            return {}
        return {key: each(item, f"{place}.{key}", problems) for key, item in raw.items()}

    return read


def _record(kind: type, readers: dict[str, Reader]) -> Reader:
    """Return the reader of a record: complete in its keys, no other ones."""
    needed = [field.name for field in fields(kind) if _default(field) is MISSING]

    def read(raw: Any, place: str, problems: list[str]) -> Any:
        if not isinstance(raw, dict):
            problems.append(f"{place or 'file'}: {raw!r:.60}; expected a table with {', '.join(needed)}")
            return None
        where = f"{place}." if place else ""
        problems.extend(f"{where}{key}: unknown key; {did_you_mean(key, readers)}" for key in raw if key not in readers)
        problems.extend(f"{where}{key}: required key is missing" for key in needed if key not in raw)
        before = len(problems)
        values = {key: readers[key](item, f"{where}{key}", problems) for key, item in raw.items() if key in readers}
        return kind(**values) if len(problems) == before and all(key in raw for key in needed) else None

    return read


def _stride(raw: Any, place: str, problems: list[str]) -> Any:
    if isinstance(raw, list) and len(raw) == 2:
        return _text(raw[0], place, problems), _whole(raw[1], place, problems)
    problems.append(f"{place}: {raw!r:.60}; expected [loop variable, bytes]")
    return None


_address = _record(Address, {"buffer": _text, "offset": _whole, "strides": _list(_stride)})


def _operand(raw: Any, place: str, problems: list[str]) -> Any:
    """Read a register's name, an immediate, or an address."""
    if isinstance(raw, dict) and raw.keys() == {"float"} and raw["float"] in ("inf", "-inf", "nan"):
        return float(raw["float"])
    if isinstance(raw, dict):
        return _address(raw, place, problems)
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        problems.append(f"{place}: {raw!r:.60}; expected a register, a number or an address")
    return raw


def _statement(raw: Any, place: str, problems: list[str]) -> Any:
    return (_loop if isinstance(raw, dict) and "variable" in raw else _instruction)(raw, place, problems)


_instruction = _record(
    Instruction,
    {
        "op": _text,
        "destination": _operand,
        "sources": _list(_operand),
        "count": _whole,
        "shape": _list(_whole),
    },
)
_loop = _record(Loop, {"variable": _text, "trips": _whole, "body": _list(_statement)})


def _isa(raw: Any, place: str, problems: list[str]) -> Any:
    """Read a shipped instruction set by name and parameters."""
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or raw.keys() - {"name", "parameters"}:
        problems.append(f"{place}: {raw!r:.60}; expected a table with name and parameters")
        return None
    parameters = _table(_whole)(raw.get("parameters", {}), f"{place}.parameters", problems)
    try:
        return load_isa(raw["name"], **parameters)
    except InputError as error:
        problems.extend(f"{place}: {problem}" for problem in error.problems)
    except (TypeError, ValueError) as error:
        problems.append(f"{place}: {error}")
    return None


_whole_options = ("rows", "columns", "unroll", "lmul", "buffers")
_program = _record(
    Program,
    {
        "name": _text,
        "isa": _isa,
        "buffers": _list(
            _record(Buffer, {"name": _text, "bytes": _whole, "space": _text, "role": _text, "copies": _whole})
        ),
        "body": _list(_statement),
        "macs": _whole,
        "profile": _text,
        "notes": _table(_text),
        "options": _record(Options, dict.fromkeys(_whole_options, _whole) | {"lowering": _text, "fuse": _truth}),
    },
)
