import math
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_models.cores import cost, load_core
from device_models.cores.davinci import mad_cycles
from device_models.cores.davinci_tables import known
from device_models.device import load_device
from device_models.estimate import estimate
from workloads import models
from workloads.codegen import davinci
from workloads.codegen.specs import ConvSpec, CopySpec, ElementwiseSpec, MatrixSpec, PoolSpec
from workloads.errors import InputError
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction, Loop, Program, walk

CORE = load_core("davinci-m300")
ISA = CORE.isa()
LATENCY = 340  # cycles of the first access to global memory, in the core's file
FEW = settings(max_examples=25, deadline=None)


def priced(spec):
    return cost(davinci.generate(spec, ISA), CORE)


def test_a_half_precision_product_costs_what_the_published_example_says():
    # hw-native-sys/pto-isa cost model: 128 x 64 x 128 in fp16 is 8 * 4 * 8 + 6 = 262 cycles
    assert mad_cycles(CORE.timing.cube, (128, 64, 128), 2) == 262


@given(st.integers(1, 300), st.integers(1, 600), st.integers(1, 300), st.sampled_from([1, 2, 4]))
def test_a_product_takes_one_cycle_per_block_and_six_to_start(m, k, n, size):
    expected = math.ceil(m / 16) * math.ceil(k * size / 32) * math.ceil(n / 16) + 6
    assert mad_cycles(CORE.timing.cube, (m, k, n), size) == expected


def test_a_single_tile_passes_all_queues_one_after_the_other():
    # image, bias, words and weights come in at 256 B/cycle; A moves at 512, B at 256; one block + 6; sums leave at 128
    found = priced(MatrixSpec(16, 32, 16))
    moved_in = (16 * 32 + 16 * 4 + 16 * 8 + 32 * 16) / 256
    operands = 16 * 32 / 512 + 32 * 16 / 256
    product, out = 1 + 6, 16 * 16 * 4 / 128
    assert found.by_resource["MTE2"] == moved_in
    assert found.by_resource["MTE1"] == operands
    assert found.by_resource["CUBE"] == product
    assert found.by_resource["FIXPIPE"] == out
    instructions = (
        9  # bounds, four moves in, two to the operand buffers, product, fixpipe; the bias belongs to the product
    )
    assert found.by_resource["SCALAR"] == instructions
    serial = moved_in + operands + product + out
    assert serial + LATENCY <= found.cycles <= serial + LATENCY + instructions


@FEW
@given(st.integers(1, 600), st.integers(1, 3000), st.integers(1, 600))
def test_the_cube_is_busy_for_its_tiles_in_closed_form(rows, depth, columns):
    program = davinci.generate(MatrixSpec(rows, depth, columns), ISA)
    tiles = 0
    for instruction, loops in walk(program.body):
        if instruction.op == "mmad_s8":
            m, k, n = instruction.shape[:3]
            trips = math.prod(loop.trips for loop in loops)
            tiles += trips * (math.ceil(m / 16) * math.ceil(k / 32) * math.ceil(n / 16) + 6)
    found = cost(program, CORE)
    assert found.by_resource["CUBE"] == tiles
    assert tiles >= rows * depth * columns / 8192  # never more than 16 x 32 x 16 products per cycle


def test_a_large_product_runs_at_the_rate_of_the_cube():
    found = priced(MatrixSpec(4096, 4096, 4096))
    assert found.bound == "CUBE"
    assert 1.0 <= found.cycles / (4096**3 / 8192) < 1.1


