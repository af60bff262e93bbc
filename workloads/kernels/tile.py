"""The innermost tile of every integer product, written in LLVM's language because no compiler finds it by itself.

A tile multiplies ``TILE_ROWS`` rows of activations by one panel of packed weights and keeps all sums in registers. The
weights' element type chooses the instruction: int16 weights go with int16 activations in pairs (``vpmaddwd``), int8
weights with uint8 activations in fours (``vpdpbusd``). A processor without the instruction gets the same sums from
plain vector arithmetic, so every path can be run anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from workloads.kernels.llvm import I8, I16, I32, I64, count_up, declare, load, processor_features, splat, store

if TYPE_CHECKING:
    from collections.abc import Callable

TILE_ROWS = 5  # with two vectors of sums per row on AVX2 (10 of 16 registers), four on AVX-512 (20 of 32)
GROUP_BYTES = 4  # activations are broadcast as 32-bit groups: two int16 or four uint8


class Shape(NamedTuple):
    """Width of a tile: int32 lanes per vector and vectors per full panel."""

    lanes: int
    vectors: int


def tile_shape(features: frozenset[str], weight_bytes: int) -> Shape:
    """Return the tile for weights of one byte (fours) or two (pairs)."""
    wide = "avx512vnni" in features if weight_bytes == 1 else "avx512bw" in features
    return Shape(16, 4) if wide else Shape(8, 2)


def dot(builder: ir.IRBuilder, features: frozenset[str], weight_bytes: int, operands: tuple[Any, Any, Any]) -> Any:
    """Emit sums + the products of one 32-bit group per lane."""
    sums, values, weights = operands
    vector = sums.type
    lanes = vector.count
    if weight_bytes == 1 and features & {"avx512vnni", "avxvnni"}:
        # The operand types of LLVM 15 (numba 0.61); later versions upgrade the call.
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        return builder.call(declare(builder, name, vector, [vector] * 3), [sums, values, weights])
    if weight_bytes == 2 and features & {"avx512bw", "avx2"}:
        halves = ir.VectorType(I16, 2 * lanes)
        name = "llvm.x86.avx512.pmaddw.d.512" if lanes == 16 else "llvm.x86.avx2.pmadd.wd"
        pair = [builder.bitcast(operand, halves) for operand in (values, weights)]
        return builder.add(sums, builder.call(declare(builder, name, vector, [halves] * 2), pair))
    return _plain_dot(builder, weight_bytes, operands)


def signed_dot(builder: ir.IRBuilder, features: frozenset[str], operands: tuple[Any, Any, Any]) -> Any:
    """Emit sums + the products of four signed bytes per lane; no weight may be -128.

    Magnitudes of values times weights with the values' signs: two products of at most 128 * 127 fit in 16 bits.
    """
    sums, values, weights = operands
    if "avx2" not in features or sums.type.count != 8:
        return _plain_dot(builder, 1, operands, signed=True)
    quarters, halves = ir.VectorType(I8, 32), ir.VectorType(I16, 16)
    value, weight = (builder.bitcast(operand, quarters) for operand in (values, weights))
    absolute = builder.select(
        builder.icmp_signed("<", value, ir.Constant(quarters, [0] * 32)), builder.neg(value), value
    )
    sign = declare(builder, "llvm.x86.avx2.psign.b", quarters, [quarters] * 2)
    pairs = declare(builder, "llvm.x86.avx2.pmadd.ub.sw", halves, [quarters] * 2)
    fours = declare(builder, "llvm.x86.avx2.pmadd.wd", sums.type, [halves] * 2)
    product = builder.call(pairs, [absolute, builder.call(sign, [weight, value])])
    return builder.add(sums, builder.call(fours, [product, ir.Constant(halves, [1] * 16)]))


def _plain_dot(
    builder: ir.IRBuilder, weight_bytes: int, operands: tuple[Any, Any, Any], *, signed: bool = False
) -> Any:
    """Emit the same sums by shifts and 32-bit products; fours take unsigned activations unless ``signed``."""
    sums, values, weights = operands
    bits = 8 * weight_bytes

    def constant(amount: int) -> ir.Constant:
        return ir.Constant(sums.type, [amount] * sums.type.count)

    for part in range(GROUP_BYTES // weight_bytes):
        left = constant(32 - bits * (part + 1))
        high = constant(32 - bits)
        weight = builder.ashr(builder.shl(weights, left), high)
        shift = builder.ashr if signed or weight_bytes == 2 else builder.lshr
        sums = builder.add(sums, builder.mul(weight, shift(builder.shl(values, left), high)))
    return sums


def emit_tile(
    builder: ir.IRBuilder, features: frozenset[str], weight_bytes: int, rows: int, vectors: int, arguments: list[Any]
) -> None:
    """Emit one tile; ``arguments`` are those of ``multiply_tile`` with the panel's address first."""
    weights_at, row_table, segment_table, segments, steps, sums_at, pitch = arguments
    lanes = tile_shape(features, weight_bytes).lanes
    vector, width = ir.VectorType(I32, lanes), 4 * lanes

    def plus(address: Any, offset: int) -> Any:
        return builder.add(address, ir.Constant(I64, offset)) if offset else address

    starts = [load(builder, I64, plus(row_table, 8 * row)) for row in range(rows)]
    zero = ir.Constant(vector, [0] * lanes)

    def step(rows_at: list[Any], index: Any, carried: list[Any]) -> list[Any]:
        panel, sums = carried[0], carried[1:]
        weights = [load(builder, vector, plus(panel, width * part)) for part in range(vectors)]
        offset = builder.mul(index, ir.Constant(I64, GROUP_BYTES))
        following = []
        for row in range(rows):
            group = load(builder, I32, builder.add(rows_at[row], offset))
            values = splat(builder, group, vector)
            for part in range(vectors):
                held = sums[row * vectors + part]
                following.append(dot(builder, features, weight_bytes, (held, values, weights[part])))
        return [plus(panel, width * vectors), *following]

    def segment(index: Any, carried: list[Any]) -> list[Any]:
        entry = builder.add(segment_table, builder.mul(index, ir.Constant(I64, 8)))
        base = load(builder, I64, entry)
        rows_at = [builder.add(start, base) for start in starts]
        return count_up(builder, steps, carried, lambda k, values: step(rows_at, k, values))

    results = count_up(builder, segments, [weights_at, *[zero] * (rows * vectors)], segment)[1:]
    for row in range(rows):
        line = builder.add(sums_at, builder.mul(pitch, ir.Constant(I64, row)))
        for part in range(vectors):
            store(builder, results[row * vectors + part], plus(line, width * part))


