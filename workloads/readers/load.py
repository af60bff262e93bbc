"""Find a network by file or by name: the one entry for everything that takes a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.graph import Graph

SUFFIXES = (".onnx", ".tflite", ".param", ".csv")


def load(text: str | Path, *, sizes: Mapping[str, int] | None = None) -> Graph:
    """Return the network that ``text`` names.

    Parameters
    ----------
    text
        A path to a file (.onnx, .tflite, ncnn's .param, or "table.csv#network"), or a built-in name.
    sizes
        Extents of dynamic axes, for formats that have them.

    Raises
    ------
    InputError
        There is no such file or name, or the file cannot be read.
    """
    name, _, network = str(text).partition("#") if ".csv#" in str(text) else (str(text), "", "")
    path = Path(name)
    match path.suffix.lower():
        case ".onnx":
            from workloads.readers import onnx

            return onnx.read(path, sizes)
        case ".tflite":
            from workloads.readers import tflite

            return tflite.read(path, sizes)
        case ".csv":
            from workloads.readers import table

            _refuse_sizes(path, sizes)
            return table.read(path, network)
        case ".param":
            from workloads.readers import ncnn

            return ncnn.read(path, sizes)
    return _built_in(name, sizes)


def _built_in(name: str, sizes: Mapping[str, int] | None) -> Graph:
    """Return a built-in network."""
    from workloads.models import BUILT_IN, build, find

    if find(name) is not None:
        _refuse_sizes(name, sizes)
        return build(name)
    if Path(name).exists():
        kind = "a folder" if Path(name).is_dir() else "of no known format"
        raise InputError(name, [f"the path is {kind}; expected a file ending in {', '.join(SUFFIXES)}"])
    hint = did_you_mean(name, BUILT_IN)
    raise InputError(name, [f"{name!r} is neither a model file ({', '.join(SUFFIXES)}) nor a built-in network; {hint}"])


def _refuse_sizes(where: object, sizes: Mapping[str, int] | None) -> None:
    """Refuse sizes for a network without dynamic axes."""
    if sizes:
        raise InputError(where, [f"size {name!r}: the network has no dynamic axes" for name in sorted(sizes)])
