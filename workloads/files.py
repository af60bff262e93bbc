"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place only when all is written; an interruption leaves the old one.

    Raises
    ------
    InputError
        The folder does not exist or cannot be written, or the path is a device, a pipe or a folder.
    """
    path = Path(path).resolve()  # a link keeps pointing to the file that is written
    if path.exists() and not path.is_file():  # replacing a device file would break the machine
        raise InputError(path, ["exists and is no regular file; name another file to write"])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise InputError(path, [f"cannot be written: {error.strerror or error}"]) from error
    finally:
        if temporary.exists():
            temporary.unlink()
