"""Tables of a kernel's comparison with a target's arithmetic, from plain data; text shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.formats import MISSING, integer, percent, significant
from reports.tables import Cell, Table, cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME_WIDTH = 28
NEGLIGIBLE = 1e-6
SKIPPED_SHOWN = 5
UNVERIFIED = "The profile is unverified: it was read from documents and never compared with the target itself."


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Say what was compared and what came of it."""
    difference = found["difference"]
    tried = f"{integer(found['examples'])} example{'s' * (found['examples'] != 1)}"
    against = f"{found['kernel']} against {found['profile']} ({found['version']}), {found['op']}"
    rate = f", {significant(found['examples_per_s'])} examples/s" if found["examples_per_s"] else ""
    refused = f"; {integer(found['unsupported'])} not supported by the kernel" if found["unsupported"] else ""
    if difference is None:
        lines = [f"{tried}, no difference: {against}{rate}{refused}."]
    elif "replayed" in found:
        lines = [f"The saved case differs: {against}."]
    else:
        lines = [f"Example {found['found_at']} differs: {against}{rate}{refused}."]
    if not found["verified"]:
        lines.append(UNVERIFIED)
    if difference is not None:
        lines.append(
            f"{difference['differing']} of {difference['outputs']} outputs differ; at {tuple(difference['index'])}: "
            f"expected {difference['expected']}, found {difference['found']}."
        )
        sure = "" if difference["confirmed"] else " (a guess)"
        lines.append(f"They part at the step {difference['step']!r}{sure}: {difference['explanation']}.")
    return lines


def edge_cases(found: Mapping[str, Any]) -> Table | None:
    """List the edge cases covered and by how many examples; None without any."""
    if not found["edge_cases"]:
        return None
    rows = tuple(cells((name, integer(count))) for name, count in found["edge_cases"].items())
    return Table("Edge cases covered", ("edge case", "examples"), rows, (False, True))


def counterexample(found: Mapping[str, Any]) -> Table:
    """List every argument of the smallest case."""
    rows = tuple(cells((name, _text(value))) for name, value in found["difference"]["case"].items())
    return Table("The smallest case that differs", ("argument", "value"), rows, (False, False))


def steps(found: Mapping[str, Any]) -> Table:
    """Put the values after each step side by side."""
    difference = found["difference"]
    rows = tuple(
        (
            Cell(row["step"], alarm=row["step"] == difference["step"]),
            Cell(_number(row["expected"])),
            _kernel_cell(row),
        )
        for row in difference["steps"]
    )
    return Table("Step by step", ("step", "expected", "kernel"), rows,
                 (False, True, True))  # fmt: skip


def _kernel_cell(row: Mapping[str, Any]) -> Cell:
    """Show the kernel's value after a step; ? where its numbers do not tell."""
    if row["found"] is None:
        return Cell("?")
    return Cell(_number(row["found"]), alarm=row["found"] != row["expected"])


