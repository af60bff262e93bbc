"""Inheritance: each node's tables are the file's tables, overridden key by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from device_models.quantities import faults_of
from simulator.schema import Document, Sections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from simulator.schema import Cloud

SECTIONS = ("workload", "device", "link", "offload")
Nodes = tuple[tuple[str, "Sections"], ...]


def read_tables(table: Mapping[str, Any], folder: Path) -> tuple[Document | None, Nodes, Cloud | None, list[str]]:
    """Return the file's own keys, its nodes, its cloud, and every fault of the schema."""
    document, faults = None, []
    try:
        document = Document.model_validate(table)
    except ValidationError as error:
        faults = faults_of(error, Document)
    nodes: list[tuple[str, Sections]] = []
    cloud = None
    for name, own in _nodes(table):
        sections, found = _sections(table, name, own, folder)
        faults += [fault for fault in found if fault not in faults]
        if sections is not None:
            nodes.append((name, sections))
            cloud = sections.cloud
    names = [name for name, _ in nodes]
    faults += [f"node: the name {name!r} is used twice" for name in sorted({n for n in names if names.count(n) > 1})]
    return document, tuple(nodes), cloud, faults


def _nodes(table: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (name, own tables) of each node that can be read; without any there is one, "device"."""
    if not table.get("node"):
        return [("device", {})]
    rows = table["node"] if isinstance(table["node"], list) else []
    return [(row["name"], row) for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]


def _sections(
    table: Mapping[str, Any], name: str, own: Mapping[str, Any], folder: Path
) -> tuple[Sections | None, list[str]]:
    """Return one node after inheritance, or its faults, each placed where its key is written."""
    merged = {}
    for section in SECTIONS:
        inherited, mine = table.get(section, {}), own.get(section, {})
        if not isinstance(inherited, dict) or not isinstance(mine, dict):
            return None, []  # the document's own check says so
        if section in ("workload", "device") or inherited or mine:
            merged[section] = {**inherited, **mine}
    if "cloud" in table:
        merged["cloud"] = table["cloud"]
    try:
        return Sections.model_validate(merged, context={"folder": folder}), []
    except ValidationError as error:
        return None, [_placed(fault, name, own) for fault in faults_of(error, Sections)]


def _placed(fault: str, name: str, own: Mapping[str, Any]) -> str:
    """Prefix the node's name where the faulty key is the node's own."""
    section, _, rest = fault.partition(":")[0].partition(".")
    key = rest.partition(".")[0].partition("[")[0]
    return f"node.{name}.{fault}" if key in own.get(section, {}) else fault
