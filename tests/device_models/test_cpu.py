"""CPUs: blocks in closed form, laws of threads, clocks and precisions, and the errors of their runtimes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_models.cpu.amounts import busiest, busy_clock_hz, cpu_amounts, fork_s, kept_bytes, kind_of
from device_models.cpu.blocks import Blocks, direct, tile_extent, winograd
from device_models.device import load_device
from device_models.estimate import Setting, estimate, prepared_for, working_set
from device_models.matching import device_of, find_runtime
from device_models.measured import Measured
from device_models.networks import find_models
from device_models.runtime import load_runtime, prior_for
from workloads.builder import GraphBuilder
from workloads.errors import InputError
from workloads.graph import layer_macs
from workloads.models import build
from workloads.operators import Conv2d

SERVER, AVX2 = load_device("epyc-9v45"), load_device("epyc-9v45-avx2")


def convolution(extent: int, inputs: int, outputs: int):
    """Return a network of one convolution of 3x3 pixels."""
    builder = GraphBuilder("net")
    x = builder.input("x", (1, extent, extent, inputs), "float32")
    weights = builder.constant("w", (outputs, 3, 3, inputs))
    bias = builder.constant("b", (outputs,))
    graph = builder.build([builder.layer(Conv2d(padding=(1, 1, 1, 1)), [x, weights, bias])])
    return graph, graph.layers[0]


def asked(graph, device, threads=1, precision="fp32", clock_hz=None, by_winograd=True):
    """Return what the layers of a network ask, as sums by quantity. [s]"""
    ready = prepared_for(graph, precision, 1)
    setting, working = Setting(device, threads, clock_hz or device.frequency_hz), working_set(ready)
    found = [
        cpu_amounts(ready, layer, setting, working, precision, by_winograd=by_winograd).seconds
        for layer in ready.layers
    ]
    return {name: sum(each[name] or 0.0 for each in found) for name in found[0]}


def test_a_direct_product_has_as_many_multiply_adds_as_the_layer():
    graph, layer = convolution(32, 64, 64)
    blocks = direct(graph, layer, layer_macs(graph, layer))
    assert (blocks.rows, blocks.columns, blocks.depth) == (64, 1024, 576)
    assert blocks.products == layer_macs(graph, layer) == 37_748_736


@pytest.mark.parametrize(("extent", "tile", "fewer"), [(32, 4, 4.0), (8, 2, 2.25)])
def test_winograd_saves_the_products_that_lavin_and_gray_say(extent, tile, fewer):
    """F(4x4, 3x3) multiplies 36 times for 144 products, F(2x2, 3x3) 16 times for 36; tables 1 and 2 of the paper."""
    graph, layer = convolution(extent, 64, 64)
    blocks = winograd(graph, layer)
    assert blocks.count == (tile + 2) ** 2
    assert layer_macs(graph, layer) / blocks.products == pytest.approx(fewer)
    assert blocks.weights / (64 * 64 * 9) == pytest.approx((tile + 2) ** 2 / 9)


def test_images_that_tiles_do_not_fill_waste_products():
    graph, layer = convolution(13, 64, 64)
    assert winograd(graph, layer).columns == 16  # 4x4 tiles cover 16x16 pixels


def test_few_channels_take_the_largest_tile_and_many_on_small_images_the_smallest():
    assert [tile_extent(32, 32, 56), tile_extent(256, 256, 28), tile_extent(512, 512, 7)] == [6, 4, 2]


def test_columns_behind_the_last_full_block_go_in_powers_of_two():
    assert [Blocks(1, columns, 1).products for columns in (1, 4, 8, 9, 15, 16)] == [8, 8, 8, 16, 32, 16]


@given(st.integers(1, 2048), st.sampled_from([1, 4, 8, 16]), st.integers(1, 64))
def test_the_busiest_core_does_at_least_its_share_and_at_most_what_one_more_vector_adds(channels, width, cores):
    share = busiest(channels, width, cores)
    assert share >= 1 / cores - 1e-12
    assert share <= 1 / cores + 2 * width / channels + 1e-12
    assert busiest(channels, width, cores + 1) <= share


@pytest.fixture(scope="module")
def resnet():
    return build("ncnn_resnet18")


def test_cycles_and_own_paths_never_grow_with_threads_and_forks_do(resnet):
    found = [asked(resnet, SERVER, threads) for threads in (1, 2, 4, 8, 16, 32)]
    for fewer, more in pairwise(found):
        for name in ("products", "winograd", "taps", "vectors", "functions", "streams", "passes", "copies"):
            assert more[name] <= fewer[name] * (1 + 1e-9), name
        assert more["regions"] > fewer["regions"]
    assert found[0]["regions"] == found[0]["shared"] == 0.0


def test_a_sibling_thread_adds_no_multiply_adds(resnet):
    half, every = (asked(resnet, SERVER, threads) for threads in (32, 64))
    assert every["products"] == half["products"]
    assert every["regions"] > half["regions"]


def test_threads_beyond_the_hardware_are_refused(resnet):
    with pytest.raises(InputError, match="threads: 65; expected 1 to 64, the hardware threads of epyc-9v45"):
        estimate(resnet, SERVER, runtime="ncnn-2026", precision="fp32", threads=65)


def test_a_device_without_vectors_and_peak_is_told_what_it_lacks(resnet):
    with pytest.raises(InputError, match="ncnn-2026 needs fp32_peak and vector"):
        estimate(resnet, "stm32h743", runtime="ncnn-2026", precision="fp32")


def test_half_the_clock_doubles_cycles_and_leaves_the_outer_memory_as_it_is(resnet):
    full, half = (asked(resnet, SERVER, clock_hz=clock) for clock in (4.3e9, 2.15e9))
    for name in ("products", "winograd", "arranged", "vectors", "calls"):
        assert half[name] == pytest.approx(2 * full[name])
    assert half["streams"] == pytest.approx(full["streams"])  # 47 MB of weights live in DRAM


def test_weights_of_fully_connected_layers_come_no_faster_than_the_memory_that_all_cores_share():
    """VGG-16 at 32 threads waits for 494 MB of weights, whatever else it does."""
    graph = build("ncnn_vgg16")
    found = estimate(graph, SERVER, runtime="ncnn-2026", precision="fp32", threads=32)
    slowest = sum(layer.latency_s for layer in found.layers if layer.op == "fully_connected")
    total = SERVER.memory["dram"].total_bandwidth.value
    assert slowest > 4 * 123_633_664 / total
    more = estimate(graph, SERVER, runtime="ncnn-2026", precision="fp32", threads=64)
    assert more.latency_s > 0.95 * found.latency_s


def test_more_threads_take_less_time_where_layers_are_large():
    times = [
        estimate(build("ncnn_vgg16"), SERVER, runtime="ncnn-2026", precision="fp32", threads=threads).latency_s
        for threads in (1, 2, 4, 8)
    ]
    assert times == sorted(times, reverse=True)
    assert times[0] / times[-1] < 8


def test_vectors_of_half_the_width_take_twice_the_cycles(resnet):
    wide, narrow = (asked(resnet, device) for device in (SERVER, AVX2))
    assert narrow["products"] == pytest.approx(2 * wide["products"], rel=0.01)  # 1000 classes fill no whole vectors
    assert narrow["streams"] == pytest.approx(wide["streams"])


def test_transformed_weights_of_8_bits_take_twice_the_bytes_of_plain_ones(resnet):
    """36 transformed numbers of two bytes for nine of one, in layers of 3x3 pixels; a quarter elsewhere."""
    ready = prepared_for(resnet, "fp32", 1)
    wide, plain = (kept_bytes(ready, "int8", by_winograd=flag) for flag in (True, False))
    single = kept_bytes(ready, "fp32", by_winograd=False)
    assert single == pytest.approx(4 * plain)
    assert 3 * plain < wide < 8 * plain


@pytest.mark.parametrize("model", ["ncnn_resnet50", "ncnn_mobilenet"])
def test_8_bits_are_faster_than_single_precision_on_one_thread(model):
    single, eight = (
        estimate(build(model), SERVER, runtime=name, precision=precision).latency_s
        for name, precision in (("ncnn-2026", "fp32"), ("ncnn-2026-int8", "int8"))
    )
    assert eight < single


def test_without_winograd_only_networks_of_3x3_convolutions_take_longer():
    def ratio(model):
        plain, fast = (
            estimate(build(model), SERVER, runtime=name, precision="fp32").latency_s
            for name in ("ncnn-2026-direct", "ncnn-2026")
        )
        return plain / fast

    assert ratio("ncnn_vgg16") > 1.5
    assert ratio("ncnn_mobilenet") == pytest.approx(1.0, abs=0.1)


def test_a_governor_goes_higher_only_where_the_nominal_clock_is_asked_for():
    device = load_device("ryzen-5700g")
    assert busy_clock_hz(Setting(device, 1, 3.8e9)) == 4.6e9
    assert busy_clock_hz(Setting(device, 8, 3.8e9)) == busy_clock_hz(Setting(device, 16, 3.8e9)) == 4.2e9
    assert busy_clock_hz(Setting(device, 1, 3.0e9)) == 3.0e9


def test_one_thread_forks_nothing_and_many_wait_for_the_last():
    times = [fork_s(Setting(SERVER, threads, 4.3e9)) for threads in (1, 2, 64)]
    assert times[0] == 0.0
    assert SERVER.overhead.fork_join.value < times[1] < times[2]


def row(**said) -> Measured:
    base = Measured(
        line=2, device="Azure D64as v7", core="", frequency_hz=None, threads=None, runtime="ncnn (benchncnn)",
        model="resnet18", input="", precision="fp32", batch=1, latency_s=1.0, energy_j=None, period_s=None,
        superseded=False, note="", source="",
    )  # fmt: skip
    return replace(base, **said)


def test_a_build_without_avx512_is_a_device_of_its_own():
    built = "x86-64 AVX2+FMA (AVX512/AVX-VNNI disabled at build)"
    assert device_of(row()).name == "epyc-9v45"
    assert device_of(row(isa="x86-64 AVX512+VNNI")).name == "epyc-9v45"
    assert device_of(row(isa=built)).name == "epyc-9v45-avx2"
    assert AVX2.core.instruction_sets == ("avx2",)


@pytest.mark.parametrize(
    ("year", "precision", "expected"),
    [(2020, "fp32", "ncnn-2020"), (2021, "fp32", "ncnn-2022"), (2023, "int8", "ncnn-2022-int8"),
     (2024, "fp32", "ncnn-2026"), (2026, "int8", "ncnn-2026-int8"), (None, "fp32", "ncnn-2026")],
)  # fmt: skip
def test_the_year_of_a_row_tells_the_generation_of_kernels(year, precision, expected):
    for device in ("ryzen-5700g", "threadripper-3970x", "intel-n100"):  # the last is in no row
        assert find_runtime("ncnn (benchncnn)", precision, load_device(device), year).name == expected


def test_cores_without_vectors_have_kernels_of_their_own():
    assert find_runtime("ncnn (benchncnn)", "fp32", load_device("jh7110"), 2023).name == "ncnn-riscv"
    assert prior_for("u74", "fp32").name == "cpu-scalar"
    assert prior_for("zen4", "int8").name == "cpu-int8"
    assert prior_for("zen4", "fp32").name == "cpu"


def held_out(name, wanted=lambda row: True):
    """Return the recorded errors of rows predicted without their families."""
    return np.array([abs(row.held_out / row.measured - 1) for row in load_runtime(name).rows if wanted(row)])


def test_one_thread_of_a_server_is_predicted_within_eight_per_cent():
    alone = lambda row: row.threads == 1 and row.device == "epyc-9v45"  # noqa: E731
    errors = np.concatenate([held_out("ncnn-2026", alone), held_out("ncnn-2026-int8", alone)])
    assert len(errors) == 12
    assert np.median(errors) <= 0.08
    assert np.quantile(errors, 0.9) <= 0.20
    single = held_out("ncnn-2026", lambda row: row.threads == 1)
    assert np.median(single) <= 0.08
    assert np.quantile(single, 0.9) <= 0.20
    assert np.median(held_out("ncnn-2026-int8", lambda row: row.threads == 1)) <= 0.15


@pytest.mark.parametrize("threads", [2, 4, 8, 16, 32, 64])
def test_many_threads_are_predicted_within_twelve_per_cent(threads):
    names = ("ncnn-2026", "ncnn-2026-int8")
    errors = np.concatenate([held_out(name, lambda row: row.threads == threads) for name in names])
    assert len(errors) == 24
    assert np.median(errors) <= 0.12


@pytest.mark.parametrize("name", ["ncnn-2026", "ncnn-2026-int8"])
def test_each_precision_is_predicted_within_twelve_per_cent_at_two_to_sixty_four_threads(name):
    errors = held_out(name, lambda row: row.threads > 1)
    assert np.median(errors) <= 0.12
    assert np.quantile(errors, 0.9) <= 0.25


def test_other_machines_are_predicted_within_fifteen_per_cent():
    assert np.median(held_out("ncnn-2022")) <= 0.15
    assert np.median(held_out("ncnn-2022-int8")) <= 0.15
    assert np.median(held_out("ncnn-2020")) <= 0.15


def test_scalar_cores_and_xnnpack_are_predicted_within_eight_per_cent():
    for name, rows in {"ncnn-riscv": 14, "ncnn-riscv-int8": 10, "tflite-xnnpack": 41}.items():
        errors = held_out(name)
        assert len(errors) == rows
        assert np.median(errors) <= 0.08
        assert np.quantile(errors, 0.9) <= 0.15


def test_groups_of_channels_go_one_after_the_other():
    """RegNetY-400M has convolutions of up to 55 groups, each of which forks: many threads are slower than one."""
    graph = build("ncnn_regnety_400m")
    alone, many = (
        estimate(graph, SERVER, runtime="ncnn-2026", precision="fp32", threads=threads).latency_s for threads in (1, 64)
    )
    assert many > alone


def test_a_group_has_operands_of_its_own_and_too_few_channels_for_winograd():
    builder = GraphBuilder("net")
    x = builder.input("x", (1, 32, 32, 64), "float32")
    weights = builder.constant("w", (64, 3, 3, 8))
    graph = builder.build(
        [builder.layer(Conv2d(padding=(1, 1, 1, 1), groups=8), [x, weights, builder.constant("b", (64,))])]
    )
    blocks = direct(graph, graph.layers[0], layer_macs(graph, graph.layers[0]))
    assert (blocks.groups, blocks.depth, blocks.operands) == (8, 72, 32 * 32 * 9 * 64)
    found = [asked(graph, SERVER, by_winograd=flag) for flag in (True, False)]
    assert found[0] == found[1]
    assert found[0]["winograd"] == 0.0
    assert found[0]["products"] > 0.0
    assert kind_of(graph, graph.layers[0]) == "conv"  # so that its products have a term


def test_rows_of_tokens_are_a_product_of_matrices_and_a_single_row_is_not():
    """ViT-B's 16.9 G multiply-adds cannot take less than the peak of 32 a cycle allows."""
    found = estimate(build("ncnn_vision_transformer"), SERVER, runtime="ncnn-2026", precision="fp32")
    assert found.latency_s > found.macs / 32 / 4.3e9


@pytest.mark.parametrize(
    ("model", "runtime", "expected"),
    [
        ("resnet50", "ncnn (benchncnn)", "ncnn_resnet50"),
        ("resnet50_int8", "ncnn (benchncnn) 20260113", "ncnn_resnet50"),
        ("yolo-fastest-1.1", "ncnn (benchncnn)", "ncnn_yolo-fastest-1.1"),
        ("resnet50", "TFLite vmaster (xnnpack)", "resnet50"),
    ],
)
def test_rows_of_ncnn_mean_the_networks_of_its_benchmark(model, runtime, expected):
    assert find_models([]).find(model, runtime) == expected
