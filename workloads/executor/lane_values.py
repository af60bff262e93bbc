"""What a form computes, on vectors in LLVM's language; the plain meaning is in ``workloads.executor.lanes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from workloads.executor import codes as k
from workloads.isa import ELEMENT_BYTES
from workloads.kernels.llvm import I32, declare

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.executor.forms import Form

_MODULAR = {
    k.ADD: "add", k.SUBTRACT: "sub", k.MULTIPLY: "mul", k.AND: "and_", k.OR: "or_", k.XOR: "xor",
}  # fmt: skip
_FLOATS = {k.ADD: "fadd", k.SUBTRACT: "fsub", k.MULTIPLY: "fmul", k.DIVIDE: "fdiv"}


def bits_of(kind: str) -> int:
    """Return the bits of an element type."""
    return 8 * ELEMENT_BYTES[kind]


def vector_type(kind: str, lanes: int) -> ir.VectorType:
    """Return the vector of ``lanes`` elements of a type."""
    return ir.VectorType(ir.FloatType() if kind == "f32" else ir.IntType(bits_of(kind)), lanes)


def constant(vector: ir.VectorType, value: int) -> ir.Constant:
    """Return one value in all lanes, wrapped to the lanes' width."""
    return ir.Constant(vector, [value & (1 << vector.element.width) - 1] * vector.count)


def converted(builder: ir.IRBuilder, value: Any, kind: str, to: str) -> Any:
    """Emit a value of one type, extended by its sign or cut to another type's width."""
    if kind[0] == "f" or bits_of(kind) == bits_of(to):
        return value
    target = vector_type(to, value.type.count)
    if bits_of(to) < bits_of(kind):
        return builder.trunc(value, target)
    return (builder.sext if kind[0] == "s" else builder.zext)(value, target)


def combine(builder: ir.IRBuilder, form: Form, sources: list[Any], lanes: int) -> Any:
    """Emit the result lanes, in the form's result type."""
    kinds = form.types[1:]
    if form.operation in (k.TO_FLOAT, k.TO_INTEGER) or form.types[0] == "f32":
        return _floats(builder, form, sources, lanes)
    if form.operation == k.PERMUTE:
        return builder.shuffle_vector(*sources, ir.Constant(ir.VectorType(I32, lanes), list(form.indices)))
    if form.operation == k.DOT:
        return _dot(builder, form, sources, lanes)
    if form.operation in _SPECIAL:
        return _SPECIAL[form.operation](builder, form, sources)
    if form.saturate:
        return _saturating(builder, form, sources)
    return _modular(
        builder, form, [converted(builder, *pair, form.types[0]) for pair in zip(sources, kinds, strict=True)]
    )


def _modular(builder: ir.IRBuilder, form: Form, values: list[Any]) -> Any:
    """Emit an operation whose low bits need only the low bits of its sources."""
    if form.operation == k.COPY:
        return values[0]
    if form.operation == k.MULTIPLY_ADD:
        return builder.add(builder.mul(values[0], values[1]), values[2])
    return getattr(builder, _MODULAR[form.operation])(*values)


def _saturating(builder: ir.IRBuilder, form: Form, sources: list[Any]) -> Any:
    """Emit a copy, sum or difference clamped to the result; sums have twice the width until then."""
    bits = max(map(bits_of, form.types[1:]))
    wide = f"s{bits if form.operation == k.COPY else 2 * bits}"
    values = [converted(builder, value, kind, wide) for value, kind in zip(sources, form.types[1:], strict=True)]
    return clamped(builder, _modular(builder, form, values), wide, form.types[0])


