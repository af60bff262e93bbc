"""From a foreign case to our operator, its constants and its kernel: one function per CMSIS-NN function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels import integer, movement
from workloads.kernels.packing import unpack
from workloads.kernels.transposed import transposed_conv2d
from workloads.operands import Operands, Stated
from workloads.operators import (
    Add,
    Conv2d,
    DepthwiseConv2d,
    FullyConnected,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Pad,
    Pool2d,
    Softmax,
    Transpose,
    TransposedConv2d,
)
from workloads.vector_cases import CaseFaultError, UnsupportedCaseError, VectorCase, checked_factors

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.operators import Padding, Pair
    from workloads.tensor import Array

    Computer = Callable[[VectorCase], Array]

PROFILE = "cmsis-nn"
MAX_PADDED = 1 << 26  # elements of a padded image


def constants(case: VectorCase, inputs: int, weights: Array | None = None, stated: Stated | None = None) -> Operands:
    """Return a case's operands; scales have no meaning where the factors are stated."""
    names = ("INPUT_OFFSET",) if inputs == 1 else ("INPUT1_OFFSET", "INPUT2_OFFSET")
    zero_points = tuple(-case.define(name, default=0) for name in names)
    bias = case.optional("biases") if weights is not None else None
    return Operands(
        (1.0,) * inputs, zero_points, 1.0, case.define("OUTPUT_OFFSET", default=0), *case.bounds(),
        weights=weights, weight_zero_point=-case.define("FILTER_OFFSET", default=0), bias=bias,
        dtype=case.output.dtype.name, wide=case.wide, stated=stated,
    )  # fmt: skip


def product_constants(case: VectorCase, weights: Array, channels: int) -> Operands:
    """Return the operands of a layer with weights, its factors per channel or per tensor."""
    multipliers, shifts = case.optional("output_mult"), case.optional("output_shift")
    if multipliers is not None and shifts is not None:
        factors = checked_factors(multipliers, shifts)
    else:
        factors = case.factors("OUTPUT_MULTIPLIER", "OUTPUT_SHIFT")
    if factors.multipliers.size not in (1, channels):
        raise CaseFaultError(f"{factors.multipliers.size} multipliers for {channels} output channels")
    operands = constants(case, 1, weights, Stated(output=factors))
    if operands.bias is not None and operands.bias.shape != (channels,):
        raise CaseFaultError(f"bias of shape {operands.bias.shape} for {channels} output channels")
    return operands


def image(array: Array, what: str = "input") -> Array:
    """Return an array as (N,H,W,C); one without a batch gets it."""
    if array.ndim not in (3, 4):
        raise CaseFaultError(f"{what} of shape {array.shape}, expected (N,H,W,C)")
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def window(case: VectorCase, x: Array, size: Pair, dilation: Pair) -> tuple[Array, Pair, Padding]:
    """Return the part of the image that windows reach, the stride, and the padding that the output size implies."""
    stride, before = case.pair("STRIDE", default=1), case.pair("PAD", "PADDING", default=0)
    output = image(case.output, "output").shape[1:3]
    if min(*stride, *dilation, *size) < 1 or min(before) < 0:
        raise CaseFaultError(f"window {size}, stride {stride}, dilation {dilation}, padding {before}")
    reach = [(output[axis] - 1) * stride[axis] + (size[axis] - 1) * dilation[axis] + 1 for axis in range(2)]
    after = [max(reach[axis] - x.shape[axis + 1] - before[axis], 0) for axis in range(2)]
    if x.shape[0] * x.shape[3] * (reach[0] + 1) * (reach[1] + 1) > MAX_PADDED:
        raise CaseFaultError(f"windows reach over {reach[0]} x {reach[1]} pixels, an image too large")
    # An image beyond the last window gives no more outputs: TensorFlow's VALID drops the rest.
    kept = x[:, : max(reach[0] - before[0], 1), : max(reach[1] - before[1], 1)]
    return kept, stride, (before[0], before[1], after[0], after[1])


def weights_of(case: VectorCase, shape: tuple[int, ...], *, packed: bool) -> Array:
    """Return the weights in a shape, unpacked from 4 bits where they are packed."""
    weights = case.array("weights")
    elements = int(np.prod(shape))
    if packed:
        return unpack(weights.astype(np.int8), elements).reshape(shape)
    if weights.size != elements:
        raise CaseFaultError(f"weights of shape {weights.shape}, expected {shape}")
    return weights.reshape(shape)


