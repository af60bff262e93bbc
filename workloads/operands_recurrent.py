"""The integer constants of layers with a state, from the tensors of a graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import quantize_multipliers
from workloads.kernels.recurrent import Gate, LstmConstants, SvdfConstants
from workloads.operands import Factors, integer_clamp
from workloads.operators import NO_CLAMP

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.operators import Lstm, Svdf
    from workloads.tensor import Tensor


def svdf_constants(graph: Graph, layer: Layer, operator: Svdf) -> SvdfConstants:
    """Collect the constants of a quantised filter over time; factors are products in float32, as TFLite's."""
    x, feature, time = (graph[name] for name in layer.inputs[:3])
    output, single = graph[layer.outputs[0]], np.float32
    state_scale = single(operator.state_scale)
    first = single(_scale(x)) * single(_scale(feature)) / state_scale
    second = state_scale * single(_scale(time)) / single(_scale(output))
    limits = np.iinfo(operator.state_dtype)
    # TFLite's integer kernel demands ReLU, yet clamps to the output's type only: a zero point at its end does the rest.
    clamp = NO_CLAMP if graph.arithmetic == "litert" else operator.activation
    low, high = integer_clamp(clamp, output)
    return SvdfConstants(
        feature.materialize(), time.materialize(),
        graph[layer.inputs[3]].materialize() if len(layer.inputs) > 3 else None,
        operator.rank, _zero_point(x), _zero_point(output), _factor(float(first)), _factor(float(second)),
        int(limits.min), int(limits.max), low, high, output.dtype,
    )  # fmt: skip


def lstm_constants(graph: Graph, layer: Layer, operator: Lstm) -> LstmConstants:
    """Collect the constants of a quantised long short-term memory layer of LiteRT's kind.

    Raises
    ------
    ValueError
        The cell's scale is no power of two.
    """
    tensors = [graph[name] for name in layer.inputs]
    x, output = tensors[0], graph[layer.outputs[0]]
    power = round(math.log2(operator.cell_scale))
    if 2.0**power != operator.cell_scale:
        raise ValueError(f"the scale of the cell state ({operator.cell_scale!r}) must be a power of two")
    gate_scale = 2.0**-12
    gates = []
    for which in range(4):
        into, hidden = tensors[1 + which], tensors[5 + which]
        bias = tensors[9 + which].materialize() if len(tensors) > 9 else None
        gates.append(Gate(
            into.materialize(), hidden.materialize(), bias,
            _factor(_scale(into) * _scale(x) / gate_scale), _factor(_scale(hidden) * _scale(output) / gate_scale),
        ))  # fmt: skip
    clip = math.floor(min(max(operator.cell_clip / operator.cell_scale, -32768.0), 32767.0) + 0.5)
    return LstmConstants(
        (gates[0], gates[1], gates[2], gates[3]), _zero_point(x), _zero_point(output),
        _factor(2.0**-30 / _scale(output)), power, clip if operator.cell_clip > 0 else 2**15,
        wide=x.dtype == "int16", dtype=output.dtype,
    )  # fmt: skip


def _factor(scale: float) -> Factors:
    return Factors(*quantize_multipliers(np.array([scale])))


def _scale(tensor: Tensor) -> float:
    quantization = tensor.quantization
    if quantization is None or quantization.scale.size != 1:
        raise ValueError(f"tensor {tensor.name!r} ({tensor.dtype}) needs one scale")
    return float(quantization.scale.ravel()[0])


def _zero_point(tensor: Tensor) -> int:
    return 0 if tensor.quantization is None else int(tensor.quantization.zero_point.ravel()[0])
