"""Read an ncnn network description (.param): shapes without weights, for costing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads.builder import GraphBuilder
from workloads.errors import InputError, did_you_mean
from workloads.passes.retype import retype
from workloads.readers import limits
from workloads.readers.ncnn_layers import OPERATORS, Network, ParamLayer

if TYPE_CHECKING:
    from workloads.graph import Graph

MAGIC = "7767517"


def read(path: str | Path) -> Graph:
    """Read a .param file; layers with the int8 flag make it an int8 network.

    Operators that presage cannot cost become Unmodelled layers.

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
    network, problems = Network(GraphBuilder(path.stem)), []
    body = [(number, line) for number, line in enumerate(lines[2:], start=3) if line.strip()]
    counts = lines[1].split()
    if not counts or counts[0] != str(len(body)):
        problems.append(f"line 2: announces {counts[0] if counts else 'no'} layers, the file has {len(body)}")
    for number, line in body:
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
