"""Every kernel path gives the same integers as the portable one, at awkward shapes and at the ends of 32 bits."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.kernels import blocked, dispatch, integer, panels, parallel
from workloads.kernels.dispatch import PATHS, force_path
from workloads.operands import Operands
from workloads.operators import Conv2d, DepthwiseConv2d, FullyConnected, MatMul
from workloads.profiles import PROFILES

ROOT = Path(__file__).parents[2]
FAST_PATHS = sorted(set(PATHS) - {"portable"})
ROUNDINGS = ("tflite-double", "tflite-single", "ruy", "onnxruntime")
SEEDS = st.integers(0, 2**32 - 1)
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def values(random, shape, dtype="int8"):
    low, high = LIMITS[dtype]
    kind = random.integers(6)
    return np.full(shape, (low, high)[kind], dtype) if kind < 2 else random.integers(low, high + 1, shape).astype(dtype)


def constants(random, weights, axis, dtype="int8", inputs=1):
    """Operands with zero points at both ends, scales above and below one, and sometimes no bias."""
    channels = weights.shape[axis] if weights is not None else 0
    low, high = LIMITS[dtype]
    points = tuple(int(random.choice([low, high, random.integers(low, high + 1)])) for _ in range(inputs))
    bias = random.integers(-(2**31), 2**31, channels).astype(np.int32) if channels and random.integers(3) else None
    weight_zero_point = int(random.choice([0, 0, 3, -128])) if weights is not None else 0
    return Operands(
        (0.5,) * inputs, points if dtype != "int16" else (0,) * inputs, float(2.0 ** random.uniform(-3, 24)),
        int(random.integers(low, high + 1)), low, high, weights, 2.0 ** random.uniform(-8, 4, channels),
        weight_zero_point, bias, dtype=dtype,
    )  # fmt: skip


def on_every_path(compute):
    """Return the portable result and the others by path."""
    with force_path("portable"):
        expected = compute()
    results = {}
    for path in FAST_PATHS:
        with force_path(path):
            results[path] = compute()
    return expected, results


def assert_paths_agree(compute):
    expected, results = on_every_path(compute)
    for path, result in results.items():
        np.testing.assert_array_equal(result, expected, err_msg=path)
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape


def window(random):
    stride, padding = tuple(random.integers(1, 4, 2).tolist()), tuple(random.integers(0, 3, 4).tolist())
    return stride, padding, tuple(random.integers(1, 3, 2).tolist())


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(ROUNDINGS), st.sampled_from(["int8", "uint8"]))
@example(0, "tflite-double", "int16")
@example(1, "onnxruntime", "int16")
def test_convolutions_agree_on_every_path(seed, profile, dtype):
    random = np.random.default_rng(seed)
    groups = int(random.choice([1, 1, 2, 3]))
    channels, outputs = int(random.integers(1, 9)), groups * int(random.choice([1, 3, 8, 9, 17, 65]))
    weights = values(random, (outputs, *random.integers(1, 4, 2).tolist(), channels))
    x = values(random, (int(random.integers(1, 3)), *random.integers(5, 12, 2).tolist(), channels * groups), dtype)
    operands, operator = constants(random, weights, 0, dtype), Conv2d(*window(random), groups)
    assert_paths_agree(lambda: integer.conv2d(x, operands, operator, profile))
    assert_paths_agree(lambda: integer.conv2d_sums(x, operands, operator))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(ROUNDINGS), st.sampled_from(["int8", "uint8"]))
def test_depthwise_convolutions_agree_on_every_path(seed, profile, dtype):
    random = np.random.default_rng(seed)
    channels, multiplier = int(random.choice([1, 3, 8, 20, 33, 40])), int(random.integers(1, 3))
    weights = values(random, (1, *random.integers(1, 4, 2).tolist(), channels * multiplier))
    x = values(random, (int(random.integers(1, 3)), *random.integers(5, 9, 2).tolist(), channels), dtype)
    operands, operator = constants(random, weights, 3, dtype), DepthwiseConv2d(*window(random), multiplier)
    assert_paths_agree(lambda: integer.depthwise_conv2d(x, operands, operator, profile))
    assert_paths_agree(lambda: integer.depthwise_conv2d_sums(x, operands, operator))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(ROUNDINGS), st.sampled_from(["int8", "uint8", "int16"]))
def test_matrix_products_agree_on_every_path(seed, profile, dtype):
    random = np.random.default_rng(seed)
    rows, depth, columns = (int(random.choice(sizes)) for sizes in ([1, 1, 4, 5, 131], [1, 3, 64, 70], [1, 9, 64, 90]))
    weights = values(random, (columns, depth))
    x = values(random, (rows, depth), dtype)
    operands = constants(random, weights, 0, dtype)
    assert_paths_agree(lambda: integer.fully_connected(x, operands, FullyConnected(), profile))
    if dtype == "int16":
        return
    b, two = values(random, (2, depth, columns), dtype), constants(random, None, 0, dtype, inputs=2)
    assert_paths_agree(lambda: integer.matmul(x, b, two, MatMul(), profile))
    assert_paths_agree(lambda: integer.matmul_sums(x, b, two))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(ROUNDINGS), st.sampled_from(["int8", "uint8"]))
def test_products_of_bytes_that_fit_16_bits_agree_with_wide_ones(seed, profile, dtype):
    random = np.random.default_rng(seed)
    channels, outputs = int(random.integers(1, 9)), int(random.choice([1, 7, 8, 17, 65]))
    weights = random.choice([-64, 64, 0, 63], (outputs, *random.integers(1, 4, 2).tolist(), channels)).astype(np.int8)
    x = random.choice(LIMITS[dtype], (1, *random.integers(5, 12, 2).tolist(), channels)).astype(dtype)
    operands, operator = replace(constants(random, weights, 0, dtype), weight_zero_point=0), Conv2d(*window(random))
    assert panels.pairs_fit(weights.reshape(outputs, -1))
    assert_paths_agree(lambda: integer.conv2d(x, operands, operator, profile))
    assert_paths_agree(lambda: integer.conv2d_sums(x, operands, operator))


@given(st.integers(-128, 127), st.integers(-128, 127))
@example(64, 64)
@example(64, 65)
@example(-64, -64)
@example(-128, 127)
@example(-128, -1)
def test_a_pair_fits_when_no_two_unsigned_bytes_take_it_beyond_16_bits(first, second):
    sums = [a * first + b * second for a in (0, 255) for b in (0, 255)]
    fits = panels.pairs_fit(np.array([[first, second]], np.int16))
    assert fits == (min(sums) >= -(2**15) and max(sums) < 2**15)


@pytest.mark.parametrize("depth", [511, 512, 513, 1024, 2**16])
@pytest.mark.parametrize(("x_value", "weight"), [(-128, -128), (-128, 127), (127, -128), (127, 127)])
def test_long_sums_of_extremes_are_exact(depth, x_value, weight):
    operands = Operands((1.0,), (-x_value - 1,), 1.0, 0, -128, 127, np.full((3, depth), weight, np.int8), np.ones(3))
    for rows in (1, 7):
        x = np.full((rows, depth), x_value, np.int8)
        for path in PATHS:
            with force_path(path):
                sums = integer.fully_connected_sums(x, operands)
            exact = depth * (2 * x_value + 1) * weight
            np.testing.assert_array_equal(sums, np.full((rows, 3), (exact + 2**31) % 2**32 - 2**31), err_msg=path)


def test_sums_beyond_32_bits_wrap_alike():
    depth = 2**17
    operands = Operands((1.0,), (127,), 1.0, 0, -128, 127, np.full((9, depth), -128, np.int8), np.ones(9))
    x = np.full((2, depth), -128, np.int8)
    assert depth * 255 * 128 > 2**31
    assert_paths_agree(lambda: integer.fully_connected_sums(x, operands))


def test_a_bias_that_overflows_the_sum_wraps_alike():
    random = np.random.default_rng(0)
    weights, x = values(random, (9, 3, 3, 4)), values(random, (1, 6, 6, 4))
    operands = replace(constants(random, weights, 0), bias=np.full(9, 2**31 - 1, np.int32))
    for profile in ROUNDINGS:
        assert_paths_agree(lambda profile=profile: integer.conv2d(x, operands, Conv2d(), profile))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(sorted(PROFILES)))
def test_every_profile_gives_the_same_bits_on_every_path(seed, profile):
    random = np.random.default_rng(seed)
    weights, x = values(random, (17, 3, 3, 3)), values(random, (1, 7, 7, 3))
    operands = replace(constants(random, weights, 0), output_scale=64.0, bias=None, output_zero_point=3)
    assert_paths_agree(lambda: integer.conv2d(x, operands, Conv2d((1, 1), (1, 1, 1, 1)), profile))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads):
    random = np.random.default_rng(3)
    cases = [((40, 40, 16), (24, 3, 3, 16)), ((7, 7, 128), (300, 3, 3, 128)), ((1, 1, 1024), (1100, 1, 1, 1024))]
    for image, filters in cases:
        weights, x = values(random, filters), values(random, (2, *image))
        operands = constants(random, weights, 0)
        operator = Conv2d((1, 1), (1, 1, 1, 1))
        expected = integer.conv2d(x, operands, operator, "tflite-double")
        with parallel.use_threads(threads):
            assert parallel.thread_count(10**9) == threads
            np.testing.assert_array_equal(integer.conv2d(x, operands, operator, "tflite-double"), expected)
    weights, x = values(random, (1, 3, 3, 64)), values(random, (1, 64, 64, 64))
    operands = constants(random, weights, 3)
    expected = integer.depthwise_conv2d(x, operands, DepthwiseConv2d(), "ruy")
    with parallel.use_threads(threads):
        np.testing.assert_array_equal(integer.depthwise_conv2d(x, operands, DepthwiseConv2d(), "ruy"), expected)


def test_packed_weights_follow_the_operands_they_belong_to():
    random = np.random.default_rng(4)
    x, operator = values(random, (1, 6, 6, 4)), Conv2d()
    first = constants(random, values(random, (9, 3, 3, 4)), 0)
    integer.conv2d(x, first, operator, "ruy")
    second = replace(first, weights=values(random, (9, 3, 3, 4)))
    assert not second.prepared
    assert_paths_agree(lambda: integer.conv2d(x, second, operator, "ruy"))
    larger = values(random, (2, 9, 8, 4))
    assert_paths_agree(lambda: integer.conv2d(larger, first, operator, "onnxruntime"))


def test_an_unknown_path_is_refused_with_the_closest_name():
    with pytest.raises(ValueError, match="'avx3' is unknown; did you mean 'avx2'"), force_path("avx3"):
        pass
    with pytest.raises(ValueError, match="threads \\(0\\) must be at least 1"), parallel.use_threads(0):
        pass


def test_a_processor_always_has_the_portable_path():
    assert dispatch.native_paths()[-1] == "portable"
    assert dispatch.default_path() in PATHS


def in_a_process(code, **variables):
    environment = {**os.environ, **variables}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_environment_chooses_the_path():
    code = "from workloads.kernels.dispatch import kernel_path; print(kernel_path())"
    assert in_a_process(code, PRESAGE_KERNELS="portable") == ["portable"]
    assert in_a_process(code, PRESAGE_KERNELS="avx2", NUMBA_DISABLE_JIT="1") == ["portable"]


def test_plain_python_runs_the_portable_path():
    code = """if True:
        import numpy as np
        from workloads.kernels import integer
        from workloads.operands import Operands
        from workloads.operators import Conv2d
        random = np.random.default_rng(0)
        weights = random.integers(-128, 128, (5, 3, 3, 2)).astype(np.int8)
        x = random.integers(-128, 128, (1, 5, 5, 2)).astype(np.int8)
        operands = Operands((0.5,), (7,), 100.0, 1, -128, 127, weights, np.ones(5))
        print(*integer.conv2d(x, operands, Conv2d(), "ruy").ravel())"""
    assert in_a_process(code, NUMBA_DISABLE_JIT="1") == in_a_process(code)


COMPILED = """if True:
    import numba
    from numba import types
    from workloads.kernels.dispatch import kernel_path
    from workloads.kernels.tile import multiply_tile

    def f(weights, numbers):
        multiply_tile(weights, 0, 1, numbers, numbers, numbers, 1, 1, numbers, 4)

    compiled = numba.njit(f)
    compiled.compile((types.Array({weights}, 1, "C"), types.int64))
    assembly = next(iter(compiled.inspect_asm().values()))
    print(kernel_path(), *sorted({{word for word in assembly.split() if word.startswith("vp")}}))
