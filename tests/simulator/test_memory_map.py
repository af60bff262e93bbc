"""The picture of a network's memory is made from the plan that its prediction counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from device_models.device import load_device
from device_models.estimate import estimate
from simulator.arguments import LONGEST, completed
from simulator.cli import main
from simulator.memory_map import memory_map, memory_on
from simulator.predict import Options
from workloads.models import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("runtime", ["generated", "x-cube-ai-10", "tflm-reference", "tinyengine"])
@pytest.mark.parametrize("network", ["resnet8", "mobilenet_v1_025_96"])
def test_peaks_and_parts_are_those_of_the_prediction(network: str, runtime: str) -> None:
    graph, device = build(network), load_device("stm32h7a3")
    memory = memory_on(graph, device, Options(runtime=runtime))
    drawn = memory_map("title", memory, device)
    result = estimate(graph, device, runtime=runtime)
    assert sum(store.used_bytes for store in drawn.stores) == memory.ram_bytes + memory.flash_bytes
    assert memory.ram_bytes == result.peak_ram_bytes
    assert sum(drawn.weights_bytes) == result.weights_bytes
    assert max(block.offset + block.nbytes for block in drawn.blocks) == drawn.peak_bytes


def test_the_peak_is_marked_at_the_step_that_reaches_highest() -> None:
    device = load_device("stm32h7a3")
    drawn = memory_map("title", memory_on(build("resnet8"), device, Options()), device)
    at_peak = [block for block in drawn.blocks if block.first <= drawn.peak_step <= block.last]
    assert max(block.offset + block.nbytes for block in at_peak) == drawn.peak_bytes
    assert {block.kind for block in drawn.blocks} == {"input", "activation", "scratch", "output"}


def test_one_memory_of_weights_and_activations_is_one_bar() -> None:
    device = load_device("jh7110")
    drawn = memory_map("title", memory_on(build("resnet8"), device, Options()), device)
    (store,) = drawn.stores
    assert [kind for kind, _ in store.parts] == ["arena", "weights"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", ["memory.svg", "memory.html"])
def test_the_command_draws_a_file_beside_its_answer(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    assert run("predict", "resnet8", "--on", "stm32h7a3", "--memory-plot", str(file)) == 0
    assert "resnet8 on stm32h7a3" in file.read_text(encoding="utf-8")
    assert "66.6 KiB" in capsys.readouterr().out


def test_faults_of_a_plot_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "memory.png")
    assert run("predict", "resnet8", "--on", "stm32h7a3", "--on", "jh7110", "--memory-plot", file) == 2
    shown = capsys.readouterr().err
    assert "1 models on 2 devices; a plot shows one model on one device" in shown
    assert "expected a name that ends in .svg or .html" in shown


def test_a_layer_or_the_longest_is_explained_as_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "resnet8", "--on", "stm32h7a3", "--explain") == 0
    text = capsys.readouterr().out
    assert "conv9 (conv2d) of resnet8 on stm32h7a3, runtime generated" in text
    assert run("predict", "resnet8", "--on", "stm32h7a3", "--explain", "conv2", "--layers", "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    layer = next(layer for layer in row["layers"] if layer["name"] == "conv2")
    (latency,) = row["explanation"]["terms"]["latency"]
    assert latency["value"] == layer["latency_s"]
    assert run("predict", "resnet8", "--on", "stm32h7a3", "--explain", "conv99") == 2


def test_an_option_without_a_layer_means_the_longest() -> None:
    assert completed(["predict", "--explain", "--on", "x"]) == ["predict", "--explain", LONGEST, "--on", "x"]
    assert completed(["predict", "--explain"]) == ["predict", "--explain", LONGEST]
    assert completed(["predict", "--explain", "conv1", "-h"]) == ["predict", "--explain", "conv1", "-h"]
