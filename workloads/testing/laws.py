"""Metamorphic laws: what a correct kernel's results have to do with each other, with no oracle at all.

A law takes a kernel and a case and returns two arrays that must be equal, or None where it says nothing. Laws that move
products about (``LAWS`` with ``reorders``) must fail for accumulators that saturate on the way: that is the finding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, MatMul, Pool2d
from workloads.testing.calling import UnsupportedError
from workloads.testing.case import Case, Widths, check_op, with_inputs, with_operands
from workloads.testing.sums import terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array

    Kernel = Callable[[Case], Array]
    Pair = tuple[Array, Array] | None

INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Law:
    """A law by name; ``reorders`` says that it moves products, which saturating accumulators do not allow."""

    name: str
    sides: Callable[[Kernel, Case], Pair]
    reorders: bool = False


@dataclass(frozen=True, eq=False)
class Violation:
    """A case on which a kernel breaks a law, with both sides."""

    law: str
    case: Case
    left: Array
    right: Array


def padding_is_skipping(kernel: Kernel, case: Case) -> Pair:
    """Check that a padded position contributes nothing: the image padded with its zero point gives the same."""
    operator = case.operator
    if not isinstance(operator, Conv2d | DepthwiseConv2d) or not any(operator.padding):
        return None
    return kernel(case), kernel(_padded(case))


def output_channels_permute(kernel: Kernel, case: Case) -> Pair:
    """Check that permuting the filters permutes the output channels."""
    operator, operands = case.operator, case.operands
    if not isinstance(operator, Conv2d | FullyConnected) or operands.weights is None:
        return None
    if getattr(operator, "groups", 1) > 1:
        return None
    order = np.random.default_rng(0).permutation(operands.weights.shape[0])
    return kernel(case)[..., order], kernel(_channels(case, order))


def input_channels_permute(kernel: Kernel, case: Case) -> Pair:
    """Check that permuting the depth of both factors changes nothing."""
    operator, x, weights = case.operator, case.inputs[0], case.operands.weights
    order = np.random.default_rng(1).permutation(x.shape[-1])
    if isinstance(operator, MatMul):
        return kernel(case), kernel(with_inputs(case, x[..., order], case.inputs[1][..., order, :]))
    if not isinstance(operator, Conv2d | FullyConnected) or weights is None or getattr(operator, "groups", 1) > 1:
        return None
    moved = with_operands(case, weights=np.ascontiguousarray(weights[..., order]))
    return kernel(case), kernel(with_inputs(moved, x[..., order]))


def depth_splits(kernel: Kernel, case: Case) -> Pair:
    """Check that the second half of a product's depth may come in through the bias."""
    operands, x = case.operands, case.inputs[0]
    if not isinstance(case.operator, FullyConnected) or operands.weights is None or x.shape[-1] < 2 or not x.size:
        return None
    half, row = x.shape[-1] // 2, with_inputs(case, x[:1])
    bias = 0 if operands.bias is None else operands.bias.astype(np.int64)
    partial = terms(row)[0, :, half:].sum(axis=-1) + bias
    if not operands.wide and np.abs(partial).max(initial=0) > INT32_MAX:
        return None
    weights = np.ascontiguousarray(operands.weights[:, :half])
    first = with_operands(row, weights=weights, bias=partial.astype(np.int64 if operands.wide else np.int32))
    return kernel(row), kernel(with_inputs(first, x[:1, :half]))


def tiles_join(kernel: Kernel, case: Case) -> Pair:
    """Check that two tiles of output rows, or of output channels, make the whole."""
    operator, operands = case.operator, case.operands
    if isinstance(operator, FullyConnected) and operands.weights is not None and operands.weights.shape[0] > 1:
        middle = operands.weights.shape[0] // 2
        count = operands.weights.shape[0]
        parts = [kernel(_channels(case, np.arange(start, stop))) for start, stop in ((0, middle), (middle, count))]
        return kernel(case), np.concatenate(parts, axis=-1)
    if not isinstance(operator, Conv2d | DepthwiseConv2d) or operands.weights is None:
        return None
    flat, whole = _padded(case), kernel(case)
    rows, step = whole.shape[1], operator.stride[0]
    if rows < 2:
        return None
    middle, span = rows // 2, (operands.weights.shape[1] - 1) * operator.dilation[0] + 1
    x = flat.inputs[0]
    tiles = [
        kernel(with_inputs(flat, x[:, start * step : (stop - 1) * step + span]))
        for start, stop in ((0, middle), (middle, rows))
    ]
    return whole, np.concatenate(tiles, axis=1)


def stride_is_subsampling(kernel: Kernel, case: Case) -> Pair:
    """Check that a stride picks outputs of stride 1."""
    operator = case.operator
    if not isinstance(operator, Conv2d | DepthwiseConv2d | Pool2d) or max(operator.stride) == 1:
        return None
    dense = kernel(replace(case, operator=replace(operator, stride=(1, 1))))
    return kernel(case), dense[:, :: operator.stride[0], :: operator.stride[1]]


def groups_are_convolutions(kernel: Kernel, case: Case) -> Pair:
    """Check that a grouped convolution is one convolution per group."""
    operator, weights, x = case.operator, case.operands.weights, case.inputs[0]
    if not isinstance(operator, Conv2d) or operator.groups == 1 or weights is None:
        return None
    single, outputs = replace(operator, groups=1), weights.shape[0] // operator.groups
    parts = []
    for group in range(operator.groups):
        one = _channels(replace(case, operator=single), np.arange(group * outputs, (group + 1) * outputs))
        depth = weights.shape[3]
        parts.append(kernel(with_inputs(one, x[..., group * depth : (group + 1) * depth])))
    return kernel(case), np.concatenate(parts, axis=3)


