"""Typed reads and writes at a byte address, aligned or not: one machine instruction in compiled code.

Views of numpy arrays would cost a reference count per access and could not be unaligned. Called from plain Python
(numba switched off), the same functions go through ctypes.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import raw_memmove
from numba.extending import intrinsic, overload

if TYPE_CHECKING:
    from collections.abc import Callable

_INTEGERS = {bits: ir.IntType(bits) for bits in (8, 16, 32, 64)}


def _reader(ctype: Any, stored: Any, *, signed: bool = True) -> Callable[[Any], Any]:
    """Return a function that reads one element as int64, or as float64."""
    real = stored in (ir.FloatType(), ir.DoubleType())

    def read(at: Any) -> Any:
        value = ctype.from_address(int(at)).value
        return np.float64(value) if real else np.int64(value)

    @intrinsic  # type: ignore[untyped-decorator]  # numba has no types
    def load(context: Any, at: Any) -> Any:  # noqa: ARG001 - the form numba asks for
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - as above
            value = builder.load(builder.inttoptr(arguments[0], stored.as_pointer()), align=1)
            if real:
                return builder.fpext(value, ir.DoubleType()) if stored == ir.FloatType() else value
            if stored.width == 64:
                return value
            return (builder.sext if signed else builder.zext)(value, ir.IntType(64))

        return (types.float64 if real else types.int64)(types.int64), generate

    @overload(read)  # type: ignore[untyped-decorator]  # numba has no types
    def compiled(at: Any) -> Any:  # noqa: ARG001 - the form numba asks for
        def implementation(at: Any) -> Any:
            return load(at)

        return implementation

    return read


def _writer(ctype: Any, stored: Any) -> Callable[[Any, Any], None]:
    """Return a function that writes the low bits of an int64, or a float64, rounded where float32 is stored."""
    real = stored in (ir.FloatType(), ir.DoubleType())

    def write(at: Any, value: Any) -> None:
        ctype.from_address(int(at)).value = float(value) if real else int(value)

    @intrinsic  # type: ignore[untyped-decorator]  # numba has no types
    def store(context: Any, at: Any, value: Any) -> Any:  # noqa: ARG001 - the form numba asks for
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - as above
            value = arguments[1]
            if real:
                value = builder.fptrunc(value, stored) if stored == ir.FloatType() else value
            elif stored.width < 64:
                value = builder.trunc(value, stored)
            builder.store(value, builder.inttoptr(arguments[0], stored.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.float64 if real else types.int64), generate

    @overload(write)  # type: ignore[untyped-decorator]  # numba has no types
    def compiled(at: Any, value: Any) -> Any:  # noqa: ARG001 - the form numba asks for
        def implementation(at: Any, value: Any) -> Any:
            return store(at, value)

        return implementation

    return write


read_s8 = _reader(ctypes.c_int8, _INTEGERS[8])
read_u8 = _reader(ctypes.c_uint8, _INTEGERS[8], signed=False)
read_s16 = _reader(ctypes.c_int16, _INTEGERS[16])
read_u16 = _reader(ctypes.c_uint16, _INTEGERS[16], signed=False)
read_s32 = _reader(ctypes.c_int32, _INTEGERS[32])
read_u32 = _reader(ctypes.c_uint32, _INTEGERS[32], signed=False)
read_s64 = _reader(ctypes.c_int64, _INTEGERS[64])
read_f32 = _reader(ctypes.c_float, ir.FloatType())
read_f64 = _reader(ctypes.c_double, ir.DoubleType())
write_8 = _writer(ctypes.c_int8, _INTEGERS[8])
write_16 = _writer(ctypes.c_int16, _INTEGERS[16])
write_32 = _writer(ctypes.c_int32, _INTEGERS[32])
write_64 = _writer(ctypes.c_int64, _INTEGERS[64])
write_f32 = _writer(ctypes.c_float, ir.FloatType())
write_f64 = _writer(ctypes.c_double, ir.DoubleType())


def copy(to: Any, at: Any, nbytes: Any) -> None:
    """Copy bytes between regions that may overlap."""
    ctypes.memmove(int(to), int(at), int(nbytes))


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def _copy(context: Any, to: Any, at: Any, nbytes: Any) -> Any:  # noqa: ARG001 - the form numba asks for
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - as above
        target, source = (builder.inttoptr(each, _INTEGERS[8].as_pointer()) for each in arguments[:2])
        raw_memmove(builder, target, source, arguments[2], 1, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@overload(copy)  # type: ignore[untyped-decorator]  # numba has no types
def _compiled_copy(to: Any, at: Any, nbytes: Any) -> Any:  # noqa: ARG001 - the form numba asks for
    def implementation(to: Any, at: Any, nbytes: Any) -> Any:
        return _copy(to, at, nbytes)

    return implementation
