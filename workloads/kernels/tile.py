"""The innermost tile of every integer product, written in LLVM's language because no compiler finds it by itself.

A tile multiplies a few rows of activations by one panel of packed weights and keeps all sums in registers. The weights'
element type chooses the arithmetic: int8 weights go with uint8 activations in fours (``vpdpbusd``); so do bytes stored
as uint8, of which no two neighbours can sum up to more than 16 bits (``vpmaddubsw``); int16 weights go with int16
activations in pairs (``vpmaddwd``); and int32 words, two int16 each, are crossed with activations of nine bits:

    x0 w0 + x1 w1 = (x0 + w1) (x1 + w0) - x0 x1 - w0 w1

which halves the products; the last two terms belong to a row and to a column, and are taken off once for each [1]_. A
processor without the instructions gets the same sums from plain vector arithmetic, so every path can be run anywhere.

References
----------
.. [1] S. Winograd, "A New Algorithm for Inner Product", IEEE Transactions on Computers C-17(7), 1968.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once_value
from numba.extending import intrinsic

from workloads.kernels.llvm import I8, I16, I32, I64, count_up, declare, load, processor_features, splat, store

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP_BYTES = 4  # activations are broadcast as 32-bit groups: two int16 or four uint8
FOURS, BOUNDED, PAIRS, CROSSED = "int8", "uint8", "int16", "int32"  # kinds of weights, by the type they are stored as


class Shape(NamedTuple):
    """Width of a tile: int32 lanes per vector and vectors per full panel."""

    lanes: int
    vectors: int


def in_bytes(kind: str) -> bool:
    """Whether weights and activations are bytes, four to a group."""
    return kind in (FOURS, BOUNDED)


def tile_shape(features: frozenset[str], kind: str) -> Shape:
    """Return the width of a tile for one kind of weights."""
    wide = "avx512vnni" in features if kind == FOURS else "avx512bw" in features
    return Shape(16, 4) if wide else Shape(8, 2)


def tile_rows(kind: str) -> int:
    """Return the rows of a tile: as many as leave registers for the weights, and for the terms of crossed ones."""
    return 4 if kind == CROSSED else 5


def group_bytes(kind: str) -> int:
    """Return the bytes of activations in one step: crossed weights take four int16 at once."""
    return 2 * GROUP_BYTES if kind == CROSSED else GROUP_BYTES


def dot(builder: ir.IRBuilder, features: frozenset[str], kind: str, operands: tuple[Any, Any, Any]) -> Any:
    """Emit sums + the products of one 32-bit group per lane."""
    sums, values, weights = operands
    vector = sums.type
    lanes = vector.count
    if kind == FOURS and features & {"avx512vnni", "avxvnni"}:
        # The operand types of LLVM 15 (numba 0.61); later versions upgrade the call.
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        return builder.call(declare(builder, name, vector, [vector] * 3), [sums, values, weights])
    if kind != FOURS and features & {"avx512bw", "avx2"}:
        halves = ir.VectorType(I16, 2 * lanes)
        pair = [builder.bitcast(operand, halves) for operand in (values, weights)]
        if kind == BOUNDED:
            bytes_, name = ir.VectorType(I8, 4 * lanes), _either(lanes, "pmaddubs.w", "pmadd.ub.sw")
            fours = [builder.bitcast(operand, bytes_) for operand in (values, weights)]
            products = builder.call(declare(builder, name, halves, [bytes_] * 2), fours)
            pair = [products, ir.Constant(halves, [1] * halves.count)]
        name = _either(lanes, "pmaddw.d", "pmadd.wd")
        return builder.add(sums, builder.call(declare(builder, name, vector, [halves] * 2), pair))
    return _plain_dot(builder, 1 if in_bytes(kind) else 2, operands)


def _either(lanes: int, wide: str, narrow: str) -> str:
    """Return the name of an intrinsic on vectors of 512 or 256 bits."""
    return f"llvm.x86.avx512.{wide}.512" if lanes == 16 else f"llvm.x86.avx2.{narrow}"


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


def emit_tile(builder: ir.IRBuilder, features: frozenset[str], kind: str, vectors: int, arguments: list[Any]) -> None:
    """Emit one tile; ``arguments`` are those of ``multiply_tile`` with the panel's address first."""
    weights_at, row_table, first_table, segment_table, segments, steps, sums_at, pitch = arguments
    lanes, rows, parts = tile_shape(features, kind).lanes, tile_rows(kind), group_bytes(kind) // GROUP_BYTES
    vector, width = ir.VectorType(I32, lanes), 4 * lanes

    def plus(address: Any, offset: int) -> Any:
        return builder.add(address, ir.Constant(I64, offset)) if offset else address

    starts = [load(builder, I64, plus(row_table, 8 * row)) for row in range(rows)]

    def step(rows_at: list[Any], index: Any, carried: list[Any]) -> list[Any]:
        panel, sums = carried[0], carried[1:]
        weights = [load(builder, vector, plus(panel, width * part)) for part in range(vectors * parts)]
        offset = builder.mul(index, ir.Constant(I64, group_bytes(kind)))
        following = []
        for row in range(rows):
            at = builder.add(rows_at[row], offset)
            groups = [splat(builder, load(builder, I32, plus(at, 4 * part)), vector) for part in range(parts)]
            for column in range(vectors):
                held, own = sums[row * vectors + column], weights[column * parts : (column + 1) * parts]
                if kind == CROSSED:
                    following.append(_crossed_dot(builder, features, held, groups, own))
                else:
                    following.append(dot(builder, features, kind, (held, groups[0], own[0])))
        return [plus(panel, width * vectors * parts), *following]

    def segment(index: Any, carried: list[Any]) -> list[Any]:
        entry = builder.add(segment_table, builder.mul(index, ir.Constant(I64, 8)))
        base = load(builder, I64, entry)
        rows_at = [builder.add(start, base) for start in starts]
        return count_up(builder, steps, carried, lambda k, values: step(rows_at, k, values))

    firsts = [splat(builder, load(builder, I32, plus(first_table, 4 * row)), vector) for row in range(rows)]
    initial = [first for first in firsts for _ in range(vectors)]
    results = count_up(builder, segments, [weights_at, *initial], segment)[1:]
    for row in range(rows):
        line = builder.add(sums_at, builder.mul(pitch, ir.Constant(I64, row)))
        for part in range(vectors):
            store(builder, results[row * vectors + part], plus(line, width * part))


