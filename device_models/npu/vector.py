"""Vector unit of a DaVinci core: what elementwise work, functions, windows and moves take in its instructions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from device_models.npu.kernels import PRODUCTS
from device_models.npu.storage import item_bytes, stored_elements
from workloads.operators import Pool2d, Resize2d, Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from device_models.cores import Core
    from device_models.cores.davinci_tables import Timing
    from workloads.graph import Graph, Layer

HALF_BYTES = 2
BINARY, UNARY, EXP, DIV, CONVERT = "vadd_f16", "vmuls_f16", "vexp_f32", "vdiv_f32", "vconv_s8_f16"
# Instructions for each element, by kind, in the textbook's formulas; operators that are not here have no cost.
FORMULAS: dict[str, dict[str, int]] = {
    "activation": {UNARY: 2},
    "add": {BINARY: 1},
    "batch_norm": {BINARY: 2},
    "concat": {UNARY: 1},
    "dequantize": {CONVERT: 1, UNARY: 1},
    "embedding": {UNARY: 1},
    "gelu": {BINARY: 2, UNARY: 4, EXP: 1, DIV: 1},
    "hard_sigmoid": {UNARY: 4},
    "hard_swish": {BINARY: 1, UNARY: 4},
    "layer_norm": {BINARY: 4, UNARY: 4},
    "leaky_relu": {BINARY: 1, UNARY: 1},
    "local_response_norm": {BINARY: 7, UNARY: 2, EXP: 2},
    "logistic": {UNARY: 2, EXP: 1, DIV: 1},
    "maximum": {BINARY: 1},
    "mean": {BINARY: 1},
    "minimum": {BINARY: 1},
    "mish": {BINARY: 2, UNARY: 2, EXP: 1, DIV: 1},
    "mul": {BINARY: 1},
    "pad": {UNARY: 1},
    "prelu": {BINARY: 2, UNARY: 1},
    "quantize": {CONVERT: 1, UNARY: 1},
    "rms_norm": {BINARY: 3, UNARY: 3},
    "slice": {UNARY: 1},
    "softmax": {BINARY: 1, UNARY: 2, EXP: 1, DIV: 1},
    "sub": {BINARY: 1},
    "swish": {UNARY: 2, EXP: 1, DIV: 1},
    "tanh": {UNARY: 3, EXP: 1, DIV: 1},
    "transpose": {UNARY: 2},
}


def vector_cycles(graph: Graph, layer: Layer, core: Core, cores: int) -> float | None:
    """Return the cycles of a core's vector unit for its share of a layer; None for an operator without a formula.

    Integers are converted on the way in and out. A product's sums become integers as they leave the matrix unit.
    """
    integers = item_bytes(graph, layer.outputs[0]) == 1
    if isinstance(layer.operator, PRODUCTS):
        return 0.0
    counts = _formula(layer)
    if counts is None:
        return None
    cycles = sum(times * _per_repeat(core, kind) for kind, times in counts.items()) * _slower(core, layer, counts)
    if integers:
        cycles += 2.0 * _per_repeat(core, CONVERT)
    touched = layer.outputs if isinstance(layer.operator, Slice) else (*layer.inputs, *layer.outputs)
    return cycles * _repeats(graph, touched, core) / cores


def _formula(layer: Layer) -> Mapping[str, int] | None:
    """Return how many instructions of each kind an element takes; None where unknown."""
    match layer.operator:
        case Pool2d(kernel=kernel, stride=stride):
            return {BINARY: max(1, math.prod(kernel) // math.prod(stride))}
        case Resize2d(kind=kind):
            return {UNARY: 1} if kind == "nearest" else {BINARY: 3, UNARY: 4}
    return FORMULAS.get(layer.op)


def _slower(core: Core, layer: Layer, counts: Mapping[str, int]) -> float:
    """Return how many times longer the library's function takes than its formula."""
    timing: Timing = core.timing
    function = EXP in counts or DIV in counts or layer.op.endswith("_norm")
    return timing.functions.value if function and timing.functions is not None else 1.0


def _repeats(graph: Graph, names: Iterable[str], core: Core) -> float:
    """Return the repeats of half-precision elements of the largest of some tensors, on each vector unit of a core."""
    timing: Timing = core.timing
    units = 1 if timing.vectors is None else timing.vectors.value
    elements = max((stored_elements(graph, name) for name in names if not graph[name].is_constant), default=0)
    return elements * HALF_BYTES / timing.repeat.value / units


def _per_repeat(core: Core, mnemonic: str) -> float:
    """Return the cycles of a vector instruction for each repeat. [cycle]"""
    timing: Timing = core.timing
    return next(row.per_repeat.value for row in timing.vector if mnemonic in row.instructions)
