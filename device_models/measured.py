"""Measurements as data: rows of a CSV, whatever their columns' units, as records in SI units."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Columns and their powers of ten; of latencies the preferred first: the least of a loop is free of interruptions.
LATENCIES = {
    "latency_min_ms": -3, "latency_ms": -3, "latency_avg_ms": -3, "batch_latency_ms_per_chip": -3, "latency_us": -6,
    "latency_s": 0,
}  # fmt: skip
ENERGIES = {"energy_uj": -6, "energy_mj": -3, "energy_j": 0}
SUPPLIES = {"supply_v": 0}
BATCHES, THREADS = {"batch": 0}, {"threads": 0}
CLOCKS = {"freq_mhz": 6, "frequency_hz": 0}
TASKS = {"paddle-lite": "paddle-lite"}  # a runtime, in files that name it as a task
CHIPS = "fps_per_chip"  # a column of Ascend's model zoo, whose networks run with CANN
FRAME_S = 0.032  # of the streaming wake-word benchmark, whose rows are duty-cycled
PRECISIONS = {
    "": "int8", "int8": "int8", "uint8": "int8", "q7": "int8", "int4": "int4", "fp16": "fp16", "float16": "fp16",
    "fp32": "fp32", "float32": "fp32", "fp16 storage if zvfh/zfh else fp32": "fp32",
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One row.

    Parameters
    ----------
    line, file
        Its line in the file, and the file's name.
    latency_s, energy_j
        Of one inference, or of one frame if ``period_s`` is given; None where not published.
    period_s
        Of a duty-cycled row: the energy is that of a whole period, waiting included. [s]
    supply_v
        Of the chip, from a column or the note; None where not stated. [V]
    superseded
        Whether a newer measurement of the same thing is in the file.
    isa, year
        What the code was built for, and when the row was published; empty and None where not told.
    tuned
        Whether kernels were searched on the board, instead of taken as the library has them.
    """

    line: int
    device: str
    core: str
    frequency_hz: float | None
    threads: int | None
    runtime: str
    model: str
    input: str
    precision: str
    batch: int
    latency_s: float | None
    energy_j: float | None
    period_s: float | None
    superseded: bool
    note: str
    source: str
    isa: str = ""
    year: int | None = None
    file: str = ""
    tuned: bool = False
    supply_v: float | None = None

    @property
    def place(self) -> str:
        """Where the row stands, e.g. "mcu.csv:12"."""
        return f"{self.file}:{self.line}"


def read_measured(path: Path) -> tuple[Measured, ...]:
    """Return the rows of a CSV with the columns ``model`` and a latency or an energy, and others as known.

    Raises
    ------
    InputError
        The file cannot be read or has no such columns, or a number is none; all faults at once.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, [f"cannot be read: {error}"]) from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = set(reader.fieldnames or ())
    found = ", ".join(sorted(names)) or "none"
    faults = [] if "model" in names else [f"column 'model' is missing; found: {found}"]
    if not names & {*LATENCIES, *ENERGIES}:
        faults.append(f"no column holds a latency or an energy; name one of {', '.join([*LATENCIES, *ENERGIES])}")
    rows: list[Measured] = []
    for record in () if faults else reader:
        wrong: list[str] = []
        row = _row(path.name, reader.line_num, record, wrong)
        rows.append(row)
        faults += [f"line {reader.line_num}: {fault}" for fault in wrong]
    if faults:
        raise InputError(path, faults)
    return tuple(rows)


def _row(file: str, line: int, fields: Mapping[str, str | None], faults: list[str]) -> Measured:
    """Return a row; what is wrong with it is added to ``faults``."""
    if None in fields or None in fields.values():
        faults.append(f"it has {'more' if None in fields else 'fewer'} fields than there are columns")
    record = {key: (value or "").strip() for key, value in fields.items() if key}
    if not record["model"]:
        faults.append("model is empty, expected the name of a network")
    note = record.get("note", "")
    said = record.get("precision", "").lower()
    batch, threads, frequency_hz, latency_s, energy_j, supply_v = (
        _number(record, columns, faults) for columns in (BATCHES, THREADS, CLOCKS, LATENCIES, ENERGIES, SUPPLIES)
    )
    stated = re.search(r"\b(\d(?:\.\d+)?) ?V\b", note)
    return Measured(
        line=line,
        device=record.get("device", ""),
        core=record.get("core", record.get("cpu", "")),
        frequency_hz=frequency_hz,
        threads=None if threads is None else int(threads),
        runtime=record.get("runtime", TASKS.get(record.get("task", ""), "cann" if CHIPS in record else "")),
        model=_model(record),
        input=record.get("input", record.get("input_shape", "")),
        precision=PRECISIONS.get(said, said),
        batch=1 if batch is None else int(batch),
        latency_s=latency_s,
        energy_j=energy_j,
        period_s=FRAME_S if re.search(r"duty", note, re.IGNORECASE) else None,
        superseded="superseded" in note,
        note=note,
        source=record.get("source", ""),
        isa=record.get("isa", ""),
        year=None if (added := re.search(r"line added (\d{4})-", note)) is None else int(added[1]),
        file=file,
        supply_v=float(stated[1]) if supply_v is None and stated else supply_v,
        tuned="tuned" in record.get("variant", ""),
    )


def _model(record: Mapping[str, str]) -> str:
    """Return the network's name, with its variant or its input's last extent where only they tell which one it is."""
    from device_models.networks import described

    model, extents = record["model"], re.findall(r"\d+", record.get("input", record.get("input_shape", "")))
    longer = [f"{model} {more}" for more in (record.get("variant", ""), *extents[-1:]) if more]
    return next((name for name in longer if described(name)), model)


def _number(record: Mapping[str, str], columns: Mapping[str, int], faults: list[str]) -> float | None:
    """Return the first of some columns that holds a number, in SI units; words such as "default" are no count."""
    for name, power in columns.items():
        text = record.get(name, "")
        if not text or (columns in (BATCHES, THREADS) and not text.isdecimal()):
            continue
        try:
            value = float(Decimal(text).scaleb(power))
        except InvalidOperation:
            faults.append(f"{name} is {text!r}, expected a number")
            return None
        if not (math.isfinite(value) and value > 0):
            faults.append(f"{name} is {text!r}, expected more than zero")
        return value
    return None
