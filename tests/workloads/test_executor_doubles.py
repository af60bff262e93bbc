"""Float64 lanes of the executor: each operation rounds once, as numpy's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.executor import execute
from workloads.isa import InstructionSet, Meaning
from workloads.program import Address, Buffer, Instruction, Program

OPERATIONS = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "minimum": np.minimum,
    "maximum": np.maximum,
}  # fmt: skip
REALS = st.floats(1e-100, 1e100) | st.floats(-1e100, -1e-100)


def run(meaning, *arrays, out):
    """Return the bytes that one instruction leaves, from memory to memory."""
    isa = InstructionSet("doubles", "", "", {}, {"op": meaning})
    buffers = (*(Buffer(name, x.nbytes, role="input") for name, x in zip("ab", arrays, strict=False)),
               Buffer("out", out, role="output"))  # fmt: skip
    body = (Instruction("op", Address("out"), tuple(Address(name) for name, _ in zip("ab", arrays, strict=False))),)
    return execute(Program("one", isa, buffers, body), dict(zip("ab", arrays, strict=False))).buffers["out"]


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(sorted(OPERATIONS)), values=st.lists(REALS, min_size=2, max_size=9))
def test_float64_lanes_equal_numpy(kind, values):
    a = np.array(values)
    b = a[::-1].copy()
    found = run(Meaning(kind, "f64", ("f64", "f64"), len(a)), a, b, out=a.nbytes).view(np.float64)
    np.testing.assert_array_equal(found, OPERATIONS[kind](a, b))


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(0, 1e300), min_size=1, max_size=9))
def test_a_square_root_is_rounded_once(values):
    x = np.array(values)
    found = run(Meaning("square_root", "f64", ("f64",), len(x)), x, out=x.nbytes).view(np.float64)
    np.testing.assert_array_equal(found, np.sqrt(x))


def test_integers_and_doubles_convert_into_each_other():
    wide = np.array([2**53 + 1, -(2**62) - 1, 7], np.int64)
    found = run(Meaning("convert", "f64", ("s64",), 3), wide, out=24).view(np.float64)
    np.testing.assert_array_equal(found, wide.astype(np.float64))
    halves = np.array([0.5, 1.5, -2.5, 2.0**40])
    found = run(Meaning("convert", "s32", ("f64",), 4), halves, out=16).view(np.int32)
    assert found.tolist() == [0, 2, -2, -(2**31)]
