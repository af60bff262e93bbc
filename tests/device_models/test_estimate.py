"""Estimates obey the laws of time and energy on every device, and refuse what they cannot know."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.device import device_names, load_device
from device_models.energy import idle_power
from device_models.estimate import estimate, fits
from workloads.builder import GraphBuilder
from workloads.errors import InputError
from workloads.models import build
from workloads.operators import Conv2d, FullyConnected, Logistic, Mean, Reshape, Softmax, Unmodelled
from workloads.readers.load import load

SHARED = Path(__file__).parents[2].parent / "shared"
REAL = ("ascend310b1", "epyc-9v45", "jh7110", "spacemit-k1", "stm32h7a3", "xeon-8275cl")
SMALL = ("resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder")


def network(height: int = 8, channels: int = 16, filters: int = 16, extra: object = None):
    """Return a convolution, a fully connected layer and a softmax; ``extra`` is an operator before the end."""
    builder = GraphBuilder("little")
    x = builder.input("x", (1, height, 8, channels))
    weights = builder.constant("w", (filters, 3, 3, channels))
    x = builder.layer(Conv2d(padding=(1, 1, 1, 1)), [x, weights])
    if extra is not None:
        x = builder.layer(extra, [x], shape=builder.tensors[x].shape)
    size = height * 8 * filters
    x = builder.layer(Reshape(), [x], shape=(1, size))
    x = builder.layer(FullyConnected(), [x, builder.constant("v", (10, size))])
    return builder.build([builder.layer(Softmax(), [x])])


@pytest.mark.parametrize("device", REAL)
@pytest.mark.parametrize("model", [*SMALL, "resnet50"])
def test_every_network_has_an_estimate_on_every_device(model, device):
    found = estimate(build(model), device)
    assert found.coverage == 1.0
    assert found.macs == build(model).macs
    assert 0 < found.latency_low_s <= found.latency_s <= found.latency_high_s
    assert 0 < found.energy_low_j <= found.energy_j <= found.energy_high_j
    assert found.latency_s == pytest.approx(sum(layer.latency_s for layer in found.layers))
    assert found.energy_j == pytest.approx(sum(layer.energy_j for layer in found.layers))
    assert found.energy_j >= load_device(device).power.idle.value * found.latency_s * (1 - 1e-12)
    assert found.average_power_w == pytest.approx(found.energy_j / found.latency_s)
    assert all(layer.bound for layer in found.layers)
    assert not found.calibrated
    assert "uncalibrated" in found.notes[0]
    peak = load_device(device).peak_macs_per_s / load_device(device).cores
    assert found.macs / found.latency_s <= peak


@pytest.mark.parametrize("device", REAL)
def test_more_work_never_takes_less_time_or_energy(device):
    by_height = [estimate(network(height=height), device) for height in (4, 8, 16, 32)]
    by_filters = [estimate(network(filters=filters), device) for filters in (16, 32, 64)]
    for series in (by_height, by_filters):
        assert all(first.latency_s <= second.latency_s * 1.0001 for first, second in pairwise(series))
        assert all(first.energy_j <= second.energy_j * 1.0001 for first, second in pairwise(series))


@pytest.mark.parametrize("device", REAL)
def test_a_faster_clock_never_slows_and_memory_time_does_not_scale(device):
    clock = load_device(device).clock
    slow = estimate(build("dscnn_kws"), device, frequency_hz=clock.minimum.value)
    fast = estimate(build("dscnn_kws"), device, frequency_hz=clock.frequency.value)
    assert fast.latency_s <= slow.latency_s
    assert slow.latency_s <= fast.latency_s * clock.frequency.value / clock.minimum.value * 1.0001
    assert [layer.cycles for layer in slow.layers] == [layer.cycles for layer in fast.layers]


def test_flash_time_follows_the_wait_states():
    """An access takes 7 cycles at 280 MHz (VOS0, 44 MHz each) and 5 at 140 MHz (VOS2, 34 MHz each)."""
    slow = estimate(build("fc_autoencoder"), "stm32h7a3", frequency_hz=140e6)
    fast = estimate(build("fc_autoencoder"), "stm32h7a3")
    longer = [layer.memory_s * (5 / 140) / (7 / 280) for layer in fast.layers]
    assert [layer.memory_s for layer in slow.layers] == pytest.approx(longer)
    assert sum(layer.memory_s for layer in fast.layers) >= 264_192 / 32 * 9.4 / 280e6


@pytest.mark.parametrize("device", ["epyc-9v45", "jh7110", "spacemit-k1", "xeon-8275cl"])
def test_threads_speed_up_large_networks_at_most_by_their_number(device):
    times = [estimate(build("resnet50"), device, threads=threads).latency_s for threads in (1, 2, 4)]
    assert times[0] > times[1] > times[2]
    assert times[0] <= times[2] * 4


def test_threads_slow_down_what_forking_costs_more_than_it_gains():
    one = estimate(build("fc_autoencoder"), "jh7110", threads=1)
    four = estimate(build("fc_autoencoder"), "jh7110", threads=4)
    assert sum(layer.overhead_s for layer in four.layers) > sum(layer.overhead_s for layer in one.layers)


@pytest.mark.parametrize("device", REAL)
def test_batches_take_longer_but_no_longer_than_their_parts(device):
    one, four = estimate(build("resnet8"), device), estimate(build("resnet8"), device, batch=4)
    assert four.batch == 4
    assert four.macs == 4 * one.macs
    assert one.latency_s < four.latency_s
    assert four.latency_s <= 4 * one.latency_s * 1.3  # larger maps may leave a nearer memory
    assert four.peak_ram_bytes > one.peak_ram_bytes


def test_estimates_are_deterministic():
    assert estimate(build("resnet8"), "stm32h7a3") == estimate(build("resnet8"), "stm32h7a3")


def test_the_doubles_give_numbers_one_can_do_in_the_head():
    graph = build("dscnn_kws")
    nothing, unit = estimate(graph, "null"), estimate(graph, "unit")
    assert (nothing.latency_s, nothing.energy_j, nothing.average_power_w) == (0.0, 0.0, 0.0)
    assert unit.latency_s == pytest.approx(graph.macs * 1e-6)
    assert unit.energy_j == pytest.approx(graph.macs)


def test_generated_kernels_lie_between_the_peak_and_the_reference_kernels():
    """ResNet-8 on M-class cores: 0.5 cycles per MAC at peak, 6.8 with TensorFlow's reference kernels on an M4."""
    found = estimate(build("resnet8"), "stm32h7a3")
    assert 0.5 < found.latency_s * found.frequency_hz / found.macs < 6.8


