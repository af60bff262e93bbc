"""TFLite's fixed-point softmax on 32-bit words without branches, for any set that has registers or vectors of words.

Every step is that of ``workloads.kernels.softmax``; the sums and shifts that round there are of numbers that are not
negative, so that half is added and the rest cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workloads.kernels import softmax as kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.codegen.common import Body
    from workloads.operands import Operands
    from workloads.tensor import Array

# Constants by name, as words of the parameters; the first three follow from the quantisation.
_POWERS = {f"power_{place}": int(value) for place, value in enumerate(kernel.EXP_OF_POWERS)}
_FIXED = {
    "fraction": 2**24 - 1, "quarter": 2**24, "eighth": 2**28, "third": kernel.ONE_THIRD,
    "exp_of_eighth": kernel.EXP_OF_EIGHTH, **_POWERS, "largest": kernel.INT32_MAX, "one": 1, "two": 2, "four": 4,
    "eight": 8, "below_8": 2**23, "below_4": 2**27, "below_2": 2**29, "below_1": 2**30,
    "start": kernel.FORTY_EIGHT_SEVENTEENTHS, "slope": kernel.THIRTY_TWO_SEVENTEENTHS, "amount": 33, "lowest": -128,
    "highest": 127, "zero": 0,
}  # fmt: skip
NAMES = ("multiplier", "shift", "smallest", *_FIXED)
PARAMETER_BYTES = 4 * len(NAMES)
MOST_COLUMNS = 4095  # the sum of exponentials fits 31 bits
_NORMALIZING = (("eight", "below_8"), ("four", "below_4"), ("two", "below_2"), ("one", "below_1"))


@dataclass(frozen=True)
class Words:
    """How a set computes on words, each in a register or in the lanes of a vector group.

    Parameters
    ----------
    value, rest, x, square, other, mask, result, dropped, total
        Names of words.
    top
        Number of the sign bit of a word.
    emit
        (role, destination, a, b) -> statements; roles add, subtract, and, xor, left and right (by a constant number
        of bits, the right one keeps the sign), left_by and right_by (by a word), high (the rounded high half of the
        doubled product), minimum. b is a word, what ``constant`` returns, or for the shifts a number.
    constant
        Name -> (statements, operand): brings a constant to hand, for the next operation.
    word
        (destination, name) -> statements: a word that holds a constant.
    """

    value: str
    rest: str
    x: str
    square: str
    other: str
    mask: str
    result: str
    dropped: str
    total: str
    top: int
    emit: Callable[[str, str, str, str | int], Body]
    constant: Callable[[str], tuple[Body, str]]
    word: Callable[[str, str], Body]

    def with_constant(self, role: str, destination: str, a: str, name: str) -> Body:
        """Combine a word with a named constant."""
        before, operand = self.constant(name)
        return before + self.emit(role, destination, a, operand)

    def halved(self, word: str, bits: int) -> Body:
        """Shift right by ``bits``, half of the last bit added."""
        first = self.emit("right", word, word, bits - 1) if bits > 1 else ()
        return first + self.with_constant("add", word, word, "one") + self.emit("right", word, word, 1)

    def chosen(self, word: str, other: str, mask: str) -> Body:
        """Take ``other`` in the place of ``word`` where ``mask`` is all ones; spoils ``other``."""
        return (
            self.emit("xor", other, other, word)
            + self.emit("and", other, other, mask)
            + self.emit("xor", word, word, other)
        )


def exponential(w: Words) -> Body:
    """Leave the exponential of the difference to the maximum, which ``value`` holds, in ``result``."""
    body = w.with_constant("subtract", w.dropped, w.value, "smallest") + w.emit("right", w.dropped, w.dropped, w.top)
    body += w.with_constant("left_by", w.value, w.value, "shift")
    body += w.with_constant("high", w.value, w.value, "multiplier")
    body += w.with_constant("and", w.rest, w.value, "fraction")
    body += w.with_constant("subtract", w.rest, w.rest, "quarter")
    body += _series(w)
    body += w.emit("subtract", w.rest, w.rest, w.value)
    for place, name in enumerate(_POWERS):
        body += w.with_constant("high", w.other, w.result, name)
        body += w.emit("left", w.mask, w.rest, w.top - 24 - place) + w.emit("right", w.mask, w.mask, w.top)
        body += w.chosen(w.result, w.other, w.mask)
    # e**0 is the largest number; what is too small counts as nothing.
    body += w.emit("right", w.mask, w.value, w.top)
    body += w.with_constant("xor", w.result, w.result, "largest") + w.emit("and", w.result, w.result, w.mask)
    body += w.with_constant("xor", w.result, w.result, "largest")
    return body + w.emit("and", w.mask, w.result, w.dropped) + w.emit("xor", w.result, w.result, w.mask)


def accumulate(w: Words) -> Body:
    """Add the exponential in ``result`` to ``total``; spoils ``other``."""
    body = w.emit("right", w.other, w.result, kernel.SUM_INTEGER_BITS - 1) + w.halved(w.other, 1)
    return body + w.emit("add", w.total, w.total, w.other)


def _series(w: Words) -> Body:
    """Leave the exponential of ``rest``, between -1/4 and 0, in ``result``: a polynomial around -1/8."""
    body = w.emit("left", w.x, w.rest, kernel.INPUT_INTEGER_BITS) + w.with_constant("add", w.x, w.x, "eighth")
    body += w.emit("high", w.square, w.x, w.x)
    body += w.emit("high", w.other, w.square, w.square) + w.halved(w.other, 2)
    body += w.emit("high", w.mask, w.square, w.x) + w.emit("add", w.other, w.other, w.mask)
    body += w.with_constant("high", w.other, w.other, "third")
    body += w.emit("add", w.other, w.other, w.square) + w.halved(w.other, 1)
    body += w.emit("add", w.x, w.x, w.other)
    body += w.with_constant("high", w.result, w.x, "exp_of_eighth")
    return body + w.with_constant("add", w.result, w.result, "exp_of_eighth")


def reciprocal(w: Words) -> Body:
    """Leave 1 / ``total`` in ``result``, and in ``rest`` one less than the bits by which a share is shifted right."""
    body = w.emit("subtract", w.rest, w.total, w.total)
    for bits, bound in _NORMALIZING:
        body += w.with_constant("subtract", w.mask, w.total, bound) + w.emit("right", w.mask, w.mask, w.top)
        body += w.with_constant("and", w.mask, w.mask, bits)
        body += w.emit("left_by", w.total, w.total, w.mask) + w.emit("add", w.rest, w.rest, w.mask)
    body += w.with_constant("high", w.mask, w.total, "slope") + w.word(w.x, "start")
    body += w.emit("subtract", w.x, w.x, w.mask)
    for _ in range(3):
        body += w.emit("high", w.mask, w.total, w.x) + w.word(w.other, "below_2")
        body += w.emit("subtract", w.other, w.other, w.mask) + w.emit("high", w.mask, w.x, w.other)
        body += w.emit("left", w.mask, w.mask, 2) + w.emit("add", w.x, w.x, w.mask)
    # Twice x, which saturates.
    body += w.with_constant("subtract", w.mask, w.x, "below_1") + w.emit("right", w.mask, w.mask, w.top)
    body += w.emit("left", w.x, w.x, 1) + w.word(w.result, "largest") + w.chosen(w.result, w.x, w.mask)
    # No more than 31 bits, beyond which nothing is left.
    body += w.with_constant("subtract", w.other, w.rest, "two") + w.emit("right", w.mask, w.other, w.top)
    body += w.emit("and", w.other, w.other, w.mask) + w.emit("subtract", w.other, w.rest, w.other)
    return body + w.word(w.rest, "amount") + w.emit("subtract", w.rest, w.rest, w.other)


def share(w: Words, word: str, inverse: str, amount: str) -> Body:
    """Replace an exponential by its share of the sum as an integer of the output."""
    body = w.emit("high", word, word, inverse) + w.emit("right_by", word, word, amount) + w.halved(word, 1)
    return body + w.with_constant("add", word, word, "lowest") + w.with_constant("minimum", word, word, "highest")


def pack(operands: Operands) -> Array:
    """Return the constants as int32 words.

    Raises
    ------
    ValueError
        The output's quantisation is not that of a softmax: 1/256 and -128.
    """
    if (operands.output_scale, operands.output_zero_point) != (1 / 256, -128):
        found = f"scale {operands.output_scale} and zero point {operands.output_zero_point}"
        raise ValueError(f"softmax gives scale 1/256 and zero point -128; the output has {found}")
    own = kernel.stated_parameters(operands) or kernel.softmax_parameters(1.0, operands.input_scales[0])
    return np.array([*own, *_FIXED.values()], np.int32)
