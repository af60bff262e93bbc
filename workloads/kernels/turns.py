"""Turns at the parts of a job: words that threads share without a lock, by the processor's atomic instructions.

In plain Python, where one thread computes, they are ordinary words. They are typed and lowered directly, because a
compiled function or an overload of each would be compiled again into every kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, type_callable

from workloads.kernels.llvm import I64, declare, processor_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.tensor import Array

WORD_BYTES = 8
LINE = 8  # words of a cache line of 64 bytes: what one thread writes does not delay who reads another word
JOB, BEGUN, NEXT, MEMBERS = 0, LINE, 2 * LINE, 3 * LINE  # places of the words; each member has one that says it is busy
ORDER = "seq_cst"


def new_turns(members: int = 0) -> Array:
    """Return the words of a team, all zero, int64."""
    return np.zeros(MEMBERS + LINE * members, np.int64)


def begin(turns: Array) -> None:
    """Let the others come: a thread has entered the job's compiled code."""
    turns[BEGUN] = turns[JOB]


def take(turns: Array) -> int:
    """Return the number of the next part of the job, from zero."""
    turns[NEXT] += 1
    return int(turns[NEXT]) - 1


def read_word(turns: Array, index: int) -> int:
    """Return a word as another thread left it."""
    return int(turns[index])


def write_word(turns: Array, index: int, value: int) -> None:
    """Set a word; what was written before it is seen before it."""
    turns[index] = value


def pause() -> None:
    """Tell the processor that a loop waits for another thread."""


@type_callable(begin)  # type: ignore[untyped-decorator] # numba has no types
def _typed_begin(context: Any) -> Callable[..., Any]:  # noqa: ARG001 - numba's protocol
    return lambda turns: types.none  # noqa: ARG005 - numba's protocol


@type_callable(take)  # type: ignore[untyped-decorator]
def _typed_take(context: Any) -> Callable[..., Any]:  # noqa: ARG001
    return lambda turns: types.int64  # noqa: ARG005


@type_callable(read_word)  # type: ignore[untyped-decorator]
def _typed_read(context: Any) -> Callable[..., Any]:  # noqa: ARG001
    return lambda turns, index: types.int64  # noqa: ARG005


@type_callable(write_word)  # type: ignore[untyped-decorator]
def _typed_write(context: Any) -> Callable[..., Any]:  # noqa: ARG001
    return lambda turns, index, value: types.none  # noqa: ARG005


@type_callable(pause)  # type: ignore[untyped-decorator]
def _typed_pause(context: Any) -> Callable[..., Any]:  # noqa: ARG001
    return lambda: types.none


def _place(context: Any, builder: Any, signature: Any, arguments: Any, index: int | None = None) -> Any:
    """Return the address of a fixed word, or of the one that the second argument names."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1] if index is None else ir.Constant(I64, index)])


@lower_builtin(begin, types.Array)  # type: ignore[untyped-decorator]
def _begin(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    job, begun = (_place(context, builder, signature, arguments, index) for index in (JOB, BEGUN))
    builder.store_atomic(builder.load_atomic(job, ORDER, WORD_BYTES), begun, ORDER, WORD_BYTES)
    return context.get_dummy_value()


@lower_builtin(take, types.Array)  # type: ignore[untyped-decorator]
def _take(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    place = _place(context, builder, signature, arguments, NEXT)
    return builder.atomic_rmw("add", place, ir.Constant(I64, 1), ORDER)


@lower_builtin(read_word, types.Array, types.Integer)  # type: ignore[untyped-decorator]
def _read(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.load_atomic(_place(context, builder, signature, arguments), ORDER, WORD_BYTES)


@lower_builtin(write_word, types.Array, types.Integer, types.Integer)  # type: ignore[untyped-decorator]
def _write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    value = context.cast(builder, arguments[2], signature.args[2], types.int64)
    builder.store_atomic(value, _place(context, builder, signature, arguments), ORDER, WORD_BYTES)
    return context.get_dummy_value()


@lower_builtin(pause)  # type: ignore[untyped-decorator]
def _pause(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - numba's protocol
    if "sse2" in processor_features(context):
        builder.call(declare(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
    return context.get_dummy_value()
