"""Tables of predicted against measured: errors by runtime and device, beside baselines, and every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.accuracy import Errors, Pair, coverage, energies, errors, known, rank_correlation, signed
from reports.formats import MISSING, engineering
from reports.tables import Cell, Table, cells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHORT = {"nine features": "nine"}  # names of baselines as column headings
_LEFT_OUT = (
    "Each runtime is fitted again without the network's family: what to expect of networks it never saw. rank: "
    "Spearman's correlation; band: share of rows inside the band that should hold 80 %; {names}: median errors, fitted "
    "to each precision, number of threads and clock of that runtime and device, without the family likewise; marked "
    "where they are smaller."
)
_BASELINES = {
    "MACs": "MACs: multiply-accumulates times one constant",
    "nine features": "nine: a regression on nine features",
}


def left_out(pairs: Sequence[Pair]) -> Table | None:
    """Return the errors with the network's family left out, beside the baselines; None where no family can be."""
    held = [each for each in pairs if each.held_out_s is not None]
    names = list(dict.fromkeys(name for each in held for name in each.baselines_s))

    def row(rows: Sequence[Pair]) -> tuple[Cell, ...]:
        found = known(rows, lambda each: each.held_out_s)
        ours = errors(found)
        theirs = [errors(_baseline(rows, name)) for name in names]
        better = [each is not None and ours is not None and each.median < ours.median for each in theirs]
        return (
            *spread_cells(ours),
            *_quality(found, coverage(rows, held_out=True)),
            *(
                Cell(_share(each.median if each else None), alarm=mark)
                for each, mark in zip(theirs, better, strict=True)
            ),
        )

    columns = ("median", "p90", "max", "rank", "band", *(SHORT.get(name, name) for name in names))
    note = _LEFT_OUT.format(names="; ".join(_BASELINES.get(name, name) for name in names) or "no baseline")
    return _by_block("Latency, the network's family left out: errors in %", held, columns, row, note)


def _baseline(rows: Sequence[Pair], name: str) -> list[tuple[float, float]]:
    """Return (predicted, measured) of a baseline."""
    return known(rows, lambda each: each.baselines_s.get(name))


def as_it_is(pairs: Sequence[Pair]) -> Table | None:
    """Return the errors of the runtimes as they are."""

    def row(rows: Sequence[Pair]) -> tuple[Cell, ...]:
        found = known(rows, lambda each: each.predicted_s)
        return (*spread_cells(errors(found)), *_quality(found, coverage(rows, held_out=False)))

    note = "Rows that a runtime was fitted to are among them."
    return _by_block(
        "Latency, runtimes as they are: errors in %", pairs, ("median", "p90", "max", "rank", "band"), row, note
    )


def energy(pairs: Sequence[Pair]) -> Table | None:
    """Return the errors of energy; None where none is measured."""
    rows = [each for each in pairs if each.measured_j and each.predicted_j]
    return _by_block(
        "Energy: errors in %", rows, ("median", "p90", "max"), lambda each: spread_cells(errors(energies(each))), ""
    )


def _by_block(
    title: str,
    pairs: Sequence[Pair],
    columns: tuple[str, ...],
    row: Callable[[Sequence[Pair]], tuple[Cell, ...]],
    note: str,
) -> Table | None:
    """Return a row per runtime and device, and one for all; None without any."""
    if not pairs:
        return None
    blocks = sorted({(each.runtime, each.device) for each in pairs})
    rows = []
    for runtime, device in blocks:
        chosen = [each for each in pairs if (each.runtime, each.device) == (runtime, device)]
        rows.append((Cell(runtime), Cell(device), Cell(str(len(chosen))), *row(chosen)))
    if len(blocks) > 1:
        rows.append((Cell("all"), Cell(""), Cell(str(len(pairs))), *row(pairs)))
    numeric = (False, False, *[True] * (len(columns) + 1))
    return Table(title, ("runtime", "device", "rows", *columns), tuple(rows), numeric, note, grouped=True)


def spread_cells(found: Errors | None) -> tuple[Cell, ...]:
    """Return the cells of median, 90 % quantile and worst error."""
    return cells(map(_share, (found.median, found.p90, found.worst) if found else (None, None, None)))


def _quality(found: Sequence[tuple[float, float]], inside: float | None) -> tuple[Cell, ...]:
    """Return the cells of rank correlation and of the share inside the band."""
    rank = rank_correlation(found)
    return (
        Cell(MISSING if rank is None else f"{rank:.2f}"),
        Cell(MISSING if inside is None else f"{100 * inside:.0f}"),
    )


def _share(value: float | None) -> str:
    """Return a share in per cent, without the sign: the title has it."""
    if value is None:
        return MISSING
    return f"{100 * value:.1f}" if value < 0.9995 else f"{100 * value:.0f}"


def every_row(pairs: Sequence[Pair]) -> Table | None:
    """Return each measured latency beside its predictions; None without any."""
    rows = tuple(
        (
            Cell(f"{each.runtime} on {each.device}"),
            Cell(each.label),
            Cell(engineering(each.measured_s, "s")),
            Cell(engineering(each.predicted_s, "s"), alarm=not each.low_s <= each.measured_s <= each.high_s),
            Cell(signed(each.predicted_s, each.measured_s)),
            Cell(MISSING if each.held_out_s is None else signed(each.held_out_s, each.measured_s)),
        )
        for each in _ordered(pairs)
    )
    columns = ("runtime", "network", "measured", "predicted", "error", "left out")
    note = "A prediction whose band misses the measurement is marked; left out: the error without the network's family."
    numeric = (False, False, *[True] * 4)
    return Table("Latency of every row", columns, rows, numeric, note, grouped=True) if rows else None


def every_energy(pairs: Sequence[Pair]) -> Table | None:
    """Return each measured energy beside its prediction; None without any."""
    rows = tuple(
        (
            Cell(f"{each.runtime} on {each.device}"),
            Cell(each.label),
            Cell(engineering(each.measured_j, "J")),
            Cell(engineering(each.predicted_j, "J")),
            Cell(signed(each.predicted_j, each.measured_j)),
        )
        for each in _ordered(pairs)
        if each.measured_j and each.predicted_j
    )
    columns = ("runtime", "network", "measured", "predicted", "error")
    numeric = (False, False, *[True] * 3)
    return Table("Energy of every row", columns, rows, numeric, grouped=True) if rows else None


def _ordered(pairs: Sequence[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda each: (each.runtime, each.device))


@dataclass(frozen=True)
class Unpredicted:
    """A measured row that could not be predicted: where it stands, what it was measured on, and why."""

    file: str
    line: int
    what: str
    reason: str


def not_predicted(rows: Sequence[Unpredicted]) -> Table | None:
    """Return the rows that could not be predicted, those of one reason together; None without any."""
    lines: dict[tuple[str, str, str], list[int]] = {}
    for each in rows:
        lines.setdefault((each.reason, each.what, each.file), []).append(each.line)
    body = tuple(
        cells((what, f"{file}:{spans(found)}", reason)) for (reason, what, file), found in sorted(lines.items())
    )
    columns = ("measured on", "lines", "reason")
    return Table(f"Not predicted: {len(rows)} rows", columns, body, (False,) * 3) if rows else None


def spans(lines: Sequence[int]) -> str:
    """Return rising numbers as text, those in a row together: "3, 5-7"."""
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
