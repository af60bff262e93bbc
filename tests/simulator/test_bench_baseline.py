"""The baseline that comes with presage: the suite's kernels, at the cost that the code gives now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reports.bench_compare import Gate, compare, sentence
from simulator.bench.command import default_baseline, measure, read_baseline
from simulator.bench.plan import jobs
from simulator.bench.suite import find_suite, load_suite

CHEAP = ("dscnn_kws", "fc_autoencoder")
RENEW = "presage bench mlperf_tiny --accept --baseline scenarios/suites/mlperf_tiny.baseline.json"


@pytest.fixture(scope="module")
def suite():
    return load_suite(find_suite("mlperf_tiny"))


@pytest.fixture(scope="module")
def baseline(suite):
    found = read_baseline(suite.path.with_suffix(".baseline.json"), needed=True)
    assert found is not None
    return found


def test_the_shipped_baseline_is_what_the_code_gives_now(suite, baseline):
    (entry,) = suite.entries
    cheap = replace(suite, entries=(replace(entry, kernels=entry.kernels.model_copy(update={"model": CHEAP})),))
    rows = tuple(row for row in baseline.kernels if row.group in CHEAP)
    found = compare(measure(cheap, jobs(cheap), workers=1), baseline.model_copy(update={"kernels": rows}), Gate())
    assert not found.appeared + found.vanished, RENEW
    assert not found.differences, "\n".join([*map(sentence, found.differences), f"If this is meant: {RENEW}"])
    assert found.compared == len(rows) == 66


def test_the_shipped_baseline_has_every_kernel_of_the_suite(suite, baseline):
    expected = [(job.group, job.kernel, job.layers, job.target.device.name) for job in jobs(suite)]
    assert len(expected) == 468
    assert {(row.group, row.kernel, row.layers, row.device) for row in baseline.kernels} == set(expected), RENEW


def test_a_baseline_of_your_own_goes_before_the_shipped_one(suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, shipped = Path("mlperf_tiny.baseline.json"), suite.path.with_suffix(".baseline.json")
    assert (default_baseline(suite), default_baseline(suite, accepting=True)) == (shipped, own)
    own.touch()
    assert default_baseline(suite) == own
