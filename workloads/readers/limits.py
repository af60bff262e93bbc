"""Limits on what a model file may declare, so that a small or hostile file cannot exhaust memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_FILE_BYTES = 2**31  # the largest message that protobuf and flatbuffers can hold
MAX_TENSOR_ELEMENTS = 2**30  # 4 GiB of float32 in one tensor
MAX_CONSTANT_BYTES = 2**33  # all constants of one network
MAX_RANK = 8
MAX_LAYERS = 100_000
MAX_TABLE_BYTES = 2**26


def read_file(path: Path, limit_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file of bounded size.

    Raises
    ------
    InputError
        The file is missing, not a file, unreadable, empty, or larger than the limit.
    """
    try:
        if not path.exists():
            raise InputError(path, ["no such file; check the path"])
        if not path.is_file():
            raise InputError(path, ["not a file; expected a model file"])
        size = path.stat().st_size
        if size > limit_bytes:
            raise InputError(path, [f"file of {size} bytes; at most {limit_bytes} are read"])
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, [f"cannot be read: {error}"]) from error
    if not data:
        raise InputError(path, ["the file is empty"])
    return data


def shape_problems(where: str, shape: Sequence[int]) -> list[str]:
    """List what is wrong with a declared shape: its rank, an extent below 1, too many elements."""
    if len(shape) > MAX_RANK:
        return [f"{where}: {len(shape)} axes; at most {MAX_RANK} are read"]
    if any(extent < 1 for extent in shape):
        return [f"{where}: shape {list(shape)} has an extent below 1"]
    if math.prod(shape) > MAX_TENSOR_ELEMENTS:
        return [f"{where}: shape {list(shape)} has {math.prod(shape)} elements; at most {MAX_TENSOR_ELEMENTS} are read"]
    return []


def check_shape(where: str, shape: Sequence[int]) -> None:
    """Raise ValueError with the first problem of ``shape_problems``, if any."""
    problems = shape_problems(where, shape)
    if problems:
        raise ValueError(problems[0])
