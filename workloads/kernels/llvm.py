"""Small vocabulary for kernels written in LLVM's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

if TYPE_CHECKING:
    from collections.abc import Callable

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def processor_features(context: Any = None) -> frozenset[str]:
    """Return the features numba compiles for, e.g. {"avx2", "avxvnni"}; NUMBA_CPU_FEATURES is respected."""
    if context is None:
        from numba.core.registry import cpu_target

        context = cpu_target.target_context
    listed = context.codegen().magic_tuple()[2]
    return frozenset(name[1:] for name in listed.split(",") if name.startswith("+"))


def declare(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """Return the named function of the module, declared once."""
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def load(builder: ir.IRBuilder, kind: ir.Type, address: Any) -> Any:
    """Emit a load from an address that need not be aligned."""
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def store(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    """Emit a store to an address that need not be aligned."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def prefetch(builder: ir.IRBuilder, address: Any) -> None:
    """Emit a hint that memory at an address, which need not exist, is read soon."""
    pointer = I8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
    read, near, data = (ir.Constant(I32, value) for value in (0, 3, 1))
    called = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    builder.call(called, [builder.inttoptr(address, pointer), read, near, data])


def count_up(builder: ir.IRBuilder, trips: Any, carried: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Emit a loop of at least one trip; ``body(index, values)`` returns the values of the next trip."""
    before, inside, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.branch(inside)
    builder.position_at_end(inside)
    index = builder.phi(I64)
    index.add_incoming(ir.Constant(I64, 0), before)
    values = []
    for value in carried:
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        values.append(phi)
    results = body(index, values)
    following = builder.add(index, ir.Constant(I64, 1))
    last = builder.block
    index.add_incoming(following, last)
    for phi, result in zip(values, results, strict=True):
        phi.add_incoming(result, last)
    builder.cbranch(builder.icmp_signed("<", following, trips), inside, after)
    builder.position_at_end(after)
    return results


def splat(builder: ir.IRBuilder, value: Any, vector: ir.VectorType) -> Any:
    """Emit a vector with one value in all lanes."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    mask = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, mask)
