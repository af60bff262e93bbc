"""Read an ONNX file into a Graph, channels last; wrong files are refused with all their faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.builder import GraphBuilder
from workloads.errors import InputError, did_you_mean
from workloads.operators import Add, Dequantize, Mul, Quantize, Reshape
from workloads.passes.fuse import simplify_moves
from workloads.passes.rewrite import rebuilt
from workloads.readers import limits, onnx_float, onnx_quantized
from workloads.readers.onnx_constants import ELEMENT_TYPES, Constant, constant
from workloads.readers.onnx_evaluate import evaluate
from workloads.readers.onnx_qdq import lower
from workloads.readers.onnx_state import Node, Translation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from workloads.graph import Graph

OPERATORS: dict[str, Callable[[Translation, Node], Constant | str]] = {
    "Add": onnx_float.binary(Add()),
    "AveragePool": onnx_float.pool("average"),
    "BatchNormalization": onnx_float.batch_norm,
    "Cast": onnx_float.cast,
    "Clip": onnx_float.clip,
    "Concat": onnx_float.concat,
    "Conv": onnx_float.conv,
    "DequantizeLinear": onnx_quantized.dequantize_linear,
    "Div": onnx_float.binary(Mul(), inverse=True),
    "Dropout": onnx_float.identity,
    "Flatten": onnx_float.flatten,
    "Gemm": onnx_float.gemm,
    "GlobalAveragePool": onnx_float.global_pool("average"),
    "GlobalMaxPool": onnx_float.global_pool("max"),
    "Identity": onnx_float.identity,
    "MatMul": onnx_float.matmul,
    "MaxPool": onnx_float.pool("max"),
    "Mul": onnx_float.binary(Mul()),
    "Pad": onnx_float.pad,
    "QGemm": onnx_quantized.qgemm,
    "QLinearAdd": onnx_quantized.qlinear_binary(Add()),
    "QLinearAveragePool": onnx_quantized.qlinear_average,
    "QLinearConcat": onnx_quantized.qlinear_concat,
    "QLinearConv": onnx_quantized.qlinear_conv,
    "QLinearGlobalAveragePool": onnx_quantized.qlinear_global_average,
    "QLinearMatMul": onnx_quantized.qlinear_matmul,
    "QLinearMul": onnx_quantized.qlinear_binary(Mul()),
    "QLinearSoftmax": onnx_quantized.qlinear_softmax,
    "QuantizeLinear": onnx_quantized.quantize_linear,
    "ReduceMean": onnx_float.reduce_mean,
    "Relu": onnx_float.relu,
    "Reshape": onnx_float.reshape,
    "Softmax": onnx_float.softmax,
    "Squeeze": onnx_float.squeeze,
    "Sub": onnx_float.binary(Add(), inverse=True),
    "Transpose": onnx_float.transpose,
    "Unsqueeze": onnx_float.unsqueeze,
}
# These move or choose elements, or are made for integers; all others compute in float32.
ANY_TYPE = {
    "Cast", "Clip", "Concat", "Dropout", "Flatten", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Reshape", "Squeeze",
    "Transpose", "Unsqueeze",
}  # fmt: skip
EVALUATED = {"Constant", "ConstantOfShape", "Gather", "ReduceProd", "Shape", "Size", "Slice"}  # of constants and shapes
DOMAINS = {"", "ai.onnx", "com.microsoft"}
INPUT_TYPES = {"float32", "int8", "uint8"}


def read(path: str | Path, sizes: Mapping[str, int] | None = None) -> Graph:
    """Read a float or quantised ONNX model.

    Parameters
    ----------
    sizes
        Extents for dynamic axes, by the name of the axis, or "input.axis" for one without a name.

    Raises
    ------
    InputError
        The file is missing, damaged, hostile or unsupported; all its faults are listed.
    """
    path = Path(path)
    model = _parse(path, limits.read_file(path))
    problems = _structure_problems(model)
    if problems:
        raise InputError(path, problems)
    state = Translation(GraphBuilder(path.stem), reserved={output.name for output in model.graph.output})
    problems += _read_constants(state, model, path.parent)
    problems += _read_inputs(state, model, dict(sizes or {}))
    if not problems:
        problems += _translate(state, model)
    outputs: list[str] = []
    if not problems:
        problems += _write_outputs(state, model, outputs)
    if problems:
        raise InputError(path, problems)
    return _finished(state.builder.build(outputs))


def _parse(path: Path, data: bytes) -> Any:
    """Decode the protobuf message, without any file beside it."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InputError(path, [f"not an ONNX model, or a damaged one: {error}"]) from error
    if not model.graph.node:
        raise InputError(path, ["not an ONNX model: the file holds no graph with nodes"])
    if not all(isinstance(text, str) for text in _texts(model)):
        raise InputError(path, ["a damaged ONNX model: a name is not UTF-8 text"])
    return model


