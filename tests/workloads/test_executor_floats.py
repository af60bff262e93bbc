"""Float instructions of the executor round as IEEE 754 says, the fused ones once."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.executor import execute, rows
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction, Program

SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
NEAR = st.integers(-(2**24), 2**24).map(float)  # sums of their products lie near ties
TIE = (97 * 2.0**-7, 172961 * 2.0**-17)  # whose product is 1 + 2**-24, between 1 and the next float32


def single(x: Fraction) -> np.float32:
    """Round a fraction to float32, half to even."""
    if x == 0:
        return np.float32(0)
    exponent = max(abs(x).numerator.bit_length() - abs(x).denominator.bit_length() - 25, -149)
    while abs(x) / Fraction(2) ** exponent >= 2**24:
        exponent += 1
    quanta = round(x / Fraction(2) ** exponent)  # Python rounds fractions half to even
    with np.errstate(over="ignore"):
        return (
            np.float32(float(quanta) * 2.0**exponent) if exponent <= 104 else np.float32(np.inf if x > 0 else -np.inf)
        )


def vectors(a, b, c) -> np.float32:
    body = [Instruction("vpbroadcastd.load", f"ymm{i}", (Address("given", 4 * i),)) for i in range(3)]
    body += [Instruction("vfmadd213ps", "ymm0", ("ymm0", "ymm1", "ymm2"))]
    body += [Instruction("vmovd.store", Address("out"), ("ymm0",))]
    return ran("avx2", body, a, b, c)


def scalars(a, b, c) -> np.float32:
    body = [Instruction("flw", f"f{i}", (Address("given", 4 * i),)) for i in range(3)]
    body += [Instruction("fmadd.s", "f3", ("f0", "f1", "f2")), Instruction("fsw", Address("out"), ("f3",))]
    return ran("rv64gc", body, a, b, c)


def ran(name, body, *values):
    buffers = (Buffer("given", 12, role="input"), Buffer("out", 4, role="output"))
    done = execute(Program("fused", load_isa(name), buffers, tuple(body)), {"given": np.array(values, np.float32)})
    return done.buffers["out"].view(np.float32)[0]


@pytest.mark.parametrize("general", [False, True], ids=["compiled form", "lane by lane"])
@pytest.mark.parametrize("compute", [vectors, scalars])
def test_a_fused_multiply_add_rounds_the_exact_sum_once(compute, general):
    @settings(max_examples=60, deadline=None)
    @given(st.one_of(st.tuples(SINGLE, SINGLE, SINGLE), st.tuples(NEAR, NEAR, NEAR), st.tuples(NEAR, NEAR, SINGLE)))
    @example((*TIE, 2.0**-60))
    @example((*TIE, -(2.0**-60)))
    @example((*TIE, 0.0))
    @example((2.0**-126, 2.0**-24, -(2.0**-149)))
    def law(values):
        a, b, c = values
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        assert compute(a, b, c) == single(exact)

    with pytest.MonkeyPatch.context() as patch:
        if general:
            patch.setattr(rows, "OPCODE_OF", {})
        law()


def test_rounding_the_sum_in_double_precision_first_would_be_wrong():
    """What the law above can tell apart: the float64 sum is a tie that the exact sum is not."""
    twice = np.float32(TIE[0] * TIE[1] + 2.0**-60)
    assert twice != vectors(*TIE, 2.0**-60) == scalars(*TIE, 2.0**-60)


@pytest.mark.parametrize("general", [False, True], ids=["compiled form", "lane by lane"])
@pytest.mark.parametrize(("op", "equal"), [("vmaxps", (-0.0, 0.0)), ("vminps", (0.0, -0.0))])
def test_of_equal_zeros_a_bound_in_second_place_wins(op, equal, general, monkeypatch):
    if general:
        monkeypatch.setattr(rows, "OPCODE_OF", {})
    body = [Instruction("vpbroadcastd.load", f"ymm{i}", (Address("given", 4 * i),)) for i in range(2)]
    body += [Instruction(op, "ymm0", ("ymm0", "ymm1")), Instruction("vmovd.store", Address("out"), ("ymm0",))]
    assert np.signbit(ran("avx2", body, *equal, 0)) == np.signbit(equal[1])
