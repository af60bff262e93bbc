"""The search for a difference: explicit extremes, then Hypothesis, then the smallest case that still differs."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.arithmetic import PROFILES
from workloads.errors import InputError, did_you_mean
from workloads.testing.calling import KernelError, UnsupportedError, output_shape
from workloads.testing.case import WIDE_OPS, Case, Widths, check_op, expected, widths_of
from workloads.testing.diagnosis import Diagnosis, diagnose
from workloads.testing.shrinking import reduce

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array

    Kernel = Callable[[Case], Array]

MAX_WITNESS_SIZE = 4096  # elements of an input
WITNESSES = 12  # cases kept to confirm what a difference is due to


@dataclass(frozen=True, eq=False)
class Difference:
    """A case on which a kernel and a profile differ, with both results and where they part."""

    case: Case
    expected: Array
    found: Array
    diagnosis: Diagnosis


@dataclass(frozen=True, eq=False)
class Finding:
    """What a search found.

    Parameters
    ----------
    examples, unsupported
        Cases compared; cases that the kernel refused.
    found_at
        The example that first differed, counted from 1; 0 when none did.
    elapsed_s
        Time of the search without making the case smaller. [s]
    edge_cases
        How many examples covered each edge case.
    difference
        The smallest case found to differ; None when all agreed.
    """

    op: str
    profile: str
    examples: int
    unsupported: int
    found_at: int
    elapsed_s: float
    edge_cases: dict[str, int]
    difference: Difference | None


@dataclass
class _Search:
    """What a search has seen so far."""

    kernel: Kernel
    profile: str
    examples: int
    progress: Callable[[int, int, str], None] | None
    tried: int = 0
    unsupported: int = 0
    found_at: int = 0
    edge_cases: Counter[str] = field(default_factory=Counter)
    witnesses: list[tuple[Case, Array]] = field(default_factory=list)

    def differs(self, case: Case) -> bool:
        """Run one new example; True when the kernel differs."""
        from workloads.testing.coverage import labels

        self.tried += 1
        if self.progress is not None:
            self.progress(self.tried, self.examples, "")
        try:
            found = call(self.kernel, case)
        except UnsupportedError:
            self.unsupported += 1
            return False
        self.edge_cases.update(labels(case))
        if len(self.witnesses) < WITNESSES and found.size:
            self.witnesses.append((case, found))
        return not np.array_equal(found, expected(case, self.profile))


def search(
    kernel: Kernel,
    op: str,
    profile: str,
    *,
    examples: int = 200,
    seed: int = 0,
    widths: Widths | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Finding:
    """Compare a kernel with a profile on the extremes and on random layers until it differs.

    Parameters
    ----------
    kernel
        From a case to an output; see ``calling.python_kernel`` and ``native.NativeKernel``.
    examples
        Cases to try in all, the extremes included.
    seed
        The same seed tries the same cases.
    progress
        Called with (tried, in all, "") for each.

    Raises
    ------
    InputError
        The operator or profile is unknown, do not go together, or Hypothesis is not installed.
    KernelError
        The kernel raised, crashed or returned the wrong shape or type; the message shows the case.
    """
    chosen = check(op, profile, widths)
    state = _Search(kernel, profile, examples, progress)
    started = time.perf_counter()
    failing = _first_failure(state, op, chosen, seed)
    elapsed_s = time.perf_counter() - started
    difference = None if failing is None else _smallest(state, failing)
    counts = (state.tried, state.unsupported, state.found_at, elapsed_s)
    return Finding(op, profile, *counts, dict(state.edge_cases.most_common()), difference)


def check(op: str, profile: str, widths: Widths | None = None) -> Widths:
    """Return the element types of a search after checking that operator and profile are known and fit.

    Raises
    ------
    InputError
        With all faults at once.
    """
    problems: list[str] = []
    try:
        check_op(op)
    except InputError as error:
        problems += error.problems
    if profile not in PROFILES:
        problems.append(f"profile {profile!r} is unknown; {did_you_mean(profile, PROFILES)}")
    if problems:
        raise InputError("fuzz", problems)
    chosen = widths or widths_of(profile)
    if chosen.dtype == "int16" and op not in WIDE_OPS:
        raise InputError(
            "fuzz", [f"{op} with 16-bit activations is not fuzzed; 16-bit operators: {', '.join(WIDE_OPS)}"]
        )
    return chosen


def call(kernel: Kernel, case: Case) -> Array:
    """Run a kernel on a case and check the shape and type of what it returns.

    Raises
    ------
    KernelError
        It raised, or broke the contract; the message says what and on which case.
    """
    try:
        found = kernel(case)
    except (UnsupportedError, NotImplementedError) as error:
        raise UnsupportedError(str(error)) from error
    except KernelError as error:
        raise KernelError(f"the kernel {error}\n  on {describe(case)}", case) from error
    except Exception as error:
        message = f"the kernel raised {type(error).__name__}: {error}\n  on {describe(case)}"
        raise KernelError(message, case) from error
    shape = output_shape(case)
    if found.shape != shape or found.dtype.name != case.operands.dtype:
        got, wanted = f"{found.dtype.name} {found.shape}", f"{case.operands.dtype} {shape}"
        raise KernelError(f"the kernel returned {got}; expected {wanted}\n  on {describe(case)}", case)
    return found


def compare(kernel: Kernel, case: Case, profile: str) -> Difference | None:
    """Return how a kernel differs from a profile on one case; None when it does not."""
    found, truth = call(kernel, case), expected(case, profile)
    if np.array_equal(found, truth):
        return None
    return Difference(case, truth, found, diagnose([(case, found)], profile))


def describe(case: Case) -> str:
    """Return one line on a case: operator, shapes, constants."""
    operands = case.operands
    shapes = " and ".join(f"{array.dtype.name} {array.shape}" for array in case.inputs)
    weights = "" if operands.weights is None else f", weights {operands.weights.shape}"
    plain = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "multiplier": 1, "beta": 1.0}
    attributes = "".join(
        f", {name} {value}"
        for name, value in asdict(case.operator).items()
        if name not in ("activation", "kind") and plain.get(name) != value
    )
    points = ", ".join(map(str, operands.input_zero_points))
    return (
        f"{case.op} of {shapes}{weights}{attributes}, input zero point {points}, "
        f"output zero point {operands.output_zero_point}, clamp {operands.low}..{operands.high}"
    )


def random_cases(op: str, widths: Widths, examples: int, seed: int) -> list[Case]:
    """Return random layers of an operator; the same seed gives the same."""
    found: list[Case] = []
    _generate(op, widths, examples, seed, lambda case: found.append(case))
    return found


def _first_failure(state: _Search, op: str, widths: Widths, seed: int) -> Case | None:
    require_hypothesis()
    from workloads.testing.extreme_cases import extremes

    for case in extremes(op, widths)[: state.examples]:
        if state.differs(case):
            state.found_at = state.tried
            return case
    left = state.examples - state.tried
    if left < 1:
        return None
    last: list[Case] = []

    def agrees(case: Case) -> None:
        # While Hypothesis shrinks, the counts of the search stay as they were.
        shrinking = state.found_at > 0
        if _differs(state.kernel, case, state.profile) if shrinking else state.differs(case):
            state.found_at = state.found_at or state.tried
            last.append(case)
            raise _FoundError

    try:
        _generate(op, widths, left, seed, agrees)
    except _FoundError:
        return last[-1]
    return None


def _generate(op: str, widths: Widths, examples: int, seed: int, consume: Callable[[Case], None]) -> None:
    """Hand random layers to a function; where it raises, Hypothesis hands it smaller ones before raising too."""
    hypothesis = require_hypothesis()
    from workloads.testing.layer_strategies import layers

    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )

    def one(case: Case) -> None:
        consume(case)

    try:
        hypothesis.seed(seed)(settings(hypothesis.given(layers(op, widths))(one)))()
    except hypothesis.errors.Flaky as error:
        raise KernelError("the kernel gives different results for the same case") from error


class _FoundError(Exception):
    """Tells Hypothesis that a case differs."""


def require_hypothesis() -> Any:
    """Import Hypothesis.

    Raises
    ------
    InputError
        It is not installed; the message says how to install it.
    """
    try:
        import hypothesis
    except ImportError as error:
        raise InputError("fuzz", ["needs Hypothesis, which is not installed: pip install 'presage[fuzz]'"]) from error
    return hypothesis


def _differs(kernel: Kernel, case: Case, profile: str) -> bool:
    try:
        return not np.array_equal(call(kernel, case), expected(case, profile))
    except (UnsupportedError, KernelError, ValueError):
        return False


def _smallest(state: _Search, failing: Case) -> Difference:
    """Return the reduced case with its diagnosis, confirmed on other cases."""
    case = reduce(failing, lambda other: _differs(state.kernel, other, state.profile))
    found = call(state.kernel, case)
    pairs = [(case, found), (failing, call(state.kernel, failing)), *state.witnesses, *_witnesses(state.kernel, case)]
    return Difference(case, expected(case, state.profile), found, diagnose(pairs, state.profile))


def _witnesses(kernel: Kernel, case: Case) -> list[tuple[Case, Array]]:
    """Return the kernel's outputs on the extremes: a single small case fits too many explanations."""
    from workloads.testing.extreme_cases import extremes

    widths = Widths(case.operands.dtype, "int8", case.operands.wide)
    pairs = []
    for other in extremes(case.op, widths):
        if any(array.size > MAX_WITNESS_SIZE for array in other.inputs):
            continue
        try:
            pairs.append((other, call(kernel, other)))
        except (UnsupportedError, KernelError):
            continue
    return pairs