def vector_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Count the cases of foreign vectors per operator."""
    total = {key: sum(row[key] for row in rows) for key in ("passed", "failed", "unsupported")}
    shown = [*rows, {"op": "all", **total}]
    lines = tuple(
        (
            Cell(row["op"]),
            Cell(integer(row["passed"])),
            Cell(integer(row["failed"]), alarm=row["failed"] > 0),
            Cell(integer(row["unsupported"]), alarm=row["unsupported"] > 0),
        )
        for row in shown
    )
    return Table("Foreign vectors", ("operator", "passed", "failed", "unsupported"), lines, (False, True, True, True))


def problem_table(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """List the cases that did not pass; None when all did."""
    if not rows:
        return None
    lines = tuple(cells((row["op"], row["case"], row["status"], row["detail"])) for row in rows)
    return Table("Not passed", ("operator", "case", "status", "why"), lines, (False,) * 4)


def agreement_tables(found: Mapping[str, Any]) -> list[Table]:
    """Put the differences between profiles beside the predicted ones: per layer, in all, and at the outputs."""
    tables = [_layers(found), _matrix(found)]
    return [*tables, _ends(found)] if found["ends"] else tables


def agreement_sentences(found: Mapping[str, Any]) -> list[str]:
    """Say what was run, what could not be, and which profiles are unverified."""
    unverified = [each["name"] for each in found["profiles"] if not each["verified"]]
    lines = [f"{found['model']}; {'; '.join(found['notes'])}."]
    if unverified:
        lines.append(f"Unverified, read from documents and never compared with the target: {', '.join(unverified)}.")
    shown = found["skipped"][:SKIPPED_SHOWN]
    more = len(found["skipped"]) - len(shown)
    return [*lines, *(f"Left out: {line}" for line in shown), *([f"... and {more} more left out"] if more > 0 else [])]


def _layers(found: Mapping[str, Any]) -> Table:
    """One row per layer: how often every other profile differs from the first, and the noise against float."""
    first, *others = (each["name"] for each in found["profiles"])
    pairs = {(row["layer"], row["first"], row["second"]): row for row in found["pairs"]}
    noise = {row["layer"]: row["sqnr_db"] for row in found["layers"]}
    names = dict.fromkeys((row["layer"], row["op"]) for row in found["pairs"])
    rows = tuple(
        (
            Cell(f"{number} {shortened(name)}"),
            Cell(op),
            *(_pair_cell(pairs.get((name, first, other))) for other in others),
            *([Cell(MISSING if noise.get(name) is None else f"{noise[name]:.1f} dB")] if noise else []),
        )
        for number, (name, op) in enumerate(names, start=1)
    )
    titles = ("layer", "operator", *others, *(["SQNR"] if noise else []))
    note = (
        f"Share of outputs that differ from {first} on the same inputs; in brackets as predicted from the right shifts "
        "and the share that is not clamped (none: no law is known); xN: differences of up to N. SQNR: signal over "
        "noise against the same network in float."
    )
    return Table(f"Against {first}, layer by layer", titles, rows, (False, False, *(True,) * (len(titles) - 2)), note)


def _pair_cell(row: Mapping[str, Any] | None) -> Cell:
    if row is None:
        return Cell(MISSING)
    predicted = "" if row["predicted"] is None else f" ({_rate(row['predicted'])})"
    size = f" x{row['largest']}" if row["largest"] > 1 else ""
    return Cell(f"{_rate(row['observed'])}{predicted}{size}", alarm=row["largest"] > 1)


def _matrix(found: Mapping[str, Any]) -> Table:
    """All layers together, each profile against each."""
    names = [each["name"] for each in found["profiles"]]
    outputs: dict[tuple[str, str], list[float]] = {}
    for row in found["pairs"]:
        total = outputs.setdefault((row["first"], row["second"]), [0.0, 0.0])
        total[0] += row["observed"] * row["outputs"]
        total[1] += row["outputs"]

    def cell(one: str, two: str) -> Cell:
        differing, count = outputs.get((one, two), outputs.get((two, one), [0.0, 0.0]))
        return Cell(MISSING if one == two or not count else _rate(differing / count))

    rows = tuple((Cell(one), *(cell(one, two) for two in names)) for one in names)
    return Table("All layers together", ("differ", *names), rows, (False, *(True,) * len(names)))


def _ends(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            *cells((shortened(row["output"]), row["first"], row["second"])),
            Cell(integer(row["outputs"])),
            Cell(_rate(row["observed"])),
            Cell(integer(row["largest"]), alarm=row["largest"] > 1),
            Cell(percent(row["same_answer"]), alarm=row["same_answer"] < 1),
        )
        for row in found["ends"]
    )
    titles = ("output", "profile", "other", "values", "differ", "by up to", "same answer")
    note = "The whole network under one profile. same answer: samples whose largest output is the same."
    return Table("At the end of the network", titles, rows, (*(False,) * 3, *(True,) * 4), note)


def shortened(name: str) -> str:
    """Return the last part of a long name."""
    last = name.replace(";", "/").rstrip("/").split("/")
    found = name if len(name) <= NAME_WIDTH else last[-1] if len(last[-1]) > 3 else "/".join(last[-2:])
    return found if len(found) <= NAME_WIDTH else f"{found[: NAME_WIDTH - 3]}..."


def _rate(value: float) -> str:
    if 0 < value < NEGLIGIBLE:
        return f"<{100 * NEGLIGIBLE:g} %"
    return "0" if value == 0 else f"{significant(100 * value)} %"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.9g}"


def _text(value: Any) -> str:
    return MISSING if value is None else str(value)
