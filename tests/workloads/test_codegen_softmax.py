"""Softmax on every instruction set: the Program leaves the bytes of the integer kernel of its profile."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.specs import SoftmaxSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels import ascend, integer
from workloads.operands import Operands
from workloads.operators import Softmax
from workloads.program import count

SETS = [
    (name, parameters)
    for name in PROFILE_OF
    for parameters in ([{"vlen": vlen} for vlen in (128, 256, 512)] if name == "rvv" else [{}])
]


def operands_of(scale, zero_point=0, output=(1 / 256, -128)):
    return Operands((scale,), (zero_point,), *output, -128, 127, weight_scales=np.empty(0))


def run(name, parameters, x, operands):
    spec = SoftmaxSpec(*x.shape)
    program = generate(spec, load_isa(name, **parameters))
    execution = execute(program, {"input": x, **pack(program, spec, operands)})
    assert execution.instructions == count(program).instructions
    return execution.buffers["output"].view(np.int8).reshape(x.shape)


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(2, 200)), scale=st.floats(1e-4, 4.0),
    spread=st.integers(0, 255), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@example(shape=(1, 1023), scale=0.001, spread=0, seed=0)  # the largest sum for its columns
@example(shape=(1, 4095), scale=0.05, spread=20, seed=1)
def test_a_softmax_equals_the_kernel_of_the_profile(name, parameters, shape, scale, spread, seed):
    random = np.random.default_rng(seed)
    x = (127 - random.integers(0, spread + 1, shape)).astype(np.int8)
    operands = operands_of(scale)
    expected = integer.softmax(x, operands, Softmax(), PROFILE_OF[name])
    np.testing.assert_array_equal(run(name, parameters, x, operands), expected)


@pytest.mark.parametrize("name", ["thumb2-dsp", "rvv"])
@pytest.mark.parametrize("scale", [0.003, 0.02, 0.1, 0.7, 3.0])
def test_every_difference_to_the_maximum_has_the_exponential_of_the_kernel(name, scale):
    """A row per difference: the maximum and one other element, whose share tells its exponential."""
    x = np.stack([np.full(256, 127), np.arange(-128, 128)], axis=1).astype(np.int8)
    operands = operands_of(scale)
    np.testing.assert_array_equal(run(name, {}, x, operands), integer.softmax(x, operands, Softmax(), PROFILE_OF[name]))


@pytest.mark.parametrize("name", ["thumb2-dsp", "rvv"])
def test_an_output_of_another_scale_is_refused(name):
    spec = SoftmaxSpec(1, 4)
    program = generate(spec, load_isa(name))
    with pytest.raises(
        ValueError, match=r"scale 1/256 and zero point -128; the output has scale 0\.1 and zero point 3"
    ):
        pack(program, spec, operands_of(0.1, output=(0.1, 3)))


@pytest.mark.parametrize(("name", "columns"), [("rv64gc", 4096), ("rvv", 4096), ("avx2", 1)])
def test_rows_that_no_program_takes_are_named(name, columns):
    with pytest.raises(NotImplementedError, match="softmax over"):
        generate(SoftmaxSpec(1, columns), load_isa(name))


def test_a_softmax_of_the_vector_unit_is_within_one_step_of_the_real_one():
    x = np.random.default_rng(3).integers(-128, 128, (50, 77)).astype(np.int8)
    found = ascend.softmax(x, operands_of(0.05))
    real = np.array([[math.exp(0.05 * (int(value) - int(row.max()))) for value in row] for row in x])
    steps = real / real.sum(axis=1, keepdims=True) * 256 - 128
    assert np.abs(found - steps.clip(-128, 127)).max() <= 0.5 + 1e-3
