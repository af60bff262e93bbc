"""The integer constants of one quantised layer, as every kernel and every generated Program takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from workloads.operators import (
    NO_CLAMP,
    Activation,
    Add,
    Clamp,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Pool2d,
    Sub,
    Svdf,
    TransposedConv2d,
)

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer
    from workloads.kernels.recurrent import LstmConstants, SvdfConstants
    from workloads.operators import Operator
    from workloads.tensor import Array, Quantization, Tensor

# Bits by which the inputs of a sum are shifted left first, by bytes per element:
# tflite-micro@90b983c2:tensorflow/lite/micro/kernels/add_common.cc
ADD_LEFT_SHIFT = {1: 20, 2: 15}


@dataclass(frozen=True, eq=False)
class Factors:
    """Fixed-point factors: real = multiplier * 2**(shift - 31); int32 arrays, one per output channel or one in all."""

    multipliers: Array
    shifts: Array

    @property
    def scales(self) -> Array:
        """The real factors they stand for, float64."""
        return np.ldexp(self.multipliers.astype(np.float64), self.shifts.astype(np.int64) - 31)


@dataclass(frozen=True, eq=False)
class Stated:
    """Integer constants that a target states outright, used in the place of those that follow from the scales.

    Parameters
    ----------
    output
        From accumulator to output.
    inputs
        One per input: of a sum, before it; of softmax, to the fixed-point exponent.
    left_shift
        Of both inputs of a sum or difference, before their factors.
    smallest
        The smallest difference to the row maximum that still counts in a softmax.
    """

    output: Factors | None = None
    inputs: tuple[Factors, ...] = ()
    left_shift: int | None = None
    smallest: int | None = None


@dataclass(frozen=True, eq=False)
class Normalization:
    """Real constants of a layer normalisation: scale and shift (C,), and epsilon."""

    scale: Array
    shift: Array
    epsilon: float


@dataclass(frozen=True, eq=False)
class Operands:
    """Constants of a quantised layer.

    Parameters
    ----------
    input_scales, input_zero_points
        One per activation input.
    output_scale, output_zero_point
        Of the output tensor.
    low, high
        The final clamp, in integers of the output type.
    weights
        int8: (O,KH,KW,C/groups), depthwise (1,KH,KW,O), fully connected (N,K); None without weights.
    weight_scales
        float64, one per output channel (per-tensor scales are repeated); empty without weights.
    weight_zero_point
        Of the weights, 0 when symmetric.
    bias
        int32 (or int64), one per output channel; None means no bias.
    scales
        float64, real factors from accumulator to output, where a runtime does not compute them in float64; else None.
    dtype
        Of the output.
    wide
        Sums in 64 bits and the multiplier reduced to 16: 16-bit activations with a 64-bit bias.
    stated
        Constants that a target states as integers; None where they follow from the scales.
    table
        int8, the outputs of the inputs -128 to 127 of a function of one value; None for other operators.
    normalization, recurrent
        Of a layer normalisation, of a layer with a state; None for other operators.
    prepared
        What kernels derive from these constants and keep for the next call; the arrays above must not change.
    """

    input_scales: tuple[float, ...]
    input_zero_points: tuple[int, ...]
    output_scale: float
    output_zero_point: int
    low: int
    high: int
    weights: Array | None = None
    weight_scales: Array | None = None
    weight_zero_point: int = 0
    bias: Array | None = None
    scales: Array | None = None
    dtype: str = "int8"
    wide: bool = False
    stated: Stated | None = None
    table: Array | None = None
    normalization: Normalization | None = None
    recurrent: SvdfConstants | LstmConstants | None = None
    prepared: dict[str, object] = field(default_factory=dict, init=False, repr=False)


def operands(graph: Graph, layer: Layer) -> Operands:
    """Collect the integer constants of a quantised layer.

    Raises
    ------
    ValueError
        A tensor of the layer has no quantisation, or one that integer kernels cannot take; the message names it.
    """
    output = graph[layer.outputs[0]]
    activations = [graph[name] for name in layer.inputs[: activation_count(layer)]]
    pairs = [_per_tensor(tensor) for tensor in activations]
    output_scale, output_zero_point = _per_tensor(output)
    low, high = integer_clamp(clamp_of(layer.operator), output, half_even=graph.arithmetic == "onnxruntime")
    constants = Operands(
        tuple(scale for scale, _ in pairs), tuple(zero_point for _, zero_point in pairs),
        output_scale, output_zero_point, low, high, weight_scales=np.empty(0), dtype=output.dtype,
        scales=_float32_product(graph, layer), wide=_is_wide(graph, layer),
    )  # fmt: skip
    return constants if not has_weights(layer.operator) else _with_weights(constants, graph, layer)


def _is_wide(graph: Graph, layer: Layer) -> bool:
    """Whether sums are kept in 64 bits: products of 16-bit activations, unless their bias has 32 bits."""
    if graph[layer.inputs[0]].dtype != "int16":
        return False
    if not has_weights(layer.operator):
        return isinstance(layer.operator, MatMul)
    return len(layer.inputs) < 3 or graph[layer.inputs[2]].dtype == "int64"


def has_weights(operator: Operator) -> bool:
    """Whether the second input holds weights, and the third the bias."""
    return isinstance(operator, Conv2d | TransposedConv2d | DepthwiseConv2d | FullyConnected)


def activation_count(layer: Layer) -> int:
    """Return how many leading inputs of a layer are values (the others are weights, bias or parameters)."""
    match layer.operator:
        case Add() | Sub() | Mul() | MatMul() | Minimum() | Maximum():
            return 2
        case Concat():
            return len(layer.inputs)
    return 1


def clamp_of(operator: Operator) -> Clamp:
    """Return the bounds on an operator's real output."""
    match operator:
        case Conv2d() | TransposedConv2d() | DepthwiseConv2d() | FullyConnected() | Add() | Sub() | Mul() | Pool2d():
            return operator.activation
        case Svdf(activation=clamp):
            return clamp
        case Activation(clamp=clamp):
            return clamp
    return NO_CLAMP


