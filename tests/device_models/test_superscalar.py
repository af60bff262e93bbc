"""The superscalar model equals measured loops and instruction tables, and its port bound is the true optimum."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.cores import cost, load_core
from device_models.cores.sharing import port_loads
from device_models.cores.superscalar import block_cost
from device_models.cores.timing import issues_of, row_of
from workloads.errors import InputError
from workloads.program import Address, Buffer, Instruction, Loop, Program

CONTROL = (Instruction("add"), Instruction("sub"), Instruction("jnz"))
I = Instruction  # noqa: E741 - as in assembly listings


def at(offset: int) -> Address:
    return Address("b", offset)


def steady(core_name: str, block, set_name: str = "avx512-vnni") -> float:
    core = load_core(core_name)
    return block_cost(issues_of(tuple(block), core, core.isa(set_name)), core).steady


def dot(accumulators: int, repeat: int):
    """Load 64 values, multiply by 64 weights in memory, ``repeat`` times over ``accumulators`` sums."""
    for index in range(repeat):
        yield I("vmovdqu8.load", f"zmm{8 + index}", (at(64 * index),))
        yield I("vpdpbusd", f"zmm{index % accumulators}", (f"zmm{8 + index}", at(64 * index)))


# Measured on a Zen 5 (EPYC Turin) virtual machine: median of 3 runs x 101 samples, cycles per iteration.
MEASURED = {
    "four sums of VPDPBUSD": (4.042, [*dot(4, 4), *CONTROL]),
    "one sum of VPDPBUSD": (8.006, [*dot(1, 2), *CONTROL]),
    "4 x 16 product tile": (
        4.029,
        [
            I("vmovdqu8.load", "zmm8", (at(0),)),
            *(
                each
                for row in range(4)
                for each in (
                    I("vpbroadcastd.load", f"zmm{16 + row}", (at(64 + 4 * row),)),
                    I("vpdpbusd", f"zmm{row}", (f"zmm{16 + row}", "zmm8")),
                )
            ),
            *CONTROL,
        ],
    ),
    "ReLU of 128 bytes": (
        2.022,
        [
            *(
                each
                for half in range(2)
                for each in (
                    I("vmovdqu8.load", f"zmm{half}", (at(64 * half),)),
                    I("vpmaxsb", f"zmm{half}", (f"zmm{half}", "zmm8")),
                    I("vmovdqu8.store", at(64 * half), (f"zmm{half}",)),
                )
            ),
            *CONTROL,
        ],
    ),
}


@pytest.mark.parametrize("name", MEASURED)
def test_zen5_loops_are_predicted_within_five_percent(name):
    measured, block = MEASURED[name]
    assert steady("zen5", block) == pytest.approx(measured, rel=0.05)


def independent(mnemonic: str, prefix: str, count: int = 12):
    """Return many copies of an instruction that do not depend on each other."""
    if mnemonic.endswith(".load"):
        return [I(mnemonic, f"{prefix}{index}", (at(0),)) for index in range(count)]
    if mnemonic.endswith(".store"):
        return [I(mnemonic, at(0), (f"{prefix}{index}",)) for index in range(count)]
    return [I(mnemonic, f"{prefix}{index}", (f"{prefix}14", f"{prefix}15")) for index in range(count)]


@pytest.mark.parametrize(
    ("core", "isa", "mnemonic", "cycles"),
    [  # reciprocal throughputs: Zen 5 measured, Cascade Lake from OSACA (uops.info)
        ("zen5", "avx512-vnni", "vpaddd", 0.25),
        ("zen5", "avx512-vnni", "vpmulld", 0.5),
        ("zen5", "avx512-vnni", "vmovdqu8.load", 0.5),
        ("zen5", "avx512-vnni", "vmovdqu8.store", 1.0),
        ("zen5", "avx2", "vmovdqu.store", 0.5),
        ("zen5", "avx2", "vpmaddwd", 0.5),
        ("zen5", "avx2", "vpmovsxbw.load", 0.5),
        ("zen5", "avx2", "vpbroadcastd.load", 0.5),
        ("cascade-lake", "avx512-vnni", "vpaddd", 0.5),
        ("cascade-lake", "avx512-vnni", "vpmulld", 1.0),
        ("cascade-lake", "avx2", "vpmaddwd", 0.5),
        ("skylake-sp", "avx512-vnni", "vpaddd", 0.5),  # OSACA: skx
        ("skylake-sp", "avx2", "vpmulld", 1.0),
        ("skylake-sp", "avx2", "vpmovsxbw.load", 1.0),
        ("ice-lake-sp", "avx512-vnni", "vpaddd", 0.5),  # OSACA: icx, spr
        ("ice-lake-sp", "avx512-vnni", "vfmadd213ps", 0.5),
        ("ice-lake-sp", "avx512-vnni", "vpdpbusd", 0.5),
        ("ice-lake-sp", "avx2", "vmovdqu.store", 0.5),
        ("zen3", "avx2", "vpmulld", 0.5),  # OSACA: zen3
        ("zen3", "avx2", "vfmadd213ps", 0.5),
        ("zen3", "avx2", "vpaddd", 0.25),
        ("zen3", "avx2", "vmovdqu.store", 1.0),  # measured on Zen 3
        ("zen3", "avx2", "vpbroadcastb.load", 0.5),
        ("zen3", "avx2", "vgatherdps", 9.6),
        ("zen4", "avx512-vnni", "vpaddd", 0.5),  # OSACA: zen4
        ("zen4", "avx512-vnni", "vfmadd213ps", 1.0),
        ("zen4", "avx512-vnni", "vdivps", 6.0),
        ("zen4", "avx512-vnni", "vpdpbusd", 1.0),
        ("zen4", "avx2", "vpaddd", 0.25),
    ],
)
def test_single_instructions_run_at_their_published_rate(core, isa, mnemonic, cycles):
    prefix = "zmm" if isa.startswith("avx512") else "ymm"
    block = independent(mnemonic, prefix)
    assert steady(core, block, isa) / len(block) == pytest.approx(cycles, rel=0.05)


@pytest.mark.parametrize(("core", "latency"), [("zen5", 4), ("cascade-lake", 5)])
def test_a_chain_of_vpdpbusd_runs_at_its_latency(core, latency):
    assert steady(core, [I("vpdpbusd", "zmm0", ("zmm8", "zmm9"))]) == latency


PORTS = st.lists(
    st.tuples(st.sets(st.sampled_from("abcd"), min_size=1).map(lambda s: tuple(sorted(s))), st.integers(1, 3)),
    min_size=1,
    max_size=5,
)


@given(PORTS)
@settings(max_examples=60, deadline=None)
def test_the_port_bound_is_the_best_fractional_assignment(micros):
    """Against a maximum flow: work fits into ``bound`` cycles per port, and not into 1 % less."""
    bound = max(port_loads((ports, float(cycles)) for ports, cycles in micros).values())
    assert fits(micros, bound * 1.0001)
    assert not fits(micros, bound * 0.99)


def fits(micros, cycles: float) -> bool:
    """Whether all work flows to ports of ``cycles`` capacity each: Edmonds-Karp in units of 1e-4 cycles."""
    room: dict[tuple[str, str], int] = {}
    for index, (ports, work) in enumerate(micros):
        room["source", f"micro {index}"] = work * 10_000
        for port in ports:
            room[f"micro {index}", port] = work * 10_000
            room[port, "sink"] = round(cycles * 10_000) + 1
    for edge in list(room):
        room.setdefault(edge[::-1], 0)
    flow = 0
    while path := shortest_path(room):
        amount = min(room[edge] for edge in path)
        flow += amount
        for first, second in path:
            room[first, second] -= amount
            room[second, first] += amount
    return flow == sum(work for _, work in micros) * 10_000


def shortest_path(room: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Return the edges of a shortest path with room from source to sink; none when there is no path."""
    before: dict[str, str] = {"source": ""}
    queue = ["source"]
    for node in queue:
        for (first, second), left in room.items():
            if first == node and left > 0 and second not in before:
                before[second] = node
                queue.append(second)
    if "sink" not in before:
        return []
    path, node = [], "sink"
    while before[node]:
        path.append((before[node], node))
        node = before[node]
    return path[::-1]


