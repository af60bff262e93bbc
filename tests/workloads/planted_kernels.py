"""A convolution written from its definition, with bugs to plant; tests and the command fuzz it as a user's kernel."""

import numpy as np


def high_product(a, b):
    return (a * b + 2**30) >> 31


def double_rounding(accumulators, multipliers, shifts):
    left, right = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    value = high_product(accumulators << left, multipliers)
    rounded = (value + ((1 << right) >> 1) + np.where(value < 0, -1, 0)) >> right
    return np.where(right > 0, rounded, value)


def sums(x, weights, output_shape, stride, padding, dilation, groups, border):
    """Products in int64; positions in the padding hold ``border``."""
    top, left, bottom, right = padding
    image = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=border)
    _, rows, columns, outputs = output_shape
    total = np.zeros(output_shape, np.int64)
    depth, per_group = weights.shape[3], outputs // groups
    for group in range(groups):
        channels = slice(group * depth, (group + 1) * depth)
        chosen = slice(group * per_group, (group + 1) * per_group)
        for row in range(weights.shape[1]):
            for column in range(weights.shape[2]):
                y, at = row * dilation[0], column * dilation[1]
                taps = image[:, y : y + (rows - 1) * stride[0] + 1 : stride[0]]
                taps = taps[:, :, at : at + (columns - 1) * stride[1] + 1 : stride[1], channels]
                total[..., chosen] += taps @ weights[chosen, row, column].T.astype(np.int64)
    return total


def conv(
    x, weights, bias, input_zero_point, output_zero_point, multipliers, shifts, low, high, stride, padding, dilation,
    groups, output_shape, dtype, *, bug="",
):  # fmt: skip
    centered = x.astype(np.int64) + (input_zero_point if bug == "zero-point sign" else -input_zero_point)
    border = -input_zero_point if bug == "padding with 0" else 0
    total = sums(centered, weights, output_shape, stride, padding, dilation, groups, border)
    if bug == "tail of the depth":
        depth = weights.shape[3] // 4 * 4
        total = sums(centered[..., :depth], weights[..., :depth], output_shape, stride, padding, dilation, 1, border)
    total = total if bias is None else total + bias
    if bug == "16-bit sums":
        total = total.astype(np.int16).astype(np.int64)
    if bug == "32-bit sums":
        total = total.astype(np.int32).astype(np.int64)
    multipliers, shifts = multipliers.astype(np.int64), shifts.astype(np.int64)
    if dtype == "int16":
        reduced = np.where(multipliers < 0x7FFF0000, (multipliers + 2**15) >> 16, 0x7FFF)
        value = (total * reduced + (1 << (14 - shifts))) >> (15 - shifts)
    elif bug == "wrong tie":
        right = np.maximum(-shifts, 0)
        value = (high_product(total << np.maximum(shifts, 0), multipliers) + ((1 << right) >> 1)) >> right
    else:
        value = double_rounding(total, multipliers, shifts)
    value = value + output_zero_point
    if bug == "missing saturation":
        value = value.astype(dtype)
    result = np.clip(value, low, high).astype(dtype)
    pixels = output_shape[1] * output_shape[2]
    if bug == "odd-pixel tail" and pixels % 2 and pixels > 1:
        result.reshape(output_shape[0], pixels, -1)[:, -1] = 0
    return result


def wrong_padding(
    x, weights, bias, input_zero_point, output_zero_point, multipliers, shifts, low, high, stride, padding, dilation,
    groups, output_shape, dtype,
):  # fmt: skip
    return conv(
        x, weights, bias, input_zero_point, output_zero_point, multipliers, shifts, low, high, stride, padding,
        dilation, groups, output_shape, dtype, bug="padding with 0",
    )  # fmt: skip


def misnamed(x, weigths):
    return x


def raising(x):
    raise KeyError("oops")


def wrong_shape(x):
    return x[..., 0]


def wrong_type(output_shape):
    return np.zeros(output_shape, np.int32)


def fussy(x, **rest):
    raise NotImplementedError("nothing is supported")


def add16(
    a, b, left_shift, a_multiplier, a_shift, b_multiplier, b_shift, output_multiplier, output_shift, low, high, dtype,
    lost_bits=0,
):  # fmt: skip
    """A 16-bit sum as TFLite's integers say; zero points of 16 bits are 0."""
    terms = [
        double_rounding(x.astype(np.int64) << left_shift, np.int64(multiplier), np.int64(shift))
        for x, multiplier, shift in ((a, a_multiplier, a_shift), (b, b_multiplier, b_shift))
    ]
    total = (terms[0] + terms[1]) >> lost_bits << lost_bits
    return np.clip(double_rounding(total, np.int64(output_multiplier), np.int64(output_shift)), low, high).astype(dtype)


def mul16(a, b, multipliers, shifts, low, high, dtype):
    product = a.astype(np.int64) * b
    return np.clip(double_rounding(product, multipliers.astype(np.int64)[0], shifts[0]), low, high).astype(dtype)


def average16(x, window, stride, padding, output_shape, low, high, dtype):
    """The mean over what lies inside the image, ties away from zero."""
    top, left, bottom, right = padding
    image = np.pad(x.astype(np.int64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    inside = np.pad(np.ones_like(x, np.int64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    result = np.empty(output_shape, np.int64)
    for row, column in np.ndindex(*output_shape[1:3]):
        y, at = row * stride[0], column * stride[1]
        taps = (slice(None), slice(y, y + window[0]), slice(at, at + window[1]))
        total, count = image[taps].sum(axis=(1, 2)), inside[taps].sum(axis=(1, 2))
        result[:, row, column] = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return np.clip(result, low, high).astype(dtype)
