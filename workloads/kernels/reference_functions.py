"""Plain-Python oracles of the nonlinear, resizing, 16-bit and recurrent kernels: one number at a time."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.kernels.reference import rescaler, wrap32
from workloads.kernels.rounding_reference import rounded

if TYPE_CHECKING:
    from workloads.kernels.recurrent import Gate, LstmConstants, SvdfConstants
    from workloads.operands import Factors, Operands
    from workloads.operators import LayerNorm, Resize2d, TransposedConv2d
    from workloads.tensor import Array


def clip(value: int, low: int, high: int) -> int:
    """Return the integer of a range nearest to a value."""
    return min(max(value, low), high)


def double(value: int, multiplier: int, shift: int) -> int:
    """TFLite's default rescaling: half up, then half away from zero."""
    return rescaler("tflite-double")(value, multiplier, shift)


def divide_by_power(value: int, exponent: int) -> int:
    """Divide by 2**exponent, rounding half away from zero."""
    return rounded(Fraction(value, 2**exponent), "half-away")


def round_half_up(value: int, exponent: int) -> int:
    """Divide by 2**exponent, rounding half up."""
    return rounded(Fraction(value) / Fraction(2) ** exponent, "half-up")


def reduced(accumulator: int, multiplier: int, shift: int) -> int:
    """Scale a 64-bit sum by the multiplier's upper 16 bits, rounding half up once."""
    short = 0x7FFF if multiplier >= 0x7FFF0000 else round_half_up(multiplier, 16)
    return round_half_up(accumulator * short, 15 - shift)


def transposed_conv2d_sums(x: Array, operands: Operands, operator: TransposedConv2d) -> Array:
    """Scatter every input's products into the output, dropping what falls outside."""
    if operands.weights is None:
        raise ValueError("the layer has no weights")
    weights = operands.weights.astype(np.int64) - operands.weight_zero_point
    image = x.astype(np.int64) - operands.input_zero_points[0]
    result = np.zeros((x.shape[0], *operator.size, weights.shape[0]), np.int64)
    for n, row, column in np.ndindex(x.shape[:3]):
        for ky, kx in np.ndindex(weights.shape[1:3]):
            y = row * operator.stride[0] + ky - operator.crop[0]
            position = column * operator.stride[1] + kx - operator.crop[1]
            if 0 <= y < operator.size[0] and 0 <= position < operator.size[1]:
                result[n, y, position] += weights[:, ky, kx] @ image[n, row, column]
    return result


def resize_bilinear(x: Array, operator: Resize2d) -> Array:
    """Bilinear resizing in 10-bit fixed point, pixel by pixel."""
    result = np.empty((x.shape[0], *operator.size, x.shape[3]), x.dtype)
    for y in range(operator.size[0]):
        top, bottom, down = _place(y, x.shape[1], operator.size[0], operator)
        for column in range(operator.size[1]):
            left, right, over = _place(column, x.shape[2], operator.size[1], operator)
            for n, channel in np.ndindex(x.shape[0], x.shape[3]):
                corner = [[int(x[n, i, j, channel]) for j in (left, right)] for i in (top, bottom)]
                total = sum(
                    corner[i][j] * (down if i else 1024 - down) * (over if j else 1024 - over)
                    for i in range(2) for j in range(2)
                )  # fmt: skip
                half = 1 << 19 if total > 0 else -(1 << 19)
                result[n, y, column, channel] = int((total + half) / (1 << 20))
    return result


