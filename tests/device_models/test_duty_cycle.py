"""Duty cycles: most of a streaming network's energy is waiting; a published row of it, from the network's layers."""

from __future__ import annotations

import pytest

from device_models.device import load_device
from device_models.energy import Activity, busy_power, energy, idle_power
from device_models.measured import read_measured
from device_models.networks import find_models
from device_models.validate import validate

FRAME_S, DUTY, ENERGY_J = 0.032, 0.13259, 974.48e-6  # 30.4526 mW on average over 20 min
NAME = "Streaming wakeword 1D-DSCNN (MLPerf Tiny v1.3)"
SOURCE = "mlcommons/tiny_results_v1.3:closed/STMicroelectronics/results/NUCLEO_H7A3ZI_Q/sww"
# The layers of its .tflite file (mlcommons/tiny, sww_dscnn1d_int8): inputs, weights, outputs, kernel, MACs, parameters.
LAYERS = """\
DEPTHWISE_CONV_2D,1x30x1x40,1x3x1x40,1x28x1x40,3x1,1x1,3360,160
CONV_2D,1x28x1x40,128x1x1x40,1x28x1x128,1x1,1x1,143360,5248
DEPTHWISE_CONV_2D,1x28x1x128,1x5x1x128,1x24x1x128,5x1,1x1,15360,768
CONV_2D,1x24x1x128,128x1x1x128,1x24x1x128,1x1,1x1,393216,16512
DEPTHWISE_CONV_2D,1x24x1x128,1x10x1x128,1x15x1x128,10x1,1x1,19200,1408
CONV_2D,1x15x1x128,128x1x1x128,1x15x1x128,1x1,1x1,245760,16512
DEPTHWISE_CONV_2D,1x15x1x128,1x15x1x128,1x1x1x128,15x1,1x1,1920,2048
CONV_2D,1x1x1x128,32x1x1x128,1x1x1x32,1x1,1x1,4096,4128
RESHAPE,1x1x1x32,,1x32,,,0,0
FULLY_CONNECTED,1x32,3x32,1x3,,,96,99
SOFTMAX,1x3,,1x3,,,0,0
"""


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    """The published row, validated as a user would: a file of measurements beside a layer table."""
    folder = tmp_path_factory.mktemp("wakeword")
    columns = "network,index,op,input_shape,weight_shape,output_shape,kernel,stride,macs,params,dtype\n"
    table = "".join(f"{NAME},{index},{line},INT8\n" for index, line in enumerate(LAYERS.splitlines()))
    (folder / "layers.csv").write_text(columns + table, encoding="utf-8")
    (folder / "measured.csv").write_text(
        "device,freq_mhz,runtime,model,precision,latency_ms,energy_uj,note,source\n"
        f"NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 10.2.0,{NAME},int8,{DUTY * FRAME_S * 1e3},{ENERGY_J * 1e6},"
        f"3.0V SMPS; DUTY-CYCLED: one 32 ms frame period,{SOURCE}\n",
        encoding="utf-8",
    )
    (found,) = validate(read_measured(folder / "measured.csv"), find_models([folder])).rows
    return found


def test_the_streaming_wake_word_is_predicted_within_fifteen_per_cent(row):
    """The runtime was fitted to another chip, at another clock, and to no network of this kind."""
    assert row.estimate.macs == 826_368
    assert row.estimate.latency_s == pytest.approx(DUTY * FRAME_S, rel=0.15)
    assert row.energy_j == pytest.approx(ENERGY_J, rel=0.05)


def test_half_of_a_frames_energy_is_waiting(row):
    board = load_device("stm32h7a3")
    waiting_j = idle_power(board, 280e6) * (FRAME_S - row.estimate.latency_s)
    assert row.energy_j == pytest.approx(row.estimate.energy_j + waiting_j)
    assert 0.4 < waiting_j / row.energy_j < 0.6


def test_busy_and_idle_power_alone_give_the_frame_from_its_duty():
    board = load_device("stm32h7a3")
    busy_s = DUTY * FRAME_S
    found_j = energy(board, Activity(busy_s, 826_368, 0), 1, 280e6) + idle_power(board, 280e6) * (FRAME_S - busy_s)
    assert found_j == pytest.approx(ENERGY_J, rel=0.02)
    assert busy_power(board, 1, 280e6) > 7 * idle_power(board, 280e6)