"""


@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="nothing is compiled")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the instructions are those of x86-64")
@pytest.mark.parametrize(
    ("cpu", "features", "weights", "path", "instruction"),
    [
        ("cascadelake", "+avx2,+avx512f,+avx512bw,+avx512vl,+avx512vnni", "types.int8", "vnni", "vpdpbusd"),
        ("alderlake", "+avx2,+avxvnni", "types.int8", "vnni", "vpdpbusd"),
        ("haswell", "+avx2", "types.uint8", "avx2", "vpmaddubsw"),
        ("haswell", "+avx2", "types.int16", "avx2", "vpmaddwd"),
        ("haswell", "+avx2", "types.int32", "avx2", "vpmaddwd"),
    ],
)
def test_the_assembly_holds_the_dot_product_instruction(cpu, features, weights, path, instruction):
    # Compiled for that processor, not run on it.
    code = COMPILED.format(weights=weights)
    found = in_a_process(code, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features, PRESAGE_KERNELS="")
    assert found[0] == path
    assert instruction in found[1:]


def test_only_profiles_of_wrapping_sums_are_finished_in_blocks():
    known = {name for name in PROFILES if blocked.way_of(name) is not None}
    assert set(ROUNDINGS) <= known
    assert {"x86-vpmaddubsw", "ascend-fixpipe", "cmsis-nn-s16", "onnx-reference", "rvv-rne", "truncate"}.isdisjoint(
        known
    )


@pytest.mark.parametrize("channels", [1, 5, 509, 510, 511])
def test_what_lies_in_fresh_memory_never_reaches_a_sum(channels, monkeypatch):
    fresh = np.empty

    def dirty(*arguments, **options):
        room = fresh(*arguments, **options)
        room.view(np.uint8)[...] = 0x7F  # the largest int16 values, which overflow with any weight added
        return room

    random = np.random.default_rng(channels)
    x = random.integers(-128, 128, (1, 3, 3, channels), np.int8)
    weights = random.integers(-128, 128, (9, 1, 1, channels), np.int8)
    operands = constants(random, weights, 0)
    with force_path("portable"):
        expected = integer.conv2d_sums(x, replace(operands), Conv2d())
    for path in FAST_PATHS:
        with force_path(path), monkeypatch.context() as patched:
            patched.setattr(blocked, "np", SimpleNamespace(**{**vars(np), "empty": dirty}))
            result = integer.conv2d_sums(x, replace(operands), Conv2d())
        np.testing.assert_array_equal(result, expected, err_msg=path)
