"""Scratch: the working memory that kernel libraries take for a layer, from their own formulas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, Pool2d

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.graph import Graph, Layer


def none(_graph: Graph, _layer: Layer) -> int:
    """Return no bytes: kernels that need nothing beside their tensors. [B]"""
    return 0


def cmsis_nn(graph: Graph, layer: Layer) -> int:
    """Return the buffers of CMSIS-NN's int8 kernels for cores with DSP instructions. [B]

    Two columns of 16-bit inputs for a convolution (none for 1x1 without stride), one for a depthwise convolution, and
    a 32-bit sum per channel for an average.

    References
    ----------
    .. [1] ARM-software/CMSIS-NN@99f736a63036: ``arm_convolve_get_buffer_sizes_s8.c``,
       ``arm_depthwise_conv_get_buffer_sizes_s8.c``, ``arm_avgpool_get_buffer_sizes_s8.c``.
    """
    taps = _taps(graph, layer)
    match layer.operator:
        case Conv2d(stride=stride):
            return 0 if stride == (1, 1) and _kernel(graph, layer) == (1, 1) else 2 * taps * 2
        case DepthwiseConv2d(multiplier=1):
            return graph[layer.outputs[0]].shape[-1] * taps * 2
        case Pool2d(kind="average"):
            return graph[layer.outputs[0]].shape[-1] * 4
    return 0


def x_cube_ai(graph: Graph, layer: Layer) -> int:
    """Return the buffers that X-CUBE-AI's int8 kernels declare, as its generated code lists them. [B]

    Derived from networks generated between 2023 and 2026 (see ``runtime_memory.toml``): 1x1 convolutions, depthwise
    3x3, convolutions of up to three channels, and deep 3x3 ones; others are taken to follow the deep ones.
    """
    outputs = graph[layer.outputs[0]].shape[-1]
    taps = _taps(graph, layer)
    match layer.operator:
        case Conv2d() if _kernel(graph, layer) == (1, 1):
            return 10 * outputs + 4 * taps
        case Conv2d() if graph[layer.inputs[0]].shape[-1] <= 3:
            return 4 * taps + outputs * (14 + 2 * taps)
        case Conv2d():
            return 4 * taps + 14 * outputs + 5120
        case DepthwiseConv2d():
            return outputs * (4 * taps + 1) + 1
        case FullyConnected():
            return 2 * (taps + 5 * outputs)
    return 0


SCRATCH: dict[str, Callable[[Graph, Layer], int]] = {"none": none, "cmsis-nn": cmsis_nn, "x-cube-ai": x_cube_ai}


def _kernel(graph: Graph, layer: Layer) -> tuple[int, ...]:
    """Return the height and width of a convolution's window."""
    return graph[layer.inputs[1]].shape[1:3]


def _taps(graph: Graph, layer: Layer) -> int:
    """Return the inputs that one output sums up; 0 for a layer without weights."""
    match layer.operator:
        case Conv2d() | FullyConnected():
            return math.prod(graph[layer.inputs[1]].shape[1:])
        case DepthwiseConv2d():
            return math.prod(graph[layer.inputs[1]].shape[1:3])
    return 0
