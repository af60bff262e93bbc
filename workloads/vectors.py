"""Foreign test vectors: integer kernels checked bit for bit against results that others computed.

The files have the layout of a selection of the CMSIS-NN unit tests: an .npz with one array per key "<case>/<array>" and
a .json of the same stem, in which "cases" maps a case to its functions ("ops"), the name of its expected output, its
accumulator, its arrays and its defines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workloads.errors import InputError, did_you_mean
from workloads.vector_cases import UnsupportedCaseError, VectorCase, read_cases
from workloads.vector_recurrent import computers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.tensor import Array
    from workloads.vector_layers import Computer


@dataclass(frozen=True)
class CaseResult:
    """What became of one case under one of its functions.

    Parameters
    ----------
    op
        The function the case tests, e.g. "arm_convolve_s8".
    case
        The name of the case.
    status
        "passed", "failed" or "unsupported".
    detail
        What differs, or what is not supported; empty when passed.
    """

    op: str
    case: str
    status: str
    detail: str = ""


def run_vectors(path: str | Path) -> list[CaseResult]:
    """Run every case of a vector file through our kernels and compare bit for bit, once per function it tests.

    Raises
    ------
    InputError
        The file or its description is missing, damaged or contradicts itself; all faults at once.
    """
    path, functions = Path(path), computers()
    results, problems = [], []
    for case in read_cases(path):
        for op in case.ops:
            try:
                results.append(_run(case, op, functions))
            except ValueError as fault:
                problems.append(f"case {case.name!r} ({op}): {fault}")
    if problems:
        raise InputError(path, problems)
    return results


def _run(case: VectorCase, op: str, functions: Mapping[str, Computer]) -> CaseResult:
    """Run one case under one of its functions."""
    if op not in functions:
        return CaseResult(op, case.name, "unsupported", f"no operator stands for it; {did_you_mean(op, functions)}")
    try:
        found = functions[op](case)
    except UnsupportedCaseError as fault:
        return CaseResult(op, case.name, "unsupported", str(fault))
    difference = _difference(found, case.output)
    return CaseResult(op, case.name, "failed" if difference else "passed", difference)


def _difference(found: Array, expected: Array) -> str:
    """Describe how two outputs differ; empty when they are the same bits."""
    if found.size != expected.size or found.dtype != expected.dtype:
        return f"computed {found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}"
    ours, theirs = found.ravel().astype(np.int64), expected.ravel().astype(np.int64)
    wrong = np.flatnonzero(ours != theirs)
    if not wrong.size:
        return ""
    first = int(wrong[0])
    largest = int(np.abs(ours - theirs).max())
    return (
        f"{wrong.size} of {expected.size} outputs differ, by up to {largest}; "
        f"first at {first}: computed {ours[first]}, expected {theirs[first]}"
    )
