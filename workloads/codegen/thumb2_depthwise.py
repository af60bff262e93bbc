"""Depthwise convolution for Thumb-2 with DSP: 4 channels by 2 taps, paired with PKHBT and PKHTB for SMLAD."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from workloads.arithmetic import effective_scales, quantize_multipliers
from workloads.codegen import scalar as shared
from workloads.codegen import scalar_sums
from workloads.codegen.common import Body, Image, fixed, loop, padded_copy
from workloads.codegen.geometry import product
from workloads.codegen.specs import ConvSpec
from workloads.options import DEFAULT, Options
from workloads.program import Address, Buffer, Instruction, Program

if TYPE_CHECKING:
    from workloads.codegen.scalar import Scalar
    from workloads.codegen.specs import Spec
    from workloads.operands import Operands
    from workloads.tensor import Array

_BLOCK = 4  # channels of one word
_UNROLLED = 64  # taps that are written out; larger windows take the general loops


def takes(spec: Spec) -> TypeGuard[ConvSpec]:
    """Whether a specification is a depthwise convolution of this form."""
    return (
        isinstance(spec, ConvSpec)
        and spec.depthwise
        and spec.channels == spec.channels_out >= _BLOCK
        and spec.kernel[0] * spec.kernel[1] <= _UNROLLED
    )


def choices() -> tuple[Options, ...]:
    """Return the options offered: requantisation with the sums, or in a pass of its own."""
    own = Options(rows=1, columns=_BLOCK, lowering="direct", fuse=True)
    return own, replace(own, fuse=False)


def generate(spec: ConvSpec, scalar: Scalar, options: Options = DEFAULT) -> Program:
    """Return the Program of a depthwise convolution with one output per channel."""
    isa, space = scalar.isa, scalar.isa.spaces[0]
    image, padding, scratch = padded_copy(
        isa, spec,
        lambda target, nbytes: shared.fill_run(scalar, target, nbytes),
        lambda target, source, nbytes: shared.copy_run(scalar, target, source, nbytes),
    )  # fmt: skip
    blocks, rest = divmod(spec.channels, _BLOCK)
    fuse = options.fuse is not False
    body = loop(isa, "block", blocks, _channels(spec, image, scalar, 0, _BLOCK, fuse=fuse))
    if rest:
        body += fixed(_channels(spec, image, scalar, blocks * _BLOCK, rest, fuse=fuse), "block")
    nest = loop(isa, "image", spec.batch, loop(isa, "row", spec.height_out, loop(isa, "column", spec.width_out, body)))
    pairs, taps = _pairs(spec), spec.kernel[0] * spec.kernel[1]
    pixels = spec.batch * spec.height_out * spec.width_out
    outputs = pixels * spec.channels
    if not fuse:
        nest += scalar_sums.requantize(pixels, spec.channels, scalar)
        scratch += (scalar_sums.buffer(outputs, scalar),)
    buffers = (
        Buffer("input", spec.batch * spec.height * spec.width * spec.channels, space, "input"),
        Buffer("weights", blocks * pairs * 8 + rest * taps, space, "weights"),
        Buffer("parameters", shared.HEADER_BYTES + spec.channels * scalar.record_bytes, space, "parameters"),
        *scratch,
        Buffer("output", outputs, space, "output"),
    )
    head = shared.load_filler(scalar) if padding else ()
    name = f"{isa.name}_depthwise_conv2d"
    return Program(name, isa, buffers, (*head, *padding, *nest), spec.macs, scalar.profile)


def _pairs(spec: ConvSpec) -> int:
    """Return the number of pairs of taps; an odd last tap is paired with a zero weight."""
    return -(-spec.kernel[0] * spec.kernel[1] // 2)


def _channels(spec: ConvSpec, image: Image, scalar: Scalar, first: int, channels: int, *, fuse: bool) -> Body:
    """Compute one output pixel of some channels."""
    values = scalar.values[:channels]
    read = image.address(
        first, image=image.image_bytes, row=spec.stride[0] * image.row_bytes,
        column=spec.stride[1] * image.channels, block=_BLOCK,
    )  # fmt: skip
    row, size = spec.width_out * spec.channels, 1 if fuse else 4
    moves = {"image": spec.height_out * row, "row": row, "column": spec.channels, "block": _BLOCK}
    write = Address("output" if fuse else "sums", size * first).plus(
        **{name: size * step for name, step in moves.items()}
    )
    weights = Address("weights", first * 2 * _pairs(spec), (("block", 8 * _pairs(spec)),))
    record = scalar.record(first, block=_BLOCK * scalar.record_bytes)
    taps = [
        y * spec.dilation[0] * image.row_bytes + x * spec.dilation[1] * image.channels
        for y in range(spec.kernel[0])
        for x in range(spec.kernel[1])
    ]
    body: Body = tuple(
        Instruction("ldr", value, (record.plus(channel * scalar.record_bytes),)) for channel, value in enumerate(values)
    )
    body += _whole(values, read, weights, taps) if channels == _BLOCK else _rest(values, read, weights, taps)
    if not fuse:
        return body + tuple(scalar.emit("store_word", write.plus(4 * c), value) for c, value in enumerate(values))
    body += scalar.load_constants()
    for channel, value in enumerate(values):
        body += scalar.load_parameters(record.plus(channel * scalar.record_bytes + 8))
        body += scalar.finish(value, write.plus(channel))
    return body


def _whole(values: tuple[str, ...], read: Address, weights: Address, taps: list[int]) -> Body:
    """Accumulate four channels, two taps at a time."""
    body: Body = ()
    for number in range(0, len(taps), 2):
        first, second = taps[number], taps[min(number + 1, len(taps) - 1)]
        body += _extended("r4", "r5", read.plus(first)) + _extended("r6", "r7", read.plus(second))
        body += _extended("r9", "r10", weights.plus(4 * number))
        body += _paired("pkhbt", ("r4", "r6"), values[0], "r9") + _paired("pkhbt", ("r5", "r7"), values[1], "r10")
        body += _extended("r9", "r10", weights.plus(4 * number + 4))
        body += _paired("pkhtb", ("r6", "r4"), values[2], "r9") + _paired("pkhtb", ("r7", "r5"), values[3], "r10")
    return body


def _extended(even: str, odd: str, address: Address) -> Body:
    """Load four bytes and extend the even and the odd ones to halfwords."""
    return (
        Instruction("ldr", even, (address,)),
        Instruction("sxtb16.ror8", odd, (even,)),
        Instruction("sxtb16", even, (even,)),
    )


def _paired(pack_op: str, sources: tuple[str, str], value: str, weight: str) -> Body:
    """Put the halfwords of both taps side by side and accumulate them."""
    return Instruction(pack_op, "r8", sources), Instruction("smlad", value, ("r8", weight, value))


def _rest(values: tuple[str, ...], read: Address, weights: Address, taps: list[int]) -> Body:
    """Accumulate fewer than four channels, tap by tap."""
    body: Body = ()
    for number, tap in enumerate(taps):
        for channel, value in enumerate(values):
            body += (
                Instruction("ldrsb", "r4", (read.plus(tap + channel),)),
                Instruction("ldrsb", "r5", (weights.plus(number * len(values) + channel),)),
                Instruction("mla", value, ("r4", "r5", value)),
            )
    return body


def pack(spec: ConvSpec, operands: Operands, scalar: Scalar) -> dict[str, Array]:
    """Lay out weights so that SXTB16 gives the two taps of one channel, and the parameters per channel."""
    conv = product(spec)
    taps = conv.filters(operands).reshape(spec.channels, -1)
    blocks = spec.channels // _BLOCK
    even = np.zeros((blocks * _BLOCK, 2 * _pairs(spec)), np.int8)
    even[:, : taps.shape[1]] = taps[: blocks * _BLOCK]
    # (block, two halves of two channels, pair, tap of the pair) -> bytes [c0 t0, c1 t0, c0 t1, c1 t1]
    whole = even.reshape(blocks, 2, 2, _pairs(spec), 2).transpose(0, 3, 1, 4, 2).reshape(-1)
    rest = taps[blocks * _BLOCK :].T.reshape(-1)
    zero_point = operands.input_zero_points[0]
    scales = np.broadcast_to(effective_scales(operands, scalar.profile), (spec.channels,))
    head = shared.header(zero_point, operands.output_zero_point, operands.low, operands.high)
    body = shared.records(scalar, conv.bias(operands, zero_point), *quantize_multipliers(scales))
    return {"weights": np.concatenate([whole, rest]), "parameters": shared.as_bytes(head + body)}
