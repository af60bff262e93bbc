"""Average, maximum and global mean pooling on scalar sets: blocks of channels, one byte load per position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multiplier
from workloads.codegen import scalar as shared
from workloads.codegen.common import Body, Image, loop, needs_padding, padded_copy, split
from workloads.program import Address, Buffer, Program

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import PoolSpec
    from workloads.operands import Operands
    from workloads.tensor import Array

_BLOCK = 4  # channels that share the loops over a window
_COUNT_BYTES = 8  # number of positions and half of it, per output pixel
_LOWEST = -128


def generate(spec: PoolSpec, scalar: Scalar) -> Program:
    """Return the Program of a pooling layer."""
    isa, space = scalar.isa, scalar.isa.spaces[0]
    image, padding, scratch = padded_copy(
        isa, spec,
        lambda target, nbytes: shared.fill_run(scalar, target, nbytes),
        lambda target, source, nbytes: shared.copy_run(scalar, target, source, nbytes),
    )  # fmt: skip
    blocks: Body = ()
    for first, channels, trips in split(spec.channels, _BLOCK):
        blocks += loop(isa, "block", trips, _block(spec, image, scalar, first, channels))
    nest = loop(
        isa, "image", spec.batch, loop(isa, "row", spec.height_out, loop(isa, "column", spec.width_out, blocks))
    )
    head = shared.load_filler(scalar) if padding else ()
    buffers = (
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, space, "input"),
        Buffer("parameters", _table_offset(scalar) + _COUNT_BYTES * len(_counts(spec)), space, "parameters"),
        *scratch,
        Buffer("output", spec.batch * spec.height_out * spec.width_out * spec.channels, space, "output"),
    )
    return Program(f"{isa.name}_{spec.kind}_pool2d", isa, buffers, (*head, *padding, *nest), profile=scalar.profile)


def _block(spec: PoolSpec, image: Image, scalar: Scalar, first: int, channels: int) -> Body:
    """Pool one block of channels of one output pixel."""
    values = scalar.values[:channels]
    read = image.address(
        first, image=image.image_bytes, row=spec.stride[0] * image.row_bytes,
        column=spec.stride[1] * image.channels, block=_BLOCK, tap_row=image.row_bytes, tap=image.channels,
    )  # fmt: skip
    taken: Body = ()
    for position, value in enumerate(values):
        taken += (scalar.emit("load_byte", scalar.spare, read.plus(position)),)
        if spec.kind == "max":
            taken += scalar.bound("maximum", value, scalar.spare)
        else:
            taken += (scalar.emit("add", value, value, scalar.spare),)
    window = loop(scalar.isa, "tap_row", spec.kernel[0], loop(scalar.isa, "tap", spec.kernel[1], taken))
    row = spec.width_out * spec.channels
    write = Address(
        "output", first,
        (("image", spec.height_out * row), ("row", row), ("column", spec.channels), ("block", _BLOCK)),
    )  # fmt: skip
    return (*_start(spec, scalar, values, read), *window, *_finish(spec, scalar, values, write))


def _start(spec: PoolSpec, scalar: Scalar, values: tuple[str, ...], read: Address) -> Body:
    """Give each accumulator its first value: the window's first element, the bias of a mean, or zero."""
    if spec.kind == "max":
        corner = Address(
            read.buffer, read.offset, tuple(item for item in read.strides if not item[0].startswith("tap"))
        )
        return tuple(scalar.emit("load_byte", value, corner.plus(place)) for place, value in enumerate(values))
    if spec.mean:
        return tuple(scalar.emit("load_word", value, scalar.record(0)) for value in values)
    return tuple(scalar.emit("immediate", value, 0) for value in values)


def _finish(spec: PoolSpec, scalar: Scalar, values: tuple[str, ...], write: Address) -> Body:
    """Divide a sum by the number of positions, requantise if the output has another quantisation, store."""
    body: Body = () if spec.kind == "max" or spec.mean else _divide(spec, scalar, values)
    scaled = spec.mean or spec.rescale
    body += scalar.load_constants(offset=scaled)
    if not scaled:
        return body + tuple(
            statement
            for place, value in enumerate(values)
            for statement in scalar.clamp_store(value, write.plus(place))
        )
    body += scalar.load_parameters(scalar.record(0).plus(8))
    if not spec.mean:
        body += (scalar.emit("load_word", scalar.spare, Address("parameters", shared.FIRST_ZERO_POINT)),)
        body += tuple(scalar.emit("subtract", value, value, scalar.spare) for value in values)
    for place, value in enumerate(values):
        body += scalar.finish(value, write.plus(place))
    return body


def _divide(spec: PoolSpec, scalar: Scalar, values: tuple[str, ...]) -> Body:
    """Divide by the number of positions, half away from zero: add half with the sum's sign, truncate."""
    count, half, signed_half = scalar.constants
    strides = () if _uniform(spec) else (("row", _COUNT_BYTES * spec.width_out), ("column", _COUNT_BYTES))
    table = Address("parameters", _table_offset(scalar), strides)
    body: Body = (scalar.emit("load_word", count, table), scalar.emit("load_word", half, table.plus(4)))
    for value in values:
        body += (
            scalar.emit("shift_right", scalar.spare, value, scalar.sign_shift),
            scalar.emit("xor", signed_half, half, scalar.spare),
            scalar.emit("subtract", signed_half, signed_half, scalar.spare),
            scalar.emit("add", value, value, signed_half),
            scalar.emit("divide", value, value, count),
        )
    return body


def _table_offset(scalar: Scalar) -> int:
    """Return where the counts begin: after the header and one record."""
    return shared.HEADER_BYTES + scalar.record_bytes


def _uniform(spec: PoolSpec) -> bool:
    """Whether all windows have the same number of positions."""
    return spec.count_padding or not needs_padding(spec)


def _counts(spec: PoolSpec) -> Array:
    """Return the number of positions per output pixel, or one number for all."""
    if spec.kind == "max" or _uniform(spec):
        return np.array([spec.kernel[0] * spec.kernel[1]], np.int32)
    inside = [
        np.array([
            max(min(first + size, extent) - max(first, 0), 0)
            for first in (output * stride - before for output in range(outputs))
        ])
        for outputs, stride, before, size, extent in zip(
            (spec.height_out, spec.width_out), spec.stride, spec.padding, spec.kernel, (spec.height, spec.width),
            strict=True,
        )
    ]  # fmt: skip
    return np.outer(*inside).astype(np.int32).reshape(-1)


def pack(spec: PoolSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Return the fill value, bounds, requantisation and counts."""
    zero_point = operands.input_zero_points[0]
    outside = zero_point if spec.count_padding else _LOWEST if spec.kind == "max" else 0
    bias, (multiplier, shift) = 0, quantize_multiplier(float(effective_scales(operands, scalar.profile)[0]))
    if spec.mean:
        count = spec.kernel[0] * spec.kernel[1]
        bias = -zero_point * count
        reduction = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << reduction) // count, shift - reduction
    head = shared.header(outside, operands.output_zero_point, operands.low, operands.high, zero_point)
    counts = _counts(spec)
    table = np.stack([counts, counts // 2], axis=-1).astype(np.int32).tobytes()
    record = shared.records(scalar, np.array([bias]), [multiplier], [shift])
    return {"parameters": shared.as_bytes(head + record + table)}