def test_all_wrong_options_are_listed_at_once():
    with pytest.raises(InputError) as caught:
        estimate(build("resnet8"), "stm32h7a3", precision="fp16", batch=0, threads=2, frequency_hz=1e9)
    assert list(caught.value.problems) == [
        "precision: no 'fp16' kernels are generated; supported: int8, fp32",
        "batch: 0 inputs; expected at least 1",
        "threads: 2; expected 1 to 1, the cores of stm32h7a3",
        "frequency: 1000 MHz; expected 22 MHz to 280 MHz",
    ]


def test_an_unknown_runtime_or_precision_of_it_is_an_error_that_names_what_there_is():
    with pytest.raises(InputError) as caught:
        estimate(build("resnet8"), "stm32h7a3", runtime="x-cube-ai-11", batch=0)
    assert list(caught.value.problems) == [
        "runtime: 'x-cube-ai-11' is unknown; did you mean 'x-cube-ai-10'?",
        "batch: 0 inputs; expected at least 1",
    ]
    with pytest.raises(InputError) as caught:
        estimate(build("resnet8"), "stm32h7a3", runtime="x-cube-ai-10", precision="fp16")
    assert list(caught.value.problems) == ["precision: runtime x-cube-ai-10 has no 'fp16'; supported: int8"]


def test_an_operator_without_a_cost_stops_the_estimate_or_shows_its_share():
    graph = network(extra=Unmodelled("FFT2D"))
    with pytest.raises(InputError, match="operator 'fft2d' has no cost on stm32h7a3 \\(layers"):
        estimate(graph, "stm32h7a3")
    found = estimate(graph, "stm32h7a3", allow_uncovered=True)
    assert found.coverage == pytest.approx(1 - 1 / 5)
    assert [text.endswith("(fft2d)") for text in found.uncovered] == [True]
    assert len(found.layers) == 4