SPECS = [
    ConvSpec(1, 56, 56, 64, 56, 56, 64, (3, 3), padding=(1, 1)),
    ConvSpec(2, 112, 112, 32, 112, 112, 32, (3, 3), padding=(1, 1), depthwise=True),
    ConvSpec(1, 224, 224, 3, 112, 112, 64, (7, 7), (2, 2), (3, 3)),
    MatrixSpec(1, 25088, 4096),
    MatrixSpec(16, 200_000, 64),
    PoolSpec("max", 1, 112, 112, 64, 56, 56, (3, 3), (2, 2), (1, 1)),
    PoolSpec("average", 1, 7, 7, 2048, 1, 1, (7, 7), (1, 1)),
    ElementwiseSpec("add", 802_816, 802_816),
    ElementwiseSpec("mul", 112 * 112 * 32, 32),
    ElementwiseSpec("requantize", 1000, 1000),
    CopySpec(100_000, 7),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_time_lies_between_the_busiest_queue_and_all_queues_in_turn(spec):
    found = priced(spec)
    busy = found.by_resource
    assert max(busy.values()) + LATENCY <= found.cycles <= sum(busy.values()) + LATENCY + 1e-6
    assert busy[found.bound] == max(busy.values()) == found.by_cause["issue"]


@FEW
@given(
    st.integers(1, 3),
    st.integers(3, 40),
    st.integers(1, 80),
    st.integers(1, 80),
    st.sampled_from([1, 3]),
    st.booleans(),
)
@example(batch=3, size=9, channels=10, outputs=3, taps=1, depthwise=False)
@example(batch=5, size=7, channels=69, outputs=8, taps=1, depthwise=False)
def test_more_work_never_takes_less_time(batch, size, channels, outputs, taps, depthwise):
    pad = taps // 2
    spec = ConvSpec(batch, size, size, channels, size, size, outputs, (taps, taps), padding=(pad, pad))
    if depthwise:
        spec = replace(spec, channels_out=channels, depthwise=True)
    assert priced(replace(spec, batch=batch + 1)).cycles > priced(spec).cycles
    assert priced(replace(spec, batch=2 * batch)).cycles <= 2 * priced(spec).cycles * 1.35


@FEW
@given(st.integers(1, 200_000), st.integers(1, 50_000))
def test_more_elements_never_take_less_time(elements, more):
    small, large = (priced(ElementwiseSpec("add", size, size)) for size in (elements, elements + more))
    assert small.cycles <= large.cycles


def test_whole_blocks_cost_nothing_extra_and_one_channel_more_costs_a_block():
    def cube(channels, outputs):
        return priced(ConvSpec(1, 16, 16, channels, 16, 16, outputs, (1, 1))).by_resource["CUBE"]

    assert cube(33, 16) > cube(32, 16) == cube(17, 16)
    assert cube(32, 17) > cube(32, 16) == cube(32, 1)


def test_a_vector_instruction_costs_its_start_and_its_repeats():
    # 300 half-precision lanes are three repeats of 128: binary 10 + 2 * 3 + 14
    buffers = (Buffer("ub_a", 600, "ub"), Buffer("ub_b", 600, "ub"))
    add = Instruction("vadd_f16", Address("ub_a"), (Address("ub_a"), Address("ub_b")), count=300)
    program = Program("add", ISA, buffers, (add,))
    assert cost(program, CORE).by_resource["VECTOR"] == 10 + 2 * 3 + 14


def test_short_runs_cost_whole_bursts():
    # 100 runs of 7 bytes fetched apart take a 32-byte burst each; the way out is dense
    found = priced(CopySpec(700, 7))
    assert found.by_resource["MTE2"] == 100 * 32 / 256
    assert found.by_resource["MTE3"] == math.ceil(700 / 32) * 32 / 128


def test_a_loop_around_one_move_is_one_instruction_with_a_stride():
    move = Instruction("img2col_l0a", Address("a"), (Address("l"),), shape=(4, 32, 32, 32))
    buffers = (Buffer("l", 1024, "l1"), Buffer("a", 1024, "l0a"))
    nest = (Loop("y", 3, (Loop("x", 3, (move, Instruction("s_loop"))), Instruction("s_loop"))),)
    found = cost(Program("moves", ISA, buffers, nest), CORE)
    assert found.by_resource["SCALAR"] == 1
    assert found.by_resource["MTE1"] == 9 * 4 * 32 / 512


THROUGH_THE_VECTOR_QUEUE = {"broadcast_l0c", "move_ub_s32", "dequantize_ub_s8"}
BY_FIXPIPE = {"fixpipe_s8", "fixpipe_s32", "bias_l0c", "mte2_bias", "mte2_quant"}


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("davinci-m100", BY_FIXPIPE | {"vgather_f16", "load2d_transpose_l0b"}),
        ("davinci-m200", BY_FIXPIPE | {"load2d_transpose_l0b"}),
        ("davinci-m300", THROUGH_THE_VECTOR_QUEUE),
        ("davinci-c220", THROUGH_THE_VECTOR_QUEUE),
    ],
)
def test_every_instruction_of_the_set_that_a_core_has_is_timed_once(name, lacking):
    assert sorted(known(load_core(name).timing)) == sorted(load_isa("davinci").instructions.keys() - lacking)


def test_an_instruction_without_a_timing_is_named():
    unknown = replace(ISA, instructions={**ISA.instructions, "vexp_f16": ISA.meaning("vmax_f16")})
    program = Program("exp", unknown, (), (Instruction("vexp_f16", "x0", ("x0", "x1")),))
    with pytest.raises(InputError, match="'vexp_f16' of davinci has no timing"):
        cost(program, CORE)


def test_the_peak_of_the_310b1_is_the_official_one():
    # 20 TOPS int8 (hiascend.com npusmi_090); two operations per product
    device = load_device("ascend310b1")
    assert 2 * device.peak_macs_per_s == pytest.approx(20e12, rel=0.01)
    assert load_device("ascend310b1").core.name == "davinci-m300"


def test_the_buffers_of_the_core_are_those_of_the_platform_file():
    sizes = {"l0a": 64, "l0b": 64, "l0c": 128, "l1": 1024, "ub": 248}  # KiB
    assert {name: ISA.parameters[f"{name}_bytes"] / 1024 for name in sizes} == sizes


def test_a_network_is_estimated_with_a_wide_band_and_bounded_power():
    found = estimate(models.build("resnet8"), "ascend310b1")
    assert found.coverage == 1.0
    assert found.latency_low_s <= 0.6 * found.latency_s
    assert found.latency_high_s >= 1.6 * found.latency_s
    # idle power, and at the very most 1 pJ per product at the peak rate beside the memory's share
    assert 5.5 <= found.average_power_w < 5.5 + 10.03 + 43.5e9 * 8 * 6e-12


def test_two_images_take_at_most_twice_the_time_of_one_and_less_per_image_than_launching_twice():
    graph = models.build("resnet8")
    one, two = (estimate(graph, "ascend310b1", batch=batch) for batch in (1, 2))
    assert one.latency_s < two.latency_s < 2 * one.latency_s
