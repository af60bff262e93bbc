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
CLOCKS = {"freq_mhz": 6, "frequency_hz": 0}
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
    line
        Its line in the file.
    latency_s, energy_j
        Of one inference, or of one frame if ``period_s`` is given; None where not published.
    period_s
        Of a duty-cycled row: the energy is that of a whole period, waiting included. [s]
    superseded
        Whether a newer measurement of the same thing is in the file.
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
    if faults:
        raise InputError(path, faults)
    rows = []
    for record in reader:
        try:
            rows.append(_row(reader.line_num, {key: (value or "").strip() for key, value in record.items() if key}))
        except ValueError as error:
            faults.append(f"line {reader.line_num}: {error}")
    if faults:
        raise InputError(path, faults)
    return tuple(rows)


def _row(line: int, record: Mapping[str, str]) -> Measured:
    note = record.get("note", "")
    said = record.get("precision", "").lower()
    batch, threads = _number(record, {"batch": 0}), _number(record, {"threads": 0})
    return Measured(
        line=line,
        device=record.get("device", ""),
        core=record.get("core", record.get("cpu", "")),
        frequency_hz=_number(record, CLOCKS),
        threads=None if threads is None else int(threads),
        runtime=record.get("runtime", ""),
        model=_model(record),
        input=record.get("input", record.get("input_shape", "")),
        precision=PRECISIONS.get(said, said),
        batch=1 if batch is None else int(batch),
        latency_s=_number(record, LATENCIES),
        energy_j=_number(record, ENERGIES),
        period_s=FRAME_S if re.search(r"duty", note, re.IGNORECASE) else None,
        superseded="superseded" in note,
        note=note,
        source=record.get("source", ""),
    )


def _model(record: Mapping[str, str]) -> str:
    """Return the network's name, with its variant or its input's last extent where only they tell which one it is."""
    from device_models.networks import described

    model, extents = record["model"], re.findall(r"\d+", record.get("input", record.get("input_shape", "")))
    longer = [f"{model} {more}" for more in (record.get("variant", ""), *extents[-1:]) if more]
    return next((name for name in longer if described(name)), model)


def _number(record: Mapping[str, str], columns: Mapping[str, int]) -> float | None:
    """Return the first of some columns that holds a number, in SI units; words such as "default" are no number."""
    for name, power in columns.items():
        text = record.get(name, "")
        if not text or (name in ("threads", "batch") and not text.isdecimal()):
            continue
        try:
            value = float(Decimal(text).scaleb(power))
        except InvalidOperation:
            raise ValueError(f"{name} is {text!r}, expected a number") from None
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {text!r}, expected more than zero")
        return value
    return None
