"""What ``presage fuzz`` does: load a kernel, search for a difference or replay one, and return plain data to show."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.arithmetic import PROFILES, describe
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workloads.tensor import Array
    from workloads.testing.case import Case
    from workloads.testing.finding import Difference

    Kernel = Callable[[Case], Array]

SHOWN_ELEMENTS = 24  # arrays up to this size are shown whole
DEFAULT_PROFILE = "tflite-double"


@dataclass(frozen=True)
class Options:
    """What the user chose for one search."""

    target: str | None = None
    library: Path | None = None
    symbol: str | None = None
    op: str | None = None
    profile: str | None = None
    examples: int = 1000
    seed: int = 0
    output: Path = Path("out/fuzz")


def fuzz(options: Options, progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Search for a difference between the user's kernel and a profile.

    Returns
    -------
    found
        ``op, profile, verified, note, kernel, examples, unsupported, examples_per_s, found_at, edge_cases`` and
        ``difference``; the last is None, or has ``case, shape, expected, found, index, differing, step, explanation,
        confirmed, steps, saved``.

    Raises
    ------
    InputError
        An option is wrong or missing, or the kernel broke its contract; a case that shows it is saved.
    """
    from workloads.testing.calling import KernelError
    from workloads.testing.finding import check, require_hypothesis, search

    problems = [] if options.op else ["no --op given, e.g. --op conv2d"]
    if options.target is None and options.library is None:
        problems.append("no kernel given; name a Python function as module:function, or --library and --symbol")
    if problems:
        raise InputError("fuzz", problems)
    op, profile = options.op or "", options.profile or DEFAULT_PROFILE
    widths = check(op, profile)
    # What Hypothesis stores must not land in the user's folder.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(options.output / ".hypothesis"))
    require_hypothesis()
    with open_kernel(options.target, options.library, options.symbol, op) as kernel:
        try:
            finding = search(
                kernel, op, profile, examples=options.examples, seed=options.seed, widths=widths, progress=progress
            )
        except KernelError as error:
            raise _broken(error, options, profile) from error
    shown = None
    if finding.difference is not None:
        path = options.output / f"{op}-{profile}-seed{options.seed}.npz"
        shown = _shown(finding.difference, _save(path, finding.difference, profile, options))
    rate = finding.examples / finding.elapsed_s if finding.elapsed_s > 0 else 0.0
    return _head(options, op, profile) | {
        "examples": finding.examples, "unsupported": finding.unsupported, "examples_per_s": rate,
        "found_at": finding.found_at, "edge_cases": finding.edge_cases, "difference": shown,
    }  # fmt: skip


def replay(path: Path, options: Options) -> dict[str, Any]:
    """Run a saved case again, on the kernel it was found with unless another is given; data as from ``fuzz``.

    Raises
    ------
    InputError
        The file is no saved case, or its kernel is not there any more.
    """
    from workloads.testing.calling import KernelError
    from workloads.testing.case import load
    from workloads.testing.finding import compare

    case, saved_profile, notes = load(path)
    profile = options.profile or saved_profile
    if profile not in PROFILES:
        raise InputError(path, [f"profile {profile!r} is unknown; {did_you_mean(profile, PROFILES)}"])
    given = options.target is not None or options.library is not None
    chosen = options if given else _kernel_of(path, notes)
    with open_kernel(chosen.target, chosen.library, chosen.symbol, case.op) as kernel:
        try:
            difference = compare(kernel, case, profile)
        except KernelError as error:
            raise InputError(_name(chosen), [str(error)]) from error
    return _head(chosen, case.op, profile) | {
        "examples": 1, "unsupported": 0, "examples_per_s": 0.0, "found_at": int(difference is not None),
        "edge_cases": {}, "difference": None if difference is None else _shown(difference, path), "replayed": str(path),
    }  # fmt: skip


def vectors(path: Path) -> dict[str, Any]:
    """Run foreign test vectors through our operators.

    Returns
    -------
    found
        ``operators``: rows of ``op, passed, failed, unsupported``; ``problems``: rows of ``op, case, status, detail``.
    """
    from workloads.vectors import run_vectors

    results = run_vectors(path)
    rows: dict[str, dict[str, Any]] = {}
    for result in results:
        row = rows.setdefault(result.op, {"op": result.op, "passed": 0, "failed": 0, "unsupported": 0})
        row[result.status] += 1
    problems = [
        {"op": result.op, "case": result.case, "status": result.status, "detail": result.detail}
        for result in results
        if result.status != "passed"
    ]
    return {"operators": [rows[op] for op in sorted(rows)], "problems": problems}