def _texts(model: Any) -> Iterator[object]:
    """Yield every name; protobuf hands out bytes for one that is no valid text."""
    yield from (entry.domain for entry in model.opset_import)
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        tensors = (attribute.t for attribute in node.attribute if attribute.HasField("t"))
        yield from (text for tensor in tensors for text in _tensor_texts(tensor))
    for tensor in model.graph.initializer:
        yield from _tensor_texts(tensor)
    for info in (*model.graph.input, *model.graph.output):
        yield info.name
        yield from (axis.dim_param for axis in info.type.tensor_type.shape.dim)


def _tensor_texts(tensor: Any) -> Iterator[object]:
    """Yield the names in a constant."""
    yield tensor.name
    yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


def _structure_problems(model: Any) -> list[str]:
    """List what makes a model unreadable whatever its numbers: operators, functions, subgraphs, size."""
    graph = model.graph
    problems: list[str] = []
    if len(graph.node) > limits.MAX_LAYERS:
        problems.append(f"{len(graph.node)} nodes; at most {limits.MAX_LAYERS} are read")
    known = {*OPERATORS, *EVALUATED}
    unknown = Counter(
        f"{node.domain}.{node.op_type}" if node.domain not in DOMAINS else node.op_type
        for node in graph.node
        if node.domain not in DOMAINS or node.op_type not in known
    )
    problems += [
        f"operator {name!r} is not supported (used {count} time{'s' if count > 1 else ''}); {did_you_mean(name, known)}"
        for name, count in sorted(unknown.items())
    ]
    if graph.sparse_initializer:
        problems.append("sparse constants are not supported")
    if not graph.output:
        problems.append("the graph has no outputs")
    return problems


def _read_constants(state: Translation, model: Any, folder: Path) -> list[str]:
    """Read every initialiser; return the faults."""
    problems: list[str] = []
    total = 0
    for proto in model.graph.initializer:
        try:
            if proto.name in state.values:
                raise ValueError("is defined twice")
            value = constant(proto.name, proto, folder)
            total += value.array.nbytes
            if total > limits.MAX_CONSTANT_BYTES:
                return [*problems, f"constants of more than {limits.MAX_CONSTANT_BYTES} bytes"]
            state.values[proto.name] = value
        except ValueError as error:
            problems.append(f"constant {proto.name!r}: {error}")
    return problems


def _read_inputs(state: Translation, model: Any, sizes: dict[str, int]) -> list[str]:
    """Add the graph's inputs, in the file's layout, each followed by what brings it to the graph's."""
    problems: list[str] = []
    unused = set(sizes)
    for info in model.graph.input:
        if info.name in state.values:
            continue
        kind = ELEMENT_TYPES.get(info.type.tensor_type.elem_type, f"type {info.type.tensor_type.elem_type}")
        if not info.type.HasField("tensor_type") or kind not in INPUT_TYPES:
            problems.append(f"input {info.name!r}: {kind} is not supported; expected {', '.join(sorted(INPUT_TYPES))}")
            continue
        if not info.type.tensor_type.HasField("shape"):
            problems.append(f"input {info.name!r}: has no shape")
            continue
        shape, faults = _input_shape(info, sizes, unused)
        faults = faults or limits.shape_problems(f"input {info.name!r}", shape)
        problems += faults
        if not faults:
            _add_input(state, info.name, shape, kind)
    dynamic = sorted({axis for info in model.graph.input for axis in _axis_names(info) if axis})
    problems += [f"size {name!r}: no axis has that name; {did_you_mean(name, dynamic)}" for name in sorted(unused)]
    return problems


def _axis_names(info: Any) -> list[str]:
    """Return the name by which each axis of an input can be given a size, empty for fixed axes."""
    return [
        "" if axis.HasField("dim_value") else axis.dim_param or f"{info.name}.{position}"
        for position, axis in enumerate(info.type.tensor_type.shape.dim)
    ]


def _input_shape(info: Any, sizes: dict[str, int], unused: set[str]) -> tuple[tuple[int, ...], list[str]]:
    """Return the shape of an input, dynamic axes filled in, and what is missing."""
    shape, problems = [], []
    for position, (axis, name) in enumerate(zip(info.type.tensor_type.shape.dim, _axis_names(info), strict=True)):
        unused.discard(name)
        if not name:
            shape.append(int(axis.dim_value))
        elif name in sizes:
            shape.append(sizes[name])
        else:
            problems.append(f"input {info.name!r}: axis {position} ({name!r}) is dynamic; give it a size by that name")
    return tuple(shape), problems


