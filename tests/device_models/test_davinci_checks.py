"""DaVinci cores against others' figures; the page ``device_models/cores/checks.md`` tells them in words."""

from __future__ import annotations

import math
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.cores import Core, cost, load_core
from workloads.codegen import generate
from workloads.codegen.specs import ConvSpec
from workloads.legality import check
from workloads.program import Address, Buffer, Instruction, Loop, Program

if TYPE_CHECKING:
    from pathlib import Path

ARRAY = """
schema = 1
title = "A plain array"
model = "davinci"
instruction_sets = ["davinci"]
repeat = ["256 B", "array"]
burst = ["32 B", "array"]
latency = ["0 cycle", "array"]
[parameters]
l0a_bytes = 1000000000
l0b_bytes = 1000000000
l0c_bytes = 1000000000
[band]
latency = [1.0, "array"]
energy = [1.0, "array"]
[cube]
instructions = ["mmad_s8"]
rows = [{rows}, "array"]
depth = ["{depth} B", "array"]
columns = [{columns}, "array"]
start = ["{start} cycle", "array"]
[scalar]
instructions = ["s_loop"]
issue = ["0 cycle", "array"]
[sources]
array = "Derived: an array that takes one row, or one step of depth, per cycle, and fills and drains for every tile"
"""


def array(folder: Path, **cube: int) -> Core:
    """Return a core that is nothing but a systolic array."""
    path = folder / "array.toml"
    path.write_text(ARRAY.format(**cube), encoding="utf-8")
    return load_core.__wrapped__(str(path))


def weight_stationary(folder: Path, rows: int, columns: int) -> Core:
    """Return an array that loads rows x columns weights, then takes one row of the input per cycle."""
    return array(folder, rows=1, depth=rows, columns=columns, start=2 * rows + columns - 2)


def output_stationary(folder: Path, rows: int, columns: int) -> Core:
    """Return an array that keeps rows x columns sums and takes one step of depth per cycle."""
    return array(folder, rows=rows, depth=1, columns=columns, start=rows + columns - 2)


