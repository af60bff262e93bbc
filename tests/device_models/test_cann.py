"""CANN on DaVinci chips: laws of batches, precisions, cores and clocks, and its errors on public latencies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from device_models.baselines import by_features, by_macs, features, left_out
from device_models.device import load_device
from device_models.estimate import estimate, prepared_for
from device_models.networks import find_models
from device_models.runtime import load_runtime
from workloads.models import build

CHIPS = ("ascend310", "ascend310b1", "ascend310b4", "ascend310p3", "ascend910a", "ascend910b", "kirin990")
ROWS = load_runtime("cann").rows
HALF = tuple(row for row in ROWS if row.precision == "fp16")


@pytest.fixture(scope="module")
def networks():
    return {name: build(name) for name in ("mobilenet_v2", "resnet18")}


def seconds(graph, chip, batch=1, precision="fp16", **options):
    return estimate(graph, chip, runtime="cann", precision=precision, batch=batch, **options).latency_s


@pytest.mark.parametrize("chip", CHIPS)
def test_a_larger_batch_takes_longer_and_no_longer_for_each_image_while_the_cache_holds_it(chip, networks):
    for graph in networks.values():
        times = [seconds(graph, chip, batch) for batch in (1, 2, 8, 64)]
        assert times == sorted(times)
        assert times[1] / 2 < times[0]
        assert times[3] / 64 < times[0]


@pytest.mark.parametrize("chip", CHIPS)
def test_integers_are_never_slower_than_half_precision_by_more_than_their_conversions(chip, networks):
    for graph in networks.values():
        for batch in (1, 16):
            half, integers = (seconds(graph, chip, batch, precision) for precision in ("fp16", "int8"))
            assert 0.3 * half < integers < 1.05 * half


def test_more_cores_and_a_faster_clock_never_take_longer(networks):
    for graph in networks.values():
        by_cores = [seconds(graph, "ascend310p3", 4, threads=cores) for cores in (1, 2, 4, 8)]
        assert by_cores == sorted(by_cores, reverse=True)
        assert seconds(graph, "ascend310b1", frequency_hz=490e6) > seconds(graph, "ascend310b1")


@pytest.mark.parametrize("options", [{"runtime": "cann", "precision": "fp16"}, {}])
def test_energy_of_chips_is_said_to_be_unvalidated(options, networks):
    found = estimate(networks["resnet18"], "ascend310b1", **options)
    assert any("energy" in note and "unvalidated" in note for note in found.notes)
    assert found.energy_low_j < found.energy_j < found.energy_high_j


def errors(rows, predicted="held_out"):
    return np.array([abs(getattr(row, predicted) / row.measured - 1) for row in rows])


def test_half_precision_without_the_family_is_within_fifteen_per_cent_in_the_median_and_forty_at_the_ninetieth():
    found = errors(HALF)
    assert len(HALF) == 190
    assert np.median(found) <= 0.15
    assert np.quantile(found, 0.9) <= 0.40


def test_networks_are_ranked_as_measured():
    from scipy.stats import spearmanr

    for chip in ("ascend310", "ascend310b1", "ascend310p3"):
        rows = [row for row in HALF if row.device == chip]
        assert spearmanr([row.measured for row in rows], [row.held_out for row in rows]).statistic >= 0.97


def test_the_stated_bands_hold_seven_to_nine_of_ten_rows_left_out():
    inside = [abs(math.log(row.held_out / row.measured)) <= row.reach for row in ROWS]
    assert 0.7 <= np.mean(inside) <= 0.9


@pytest.fixture(scope="module")
def counted():
    """Return the baselines' nine features by network and batch."""
    models, found = find_models([]), {}
    for name, batch in sorted({(row.model, row.batch) for row in HALF}):
        found[name, batch] = features(prepared_for(models.graph(name), "fp16", batch))
    return found


@pytest.mark.parametrize("chip", ["ascend310", "ascend310b1", "ascend310p3"])
def test_products_times_a_constant_and_nine_features_are_beaten_without_the_family(chip, counted):
    rows = [row for row in HALF if row.device == chip]
    table = np.array([counted[row.model, row.batch] for row in rows])
    measured, families = np.array([row.measured for row in rows]), [row.family for row in rows]
    for learn in (by_macs, by_features):
        predicted = left_out(table, measured, families, learn)
        assert np.median(errors(rows)) < np.median(np.abs(predicted / measured - 1))


def typical(rows, field):
    return float(np.median([getattr(row, field) for row in rows]))


@pytest.mark.parametrize("chip", ["ascend310", "ascend310b1", "ascend310p3"])
def test_what_vgg_gains_by_a_batch_of_64_is_within_fifteen_per_cent(chip):
    """By images per second, each batch's median over the versions of its source; without VGG in the fit."""
    rows = [row for row in HALF if (row.device, row.family) == (chip, "vgg") and row.model == "VGG16"]
    gains = {}
    for field in ("measured", "held_out"):
        one, many = (typical([row for row in rows if row.batch == batch], field) / batch for batch in (1, 64))
        gains[field] = one / many
    assert gains["held_out"] == pytest.approx(gains["measured"], rel=0.15)


def test_what_integers_gain_on_resnet_50_is_within_twenty_per_cent():
    """The vendor's plain quantisation; another source searched its kernels for each batch, and is not monotone."""
    plain = [row for row in ROWS if row.precision == "int8" and "infer_poc" in row.model.lower()]
    assert len(plain) == 6
    for row in plain:
        half = [each for each in HALF if each.model.startswith("Resnet50_mlperf") and each.batch == row.batch]
        measured = row.measured / typical(half, "measured")
        assert row.held_out / typical(half, "held_out") == pytest.approx(measured, rel=0.2)


def test_kernels_searched_on_a_board_with_slower_memory_are_met_by_its_bandwidth():
    """A log of an Ascend 310B1 at 25.6 GB/s, no row of the fit: VGG-16 13.69 ms in half precision, 7.74 ms int8."""
    chip = load_device("ascend310b1")
    memory = chip.memory["ddr"]
    bandwidth = memory.bandwidth.model_copy(update={"value": 25.6e9 * 0.85})
    board = replace(chip, memory={**chip.memory, "ddr": memory.model_copy(update={"bandwidth": bandwidth})})
    times = {precision: seconds(build("vgg16"), board, precision=precision) for precision in ("fp16", "int8")}
    assert times["fp16"] == pytest.approx(13.6851e-3, rel=0.15)
    assert times["int8"] == pytest.approx(7.7375e-3, rel=0.15)
    assert times["fp16"] / times["int8"] == pytest.approx(13.6851 / 7.7375, rel=0.2)
