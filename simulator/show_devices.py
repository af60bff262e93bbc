"""Devices as the command shows them: an overview, or every figure of one with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from device_models.device import device_names, load_device
from device_models.figures import figures

if TYPE_CHECKING:
    from device_models.device import Device

Row = tuple[str, str, str, str]  # name, value, source, range

_SECTIONS = ("clock", "compute", "memory", "power", "overhead", "operators", "measured")


def overview() -> list[dict[str, Any]]:
    """Return one row per device of the catalogue: what it is and what it could do at best."""
    rows = []
    for name in device_names():
        device = load_device(name)
        rows.append(
            {
                "name": name,
                "title": device.title,
                "core": device.core.title,
                "cores": device.cores,
                "frequency_hz": device.frequency_hz,
                "peak_macs_per_s": device.peak_macs_per_s,
                "instruction_sets": ", ".join(device.core.instruction_sets),
            }
        )
    return rows


def describe(name: str) -> dict[str, Any]:
    """Return every figure of a device and of its core, section by section, with the references.

    Raises
    ------
    InputError
        There is no such device, or its file is wrong.
    """
    device = load_device(name)
    sections = {section: _rows(getattr(device, section)) for section in _SECTIONS}
    sections["error band without calibration"] = _rows(device.core.band)
    sections[f"core {device.core.name}: {device.core.title}"] = _rows(device.core.timing)
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


def _references(device: Device) -> dict[str, str]:
    """Return the references of the device file and of its core file; a key in both keeps both texts."""
    references = dict(device.sources)
    for key, text in device.core.sources.items():
        references[key if references.get(key, text) == text else f"{key} (core)"] = text
    return references
