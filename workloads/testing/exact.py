"""The one-line test for a user's suite: a kernel equals a target's arithmetic, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.testing.calling import python_kernel
from workloads.testing.finding import Difference, Finding, describe, search
from workloads.testing.native import NativeKernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.testing.case import Widths


def assert_bit_exact(
    kernel: Callable[..., Any] | NativeKernel, operator: str, profile: str, *, examples: int = 200, seed: int = 0,
    widths: Widths | None = None,
) -> Finding:  # fmt: skip
    """Check a kernel against a profile on the extremes of an operator and on random layers.

    Parameters
    ----------
    kernel
        A Python function, which receives the arguments it names (``workloads.testing.calling`` lists them), or a
        function of a shared library.
    operator
        "conv2d", "depthwise_conv2d", "fully_connected", "matmul", "add", "mul", "average_pool2d", "max_pool2d",
        "softmax" or "requantize".
    profile
        A key of ``workloads.arithmetic.PROFILES``.

    Returns
    -------
    Finding
        What was tried, when nothing differed.

    Raises
    ------
    AssertionError
        They differ; the message shows the smallest case and the step at which they part.
    InputError
        The operator or profile is unknown, or the function's parameters do not fit.
    KernelError
        The kernel raised, crashed or returned the wrong shape or type.
    """
    bound = kernel if isinstance(kernel, NativeKernel) else python_kernel(kernel, operator)
    finding = search(bound, operator, profile, examples=examples, seed=seed, widths=widths)
    if finding.difference is not None:
        raise AssertionError(explain(finding.difference, profile))
    return finding


def explain(difference: Difference, profile: str) -> str:
    """Return a difference in a few lines: the case, the two values, the step at which they part."""
    from workloads.testing.diagnosis import worst

    wrong = int(np.count_nonzero(difference.found != difference.expected))
    index = worst(difference.found, difference.expected)
    lines = [
        f"{wrong} of {difference.found.size} outputs differ from {profile} on {describe(difference.case)}",
        f"output {index}: expected {difference.expected[index]}, found {difference.found[index]}",
        f"they part at: {difference.diagnosis.step} ({difference.diagnosis.explanation})",
    ]
    lines += [
        f"  {step}: {ours:g}, kernel {'?' if theirs is None else f'{theirs:g}'}"
        for step, ours, theirs in difference.diagnosis.steps
    ]
    return "\n".join(lines)
