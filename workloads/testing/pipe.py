"""Arguments and results of a kernel on a pipe: one line of JSON, then the raw bytes of the arrays; no code travels."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTH_BYTES = 8


def send(stream: IO[bytes], values: Mapping[str, Any]) -> None:
    """Write named arrays, numbers, texts and tuples of numbers."""
    arrays = {name: np.ascontiguousarray(value) for name, value in values.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in values.items() if name not in arrays}
    listed = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    head = json.dumps({"plain": plain, "arrays": listed}).encode()
    body = b"".join([head, b"\n", *(array.tobytes() for array in arrays.values())])
    stream.write(len(body).to_bytes(LENGTH_BYTES, "little") + body)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read what ``send`` wrote; None when the other side is gone."""
    length = stream.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    body = stream.read(int.from_bytes(length, "little"))
    head, _, rest = body.partition(b"\n")
    found = json.loads(head)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in found["plain"].items()}
    offset = 0
    for name, dtype, shape in found["arrays"]:
        count = int(np.prod(shape))
        array = np.frombuffer(rest, dtype, count, offset).reshape(shape)
        values[name] = array.copy()
        offset += array.nbytes
    return values
