"""The budgets of the command, timed as a user meets them: whole processes, warm caches."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_models.device import device_names

ROOT = Path(__file__).parents[2]
MEASURED = ROOT.parent / "shared" / "measured" / "mcu.csv"
PRESAGE = Path(sys.executable).with_name("presage")
FOUR_DEVICES = ["stm32h7a3", "ascend310b1", "epyc-9v45", "jh7110"]


def presage(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([PRESAGE, *arguments], check=True, capture_output=True, cwd=folder)


@pytest.mark.benchmark(group="command", min_rounds=5)
def test_help_answers_within_half_a_second(benchmark):
    benchmark(presage, "--help")
    assert benchmark.stats.stats.median < 0.5


@pytest.mark.benchmark(group="command", min_rounds=5)
def test_predicting_resnet50_on_four_devices_takes_two_seconds_and_400_megabytes(benchmark):
    options = [word for device in FOUR_DEVICES for word in ("--on", device)]
    benchmark(presage, "predict", "resnet50", *options)
    assert benchmark.stats.stats.median < 2.0
    process = subprocess.Popen([PRESAGE, "predict", "resnet50", *options], stdout=subprocess.DEVNULL, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    benchmark.extra_info["peak_bytes"] = usage.ru_maxrss * 1024
    assert process.returncode == 0
    assert usage.ru_maxrss * 1024 < 400e6


@pytest.mark.benchmark(group="command", min_rounds=3)
def test_predicting_one_network_on_thirty_devices_takes_three_seconds(benchmark):
    names = [name for name in device_names() if name not in ("null", "unit")][:30]
    assert len(names) == 30
    options = [word for name in names for word in ("--on", name)]
    presage("predict", "mobilenet_v2", *options)  # prices the layers
    benchmark(presage, "predict", "mobilenet_v2", *options)
    assert benchmark.stats.stats.median < 3.0


@pytest.mark.benchmark(group="command", min_rounds=3)
@pytest.mark.skipif(not MEASURED.is_file(), reason="the folder of public measurements is not beside the repository")
def test_validating_three_hundred_rows_takes_ten_seconds(benchmark, tmp_path):
    arguments = ("validate", "--measured", str(MEASURED), "--format", "html", "--output", str(tmp_path / "page.html"))
    presage(*arguments)  # prices the layers
    benchmark(presage, *arguments)
    assert benchmark.stats.stats.median < 10.0


@pytest.mark.benchmark(group="command", min_rounds=3)
def test_running_the_default_scenario_takes_five_seconds(benchmark, tmp_path):
    benchmark(presage, "run", str(ROOT / "scenarios/village_clinic.toml"), "--output", str(tmp_path))
    assert benchmark.stats.stats.median < 5.0


@pytest.mark.benchmark(group="command", min_rounds=3)
def test_benching_four_tiny_networks_and_resnet50_on_six_devices_takes_twenty_seconds(benchmark, tmp_path):
    baseline = tmp_path / "baseline.json"
    presage("bench", "mlperf_tiny", "--accept", "--baseline", str(baseline))
    result = benchmark(presage, "bench", "mlperf_tiny", "--baseline", str(baseline))
    assert b"468 compared: no difference" in result.stdout
    assert benchmark.stats.stats.median < 20.0


def test_benching_without_kept_costs_takes_a_minute(tmp_path):
    started = time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([PRESAGE, "bench", "mlperf_tiny"], check=True, capture_output=True, cwd=ROOT, env=environment)
    assert time.perf_counter() - started < 60.0
