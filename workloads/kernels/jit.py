"""The one decorator of the compiled kernels, and the folder in which their machine code is kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F = TypeVar("F", bound="Callable[..., Any]")

KEPT_FOLDERS = 4  # older versions of the kernels whose machine code stays on disk


def kernel(function: F) -> F:
    """Compile with numba and cache the result on disk; ``kernel(f).py_func`` is the plain function.

    The cache's folder is named by a hash of all kernel sources, because numba itself notices edits only in the file of
    the kernel it loads, not in those of its callees. Where no folder may be written, nothing is cached.
    """
    folder = cache_folder()
    if folder is None:
        return cast("F", numba.njit(nogil=True, error_model="numpy")(function))
    given = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    finally:
        numba.config.CACHE_DIR = given


@cache
def cache_folder() -> Path | None:
    """Return the folder of the machine code of today's sources, None where nothing may be written.

    It lies under NUMBA_CACHE_DIR if that is set, else under XDG_CACHE_HOME or ~/.cache.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    root = Path(numba.config.CACHE_DIR or Path(home) / "presage") / "kernels"
    folder = root / source_hash()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return None
    folder.touch()
    _forget_old(root)
    return folder


@cache
def source_hash() -> str:
    """Return a hash over every file that holds kernels, or constants that they take in."""
    digest = hashlib.sha256()
    for path in _sources(Path(__file__).parents[1]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(package: Path) -> Iterator[Path]:
    for pattern in ("kernels/*.py", "executor/*.py", "requant_profile.py"):
        yield from sorted(package.glob(pattern))


def _forget_old(root: Path) -> None:
    """Remove the machine code of all but the newest versions; another process may do so at the same time."""
    try:
        newest_first = sorted(root.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return
    for path in newest_first[KEPT_FOLDERS:]:
        shutil.rmtree(path, ignore_errors=True)
