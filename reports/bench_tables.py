"""The tables of a bench: what each kernel costs on each device, and the totals of each group."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reports.bench_compare import UNDIVIDED
from reports.formats import MISSING, change, duration, engineering, integer, percent, significant, size
from reports.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.bench_compare import Comparison
    from reports.bench_record import Bench, Measured

_CAUSES = ("issue", "latency", "branch", "memory", "launch", UNDIVIDED)


def kernels(bench: Bench, compared: Comparison | None) -> list[Table]:
    """Two tables per device and group: cycles and what binds them; energy, code and bytes by memory level."""
    before = _before(compared)
    groups: defaultdict[tuple[str, str], list[Measured]] = defaultdict(list)
    for row in bench.kernels:
        groups[row.device, row.group].append(row)
    return [
        table
        for (device, group), rows in groups.items()
        for table in (
            _cycles(f"{group} on {_titled(bench, device)}", rows, before),
            _bytes(f"{group} on {device}", rows),
        )
    ]


def _titled(bench: Bench, device: str) -> str:
    chip = bench.devices[device]
    threads = f", {chip.threads} threads" if chip.threads > 1 else ""
    peak = f"{significant(chip.peak_macs_per_cycle)} MAC/cycle at most"
    return f"{device} ({chip.title}, {engineering(chip.frequency_hz, 'Hz')}{threads}, {peak})"


def _before(compared: Comparison | None) -> Mapping[str, Measured]:
    return {} if compared is None else {found.after.name: found.before for found in compared.differences}


def _cycles(title: str, rows: Sequence[Measured], before: Mapping[str, Measured]) -> Table:
    changed = any(row.name in before for row in rows)
    several = len({row.isa for row in rows if row.program}) > 1
    repeated = any(row.times > 1 for row in rows)
    columns = [
        "kernel", *(["times"] if repeated else []), "cycles", *(["change"] if changed else []), "MAC/cycle", "of peak",
        "bound by",
    ]  # fmt: skip
    shown = [
        (
            Cell(f"{row.title} ({row.isa})" if several else row.title),
            *([Cell(integer(row.times))] if repeated else []),
            _count(row.cycles),
            *([_change(before.get(row.name, row).cycles, row.cycles)] if changed else []),
            Cell(significant(row.macs_per_cycle) if row.macs else MISSING),
            _share(row),
            Cell(_bound(row)),
        )
        for row in rows
    ]
    return Table(title, tuple(columns), tuple(shown), (False, *(True,) * (len(columns) - 2), False))


def _bytes(title: str, rows: Sequence[Measured]) -> Table:
    levels = list(dict.fromkeys(level for row in rows for level in row.read_bytes))
    columns = ("kernel", "energy", "code", "core", *levels)
    shown = tuple(
        (
            Cell(row.title),
            Cell(engineering(row.energy_j, "J")),
            Cell(size(row.code_bytes)),
            Cell(_moved("core", row)),
            *(Cell(_moved(level, row)) for level in levels),
        )
        for row in rows
    )
    note = "By memory level: bytes read and written; core: by its own loads and stores."
    return Table(f"Energy and bytes: {title}", columns, shown, (False, *(True,) * (len(columns) - 1)), note)


def totals(bench: Bench, compared: Comparison | None) -> list[Table]:
    """Return the sums of each group on each device, and where their cycles go."""
    before = _before(compared)
    groups: defaultdict[tuple[str, str], list[Measured]] = defaultdict(list)
    for row in bench.kernels:
        groups[_label(row), row.device].append(row)
    return [_sums(groups, before), _shares(groups)] if groups else []


def _label(row: Measured) -> str:
    """Networks under other options are apart: each is a whole of its own."""
    return f"{row.group} [{row.options}]" if row.options and row.layers else row.group


def _sums(groups: Mapping[tuple[str, str], Sequence[Measured]], before: Mapping[str, Measured]) -> Table:
    columns = [
        "kernels of",
        "device",
        "cycles",
        *(["change"] if before else []),
        "time",
        "energy",
        "MAC/cycle",
        "of peak",
    ]
    shown = []
    for (label, device), rows in groups.items():
        cycles = sum(row.cycles * row.times for row in rows)
        macs = sum(row.macs * row.times for row in rows)
        peak = next((row.macs_per_cycle / row.share_of_peak for row in rows if row.share_of_peak), 0.0)
        old = sum(before.get(row.name, row).cycles * row.times for row in rows)
        rate = macs / cycles if cycles else 0.0
        shown.append(
            (
                Cell(label), Cell(device), _count(cycles), *([_change(old, cycles)] if before else []),
                Cell(duration(sum(row.time_s * row.times for row in rows))),
                Cell(engineering(sum(row.energy_j * row.times for row in rows), "J")),
                Cell(significant(rate) if macs else MISSING), Cell(percent(rate / peak) if peak else MISSING),
            )
        )  # fmt: skip
    repeated = any(row.times > 1 for rows in groups.values() for row in rows)
    note = "Each kernel counts as often as its network runs it." if repeated else ""
    return Table("In all", tuple(columns), tuple(shown), (False, False, *(True,) * (len(columns) - 2)), note)


def _shares(groups: Mapping[tuple[str, str], Sequence[Measured]]) -> Table:
    """Where the cycles of each group go."""
    spent: dict[tuple[str, str], defaultdict[str, float]] = {}
    for key, rows in groups.items():
        spent[key] = defaultdict(float)
        for row in rows:
            for cause, cycles in row.causes.items():
                spent[key]["memory" if cause.startswith("memory") else cause] += cycles * row.times
    found = {cause for counter in spent.values() for cause in counter}
    causes = [*(cause for cause in _CAUSES if cause in found), *sorted(found - {*_CAUSES})]
    shown = tuple(
        (Cell(label), Cell(device), *(Cell(_part(counter[cause], sum(counter.values()))) for cause in causes))
        for (label, device), counter in spent.items()
    )
    note = f"{UNDIVIDED}: cycles that the core's model does not divide."
    columns = ("kernels of", "device", *causes)
    return Table("Where the cycles go", columns, shown, (False, False, *(True,) * len(causes)),
                 note if UNDIVIDED in causes else "")  # fmt: skip


def _part(cycles: float, total: float) -> str:
    return percent(cycles / total) if cycles and total else MISSING


def _count(cycles: float) -> Cell:
    return Cell(integer(round(cycles)))


def _change(before: float, after: float) -> Cell:
    if before == after:
        return Cell("")
    return Cell(change(before, after), best=after < before, alarm=after > before)


def _share(row: Measured) -> Cell:
    return Cell(percent(row.share_of_peak) if row.macs else MISSING)


def _bound(row: Measured) -> str:
    """Which resource binds, and why where the core's model tells causes apart."""
    cause = max(row.causes, key=lambda name: row.causes[name], default="")
    told = cause in ("", UNDIVIDED, row.bound) or cause.startswith("memory") or row.bound in row.read_bytes
    return row.bound if told else f"{row.bound} ({cause})"


def _moved(level: str, row: Measured) -> str:
    if level == "core":
        return MISSING if row.program is None else size(row.loaded_bytes + row.stored_bytes)
    return size(row.read_bytes[level] + row.written_bytes[level]) if level in row.read_bytes else MISSING