def parts(extent: int, size: int) -> list[tuple[int, int]]:
    """Cut an extent into (size, times): whole pieces, then the rest."""
    return [(piece, times) for piece, times in ((size, extent // size), (extent % size, 1)) if piece and times]


def tiled(core: Core, product: tuple[int, int, int], tile: tuple[int, int, int]) -> Program:
    """Return a product (m, k, n) as a loop nest of cube instructions of at most (m, k, n) each."""
    m, k, n = product
    buffers = (Buffer("a", m * k, "l0a"), Buffer("b", k * n, "l0b"), Buffer("c", 4 * m * n, "l0c"))
    operands = Address("c"), (Address("a"), Address("b"))
    nests = []
    for (rows, above), (depth, deep), (columns, across) in (
        (x, y, z) for x in parts(m, tile[0]) for y in parts(k, tile[1]) for z in parts(n, tile[2])
    ):
        product_of_tile = Instruction("mmad_s8", *operands, shape=(rows, depth, columns))
        nests.append(Loop("m", above, (Loop("k", deep, (Loop("n", across, (product_of_tile,)),)),)))
    program = Program("array", core.isa(), buffers, tuple(nests))
    check(program)
    return program


@settings(max_examples=30, deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300)), st.integers(1, 40), st.integers(1, 40))
def test_a_cube_as_a_plain_array_takes_the_cycles_of_the_systolic_closed_forms(
    tmp_path_factory, product, rows, columns
):
    # SCALE-Sim's CALC mode, both reproduced on 117 of 117 of its layer runs; it numbers cycles from 0.
    folder = tmp_path_factory.mktemp("array")
    m, k, n = product
    core = weight_stationary(folder, rows, columns)
    folds = math.ceil(k / rows) * math.ceil(n / columns)
    assert cost(tiled(core, product, (m, rows, columns)), core).cycles - 1 == folds * (2 * rows + columns + m - 2) - 1
    core = output_stationary(folder, rows, columns)
    folds = math.ceil(m / rows) * math.ceil(n / columns)
    assert cost(tiled(core, product, (rows, k, columns)), core).cycles - 1 == folds * (k + rows + columns - 2) - 1


# ResNet-18 as scalesim-project/SCALE-Sim@1d62b68 ships it, without padding: height, kernel, channels, filters, stride
RESNET_18 = (
    (224, 7, 3, 64, 2), *((56, 3, 64, 64, 1),) * 4,
    (56, 3, 64, 128, 2), (28, 3, 128, 128, 1), (56, 1, 64, 128, 2), *((28, 3, 128, 128, 1),) * 2,
    (28, 3, 128, 256, 2), (14, 3, 256, 256, 1), (28, 1, 128, 256, 2), *((14, 3, 256, 256, 1),) * 2,
    (14, 3, 256, 512, 2), (7, 3, 512, 512, 1), (14, 1, 256, 512, 2), *((7, 3, 512, 512, 1),) * 2,
    (1, 1, 512, 1000, 1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "size", "cycles"),
    [("weights", 128, 417_628), ("weights", 16, 7_885_563), ("sums", 128, 262_370)],
)
def test_a_whole_network_on_a_plain_array_takes_what_scale_sim_measures(tmp_path, flow, size, cycles):
    # SCALE-Sim 3.0.0, CALC mode: 71 to 409 s of simulation each
    core = (weight_stationary if flow == "weights" else output_stationary)(tmp_path, size, size)
    total, macs = 0.0, 0
    for extent, kernel, channels, filters, stride in RESNET_18:
        product = (math.ceil((extent - kernel + stride) / stride) ** 2, kernel * kernel * channels, filters)
        tile = (product[0], size, size) if flow == "weights" else (size, product[1], size)
        total += cost(tiled(core, product, tile), core).cycles - 1
        macs += math.prod(product)
    assert macs == 1_471_181_568
    assert total == cycles


def test_the_published_example_of_a_product_is_met():
    # hw-native-sys/pto-isa@3186c381bd49:include/pto/costmodel: 128 x 64 x 128 in half precision, so 128 bytes deep
    core = load_core("davinci-c220")
    program = tiled(core, (128, 128, 128), (128, 128, 128))
    assert cost(program, core).by_resource["CUBE"] == 262


def published_kernel(size: int) -> Program:
    """Return one of 24 cores' share of a published product of square half-precision matrices, with its tiling.

    Half precision is as deep in bytes as twice the bytes: the same blocks, the same moves.
    """
    core = load_core("davinci-c220")
    m, n, k = size // 4, size // 6, 2 * size
    base, step = (128, 128, 256), 4
    deep = step * base[1]
    sizes = {"l1_a": base[0] * deep, "l1_b": base[2] * deep, "l0a": base[0] * base[1], "l0b": base[1] * base[2]}
    buffers = (
        Buffer("a", m * k, "global", "input"), Buffer("b", n * k, "global", "weights"),
        Buffer("c", 4 * m * n, "global", "output"), Buffer("bias", 4 * base[2], "bias_table"),
        *(Buffer(name, nbytes, name.split("_")[0], copies=2) for name, nbytes in sizes.items()),
        Buffer("l0c", 4 * base[0] * base[2], "l0c"),
    )  # fmt: skip

    def move(op, target, source, rows, elements, pitches):
        return Instruction(op, target, (source,), shape=(rows, elements, *pitches))

    def loop(variable, trips, *body):
        return Loop(variable, trips, (*body, Instruction("s_loop")))

    at = {"base": base[1]}
    products = loop(
        "base", step,
        move("img2col_l0a", Address("l0a"), Address("l1_a").plus(**at), base[0], base[1], (deep, base[1])),
        move("load2d_l0b", Address("l0b"), Address("l1_b").plus(**at), base[2], base[1], (deep, base[1])),
        Instruction("mmad_s8", Address("l0c"), (Address("l0a"), Address("l0b")), shape=base),
    )  # fmt: skip
    depth = loop(
        "k", k // deep,
        move("mte2_l1", Address("l1_a"), Address("a").plus(m=base[0] * k, k=deep), base[0], deep, (k, deep)),
        move("mte2_l1", Address("l1_b"), Address("b").plus(n=base[2] * k, k=deep), base[2], deep, (k, deep)),
        products,
    )  # fmt: skip
    out = Address("c").plus(m=4 * base[0] * n, n=4 * base[2])
    tile = (
        move("bias_l0c", Address("l0c"), Address("bias"), base[0], base[2], (0, 4 * base[2])),
        depth,
        move("fixpipe_s32", out, Address("l0c"), base[0], base[2], (4 * base[2], 4 * n)),
    )
    nest = loop("n", n // base[2], loop("m", m // base[0], *tile))
    program = Program(f"gemm_{size}", core.isa(), buffers, (nest,), m * n * k)
    check(program)
    return program


# hw-native-sys/pto-isa@3186c381bd49:kernels/manual/a2a3/gemm_performance/README.md, measured: time, cube's share of it
@pytest.mark.parametrize(
    ("size", "measured_s", "cube_share", "error", "cube_error"),
    [
        (1536, 38.8e-6, 0.545, 0.29, 0.05),  # 11 us more than the pipeline takes: what starting a kernel costs
        (3072, 206.7e-6, 0.790, 0.03, 0.02),
        (6144, 1506.0e-6, 0.867, 0.06, 0.02),
        (7680, 3168.0e-6, 0.806, 0.03, 0.02),
    ],
)
def test_a_measured_product_of_large_matrices_is_predicted(size, measured_s, cube_share, error, cube_error):
    found = cost(published_kernel(size), load_core("davinci-c220"))
    clock_hz = 1.85e9
    assert found.cycles / clock_hz == pytest.approx(measured_s, rel=error)
    assert found.by_resource["CUBE"] / clock_hz == pytest.approx(cube_share * measured_s, rel=cube_error)
    assert found.bound == "MTE2"  # measured: loads take 72 to 98 % of the time, more than any other


# CANN 8.1.RC1 platform_config, leideng/CANN-8.1.RC1@551ed27c2928: KiB of L1, L0A, L0B, L0C, UB; B/cycle of L2 read
@pytest.mark.parametrize(
    ("name", "sizes", "fixpipe", "l2_read"),
    [
        ("davinci-m100", (1024, 64, 64, 256, 248), False, 128),
        ("davinci-m300", (1024, 64, 64, 128, 248), True, 256),
        ("davinci-m200", (1024, 64, 64, 256, 256), False, 114),
        ("davinci-c220", (512, 64, 64, 128, 192), True, 110),
    ],
)
def test_each_class_has_the_buffers_of_its_platform_file(name, sizes, fixpipe, l2_read):
    core = load_core(name)
    spaces = ("l1", "l0a", "l0b", "l0c", "ub")
    assert tuple(core.isa().parameters[f"{space}_bytes"] // 1024 for space in spaces) == sizes
    assert (core.isa().parameters["fixpipe_buffer_bytes"] > 0) is fixpipe
    rate = next(row.rate for row in core.timing.move if "mte2_l1" in row.instructions)
    assert rate.highest == l2_read  # on the 910B the published cost model, which is lower, is taken
    assert rate.value <= l2_read


LAYERS = {
    "3x3 64 to 64, 56x56": ConvSpec(1, 56, 56, 64, 56, 56, 64, (3, 3), padding=(1, 1)),
    "1x1 256 to 256, 56x56": ConvSpec(1, 56, 56, 256, 56, 56, 256, (1, 1)),
    "3x3 512 to 512, 7x7": ConvSpec(1, 7, 7, 512, 7, 7, 512, (3, 3), padding=(1, 1)),
}
PEAK = 16 * 32 * 16  # int8 products per cycle of every class


def shares(name: str) -> list[str]:
    """Return the cells of one core in the page's table of generated convolutions."""
    core = load_core(name)
    cells = []
    for spec in LAYERS.values():
        program = generate(spec, core.isa())
        found = cost(program, core)
        cells.append(f"{program.macs / PEAK / found.cycles:.0%} {found.bound}")
    return cells


@pytest.mark.parametrize("name", ["davinci-m100", "davinci-m200", "davinci-m300", "davinci-c220"])
def test_the_page_tells_the_share_of_the_peak_that_generated_convolutions_reach(name):
    page = (files("device_models.cores") / "checks.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
    assert [cell.strip() for cell in row.split("|")][3:6] == shares(name)
