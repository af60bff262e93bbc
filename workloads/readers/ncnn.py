"""Read an ncnn network description (.param): shapes without weights, for costing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads.builder import GraphBuilder
from workloads.errors import InputError, did_you_mean
from workloads.passes.retype import retype
from workloads.readers import limits
from workloads.readers.ncnn_layers import LAYERS
from workloads.readers.ncnn_moves import MOVES
from workloads.readers.ncnn_network import SIZES, Network, ParamLayer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.graph import Graph

MAGIC = "7767517"
OPERATORS = {**LAYERS, **MOVES}


def read(path: str | Path, sizes: Mapping[str, int] | None = None) -> Graph:
    """Read a .param file; layers with the int8 flag make it an int8 network.

    Operators that presage cannot cost become Unmodelled layers. Like ncnn, only as many layers are read as the second
    line announces.

    Parameters
    ----------
    sizes
        "width", "height" and "channels" of an input whose extents the file does not tell.

    Raises
    ------
    InputError
        The file is missing, damaged, or contradicts itself; all faults at once.

    References
    ----------
    .. [1] Tencent/ncnn@a4d2ea1d4422, docs/developer-guide/{param-and-model-file-structure,operators}.md.
    """
    path = Path(path)
    try:
        lines = limits.read_file(path, limits.MAX_TABLE_BYTES).decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(path, [f"not an ncnn text description: {error}"]) from error
    if lines[0].strip() != MAGIC or len(lines) < 2:
        raise InputError(path, [f"not an ncnn text description: the first line is not {MAGIC}"])
    network, problems = Network(GraphBuilder(path.stem), sizes or {}), _size_problems(sizes or {}, lines)
    body = [(number, line) for number, line in enumerate(lines[2:], start=3) if line.strip()]
    counts = lines[1].split()
    announced = int(counts[0]) if counts and counts[0].isdecimal() else 0
    if not 0 < announced <= len(body):
        problems.append(f"line 2: announces {counts[0] if counts else 'no'} layers, the file has {len(body)}")
    for number, line in body[:announced]:
        if problems:
            break
        try:
            _add(network, ParamLayer.parse(line))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    outputs = network.unread()
    if not problems and not outputs:
        problems.append("the network has no output")
    if problems:
        raise InputError(path, problems)
    graph = network.builder.build(outputs, executable=False)
    return retype(graph, "int8") if network.int8 else graph


def _add(network: Network, layer: ParamLayer) -> None:
    """Add one layer."""
    missing = [name for name in layer.inputs if name not in network.blobs]
    if missing:
        raise ValueError(f"{layer.op} {layer.name!r} reads {missing[0]!r}; {did_you_mean(missing[0], network.blobs)}")
    twice = [name for name in layer.outputs if name in network.blobs]
    if twice or not layer.outputs:
        raise ValueError(
            f"{layer.op} {layer.name!r} makes {twice[0]!r} again" if twice else f"{layer.op} has no output"
        )
    if layer.op not in OPERATORS and not layer.inputs:
        raise ValueError(f"{layer.op} {layer.name!r} has no input; {did_you_mean(layer.op, OPERATORS)}")
    OPERATORS.get(layer.op, network.unmodelled)(network, layer)
    network.check_hints(layer)


def _size_problems(sizes: Mapping[str, int], lines: list[str]) -> list[str]:
    """Return a line per size that is no extent of an input, or that the file tells already."""
    inputs = [line.split() for line in lines if line.startswith("Input")]
    told = {SIZES[number] for words in inputs for number in range(3) if f"{number}=" in {word[:2] for word in words}}
    return [
        f"size {name!r}: {'the file tells it' if name in told else did_you_mean(name, SIZES)}"
        for name in sizes
        if name in told or name not in SIZES
    ]