def batch_is_independent(kernel: Kernel, case: Case) -> Pair:
    """Check that each sample's result is its own."""
    x = case.inputs[0]
    if len(case.inputs) != 1 or case.op == "requantize" or x.shape[0] < 2:
        return None
    return kernel(case), np.concatenate([kernel(with_inputs(case, x[i : i + 1])) for i in range(x.shape[0])])


def zero_point_shifts(kernel: Kernel, case: Case) -> Pair:
    """Check that moving the input and its zero point together changes nothing."""
    x, points = case.inputs[0], case.operands.input_zero_points
    if case.op in ("softmax", "requantize", "average_pool2d", "max_pool2d") or x.dtype != np.int8 or not x.size:
        return None
    low, high = min(int(x.min()), points[0]), max(int(x.max()), points[0])
    step = 127 - high if 127 - high >= low + 128 else -128 - low
    if step == 0:
        return None
    moved = with_operands(case, input_zero_points=(points[0] + step, *points[1:]))
    return kernel(case), kernel(with_inputs(moved, (x.astype(np.int16) + step).astype(np.int8), *case.inputs[1:]))


def clamp_is_idempotent(kernel: Kernel, case: Case) -> Pair:
    """Check that clamping in the kernel is clamping afterwards."""
    limits, operands = np.iinfo(case.operands.dtype), case.operands
    if case.op == "softmax" or (operands.low, operands.high) == (limits.min, limits.max):
        return None
    full = kernel(with_operands(case, low=int(limits.min), high=int(limits.max)))
    return kernel(case), np.clip(full, operands.low, operands.high)


def kinds_of_product_agree(
    convolution: Kernel, product: Kernel, matrices: Kernel, case: Case
) -> tuple[Array, Array, Array]:
    """Return what a 1x1 convolution, a fully connected layer and a matrix product make of the same numbers; all equal.

    Parameters
    ----------
    case
        Of "fully_connected", without bias, with one factor for all channels.
    """
    x, operands = case.inputs[0], case.operands
    if operands.weights is None or operands.weight_scales is None or operands.bias is not None:
        raise ValueError("the case needs weights and no bias")
    image = Case(
        "conv2d", Conv2d(), replace(operands, weights=operands.weights[:, None, None, :]), (x[None, None],)
    )  # fmt: skip
    factor = operands.input_scales[0] * float(operands.weight_scales[0])
    pair = replace(
        operands, weights=None, weight_scales=np.empty(0), input_scales=(factor, 1.0),
        input_zero_points=(*operands.input_zero_points, operands.weight_zero_point),
    )  # fmt: skip
    columns = np.ascontiguousarray(operands.weights.T)
    return convolution(image)[0, 0], product(case), matrices(Case("matmul", MatMul(), pair, (x, columns)))


def four_bits_are_eight(kernel: Kernel, reference: Kernel, case: Case) -> Pair:
    """Check that a kernel of packed 4-bit weights gives what one of the unpacked does; a case with 4-bit weights."""
    weights = case.operands.weights
    if weights is None or weights.min(initial=0) < -8 or weights.max(initial=0) > 7:
        return None
    return kernel(case), reference(case)


LAWS: tuple[Law, ...] = (
    Law("padding is skipping", padding_is_skipping),
    Law("output channels permute", output_channels_permute),
    Law("input channels permute", input_channels_permute, reorders=True),
    Law("depth splits", depth_splits, reorders=True),
    Law("tiles join", tiles_join),
    Law("stride is subsampling", stride_is_subsampling),
    Law("groups are convolutions", groups_are_convolutions),
    Law("batch is independent", batch_is_independent),
    Law("zero point shifts with the input", zero_point_shifts),
    Law("clamp is idempotent", clamp_is_idempotent),
)


def check_laws(
    kernel: Kernel, op: str, *, examples: int = 100, seed: int = 0, widths: Widths | None = None,
    laws: tuple[Law, ...] = LAWS,
) -> tuple[Violation, ...]:  # fmt: skip
    """Try every law on random layers; returns the first violation of each law that a kernel breaks."""
    from workloads.testing.finding import random_cases

    broken: dict[str, Violation] = {}
    for case in random_cases(check_op(op), widths or Widths(), examples, seed):
        for law in laws:
            if law.name not in broken and (violation := violates(law, kernel, case)) is not None:
                broken[law.name] = violation
    return tuple(broken.values())


def violates(law: Law, kernel: Kernel, case: Case) -> Violation | None:
    """Return how a kernel breaks a law on one case; None when it does not or the law says nothing."""
    try:
        sides = law.sides(kernel, case)
    except UnsupportedError:
        return None
    if sides is None or np.array_equal(*sides):
        return None
    return Violation(law.name, case, *sides)


def _padded(case: Case) -> Case:
    """Return the case with its padding done: the image holds it, as the zero point."""
    operator: Any = case.operator
    top, left, bottom, right = operator.padding
    x = np.pad(
        case.inputs[0], ((0, 0), (top, bottom), (left, right), (0, 0)),
        constant_values=case.operands.input_zero_points[0],
    )  # fmt: skip
    return with_inputs(replace(case, operator=replace(operator, padding=(0, 0, 0, 0))), x)


def _channels(case: Case, order: Array) -> Case:
    """Return a case with some of its output channels, in an order."""
    operands = case.operands
    chosen = {
        name: np.ascontiguousarray(values[order])
        for name in ("weights", "weight_scales", "bias")
        if (values := getattr(operands, name)) is not None
    }
    return with_operands(case, **chosen)
