"""Integer kernels against the unit-test vectors of CMSIS-NN, made by TensorFlow Lite; skipped where they are absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from workloads.arithmetic import requantize_fixed
from workloads.kernels import integer
from workloads.operands import Operands
from workloads.operators import Conv2d, DepthwiseConv2d, Pool2d
from workloads.shapes import windows

FOLDER = Path(__file__).parents[2].parent / "shared" / "vectors"
CONVOLUTIONS = {"arm_convolve_s8", "arm_convolve_1x1_s8_fast", "arm_convolve_1_x_n_s8", "arm_grouped_convolve_s8"}
DEPTHWISE = {"arm_depthwise_conv_s8", "arm_depthwise_conv_s8_opt", "arm_depthwise_conv_3x3_s8"}
POOLS = {"arm_avgpool_s8": "average", "arm_max_pool_s8": "max"}
ALIASES = {
    "input": ("input", "input_data", "input_tensor"), "weights": ("weights", "input_weights"),
    "biases": ("biases", "bias", "input_bias"), "output_mult": ("output_mult", "output_multiplier"),
}  # fmt: skip


@pytest.fixture(scope="module")
def vectors():
    if not (FOLDER / "cmsis_nn_vectors.json").exists():
        pytest.skip("the sibling folder 'shared' with the vectors is absent")
    cases = json.loads((FOLDER / "cmsis_nn_vectors.json").read_text())["cases"]
    with np.load(FOLDER / "cmsis_nn_vectors.npz") as archive:
        yield [Case(name, case, archive) for name, case in cases.items()]


class Case:
    """One case: its arrays by their common name, and its defines with their aliases."""

    def __init__(self, name, case, archive):
        self.name, self.ops, self.defines = name, set(case["ops"]), case["defines"]
        self.archive, self.arrays, self.expected = archive, case["arrays"], case["expected"]

    def __contains__(self, key):
        return any(alias in self.arrays for alias in ALIASES.get(key, (key,)))

    def __getitem__(self, key):
        name = next(alias for alias in ALIASES.get(key, (key,)) if alias in self.arrays)
        return self.archive[f"{self.name}/{name}"]

    @property
    def output(self):
        return self.archive[f"{self.name}/{self.expected}"]

    def pair(self, stem, default=None):
        """A (vertical, horizontal) define, spelt _Y/_X or _H/_W."""
        for suffix in ("YX", "HW"):
            keys = [f"{stem}_{letter}" for letter in suffix]
            if keys[0] in self.defines:
                return tuple(self.defines.get(key, default) for key in keys)
        return (default, default)

    def define(self, *keys, default=None):
        return next((self.defines[key] for key in keys if key in self.defines), default)

    def bounds(self):
        low = self.define("OUT_ACTIVATION_MIN", "ACTIVATION_MIN", default=-128)
        return low, self.define("OUT_ACTIVATION_MAX", "ACTIVATION_MAX", default=127)

    def operands(self, weights=None):
        zero_point = -self.define("INPUT_OFFSET", default=0)
        weight_zero_point = -self.define("FILTER_OFFSET", default=0)
        bias = self["biases"].astype(np.int32) if "biases" in self else None
        return Operands((1.0,), (zero_point,), 1.0, zero_point, *self.bounds(), weights, None, weight_zero_point, bias)

    def check(self, sums, operands, profile="tflite-double"):
        sums = sums if operands.bias is None else sums + operands.bias
        if "output_mult" in self:
            multipliers, shifts = self["output_mult"].astype(np.int32), self["output_shift"].astype(np.int32)
        else:
            multipliers = np.array([self.define("OUTPUT_MULTIPLIER", "OUTPUT_MULT")], np.int32)
            shifts = np.array([self.define("OUTPUT_SHIFT")], np.int32)
        zero_point = self.define("OUTPUT_OFFSET", default=0)
        found = requantize_fixed(sums, multipliers, shifts, zero_point, *self.bounds(), profile)
        return np.array_equal(found.ravel(), self.output.ravel())

    def window(self, image, size, output, dilation=(1, 1)):
        """Stride and padding; what lies below and right follows from the output size."""
        stride, (top, left) = self.pair("STRIDE", 1), self.before()
        after = [
            max((output[axis] - 1) * stride[axis] + (size[axis] - 1) * dilation[axis] + 1 - image[axis] - before, 0)
            for axis, before in enumerate((top, left))
        ]
        padding = (top, left, *after)
        rows, columns = windows(image, size, stride, padding, dilation)
        # An image longer than the windows reach would give more outputs: TFLite's VALID drops them, so must these.
        assert (rows, columns) == tuple(output), self.name
        return stride, padding

    def before(self):
        found = self.pair("PAD")
        return found if found != (None, None) else self.pair("PADDING", 0)


def convolution(case):
    x, weights, output = case["input"], case["weights"], case.output
    dilation = case.pair("DILATION", 1)
    stride, padding = case.window(x.shape[1:3], weights.shape[1:3], output.shape[1:3], dilation)
    operands = case.operands(weights)
    operator = Conv2d(stride, padding, dilation, x.shape[3] // weights.shape[3])
    return case.check(integer.conv2d_sums(x, operands, operator), operands)


def depthwise(case):
    x, weights, output = case["input"], case["weights"], case.output
    weights = weights.reshape(1, *weights.shape[-3:])
    dilation = case.pair("DILATION", 1)
    stride, padding = case.window(x.shape[1:3], weights.shape[1:3], output.shape[1:3], dilation)
    operands = case.operands(weights)
    operator = DepthwiseConv2d(stride, padding, dilation, output.shape[3] // x.shape[3])
    return case.check(integer.depthwise_conv2d_sums(x, operands, operator), operands)


def test_convolutions_reproduce_every_vector(vectors):
    cases = [case for case in vectors if case.ops & CONVOLUTIONS]
    assert len(cases) == 18
    assert [case.name for case in cases if not convolution(case)] == []


def test_depthwise_convolutions_reproduce_every_vector(vectors):
    cases = [case for case in vectors if case.ops & DEPTHWISE and not case.ops & CONVOLUTIONS]
    assert len(cases) == 7
    assert [case.name for case in cases if not depthwise(case)] == []


def test_fully_connected_layers_reproduce_every_vector(vectors):
    cases = [case for case in vectors if case.ops & {"arm_fully_connected_s8", "arm_fully_connected_per_channel_s8"}]
    assert len(cases) == 5
    wrong = []
    for case in cases:
        weights = case["weights"].reshape(-1, case["weights"].shape[-1])
        operands = case.operands(weights)
        x = case["input"].reshape(-1, weights.shape[1])
        if not case.check(integer.fully_connected_sums(x, operands), operands):
            wrong.append(case.name)
    assert wrong == []


def test_pools_reproduce_every_vector(vectors):
    cases = [(case, kind) for case in vectors for op, kind in POOLS.items() if op in case.ops]
    assert len(cases) == 9
    wrong = []
    for case, kind in cases:
        x, output = case["input"], case.output
        x = x.reshape(x.shape if x.ndim == 4 else (1, *x.shape))
        size = case.pair("FILTER")
        stride, padding = case.window(x.shape[1:3], size, output.shape[-3:-1])
        operands = Operands((1.0,), (0,), 1.0, 0, *case.bounds())
        found = integer.pool2d(x, operands, Pool2d(kind, size, stride, padding), "tflite-double")
        if not np.array_equal(found.ravel(), output.ravel()):
            wrong.append(case.name)
    assert wrong == []
