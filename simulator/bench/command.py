"""The command ``presage bench``: measure a suite, compare it with its baseline, accept it, or draw one kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports import bench as views
from reports import bench_record
from reports.bench_compare import FIGURES, Gate, compare
from reports.store import RecordError
from simulator.bench.ahead import price_ahead
from simulator.bench.measure import Clocking, bench
from simulator.bench.plan import jobs
from simulator.bench.suite import find_suite, load_suite
from workloads.errors import InputError, did_you_mean
from workloads.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from reports.bench_compare import Comparison
    from reports.bench_record import Bench
    from simulator.bench.plan import Job
    from simulator.bench.suite import Suite

    Progress = Callable[[int, int, str], None]

_LIMIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%|cycles?|)\s*")
DEFAULT_GATE = "cycles,energy,bytes"


@dataclass(frozen=True)
class Request:
    """The options of the command as the user gave them."""

    suite: str
    baseline: Path | None = None
    accept: bool = False
    fail_above: str = "0"
    gate: str = DEFAULT_GATE
    timeline: str | None = None
    brief: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class Answer:
    """What the command found: how to show it to people and as text of a form, and whether the gate fails."""

    show: Callable[[Console], None]
    text: Callable[[str], str]
    failed: bool


def answer(request: Request, progress: Progress) -> Answer:
    """Do what was asked.

    Raises
    ------
    InputError
        The suite, the baseline or an option is wrong.
    """
    gate = gate_of(request.fail_above, request.gate)
    suite = load_suite(find_suite(request.suite))
    file = request.baseline or default_baseline(suite, accepting=request.accept)
    baseline = None if request.accept or request.timeline else read_baseline(file, needed=request.baseline is not None)
    planned = jobs(suite)
    found = measure(suite, planned, progress, request.workers)
    if request.timeline is not None:
        return _timeline(request.timeline, found, planned)
    if request.accept:
        return _accepted(found, file)
    compared = None if baseline is None else compare(found, baseline, gate)
    return _measured(found, compared, brief=request.brief)


def measure(
    suite: Suite, planned: Sequence[Job], progress: Progress | None = None, workers: int | None = None
) -> Bench:
    """Price the jobs of a suite; what is not kept yet, in so many processes: one a core unless given."""
    price_ahead([job.order for job in planned if job.order is not None], workers, progress)
    return bench(suite.title, planned, Clocking(suite.threads, suite.frequency_hz), progress)


def gate_of(fail_above: str, figures: str = DEFAULT_GATE) -> Gate:
    """Read ``--fail-above`` ("0", "0.5 %": of each figure; "100 cycles": of cycles alone) and ``--gate``.

    Raises
    ------
    InputError
        With what is wrong with either.
    """
    problems = []
    match = _LIMIT.fullmatch(fail_above)
    if match is None:
        problems.append(f'--fail-above: {fail_above!r}; expected a percentage or cycles, e.g. "0.5 %" or "100 cycles"')
    wanted = tuple(name.strip() for name in figures.split(","))
    problems += [
        f"--gate: {name!r} is unknown; {did_you_mean(name, FIGURES)}" for name in wanted if name not in FIGURES
    ]
    if problems or match is None:
        raise InputError("bench", problems)
    if match[2].startswith("cycle"):
        return Gate(("cycles",), cycles=float(match[1]))
    return Gate(wanted, percent=float(match[1]))


def default_baseline(suite: Suite, *, accepting: bool = False) -> Path:
    """Return the file beside the suite; of a shipped suite, your own in the current folder before the shipped one."""
    beside = suite.path.with_suffix(".baseline.json")
    own = Path(beside.name)
    return own if suite.shipped and (accepting or own.exists()) else beside


def read_baseline(file: Path, *, needed: bool = False) -> Bench | None:
    """Return a baseline, or None where there is none and none was asked for.

    Raises
    ------
    InputError
        It is wrong, or was named and is not there.
    """
    if not needed and not file.exists():
        return None
    try:
        return bench_record.read(file)
    except RecordError as error:
        raise InputError(error.path, error.problems) from None


def write_baseline(found: Bench, file: Path) -> None:
    """Write a baseline; it replaces the old one only when it is whole."""
    with replacing(file) as target:
        target.write(bench_record.to_json(found).encode())


def _measured(found: Bench, compared: Comparison | None, *, brief: bool) -> Answer:
    def text(form: str) -> str:
        return {"markdown": views.markdown, "json": views.data, "junit": views.junit}[form](found, compared)

    return Answer(
        lambda console: views.render(found, compared, console, brief=brief),
        text,
        failed=views.failure(found, compared) is not None,
    )


def _accepted(found: Bench, file: Path) -> Answer:
    """Write the new baseline and show how it differs from the old one; an empty bench is no baseline."""
    if not found.kernels:
        return _measured(found, None, brief=True)
    try:
        old = read_baseline(file)
    except InputError:  # what cannot be read is replaced
        old = None
    compared = None if old is None else compare(found, old, Gate())
    write_baseline(found, file)
    line = f"Accepted {len(found.kernels)} kernels into {file}."
    same = _measured(found, compare(found, found, Gate()), brief=True)

    def show(console: Console) -> None:
        for title, lines in views.sections(compared):
            console.print(title, style="bold", markup=False, highlight=False)
            for each in lines:
                console.print(f"  {each}", markup=False, highlight=False)
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return Answer(show, same.text, failed=False)


def _timeline(wanted: str, found: Bench, planned: Sequence[Job]) -> Answer:
    """Draw the steady state of the one kernel whose name holds the text."""
    from device_models.cores import timeline

    names = [row.name for row in found.kernels]
    matches = [number for number, name in enumerate(names) if wanted == name] or [
        number for number, name in enumerate(names) if wanted in name
    ]
    if not matches:
        raise InputError("--timeline", [f"no kernel's name holds {wanted!r}; {did_you_mean(wanted, names)}"])
    if len(matches) > 1:
        listed = [f"{wanted!r} is part of {len(matches)} names; give more of one:"]
        raise InputError("--timeline", listed + [names[number] for number in matches])
    job, name = planned[matches[0]], names[matches[0]]
    if job.program is None or found.kernels[matches[0]].program is None:
        raise InputError("--timeline", [f"{name} has a rate per element and no Program"])
    drawn = timeline(job.program(), job.target.device.core)

    def show(console: Console) -> None:
        console.print(name, style="bold", markup=False, highlight=False)
        console.print(drawn, markup=False, highlight=False, soft_wrap=True)

    return Answer(show, lambda _: drawn, failed=False)
