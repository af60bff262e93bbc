"""Footprints bound what an enumeration touches, and caches keep what fits."""

from __future__ import annotations

import math
import statistics
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.device import load_device
from device_models.footprint import nest_of
from device_models.memory import Traffic, Working, fetched, home, hops, lost, memory_time, traffic
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction, Loop, Program, accesses, walk

ISA = load_isa("thumb2-dsp")


def reading(address: Address, loops: list[tuple[str, int]], size: int, mnemonic: str = "ldr") -> Program:
    """Return a Program that loads from ``address`` inside loops, outermost first."""
    body: tuple = (Instruction(mnemonic, "r0", (address,)),)
    for variable, trips in reversed(loops):
        body = (Loop(variable, trips, body),)
    return Program("p", ISA, (Buffer("b", size, role="weights"),), body)


def enumerated(program: Program) -> int:
    """Count the distinct bytes that a Program touches by running through all its loops."""
    touched = set()
    for instruction, loops in walk(program.body):
        for values in product(*(range(loop.trips) for loop in loops)):
            place = dict(zip((loop.variable for loop in loops), values, strict=True))
            for address, nbytes, _ in accesses(instruction, program.isa):
                start = address.offset + sum(stride * place[name] for name, stride in address.strides)
                touched.update(range(start, start + nbytes))
    return len(touched)


@pytest.mark.parametrize(
    ("strides", "trips", "expected"),
    [
        ({"i": 4}, [10], 40),  # a stream
        ({"i": 8}, [10], 40),  # every other word
        ({"i": 0}, [10], 4),  # the same word
        ({"y": 64, "x": 4}, [5, 16], 320),  # whole rows
        ({"y": 64, "x": 4}, [5, 8], 160),  # half rows
        ({"y": 64, "ky": 64, "x": 4, "kx": 4}, [5, 3, 14, 3], 7 * 64),  # a sliding window of whole rows
        ({"y": 128, "ky": 64, "x": 4}, [5, 3, 8], 11 * 32),  # windows of three rows, two apart
    ],
)
def test_distinct_bytes_of_common_nests_are_exact(strides, trips, expected):
    program = reading(Address("b", 0, tuple(strides.items())), list(zip(strides, trips, strict=True)), 4096)
    assert enumerated(program) == expected
    assert nest_of(program, "memory").whole == {"b": expected}


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 4, 6, 12, 32, 64]), st.integers(1, 4)), min_size=1, max_size=4),
    st.sampled_from(["ldr", "ldrsb"]),
)
@settings(max_examples=120, deadline=None)
def test_a_footprint_is_never_below_the_enumeration_nor_above_all_accesses(nest, mnemonic):
    loops = [(f"l{index}", trips) for index, (_, trips) in enumerate(nest)]
    strides = tuple((f"l{index}", stride) for index, (stride, _) in enumerate(nest))
    program = reading(Address("b", 0, strides), loops, 4096, mnemonic)
    found = nest_of(program, "memory").whole["b"]
    nbytes = 4 if mnemonic == "ldr" else 1
    runs = 1
    for _, trips in loops:
        runs *= trips
    assert enumerated(program) <= found <= runs * nbytes


def test_what_lies_apart_is_fetched_in_whole_lines():
    program = reading(Address("b", 0, (("i", 256),)), [("i", 10)], 4096)
    assert nest_of(program, "memory", line=32).whole == {"b": 320}


def test_loops_of_one_name_side_by_side_keep_their_own_trips():
    load = Instruction("ldr", "r0", (Address("b", 0, (("i", 4),)),))
    program = Program("p", ISA, (Buffer("b", 4096),), (Loop("i", 2, (load,)), Loop("i", 10, (load,))))
    assert [child.whole["b"] for child in nest_of(program, "memory").children] == [8, 40]


@pytest.mark.parametrize(("capacity", "expected"), [(400, 400), (399, 4000), (0, 4000), (10**6, 400)])
def test_a_cache_that_holds_a_loop_fetches_it_once(capacity, expected):
    program = reading(Address("b", 0, (("j", 4),)), [("i", 10), ("j", 100)], 400)
    assert fetched(nest_of(program, "memory"), capacity) == {"b": expected}


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 8), st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_a_larger_cache_never_fetches_more_and_never_less_than_the_distinct_bytes(first, second, outer, inner):
    program = reading(Address("b", 0, (("j", 4), ("i", 8))), [("i", outer), ("j", inner)], 4096)
    nest = nest_of(program, "memory")
    small, large = sorted((first, second))
    assert nest.whole["b"] <= fetched(nest, large)["b"] <= fetched(nest, small)["b"]


def test_activations_live_in_the_nearest_memory_that_holds_them():
    board = load_device("stm32h7a3")
    assert home(board, "activations", 100_000) == "dtcm"
    assert home(board, "activations", 200_000) == "sram"
    assert home(board, "weights", 10) == "flash"
    assert hops(board, "activations", 100_000) == []  # tightly coupled: no cost beyond the load
    assert [level for _, level in hops(board, "weights", 10)] == ["flash"]


