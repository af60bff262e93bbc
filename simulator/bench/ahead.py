"""Costs made ahead on all cores: other processes put what is not kept yet into the store that a bench reads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING

from device_models.kernel_cache import cache_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.bench.order import Order

WORTH = 40  # kernels; fewer are priced here before other processes have started


def price_ahead(
    orders: Sequence[Order], workers: int | None = None, progress: Callable[[int, int, str], None] | None = None
) -> None:
    """Price the kernels that are not kept on disk, if they are many; the others find them there.

    Figures do not depend on it: what fails here, or cannot be kept, is made again where it is needed. Interrupted,
    it keeps what is finished.

    Parameters
    ----------
    workers
        Processes; one a core unless given.
    """
    workers = _cores() if workers is None else workers
    if workers < 2 or cache_file() is None:
        return
    missing = [order for order in dict.fromkeys(orders) if not order.is_kept()]
    if len(missing) < WORTH:
        return
    with _pool(workers) as pool:
        try:
            futures = {pool.submit(_price, order): order for order in missing}
            for number, future in enumerate(as_completed(futures)):
                if progress is not None:
                    progress(number, len(missing), f"{type(futures[future].spec).__name__} on {futures[future].chip}")
        except BrokenProcessPool:  # a worker was killed
            pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes: a copy of this one would copy the locks that its threads hold."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    """Leave Ctrl-C to the process that waits for the work, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _price(order: Order) -> None:
    with suppress(NotImplementedError, ValueError):
        order.price()


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
