"""Write a Graph as an ONNX model: float, or quantised in QOperator or quantise-dequantise form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError, did_you_mean
from workloads.files import replacing
from workloads.operators import BatchNorm, Unmodelled
from workloads.writers.onnx_layers import write_layer
from workloads.writers.onnx_state import Writing

if TYPE_CHECKING:
    from pathlib import Path

    from workloads.graph import Graph

FORMS = ("float", "qdq", "qoperator")
OPSET = 13  # the first with per-channel DequantizeLinear
IR_VERSION = 8


def write(graph: Graph, path: str | Path, form: str | None = None) -> None:
    """Write ``encode(graph, form)`` to a file, whole or not at all."""
    model = encode(graph, form)
    with replacing(path) as file:
        file.write(model)


def encode(graph: Graph, form: str | None = None) -> bytes:
    """Return a graph as the bytes of an ONNX model.

    Inputs and outputs keep the graph's names, shapes and element types; images are channels first inside, between
    transposes. QOperator form uses operators of the domain com.microsoft for sums, pools, softmax and Gemm.

    Parameters
    ----------
    form
        "float", "qoperator" or "qdq"; without it, "float" or "qoperator" as the graph is.

    Raises
    ------
    InputError
        The form is unknown or not that of the graph, or the graph has no weights to write.
    """
    from onnx import helper

    quantized = graph.arithmetic != "none"
    form = form or ("qoperator" if quantized else "float")
    problems = []
    if form not in FORMS:
        problems.append(f"form {form!r} is unknown; {did_you_mean(form, FORMS)}")
    elif quantized == (form == "float"):
        problems.append(f"form {form!r} does not fit a {'quantised' if quantized else 'float'} network")
    if not graph.executable:
        problems.append("the network is known by its shapes only: it has no weights to write")
    problems += [
        f"layer {layer.name!r}: operator {layer.op!r} cannot be written"
        for layer in graph.layers
        if isinstance(layer.operator, Unmodelled) or (quantized and isinstance(layer.operator, BatchNorm))
    ]
    if problems:
        raise InputError(graph.name, problems)
    state = Writing(graph, form)
    state.open_inputs()
    for layer in graph.layers:
        write_layer(state, layer)
    state.close_outputs()
    onnx_graph = helper.make_graph(
        state.nodes,
        graph.name,
        [state.declared(name) for name in graph.inputs],
        [state.declared(name) for name in graph.outputs],
        state.initializers,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="presage")
    data: bytes = model.SerializeToString()
    return data