@contextlib.contextmanager
def open_kernel(target: str | None, library: Path | None, symbol: str | None, op: str) -> Iterator[Kernel]:
    """Load a Python function, or a C function that runs in a child process until the block ends.

    Raises
    ------
    InputError
        There is no such module, function, library or symbol, or the function's parameters do not fit the operator.
    """
    from workloads.testing.calling import python_kernel

    if library is not None:
        from workloads.testing.native import NativeKernel

        if target is not None or symbol is None:
            fault = "give either module:function or --library" if target else "--symbol must name the function"
            raise InputError("--library", [fault])
        with NativeKernel(library, symbol) as native:
            yield native
        return
    function = import_function(target or "")
    kernel = python_kernel(function, op)
    yield kernel


def import_function(target: str) -> Callable[..., Any]:
    """Import ``module:function``, also from the current folder.

    Raises
    ------
    InputError
        The text has another form, the module cannot be imported, or has no such function.
    """
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise InputError("fuzz", [f"kernel {target!r} is not of the form module:function, e.g. kernels:conv"])
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(target, [f"module {module_name!r} cannot be imported: {reason}"]) from error
    finally:
        sys.path.remove(here)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [each for each in dir(found) if not each.startswith("_")]
            raise InputError(target, [f"module {module_name!r} has no {name!r}; {did_you_mean(part, known)}"])
        found = getattr(found, part)
    if not callable(found):
        raise InputError(target, [f"{name!r} is {type(found).__name__}; expected a function"])
    function: Callable[..., Any] = found
    return function


def _head(options: Options, op: str, profile: str) -> dict[str, Any]:
    record = PROFILES[profile]
    return {
        "op": op, "profile": profile, "version": record.version, "verified": record.verified, "note": describe(record),
        "kernel": _name(options), "seed": options.seed,
    }  # fmt: skip


def _name(options: Options) -> str:
    return f"{options.library}:{options.symbol}" if options.library is not None else str(options.target)


def _kernel_of(path: Path, notes: dict[str, str]) -> Options:
    """Return the kernel that a saved case names."""
    if "library" in notes:
        return Options(library=Path(notes["library"]), symbol=notes.get("symbol"))
    if "target" in notes:
        return Options(target=notes["target"])
    raise InputError(path, ["names no kernel; give one as module:function, or --library and --symbol"])


def _save(path: Path, difference: Difference, profile: str, options: Options) -> Path:
    from workloads.testing.case import save

    results = {"expected": difference.expected, "found": difference.found}
    return _written(path, lambda: save(path, difference.case, profile, _notes(options), results))


def _written(path: Path, write: Callable[[], None]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--output", [f"{str(path.parent)!r} cannot be made: {error.strerror}"]) from error
    write()
    return path


def _notes(options: Options) -> dict[str, str]:
    if options.library is not None:
        return {"library": os.fspath(options.library.resolve()), "symbol": str(options.symbol)}
    return {"target": str(options.target)}


def _broken(error: Exception, options: Options, profile: str) -> InputError:
    """Return what to report of a kernel that broke its contract, after saving the case that shows it."""
    from workloads.testing.case import save

    lines = str(error).splitlines()
    case = getattr(error, "case", None)
    if case is not None:
        path = options.output / f"{case.op}-{profile}-seed{options.seed}-broken.npz"
        _written(path, lambda: save(path, case, profile, _notes(options), {}))
        lines.append(f"replay it: presage fuzz --replay {path}")
    return InputError(_name(options), ["\n    ".join(line.strip() for line in lines)])


def _shown(difference: Difference, saved: Path) -> dict[str, Any]:
    """Return a difference as plain data."""
    from workloads.testing.calling import arguments, output_shape
    from workloads.testing.diagnosis import worst

    case, diagnosis = difference.case, difference.diagnosis
    index = worst(difference.found, difference.expected)
    return {
        "case": {name: _plain(value) for name, value in arguments(case).items()},
        "shape": list(output_shape(case)), "index": list(index),
        "expected": int(difference.expected[index]), "found": int(difference.found[index]),
        "differing": int(np.count_nonzero(difference.found != difference.expected)),
        "outputs": int(difference.found.size),
        "step": diagnosis.step, "explanation": diagnosis.explanation, "confirmed": diagnosis.confirmed,
        "steps": [{"step": step, "expected": ours, "found": theirs} for step, ours, theirs in diagnosis.steps],
        "saved": str(saved),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; large arrays as their type, shape and range."""
    if isinstance(value, np.ndarray):
        if value.size <= SHOWN_ELEMENTS:
            return value.tolist()
        return f"{value.dtype.name} {tuple(value.shape)} from {value.min()} to {value.max()}; see the saved case"
    return list(value) if isinstance(value, tuple) else value
