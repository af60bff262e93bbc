"""A runtime is recovered from the timings it would produce, from few of them too, and its file is ready to use."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_models import grey_box
from device_models.calibrate import calibrate, prior_of, sample
from device_models.device import load_device
from device_models.estimate import estimate
from device_models.matching import Matched, Unmatched, match
from device_models.measured import Measured, read_measured
from device_models.networks import find_models
from device_models.runtime import load_runtime
from device_models.runtime_file import Heading, calibrated_runtime, runtime_toml
from device_models.validate import validate
from workloads.models import build

MODELS = find_models([])
NETWORKS = ("resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder", "squeezenet1_1", "mobilenet_v2")
PRIOR = load_runtime("cortex-m")
SHARED = Path(__file__).parents[2].parent / "shared"
with_measurements = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the folder of public measurements is not beside the repository"
)


def row(model: str, latency_s: float, *, device: str = "stm32h7a3", clock_hz: float | None = None) -> Measured:
    return Measured(
        line=2, device=device, core="", frequency_hz=clock_hz, threads=None, runtime="mine", model=model, input="",
        precision="int8", batch=1, latency_s=latency_s, energy_j=None, period_s=None, superseded=False, note="",
        source="",
    )  # fmt: skip


def library(**multipliers: float):
    """Return a made-up library: the prior with some multipliers of its own."""
    terms = {
        name: term.model_copy(update={"multiplier": term.multiplier.model_copy(update={"value": multipliers[name]})})
        if name in multipliers
        else term
        for name, term in PRIOR.terms.items()
    }
    return replace(PRIOR, terms=terms)


TRUE = library(conv=0.8, pointwise=1.2, first=1.3, depthwise=0.7, dense=1.1)


def timed(networks, *, device="stm32h7a3", clocks=(None,), noise=0.0):
    """Return samples of what ``TRUE`` takes."""
    random = np.random.default_rng(1)
    found = []
    for name in networks:
        for clock_hz in clocks:
            latency_s = estimate(build(name), device, runtime=TRUE, frequency_hz=clock_hz).latency_s
            measured = row(name, float(latency_s * np.exp(random.normal(0, noise))), device=device, clock_hz=clock_hz)
            matched = match(measured, MODELS, runtime=PRIOR)
            assert isinstance(matched, Matched)
            found.append(sample(matched, MODELS, PRIOR))
    return found


@pytest.fixture(scope="module")
def samples():
    return timed(NETWORKS)


def test_a_fit_misses_the_timings_of_a_library_of_its_own_form_by_little(samples):
    found = calibrate(samples, PRIOR)
    assert found.fitted_s == pytest.approx(found.measured_s, rel=0.03)
    assert np.abs(found.before_s / found.measured_s - 1).max() > 0.10


def test_multipliers_that_the_rows_tell_come_out_closer_than_they_went_in(samples):
    found = dict(zip(PRIOR.terms, calibrate(samples, PRIOR).found.multipliers, strict=True))
    for name, true in {"conv": 0.8, "pointwise": 1.2, "depthwise": 0.7}.items():
        assert abs(found[name] - true) < abs(1.0 - true)


def test_a_fit_on_one_board_carries_over_to_another_clock_and_chip_of_the_core(samples):
    mine = calibrated_runtime(calibrate(samples, PRIOR), Heading("mine", "Mine"))
    for device, clock_hz in (("stm32h7a3", 140e6), ("stm32h747", 400e6)):
        true = estimate(build("mobilenet_v2"), device, runtime=TRUE, frequency_hz=clock_hz).latency_s
        found = estimate(build("mobilenet_v2"), device, runtime=mine, frequency_hz=clock_hz).latency_s
        assert found == pytest.approx(true, rel=0.04)


def test_five_timings_with_noise_beat_the_prior_on_a_network_they_do_not_hold():
    five = timed(NETWORKS[:5], noise=0.02)
    mine = calibrated_runtime(calibrate(five, PRIOR), Heading("mine", "Mine"))
    true, found, prior = (
        estimate(build("mobilenet_v2"), "stm32h7a3", runtime=each).latency_s for each in (TRUE, mine, PRIOR)
    )
    assert abs(found / true - 1) < min(0.10, abs(prior / true - 1))


def test_the_file_holds_what_was_fitted_and_reads_back_alike(samples, tmp_path):
    found = calibrate(samples, PRIOR)
    path = tmp_path / "mine.toml"
    path.write_text(runtime_toml(found, Heading("mine", 'My "library"', ("mine *",))), encoding="utf-8")
    runtime = load_runtime(str(path))
    assert (runtime.name, runtime.title, runtime.prior) == ("mine", 'My "library"', "cortex-m")
    assert [term.multiplier.value for term in runtime.terms.values()] == pytest.approx(
        list(found.found.multipliers), rel=1e-3
    )
    assert estimate(build("resnet8"), "stm32h7a3", runtime=runtime).latency_s == pytest.approx(
        found.fitted_s[0], rel=1e-3
    )
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    assert [each["model"] for each in table["rows"]] == list(NETWORKS)
    assert json.dumps(table["cores"]) == '["cortex-m7"]'


def test_the_band_of_a_fit_holds_its_own_rows_and_is_narrower_than_the_prior(samples):
    mine = calibrated_runtime(calibrate(samples, PRIOR), Heading("mine", "Mine"))
    for each in samples:
        known, before = (
            estimate(build(each.matched.row.model), "stm32h7a3", runtime=runtime) for runtime in (mine, PRIOR)
        )
        assert known.latency_low_s <= each.measured_s <= known.latency_high_s
        assert known.latency_high_s / known.latency_low_s < before.latency_high_s / before.latency_low_s


def test_the_prior_of_a_file_is_its_multipliers_with_their_ranges():
    found = prior_of(PRIOR)
    assert found.mean[list(PRIOR.terms).index("strided")] == 30.0
    assert found.spread[list(PRIOR.terms).index("weights")] == 0.0
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()


def test_every_row_of_a_validation_is_predicted_or_listed_with_its_reason():
    rows = [row(name, 0.05) for name in NETWORKS[:4]] + [row("unheard_of", 1.0)]
    found = validate(rows, MODELS, device=load_device("stm32h7a3"), runtime=load_runtime("x-cube-ai-9"))
    assert len(found.rows) + len(found.unmatched) == len(rows)
    assert [each.row.model for each in found.unmatched] == ["unheard_of"]
    assert all(each.held_out is not None and each.macs_s is not None for each in found.rows)
    first = found.rows[0]
    assert first.estimate.latency_s == pytest.approx(
        estimate(build(first.matched.row.model), "stm32h7a3", runtime="x-cube-ai-9").latency_s
    )


def test_a_layer_is_asked_about_once_for_all_rows_that_share_it(monkeypatch):
    """Rows of one network on one device, in any order: fits, estimates and rows come back to the same answer."""
    asked = []
    amounts = grey_box.layer_amounts
    monkeypatch.setattr(grey_box, "layer_amounts", lambda *each: asked.append(each[1].name) or amounts(*each))
    rows = [
        replace(row(name, latency_s), batch=3)  # asked by no other test
        for latency_s in (0.04, 0.05, 0.06)
        for name in ("resnet8", "dscnn_kws")
    ]
    found = validate(rows, find_models([]), device=load_device("stm32h743"), runtime=load_runtime("x-cube-ai-9"))
    layers = sum(len(each.estimate.layers) for each in found.rows[:2])
    assert len(asked) == layers
    assert [each.matched.row for each in found.rows] == rows


def test_baselines_learn_from_rows_of_the_same_clock_only():
    """Twice the clock halves the times: rows of the other clock would mislead them."""
    taken_s = {"resnet8": 0.04, "dscnn_kws": 0.01, "mobilenet_v2": 0.9}
    rows = [row(name, at / clock * 280e6, clock_hz=clock) for name, at in taken_s.items() for clock in (280e6, 140e6)]
    found = validate(rows, MODELS, device=load_device("stm32h7a3"), runtime=load_runtime("x-cube-ai-9")).rows
    for slow, fast in zip(found[1::2], found[::2], strict=True):
        assert slow.macs_s == pytest.approx(2 * fast.macs_s)
        assert slow.features_s == pytest.approx(2 * fast.features_s, rel=1e-6)


def test_a_duty_cycled_row_counts_waiting_in_its_energy():
    busy, waiting = (replace(row("dscnn_kws", 0.011), period_s=period) for period in (None, 0.032))
    found = validate([busy, waiting], MODELS, device=load_device("stm32h7a3"), runtime=load_runtime("x-cube-ai-9"))
    alone, whole = found.rows
    idle_w = load_device("stm32h7a3").power.idle.value
    assert whole.energy_j - alone.energy_j == pytest.approx(idle_w * (0.032 - alone.estimate.latency_s))


@pytest.fixture(scope="module")
def measured():
    """Validate the rows of the three runtimes that the limits below are about."""
    wanted = ("X-CUBE-AI 10", "X-CUBE-AI 9", "TinyEngine")
    rows = [each for each in read_measured(SHARED / "measured" / "mcu.csv") if each.runtime.startswith(wanted)]
    return validate(rows, find_models([SHARED / "measured", SHARED / "models"]))


def held_out(measured, runtime, device=None):
    found = [each for each in measured.rows if each.block == (device or each.block[0], runtime)]
    return [abs(each.held_out.latency_s / each.matched.row.latency_s - 1) for each in found]


@with_measurements
def test_families_left_out_are_predicted_within_the_stated_errors(measured):
    """Cortex-M7 with X-CUBE-AI 10: 6 % on average, 18 % at worst; each network of the H7A3 within 10 %."""
    errors = held_out(measured, "x-cube-ai-10")
    assert len(errors) == 13
    assert sum(errors) / len(errors) <= 0.06
    assert max(errors) <= 0.18
    assert max(held_out(measured, "x-cube-ai-9", "stm32h7a3")) <= 0.10
    assert max(held_out(measured, "tinyengine")) <= 0.10


@with_measurements
def test_measured_energies_of_the_h7a3_are_predicted_within_ten_per_cent(measured):
    """The streaming wake word, most of whose energy is waiting, is among them."""
    rows = [each for each in measured.rows if each.matched.device.name == "stm32h7a3"]
    assert len(rows) == 5
    for each in rows:
        assert each.energy_j == pytest.approx(each.matched.row.energy_j, rel=0.10)


@with_measurements
def test_baselines_are_beaten_with_families_left_out(measured):
    for block in {each.block for each in measured.rows}:
        rows = [each for each in measured.rows if each.block == block and each.macs_s]
        if len(rows) >= 4:
            ours, macs, nine = (
                np.median(
                    [abs(value / each.matched.row.latency_s - 1) for each, value in zip(rows, values, strict=True)]
                )
                for values in (
                    [each.held_out.latency_s for each in rows],
                    [each.macs_s for each in rows],
                    [each.features_s for each in rows],
                )
            )
            assert ours < macs, block
            assert ours < nine, block


@with_measurements
def test_bands_hold_about_eighty_of_a_hundred_rows_left_out(measured):
    inside = [each.held_out.low_s <= each.matched.row.latency_s <= each.held_out.high_s for each in measured.rows]
    assert 0.7 <= sum(inside) / len(inside) <= 1.0


@with_measurements
def test_rows_that_are_not_comparable_are_listed(measured):
    rows = read_measured(SHARED / "measured" / "mcu.csv")
    models = find_models([SHARED / "measured"])
    reasons = [found.reason for found in (match(each, models) for each in rows) if isinstance(found, Unmatched)]
    assert sum("max_performance" in reason for reason in reasons) >= 3
    assert any("has no fp32" in reason for reason in reasons)
