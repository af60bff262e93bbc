"""Threads that share a layer: each part is computed once, whoever takes it, and nobody is waited for in vain."""

import threading
import time

import numba
import numpy as np
import pytest

from workloads.kernels import parallel
from workloads.kernels.parallel import SMALLEST_SHARE, share, thread_count, use_threads
from workloads.kernels.turns import begin, take

compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="plain Python adds to a word in two steps")


@numba.njit(nogil=True)
def count_parts(turns, parts, counts):
    begin(turns)
    part = take(turns)
    while part < parts:
        counts[part] += 1
        part = take(turns)


@compiled
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_part_of_every_job_is_taken_exactly_once(threads):
    with use_threads(threads):
        for parts in [0, 1, 2, 3, 17, 100, 5000] * 5:
            counts = np.zeros(parts, np.int64)
            share(lambda turns, parts=parts, counts=counts: count_parts(turns, parts, counts), threads)
            np.testing.assert_array_equal(counts, 1)


@compiled
def test_a_member_that_fell_asleep_comes_to_the_next_job(monkeypatch):
    monkeypatch.setattr(parallel, "SPINS", 10)
    helpers = set()

    def work(turns):
        begin(turns)
        helpers.add(threading.current_thread().name)
        until = time.monotonic() + 5.0
        while len(helpers) < 2 and time.monotonic() < until:
            time.sleep(0.001)

    with use_threads(2):
        time.sleep(0.05)
        share(work, 2)
    assert len(helpers) == 2


@compiled
def test_what_a_member_raises_is_raised_where_the_job_was_given():
    given = threading.current_thread()

    def work(turns):
        begin(turns)
        if threading.current_thread() is not given:
            raise ArithmeticError("from a member")
        time.sleep(0.2)

    def fine(turns):
        begin(turns)

    with use_threads(2):
        with pytest.raises(ArithmeticError, match="from a member"):
            share(work, 2)
        share(fine, 2)


def test_what_the_caller_raises_leaves_the_team_ready_and_the_threads_end_with_the_block():
    def fails(turns):
        begin(turns)
        raise ArithmeticError("from the caller")

    before = threading.active_count()
    with use_threads(3):
        assert threading.active_count() == before + 2
        with pytest.raises(ArithmeticError, match="from the"):
            share(fails, 3)
        counts = np.zeros(9, np.int64)
        share(lambda turns: count_parts(turns, 9, counts), 3)
        assert counts.all()
    assert threading.active_count() == before


def test_small_layers_stay_in_one_thread():
    assert thread_count(10 * SMALLEST_SHARE) == 1
    with use_threads(4):
        assert [thread_count(SMALLEST_SHARE * share) for share in (0, 1, 2, 3, 9)] == [1, 1, 2, 3, 4]
