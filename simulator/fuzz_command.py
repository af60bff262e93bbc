"""The command ``presage fuzz``: which of its jobs is asked for, and what to print of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.console import Console

    Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Request:
    """The options of the command as the user gave them."""

    kernel: str | None
    library: Path | None
    symbol: str | None
    op: str | None
    profiles: tuple[str, ...]
    examples: int
    seed: int
    output: Path
    replay: Path | None
    vectors: Path | None
    agreement: str | None
    layer: str | None
    abi: bool


@dataclass(frozen=True)
class Answer:
    """What the command found: data for programs, a way to show it to people, and whether something failed."""

    data: dict[str, Any]
    show: Callable[[Console], None]
    failed: bool


def answer(request: Request, progress: Progress) -> Answer:
    """Do what was asked.

    Raises
    ------
    InputError
        The options contradict each other, or one of them is wrong.
    """
    _check(request)
    if request.abi:
        return _header()
    if request.vectors is not None:
        return _vectors(request.vectors)
    if request.agreement is not None:
        return _agreement(request, progress)
    return _search(request, progress)


def _check(request: Request) -> None:
    jobs = {
        "--replay": request.replay is not None, "--vectors": request.vectors is not None,
        "--agreement": request.agreement is not None, "--abi": request.abi,
    }  # fmt: skip
    chosen = [name for name, wanted in jobs.items() if wanted]
    problems = [f"{' and '.join(chosen)} exclude each other; give one"] if len(chosen) > 1 else []
    if request.layer is not None and request.agreement is None:
        problems.append("--layer goes with --agreement")
    if len(request.profiles) > 1 and request.agreement is None:
        problems.append("several --profile go with --agreement only")
    if request.symbol is not None and request.library is None:
        problems.append("--symbol goes with --library")
    if problems:
        raise InputError("fuzz", problems)


def _search(request: Request, progress: Progress) -> Answer:
    from simulator.fuzz import Options, fuzz, replay

    options = Options(
        request.kernel, request.library, request.symbol, request.op, next(iter(request.profiles), None),
        request.examples, request.seed, request.output,
    )  # fmt: skip
    found = fuzz(options, progress) if request.replay is None else replay(request.replay, options)
    return Answer(found, partial(_show_search, found), failed=found["difference"] is not None)


def _show_search(found: Mapping[str, Any], console: Console) -> None:
    from reports import fuzz as tables
    from reports.text import print_table

    for line in tables.sentences(found):
        console.print(line, markup=False, highlight=False)
    if found["difference"] is not None:
        for table in (tables.steps(found), tables.counterexample(found)):
            console.print()
            print_table(table, console)
        if "replayed" not in found:
            saved = found["difference"]["saved"]
            console.print(f"Saved; run it again with: presage fuzz --replay {saved}", markup=False, soft_wrap=True)
    elif (covered := tables.edge_cases(found)) is not None:
        console.print()
        print_table(covered, console)


def _vectors(path: Path) -> Answer:
    from simulator.fuzz import vectors

    found = vectors(path)

    def show(console: Console) -> None:
        from reports import fuzz as tables
        from reports.text import print_table

        for table in (tables.problem_table(found["problems"]), tables.vector_table(found["operators"])):
            if table is not None:
                print_table(table, console)

    return Answer(found, show, failed=any(row["failed"] for row in found["operators"]))


def _header() -> Answer:
    from workloads.testing.abi import header

    text = header()
    return Answer({"header": text}, lambda console: console.print(text, markup=False, highlight=False, soft_wrap=True),
                  failed=False)  # fmt: skip


def _agreement(request: Request, progress: Progress) -> Answer:
    from simulator.numerics import compare

    found = compare(str(request.agreement), request.profiles, seed=request.seed, layer=request.layer, progress=progress)

    return Answer(found, partial(show_agreement, found), failed=False)


def show_agreement(found: Mapping[str, Any], console: Console) -> None:
    """Print how far profiles agree on a model."""
    from reports.fuzz import agreement_sentences, agreement_tables
    from reports.text import print_table

    for line in agreement_sentences(found):
        console.print(line, markup=False, highlight=False)
    for table in agreement_tables(found):
        console.print()
        print_table(table, console)
