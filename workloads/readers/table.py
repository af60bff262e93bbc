"""Read a layer table (.csv): networks known by their shapes only, for costing."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError, did_you_mean
from workloads.graph import layer_macs
from workloads.readers import limits
from workloads.readers.table_rows import OPERATORS, SHAPE_ARITHMETIC, add_row
from workloads.readers.table_wiring import Wiring

if TYPE_CHECKING:
    from workloads.graph import Graph

COLUMNS = (
    "network", "index", "op", "input_shape", "weight_shape", "output_shape", "kernel", "stride", "macs", "params",
    "dtype",
)  # fmt: skip
DTYPES = {"INT8": "int8", "Q7": "int8", "UINT8": "uint8", "INT16": "int16", "INT32": "int32", "FLOAT32": "float32"}


@dataclass(frozen=True)
class Row:
    """One line of a table, decoded; ``line`` is its place in the file."""

    line: int
    op: str
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    macs: int
    params: int
    dtype: str


def networks(path: str | Path) -> tuple[str, ...]:
    """Return the names of the networks in a table, in the file's order."""
    return tuple(dict.fromkeys(record["network"] for _, record in _records(Path(path))))


def read(path: str | Path, network: str = "") -> Graph:
    """Read one network of a layer table; without a name the table must hold only one.

    A table has no edges, so they are inferred: a layer reads the latest output of its input shape, preferring one that
    nothing has read; the second operand of a sum is the latest output of its shape that the first was not computed from
    directly. Operators that presage cannot cost become Unmodelled layers.

    Raises
    ------
    InputError
        The file, the name, a row, or its agreement with the macs and params columns is wrong; all faults at once.
    """
    path = Path(path)
    records = _records(path)
    names = list(dict.fromkeys(record["network"] for _, record in records))
    if not network and len(names) == 1:
        network = names[0]
    if network not in names:
        hint = did_you_mean(network, names) if network else f"add '#' and one of: {', '.join(names)}"
        raise InputError(path, [f"network {network!r} is not in the table; {hint}"])
    problems: list[str] = []
    rows = [_row(line, record, problems) for line, record in records if record["network"] == network]
    wiring = Wiring.start(network)
    for row in rows:
        if row is not None and not problems:
            problems += _add(wiring, row)
    if problems:
        raise InputError(path, problems)
    return wiring.finished()


def _add(wiring: Wiring, row: Row) -> list[str]:
    """Add a row and compare the result with what the table counted."""
    where = f"line {row.line} ({row.op})"
    before = len(wiring.builder.layers)
    try:
        add_row(wiring, row)
    except ValueError as error:
        return [f"{where}: {error}"]
    graph = wiring.builder.build([])
    macs = sum(layer_macs(graph, layer) for layer in graph.layers[before:])
    if macs != row.macs:
        return [f"{where}: the macs column says {row.macs}, the shapes give {macs}"]
    return []


def _records(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line numbers and fields of all rows."""
    data = limits.read_file(path, limits.MAX_TABLE_BYTES)
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(path, [f"not a layer table: columns {', '.join(missing)} are missing"])
        records = [(reader.line_num, record) for record in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, [f"not a layer table: {error}"]) from error
    ragged = [line for line, record in records if None in record or None in record.values()]
    if ragged or not records:
        problem = f"lines {ragged} do not have {len(COLUMNS)} fields" if ragged else "the table has no rows"
        raise InputError(path, [problem])
    return records


def _row(line: int, record: dict[str, str], problems: list[str]) -> Row | None:
    """Decode one row; faults are added to ``problems``."""
    faults = []
    extents: dict[str, tuple[int, ...]] = {}
    for column in ("input_shape", "weight_shape", "output_shape", "kernel", "stride"):
        text = record[column].strip()
        if text and not re.fullmatch(r"\d{1,9}(x\d{1,9})*", text):
            faults.append(f"{column} is {text!r}, expected extents like 1x32x32x3")
            text = ""
        extents[column] = tuple(int(part) for part in text.split("x")) if text else ()
        if extents[column]:
            faults += limits.shape_problems(column, extents[column])
    counts = {}
    for column in ("macs", "params"):
        if not re.fullmatch(r"\d{1,18}", record[column].strip()):
            faults.append(f"{column} is {record[column]!r}, expected a count")
        counts[column] = int(record[column]) if not faults else 0
    if record["dtype"] not in DTYPES:
        faults.append(f"dtype {record['dtype']!r} is unknown; {did_you_mean(record['dtype'], DTYPES)}")
    if record["op"] not in SHAPE_ARITHMETIC and not (extents["input_shape"] and extents["output_shape"]):
        faults.append("input_shape and output_shape must be given")
    if not record["op"].strip():
        faults.append(f"op is empty; expected a TFLite operator such as {', '.join(sorted(OPERATORS)[:3])}")
    if faults:
        problems += [f"line {line} ({record['op']}): {fault}" for fault in faults]
        return None
    return Row(
        line, record["op"], extents["input_shape"], extents["weight_shape"], extents["output_shape"],
        extents["kernel"], extents["stride"], counts["macs"], counts["params"], DTYPES[record["dtype"]],
    )  # fmt: skip
