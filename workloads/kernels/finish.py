"""End of an integer product: bias, requantisation and clamp of a row of sums that is still in cache.

Written in LLVM's language, eight lanes at a time: no compiler vectorises these products of 64 bits by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once, raw_memcpy
from numba.extending import intrinsic

from workloads.kernels.llvm import I8, I32, I64, count_up, declare, load, splat, store

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array

SUMS, DOUBLE, SINGLE, HALF_UP, FLOAT = range(5)  # what happens to the sums: nothing, or one way of rounding
LANES = 8
WORDS, WIDE = ir.VectorType(I32, LANES), ir.VectorType(I64, LANES)
REALS = ir.VectorType(ir.FloatType(), LANES)


class Finish(NamedTuple):
    """What becomes of the sums: one of the ways above, then the output's zero point and bounds."""

    way: int
    zero_point: int
    low: int
    high: int


class Channels(NamedTuple):
    """Per-channel constants: bias and multiplier, left and right shift (int32), and the float32 scale.

    Each group of channels is padded to whole vectors, as the sums are.
    """

    bias: Array
    multipliers: Array
    left: Array
    right: Array
    scales: Array


class Lane(NamedTuple):
    """One vector of sums with the bias added, its constants, and the bounds less the zero point."""

    total: Any
    multiplier: Any
    left: Any
    right: Any
    scale: Any
    bottom: Any
    top: Any


def _words(value: int) -> ir.Constant:
    return ir.Constant(WORDS, [value] * LANES)


def _wide(value: int) -> ir.Constant:
    return ir.Constant(WIDE, [value] * LANES)


def _clamped(builder: ir.IRBuilder, value: Any, lane: Lane) -> Any:
    value = builder.select(builder.icmp_signed(">", value, lane.bottom), value, lane.bottom)
    return builder.select(builder.icmp_signed("<", value, lane.top), value, lane.top)


def _high_product(builder: ir.IRBuilder, lane: Lane) -> Any:
    """Emit (sums << left) * multiplier / 2**31, rounded half up; the shifted sums wrap."""
    shifted = builder.sext(builder.shl(lane.total, lane.left), WIDE)
    product = builder.add(builder.mul(shifted, builder.sext(lane.multiplier, WIDE)), _wide(1 << 30))
    return builder.trunc(builder.lshr(product, _wide(31)), WORDS)


def _double(builder: ir.IRBuilder, lane: Lane) -> Any:
    """Emit the high product shifted right, half away from zero: the rest is compared with half, as 32 bits allow."""
    high = _high_product(builder, lane)
    mask = builder.sub(builder.shl(_words(1), lane.right), _words(1))
    half = builder.sub(builder.lshr(mask, _words(1)), builder.ashr(high, _words(31)))
    up = builder.icmp_signed(">", builder.and_(high, mask), half)
    return _clamped(builder, builder.sub(builder.ashr(high, lane.right), builder.sext(up, WORDS)), lane)


def _half_up(builder: ir.IRBuilder, lane: Lane) -> Any:
    """Emit the high product shifted right, half up: the floor plus the last bit that falls off."""
    high = _high_product(builder, lane)
    shifts = builder.icmp_signed(">", lane.right, _words(0))
    before = builder.select(shifts, builder.sub(lane.right, _words(1)), _words(0))
    bit = builder.and_(builder.ashr(high, before), builder.zext(shifts, WORDS))
    return _clamped(builder, builder.add(builder.ashr(high, lane.right), bit), lane)


def _single(builder: ir.IRBuilder, lane: Lane) -> Any:
    """Emit the whole product shifted right once, half up, clamped in 64 bits."""
    product = builder.mul(builder.sext(lane.total, WIDE), builder.sext(lane.multiplier, WIDE))
    right = builder.sext(builder.sub(builder.add(lane.right, _words(31)), lane.left), WIDE)
    half = builder.shl(_wide(1), builder.sub(right, _wide(1)))
    value = builder.ashr(builder.add(product, half), right)
    bounds = lane._replace(bottom=builder.sext(lane.bottom, WIDE), top=builder.sext(lane.top, WIDE))
    return builder.trunc(_clamped(builder, value, bounds), WORDS)