def test_an_operator_without_a_kernel_rests_on_a_rate_and_the_notes_say_so():
    found = estimate(network(extra=Mean((3,))), "stm32h7a3")
    (extra,) = (layer for layer in found.layers if layer.op == "mean")
    assert extra.cycles == 8 * 8 * 16 * 2  # elements of the convolution
    assert any("mean" in note for note in found.notes)


def test_a_function_of_one_value_is_priced_as_its_program():
    """On the M7 a byte store takes 2.4 cycles of its port: no lookup is faster, and none of 100 cycles is slower."""
    found = estimate(network(extra=Logistic()), "stm32h7a3")
    (logistic,) = (layer for layer in found.layers if layer.op == "logistic")
    assert 2.4 * 8 * 8 * 16 <= logistic.cycles < 5 * 8 * 8 * 16
    assert not any("logistic" in note for note in found.notes)


def test_a_reshape_is_free():
    found = estimate(network(), "jh7110")
    reshape = next(layer for layer in found.layers if layer.op == "reshape")
    assert (reshape.latency_s, reshape.energy_j, reshape.cycles) == (0.0, 0.0, 0.0)


def test_a_network_fits_where_weights_and_arena_do():
    assert estimate(build("resnet8"), "stm32h7a3").fits
    assert not estimate(build("resnet50"), "stm32h7a3").fits  # 25 MB of weights, 2 MiB of flash
    assert estimate(build("resnet50"), "jh7110").fits
    board = load_device("stm32h7a3")
    assert fits(board, 2 * 1024**2, 1024**2)
    assert not fits(board, 2 * 1024**2 + 1, 0)
    assert not fits(board, 0, 1024**2 + 1)


def test_peak_memory_holds_at_least_the_largest_layer():
    graph = build("resnet8")
    found = estimate(graph, "stm32h7a3")
    largest = max(
        sum(graph[name].elements for name in (*layer.inputs, *layer.outputs) if not graph[name].is_constant)
        for layer in graph.layers
        if layer.op == "conv2d"
    )
    assert found.peak_ram_bytes >= largest


def test_an_unknown_device_is_an_input_error():
    with pytest.raises(InputError, match="did you mean 'stm32h7a3'"):
        estimate(build("resnet8"), "stm32h7a")


@given(st.floats(0.1, 10.0))
@settings(max_examples=10, deadline=None)
def test_time_on_the_unit_device_is_inverse_to_its_clock(factor):
    unit = load_device("unit")
    clock = unit.clock.model_copy(
        update={
            name: getattr(unit.clock, name).model_copy(update={"value": 1e6 * factor})
            for name in ("frequency", "minimum", "maximum")
        }
    )
    found = estimate(build("fc_autoencoder"), replace(unit, clock=clock))
    assert found.latency_s == pytest.approx(found.macs / (1e6 * factor))


@pytest.mark.parametrize("device", [name for name in device_names() if name not in (*REAL, "null", "unit")])
def test_every_further_device_of_the_catalogue_has_an_estimate(device):
    found, chip = estimate(build("resnet8"), device), load_device(device)
    assert found.coverage == 1.0
    assert found.threads == chip.default_threads
    assert 0 < found.latency_low_s <= found.latency_s <= found.latency_high_s
    assert 0 < found.energy_low_j <= found.energy_j <= found.energy_high_j
    assert found.energy_j >= idle_power(chip, found.frequency_hz) * found.latency_s * (1 - 1e-12)
    assert found.macs / found.latency_s <= chip.peak_macs_per_s


def test_the_devices_that_are_tested_in_full_are_in_the_catalogue():
    assert set(REAL) <= set(device_names())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of shared models is not beside the repository")
@pytest.mark.parametrize("device", REAL)
def test_the_tiny_networks_of_mlperf_have_estimates(device):
    for path in sorted((SHARED / "models" / "mlperf_tiny").glob("*.tflite")):
        assert estimate(load(path), device).coverage == 1.0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of shared models is not beside the repository")
@pytest.mark.parametrize("device", REAL)
def test_layer_tables_have_estimates(device):
    table = SHARED / "measured" / "mcu_layers.csv"
    for name in ("DS-CNN KWS (MLPerf Tiny)", "ResNet v1 8 32x32x3"):
        found = estimate(load(f"{table}#{name}"), device)
        assert found.coverage == 1.0
        assert found.macs > 1_000_000
