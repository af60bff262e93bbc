"""Scenario: a deployment read from its file, checked completely, as the points that are to be run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.checks import node_faults, stated_faults, total_faults
from simulator.comparison import comparison_faults, label_of, points_of, with_settings
from simulator.inheritance import read_tables
from simulator.json_schema import json_schema
from workloads import shipped
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.schema import Claim, Cloud, Document, Expect, Sections

__all__ = ["Point", "Scenario", "check", "json_schema", "load_scenario", "parse_scenario"]


@dataclass(frozen=True)
class Point:
    """One point of the comparison: its settings, and the nodes and the cloud that they make.

    Parameters
    ----------
    values, settings
        Dotted key -> value, as in the file and as text; empty without a comparison.
    nodes
        (name, sections) of each node.
    """

    label: str
    values: Mapping[str, Any]
    settings: Mapping[str, str]
    nodes: tuple[tuple[str, Sections], ...]
    cloud: Cloud | None
    duration_s: float


@dataclass(frozen=True)
class Scenario:
    """A deployment to play through.

    Parameters
    ----------
    folder
        Where the scenario's own files are looked for.
    text
        The file as written, for the record.
    question
        The file's first comment line, or its title.
    """

    folder: Path
    text: str
    title: str
    question: str
    duration_s: float
    seed: int
    replications: int
    points: tuple[Point, ...]
    expects: tuple[Expect, ...]
    claims: tuple[Claim, ...]


def find_scenario(name: Path | str) -> Path:
    """Return the file that a path, or the name of a shipped scenario, stands for.

    Raises
    ------
    InputError
        The name is neither.
    """
    return shipped.find(name, shipped.folder_of("scenarios"), "scenario")


def load_scenario(path: Path | str, *, seed: int | None = None) -> Scenario:
    """Read and check a scenario file, or a shipped scenario by name.

    Parameters
    ----------
    seed
        Replaces the file's seed.

    Raises
    ------
    InputError
        The file cannot be read or is wrong; all faults at once.
    """
    path = find_scenario(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(path, [f"cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise InputError(path, ["is not UTF-8 text"]) from None
    return parse_scenario(text, path=path, seed=seed)


def check(path: Path | str) -> list[str]:
    """Return the faults of a scenario file, one line each; none when it is fine."""
    try:
        load_scenario(path)
    except InputError as error:
        return list(error.problems)
    return []


def parse_scenario(text: str, *, path: Path = Path("scenario.toml"), seed: int | None = None) -> Scenario:
    """Read and check the text of a scenario file; ``path`` names it in errors and finds its files.

    Raises
    ------
    InputError
        The text is wrong; all faults at once.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a TOML error, or a number of absurd length
        raise InputError(path, [f"is not TOML: {error}"]) from None
    if seed is not None:
        table["seed"] = seed
    compare = table.get("compare", {})
    usable = isinstance(compare, dict) and all(isinstance(values, list) and values for values in compare.values())
    faults = comparison_faults(compare) if usable else []
    chosen = points_of(compare) if usable and not faults else [{}]
    read = [_read_point(table, settings, path.parent) for settings in chosen]
    faults += _gathered([found for _, _, found in read], chosen)
    document, points = read[0][0], [point for _, point, _ in read if point is not None]
    faults += total_faults([(point.nodes, point.duration_s) for point in points], document)
    if document is not None and points:
        faults += stated_faults(document, [name for name, _ in points[0].nodes])
    if faults or document is None:
        raise InputError(path, faults)
    return Scenario(
        folder=path.parent,
        text=text,
        title=document.title,
        question=_question(text) or document.title,
        duration_s=document.duration_s,
        seed=document.seed,
        replications=document.replications,
        points=tuple(points),
        expects=document.expect,
        claims=document.claim,
    )


def _read_point(
    table: dict[str, Any], settings: dict[str, Any], folder: Path
) -> tuple[Document | None, Point | None, list[str]]:
    """Return one point of the comparison, checked, with its faults."""
    changed, faults = with_settings(table, settings)
    document, nodes, cloud, found = read_tables(changed, folder)
    faults += found
    duration_s = document.duration_s if document is not None else 0.0
    for name, sections in nodes:
        faults += [fault for fault in node_faults(name, sections, folder, duration_s) if fault not in faults]
    texts = {key: str(value) for key, value in settings.items()}
    return document, Point(label_of(settings), settings, texts, nodes, cloud, duration_s), faults


def _gathered(found: list[list[str]], settings: list[dict[str, Any]]) -> list[str]:
    """Return each fault once; one that only some points have says which is the first of them."""
    everywhere = [fault for fault in found[0] if all(fault in faults for faults in found)]
    gathered = list(everywhere)
    seen = set(everywhere)
    for faults, chosen in zip(found, settings, strict=True):
        for fault in faults:
            if fault not in seen:
                seen.add(fault)
                gathered.append(f"compare ({label_of(chosen)}): {fault}")
    return gathered


def _question(text: str) -> str:
    """Return the text of the first comment line, or nothing."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.lstrip("# ").strip() if first.startswith("#") else ""