def test_more_trips_and_more_instructions_never_cost_less():
    core = load_core("zen5")
    costs = []
    for trips in (1, 10, 100, 1000):
        program = Program("p", core.isa(), (Buffer("b", 4096),), (Loop("i", trips, (*dot(4, 4), *CONTROL)),))
        costs.append(cost(program, core).cycles)
    assert all(first < second for first, second in pairwise(costs))
    blocks = [list(dot(4, count)) for count in range(1, 9)]
    assert all(steady("zen5", first) <= steady("zen5", second) for first, second in pairwise(blocks))


def test_the_bound_is_named_by_the_binding_resource():
    core = load_core("zen5")
    program = Program("p", core.isa(), (Buffer("b", 4096),), (Loop("i", 1000, (*dot(1, 2), *CONTROL)),))
    found = cost(program, core)
    assert found.bound == "chain"
    assert found.by_resource["chain"] <= found.cycles


X86 = ("skylake-sp", "cascade-lake", "ice-lake-sp", "zen3", "zen4", "zen5")


@pytest.mark.parametrize("core_name", [*X86, "cortex-m7", "u74", "x60"])
def test_every_mnemonic_of_a_cores_sets_has_a_timing(core_name):
    core = load_core(core_name)
    for name in core.instruction_sets:
        lacked = {mnemonic for lack in core.timing.lacks for mnemonic in lack.instructions}
        for mnemonic in core.isa(name).instructions.keys() - lacked:
            assert row_of(core, mnemonic, name)


