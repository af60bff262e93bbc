"""Threads for the kernels: compiled code releases the interpreter's lock, so plain threads share a layer's blocks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALLEST_SHARE = 500_000  # multiply-accumulates that take longer than handing work to a thread
PARTS = 4  # per thread: enough to even out, few enough that each is worth a call

_pool: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("kernel_threads", default=None)


@contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Let kernels called inside a ``with`` block use this many threads; one is the default.

    Raises
    ------
    ValueError
        ``threads`` is below 1.
    """
    if threads < 1:
        raise ValueError(f"threads ({threads!r}) must be at least 1")
    if threads == 1:
        yield
        return
    with ThreadPoolExecutor(threads - 1, "kernel") as executor:
        token = _pool.set((executor, threads))
        try:
            yield
        finally:
            _pool.reset(token)


def thread_count(macs: int) -> int:
    """Return the threads to use for so many multiply-accumulates."""
    pool = _pool.get()
    return 1 if pool is None else max(1, min(pool[1], macs // SMALLEST_SHARE))


def share(function: Callable[[int, int], None], count: int, threads: int, *, parts_each: int = PARTS) -> None:
    """Call ``function(start, end)`` on consecutive parts of ``range(count)``, here and in the threads of the pool.

    Each thread takes the next part when it is done with one, so that a core that is busy elsewhere delays nobody;
    ``parts_each`` is how many parts there are for each thread, fewer where a part begins with work of its own.
    """
    pool, parts = _pool.get(), min(threads * parts_each, count)
    if pool is None or threads <= 1 or parts <= 1:
        function(0, count)
        return
    bounds = [count * part // parts for part in range(parts + 1)]
    waiting = iter(range(parts))

    def work() -> None:
        for part in waiting:  # next() on an iterator of range is one step of the interpreter
            function(bounds[part], bounds[part + 1])

    others = [pool[0].submit(work) for _ in range(threads - 1)]
    work()
    for future in others:
        if not future.cancel():
            future.result()
