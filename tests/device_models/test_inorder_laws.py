"""Laws of the in-order model: where cycles go, what more work costs, what a better core never costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.cores import CAUSES, cost, load_core
from device_models.cores.inorder import block_cost
from device_models.cores.timing import issues_of
from workloads.program import Address, Buffer, Instruction, Loop, Program

THUMB = ("cortex-m4", "cortex-m7", "cortex-m33")
CORES = (*THUMB, "u74", "ibex")
QUICK = settings(max_examples=60, deadline=None)
# mnemonic -> how many registers it reads; "load" and "store" move a register from or to memory
THUMB_OPS = {
    "add": 2, "sub": 2, "and": 2, "lsl": 2, "mul": 2, "mla": 3, "smlad": 3, "sxtb16": 1, "pkhbt": 2, "movlt": 2,
    "it": 0, "ldr": "load", "ldrsb": "load", "ldrd": "load", "str": "store", "strb": "store", "sdiv": 2,
}  # fmt: skip
RISCV_OPS = {
    "add": 2,
    "slt": 2,
    "slli": 2,
    "mul": 2,
    "div": 2,
    "lb": "load",
    "lw": "load",
    "sb": "store",
    "sw": "store",
}


def instruction(op: str, kind: int | str, registers: tuple[str, ...], buffer: str = "b") -> Instruction:
    if kind == "load":
        return Instruction(op, registers[0], (Address(buffer, 8),))
    if kind == "store":
        return Instruction(op, Address(buffer, 8), registers[:1])
    return Instruction(op, registers[0] if kind else None, registers[1 : 1 + kind])


@st.composite
def blocks(draw, core, least=1, most=9):
    """Draw straight code over six registers, in which dependences are frequent."""
    ops = THUMB_OPS if core in THUMB else RISCV_OPS
    prefix = "r" if core in THUMB else "x"
    register = st.integers(1, 6).map(lambda number: f"{prefix}{number}")
    one = st.tuples(st.sampled_from(sorted(ops)), st.tuples(*[register] * 4))
    return tuple(
        instruction(op, ops[op], registers) for op, registers in draw(st.lists(one, min_size=least, max_size=most))
    )


@st.composite
def bodies(draw, core):
    """Draw blocks and loops, nested up to two deep."""
    inner = st.builds(lambda trips, block: (Loop("i", trips, block),), st.integers(1, 50), blocks(core))
    outer = st.builds(
        lambda trips, loop, tail: (Loop("o", trips, (*loop, *tail)),), st.integers(1, 9), inner, blocks(core)
    )
    parts = draw(st.lists(st.one_of(blocks(core), inner, outer), min_size=1, max_size=4))
    return tuple(statement for part in parts for statement in part)


def program(core: str, body, buffer: str = "b") -> Program:
    return Program("p", load_core(core).isa(), (Buffer(buffer, 64),), tuple(body))


def cycles(core: str, body) -> float:
    return cost(program(core, body), load_core(core)).cycles


def costs(core, block):
    return block_cost(issues_of(block, core, core.isa()), core)


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_causes_sum_to_the_cycles_exactly_and_name_what_the_package_names(core, data):
    found = cost(program(core, data.draw(bodies(core))), load_core(core))
    assert sum(found.by_cause.values()) == found.cycles > 0
    assert set(found.by_cause) <= set(CAUSES)
    assert min(found.by_cause.values()) >= 0
    assert found.bound in found.by_resource
    assert max(found.by_resource.values()) <= found.cycles


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_one_more_trip_never_costs_less(core, data):
    block, trips = data.draw(blocks(core)), data.draw(st.integers(1, 60))
    one, more = (cycles(core, (Loop("i", count, block),)) for count in (trips, trips + 1))
    assert one <= more


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_independent_work_never_makes_a_block_faster(core, data):
    """The further instruction reads and writes registers of its own: it can only take slots and ports."""
    block = data.draw(blocks(core))
    prefix, place = ("r" if core in THUMB else "x"), data.draw(st.integers(0, len(block)))
    more = (*block[:place], Instruction("add", f"{prefix}9", (f"{prefix}10", f"{prefix}11")), *block[place:])
    without, with_more = costs(load_core(core), block), costs(load_core(core), more)
    assert without.first <= with_more.first
    assert without.steady <= with_more.steady + 1e-9


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_names_of_buffers_and_addresses_in_them_cost_nothing(core, data):
    block = data.draw(blocks(core))

    def moved(operand):
        return Address("elsewhere", 24) if isinstance(operand, Address) else operand

    other = tuple(
        replace(one, destination=moved(one.destination), sources=tuple(map(moved, one.sources))) for one in block
    )
    one, two = (program(core, (Loop("i", 7, each),), name) for each, name in ((block, "b"), (other, "elsewhere")))
    assert cost(one, load_core(core)) == cost(two, load_core(core))


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_loops_in_sequence_add_up(core, data):
    """A block begins when the one before it has issued, with all results there, so nothing is shared between loops."""
    first, second = (Loop("i", data.draw(st.integers(1, 40)), data.draw(blocks(core))) for _ in range(2))
    both = cycles(core, (first, second))
    assert both == pytest.approx(cycles(core, (first,)) + cycles(core, (second,)), rel=1e-12)
    assert cycles(core, (Loop("o", 3, (first, second)),)) >= 3 * both - 1e-6


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_twice_the_width_never_slows_anything(core, data):
    block, narrow = data.draw(blocks(core)), load_core(core)
    width = narrow.timing.issue_width.model_copy(update={"value": 2 * narrow.timing.issue_width.value})
    wide = replace(narrow, timing=narrow.timing.model_copy(update={"issue_width": width}))
    assert costs(wide, block).first <= costs(narrow, block).first
    assert costs(wide, block).steady <= costs(narrow, block).steady + 1e-9


def sooner(row):
    """Take half of the shortest latency off every way through an instruction; where it reads operands stays."""
    ways = (row.latency, row.accumulator_latency, *row.latency_to.values())
    less = min(way for way in ways if way is not None) / 2
    accumulator = None if row.accumulator_latency is None else row.accumulator_latency - less
    later = {name: value - less for name, value in row.latency_to.items()}
    return row.model_copy(
        update={"latency": row.latency - less, "accumulator_latency": accumulator, "latency_to": later}
    )


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_a_result_that_comes_sooner_never_slows_anything(core, data):
    block, slow = data.draw(blocks(core)), load_core(core)
    chosen = data.draw(st.sampled_from([one.op for one in block]))
    rows = tuple(sooner(row) if chosen in row.instructions else row for row in slow.timing.timing)
    fast = replace(slow, timing=slow.timing.model_copy(update={"timing": rows}))
    assert costs(fast, block).first <= costs(slow, block).first
    assert costs(fast, block).steady <= costs(slow, block).steady + 1e-9


@QUICK
@given(core=st.sampled_from(CORES), data=st.data())
def test_a_loop_costs_what_its_trips_cost_one_after_another(core, data):
    """The steady rate is exact: a block written out many times ends where the loop says, but for the branch back."""
    block, many = data.draw(blocks(core)), 24
    model = load_core(core)
    taken = model.timing.branch.taken
    model = replace(model, timing=model.timing.model_copy(
        update={"branch": model.timing.branch.model_copy(update={"taken": None})}
    ))  # fmt: skip
    assert taken is None or taken.value > 0
    written_out = costs(model, block * many).first - costs(model, block * (many // 2)).first
    assert written_out / (many // 2) == pytest.approx(costs(model, block).steady, abs=1.01 / (many // 2))
