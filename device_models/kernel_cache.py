"""Costs of kernels kept on disk by content: the same layer on the same device is priced once, not once a process.

The file's name holds a hash of every source and data file that can change a cost, so an edit starts a new file.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from contextlib import closing, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from device_models.cores import Core
    from device_models.device import Device

KEPT_FILES = 4  # of older sources
BUSY_S = 2.0  # how long another process may hold the file


def remembered(key: str, make: Callable[[], str]) -> str:
    """Return the text kept under ``key``, made and kept now if there is none; without a writable folder just made."""
    found = kept(key)
    if found is not None:
        return found
    made, file = make(), cache_file()
    if file is not None:
        # Busy, full or damaged: the cost itself does not depend on the file.
        with suppress(sqlite3.Error), _store(file, os.getpid(), threading.get_ident()) as store:
            store.execute("INSERT OR REPLACE INTO costs VALUES (?, ?)", (key, made))
    return made


def kept(key: str) -> str | None:
    """Return the text kept under ``key``, None if there is none."""
    file = cache_file()
    if file is None:
        return None
    try:
        store = _store(file, os.getpid(), threading.get_ident())
        found = store.execute("SELECT text FROM costs WHERE key = ?", (key,)).fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


@lru_cache(maxsize=4)
def _store(file: Path, _process: int, _thread: int) -> sqlite3.Connection:
    """Return the open file, once a thread: to open it takes longer than to look up a cost.

    Nothing waits until the disk has what is written: after a power failure costs are made again.
    """
    store = sqlite3.connect(file, timeout=BUSY_S)
    store.execute("PRAGMA synchronous = OFF")
    return store


@cache
def cache_file() -> Path | None:
    """Return the file for today's sources, None where nothing may be written or ``PRESAGE_NO_CACHE`` is set."""
    if os.environ.get("PRESAGE_NO_CACHE"):
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "presage" / "costs"
    file = folder / f"{source_hash()}.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=BUSY_S)) as store, store:
            store.execute("CREATE TABLE IF NOT EXISTS costs (key TEXT PRIMARY KEY, text TEXT NOT NULL)")
        for old in sorted(folder.glob("*.sqlite"), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_FILES:]:
            old.unlink(missing_ok=True)
    except (OSError, sqlite3.Error):
        return None
    return file


@cache
def source_hash() -> str:
    """Return a hash over the code generators, the instruction sets, the core models and their data."""
    ours = Path(__file__).parent
    theirs = ours.parent / "workloads"
    data = [*theirs.glob("isa/*"), *theirs.glob("*.toml")]
    return _hashed([*ours.rglob("*.py"), *theirs.glob("*.py"), *theirs.glob("codegen/*.py"), *data])


@cache
def generator_hash() -> str:
    """Return a hash over what makes Programs: the code generators and the instruction sets."""
    theirs = Path(__file__).parents[1] / "workloads"
    rules = [theirs / name for name in ("program.py", "options.py", "encoding.py", "encoding.toml")]
    return _hashed([*rules, *theirs.glob("codegen/*.py"), *theirs.glob("isa/*")])


@cache
def table_hash(device: Device) -> str:
    """Return a hash over what turns Programs into cycles and joules: the core models, and the device's tables."""
    tables = (fingerprint(device), device.clock, device.compute, device.power, device.overhead, device.operators)
    models = _hashed([Path(__file__).with_name(f"{name}.py") for name in ("memory", "footprint", "energy", "estimate")])
    cores = _hashed((Path(__file__).parent / "cores").glob("*.py"))
    return hashlib.sha256(repr((tables, models, cores)).encode()).hexdigest()[:16]


def _hashed(files: Iterable[Path]) -> str:
    """Return a hash over the names and contents of files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def fingerprint(device: Device) -> str:
    """Return a hash of what a kernel's cost depends on: the core with its timings, and the memories."""
    return hashlib.sha256(f"{core_fingerprint(device.core)} {device.memory!r}".encode()).hexdigest()


@cache
def core_fingerprint(core: Core) -> str:
    """Return a hash of what a kernel's cycles depend on: the core model, the instruction sets and the timings."""
    content = repr((core.model, core.instruction_sets, sorted(core.parameters.items()), core.timing))
    return hashlib.sha256(content.encode()).hexdigest()
