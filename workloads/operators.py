"""The operators of a Graph: one small frozen record each, in the field's names; images are channels last."""

from __future__ import annotations

import math
from dataclasses import dataclass

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # top, left, bottom, right


@dataclass(frozen=True)
class Clamp:
    """A fused activation, as bounds on the real output: ReLU is (0, inf), ReLU6 is (0, 6)."""

    low: float = -math.inf
    high: float = math.inf


NO_CLAMP = Clamp()


@dataclass(frozen=True)
class Conv2d:
    """Convolution: inputs (x, weights, bias?); x (N,H,W,C), weights (O,KH,KW,C/groups), bias (O,)."""

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class TransposedConv2d:
    """Transposed convolution: x (N,H,W,C), weights (O,KH,KW,C/groups), bias (O,); its output is cropped to ``size``.

    Input (y, x) adds its products to the outputs from (y * stride - top, x * stride - left) on, ``crop`` = (top, left).
    """

    size: Pair
    stride: Pair = (1, 1)
    crop: Pair = (0, 0)
    activation: Clamp = NO_CLAMP
    groups: int = 1


@dataclass(frozen=True)
class DepthwiseConv2d:
    """Depthwise convolution: x (N,H,W,C), weights (1,KH,KW,C*multiplier); output o reads input o // multiplier."""

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    multiplier: int = 1
    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class FullyConnected:
    """Matrix product with constant weights: inputs (x, weights, bias?); x (...,K), weights (N,K), bias (N,)."""

    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class MatMul:
    """Matrix product of two activations: a (...,M,K), b (...,K,N)."""


@dataclass(frozen=True)
class Add:
    """Elementwise sum with numpy broadcasting."""

    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class Sub:
    """Elementwise difference, first minus second, with numpy broadcasting."""

    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class Minimum:
    """Elementwise minimum with numpy broadcasting."""


@dataclass(frozen=True)
class Maximum:
    """Elementwise maximum with numpy broadcasting."""


@dataclass(frozen=True)
class Mul:
    """Elementwise product with numpy broadcasting."""

    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class Pool2d:
    """Average or maximum over windows; x (N,H,W,C). ``kind`` is "average" or "max".

    With ``count_padding`` an average divides by the whole window; a maximum never sees the padding.
    """

    kind: str
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    count_padding: bool = False
    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class Mean:
    """Mean over ``axes``; global average pooling is axes (1, 2)."""

    axes: tuple[int, ...]
    keep_dims: bool = True


@dataclass(frozen=True)
class Activation:
    """A clamp that stands alone (ReLU, ReLU6, clip)."""

    clamp: Clamp


@dataclass(frozen=True)
class Logistic:
    """The logistic function 1 / (1 + exp(-x))."""


@dataclass(frozen=True)
class Tanh:
    """The hyperbolic tangent."""


@dataclass(frozen=True)
class HardSwish:
    """x * clamp(x + 3, 0, 6) / 6."""


@dataclass(frozen=True)
class HardSigmoid:
    """clamp(slope * x + offset, 0, 1)."""

    slope: float = 1 / 6
    offset: float = 0.5


@dataclass(frozen=True)
class Swish:
    """x times its logistic function."""


@dataclass(frozen=True)
class Mish:
    """x * tanh(log(1 + exp(x)))."""


@dataclass(frozen=True)
class LeakyRelu:
    """x, multiplied by ``slope`` where it is negative."""

    slope: float = 0.01


@dataclass(frozen=True)
class Prelu:
    """As LeakyRelu with a slope per channel: inputs (x, slopes); slopes (C,)."""


@dataclass(frozen=True)
class Gelu:
    """x * (1 + erf(x / sqrt(2))) / 2, or its approximation by a hyperbolic tangent."""

    approximate: bool = False


@dataclass(frozen=True)
class Resize2d:
    """Resize (N,H,W,C) images to ``size`` (height, width); ``kind`` is "nearest" or "bilinear".

    ``align_corners`` and ``half_pixel_centers`` have TensorFlow's meaning.
    """

    kind: str
    size: Pair
    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class LayerNorm:
    """Normalise over the last axis: inputs (x, scale, shift); scale and shift (C,) are real-valued constants."""

    epsilon: float = 1e-5


@dataclass(frozen=True)
class RmsNorm:
    """Divide by the root mean square over the last axis and scale: inputs (x, scale); scale (C,)."""

    epsilon: float = 1e-5


