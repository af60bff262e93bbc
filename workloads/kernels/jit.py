"""The one decorator of the compiled kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def kernel(function: F) -> F:
    """Compile with numba and cache the result on disk; ``kernel(f).py_func`` is the plain function.

    The cache notices edits only in the kernel's own file, so a kernel calls only kernels of its own file.
    """
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