def _crossed_dot(
    builder: ir.IRBuilder, features: frozenset[str], sums: Any, groups: list[Any], weights: list[Any]
) -> Any:
    """Emit sums + (x0 + w2) (x2 + w0) + (x1 + w3) (x3 + w1); ``weights`` holds (w2, w3), then (w0, w1)."""
    halves = ir.VectorType(I16, 2 * sums.type.count)
    terms = [
        builder.bitcast(builder.add(builder.bitcast(group, halves), builder.bitcast(weight, halves)), sums.type)
        for group, weight in zip(groups, weights, strict=True)
    ]
    return dot(builder, features, PAIRS, (sums, terms[0], terms[1]))


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def row_term(typing_context: Any, row: Any, segment_table: Any, segments: Any, steps: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """Return the sum of x0 x2 + x1 x3 over a row's groups of four int16; arguments as of ``multiply_tile``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - numba's protocol
        features = processor_features(context)
        start, table, segments, steps = arguments
        vector, words, quads = ir.VectorType(I32, 8), ir.VectorType(I64, 4), ir.Constant(I64, 4)
        upper = ir.Constant(words, [32] * 4)
        total = alloca_once_value(builder, ir.Constant(vector, [0] * 8))
        builder.store(ir.Constant(vector, [0] * 8), total)

        def add(loaded: Any) -> None:
            shifted = builder.bitcast(builder.lshr(loaded, upper), vector)
            held = builder.load(total)
            builder.store(dot(builder, features, PAIRS, (held, builder.bitcast(loaded, vector), shifted)), total)

        def segment(index: Any, _: list[Any]) -> list[Any]:
            base = builder.add(start, load(builder, I64, builder.add(table, builder.mul(index, ir.Constant(I64, 8)))))
            whole = builder.sdiv(steps, quads)
            with builder.if_then(builder.icmp_signed(">", whole, ir.Constant(I64, 0))):

                def block(k: Any, _: list[Any]) -> list[Any]:
                    at = builder.add(base, builder.mul(k, ir.Constant(I64, 32)))
                    add(load(builder, words, at))
                    return []

                count_up(builder, whole, [], block)
            rest = builder.srem(steps, quads)
            with builder.if_then(builder.icmp_signed(">", rest, ir.Constant(I64, 0))):

                def single(k: Any, _: list[Any]) -> list[Any]:
                    position = builder.add(builder.mul(whole, quads), k)
                    at = builder.add(base, builder.mul(position, ir.Constant(I64, 8)))
                    one = builder.insert_element(
                        ir.Constant(words, [0] * 4), load(builder, I64, at), ir.Constant(I32, 0)
                    )
                    add(one)
                    return []

                count_up(builder, rest, [], single)
            return []

        count_up(builder, segments, [], segment)
        lanes = builder.load(total)
        result = ir.Constant(I32, 0)
        for lane in range(8):
            result = builder.add(result, builder.extract_element(lanes, ir.Constant(I32, lane)))
        return result

    return types.int32(*[types.int64] * 4), generate


def _signature(weights: Any) -> Any:
    return types.void(weights, *[types.int64] * 9)


@intrinsic  # type: ignore[untyped-decorator]
def multiply_tile(
    typing_context: Any,  # noqa: ARG001 - numba's protocol
    weights: Any,
    panel: Any,  # noqa: ARG001 - typed by the signature
    vectors: Any,  # noqa: ARG001
    row_table: Any,  # noqa: ARG001
    first_table: Any,  # noqa: ARG001
    segment_table: Any,  # noqa: ARG001
    segments: Any,  # noqa: ARG001
    steps: Any,  # noqa: ARG001
    sums: Any,  # noqa: ARG001
    pitch: Any,  # noqa: ARG001
) -> Any:
    """Write the sums of one panel for as many rows as ``tile_rows`` says.

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
    first_table
        Address of the rows' first values, int32.
    segment_table, segments
        Address and number of offsets to add to each row's address, int64, at least one. [B]
    steps
        Groups of ``group_bytes`` per segment, at least 1.
    sums, pitch
        Address of the result and distance of its rows. [B]
    """
    kind = str(weights.dtype)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        features = processor_features(context)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        base = builder.add(builder.ptrtoint(array.data, I64), arguments[1])
        shared = [base, *arguments[3:]]
        done = builder.append_basic_block("tile_done")
        switch = builder.switch(arguments[2], done)
        for vectors in range(1, tile_shape(features, kind).vectors + 1):
            block = builder.append_basic_block(f"vectors{vectors}")
            switch.add_case(ir.Constant(I64, vectors), block)
            builder.position_at_end(block)
            emit_tile(builder, features, kind, vectors, shared)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return _signature(weights), cast("Callable[..., Any]", generate)
