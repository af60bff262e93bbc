"""Units of DaVinci chips: kernels that fuse, blocks of products, storage, and how what works at once adds up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.amounts import layer_amounts
from device_models.cores import load_core
from device_models.device import load_device
from device_models.estimate import Setting, prepared_for, working_set
from device_models.npu.kernels import conversions, fused, is_free
from device_models.npu.matrix import Product, diagonal_cycles, product_cycles, product_of, read_again
from device_models.npu.storage import stored_elements
from device_models.npu.vector import vector_cycles
from workloads.builder import GraphBuilder
from workloads.models import build
from workloads.operators import Add, Concat, Conv2d, DepthwiseConv2d, Gelu, Mish, Mul, Swish, Unmodelled

CORE = load_core("davinci-m200")
few = settings(max_examples=40, deadline=None)


def net(*operators, shape=(1, 14, 14, 32), channels=32):
    """Return a half-precision network of convolutions and what follows them."""
    builder = GraphBuilder("net")
    x = builder.input("x", shape, "float16")
    for operator in operators:
        wanted = [x]
        if isinstance(operator, Conv2d | DepthwiseConv2d):
            kind, last = type(operator), builder.tensors[x].shape[-1]
            taps = (channels, 3, 3, last) if kind is Conv2d else (1, 3, 3, last)
            wanted.append(builder.constant("w", taps, dtype="float16"))
        x = builder.layer(operator, wanted)
    return builder.build([x])


SAME = (1, 1, 1, 1)


@given(st.integers(1, 16), st.integers(1, 32), st.integers(1, 16))
@few
def test_rows_depth_and_columns_are_padded_to_whole_blocks(rows, depth_bytes, columns):
    assert product_cycles(Product(rows, depth_bytes, columns), CORE, 1) == product_cycles(Product(16, 32, 16), CORE, 1)


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 2000), st.integers(1, 20), st.sampled_from([1, 2, 8, 24])
)
@few
def test_products_take_at_least_their_share_of_the_peak_and_cores_never_less_than_one_all_together(
    rows, depth_bytes, columns, repeats, cores
):
    product = Product(rows, depth_bytes, columns, repeats)
    each = product_cycles(product, CORE, cores)
    assert each * cores * 16 * 32 * 16 >= rows * depth_bytes * columns * repeats
    assert each <= product_cycles(product, CORE, 1) * (1 + 1e-12)


def test_the_vendor_s_example_of_a_product_takes_its_256_blocks_beside_loads_and_drains():
    """128x64x128 in half precision: 8 * 4 * 8 blocks; loads of 32 blocks a side at 512 and 256 B/cycle; 64 sums out."""
    load = 32 * 512 / 512 + 32 * 512 / 256
    drain = 64 * 1024 / 512
    assert product_cycles(Product(128, 128, 128), CORE, 1) == pytest.approx(math.hypot(256, load, drain))


def test_a_depthwise_convolution_takes_a_block_for_every_tap_of_sixteen_channels():
    graph = net(DepthwiseConv2d(padding=SAME), shape=(1, 16, 16, 40))
    assert diagonal_cycles(graph, graph.layers[0], CORE, 1) == 16 * 3 * 9
    assert product_of(graph, graph.layers[0]) is None


@given(st.integers(5, 64))
@few
def test_channels_are_stored_in_blocks_of_32_bytes(channels):
    graph = net(Swish(), shape=(1, 3, 5, channels))
    assert stored_elements(graph, "x") == 15 * 16 * -(-channels // 16)


def test_sequences_are_stored_in_blocks_of_16_rows():
    graph = net(Swish(), shape=(2, 50, 32))
    assert stored_elements(graph, "x") == 2 * 64 * 32


def test_an_image_that_outgrows_the_nearest_memory_is_read_again_at_its_edges():
    small = net(Conv2d(padding=SAME))
    assert read_again(small, small.layers[0], CORE) == 1.0
    wide = net(Conv2d(padding=SAME), shape=(1, 572, 572, 64))
    held = (1048576 // 2) // (572 * 64 * 2)
    assert read_again(wide, wide.layers[0], CORE) == pytest.approx(held / (held - 2))


def test_what_follows_a_product_joins_its_kernel_unless_it_comes_as_several_operators():
    conv = Conv2d(padding=SAME)
    for follower, kernels in ((Mish(), 1), (Swish(), 2), (Gelu(), 2)):
        assert len(fused(net(conv, follower))) == kernels


def test_a_sum_ends_a_kernel_and_one_that_others_read_too_starts_its_own():
    builder = GraphBuilder("net")
    x = builder.input("x", (1, 4, 4, 16), "float16")
    w = builder.constant("w", (16, 1, 1, 16), dtype="float16")
    y = builder.layer(Conv2d(), [x, w])
    total = builder.layer(Add(), [y, x])
    joined = builder.build([builder.layer(Mish(), [total])])
    assert [len(kernel) for kernel in fused(joined)] == [2, 1]
    again = GraphBuilder("net")
    x = again.input("x", (1, 4, 4, 16), "float16")
    y = again.layer(Conv2d(), [x, again.constant("w", (16, 1, 1, 16), dtype="float16")])
    assert len(fused(again.build([again.layer(Add(), [y, y])]))) == 2


def test_resnet_50_becomes_a_kernel_for_each_convolution_and_four_more():
    assert len(fused(prepared_for(build("resnet50"), "fp16", 1))) == 53 + 4


@pytest.mark.parametrize(("batch", "free"), [(1, True), (2, False)])
def test_channels_of_one_image_are_joined_for_nothing(batch, free):
    builder = GraphBuilder("net")
    parts = [builder.input(name, (batch, 4, 4, 16), "float16") for name in "ab"]
    graph = builder.build([builder.layer(Concat(3), parts)])
    assert is_free(graph, graph.layers[0]) is free


@pytest.mark.parametrize(("channels", "kernels"), [(16, []), (24, [2])])
def test_channels_that_are_joined_inside_a_block_are_stored_apart_first(channels, kernels):
    builder = GraphBuilder("net")
    parts = [builder.input(name, (1, 4, 4, channels), "float16") for name in "ab"]
    graph = builder.build([builder.layer(Concat(3), parts)])
    assert list(conversions(graph).values()) == kernels
    assert is_free(graph, graph.layers[0]) is not bool(kernels)


def test_shuffled_channels_change_their_format_once_on_the_way_in_and_once_on_the_way_out():
    """Each of sixteen units joins 58, 116 or 232 channels, shuffles them, and mostly cuts them in halves."""
    graph = prepared_for(build("shufflenet_v2"), "fp16", 1)
    apart = conversions(graph)
    assert {layer.op for layer in graph.layers if layer.name in apart} == {"concat", "transpose", "slice"}
    assert sum(apart.values()) == 2 * 16
    assert not conversions(prepared_for(build("inception_v3"), "fp16", 1))


def test_weights_absorb_a_constant_factor():
    builder = GraphBuilder("net")
    x = builder.input("x", (1, 4, 4, 16), "float16")
    graph = builder.build([builder.layer(Mul(), [x, builder.constant("s", (1,), dtype="float16")])])
    assert is_free(graph, graph.layers[0])


def test_an_operator_without_a_formula_has_no_cost_rather_than_none():
    builder = GraphBuilder("net")
    x = builder.input("x", (1, 4, 4, 16), "float16")
    graph = builder.build([builder.layer(Unmodelled("Sorcery"), [x], shape=(1, 4, 4, 16))], executable=False)
    assert vector_cycles(graph, graph.layers[0], CORE, 1) is None


def test_the_parts_of_a_kernel_add_up_to_the_root_of_its_units_squares():
    """One convolution alone: matrix unit 0.8 attained, weights and activations by the chip's two memories."""
    graph = prepared_for(net(Conv2d(padding=SAME), shape=(1, 56, 56, 64), channels=64), "fp16", 1)
    chip = load_device("ascend310b1")
    found = layer_amounts(graph, graph.layers[0], Setting(chip, 1, 1.224e9), working_set(graph), "fp16").seconds
    cube_s = product_cycles(Product(56 * 56, 9 * 64 * 2, 64), chip.core, 1) / 0.8 / 1.224e9
    weights_s = 64 * 9 * 64 * 2 / 43.5e9
    activations_s = 2 * 56 * 56 * 64 * 2 / (256 * 1.224e9)
    parts = sum(found[name] or 0.0 for name in ("cube", "diagonal", "vector", "weights", "inner", "outer"))
    assert parts == pytest.approx(math.hypot(cube_s, weights_s + activations_s))
    assert found["calls"] == 3e-6
