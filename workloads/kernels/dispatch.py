"""Which instructions the integer products use: chosen once from the processor's features, forced in tests."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from workloads.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = {
    "vnni": "products of bytes in fours (vpdpbusd)",
    "avx2": "products of int16 in pairs (vpmaddwd)",
    "portable": "loops that numba compiles for any processor, or that plain Python runs",
}
VARIABLE = "PRESAGE_KERNELS"

_forced: ContextVar[str | None] = ContextVar("kernel_path", default=None)


def kernel_path() -> str:
    """Return the path in use, a key of ``PATHS``: the forced one, or the fastest this processor has."""
    return _forced.get() or default_path()


@cache
def default_path() -> str:
    """Return the path named by the environment variable PRESAGE_KERNELS, or the fastest.

    Raises
    ------
    ValueError
        The variable names no path; the message suggests the closest.
    """
    import numba

    if numba.config.DISABLE_JIT:
        return "portable"
    if name := os.environ.get(VARIABLE):
        return _checked(name)
    return native_paths()[0]


@cache
def native_paths() -> tuple[str, ...]:
    """Return the paths whose instructions this processor has, fastest first."""
    import numba

    if numba.config.DISABLE_JIT:
        return ("portable",)
    from workloads.kernels.llvm import processor_features

    features = processor_features()
    vnni = bool(features & {"avx512vnni", "avxvnni"})
    return tuple(name for name, found in (("vnni", vnni), ("avx2", "avx2" in features), ("portable", True)) if found)


@contextmanager
def force_path(name: str) -> Iterator[None]:
    """Use one path inside a ``with`` block; every path gives the same integers.

    A processor without the path's instruction runs the same code with the instruction's arithmetic spelt out.

    Raises
    ------
    ValueError
        There is no such path; the message suggests the closest.
    """
    import numba

    token = _forced.set("portable" if numba.config.DISABLE_JIT else _checked(name))
    try:
        yield
    finally:
        _forced.reset(token)


def _checked(name: str) -> str:
    if name not in PATHS:
        raise ValueError(f"kernel path {name!r} is unknown; {did_you_mean(name, PATHS)}")
    return name