def _float(builder: ir.IRBuilder, lane: Lane) -> Any:
    """Emit the float32 product, clamped, then rounded half to even."""
    value = builder.fmul(builder.sitofp(lane.total, REALS), lane.scale)
    bottom, top = builder.sitofp(lane.bottom, REALS), builder.sitofp(lane.top, REALS)
    value = builder.select(builder.fcmp_ordered(">", value, bottom), value, bottom)
    value = builder.select(builder.fcmp_ordered("<", value, top), value, top)
    rint = declare(builder, f"llvm.rint.v{LANES}f32", REALS, [REALS])
    return builder.fptosi(builder.call(rint, [value]), WORDS)


WAYS: dict[int, Callable[[ir.IRBuilder, Lane], Any]] = {
    SUMS: lambda _, lane: lane.total,
    DOUBLE: _double,
    SINGLE: _single,
    HALF_UP: _half_up,
    FLOAT: _float,
}


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def finish_line(
    typing_context: Any,  # noqa: ARG001 - numba's protocol
    sums: Any,  # noqa: ARG001 - typed by the signature
    channels: Any,
    first: Any,  # noqa: ARG001
    finish: Any,
    line: Any,
) -> Any:
    """Turn int32 sums into a line of outputs.

    Parameters
    ----------
    sums
        Address of the sums, filled up to whole vectors.
    channels, first
        Constants, and the position in them of the first sum's channel.
    finish
        The way and the bounds.
    line
        The outputs, at least one.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        sums_at, constants, first, bounds, outputs = arguments
        kinds, bits = signature.args[1].types, signature.args[4].dtype.bitwidth
        arrays = [(kind, builder.extract_value(constants, part)) for part, kind in enumerate(kinds)]
        *tables, line_at = [
            builder.ptrtoint(context.make_array(kind)(context, builder, value).data, I64)
            for kind, value in (*arrays, (signature.args[4], outputs))
        ]
        size = context.make_array(signature.args[4])(context, builder, outputs).nitems
        numbers = [builder.trunc(builder.extract_value(bounds, part), I32) for part in range(len(Finish._fields))]
        zero, bottom, top = (splat(builder, number, WORDS) for number in (
            numbers[1], builder.sub(numbers[2], numbers[1]), builder.sub(numbers[3], numbers[1])
        ))  # fmt: skip
        first_at = builder.mul(first, ir.Constant(I64, 4))
        spare = alloca_once(builder, ir.VectorType(ir.IntType(bits), LANES))
        done = builder.append_basic_block("finish_done")
        switch = builder.switch(numbers[0], done)
        for way, emit in WAYS.items():
            block = builder.append_basic_block(f"way{way}")
            switch.add_case(ir.Constant(I32, way), block)
            builder.position_at_end(block)

            def body(index: Any, _: list[Any], emit: Callable[..., Any] = emit, way: int = way) -> list[Any]:
                offset = builder.mul(index, ir.Constant(I64, 4 * LANES))
                constant_at = [builder.add(builder.add(table, first_at), offset) for table in tables]
                words = [load(builder, WORDS, address) for address in constant_at[:4]]
                total = builder.add(load(builder, WORDS, builder.add(sums_at, offset)), words[0])
                scale = load(builder, REALS, constant_at[4])
                value = emit(builder, Lane(total, words[1], words[2], words[3], scale, bottom, top))
                value = value if way == SUMS else builder.add(value, zero)
                value = value if bits == I32.width else builder.trunc(value, ir.VectorType(ir.IntType(bits), LANES))
                position = builder.mul(index, ir.Constant(I64, LANES))
                _store_up_to(builder, value, line_at, position, size, spare)
                return []

            vectors = builder.udiv(builder.add(size, ir.Constant(I64, LANES - 1)), ir.Constant(I64, LANES))
            count_up(builder, vectors, [], body)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(types.int64, channels, types.int64, finish, line), generate


def _store_up_to(builder: ir.IRBuilder, value: Any, line_at: Any, position: Any, size: Any, spare: Any) -> None:
    """Emit a store of a vector at a position of a line, of its first elements where the line ends within it."""
    width = value.type.element.width // 8
    address = builder.add(line_at, builder.mul(position, ir.Constant(I64, width)))
    left = builder.sub(size, position)
    with builder.if_else(builder.icmp_signed(">=", left, ir.Constant(I64, LANES)), likely=True) as (whole, part):
        with whole:
            store(builder, value, address)
        with part:
            builder.store(value, spare)
            copied = builder.mul(left, ir.Constant(I64, width))
            raw_memcpy(builder, builder.inttoptr(address, I8.as_pointer()), spare, copied, 1)