def test_weights_read_once_from_flash_cost_the_measured_line_fill():
    """Bosch's auto-encoder pairs: 9.4 cycles per 32 bytes at 280 MHz."""
    board = load_device("stm32h7a3")
    nbytes = 264_192
    program = reading(Address("b", 0, (("i", 4),)), [("i", nbytes // 4)], nbytes)
    found = traffic(program, board, Working(nbytes, 1000))
    assert found.levels == (Traffic("flash", nbytes, 0),)
    seconds, slowest = memory_time(found.levels, board, board.frequency_hz)
    assert slowest == "flash"
    assert seconds == pytest.approx(nbytes / 32 * 9.4 / 280e6, rel=1e-3)


def test_weights_are_told_apart_from_what_else_crosses_a_level():
    """Both live in the memory of a board computer, and both cross it."""
    isa = load_isa("rv64gc")
    load = Instruction("ld", "x1", (Address("w", 0, (("i", 64),)),))
    other = Instruction("ld", "x2", (Address("x", 0, (("i", 64),)),))
    buffers = (Buffer("w", 1 << 24, role="weights"), Buffer("x", 1 << 24, role="input"))
    program = Program("p", isa, buffers, (Loop("i", 1 << 18, (load, other)),))
    found = traffic(program, load_device("jh7110"), Working(1 << 24, 1 << 24))
    every, weights = ({level.level: level.read_bytes for level in each} for each in (found.levels, found.weights))
    assert every == {name: 2 * nbytes for name, nbytes in weights.items()}
    assert weights["dram"] == pytest.approx(1 << 24, rel=1e-4)  # the last access ends within its line


def test_a_network_that_fits_a_cache_stays_there():
    server = load_device("epyc-9v45")
    program = reading(Address("b", 0, (("i", 4),)), [("i", 50_000)], 200_000)
    small = traffic(program, server, Working(200_000, 10_000))
    large = traffic(program, server, Working(100_000_000, 10_000))
    assert [level.level for level in small.levels] == ["l2"]
    assert [level.level for level in large.levels] == ["l2", "l3", "dram"]


# How many times its size a pointer was followed through in random order, the latency there, within the cache and far
# beyond it [ns]; ThomasKaiser/sbc-bench@53f7951.
FOLLOWED = {
    "SpacemiT K1, 32 KiB": (2, 18.21, 1.259, 24.49), "JH7110, 2 MiB": (2, 132.8, 20.81, 156.6),
    "TH1520, 1 MiB": (2, 126.9, 34.48, 128.0), "EIC7700X, 256 KiB": (2, 30.83, 9.308, 33.93),
    "EIC7700X, 4 MiB": (2, 177.8, 33.93, 212.0), "Atom E3950, 1 MiB": (2, 154.6, 12.03, 168.9),
    "Ryzen R1505G, 4 MiB": (2, 113.5, 11.63, 114.4), "N100, 6 MiB": (4 / 3, 68.12, 13.85, 128.1),
    "N95, 6 MiB": (4 / 3, 60.67, 12.27, 116.6), "N100, twice that": (8 / 3, 121.0, 13.85, 128.1),
    "N95, twice that": (8 / 3, 110.1, 12.27, 116.6),
}  # fmt: skip


def test_what_a_cache_has_lost_is_what_pointers_through_it_show():
    errors = [
        [share - (there - near) / (far - near) for share in (lost(size, 1), 1.0)]
        for size, there, near, far in FOLLOWED.values()
    ]
    ours, nothing_kept = (statistics.mean(map(abs, each)) for each in zip(*errors, strict=True))
    assert max(abs(error) for error, _ in errors) <= 0.21
    assert ours < 0.08 < 0.18 < nothing_kept


@given(st.floats(1.0001, 1e6))
@settings(max_examples=60, deadline=None)
def test_the_share_that_is_lost_is_that_of_random_replacement(size):
    share = lost(size, 1.0)
    assert 0 < share <= 1
    assert 1 - share == pytest.approx(math.exp(-share * size), abs=1e-9)
    assert share <= lost(1.01 * size, 1.0) <= 1


def test_a_cache_loses_nothing_that_fits_and_all_that_it_cannot_hold():
    assert (lost(100, 100), lost(1, 0), lost(0, 0)) == (0, 1, 0)
    assert lost(101, 100) < 0.03


def test_a_network_a_little_larger_than_a_cache_is_fetched_in_part():
    server = load_device("epyc-9v45")
    nbytes = round(1.1 * server.memory["l3"].size.value)
    program = reading(Address("b", 0, (("i", 4),)), [("i", nbytes // 4)], nbytes)
    moved = {level.level: level.read_bytes for level in traffic(program, server, Working(nbytes, 0)).levels}
    assert moved["l3"] == pytest.approx(nbytes, rel=1e-6)
    assert moved["dram"] == pytest.approx(lost(1.1, 1) * nbytes, rel=1e-3)
    assert 0.1 < lost(1.1, 1) < 0.2


def test_what_all_cores_share_goes_on_while_an_in_order_core_works():
    board, moved = load_device("jh7110"), (Traffic("dram", 10**8, 0),)
    (alone, _), (beside, _) = (memory_time(moved, board, board.frequency_hz, 4, busy_s) for busy_s in (0.0, 0.01))
    assert alone - beside == pytest.approx(0.01)  # bound by the sum of the cores' traffic
    assert memory_time(moved, board, board.frequency_hz, 1, 0.01) == memory_time(moved, board, board.frequency_hz)


def test_threads_share_the_outer_memory_until_it_saturates():
    board = load_device("jh7110")
    moved = (Traffic("dram", 10**8, 0),)
    times = [memory_time(moved, board, board.frequency_hz, threads)[0] for threads in (1, 2, 3, 4)]
    assert times == sorted(times, reverse=True)
    assert times[0] == pytest.approx(10**8 / 1379e6, rel=1e-3)
    assert times[-1] == pytest.approx(10**8 / 2.8e9, rel=1e-3)