def _add_input(state: Translation, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Add one input; unsigned integers become signed."""
    x = state.builder.input(name, shape, dtype)
    if dtype == "uint8":
        x = state.layer(Quantize(), (x,), f"{name}/signed", dtype="int8")
    state.values[name] = state.channels_last(x, f"{name}/channels_last")
    if dtype == "uint8":
        state.unsigned.update({x, str(state.values[name])})


def _translate(state: Translation, model: Any) -> list[str]:
    """Translate the nodes in order; a node that depends on a faulty one is passed over."""
    problems: list[str] = []
    versions = {entry.domain: entry.version for entry in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 1))
    failed: set[str] = set()
    for index, proto in enumerate(model.graph.node):
        label = f"node {proto.name or index!r} ({proto.op_type})"
        missing = [name for name in proto.input if name and name not in state.values]
        if missing or not proto.output or not proto.output[0]:
            unheard = [name for name in missing if name not in failed]
            if unheard or not missing:
                problems.append(
                    f"{label}: reads {unheard}, which nothing before it makes" if missing else f"{label}: no output"
                )
            failed.update(proto.output)
            continue
        try:
            _translate_node(state, _node(proto, opset))
        except (ValueError, OverflowError) as error:
            problems.append(f"{label}: {error}")
            failed.update(proto.output)
    return problems


def _node(proto: Any, opset: int) -> Node:
    """Return a node with its attributes decoded."""
    from onnx import helper

    attributes = {}
    for attribute in proto.attribute:
        try:
            attributes[attribute.name] = helper.get_attribute_value(attribute)
        except (ValueError, TypeError) as error:
            raise ValueError(f"attribute {attribute.name!r} cannot be read: {error}") from error
    return Node(proto.op_type, proto.name, tuple(proto.input), tuple(proto.output), attributes, opset)


def _translate_node(state: Translation, node: Node) -> None:
    """Translate one node, and refuse what only training uses."""
    output = node.outputs[0]
    if output in state.values:
        raise ValueError(f"output {output!r} is made twice")
    if any(node.outputs[1:]) and node.op not in {"Dropout", "BatchNormalization", "MaxPool"}:
        raise ValueError(f"has {len(node.outputs)} outputs, expected one")
    if evaluate(state, node):
        return
    if node.op not in OPERATORS:
        raise ValueError("its inputs must be constants")
    if node.op not in ANY_TYPE and not node.op.startswith(("Q", "Dequantize")):
        _check_float(state, node)
    state.values[output] = OPERATORS[node.op](state, node)
    if node.op == "QuantizeLinear" and state.zero_point_type(node) == "uint8":
        state.unsigned.add(str(state.values[output]))


def _check_float(state: Translation, node: Node) -> None:
    """Refuse integers where an operator computes in float32."""
    for name in filter(None, node.inputs):
        value = state.values[name]
        if isinstance(value, str) and state.builder.tensors[value].dtype != "float32":
            raise ValueError(f"input {name!r} is {state.builder.tensors[value].dtype}, expected float32")


def _write_outputs(state: Translation, model: Any, outputs: list[str]) -> list[str]:
    """Bring every output to the file's layout and type, under the file's name."""
    problems = []
    for info in model.graph.output:
        value = state.values.get(info.name)
        if value is None or isinstance(value, Constant) or info.name in outputs:
            reason = "is listed twice" if info.name in outputs else "is a constant" if value else "is made by no node"
            problems.append(f"output {info.name!r}: {reason}")
            continue
        state.reserved.discard(info.name)
        x = value
        tensor = state.builder.tensors[x]
        if info.type.tensor_type.elem_type == 2 and tensor.dtype == "int8" and tensor.quantization is not None:
            unsigned = replace(tensor.quantization, zero_point=tensor.quantization.zero_point + 128)
            x = state.layer(Quantize(), (x,), f"{info.name}/unsigned", dtype="uint8", quantization=unsigned)
        x = state.channels_first(x, info.name)
        if x != info.name:
            x = state.moved(Reshape(), x, info.name, state.shape(x))
        outputs.append(x)
    return problems


def _finished(graph: Graph) -> Graph:
    """Lower quantise-dequantise form, drop idle moves, and say whose arithmetic the integers have."""
    if any(isinstance(layer.operator, Dequantize) for layer in graph.layers):
        graph = lower(graph)
    graph = simplify_moves(rebuilt(graph, graph.layers, graph.tensors))
    quantized = any(tensor.quantization is not None for tensor in graph.tensors.values())
    return replace(graph, arithmetic="onnxruntime" if quantized else "none")
