"""The kit finds planted bugs within 200 examples, makes them small, and says at which step they part."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.arithmetic import PROFILES
from workloads.errors import InputError
from workloads.kernels import reference
from workloads.testing import (
    Case,
    KernelError,
    Widths,
    assert_bit_exact,
    compare,
    expected,
    extremes,
    layers,
    load,
    python_kernel,
    save,
    search,
    widths_of,
)
from workloads.testing.calling import NAMES, arguments, output_shape
from workloads.testing.case import OPS, WIDE_OPS, requantized
from workloads.testing.sums import accumulators, has_terms, held

EXAMPLES = 200
INT16 = Widths("int16", "int8", wide=True)
SMALL = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def planted() -> Any:
    spec = importlib.util.spec_from_file_location("planted_kernels", Path(__file__).with_name("planted_kernels.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KERNELS = planted()


@pytest.mark.parametrize(
    ("bug", "profile", "step", "words"),
    [
        ("wrong tie", "cmsis-nn", "round", "profile ruy"),
        ("missing saturation", "cmsis-nn", "clamp", "wraps into the output's type"),
        ("16-bit sums", "cmsis-nn", "accumulate", "wrap at 16 bits"),
        ("32-bit sums", "cmsis-nn-s16", "accumulate", "wrap at 32 bits"),
        ("odd-pixel tail", "cmsis-nn", "accumulate", "the last of 9 pixels"),
        ("zero-point sign", "cmsis-nn", "accumulate", "added, not subtracted"),
        ("padding with 0", "cmsis-nn", "accumulate", "padded positions hold 0"),
    ],
)
def test_a_planted_bug_is_found_small_and_explained(bug: str, profile: str, step: str, words: str) -> None:
    kernel = python_kernel(partial(KERNELS.conv, bug=bug), "conv2d")
    finding = search(kernel, "conv2d", profile, examples=EXAMPLES, seed=1)
    assert finding.difference is not None
    assert 1 <= finding.found_at <= EXAMPLES
    assert finding.difference.diagnosis.step == step
    assert words in finding.difference.diagnosis.explanation
    case = finding.difference.case
    assert case.inputs[0].size <= (516 if bug == "32-bit sums" else 9)
    assert not np.array_equal(kernel(case), expected(case, profile))


@pytest.mark.parametrize("profile", ["cmsis-nn", "cmsis-nn-s16"])
def test_a_correct_kernel_of_other_code_passes(profile: str) -> None:
    finding = assert_bit_exact(KERNELS.conv, "conv2d", profile, examples=EXAMPLES, seed=3)
    assert finding.difference is None
    assert finding.examples == EXAMPLES
    covered = set(finding.edge_cases)
    assert covered >= {"padding", "stride above 1", "empty batch", "no bias", "odd number of pixels"}
    assert covered >= {"depth of 511, 512 or 513", "depth of 1024 or more", "scale of 1 or more", "groups", "dilation"}


def test_a_difference_names_case_values_and_step() -> None:
    with pytest.raises(AssertionError) as failed:
        assert_bit_exact(partial(KERNELS.conv, bug="zero-point sign"), "conv2d", "cmsis-nn")
    text = str(failed.value)
    assert "expected" in text
    assert "they part at: accumulate (the input zero point is added" in text


def test_the_same_seed_finds_the_same_case() -> None:
    kernel = python_kernel(partial(KERNELS.conv, bug="padding with 0"), "conv2d")
    first, second = (search(kernel, "conv2d", "ruy", examples=60, seed=9).difference for _ in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.case.inputs[0], second.case.inputs[0])
    np.testing.assert_array_equal(first.found, second.found)


def test_a_random_search_alone_finds_what_no_extreme_shows() -> None:
    def stride_ignored(**values: Any) -> Any:
        return KERNELS.conv(**{name: value for name, value in values.items() if name in wanted} | crooked(values))

    def crooked(values: dict[str, Any]) -> dict[str, Any]:
        # Rows and columns are mixed up: visible only where they differ.
        return {"dilation": values["dilation"][::-1]}

    wanted = set(NAMES["conv2d"]) - {"weight_zero_point", "packed_weights", "scales"}
    square = python_kernel(stride_ignored, "conv2d")

    def guarded(case: Case) -> Any:
        try:
            return square(case)
        except ValueError:
            return np.zeros(output_shape(case), case.operands.dtype)

    finding = search(guarded, "conv2d", "tflite-double", examples=EXAMPLES)
    assert finding.difference is not None
    assert finding.found_at > len(extremes("conv2d"))


@pytest.mark.parametrize("op", OPS)
@SMALL
@given(data=st.data())
def test_random_layers_are_valid_and_the_oracle_agrees(op: str, data: Any) -> None:
    case = data.draw(layers(op))
    values = arguments(case)
    assert tuple(values) == NAMES[op]
    result = expected(case, "tflite-double")
    assert result.shape == output_shape(case) == values["output_shape"]
    assert result.dtype.name == case.operands.dtype
    if op in ("conv2d", "fully_connected", "matmul", "mul"):
        oracle = getattr(reference, op)(*case.inputs, case.operands, case.operator, "tflite-double")
        np.testing.assert_array_equal(result, oracle)


@pytest.mark.parametrize("op", WIDE_OPS)
def test_sixteen_bit_layers_have_zero_points_of_zero_and_wide_sums(op: str) -> None:
    overflowing = 0
    for case in extremes(op, INT16):
        assert case.operands.dtype == "int16"
        assert set(case.operands.input_zero_points) == {0}
        result = expected(case, "cmsis-nn-s16")
        assert result.dtype == np.int16
        if has_terms(case):
            overflowing += int(np.abs(accumulators(case)).max(initial=0) >= 2**31)
    assert overflowing or op not in ("conv2d", "fully_connected")


@pytest.mark.parametrize(("op", "kernel"), [("add", "add16"), ("mul", "mul16"), ("average_pool2d", "average16")])
def test_sixteen_bit_sums_products_and_means_follow_their_definitions(op: str, kernel: str) -> None:
    finding = search(python_kernel(getattr(KERNELS, kernel), op), op, "cmsis-nn-s16", examples=120)
    assert finding.difference is None
    assert finding.examples >= 100


def test_a_bit_lost_in_a_sixteen_bit_sum_is_found() -> None:
    finding = search(python_kernel(partial(KERNELS.add16, lost_bits=12), "add"), "add", "cmsis-nn-s16", examples=200)
    assert finding.difference is not None


def test_the_large_sixteen_bit_result_saturates() -> None:
    (case,) = [each for each in extremes("requantize", INT16) if 16014793 in each.inputs[0]]
    np.testing.assert_array_equal(expected(case, "cmsis-nn-s16").ravel(), [32767, -32768])


def test_extremes_hold_what_luck_should_not_have_to_find() -> None:
    cases = extremes("conv2d")
    depths = {case.operands.weights[0].size for case in cases if case.operands.weights is not None}
    assert depths >= {511, 512, 513, 1024, 65536}
    assert any((case.inputs[0] == -128).all() and (case.operands.weights == -128).all() for case in cases)
    assert {point for case in cases for point in case.operands.input_zero_points} >= {-128, 127}
    assert any(case.inputs[0].shape[0] == 0 for case in cases)


def test_a_saved_case_comes_back_whole(tmp_path: Path) -> None:
    for op in OPS:
        for number, case in enumerate(extremes(op)[:4]):
            path = tmp_path / f"{op}{number}.npz"
            save(path, case, "ruy", {"target": "kernels:conv"}, {"found": np.zeros(1, np.int8)})
            again, profile, notes = load(path)
            assert (again.op, again.operator, profile, notes) == (op, case.operator, "ruy", {"target": "kernels:conv"})
            np.testing.assert_array_equal(expected(again, "ruy"), expected(case, "ruy"))


def test_a_damaged_case_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(InputError, match="no saved case"):
        load(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raising", "raised KeyError"),
        ("wrong_shape", r"returned int8 .*; expected int8"),
        ("wrong_type", "returned int32"),
    ],
)
def test_a_kernel_that_breaks_its_contract_is_told_so(name: str, words: str) -> None:
    with pytest.raises(KernelError, match=words) as failed:
        search(python_kernel(getattr(KERNELS, name), "conv2d"), "conv2d", "ruy", examples=40)
    assert failed.value.case is not None


def test_a_misnamed_parameter_is_refused_with_the_closest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'weights'"):
        python_kernel(KERNELS.misnamed, "conv2d")


def test_unsupported_cases_are_counted_not_failed() -> None:
    finding = search(python_kernel(KERNELS.fussy, "conv2d"), "conv2d", "ruy", examples=40)
    assert (finding.unsupported, finding.difference) == (40, None)


def test_unknown_names_are_refused_together() -> None:
    with pytest.raises(InputError) as refused:
        search(python_kernel(KERNELS.conv, "conv2d"), "convd", "cmsis")
    assert len(refused.value.problems) == 2


def test_profiles_say_which_widths_they_are_for() -> None:
    assert widths_of("cmsis-nn") == Widths()
    assert widths_of("cmsis-nn-s16") == INT16
    assert widths_of("cmsis-nn-s4").weights == "int4"


@pytest.mark.parametrize(
    "profile", ["tflite-single", "ruy", "onnxruntime", "ascend-fixpipe", "xnnpack-rndnu", "rvv-rne"]
)
def test_every_requantisation_passes_for_its_own_profile_and_not_for_another(profile: str) -> None:
    own = partial(expected, profile=profile)
    assert search(own, "requantize", profile, examples=60).difference is None
    other = search(own, "requantize", "truncate", examples=60)
    assert other.difference is not None
    assert PROFILES[profile].name == profile


def test_a_kernel_is_compared_on_one_case() -> None:
    case = extremes("fully_connected")[0]
    assert compare(partial(expected, profile="ruy"), case, "ruy") is None


def test_saturating_pairs_are_named_on_a_wrapping_profile() -> None:
    # AVX2 without VNNI: pairs of products saturate at 16 bits, then everything goes on as before.
    def paired(case: Case) -> Any:
        return requantized(case, held(case, "x86-vpmaddubsw").astype(np.int32), "onnxruntime")

    difference = search(paired, "fully_connected", "onnxruntime", examples=EXAMPLES).difference
    assert difference is not None
    assert difference.diagnosis.explanation == "pairs of products saturate at 16 bits"
    assert search(paired, "fully_connected", "x86-vpmaddubsw", examples=EXAMPLES).difference is None