def conv2d(case: VectorCase, *, packed: bool = False) -> Array:
    """Run a convolution."""
    x, outputs = image(case.array("input")), case.output.shape[-1]
    if packed:
        size, channels = case.pair("FILTER"), case.define("FILTER_CH", default=x.shape[3])
    else:
        filters = case.array("weights")
        if filters.ndim != 4:
            raise CaseFaultError(f"weights of shape {filters.shape}, expected (O,KH,KW,C)")
        size, channels = (filters.shape[1], filters.shape[2]), filters.shape[3]
    if channels < 1 or x.shape[3] % channels or outputs % (x.shape[3] // channels):
        raise CaseFaultError(f"filters of {channels} channels do not fit {x.shape[3]} to {outputs} channels")
    weights = weights_of(case, (outputs, *size, channels), packed=packed)
    dilation = case.pair("DILATION", default=1)
    x, stride, padding = window(case, x, size, dilation)
    operator = Conv2d(stride, padding, dilation, x.shape[3] // channels)
    return integer.conv2d(x, product_constants(case, weights, outputs), operator, PROFILE)


def depthwise_conv2d(case: VectorCase, *, packed: bool = False) -> Array:
    """Run a depthwise convolution."""
    x, outputs = image(case.array("input")), case.output.shape[-1]
    if outputs % x.shape[3]:
        raise CaseFaultError(f"{outputs} output channels are no multiple of {x.shape[3]} input channels")
    if packed or "FILTER_Y" in case.defines or "FILTER_H" in case.defines:
        size = case.pair("FILTER")
    else:
        filters = image(case.array("weights"), "weights")
        size = (filters.shape[1], filters.shape[2])
    weights = weights_of(case, (1, *size, outputs), packed=packed)
    dilation = case.pair("DILATION", default=1)
    multiplier = outputs // x.shape[3]
    x, stride, padding = window(case, x, size, dilation)
    operator = DepthwiseConv2d(stride, padding, dilation, multiplier)
    return integer.depthwise_conv2d(x, product_constants(case, weights, outputs), operator, PROFILE)


def transposed(case: VectorCase) -> Array:
    """Run a transposed convolution."""
    x, filters, output = image(case.array("input")), case.array("weights"), image(case.output, "output")
    if filters.ndim != 4 or filters.shape[3] != x.shape[3] or filters.shape[0] != output.shape[3]:
        raise CaseFaultError(f"weights of shape {filters.shape} do not fit {x.shape} to {output.shape}")
    if case.pair("DILATION", default=1) != (1, 1):
        raise UnsupportedCaseError("a dilated transposed convolution")
    stride, crop = case.pair("STRIDE", default=1), case.pair("PAD", default=0)
    if min(stride) < 1 or min(crop) < 0 or x.size * stride[0] * stride[1] > MAX_PADDED:
        raise CaseFaultError(f"stride {stride}, crop {crop}")
    operator = TransposedConv2d((output.shape[1], output.shape[2]), stride, crop)
    return transposed_conv2d(x, product_constants(case, filters, output.shape[3]), operator, PROFILE)


def fully_connected(case: VectorCase, *, packed: bool = False) -> Array:
    """Run a fully connected layer."""
    columns, x = case.output.shape[-1], case.array("input")
    rows = case.output.size // columns
    if x.size % rows:
        raise CaseFaultError(f"input of shape {x.shape} does not divide into {rows} rows")
    weights = weights_of(case, (columns, x.size // rows), packed=packed)
    operands = product_constants(case, weights, columns)
    return integer.fully_connected(x.reshape(rows, -1), operands, FullyConnected(), PROFILE)


def pool(kind: str) -> Computer:
    """Return the function that runs a pooling."""

    def run(case: VectorCase) -> Array:
        size = case.pair("FILTER")
        x, stride, padding = window(case, image(case.array("input")), size, (1, 1))
        operands = Operands((1.0,), (0,), 1.0, 0, *case.bounds(), dtype=case.output.dtype.name)
        return integer.pool2d(x, operands, Pool2d(kind, size, stride, padding), PROFILE)

    return run


def add(case: VectorCase) -> Array:
    """Run an elementwise sum."""
    first, second = (case.factors(f"INPUT{which}_MULT", f"INPUT{which}_SHIFT") for which in (1, 2))
    left_shift = case.define("LEFT_SHIFT")
    if not 0 <= left_shift <= 30:
        raise CaseFaultError(f"left shift {left_shift}, expected 0 to 30")
    stated = Stated(case.factors("OUTPUT_MULT", "OUTPUT_SHIFT"), (first, second), left_shift)
    return integer.add(case.array("input1"), case.array("input2"), constants(case, 2, stated=stated), Add(), PROFILE)


def mul(case: VectorCase) -> Array:
    """Run an elementwise product."""
    operands = constants(case, 2, stated=Stated(case.factors("OUTPUT_MULT", "OUTPUT_SHIFT")))
    return integer.mul(case.array("input1"), case.array("input2"), operands, Mul(), PROFILE)


def extremum(case: VectorCase) -> Array:
    """Run an elementwise minimum or maximum."""
    kind = str(case.defines.get("LAYER_TYPE")).lower()
    if kind not in ("minimum", "maximum"):
        raise UnsupportedCaseError(f"LAYER_TYPE {kind!r}; expected minimum or maximum")
    a, b = case.array("input_tensor_1"), case.array("input_tensor_2")
    operands = Operands((1.0, 1.0), (0, 0), 1.0, 0, *case.bounds(), dtype=case.output.dtype.name)
    if kind == "minimum":
        return integer.minimum(a, b, operands, Minimum(), PROFILE)
    return integer.maximum(a, b, operands, Maximum(), PROFILE)


def batch_matmul(case: VectorCase) -> Array:
    """Run a matrix product of activations."""
    sides = []
    for name, flag in (("lhs_input_tensor", "ADJ_X"), ("rhs_input_tensor", "ADJ_Y")):
        side = case.array(name)
        if side.ndim < 2:
            raise CaseFaultError(f"array {name!r} of shape {side.shape}, expected at least two axes")
        sides.append(np.ascontiguousarray(side.swapaxes(-1, -2)) if case.define(flag, default=0) else side)
    if sides[0].shape[-1] != sides[1].shape[-2]:
        raise CaseFaultError(f"a product of shapes {sides[0].shape} and {sides[1].shape} does not exist")
    operands = Operands(
        (1.0, 1.0), (-case.define("LHS_OFFSET", default=0), -case.define("RHS_OFFSET", default=0)), 1.0,
        case.define("OUTPUT_OFFSET", default=0), *case.bounds(), dtype=case.output.dtype.name, wide=case.wide,
        stated=Stated(case.factors("OUTPUT_MULTIPLIER", "OUTPUT_SHIFT")),
    )  # fmt: skip
    return integer.matmul(sides[0], sides[1], operands, MatMul(), PROFILE)


def softmax(case: VectorCase) -> Array:
    """Run a softmax of rows; the output's type and the input's say which of the three functions it is."""
    multiplier, shift = case.define("INPUT_MULT", "MULT"), case.define("INPUT_LEFT_SHIFT", "SHIFT")
    x, sixteen = case.array("input"), case.array("input").dtype == np.int16
    if not sixteen and not 0 <= shift <= 30:
        raise CaseFaultError(f"left shift {shift}, expected 0 to 30")
    factors = checked_factors(np.array([multiplier]), np.array([shift]))
    smallest = None if sixteen else case.define("DIFF_MIN")
    limits = np.iinfo(case.output.dtype)
    scale, zero_point = (2.0**-15, 0) if sixteen else (2.0**-limits.bits, int(limits.min))
    stated = Stated(inputs=(factors,), smallest=smallest)
    operands = Operands(
        (1.0,), (0,), scale, zero_point, int(limits.min), int(limits.max), dtype=case.output.dtype.name, stated=stated
    )
    return integer.softmax(x, operands, Softmax(), PROFILE)


def pad(case: VectorCase) -> Array:
    """Run a padding with a constant."""
    amounts = tuple(
        (case.define(f"PRE_PAD_{axis}", default=0), case.define(f"POST_PAD_{axis}", default=0)) for axis in "NHWC"
    )
    x = image(case.array("input"))
    shape = tuple(extent + sum(amount) for extent, amount in zip(x.shape, amounts, strict=True))
    if min(map(min, amounts)) < 0 or int(np.prod(shape)) != case.output.size:
        raise CaseFaultError(f"padding {amounts} of shape {x.shape} does not give shape {case.output.shape}")
    return movement.pad(x, Pad(amounts), case.define("PAD_VALUE"))


def transpose(case: VectorCase) -> Array:
    """Run a permutation of axes."""
    count, x = case.define("PERM_SIZE"), case.array("input")
    extents, permutation = case.numbers("IN_DIM")[:count], case.numbers("PERM")[:count]
    if int(np.prod(extents)) != x.size or sorted(permutation) != list(range(len(extents))):
        raise CaseFaultError(f"permutation {permutation} of extents {extents} for an input of shape {x.shape}")
    return movement.transpose(x.reshape(extents), Transpose(permutation))
