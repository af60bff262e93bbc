"""A kit for people who write quantised kernels: strategies, laws, and tests against a target's exact arithmetic.

``layers``, ``tensors``, ``scales`` and ``zero_points`` are Hypothesis strategies; ``extremes`` are explicit examples;
``assert_bit_exact`` is a whole test in one line; ``LAWS`` hold for any correct kernel without an oracle.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.testing.calling import KernelError, UnsupportedError, arguments, python_kernel
    from workloads.testing.case import Case, Widths, expected, load, save, widths_of
    from workloads.testing.coverage import labels
    from workloads.testing.diagnosis import Diagnosis, diagnose
    from workloads.testing.exact import assert_bit_exact, explain
    from workloads.testing.extreme_cases import extremes
    from workloads.testing.finding import Difference, Finding, compare, search
    from workloads.testing.laws import LAWS, Law, check_laws
    from workloads.testing.layer_strategies import layers
    from workloads.testing.native import NativeKernel
    from workloads.testing.shrinking import reduce
    from workloads.testing.strategies import fixed_factors, scales, tensors, zero_points

_HOMES = {
    "calling": ("KernelError", "UnsupportedError", "arguments", "python_kernel"),
    "case": ("Case", "Widths", "expected", "load", "save", "widths_of"),
    "diagnosis": ("Diagnosis", "diagnose"),
    "exact": ("assert_bit_exact", "explain"),
    "extreme_cases": ("extremes",),
    "coverage": ("labels",),
    "laws": ("LAWS", "Law", "check_laws"),
    "layer_strategies": ("layers",),
    "native": ("NativeKernel",),
    "shrinking": ("reduce",),
    "finding": ("Difference", "Finding", "compare", "search"),
    "strategies": ("fixed_factors", "scales", "tensors", "zero_points"),
}

__all__ = [
    "LAWS", "Case", "Diagnosis", "Difference", "Finding", "KernelError", "Law", "NativeKernel", "UnsupportedError",
    "Widths", "arguments", "assert_bit_exact", "check_laws", "compare", "diagnose", "expected", "explain", "extremes",
    "fixed_factors", "labels", "layers", "load", "python_kernel", "reduce", "save", "scales", "search", "tensors",
    "widths_of", "zero_points",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: without Hypothesis, what does not need it still works."""
    for module, names in _HOMES.items():
        if name in names:
            try:
                return getattr(import_module(f"workloads.testing.{module}"), name)
            except ModuleNotFoundError as error:
                if error.name != "hypothesis":
                    raise
                raise ImportError(
                    f"workloads.testing.{name} needs Hypothesis; install it with: pip install 'presage[fuzz]'"
                ) from error
    raise AttributeError(f"module 'workloads.testing' has no attribute {name!r}")