def clamped(builder: ir.IRBuilder, value: Any, kind: str, to: str) -> Any:
    """Emit a signed value saturated to a narrower type."""
    bits = bits_of(to)
    low, high = (0, 2**bits - 1) if to[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    value = _least(builder, value, constant(value.type, high))
    return converted(builder, _greatest(builder, value, constant(value.type, low)), kind, to)


def _least(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _greatest(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def _less(builder: ir.IRBuilder, form: Form, sources: list[Any]) -> Any:
    return builder.zext(builder.icmp_signed("<", *sources), vector_type(form.types[0], sources[0].type.count))


def _shift_left(builder: ir.IRBuilder, form: Form, sources: list[Any]) -> Any:
    """Emit a shift whose unsigned amount may exceed the width, which leaves nothing."""
    value, amount = sources[0], converted(builder, sources[1], form.types[2], form.types[0])
    within = builder.icmp_unsigned("<", amount, constant(value.type, bits_of(form.types[0])))
    return builder.select(within, builder.shl(value, amount), constant(value.type, 0))


def _shift_right(builder: ir.IRBuilder, form: Form, sources: list[Any]) -> Any:
    """Emit a shift in two steps, the second by one bit, so that the half of the last bit is at hand."""
    kind, kind_of_amount = form.types[1:]
    value, amount = sources[0], converted(builder, sources[1], kind_of_amount, kind)
    zero, one, last = (constant(value.type, number) for number in (0, 1, bits_of(kind) - 1))
    if kind_of_amount[0] == "s":
        amount = _greatest(builder, amount, zero)
    none = builder.icmp_unsigned("==", amount, zero)
    before = builder.sub(builder.select(none, one, amount), one)
    before = builder.select(builder.icmp_unsigned("<", before, last), before, last)
    shift = builder.ashr if kind[0] == "s" else builder.lshr
    most = shift(value, before)
    result = shift(most, one)
    if form.rounds:
        result = builder.add(result, builder.and_(most, one))
    result = builder.select(none, value, result)
    if form.saturate:
        return clamped(builder, result, kind, form.types[0])
    return converted(builder, result, kind, form.types[0])


def _high(builder: ir.IRBuilder, form: Form, sources: list[Any]) -> Any:
    """Emit the high part of 64-bit products."""
    wide = "s64" if form.types[1][0] == "s" else "u64"
    product = builder.mul(*(converted(builder, value, form.types[1], wide) for value in sources))
    if form.rounds:
        product = builder.add(product, constant(product.type, 1 << (form.shift - 1)))
    shift = builder.ashr if wide == "s64" else builder.lshr
    result = shift(product, constant(product.type, form.shift))
    return (
        clamped(builder, result, wide, form.types[0])
        if form.saturate
        else converted(builder, result, wide, form.types[0])
    )


_SPECIAL: dict[int, Callable[[ir.IRBuilder, Form, list[Any]], Any]] = {
    k.MINIMUM: lambda builder, _, sources: _least(builder, *sources),
    k.MAXIMUM: lambda builder, _, sources: _greatest(builder, *sources),
    k.LESS_THAN: _less, k.SHIFT_LEFT: _shift_left, k.SHIFT_RIGHT: _shift_right, k.MULTIPLY_HIGH: _high,
}  # fmt: skip


def _dot(builder: ir.IRBuilder, form: Form, sources: list[Any], lanes: int) -> Any:
    """Emit sums of ``group`` neighbouring products per lane; bytes are summed in pairs of 16 bits first."""
    total = sources[2] if len(sources) > 2 else constant(vector_type("s32", lanes), 0)
    pairs = [_halves(builder, value, kind) for value, kind in zip(sources[:2], form.types[1:3], strict=True)]
    for values, weights in zip(*pairs, strict=True):
        for part in range(2):
            mask = ir.Constant(ir.VectorType(I32, lanes), [2 * lane + part for lane in range(lanes)])
            left, right = (
                builder.sext(builder.shuffle_vector(each, each, mask), vector_type("s32", lanes))
                for each in (values, weights)
            )
            total = builder.add(total, builder.mul(left, right))
    return total


def _halves(builder: ir.IRBuilder, value: Any, kind: str) -> list[Any]:
    """Emit vectors of 16-bit elements, two to a lane: the value itself, or the even and the odd bytes of one."""
    if bits_of(kind) == 16:
        return [value]
    halves = vector_type("s16", value.type.count // 2)
    value = builder.bitcast(value, halves)
    eight = constant(halves, 8)
    shift = builder.ashr if kind[0] == "s" else builder.lshr
    return [shift(builder.shl(value, eight), eight), shift(value, eight)]


def _floats(builder: ir.IRBuilder, form: Form, sources: list[Any], lanes: int) -> Any:
    """Emit float lanes, rounded once; all but fused products in float64."""
    single, double = vector_type("f32", lanes), ir.VectorType(ir.DoubleType(), lanes)
    if form.operation == k.TO_FLOAT:
        return builder.sitofp(sources[0], single)
    if form.operation == k.MULTIPLY_ADD:
        return builder.call(declare(builder, f"llvm.fma.v{lanes}f32", single, [single] * 3), sources)
    values = [builder.fpext(source, double) for source in sources]
    if form.operation == k.TO_INTEGER:
        return _to_integer(builder, form, values[0])
    if form.operation in (k.MINIMUM, k.MAXIMUM):
        comparison = "<" if form.operation == k.MINIMUM else ">"
        return builder.select(builder.fcmp_ordered(comparison, *values), *sources)
    return builder.fptrunc(getattr(builder, _FLOATS[form.operation])(*values), single)


def _to_integer(builder: ir.IRBuilder, form: Form, value: Any) -> Any:
    """Emit integers rounded half to even; what does not fit gives the lowest, or the nearest with ``saturate``."""
    low, high = -(2.0**31), 2.0**31 - 1
    rint = declare(builder, f"llvm.rint.v{value.type.count}f64", value.type, [value.type])
    rounded = builder.call(rint, [value])
    lowest, highest = (ir.Constant(value.type, [limit] * value.type.count) for limit in (low, high))
    fits = builder.and_(builder.fcmp_ordered(">=", rounded, lowest), builder.fcmp_ordered("<=", rounded, highest))
    limit = builder.select(builder.fcmp_ordered(">", rounded, highest), highest, lowest) if form.saturate else lowest
    return builder.fptosi(builder.select(fits, rounded, limit), vector_type("s32", value.type.count))