def test_an_instruction_without_timing_is_an_error_that_names_it_and_the_core():
    with pytest.raises(InputError, match=r"zen5.*\n.*'vpfoo' of avx2 has no timing"):
        row_of(load_core("zen5"), "vpfoo", "avx2")


def test_skylake_refuses_vpdpbusd_and_cascade_lake_takes_it():
    body = (Loop("i", 10, (*dot(4, 4), *CONTROL)),)
    program = Program("p", load_core("cascade-lake").isa(), (Buffer("b", 4096),), body)
    assert cost(program, load_core("cascade-lake")).cycles > 0
    with pytest.raises(InputError, match=r"skylake-sp.*\n.*'vpdpbusd' is not executed: VNNI came with Cascade Lake"):
        cost(program, load_core("skylake-sp"))


def test_zen_3_refuses_avx_512():
    program = Program("p", load_core("zen4").isa("avx512-vnni"), (), ())
    with pytest.raises(InputError, match=r"zen3.*\n.*does not execute 'avx512-vnni'; it has avx2"):
        cost(program, load_core("zen3"))


def test_a_wide_source_in_memory_is_loaded_in_halves_where_ports_are_narrow():
    block = [I("vpaddd", f"zmm{index}", ("zmm15", at(64 * index))) for index in range(8)]
    assert steady("zen4", block) == 8  # two halves over two ports
    assert steady("zen5", block) == 4


@pytest.mark.parametrize(
    ("core_name", "macs_per_cycle"),
    [("zen3", 32), ("zen4", 64), ("zen5", 128), ("cascade-lake", 128), ("ice-lake-sp", 128), ("skylake-sp", 32)],
)
def test_int8_products_reach_the_peak_of_the_core_and_no_more(core_name, macs_per_cycle):
    """Peaks: derived from port throughputs; a VPMADDWD of 16 products stands for int8 where VNNI is missing."""
    core = load_core(core_name)
    name = core.instruction_sets[0]
    if name == "avx2":
        block = [I("vpmaddwd", f"ymm{index}", ("ymm14", "ymm15")) for index in range(12)]
        macs = 16 * len(block)
    else:
        block = [I("vpdpbusd", f"zmm{index}", ("zmm30", "zmm31")) for index in range(12)]
        macs = 64 * len(block)
    assert macs / steady(core_name, block, name) == pytest.approx(macs_per_cycle)


def test_a_program_of_another_set_is_refused():
    program = Program("p", load_core("u74").isa(), (), ())
    with pytest.raises(InputError, match="does not execute 'rv64gc'; it has avx512-vnni, avx2"):
        cost(program, load_core("zen5"))
