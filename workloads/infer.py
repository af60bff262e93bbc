"""Inference on the user's arrays: inputs checked completely, batches run sample by sample, results written at once."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import PROFILES
from workloads.errors import InputError, did_you_mean
from workloads.execute import plan, run
from workloads.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from workloads.graph import Graph
    from workloads.isa import InstructionSet
    from workloads.run_programs import Fallback
    from workloads.tensor import Array, Tensor

MAX_INPUT_BYTES = 2**32  # all arrays of one .npz, uncompressed

# What zipfile, zlib and numpy raise on damaged, encrypted or hostile archives.
DAMAGE = (
    OSError, ValueError, EOFError, LookupError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def infer(graph: Graph, inputs: Mapping[str, Array], *, profile: str | None = None) -> dict[str, Array]:
    """Run a network on arrays named by its inputs, and return the arrays of its outputs.

    A leading extent that is a multiple of the model's is run in pieces of the model's batch, in order.

    Parameters
    ----------
    inputs
        Raw integers for quantised inputs, float32 for float ones.
    profile
        A key of ``workloads.arithmetic.PROFILES``; without it, the graph's own arithmetic.

    Raises
    ------
    InputError
        The profile is unknown, the network cannot be executed, or an array is missing, unknown, or of the wrong type
        or shape; all faults at once.
    """
    if profile is not None and profile not in PROFILES:
        raise InputError("--profile", [f"{profile!r} is unknown; {did_you_mean(profile, PROFILES)}"])
    repeats = _repeats(graph, inputs)
    prepared = plan(graph, profile=profile)
    return _in_pieces(graph, inputs, repeats, lambda piece: run(prepared, piece))


def infer_programs(
    graph: Graph, inputs: Mapping[str, Array], isa: InstructionSet
) -> tuple[dict[str, Array], tuple[Fallback, ...]]:
    """Do as ``infer`` with every layer run as the Program generated for an instruction set.

    Returns
    -------
    tuple
        The outputs, and the layers for which there is no Program: the integer kernel of the same profile ran them.
    """
    from workloads import run_programs

    repeats = _repeats(graph, inputs)
    prepared = run_programs.prepare(graph, isa)
    results = _in_pieces(graph, inputs, repeats, lambda piece: run(prepared.plan, piece))
    return results, prepared.fallbacks


def read_inputs(path: str | Path) -> dict[str, Array]:
    """Read the arrays of an .npz file; pickled objects are never loaded.

    Raises
    ------
    InputError
        The file is missing, no .npz, damaged, too large, or holds objects.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_INPUT_BYTES:
            raise InputError(path, [f"{size} bytes of arrays, more than the limit of {MAX_INPUT_BYTES}"])
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except InputError:
        raise
    except DAMAGE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise InputError(path, [f"cannot be read as .npz: {reason}; write it with numpy.savez"]) from error
    wrong = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if wrong:
        raise InputError(path, [f"member {name!r} is not an array; write the file with numpy.savez" for name in wrong])
    return arrays


def write_outputs(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as .npz so that an interruption leaves the old file, or none, never half of the new one.

    Raises
    ------
    InputError
        The folder does not exist or cannot be written, or the path is a device, a pipe or a folder.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _repeats(graph: Graph, inputs: Mapping[str, Array]) -> int:
    """Return how many of the model's batches the arrays hold, after checking names, types and shapes."""
    problems = [
        f"array {name!r} is not an input of the model; {did_you_mean(name, graph.inputs)}"
        for name in sorted(set(inputs) - set(graph.inputs))
    ]
    counts = {}
    for name in graph.inputs:
        if name not in inputs:
            problems.append(f"array {name!r} is missing; expected {_expected(graph[name])}")
            continue
        found, faults = _pieces(graph[name], np.asarray(inputs[name]))
        problems += faults
        counts[name] = found
    if not problems and len(set(counts.values())) > 1:
        listed = ", ".join(f"{name!r} holds {count}" for name, count in counts.items())
        problems.append(f"the arrays hold different numbers of samples: {listed}")
    if problems:
        raise InputError("inputs", problems)
    return next(iter(counts.values()), 1)


def _pieces(tensor: Tensor, array: Array) -> tuple[int, list[str]]:
    """Return how many times the model's batch an array holds, and its faults."""
    faults = []
    if array.dtype.name != tensor.dtype:
        faults.append(f"array {tensor.name!r} has type {array.dtype.name}; expected {_expected(tensor)}")
    elif array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        faults.append(f"array {tensor.name!r} has values that are NaN or infinite")
    shape = tensor.shape
    fits = array.ndim == len(shape) and array.shape[1:] == shape[1:]
    if array.shape == shape:
        return 1, faults
    if not fits or not array.shape[0] or array.shape[0] % shape[0]:
        faults.append(f"array {tensor.name!r} has shape {list(array.shape)}; expected {_expected(tensor)}")
        return 1, faults
    return array.shape[0] // shape[0], faults


def _expected(tensor: Tensor) -> str:
    batch = f", or a multiple of {tensor.shape[0]} along axis 0" if tensor.shape else ""
    return f"{tensor.dtype} of shape {list(tensor.shape)}{batch}"


def _in_pieces(
    graph: Graph, inputs: Mapping[str, Array], repeats: int, compute: Callable[[dict[str, Array]], dict[str, Array]]
) -> dict[str, Array]:
    """Run each piece of the batch and join the outputs along axis 0."""
    results = [compute(piece) for piece in _split(graph, inputs, repeats)]
    if repeats == 1:
        return {name: results[0][name] for name in graph.outputs}
    scalars = [name for name in graph.outputs if not graph[name].shape]
    if scalars:
        raise InputError("inputs", [f"output {name!r} has no batch axis; give one sample" for name in scalars])
    return {name: np.concatenate([result[name] for result in results]) for name in graph.outputs}


def _split(graph: Graph, inputs: Mapping[str, Array], repeats: int) -> Iterator[dict[str, Array]]:
    for index in range(repeats):
        piece = {}
        for name in graph.inputs:
            array, batch = np.asarray(inputs[name]), graph[name].shape[:1]
            piece[name] = array if repeats == 1 else array[index * batch[0] : (index + 1) * batch[0]]
        yield piece
