"""Devices as the command shows them: an overview, or every figure of one with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from device_models.device import device_names, load_device
from device_models.figures import figures

if TYPE_CHECKING:
    from device_models.device import Device, Measured

Row = tuple[str, str, str, str]  # name, value, source, range

_SECTIONS = ("clock", "compute", "memory", "power", "supply", "operating_points", "overhead", "operators")
_FAMILIES = {"thumb2": "Arm Cortex-M", "rv": "RISC-V", "avx": "x86", "davinci": "DaVinci accelerators"}  # by first set
_DOUBLES = "Test doubles"


def overview() -> list[dict[str, Any]]:
    """Return one row per device of the catalogue, family by family: what it is and what it could do at best."""
    order = [*_FAMILIES.values(), _DOUBLES]
    devices = sorted(map(load_device, device_names()), key=lambda device: (order.index(family(device)), device.name))
    return [
        {
            "family": family(device),
            "name": device.name,
            "title": device.title,
            "core": device.core.name,
            "cores": device.cores,
            "frequency_hz": device.frequency_hz,
            "peak_macs_per_s": device.peak_macs_per_s,
            "instruction_sets": ", ".join(device.core.instruction_sets),
        }
        for device in devices
    ]


def family(device: Device) -> str:
    """Return what kind of device it is, by the instruction set that code is generated for."""
    if device.core.model == "fixed":
        return _DOUBLES
    first = device.core.instruction_sets[0]
    return next(name for start, name in _FAMILIES.items() if first.startswith(start))


def describe(name: str) -> dict[str, Any]:
    """Return every figure of a device and of its core, section by section, with the references.

    Raises
    ------
    InputError
        There is no such device, or its file is wrong.
    """
    device = load_device(name)
    sections = {section: _rows(getattr(device, section)) for section in _SECTIONS}
    sections["measured"] = [row for each in device.measured for row in _measured(each)]
    sections["error band without calibration"] = _rows(device.core.band)
    sections[f"core {device.core.name}: {device.core.title}"] = _core(device.core.timing)
    return {
        "name": device.name,
        "title": device.title,
        "core": device.core.name,
        "instruction_sets": list(device.core.instruction_sets),
        "sections": {title: rows for title, rows in sections.items() if rows},
        "sources": _references(device),
    }


def _rows(record: Any) -> list[Row]:
    """Read the figures of a table as rows; an assumed value's text ends with its range in brackets."""
    rows = []
    for place, text, source in figures(record):
        value, _, spread = text.partition(" (")
        rows.append((place, value, source, spread.removesuffix(")")))
    return rows


def _measured(row: Measured) -> list[Row]:
    """Name the figures of a measured row by its model and runtime."""
    about = f"{row.model}, {row.runtime}, {row.precision}"
    return [(f"{place} of {about}", value, source, spread) for place, value, source, spread in _rows(row)]


def _core(timing: Any) -> list[Row]:
    """Read a core's figures, each group of instructions as one row with all its timings."""
    rows = [row for row in _rows(timing) if not row[0].startswith("timing[")]
    for group in getattr(timing, "timing", ()):
        given = group.model_dump(exclude_defaults=True, exclude={"instructions", "source", "spread"})
        name = ", ".join(group.instructions) + (f" ({', '.join(group.sets)})" if group.sets else "")
        texts = (f"{key} {_text(value)}" for key, value in given.items() if key != "sets")
        spread = (f"{key} {ends}" for key, ends in getattr(group, "spread", {}).items())
        rows.append((name, "; ".join(texts), group.source, "; ".join(spread)))
    return rows


def _text(value: object) -> str:
    """Write a timing: ports of each micro-operation, cycles by element width, or a number."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, tuple):
        return " + ".join(map(str, value)) if value and isinstance(value[0], str) else "/".join(f"{v:g}" for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _references(device: Device) -> dict[str, str]:
    """Return the references of the device file and of its core file; a key in both keeps both texts."""
    references = dict(device.sources)
    for key, text in device.core.sources.items():
        references[key if references.get(key, text) == text else f"{key} (core)"] = text
    return references