@dataclass(frozen=True)
class LocalResponseNorm:
    """Divide by (bias + alpha / size * sum of squares over ``size`` channels around)**beta."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0


@dataclass(frozen=True)
class Svdf:
    """One step of a rank-``rank`` filter over time: inputs (x, feature weights, time weights, bias?).

    x (batch, in), feature weights (F, in), time weights (F, T), bias (F / rank,), output (batch, F / rank). The state
    (batch, F, T) is kept between runs; ``state_scale`` is its real scale.
    """

    rank: int = 1
    state_scale: float = 1.0
    state_dtype: str = "int16"
    activation: Clamp = NO_CLAMP


@dataclass(frozen=True)
class Lstm:
    """A long short-term memory layer over a sequence, without peephole, projection or normalisation.

    Inputs: x, then input weights (H, in) of the gates input, forget, cell, output, then hidden weights (H, H) of the
    same gates, then their biases (H,). x is (time, batch, in) if ``time_major``, else (batch, time, in); the output has
    H in the place of in. The state starts at zero. ``cell_scale`` is the real scale of the 16-bit cell state, a power
    of two; ``cell_clip`` bounds the real cell state, 0 means no bound.
    """

    time_major: bool = False
    cell_scale: float = 2.0**-11
    cell_clip: float = 0.0


@dataclass(frozen=True)
class Softmax:
    """Softmax over the last axis; ``beta`` multiplies the input."""

    beta: float = 1.0


@dataclass(frozen=True)
class Reshape:
    """The same elements under another shape (the output tensor's); costs nothing."""


@dataclass(frozen=True)
class Transpose:
    """Permutation of axes, as numpy.transpose."""

    permutation: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Padding per axis (before, after) with a real value (for quantised tensors: its quantised value)."""

    amounts: tuple[Pair, ...]
    value: float = 0.0


@dataclass(frozen=True)
class Concat:
    """Concatenation of all inputs along ``axis``."""

    axis: int


@dataclass(frozen=True)
class Slice:
    """The elements from ``begin`` on, ``extent`` of them along ``axis``."""

    axis: int
    begin: int
    extent: int


@dataclass(frozen=True)
class Embedding:
    """Rows of a table by number: inputs (indices, table); indices are integers, table (V,C), output (...,C)."""


@dataclass(frozen=True)
class BatchNorm:
    """Inference batch normalisation: inputs (x, scale, shift, mean, variance) over the last axis."""

    epsilon: float = 1e-5


@dataclass(frozen=True)
class Quantize:
    """Float to integer, or integer to integer of another scale (requantise)."""


@dataclass(frozen=True)
class Dequantize:
    """Integer to float."""


@dataclass(frozen=True)
class Unmodelled:
    """An operator of a layer table that presage cannot cost or execute; always reported by name, never zero."""

    original: str


# Each output element is the same function of one input element.
Function = Logistic | Tanh | HardSwish | HardSigmoid | Swish | Mish | LeakyRelu | Gelu

Operator = (
    Conv2d | TransposedConv2d | DepthwiseConv2d | FullyConnected | MatMul | Add | Sub | Mul | Minimum | Maximum
    | Pool2d | Mean | Activation | Function | Prelu | Softmax | LayerNorm | RmsNorm | LocalResponseNorm | Resize2d
    | Svdf | Lstm | Reshape | Transpose | Pad | Concat | Slice | Embedding | BatchNorm | Quantize | Dequantize
    | Unmodelled
)  # fmt: skip

_NAMES: dict[type, str] = {
    Conv2d: "conv2d", DepthwiseConv2d: "depthwise_conv2d", FullyConnected: "fully_connected", MatMul: "matmul",
    Add: "add", Mul: "mul", Mean: "mean", Activation: "activation", Softmax: "softmax", Reshape: "reshape",
    Transpose: "transpose", Pad: "pad", Concat: "concat", BatchNorm: "batch_norm", Quantize: "quantize",
    Dequantize: "dequantize", TransposedConv2d: "transposed_conv2d", Sub: "sub", Minimum: "minimum", Maximum: "maximum",
    Logistic: "logistic", Tanh: "tanh", HardSwish: "hard_swish", Gelu: "gelu", LayerNorm: "layer_norm", Svdf: "svdf",
    Lstm: "lstm", HardSigmoid: "hard_sigmoid", Swish: "swish", Mish: "mish", LeakyRelu: "leaky_relu", Prelu: "prelu",
    RmsNorm: "rms_norm", LocalResponseNorm: "local_response_norm", Slice: "slice", Embedding: "embedding",
}  # fmt: skip


def operator_name(operator: Operator) -> str:
    """Return the name that reports and the command use, e.g. "conv2d" or "max_pool2d"."""
    match operator:
        case Pool2d(kind=kind):
            return f"{kind}_pool2d"
        case Resize2d(kind=kind):
            return f"{kind}_resize2d"
        case Unmodelled(original=original):
            return original.lower()
    return _NAMES[type(operator)]
