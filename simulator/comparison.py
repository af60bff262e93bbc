"""Comparison: dotted keys with lists of values, one point for each combination."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_POINTS = 1000


def comparison_faults(compare: Mapping[str, list[Any]]) -> list[str]:
    """Return what is wrong with the comparison itself, before its values are tried."""
    faults = [f"compare.{key!r}: no values; list at least one" for key, values in compare.items() if not values]
    faults += [
        f"compare.{key!r}: the value {value!r} is listed twice"
        for key, values in compare.items()
        for value in _repeated([str(item) for item in values])
    ]
    faults += [
        f"compare.{key!r}: is no key that can be compared; expected duration, or a table's key like 'offload.policy'"
        for key in compare
        if "." not in key and key != "duration"
    ]
    count = 1
    for values in compare.values():
        count *= max(1, len(values))
    if count > MOST_POINTS:
        faults.append(f"compare: {count} combinations; expected at most {MOST_POINTS}; list fewer values")
    return faults


def _repeated(texts: list[str]) -> list[str]:
    return sorted({text for text in texts if texts.count(text) > 1})


def points_of(compare: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values, the last key varying fastest."""
    return [dict(zip(compare, values, strict=True)) for values in itertools.product(*compare.values())]


def label_of(settings: Mapping[str, Any]) -> str:
    """Return the short name of a point: its value, or each key's last part with its value."""
    if not settings:
        return "as written"
    if len(settings) == 1:
        return str(next(iter(settings.values())))
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in settings.items())


def with_settings(table: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the file's tables with dotted keys set, and the keys that lead nowhere.

    A key is "section.key", a key of the file itself, or "node.<name>.section.key".
    """
    changed = copy.deepcopy(dict(table))
    faults = []
    for dotted, value in settings.items():
        parts = dotted.split(".")
        target: Any = changed
        if parts[0] == "node" and len(parts) > 2:
            rows = [row for row in changed.get("node", []) if isinstance(row, dict) and row.get("name") == parts[1]]
            if not rows:
                faults.append(f"compare.{dotted!r}: there is no node {parts[1]!r}")
                continue
            target, parts = rows[0], parts[2:]
        for part in parts[:-1]:
            target = target.setdefault(part, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict) or parts[0] in ("compare", "expect", "claim", "node"):
            faults.append(f"compare.{dotted!r}: is no key of a table that can be compared")
            continue
        target[parts[-1]] = value
    return changed, faults