def integer_clamp(clamp: Clamp, tensor: Tensor, *, half_even: bool = False) -> tuple[int, int]:
    """Return the bounds of ``clamp`` in integers of ``tensor``; ties away from zero (TFLite) or to even."""
    limits = np.iinfo(tensor.dtype)
    scale, zero_point = _per_tensor(tensor)

    def bound(real: float, limit: int) -> int:
        if math.isinf(real):
            return limit
        ratio = float(np.float32(real) / np.float32(scale))
        rounded = round(ratio) if half_even else math.copysign(math.floor(abs(ratio) + 0.5), ratio)
        return int(min(max(rounded + zero_point, limits.min), limits.max))

    return bound(clamp.low, int(limits.min)), bound(clamp.high, int(limits.max))


def _quantization(tensor: Tensor) -> Quantization:
    if tensor.quantization is None:
        raise ValueError(f"tensor {tensor.name!r} ({tensor.dtype}) has no quantisation parameters")
    return tensor.quantization


def _per_tensor(tensor: Tensor) -> tuple[float, int]:
    quantization = _quantization(tensor)
    if quantization.scale.size != 1:
        raise ValueError(f"tensor {tensor.name!r} is quantised per channel; integer kernels take it per tensor")
    return float(quantization.scale.ravel()[0]), int(quantization.zero_point.ravel()[0])


def _with_weights(constants: Operands, graph: Graph, layer: Layer) -> Operands:
    weights = graph[layer.inputs[1]]
    quantization = _quantization(weights)
    channels = weights.shape[3 if isinstance(layer.operator, DepthwiseConv2d) else 0]
    zero_points = np.unique(quantization.zero_point)
    if zero_points.size != 1:
        raise ValueError(f"weights {weights.name!r} have different zero points per channel: {zero_points.tolist()}")
    return replace(
        constants,
        weights=weights.materialize(),
        weight_scales=np.broadcast_to(quantization.scale.astype(np.float64).ravel(), (channels,)).copy(),
        weight_zero_point=int(zero_points[0]),
        bias=graph[layer.inputs[2]].materialize() if len(layer.inputs) > 2 else None,
    )


def _float32_product(graph: Graph, layer: Layer) -> Array | None:
    """Return the factors of the layers for which TFLite multiplies the input scales in float32, else None.

    These are products per tensor (matmul, uint8 convolutions) and mul.

    tensorflow@lite/kernels/kernel_util.cc, GetQuantizedConvolutionMultipler (per tensor); lite/kernels/mul.cc, Prepare.
    """
    in_float32: tuple[type, ...] = (MatMul, Mul)
    if graph[layer.inputs[0]].dtype == "uint8":
        in_float32 += (Conv2d, DepthwiseConv2d)
    if graph.arithmetic != "litert" or not isinstance(layer.operator, in_float32):
        return None
    scales = [_quantization(graph[name]).scale.astype(np.float32) for name in layer.inputs[:2]]
    output = np.float32(_per_tensor(graph[layer.outputs[0]])[0])
    if any(scale.size != 1 for scale in scales):
        return None
    product = scales[0].ravel() * scales[1].ravel()
    if isinstance(layer.operator, Mul):
        return (product / output).astype(np.float64)
    return np.asarray(product.astype(np.float64) / np.float64(output))


def larger_first(graph: Graph, names: tuple[str, ...], *, commutes: bool) -> tuple[str, ...]:
    """Return two inputs so that the second repeats along the leading axes of the first.

    Raises
    ------
    NotImplementedError
        The shapes broadcast in another way.
    """
    first, second = (graph[name] for name in names)
    if first.elements < second.elements:
        if not commutes:
            raise NotImplementedError(f"the first operand {first.shape} repeats, not the second {second.shape}")
        first, second, names = second, first, names[::-1]
    kept = tuple(second.shape)
    while kept and kept[0] == 1:
        kept = kept[1:]
    if first.shape[len(first.shape) - len(kept) :] != kept:
        raise NotImplementedError(f"shapes {first.shape} and {second.shape} broadcast along inner axes")
    return names
