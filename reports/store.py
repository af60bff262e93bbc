"""The record on disk: written whole or not at all, read back strictly."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reports.record import SCHEMA, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RECORD, REQUESTS, PAGE, MARKDOWN = "record.json", "requests.parquet", "report.html", "report.md"


class RecordError(ValueError):
    """A record that cannot be trusted: all its faults at once.

    Parameters
    ----------
    path
        The file, or a word for a record in memory.
    problems
        One line per fault: where, what was found, what was expected.
    """

    def __init__(self, path: object, problems: Sequence[str]) -> None:
        self.path = str(path)
        self.problems = tuple(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        return "\n".join([f"{self.path}: {count}", *(f"  {problem}" for problem in self.problems)])


def write(record: Record, folder: Path) -> Path:
    """Write record, requests and reports into a folder, replacing an earlier run only once all is complete.

    Everything is made in a hidden folder inside ``folder`` first; an interruption, at any time, leaves the
    earlier run as it was. Other files in ``folder`` are left alone.

    Returns
    -------
    folder
        Where ``record.json``, ``requests.parquet``, ``report.html`` and ``report.md`` now are.

    Raises
    ------
    RecordError
        When the record holds what could not be read back; nothing is written then.
    """
    from reports import html, markdown

    problems = list(faults(record))
    if problems:
        raise RecordError("record", problems)
    makers: dict[str, Callable[[Path], None]] = {
        REQUESTS: lambda path: write_requests(record, path),
        PAGE: lambda path: _write_text(path, html.render(record)),
        MARKDOWN: lambda path: _write_text(path, markdown.render(record)),
        # Last, so that a folder with a record has everything else too.
        RECORD: lambda path: _write_text(path, to_json(record)),
    }
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        for name, make in makers.items():
            make(stage / name)
            _flush(stage / name)
        _publish(stage, folder, list(makers))
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if not existed and not any(folder.iterdir()):
            folder.rmdir()
    return folder


def read(path: Path) -> Record:
    """Read a record: its file, or the folder that holds it.

    Raises
    ------
    RecordError
        With every fault: not JSON, another schema, missing, unknown or wrong fields, numbers that are not finite.
    """
    file = path / RECORD if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(file, [f"cannot be read as text: {error}"]) from error
    try:
        raw = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordError(file, [f"is not JSON: {error}; a finished run holds a file {RECORD}"]) from error
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != SCHEMA or isinstance(found, bool):
        raise RecordError(file, [f"schema: found {found!r}; this version reads schema {SCHEMA}"])
    try:
        record = Record.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise RecordError(file, [_problem(dict(fault)) for fault in error.errors(include_url=False)]) from error
    problems = list(faults(record))
    if problems:
        raise RecordError(file, problems)
    return record


def to_json(record: Record) -> str:
    """JSON text of a record, from which ``read`` makes an equal one: floats keep every bit."""
    return record.model_dump_json(by_alias=True, ensure_ascii=False) + "\n"


def faults(record: Record) -> Iterator[str]:
    """Say what in a record contradicts itself or has no place in JSON, one line per fault."""
    labels = [run.label for run in record.runs]
    yield from (
        f"runs: the label {label!r} occurs twice" for label in sorted({x for x in labels if labels.count(x) > 1})
    )
    for index, run in enumerate(record.runs):
        yield from _column_faults(f"runs.{index}.requests.columns", run.requests.columns)
        for node, timeline in run.timelines.items():
            where = f"runs.{index}.timelines.{node}"
            signals = {"time_s": timeline.time_s, **timeline.power_w}
            if timeline.state_of_charge:  # empty for a node on mains
                signals["state_of_charge"] = timeline.state_of_charge
            yield from _length_faults(where, signals)
            if any(later < earlier for earlier, later in zip(timeline.time_s, timeline.time_s[1:], strict=False)):
                yield f"{where}.time_s: runs backwards; expected times in order"


def _column_faults(where: str, columns: dict[str, list[Any]]) -> Iterator[str]:
    yield from _length_faults(where, columns)
    for name, cells in columns.items():
        if set(map(type, cells)) == {float} and all(map(math.isfinite, cells)):
            continue  # most columns, in a fifth of the time
        row = next((row for row, cell in enumerate(cells) if not _is_plain(cell)), None)
        if row is not None:
            yield f"{where}.{name}.{row}: found {cells[row]!r}; expected text, a finite number, true, false or null"


def _is_plain(cell: object) -> bool:
    return cell is None or isinstance(cell, str | int) or (isinstance(cell, float) and math.isfinite(cell))


def _length_faults(where: str, columns: dict[str, list[Any]]) -> Iterator[str]:
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        yield f"{where}: found columns of different lengths {lengths}; expected the same for all"


def _problem(fault: dict[str, Any]) -> str:
    where = ".".join(str(step) for step in fault["loc"]) or "record"
    found = fault["input"]
    shown = "" if isinstance(found, dict | list) else f"; found {found!r}"
    return f"{where}: {fault['msg'][0].lower()}{fault['msg'][1:]}{shown}"


def write_requests(record: Record, path: Path) -> None:
    """Write one row per request of all runs as Parquet, with the run's label in column ``run``.

    A column that only some runs have is null in the others.
    """
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for run in record.runs for name in run.requests.columns))
    table: dict[str, list[Any]] = {"run": [], **{name: [] for name in names}}
    for run in record.runs:
        rows = max((len(cells) for cells in run.requests.columns.values()), default=0)
        table["run"].extend([run.label] * rows)
        for name in names:
            table[name].extend(run.requests.columns.get(name) or [None] * rows)
    pyarrow.parquet.write_table(pyarrow.table({name: _array(cells) for name, cells in table.items()}), path)


def _array(cells: list[Any]) -> Any:
    """Return a typed Arrow array; a column that mixes whole and broken numbers becomes float, other mixes text.

    It is made from buffers: ``pyarrow.array`` would import pandas, which takes longer than writing the file.
    """
    import numpy as np
    import pyarrow

    kinds = {type(cell) for cell in cells if cell is not None}
    kind = next(iter(kinds)) if len(kinds) == 1 else float if kinds == {int, float} else str
    present = np.array([cell is not None for cell in cells], bool)
    values: list[Any] = [kind() if cell is None else kind(cell) for cell in cells]
    if kind is str:
        texts = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        parts = [_bits(present), pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(texts))]
    elif kind is bool:
        parts = [_bits(present), _bits(np.array(values, bool))]
    else:
        parts = [_bits(present), pyarrow.py_buffer(np.array(values, np.int64 if kind is int else np.float64))]
    types = {str: pyarrow.string(), bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64()}
    return pyarrow.Array.from_buffers(types[kind], len(cells), parts, int(np.count_nonzero(~present)))


def _bits(flags: Any) -> Any:
    """Return flags as Arrow packs them, the first in the lowest bit."""
    import numpy as np
    import pyarrow

    return pyarrow.py_buffer(np.packbits(flags, bitorder="little"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _publish(stage: Path, folder: Path, names: Sequence[str]) -> None:
    """Move finished files into place; put the earlier ones back should anything come in between."""
    kept = stage / "earlier"
    kept.mkdir()
    earlier = [name for name in names if (folder / name).exists()]
    for name in earlier:
        shutil.copy2(folder / name, kept / name)
    try:
        for name in names:
            (stage / name).replace(folder / name)
    except BaseException:
        for name in names:
            if name in earlier:
                (kept / name).replace(folder / name)
            elif not (stage / name).exists():
                (folder / name).unlink(missing_ok=True)
        raise
