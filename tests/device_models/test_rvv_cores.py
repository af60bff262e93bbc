"""Cores with vectors: cycles by element width and register group as measured, chains as others measured, dispatch."""

from __future__ import annotations

import csv
import statistics
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from device_models.cores import Core, cost, load_core
from device_models.cores.inorder import block_cost
from device_models.cores.timing import issues_of
from workloads.codegen import generate
from workloads.codegen.specs import ConvSpec, CopySpec
from workloads.errors import InputError
from workloads.isa import ELEMENT_BYTES
from workloads.program import Address, Instruction

FACTS = Path(__file__).parents[2].parent / "shared" / "facts" / "rvv_insn_cycles.csv"
MEASURED = tomllib.loads(Path(__file__).with_name("rvv_cycles.toml").read_text(encoding="utf-8"))
CORES = ("x60", "c908", "x280", "c906")
IN_THE_TABLE = {"x60": "SpacemiT X60", "c908": "XuanTie C908", "x280": "SiFive X280", "c906": "XuanTie C906"}
UNTIMED = {"vssra.vv": "vssrl.vv", "vssra.vx": "vssrl.vx"}  # the logical form was timed instead
GROUPS = (1, 2, 4, 8)


def instruction(core: Core, family: str, width: int, group: int, place: int = 0) -> Instruction:
    """Return a vector instruction on a whole group; ``place`` numbers the groups from v8 on that it writes."""
    isa = core.isa()
    op = family if family in isa.instructions else f"{family}.e{width}"
    meaning = isa.meaning(op)
    wide = max(ELEMENT_BYTES[kind] * 8 for kind in (meaning.result, *meaning.sources)) > width
    first = 8 + group * (1 + (wide and meaning.kind != "narrow")) * place % 8
    sources = [f"v{16 + number % 2 * 8}" for number in range(len(meaning.sources))]
    for scalar in meaning.scalar_sources:
        sources[scalar] = "f5" if family.endswith("f") else "x5"
    if meaning.kind == "store":
        return Instruction(op, Address("b"), ("v8",), isa.parameters["vlen"] * group // width)
    if meaning.kind == "load":
        sources = [Address("b")]
    return Instruction(op, f"v{first}", tuple(sources), isa.parameters["vlen"] * group // width)


def steady(core: Core, block) -> float:
    """Return the cycles of a block in a loop; instructions that differ in name only are scheduled once."""
    return block_cost(tuple(replace(each, op="") for each in issues_of(tuple(block), core, core.isa())), core).steady


@cache
def predicted(core: Core, family: str, width: int, group: int) -> float:
    """Return the cycles per instruction of the measuring loop: eight registers are written in turn.

    On the C906 an older loop wrote one register over and over, so that each instruction waited for the last.
    """
    block = [instruction(core, family, width, group, place) for place in range(8)]
    rate = steady(core, block) / len(block)
    return max(rate, issues_of((block[0],), core, core.isa())[0].latency) if core.name == "c906" else rate


def carried(name: str):
    """Yield (family, width, group, cycles) that the repository holds of a core."""
    for entry in MEASURED[name]:
        for family in entry["instructions"]:
            for width, cycles in zip((8, 16, 32, 64), entry["cycles"], strict=False):
                for group, text in zip(GROUPS, cycles.split(), strict=True):
                    if text != "-":
                        yield family, width, group, float(text)


def errors(core: Core, rows) -> list[float]:
    return [abs(predicted(core, family, width, group) / cycles - 1) for family, width, group, cycles in rows]


@pytest.mark.parametrize(
    ("name", "least", "worst"),  # X280: 0.14 cycles per instruction are the measuring loop; C908: stalls of 1 to 3 %
    [("x60", 500, 0.03), ("c908", 500, 0.031), ("x280", 500, 0.07), ("c906", 250, 0.001)],
)
def test_cycles_by_width_and_group_are_those_measured(name, least, worst):
    found = errors(load_core(name), carried(name))
    assert len(found) >= least
    assert statistics.median(found) <= 0.05
    assert max(found) <= worst


@pytest.mark.skipif(not FACTS.is_file(), reason="the table of all measured instructions is not beside the repository")
@pytest.mark.parametrize("name", CORES)
def test_the_whole_table_is_met_and_what_the_repository_holds_is_in_it(name):
    with FACTS.open(encoding="utf-8") as file:
        table = {
            row["instruction"].split()[0]: row
            for row in reversed(list(csv.DictReader(file)))
            if row["core"].startswith(IN_THE_TABLE[name]) and ".t" not in row["instruction"]
        }
    core = load_core(name)
    families = {
        op.rpartition(".e")[0] or op for op, meaning in core.isa().instructions.items() if meaning.kind != "control"
    }
    rows = [
        (family, width, group, float(text))
        for family in sorted(families)
        for width in (8, 16, 32, 64)
        for group in GROUPS
        if f"{family}.e{width}" in core.isa().instructions or family == f"vle{width}.v" or family == f"vse{width}.v"
        if (text := table.get(family, table.get(UNTIMED.get(family, ""), {})).get(f"cycles_e{width}m{group}"))
    ]
    assert statistics.median(errors(core, rows)) <= 0.05
    assert {(*row[:3], row[3]) for row in carried(name) if row[:2] in {r[:2] for r in rows}} == set(rows)


@pytest.mark.parametrize(
    ("family", "width", "latencies"),
    [
        ("vadd.vv", 8, (4, 4, 5, 8)), ("vand.vv", 8, (4, 4, 8, 16)), ("vmul.vv", 8, (4, 4, 5, 8)),
        ("vmul.vv", 32, (5, 5, 5, 8)), ("vmul.vv", 64, (7, 8, 16, 32)), ("vsext.vf2", 16, (4, 4, 8, 16)),
    ],
)  # fmt: skip
def test_chains_on_the_x60_take_what_llvm_measured(family, width, latencies):
    # llvm/llvm-project@00da743b3736:llvm/lib/Target/RISCV/RISCVSchedSpacemitX60.td: latencies for m1, m2, m4, m8
    core = load_core("x60")
    for group, latency in zip(GROUPS, latencies, strict=True):
        one = instruction(core, family, width, group)
        chained = Instruction(one.op, "v8", ("v8", *one.sources[1:]), one.count)
        assert steady(core, [chained]) == pytest.approx(latency, abs=1), (group, latency)


def test_a_shift_and_a_sum_share_the_two_units_of_the_x60_and_the_c908():
    # camel-cdr/rvv-bench-results:canmv_k230/index.html: vadd,vadd and vadd,vsll take 1 cycle each, vsll,vsll take 2
    for name in ("x60", "c908"):
        core = load_core(name)
        sums = [instruction(core, "vadd.vv", 8, 1, place) for place in range(4)]
        shifts = [instruction(core, "vsll.vi", 8, 1, place + 4) for place in range(4)]
        mixed = [each for pair in zip(sums, shifts, strict=True) for each in pair]
        assert [steady(core, block) / len(block) for block in (sums, mixed, shifts)] == [1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("family", "cycles"), [("vadd.vv", 1.0), ("vsll.vi", 1.0), ("vwmacc.vv", 1.0), ("vnclip.wi", 2.0)]
)
def test_half_a_register_takes_what_the_x60_measured(family, cycles):
    core = load_core("x60")
    block = [instruction(core, family, 8, 1, place) for place in range(8)]
    halves = [Instruction(each.op, each.destination, each.sources, 16) for each in block]
    assert steady(core, halves) / len(halves) == cycles


def test_time_goes_by_length_on_the_x280_and_by_group_on_the_x60():
    for name, times in (("x280", [1, 1, 2, 3, 4, 16]), ("x60", [1, 1, 1, 2, 2, 8])):
        core = load_core(name)
        lengths = [core.isa().parameters["vlen"] * eighths // 64 for eighths in (1, 4, 8, 12, 16, 64)]
        found = [steady(core, [Instruction("vadd.vv.e8", "v8", ("v16", "v24"), length)]) for length in lengths]
        assert found == times, name


@pytest.mark.parametrize(
    ("name", "spatial", "pointwise", "peak"),
    [("x60", 7.09, 6.34, 8), ("c908", 3.54, 3.17, 4), ("x280", 14.22, 12.19, 16)],
)
def test_generated_convolutions_reach_most_of_what_multiply_adds_allow(name, spatial, pointwise, peak):
    core = load_core(name)
    block = [instruction(core, "vwmacc.vx", 16, 2, place) for place in range(8)]
    assert 8 * core.isa().parameters["vlen"] * 2 // 16 / steady(core, block) == peak
    for kernel, padding, rate in (((3, 3), (1, 1), spatial), ((1, 1), (0, 0), pointwise)):
        program = generate(ConvSpec(1, 56, 56, 64, 56, 56, 64, kernel, padding=padding), core.isa())
        assert program.macs / cost(program, core).cycles == pytest.approx(rate, abs=0.01)


def test_a_core_of_the_draft_refuses_programs_of_version_one():
    program = generate(CopySpec(1000, 1000), load_core("c908").isa())
    with pytest.raises(InputError, match="does not execute 'rvv'; it has rvv-071"):
        cost(program, load_core("c906"))


@pytest.mark.parametrize("name", CORES)
def test_every_instruction_of_a_core_has_a_timing(name):
    core = load_core(name)
    for op, meaning in core.isa().instructions.items():
        block = (Instruction(op, "v8", ("v16",) * len(meaning.sources), meaning.lanes),)
        assert issues_of(block, core, core.isa())
