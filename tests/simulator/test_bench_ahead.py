"""Kernels priced by other processes: kept on disk, whole or interrupted, and never more than a matter of time."""

from __future__ import annotations

import multiprocessing

import pytest

from device_models import costing, kernel_cache
from simulator.bench import ahead
from simulator.bench.order import Order
from workloads.codegen.specs import ElementwiseSpec


@pytest.fixture
def orders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ahead, "WORTH", 4)
    kernel_cache.cache_file.cache_clear()
    yield [Order(ElementwiseSpec("add", 64 * count, 64 * count), "stm32h7a3", "thumb2-dsp") for count in range(1, 9)]
    kernel_cache.cache_file.cache_clear()


def test_other_processes_keep_what_this_one_then_finds(orders, monkeypatch):
    steps = []
    monkeypatch.setattr(costing, "_cost", lambda *_: pytest.fail("priced in this process"))
    ahead.price_ahead(orders, 2, lambda done, total, _: steps.append((done, total)))
    assert steps == [(done, 8) for done in range(8)]
    assert all(order.is_kept() for order in orders)
    assert [order.price().detail.stored_bytes for order in orders] == [64 * count for count in range(1, 9)]
    monkeypatch.setattr(ahead, "_pool", lambda _: pytest.fail("nothing is missing"))
    ahead.price_ahead(orders, 2)


@pytest.mark.parametrize(("count", "workers"), [(3, 2), (8, 1)])
def test_few_kernels_or_one_worker_start_no_process(orders, monkeypatch, count, workers):
    monkeypatch.setattr(ahead, "_pool", lambda _: pytest.fail("a process was started"))
    ahead.price_ahead(orders[:count], workers)
    assert not any(order.is_kept() for order in orders)


def test_what_was_finished_before_an_interruption_is_kept_and_no_process_stays(orders):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ahead.price_ahead(orders, 2, interrupt)
    assert any(order.is_kept() for order in orders)
    assert not multiprocessing.active_children()
