"""The laws hold for every operator of ours, and each is broken by a kernel that errs in its way."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.kernels.packing import unpack
from workloads.testing import LAWS, Case, Widths, check_laws, expected, layers
from workloads.testing.calling import UnsupportedError, arguments, output_shape
from workloads.testing.case import OPS, requantized, with_inputs, with_operands
from workloads.testing.laws import four_bits_are_eight, kinds_of_product_agree, violates
from workloads.testing.strategies import FILLS, fill, tensors, zero_points
from workloads.testing.sums import saturated

if TYPE_CHECKING:
    from workloads.tensor import Array

PROFILE = "cmsis-nn"
RIGHT = partial(expected, profile=PROFILE)


@pytest.mark.parametrize("op", OPS)
def test_our_operators_obey_every_law(op: str) -> None:
    assert check_laws(RIGHT, op, examples=40, seed=1) == ()


def padded_with_zero(case: Case) -> Array:
    operator: Any = case.operator
    top, left, bottom, right = operator.padding
    x = np.pad(case.inputs[0], ((0, 0), (top, bottom), (left, right), (0, 0)))
    return RIGHT(with_inputs(replace(case, operator=replace(operator, padding=(0, 0, 0, 0))), x))


def first_sample_only(case: Case) -> Array:
    result = RIGHT(case).copy()
    result[1:] = result[:1]
    return result


def one_scale_for_all(case: Case) -> Array:
    scales = case.operands.weight_scales
    assert scales is not None
    return RIGHT(with_operands(case, weight_scales=np.full_like(scales, scales[0])))


def short_depth(case: Case) -> Array:
    x, weights = case.inputs[0], case.operands.weights
    assert weights is not None
    depth = weights.shape[-1] // 4 * 4 or weights.shape[-1]
    return RIGHT(with_inputs(with_operands(case, weights=weights[..., :depth]), x[..., :depth]))


def stride_swapped(case: Case) -> Array:
    operator: Any = case.operator
    right = RIGHT(case)
    return right if operator.stride[0] == operator.stride[1] else np.zeros_like(right)


def zero_point_ignored(case: Case) -> Array:
    return RIGHT(with_operands(case, input_zero_points=(0,)))


def unclamped(case: Case) -> Array:
    return RIGHT(with_operands(case, low=-128, high=127))


@pytest.mark.parametrize(
    ("kernel", "op", "law"),
    [
        (padded_with_zero, "conv2d", "padding is skipping"),
        (padded_with_zero, "depthwise_conv2d", "padding is skipping"),
        (first_sample_only, "max_pool2d", "batch is independent"),
        (one_scale_for_all, "conv2d", "output channels permute"),
        (short_depth, "fully_connected", "input channels permute"),
        (stride_swapped, "depthwise_conv2d", "stride is subsampling"),
        (zero_point_ignored, "fully_connected", "zero point shifts with the input"),
    ],
)
def test_a_law_is_broken_by_the_slip_it_is_for(kernel: Any, op: str, law: str) -> None:
    assert law in {violation.law for violation in check_laws(kernel, op, examples=100, seed=2)}


def test_a_kernel_that_clamps_twice_breaks_idempotence() -> None:
    def squeezed(case: Case) -> Array:
        return np.maximum(unclamped(case), case.operands.low)

    assert "clamp is idempotent" in {each.law for each in check_laws(squeezed, "mul", examples=150)}


def test_saturating_sums_break_the_laws_that_reorder() -> None:
    def sixteen_bits(case: Case) -> Array:
        sums = saturated(case, 16)
        if sums is None:
            raise UnsupportedError("too deep")
        return requantized(case, sums.astype(np.int32), PROFILE)

    broken = {each.law for each in check_laws(sixteen_bits, "fully_connected", examples=100, seed=4)}
    assert broken & {law.name for law in LAWS if law.reorders}


@settings(max_examples=25, deadline=None)
@given(layers("fully_connected"))
def test_the_three_kinds_of_product_agree(case: Case) -> None:
    scales = case.operands.weight_scales
    assert scales is not None
    plain = with_operands(case, bias=None, weight_scales=np.full_like(scales, scales[0]))
    image, product, matrix = kinds_of_product_agree(RIGHT, RIGHT, RIGHT, plain)
    np.testing.assert_array_equal(image, product)
    np.testing.assert_array_equal(matrix, product)


@settings(max_examples=25, deadline=None)
@given(layers("conv2d", Widths("int8", "int4")))
def test_four_bit_weights_are_eight_bit_ones_unpacked(case: Case) -> None:
    weights = case.operands.weights
    assert weights is not None

    def packed(each: Case) -> Array:
        values = arguments(each)
        unpacked = unpack(values["packed_weights"], weights.size).reshape(weights.shape)
        return RIGHT(with_operands(each, weights=unpacked))

    sides = four_bits_are_eight(packed, RIGHT, case)
    assert sides is not None
    np.testing.assert_array_equal(*sides)


def test_a_law_that_says_nothing_is_not_broken() -> None:
    case = Case("softmax", OPS["softmax"](), with_operands_of_softmax(), (np.zeros((1, 3), np.int8),))
    assert all(violates(law, RIGHT, case) is None for law in LAWS)
    assert output_shape(case) == (1, 3)


def with_operands_of_softmax() -> Any:
    from workloads.operands import Operands

    return Operands((0.1,), (0,), 2.0**-8, -128, -128, 127, weight_scales=np.empty(0))


@settings(max_examples=60, deadline=None)
@given(tensors((3, 5), "int8", 7), tensors((4,), "int4"), zero_points(), zero_points("int16"), st.sampled_from(FILLS))
def test_strategies_stay_within_their_types(x: Array, w: Array, point: int, wide: int, kind: str) -> None:
    assert (x.dtype, x.shape) == (np.int8, (3, 5))
    assert (w.dtype, int(w.min()) >= -8, int(w.max()) <= 7) == (np.int8, True, True)
    assert -128 <= point <= 127
    assert wide == 0
    assert fill((9,), "int16", kind, 1).dtype == np.int16
