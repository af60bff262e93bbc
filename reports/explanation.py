"""An explained layer as text: each number with its formula, the values in it, and their sources."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

from reports.formats import engineering, integer, percent, significant, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDTH = 100
_NAME, _INDENT = 16, " " * 18
_JOINT = "\u00a0"  # holds a number and its unit together while lines are broken
_WORD = re.compile(r"[A-Za-z_]\w*")


def render(explained: Mapping[str, Any]) -> str:
    """Return the text of an explanation, rows with the keys of ``presage predict --explain --format json``."""
    keys = {key: number for number, key in enumerate(explained["sources"], start=1)}
    share = explained["latency_s"] / explained["total_s"] if explained["total_s"] else 0.0
    where = f"{explained['model']} on {explained['device']}, runtime {explained['runtime']}"
    lines = [
        f"{explained['layer']} ({explained['op']}) of {where}",
        f"{engineering(explained['latency_s'], 's')} of {engineering(explained['total_s'], 's')} ({percent(share)})",
    ]
    for section, terms in explained["terms"].items():
        lines += ["", section]
        for term in terms:
            lines += _term(term, keys)
        if section in ("cycles", "program") and explained["program"]:
            lines += _program(explained["program"])
    if keys:
        lines += ["", "sources"]
        for key, number in keys.items():
            lines += _wrapped(f"{key}: {explained['sources'][key]}", f"  [{number}] ".ljust(8), " " * 8)
    return "\n".join(lines).replace(_JOINT, " ")


def _term(term: Mapping[str, Any], keys: Mapping[str, int]) -> Iterator[str]:
    """Yield a term: its value, its formula, the formula with values, and what is to be said."""
    head = f"  {term['name']:<{_NAME}}{value(term['value'], term['unit'])}"
    known = {each["name"]: each for each in term["inputs"]}
    if not term["formula"] or not known:
        yield head
    else:
        yield from _wrapped(f"{head}  = {term['formula']}", "", _INDENT)
        filled = _WORD.sub(lambda word: _filled(word[0], known, keys), term["formula"])
        yield from _wrapped(f"= {filled}", _INDENT, _INDENT + "  ")
    marks = _marks(term["sources"], keys)
    if term["note"]:
        yield from _wrapped(f"{term['note']}{marks}", _INDENT, _INDENT)


def _filled(word: str, known: Mapping[str, Mapping[str, Any]], keys: Mapping[str, int]) -> str:
    """Return an input's value with the number of its source; other words, such as max, stay."""
    if word not in known:
        return word
    each = known[word]
    return value(each["value"], each["unit"]) + (_marks([each["source"]], keys) if each["source"] else "")


def _marks(sources: list[str], keys: Mapping[str, int]) -> str:
    """Return the numbers of sources in brackets."""
    numbers = sorted(keys[source] for source in sources)
    return f"{_JOINT}[{f',{_JOINT}'.join(map(str, numbers))}]" if numbers else ""


def _program(program: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the core executes."""
    code = "" if program["code_bytes"] is None else f", {size(program['code_bytes'])} of code"
    yield from _wrapped(f"  {'Program':<{_NAME}}{program['instruction_set']}, {program['options']}{code}", "", _INDENT)
    counts = program["instructions"].items()
    kinds = ", ".join(f"{name}{_JOINT}{value(round(number), '')}" for name, number in counts)
    yield from _wrapped(f"  {'executes':<{_NAME}}{kinds}", "", _INDENT)
    times = program["by_resource"].items()
    busy = ", ".join(f"{name}{_JOINT}{engineering(cycles, '').replace(' ', _JOINT)}" for name, cycles in times)
    if busy:
        yield from _wrapped(f"  {'cycles busy':<{_NAME}}{busy}", "", _INDENT)
    moved = f"{size(program['loaded_bytes'])} loaded, {size(program['stored_bytes'])} stored by instructions"
    yield f"  {'moves':<{_NAME}}{moved}"


def value(number: float, unit: str) -> str:
    """Return a value as people write it: a count in full, bytes in binary units, the rest with a prefix."""
    if unit == "B":
        text = size(number)
    elif unit in ("", "cycle", "MAC"):
        whole = number == round(number) or abs(number) >= 1e4
        text = f"{integer(round(number)) if whole else significant(number)} {unit}".rstrip()
    else:
        text = engineering(number, unit)
    return text.replace(" ", _JOINT)


def _wrapped(text: str, first: str, later: str) -> list[str]:
    """Return lines of at most the width."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True, replace_whitespace=False,
    )  # fmt: skip
