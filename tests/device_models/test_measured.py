"""Measurements are read in any of the usual units, and matched by name, or listed with the reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device_models.device import load_device
from device_models.matching import Matched, Unmatched, find_device, match
from device_models.measured import read_measured
from device_models.networks import family, find_models
from workloads.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MCU = "device,freq_mhz,runtime,model,precision,latency_ms,energy_uj,note,source\n"
MODELS = find_models([])


def rows(tmp_path: Path, text: str):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return read_measured(path)


def test_units_of_columns_become_si(tmp_path):
    (row,) = rows(tmp_path, MCU + "NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 9.0.0,resnet8,int8,40.8447,5090.283,,results.txt\n")
    assert (row.frequency_hz, row.latency_s, row.energy_j) == (280e6, 40.8447e-3, 5090.283e-6)
    assert (row.line, row.source, row.precision, row.batch, row.threads) == (2, "results.txt", "int8", 1, None)


def test_the_least_latency_of_a_loop_is_preferred_and_the_mean_stands_in(tmp_path):
    text = "device,threads,model,latency_min_ms,latency_avg_ms\nb,4,a,1.5,2.5\nb,default,a,,2.5\n"
    first, second = rows(tmp_path, text)
    assert (first.latency_s, first.threads) == (1.5e-3, 4)
    assert (second.latency_s, second.threads) == (2.5e-3, None)


def test_a_duty_cycled_row_has_a_period_and_a_superseded_one_is_marked(tmp_path):
    text = (
        MCU
        + "d,280,r,a,int8,4.243,974.48,DUTY-CYCLED: one 32 ms frame,s\nd,280,r,a,int8,4,1,older row (superseded),s\n"
    )
    duty, old = rows(tmp_path, text)
    assert (duty.period_s, duty.superseded) == (0.032, False)
    assert (old.period_s, old.superseded) == (None, True)


@pytest.mark.parametrize(
    ("note", "volts"),
    [
        ("MLPerf Tiny v1.1 Krai; 3.0V LDO", 3.0),
        ("VIN 1.8V; core 0.65V", 1.8),
        ("measured at 3 V", 3.0),
        ("v1.0, VWW", None),
    ],
)
def test_a_supply_that_the_note_states_is_read(tmp_path, note, volts):
    (row,) = rows(tmp_path, MCU + f"d,280,r,resnet8,int8,40,,{note.replace(',', ';')},s\n")
    assert row.supply_v == volts


def test_a_supply_of_its_own_column_is_read_before_the_note(tmp_path):
    (row,) = rows(tmp_path, "model,latency_ms,supply_v,note\nresnet8,40,3.3,at 1.8 V\n")
    assert row.supply_v == 3.3


def test_a_row_is_matched_to_the_board_at_its_supply(tmp_path):
    found = matched(tmp_path, "NUCLEO_L4R5ZI,120,X-CUBE-AI 9.0.0,resnet8,int8,165,,3.0V LDO,s\n")
    assert (found.device.name, found.device.supply_v) == ("stm32l4r5", 3.0)
    same = matched(tmp_path, "NUCLEO_L4R5ZI,120,X-CUBE-AI 9.0.0,resnet8,int8,165,,1.8V LDO,s\n")
    assert same.device is load_device("stm32l4r5")
    ignored = matched(tmp_path, "EK-RA6M4,200,TFLM + CMSIS,resnet8,int8,165,,3.0V,s\n")
    assert ignored.device.supply_v is None  # nothing is known of its regulator
    refused = matched(tmp_path, "NUCLEO_L4R5ZI,120,X-CUBE-AI 9.0.0,resnet8,int8,165,,5V,s\n")
    assert "supply voltage: 5 V; expected 1.71 V to 3.6 V" in refused.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("device,latency_ms\nd,1\n", "column 'model' is missing; found: device, latency_ms"),
        ("model,latency\na,1\n", "no column holds a latency or an energy; name one of latency_min_ms"),
        ("model,latency_ms\na,fast\n", "line 2: latency_ms is 'fast', expected a number"),
        ("model,latency_ms\na,0\n", "line 2: latency_ms is '0', expected more than zero"),
    ],
)
def test_a_file_without_the_columns_or_with_words_for_numbers_is_refused(tmp_path, text, expected):
    with pytest.raises(InputError) as caught:
        rows(tmp_path, text)
    assert expected in str(caught.value)


def matched(tmp_path, text):
    return match(rows(tmp_path, MCU + text)[0], MODELS)


def test_names_match_whatever_their_case_and_punctuation(tmp_path):
    found = matched(tmp_path, "nucleo h7a3zi-q,280,X-CUBE-AI 9.0.0,DS-CNN KWS (MLPerf Tiny),int8,11.3,,,s\n")
    assert isinstance(found, Matched)
    assert (found.device.name, found.runtime.name, found.place) == ("stm32h7a3", "x-cube-ai-9", "dscnn_kws")
    assert find_device("STM32-H747i disco").name == "stm32h747"


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("STM32H743ZI", "stm32h743"),
        ("Nucleo-H743ZI2 board", "stm32h743"),
        ("STM32H7A3ZIT6Q on NUCLEO-H7A3ZI-Q", "stm32h7a3"),
        ("StarFive JH7110, 8 GB", "jh7110"),
        ("HUAWEI Mate 30 Pro (Kirin990-5G)", "kirin990-5g"),
        ("Intel(R) Core(TM) i7-7700K CPU @ 4.20GHz", "i7-7700k"),
        ("ESP32-C3-DevKitM", "esp32-c3"),
        ("Ascend310X", None),
        ("STM32H745I-DISCO", None),
        ("JH7110 beside a TH1520", None),
        ("Cortex-M7", None),
        ("", None),
    ],
)
def test_a_chip_is_found_among_other_words_by_its_own_name_only(name, chip):
    if chip is None:
        with pytest.raises(InputError, match="is not in the catalogue"):
            find_device(name)
    else:
        assert find_device(name).name == chip


def test_the_other_core_of_a_chip_is_not_the_one_that_is_modelled(tmp_path):
    text = "device,core,runtime,model,latency_ms\nSTM32H747I-DISCO,Cortex-{},X-CUBE-AI 10.0.0,resnet8,40\n"
    small, large = (match(rows(tmp_path, text.format(core))[0], MODELS) for core in ("M4", "M7"))
    assert "core 'Cortex-M4' is not the one of stm32h747, cortex-m7" in small.reason
    assert isinstance(large, Matched)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Board,280,X-CUBE-AI 9.0.0,resnet8,int8,1,,,s", "device 'Board' is not in the catalogue"),
        ("NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 99,resnet8,int8,1,,,s", "runtime 'X-CUBE-AI 99' is unknown"),
        ("NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 9.0.0,resnet9,int8,1,,,s", "network 'resnet9' is in no folder of models"),
        ("NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 9.0.0,resnet8,float32,1,,,s", "runtime x-cube-ai-9 has no fp32"),
        ("NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 9.0.0,resnet8,int8/vendor-retrained,1,,,s", "vendor-retrained"),
        ("NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 9.0.0,resnet8,int8,,5,,s", "no latency is published"),
        ("NUCLEO_H7A3ZI_Q,900,X-CUBE-AI 9.0.0,resnet8,int8,1,,,s", "frequency: 900 MHz; expected 22 MHz to 280 MHz"),
        ("NUCLEO_H7A3ZI_Q,280,X-CUBE-AI 9.0.0,resnet8,int8,1,,superseded,s", "superseded by a newer row"),
        ("NUCLEO_H7A3ZI_int8_min_ram,280,Bosch HALE,resnet8,int8,84,,,s", "lie elsewhere than this library puts them"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why(tmp_path, text, reason):
    found = matched(tmp_path, text + "\n")
    assert isinstance(found, Unmatched)
    assert reason in found.reason


def test_one_architecture_is_one_family_at_any_size_and_under_any_name():
    assert family("MobileNet v2 0.35 (ImageNet) 224x224x3") == family("mbv2-w0.3-r64") == "mobilenet-v2"
    assert family("SSD Mobilenet v2 0.35 FPN-lite 192x192x3") == "mobilenet-v2"  # the same blocks carry it
    assert family("mlperf_tiny_vww") == family("MobileNet v1 0.25 96x96x3") == "mobilenet-v1"
    assert family("resnet50_int8") == family("ResNet-8 CIFAR-10 (MLPerf Tiny)") == "resnet"
    assert family("A network of its own") == "a network of its own"


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        find_models([tmp_path / "none"])


def test_dead_channels_are_left_out_only_for_runtimes_that_do_so():
    name = "MobileNetV1-0.25 96x96 VWW (MLPerf Tiny)"
    full, small = (MODELS.graph(name, drops_dead_channels=drops) for drops in (False, True))
    assert full.macs == 7_489_664
    assert small.macs == 4_121_828  # as counted from the weights of mlcommons/tiny@1afd2c9820f7
