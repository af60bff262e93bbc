"""Logistic and hyperbolic tangent of 16-bit numbers in words, step by step as ``workloads.kernels.gemmlowp``.

What saturates there without ever reaching its bounds is not clamped here. The first words of a set are used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.kernels.gemmlowp import HIGH, ONE_BITS, fixed_constant

if TYPE_CHECKING:
    from workloads.codegen.lanes import Strip

WORDS = 7
_TOP = 31  # the sign's number of bits to shift by


def logistic(s: Strip, integer_bits: int = 3) -> None:
    """Replace the first word by its logistic function in Q0.15."""
    value, _, x, square, _, _, sign = s.lanes.words[:WORDS]
    _negative_magnitude(s)
    _exponential(s, integer_bits)
    _newton(s)
    s.do("left", x, x, 1)
    s.do("minimum", x, x, HIGH)
    # The function of 0 is a half, four more than the steps give.
    s.do("right", square, value, _TOP)
    s.do("add", square, square, 1)
    s.do("left", square, square, 2)
    s.do("add", x, x, square)
    # 1 - y of negative numbers: all bits but the sign change.
    s.do("and", sign, sign, HIGH)
    s.do("xor", value, x, sign)


def tanh(s: Strip, integer_bits: int) -> None:
    """Replace the first word by its hyperbolic tangent in Q0.15."""
    value, _, x, square, _, _, sign = s.lanes.words[:WORDS]
    _negative_magnitude(s)
    _exponential(s, integer_bits + 1)
    _newton(s)
    s.do("subtract", x, x, 1 << 13)
    s.do("left", x, x, 2)
    s.do("minimum", x, x, HIGH)
    s.do("right", square, value, _TOP)  # the function of 0 is 0
    s.do("and", x, x, square)
    s.do("xor", x, x, sign)
    s.do("subtract", value, x, sign)


def _negative_magnitude(s: Strip) -> None:
    """Keep the sign of the first word as a mask, and make it negative: 0 to -32767."""
    value, rest, *_, sign = s.lanes.words[:WORDS]
    s.do("right", sign, value, _TOP)
    s.do("xor", rest, sign, -1)
    s.do("xor", value, value, rest)
    s.do("subtract", value, value, rest)
    s.do("maximum", value, value, -HIGH)


def product(s: Strip, destination: str, a: str, b: str | int) -> None:
    """Multiply two numbers in Q0.15, rounded half up."""
    s.do("multiply", destination, a, b)
    s.do("add", destination, destination, 1 << (ONE_BITS - 1))
    s.do("right", destination, destination, ONE_BITS)


def divided(s: Strip, word: str, exponent: int, spare: str) -> None:
    """Divide by 2**exponent, rounded half away from zero."""
    if exponent <= 0:
        return
    s.do("right", spare, word, _TOP)
    s.do("add", word, word, spare)
    s.do("add", word, word, 1 << (exponent - 1))
    s.do("right", word, word, exponent)


def _exponential(s: Strip, integer_bits: int) -> None:
    """Leave the exponential of the first word in the sixth, in Q0.15."""
    value, rest, x, square, other, result, _ = s.lanes.words[:WORDS]
    fraction = ONE_BITS - integer_bits
    quarter = 1 << (fraction - 2)
    s.do("and", rest, value, quarter - 1)
    s.do("subtract", rest, rest, quarter)
    s.do("left", x, rest, integer_bits)
    s.do("add", x, x, 1 << (ONE_BITS - 3))
    product(s, square, x, x)
    product(s, other, square, square)
    divided(s, other, 2, result)
    product(s, result, square, x)
    s.do("add", other, other, result)
    product(s, other, other, fixed_constant(1 / 3, ONE_BITS))
    s.do("add", other, other, square)
    divided(s, other, 1, result)
    s.do("add", x, x, other)
    eighth = fixed_constant(math.exp(-1 / 8), ONE_BITS)
    product(s, result, x, eighth)
    s.do("add", result, result, eighth)
    s.do("subtract", rest, rest, value)
    for exponent in range(-2, 5):
        bit = fraction + exponent
        if integer_bits > exponent and bit >= 0:
            product(s, other, result, fixed_constant(math.exp(-(2.0**exponent)), ONE_BITS))
            s.do("left", square, rest, _TOP - bit)
            s.do("right", square, square, _TOP)
            s.do("xor", other, other, result)
            s.do("and", other, other, square)
            s.do("xor", result, result, other)
    if integer_bits > 5:  # nothing is left of what is too small
        s.do("add", other, value, 1 << (fraction + 5))
        s.do("right", other, other, _TOP)
        s.do("xor", other, other, -1)
        s.do("and", result, result, other)
    # e**0 is the largest number.
    s.do("right", other, value, _TOP)
    s.do("xor", result, result, HIGH)
    s.do("and", result, result, other)
    s.do("xor", result, result, HIGH)


def _newton(s: Strip) -> None:
    """Leave 2 / (1 + the sixth word) in the third, in Q2.13, by three Newton steps."""
    _, _, x, square, half, result, _ = s.lanes.words[:WORDS]
    s.do("add", half, result, HIGH + 1)
    s.do("right", half, half, 1)
    product(s, x, half, -fixed_constant(32 / 17, 13))
    s.do("add", x, x, fixed_constant(48 / 17, 13))
    for _ in range(3):
        product(s, square, half, x)
        s.do("xor", square, square, -1)
        s.do("add", square, square, (1 << 13) + 1)
        product(s, square, x, square)
        s.do("left", square, square, 2)
        s.do("add", x, x, square)