def _place(index: int, extent: int, wanted: int, operator: Resize2d) -> tuple[int, int, int]:
    scale = (1024 * extent + wanted // 2) // wanted
    if operator.align_corners and wanted > 1:
        scale = (1024 * (extent - 1) + (wanted - 1) // 2) // (wanted - 1)
    place = index * scale + (scale // 2 - 512 if operator.half_pixel_centers else 0)
    before = max(int(place / 1024), 0)
    return before, min(int((place + 1023) / 1024), extent - 1), place - 1024 * before


def table_sigmoid(value: int, table: Array) -> int:
    """Logistic function of a number of scale 1 / (3 * 4096), in Q0.15."""
    magnitude = abs(value)
    index, part = divmod(magnitude, 512)
    found = 0x7FFF << 10 if index >= 255 else int(table[index]) * 512 + part * int(table[index + 1] - table[index])
    return (found + 512) >> 10 if value >= 0 else ((1 << 25) - found + 511) >> 10


def table_tanh(value: int, table: Array) -> int:
    """Hyperbolic tangent of a number of scale 1 / (3 * 4096), in Q0.15."""
    index, part = divmod(abs(value), 256)
    found = 0xFFFF << 8 if index >= 255 else int(table[index]) * 256 + part * int(table[index + 1] - table[index])
    return (found - (1 << 23) + 128) >> 8 if value >= 0 else ((1 << 23) - found + 127) >> 8


def hard_swish(value: int, operands: Operands, factors: tuple[int, int, int, int]) -> int:
    """Hard-swish of one integer; factors are (multiplier, shift) of the output, then of the gate, 16 bits each."""
    to_output, output_shift, to_gate, gate_shift = factors
    fine = (value - operands.input_zero_points[0]) << 7
    gate = fine
    if gate_shift > 0:
        gate = clip(gate << (gate_shift - 1), -32768, 32767)
    gate = clip(round_half_up(gate * to_gate, 15), -32768, 32767)
    gate = clip(gate << 1, -32768, 32767) if gate_shift > 0 else divide_by_power(gate, -gate_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * clip(round_half_up(fine * to_output, 15), -32768, 32767)
    result = divide_by_power(int(product / (1 << 15)), -output_shift) + operands.output_zero_point
    return clip(result, operands.low, operands.high)


def softmax_row_16(row: Array, multiplier: int, shift: int, exp: Array, reciprocal: Array) -> list[int]:
    """Softmax of one row of 16-bit integers by its two tables."""
    largest = max(int(value) for value in row)
    powers = []
    for value in row:
        scaled = double(int(value) - largest, multiplier, shift)
        powers.append(_interpolated(exp, clip(scaled + 32767, -32768, 32767)))
    total = sum(powers)
    headroom = 32 - total.bit_length()
    share = (((total << (headroom - 1)) + (1 << 13)) >> 14) - 98304
    inverse = _interpolated(reciprocal, clip(share, -32768, 32767))
    return [clip(round_half_up(power * inverse, 31 - headroom), 0, 32767) for power in powers]


def _interpolated(table: Array, value: int) -> int:
    index, part = divmod(value, 128)
    here, following = int(table[256 + index]), int(table[257 + index])
    return here + (((following - here) * part + 64) >> 7)


def svdf_step(x: Array, state: Array, constants: SvdfConstants) -> tuple[Array, Array]:
    """Return (output, next state) of one step with double rounding."""
    following = np.roll(state, -1, axis=2)
    outputs = np.empty((len(x), len(constants.feature) // constants.rank), constants.dtype)
    for n in range(len(x)):
        for row, weights in enumerate(constants.feature):
            pairs = zip(x[n], weights, strict=True)
            total = sum((int(a) - constants.input_zero_point) * int(w) for a, w in pairs)
            newest = double(wrap32(total), *_pair(constants.state_factor))
            following[n, row, -1] = clip(newest, constants.state_low, constants.state_high)
        for unit in range(outputs.shape[1]):
            total = 0 if constants.bias is None else int(constants.bias[unit])
            for row in range(unit * constants.rank, (unit + 1) * constants.rank):
                total += sum(int(a) * int(w) for a, w in zip(following[n, row], constants.time[row], strict=True))
            scaled = double(wrap32(total), *_pair(constants.output_factor)) + constants.output_zero_point
            outputs[n, unit] = clip(scaled, constants.low, constants.high)
    return outputs, following


def lstm(x: Array, constants: LstmConstants, table: Array) -> Array:
    """Return the hidden states of a sequence (time, batch, in), with the factors of TFLite Micro and CMSIS-NN."""
    units, limits = len(constants.gates[0].hidden_weights), np.iinfo(constants.dtype)
    if constants.forget_to_cell is None or constants.input_to_cell is None:
        raise ValueError("the oracle needs the factors of both cell products")
    result = np.empty((*x.shape[:2], units), constants.dtype)
    for n in range(x.shape[1]):
        hidden, cell = [constants.hidden_zero_point] * units, [0] * units
        for step in range(len(x)):
            gates = [_gates(x[step, n], hidden, gate, constants) for gate in constants.gates]
            into, forget, out = ([table_sigmoid(3 * value, table) for value in gates[which]] for which in (0, 1, 3))
            fresh = [table_tanh(3 * value, table) for value in gates[2]]
            shift = constants.cell_scale_power + 12
            for unit in range(units):
                kept = clip(double(forget[unit] * cell[unit], *_pair(constants.forget_to_cell)), -32768, 32767)
                total = kept + double(into[unit] * fresh[unit], *_pair(constants.input_to_cell))
                bound = constants.cell_clip
                cell[unit] = clip(clip(total, -32768, 32767), -bound, bound)
                scaled = 3 * cell[unit] << shift if shift >= 0 else round_half_up(3 * cell[unit], -shift)
                shown = double(out[unit] * table_tanh(scaled, table), *_pair(constants.output_factor))
                hidden[unit] = clip(shown + constants.hidden_zero_point, int(limits.min), int(limits.max))
            result[step, n] = hidden
    return result


def _gates(x: Array, hidden: list[int], gate: Gate, constants: LstmConstants) -> list[int]:
    scale = reduced if constants.wide else double
    sums = []
    for unit in range(len(gate.hidden_weights)):
        first = 0 if gate.bias is None else int(gate.bias[unit])
        first += sum(
            (int(a) - constants.input_zero_point) * int(w) for a, w in zip(x, gate.input_weights[unit], strict=True)
        )
        second = sum(
            (a - constants.hidden_zero_point) * int(w) for a, w in zip(hidden, gate.hidden_weights[unit], strict=True)
        )
        value = clip(scale(first, *_pair(gate.input_factor)), -32768, 32767)
        sums.append(clip(value + scale(second, *_pair(gate.hidden_factor)), -32768, 32767))
    return sums


def layer_norm(row: Array, scale: Array, shift: Array, operands: Operands, operator: LayerNorm) -> list[int]:
    """Normalise one row, from exact integer sums on in float64."""
    values = [int(value) for value in row]
    count, total = len(values), sum(values)
    spread = count * sum(value * value for value in values) - total * total
    deviation = math.sqrt(spread + float(count) ** 2 * (operator.epsilon / operands.input_scales[0] ** 2))
    found = []
    for value, factor, offset in zip(values, scale, shift, strict=True):
        real = (count * value - total) / (deviation or 1.0) * float(factor) + float(offset)
        found.append(
            clip(round(real / operands.output_scale) + operands.output_zero_point, operands.low, operands.high)
        )
    return found


def logistic_q15(value: int, integer_bits: int = 3) -> int:
    """Logistic function as gemmlowp computes it on 16 bits."""
    if value == 0:
        return 1 << 14
    x = _newton(_exp(-min(abs(value), 32767), integer_bits))
    positive = _short(x << 1)
    return positive if value > 0 else 32767 - positive


def tanh_q15(value: int, integer_bits: int) -> int:
    """Hyperbolic tangent as gemmlowp computes it on 16 bits."""
    if value == 0:
        return 0
    x = _newton(_exp(-min(abs(value), 32767), integer_bits + 1))
    positive = _short((x - (1 << 13)) << 2)
    return positive if value > 0 else -positive


def _short(value: int) -> int:
    return clip(value, -32768, 32767)


def _times(a: int, b: int) -> int:
    """Saturating rounding doubling high product of 16 bits: a nudge, then C's truncating division."""
    nudged = a * b + (1 << 14 if a * b >= 0 else 1 - (1 << 14))
    return _short(nudged // 2**15 if nudged >= 0 else -(-nudged // 2**15))


def _constant(real: float, bits: int) -> int:
    """Return a real number with 16 bits more than wanted, then those rounded away."""
    return _short(divide_by_power(round(real * 2 ** (bits + 16)), 16))


def _exp(value: int, integer_bits: int) -> int:
    """Exponential of a number of at most 0, in Q0.15."""
    if value == 0:
        return 32767
    fraction = 15 - integer_bits
    if integer_bits > 5 and value < -(1 << (fraction + 5)):
        return 0
    quarter = 1 << (fraction - 2)
    remainder = value % quarter - quarter
    x = (remainder << integer_bits) + (1 << 12)
    square = _times(x, x)
    cube, fourth = _times(square, x), _times(square, square)
    series = _times(divide_by_power(fourth, 2) + cube, _constant(1 / 3, 15)) + square
    start = _constant(math.exp(-1 / 8), 15)
    result = _short(start + _times(start, x + divide_by_power(series, 1)))
    for exponent in range(-2, min(integer_bits, 5)):
        if fraction + exponent >= 0 and (remainder - value) >> (fraction + exponent) & 1:
            result = _times(result, _constant(math.exp(-(2.0**exponent)), 15))
    return result


def _newton(value: int) -> int:
    """2 / (1 + x) in Q2.13."""
    half = divide_by_power(value + 32767, 1)
    x = _constant(48 / 17, 13) + _times(half, -_constant(32 / 17, 13))
    for _ in range(3):
        x = _short(x + _short(_times(x, (1 << 13) - _times(half, x)) << 2))
    return x


def _pair(factors: Factors) -> tuple[int, int]:
    return int(factors.multipliers[0]), int(factors.shifts[0])


def unpacked(packed: Any, elements: int) -> list[int]:
    """4-bit numbers of packed bytes, low half first."""
    halves = [half for byte in np.asarray(packed).ravel().tolist() for half in (byte & 15, byte >> 4 & 15)]
    return [half - 16 if half > 7 else half for half in halves[:elements]]
