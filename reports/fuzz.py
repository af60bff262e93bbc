"""Tables of a kernel's comparison with a target's arithmetic, from plain data; text shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.formats import MISSING, integer, percent, significant
from reports.tables import Cell, Table, cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    """Put the differences between profiles beside the predicted ones: per layer, at the outputs, against float."""
    tables = [_pairs(found), _outputs(found)]
    return [*tables, _noise(found)] if found["layers"] else tables


def _pairs(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            *cells((row["layer"], row["op"], row["first"], row["second"])),
            Cell(integer(row["outputs"])),
            Cell(_rate(row["observed"])),
            Cell("no law" if row["predicted"] is None else _rate(row["predicted"])),
            Cell(integer(row["largest"]), alarm=row["largest"] > 1),
        )
        for row in found["pairs"]
    )
    titles = ("layer", "operator", "profile", "other", "outputs", "differ", "predicted", "by up to")
    note = (
        "Each layer on the same inputs. predicted: from the right shifts of the layer's factors, for outputs that are "
        "not clamped; no law: none is known for the pair."
    )
    return Table("Outputs that differ between profiles", titles, rows, (*(False,) * 4, *(True,) * 4), note)


def _outputs(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            *cells((row["output"], row["first"], row["second"])),
            Cell(integer(row["outputs"])),
            Cell(_rate(row["observed"])),
            Cell(integer(row["largest"]), alarm=row["largest"] > 1),
            Cell(MISSING if row["same_answer"] is None else percent(row["same_answer"])),
        )
        for row in found["ends"]
    )
    titles = ("output", "profile", "other", "values", "differ", "by up to", "same answer")
    note = "The whole network, every layer under one profile. same answer: samples whose largest output is the same."
    return Table("At the end of the network", titles, rows, (*(False,) * 3, *(True,) * 4), note)


def _noise(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (*cells((row["layer"], row["op"])), Cell(MISSING if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f} dB"))
        for row in found["layers"]
    )
    note = "Signal over quantisation noise, against the same network in float64 with the weights as stored."
    return Table("Against float", ("layer", "operator", "SQNR"), rows, (False, False, True), note)


def _rate(value: float) -> str:
    return "0" if value == 0 else f"{significant(100 * value)} %"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.9g}"


def _text(value: Any) -> str:
    return MISSING if value is None else str(value)