def _signature(weights: Any) -> Any:
    return types.void(weights, *[types.int64] * 8)


@intrinsic  # type: ignore[untyped-decorator]
def multiply_tile(
    typing_context: Any,  # noqa: ARG001 - numba's protocol
    weights: Any,
    panel: Any,  # noqa: ARG001 - typed by the signature
    vectors: Any,  # noqa: ARG001
    row_table: Any,  # noqa: ARG001
    segment_table: Any,  # noqa: ARG001
    segments: Any,  # noqa: ARG001
    steps: Any,  # noqa: ARG001
    sums: Any,  # noqa: ARG001
    pitch: Any,  # noqa: ARG001
) -> Any:
    """Write TILE_ROWS rows of sums of one panel.

    Parameters
    ----------
    weights
        All packed weights: groups of one step side by side, a vector of lanes at a time.
    panel
        Offset of the panel in ``weights``. [B]
    vectors
        Vectors of the panel: the full width or less.
    row_table
        Address of the rows' addresses, int64.
    segment_table, segments
        Address and number of offsets to add to each row's address, int64, at least one. [B]
    steps
        32-bit groups per segment, at least 1.
    sums, pitch
        Address of the result and distance of its rows. [B]
    """
    weight_bytes = weights.dtype.bitwidth // 8

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        features = processor_features(context)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        base = builder.add(builder.ptrtoint(array.data, I64), arguments[1])
        shared = [base, *arguments[3:]]
        done = builder.append_basic_block("tile_done")
        switch = builder.switch(arguments[2], done)
        for vectors in range(1, tile_shape(features, weight_bytes).vectors + 1):
            block = builder.append_basic_block(f"vectors{vectors}")
            switch.add_case(ir.Constant(I64, vectors), block)
            builder.position_at_end(block)
            emit_tile(builder, features, weight_bytes, TILE_ROWS, vectors, shared)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return _signature(weights), cast("Callable[..., Any]", generate)
