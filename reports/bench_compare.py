"""Two benches side by side: what became worse, what better, and which resources and instructions did it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from reports.formats import change, engineering, integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reports.bench_record import Bench, Measured

FIGURES: Mapping[str, Callable[[Measured], float | None]] = {
    "cycles": lambda row: row.cycles,
    "energy": lambda row: row.energy_j,
    "bytes": lambda row: row.bytes,
    "code": lambda row: row.code_bytes,
}
UNDIVIDED = "core"  # all cycles of a core whose model does not say where they go
SHOWN_INSTRUCTIONS = 8


@dataclass(frozen=True)
class Gate:
    """What counts as a regression: a figure of ``figures`` that grows by more than ``percent``.

    With ``cycles`` it is cycles alone that count, beyond that many more.
    """

    figures: tuple[str, ...] = ("cycles", "energy", "bytes")
    percent: float = 0.0
    cycles: float | None = None

    def fails(self, figure: str, before: float, after: float) -> bool:
        """Whether a figure grew too much."""
        if self.cycles is not None:
            return figure == "cycles" and after - before > self.cycles
        # In decimals, as figures and limit are written: 3 % more than 100 is 103, not 103.00000000000001.
        limit = Decimal(str(before)) * (1 + Decimal(str(self.percent)) / 100)
        return figure in self.figures and Decimal(str(after)) > limit

    def __str__(self) -> str:
        if self.cycles is not None:
            return f"cycles grew by more than {integer(round(self.cycles))}"
        limit = f"by more than {self.percent:g} %" if self.percent else "at all"
        return f"{' or '.join(self.figures)} grew {limit}"


@dataclass(frozen=True)
class Difference:
    """A kernel whose row is another one than in the baseline; ``failed`` are the figures that grew too much."""

    before: Measured
    after: Measured
    failed: tuple[str, ...]

    @property
    def grown(self) -> tuple[str, ...]:
        """The figures that grew."""
        return tuple(name for name, old, new in _figures(self.before, self.after) if new > old)

    @property
    def kind(self) -> str:
        """Whether it is a "regression", "worse" within the limits, an "improvement" or a change of no figure."""
        if self.failed:
            return "regression"
        if self.grown:
            return "worse"
        return "improvement" if any(new < old for _, old, new in _figures(self.before, self.after)) else "other"


@dataclass(frozen=True)
class Comparison:
    """A bench against its baseline.

    Parameters
    ----------
    compared
        Kernels that both have.
    appeared, vanished
        Names of kernels that only the new one, or only the baseline has.
    notes
        What else changed: the generators, or the tables of a device.
    """

    gate: Gate
    compared: int
    differences: tuple[Difference, ...]
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """The differences that fail."""
        return tuple(found for found in self.differences if found.failed)


def compare(bench: Bench, baseline: Bench, gate: Gate) -> Comparison:
    """Find every kernel that differs, the largest loss of cycles first, each weighted by how often it runs."""
    old = {row.name: row for row in baseline.kernels}
    new = {row.name: row for row in bench.kernels}
    differences = [
        Difference(
            old[name], row, tuple(figure for figure, *pair in _figures(old[name], row) if gate.fails(figure, *pair))
        )
        for name, row in new.items()
        if name in old and not _same(old[name], row)
    ]
    differences.sort(key=lambda found: (not found.failed, _saved(found), found.after.name))
    return Comparison(
        gate,
        len(old.keys() & new.keys()),
        tuple(differences),
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(_notes(bench, baseline)),
    )


def _same(before: Measured, after: Measured) -> bool:
    """Whether nothing differs that a kernel costs or executes; another Program of the same cost is the same."""
    return before.model_copy(update={"program": after.program, "layers": after.layers}) == after


def _saved(found: Difference) -> float:
    return (found.before.cycles - found.after.cycles) * found.after.times


def _figures(before: Measured, after: Measured) -> Iterable[tuple[str, float, float]]:
    """Yield (figure, before, after) of the figures that both rows have."""
    for name, value in FIGURES.items():
        old, new = value(before), value(after)
        if old is not None and new is not None:
            yield name, old, new


def _notes(bench: Bench, baseline: Bench) -> Iterable[str]:
    if bench.generators != baseline.generators:
        yield "The code generators or instruction sets are not those of the baseline."
    for name, chip in bench.devices.items():
        old = baseline.devices.get(name)
        if old is not None and (old.frequency_hz, old.threads) != (chip.frequency_hz, chip.threads):
            yield f"{name} ran at another clock or with other threads in the baseline."
        elif old is not None and old != chip:
            yield f"The tables of {name} are not those of the baseline: core model, timings, memories or power changed."


def sentence(found: Difference) -> str:
    """Say what changed and why: "+312 cycles (+4.1 %) in ...: issue +300, branch +12; instructions ldrsb +32"."""
    before, after = found.before, found.after
    times = f", {after.times} times" if after.times > 1 else ""
    parts = [f"{_cycles(before, after)} in {after.name}{times}", *_reasons(before, after)]
    head, *rest = parts
    why = "" if before.program != after.program else " (the Program is the same)"
    return f"{head}: {'; '.join(rest)}{why}" if rest else f"{head}{why}"


def _cycles(before: Measured, after: Measured) -> str:
    if before.cycles == after.cycles:
        return "same cycles"
    return f"{_signed(after.cycles - before.cycles)} cycles ({change(before.cycles, after.cycles)})"


def _reasons(before: Measured, after: Measured) -> Iterable[str]:
    """Yield what the difference consists of, the largest part first."""
    if (UNDIVIDED in before.causes) == (UNDIVIDED in after.causes):
        yield from _listed("", before.causes, after.causes)
    yield from _listed("instructions ", before.instructions, after.instructions, SHOWN_INSTRUCTIONS)
    for verb, old, new in (
        ("read", {"core": before.loaded_bytes, **before.read_bytes}, {"core": after.loaded_bytes, **after.read_bytes}),
        ("written", {"core": before.stored_bytes, **before.written_bytes},
         {"core": after.stored_bytes, **after.written_bytes}),
    ):  # fmt: skip
        yield from _listed(f"bytes {verb} ", old, new)
    if before.code_bytes is not None and after.code_bytes is not None and before.code_bytes != after.code_bytes:
        yield f"code {_signed(after.code_bytes - before.code_bytes)} B"
    if before.energy_j != after.energy_j:
        more = engineering(abs(after.energy_j - before.energy_j), "J")
        yield f"energy {'+' if after.energy_j > before.energy_j else '-'}{more}"
    if before.chosen != after.chosen:
        yield f"options {after.chosen}, were {before.chosen}"
    if before.bound != after.bound:
        yield f"bound by {after.bound}, was {before.bound}"


def _listed(title: str, before: Mapping[str, float], after: Mapping[str, float], most: int = 99) -> Iterable[str]:
    """Yield one part: "issue +300, branch +12", or nothing when nothing differs."""
    deltas = Counter(after)
    deltas.subtract(before)
    changed = sorted(
        ((name, value) for name, value in deltas.items() if round(value, 3)), key=lambda x: (-abs(x[1]), x[0])
    )
    if changed:
        more = f" and {len(changed) - most} more" if len(changed) > most else ""
        yield title + ", ".join(f"{name} {_signed(value)}" for name, value in changed[:most]) + more


def _signed(value: float) -> str:
    """Text of a difference, thousands apart: "+1 234", "-0.5"."""
    whole = integer(round(abs(value)))
    text = whole if abs(value) >= 10 or float(value).is_integer() else f"{abs(value):.2g}"
    return f"{'+' if value > 0 else '-'}{text}"
