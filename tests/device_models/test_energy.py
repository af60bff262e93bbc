"""Energy follows the measured boards and never falls below idle power times time."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.device import Device, Power, device_names, load_device
from device_models.dvfs import at_supply
from device_models.energy import Activity, busy_power, energy, idle_power

BOARDS = Path(__file__).parents[2].parent / "shared" / "facts" / "mlperf_cpu_power.csv"
REAL = tuple(name for name in device_names() if name not in ("null", "unit"))


def test_the_microcontroller_draws_its_measured_power():
    """MLPerf Tiny v1.2, H7A3 at 280 MHz: 121.9 to 125.2 mW on three networks."""
    board = load_device("stm32h7a3")
    assert 0.1219 <= busy_power(board, 1, 280e6) <= 0.1252


def test_weights_streamed_from_flash_explain_the_auto_encoder():
    """135.6 mW over 1.2255 ms with 264 KB of weights per inference."""
    board = load_device("stm32h7a3")
    assert energy(board, Activity(1.2255e-3, 264_192, 264_192), 1, 280e6) == pytest.approx(165.7e-6, rel=0.02)


def test_a_board_draws_between_its_one_core_and_all_core_power():
    board = load_device("jh7110")
    powers = [busy_power(board, threads, board.frequency_hz) for threads in (1, 2, 3, 4)]
    assert powers[0] == board.power.active.value
    assert powers[-1] == pytest.approx(4.7)
    assert powers == sorted(powers)


def test_an_accelerator_pays_per_operation_and_byte():
    chip = load_device("ascend310b1")
    idle = energy(chip, Activity(1.0, 0, 0), 1, chip.frequency_hz)
    assert idle == chip.power.idle.value
    busy = energy(chip, Activity(1.0, 10**12, 10**9), 1, chip.frequency_hz)
    assert busy == pytest.approx(idle + 1e12 * chip.power.per_mac.value + 1e9 * chip.power.per_byte.value)


def test_the_unit_device_takes_one_joule_per_cycle():
    assert energy(load_device("unit"), Activity(3e-6, 3, 0), 1, 1e6) == pytest.approx(3.0)


@pytest.mark.parametrize("name", REAL)
@given(st.floats(0, 10), st.integers(0, 10**12), st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_energy_is_at_least_idle_power_times_time_and_its_ends_enclose_it(name, time_s, macs, nbytes, speed, share):
    device = load_device(name)
    low, high = device.clock.minimum.value, device.clock.maximum.value
    frequency = low + (high - low) * speed
    threads = 1 + round((device.cores - 1) * share)
    activity = Activity(time_s, macs, nbytes)
    value = energy(device, activity, threads, frequency)
    assert value >= idle_power(device, frequency) * time_s
    assert energy(device, activity, threads, frequency, "low") <= value * (1 + 1e-12)
    assert value <= energy(device, activity, threads, frequency, "high") * (1 + 1e-12)


MEASURED = [
    (name, row)
    for name in REAL
    for row in load_device(name).measured
    if row.energy is not None and row.latency is not None
]


@pytest.mark.parametrize(("name", "row"), MEASURED, ids=[f"{name}-{row.model}" for name, row in MEASURED])
def test_a_microcontrollers_measured_energy_is_its_power_times_its_measured_time(name, row):
    """Joules per cycle at one operating point, whatever the network; laboratories differ by 15 %."""
    board = load_device(name)
    found_j = energy(board, Activity(row.latency.value, 0, 0), row.threads, board.frequency_hz)
    assert found_j == pytest.approx(row.energy.value, rel=0.10)


# NUCLEO-L4R5ZI with X-CUBE-AI 7.3: latency [ms], energy at 1.8 and at 3.0 V [uJ]; MLPerf Tiny results v1.0
# (closed/STMicroelectronics/results/NUCLEO_L4R5ZI) and v1.1 (closed/Krai/results/NUCLEO-L4R5ZI_X-CUBE-AI-7.3).
TWO_SUPPLIES = {
    "auto-encoder": (7.5786, 322.977, 529.299),
    "resnet-8": (226.9117, 10681.623, 17755.446),
    "ds-cnn": (75.0582, 3371.738, 5627.485),
    "mobilenet-v1": (230.4678, 10066.628, 16536.336),
}


@pytest.mark.parametrize("name", TWO_SUPPLIES)
def test_a_linear_regulator_draws_the_same_current_at_any_supply(name):
    """The noise between laboratories is 15 %; the ratio of two supplies is closer."""
    board = load_device("stm32l4r5")
    latency_ms, low_uj, high_uj = TWO_SUPPLIES[name]
    at_low, at_high = (
        energy(at_supply(board, volts), Activity(latency_ms / 1e3, 0, 0), 1, 120e6) for volts in (1.8, 3.0)
    )
    assert at_low == pytest.approx(low_uj / 1e6, rel=0.15)
    assert at_high == pytest.approx(high_uj / 1e6, rel=0.15)
    assert at_high / at_low == pytest.approx(high_uj / low_uj, rel=0.03)


# Boards at the wall: idle power, that with all cores on MobileNetV2-1.0 at 224 (int8, TFLite with ruy) [W], and other
# int8 networks' latency [ms] and energy [mJ]: MobileNetV1-0.25 at 128, V1-1.0 at 224, V3-large, EfficientNet-lite0, 4.
# MLPerf Inference results v2.0 (first two) and v3.0: open/Krai/results/<system>/<network>/singlestream.
WALL = {
    "rpi4-tflite-v2.7.1-ruy": (2.82, 6.413, ((2.0491, 12.819), (29.6373, 191.347), (25.7061, 165.056),
                                             (30.5485, 199.818), (153.8958, 1020.026))),
    "odroid-tflite-v2.7.1-ruy": (2.594, 7.285, ((1.4688, 10.148), (20.8371, 151.514), (20.3783, 141.329),
                                                (25.1397, 183.081), (125.9676, 934.333))),
    "vim4-tflite-v2.11.0-ruy": (3.403, 8.361, ((1.3106, 9.857), (15.5082, 131.279), (16.0565, 121.478),
                                               (17.8254, 151.511), (88.6061, 777.017))),
    "firefly-tflite-v2.11.0-ruy": (2.262, 8.289, ((0.7849, 6.397), (8.3502, 71.68), (11.7241, 92.181),
                                                  (13.4559, 107.192), (69.9505, 565.928))),
}  # fmt: skip


def board_of(idle_w: float, active_w: float) -> Device:
    """Return a board of four cores of which only the power is known, idle and with all cores busy."""
    watts = {"idle": idle_w, "active": (idle_w + active_w) / 2, "active_all": active_w}
    power = Power.model_validate({name: [f"{value} W", "measured"] for name, value in watts.items()})
    return replace(load_device("jh7110"), power=power)


@pytest.mark.parametrize("system", WALL)
def test_a_boards_energy_is_its_power_with_all_cores_busy_times_the_time(system):
    idle_w, active_w, rows = WALL[system]
    board = board_of(idle_w, active_w)
    found = [energy(board, Activity(latency_ms / 1e3, 0, 0), 4, board.frequency_hz) * 1e3 for latency_ms, _ in rows]
    errors = [abs(each / measured_mj - 1) for each, (_, measured_mj) in zip(found, rows, strict=True)]
    assert median(errors) <= 0.05
    assert max(errors) <= 0.15


@pytest.mark.skipif(not BOARDS.is_file(), reason="the table of measured boards is not beside the repository")
def test_one_network_tells_the_energy_of_nearly_two_thousand_others_within_ten_per_cent():
    """Each system and precision: MobileNetV2-1.0 at 224 says what all cores draw."""
    with BOARDS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    errors = []
    for each in rows:
        if each["model"].startswith("mobilenet-v2-1.0-224-"):
            idle_w, active_w = (float(each[name]) for name in ("power_min_before_run_w", "power_avg_w"))
            board = board_of(max(idle_w, 0.1), active_w)
            for row in rows:
                if (row["system"], row["precision"]) == (each["system"], each["precision"]) and row is not each:
                    activity = Activity(float(row["latency_mean_ms"]) / 1e3, 0, 0)
                    found_mj = energy(board, activity, 4, board.frequency_hz) * 1e3
                    errors.append(abs(found_mj / float(row["energy_per_inference_mj"]) - 1))
    assert len(errors) > 1900
    assert median(errors) <= 0.10
