"""Doubles on 32-bit words without branches: sums, products, quotients, roots, each rounded once, half to even.

A number is sign * mantissa * 2**exponent: the sign a mask, the mantissa two words, 2**52 up to 2**53 or zero, the
exponent a word, far below all others where the mantissa is zero. Exponents are those of numbers far from the ends of
the doubles, so that nothing overflows or is subnormal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.codegen.allocate import Code, Word

NEVER = -5000  # what the exponent of zero has more
Pair = tuple["Word", "Word"]  # high, low
RECIPROCAL_BITS = 116


@dataclass(frozen=True)
class Soft:
    """A number: its sign as a mask, its mantissa and its exponent."""

    sign: Word
    mantissa: Pair
    exponent: Word


def unpacked(value: float) -> tuple[int, int, int]:
    """Return (sign mask, mantissa, exponent) of a double."""
    fraction, exponent = math.frexp(abs(value))
    mantissa = int(fraction * 2.0**53)
    return (-1 if value < 0 else 0), mantissa, exponent - 53 if mantissa else NEVER


def reciprocal(mantissa: int) -> int:
    """Return what quotients by a mantissa are estimated with: 64 bits, a little too small at most."""
    return ((1 << RECIPROCAL_BITS) - 1) // mantissa


def plus_small(c: Code, pair: Pair, word: Word) -> Pair:
    """Add a small word that is not negative."""
    low = c.do("add", pair[1], word)
    return c.do("add", pair[0], c.do("less", low, word)), low


def plus(c: Code, a: Pair, b: Pair) -> Pair:
    """Add 64-bit numbers."""
    low = c.do("add", a[1], b[1])
    return c.do("add", c.do("add", a[0], b[0]), c.do("less", low, a[1])), low


def minus(c: Code, a: Pair, b: Pair) -> Pair:
    """Subtract 64-bit numbers."""
    borrow = c.do("less", a[1], b[1])
    return c.do("subtract", c.do("subtract", a[0], b[0]), borrow), c.do("subtract", a[1], b[1])


def signed(c: Code, pair: Pair, mask: Word) -> Pair:
    """Negate a 64-bit number where a mask is set."""
    flipped = c.do("xor", pair[0], mask), c.do("xor", pair[1], mask)
    return plus_small(c, flipped, c.do("right", mask, 31))


def chosen(c: Code, a: Word, b: Word, mask: Word) -> Word:
    """Take b where a mask is set, else a."""
    return c.do("xor", a, c.do("and", c.do("xor", a, b), mask))


def doubled_left(c: Code, pair: Pair, bits: int) -> Pair:
    """Shift left by a number of bits, 1 to 31."""
    high = c.do("or", c.do("left", pair[0], bits), c.do("right", pair[1], 32 - bits))
    return high, c.do("left", pair[1], bits)


def nonzero(c: Code, word: Word) -> Word:
    """Return a mask of whether any bit of a word is set."""
    both = c.do("or", word, c.do("subtract", c.number(0), word))
    return c.do("signs", both, 31)


def some(c: Code, word: Word) -> Word:
    """Return 1 where any bit of a word is set."""
    return c.do("less", c.number(0), word)


def rounded(c: Code, pair: Pair) -> tuple[Pair, Word]:
    """Round a number of 55 or 56 bits, the last of which stands for all beyond, to a mantissa.

    Returns
    -------
    tuple
        The mantissa, and the bits by which the number was shifted right on the way.
    """
    one = c.number(1)
    short = c.do("xor", c.do("and", c.do("right", pair[0], 23), one), one)
    high = c.do("or", c.do("left_by", pair[0], short), c.do("and", c.do("right", pair[1], 31), short))
    low = c.do("left_by", pair[1], short)
    mantissa, more = _halved_even(c, (high, low), 3)
    return mantissa, c.do("add", c.do("subtract", c.number(3), short), more)


def _halved_even(c: Code, pair: Pair, bits: int) -> tuple[Pair, Word]:
    """Drop the last bits of a number of 53 + bits, half to even; return 1 too where a bit came on top and one went."""
    one = c.number(1)
    odd = c.do("and", c.do("right", pair[1], bits), one)
    high, low = plus_small(c, pair, c.do("add", odd, c.number((1 << (bits - 1)) - 1)))
    low = c.do("or", c.do("right", low, bits), c.do("left", high, 32 - bits))
    high = c.do("right", high, bits)
    more = c.do("right", high, 21)
    return (c.do("subtract", high, c.do("left", more, 20)), low), more


def normal(c: Code, pair: Pair) -> tuple[Pair, Word]:
    """Bring a number below 2**63 to a mantissa, rounded; return by how many bits it was shifted right."""
    there = nonzero(c, pair[0])
    # Without a high word, 31 bits come up from the low one.
    high = chosen(c, c.do("right", pair[1], 1), pair[0], there)
    low = chosen(c, c.do("left", pair[1], 31), pair[1], there)
    up = c.do("subtract", c.do("zeros", high), c.number(1))
    rest = c.do("xor", up, c.number(31))
    shifted = c.do("or", c.do("left_by", high, up), c.do("right_by", c.do("right", low, 1), rest))
    mantissa, more = _halved_even(c, (shifted, c.do("left_by", low, up)), 10)
    came = c.do("subtract", c.number(31), c.do("and", there, c.number(31)))
    right = c.do("subtract", c.number(10), c.do("add", up, came))
    return mantissa, c.do("add", right, more)


def exponent_of(c: Code, exponent: Word, mantissa: Pair) -> Word:
    """Return an exponent, far below all others where the mantissa is zero."""
    none = c.do("xor", nonzero(c, c.do("or", *mantissa)), c.number(-1))
    return c.do("add", exponent, c.do("and", none, c.number(NEVER)))


def summed(c: Code, a: Soft, b: Soft) -> Soft:
    """Add two numbers."""
    distance = c.do("subtract", a.exponent, b.exponent)
    swap = c.do("signs", distance, 31)
    exponent = c.do("subtract", a.exponent, c.do("and", distance, swap))
    sign = chosen(c, a.sign, b.sign, swap)
    apart = c.do("xor", a.sign, b.sign)
    large = tuple(chosen(c, *words, swap) for words in zip(a.mantissa, b.mantissa, strict=True))
    small = tuple(
        c.do("xor", c.do("xor", *words), one) for *words, one in zip(a.mantissa, b.mantissa, large, strict=True)
    )
    away = c.do("subtract", c.do("xor", distance, swap), swap)
    beyond = c.do("subtract", c.number(63), away)
    away = c.do("add", away, c.do("and", beyond, c.do("signs", beyond, 31)))
    moved = _moved_right(c, doubled_left(c, (small[0], small[1]), 9), away)
    total = plus(c, doubled_left(c, (large[0], large[1]), 9), signed(c, moved, apart))
    negative = c.do("signs", total[0], 31)
    mantissa, right = normal(c, signed(c, total, negative))
    found = c.do("subtract", c.do("add", exponent, right), c.number(9))
    return Soft(c.do("xor", sign, negative), mantissa, exponent_of(c, found, mantissa))


def _moved_right(c: Code, pair: Pair, bits: Word) -> Pair:
    """Shift right by 0 to 63 bits; the last bit stands for all that went."""
    far = c.do("subtract", c.number(0), c.do("right", bits, 5))
    lost = c.do("and", pair[1], far)
    low = chosen(c, pair[1], pair[0], far)
    high = c.do("and", pair[0], c.do("xor", far, c.number(-1)))
    near = c.do("and", bits, c.number(31))
    rest = c.do("xor", near, c.number(31))
    lost = c.do("or", lost, c.do("left_by", c.do("left", low, 1), rest))
    low = c.do("or", c.do("right_by", low, near), c.do("left_by", c.do("left", high, 1), rest))
    return c.do("right_by", high, near), c.do("or", low, some(c, lost))


def scaled(c: Code, a: Soft, sign: Word, mantissa: Word, exponent: Word) -> Soft:
    """Multiply by a number whose mantissa is one word of 24 bits."""
    low = c.do("multiply", a.mantissa[1], mantissa)
    carried = c.do("high", a.mantissa[1], mantissa)
    middle = c.do("add", carried, c.do("multiply", a.mantissa[0], mantissa))
    high = c.do("add", c.do("high", a.mantissa[0], mantissa), c.do("less", middle, carried))
    upper = c.do("or", c.do("left", high, 11), c.do("right", middle, 21))
    lower = c.do("or", c.do("left", middle, 11), c.do("right", low, 21))
    found, right = rounded(c, (upper, c.do("or", lower, some(c, c.do("left", low, 11)))))
    total = c.do("add", c.do("add", a.exponent, exponent), c.do("add", right, c.number(21)))
    return Soft(c.do("xor", a.sign, sign), found, total)


def _settled(c: Code, quotient: Pair, rest: Pair, divisor: Pair) -> Pair:
    """Correct an estimate that is one too small at most; its last bit stands for a rest."""
    less = minus(c, rest, divisor)
    fits = c.do("xor", c.do("signs", less[0], 31), c.number(-1))
    left = c.do("or", chosen(c, rest[0], less[0], fits), chosen(c, rest[1], less[1], fits))
    high, low = plus_small(c, quotient, c.do("right", fits, 31))
    return high, c.do("or", low, some(c, left))


def _rest(c: Code, high: Word, quotient: Pair, divisor: Pair) -> Pair:
    """Return high * 2**32 - quotient * divisor, of which 64 bits are enough."""
    low = c.do("multiply", quotient[1], divisor[1])
    upper = c.do("add", c.do("high", quotient[1], divisor[1]), c.do("multiply", quotient[1], divisor[0]))
    upper = c.do("add", upper, c.do("multiply", quotient[0], divisor[1]))
    return c.do("subtract", c.do("subtract", high, upper), some(c, low)), c.do("subtract", c.number(0), low)


def divided_integer(c: Code, value: Word, divisor: Soft, inverse: Pair) -> Soft:
    """Divide an integer of 32 bits by a positive number, whose reciprocal is given."""
    sign = c.do("signs", value, 31)
    magnitude = c.do("subtract", c.do("xor", value, sign), sign)
    up = c.do("zeros", magnitude)
    whole = c.do("left_by", magnitude, up)
    carried = c.do("high", whole, inverse[1])
    middle = c.do("add", carried, c.do("multiply", whole, inverse[0]))
    high = c.do("add", c.do("high", whole, inverse[0]), c.do("less", middle, carried))
    quotient = c.do("right", high, 8), c.do("or", c.do("right", middle, 8), c.do("left", high, 24))
    rest = _rest(c, c.number(0), quotient, divisor.mantissa)
    mantissa, right = rounded(c, _settled(c, quotient, rest, divisor.mantissa))
    exponent = c.do("subtract", c.do("subtract", right, c.number(76)), c.do("add", up, divisor.exponent))
    return Soft(sign, mantissa, exponent_of(c, exponent, mantissa))


def divided(c: Code, a: Soft, divisor: Soft, inverse: Pair) -> Soft:
    """Divide by a positive number, whose reciprocal is given; the exponent of zero is not kept low."""
    (high, low), (upper, lower) = a.mantissa, inverse
    first = c.do("high", low, lower)
    one = c.do("add", first, c.do("multiply", low, upper))
    carry = c.do("less", one, first)
    product = c.do("multiply", high, lower)
    one = c.do("add", one, product)
    carry = c.do("add", carry, c.do("less", one, product))
    start = c.do("high", low, upper)
    two = c.do("add", start, c.do("high", high, lower))
    above = c.do("less", two, start)
    two = c.do("add", two, carry)
    above = c.do("add", above, c.do("less", two, carry))
    product = c.do("multiply", high, upper)
    two = c.do("add", two, product)
    above = c.do("add", above, c.do("less", two, product))
    three = c.do("add", c.do("high", high, upper), above)
    quotient = (
        c.do("or", c.do("right", two, 29), c.do("left", three, 3)),
        c.do("or", c.do("right", one, 29), c.do("left", two, 3)),
    )
    rest = _rest(c, c.do("left", low, 23), quotient, divisor.mantissa)
    mantissa, right = rounded(c, _settled(c, quotient, rest, divisor.mantissa))
    exponent = c.do("subtract", c.do("subtract", a.exponent, divisor.exponent), c.number(55))
    return Soft(a.sign, mantissa, c.do("add", exponent, right))


def whole(c: Code, a: Soft) -> Word:
    """Round to an integer; beyond 2**12 any integer of that size and sign will do."""
    gone = c.do("subtract", c.number(-32), a.exponent)
    gone = c.do("maximum", c.do("minimum", gone, c.number(28)), c.number(8))
    floor = c.do("right_by", a.mantissa[0], gone)
    rest = c.do("left_by", a.mantissa[0], c.do("subtract", c.number(32), gone))
    tie = c.do("or", some(c, a.mantissa[1]), c.do("and", floor, c.number(1)))
    up = c.do("less", c.number(-(1 << 31)), c.do("or", rest, tie))
    magnitude = c.do("add", floor, up)
    return c.do("subtract", c.do("xor", magnitude, a.sign), a.sign)
