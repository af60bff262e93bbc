"""The in-order model follows pairing rules, latencies and register groups of the cores it describes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.cores import Core, cost, load_core
from device_models.cores.inorder import block_cost
from device_models.cores.timing import issues_of
from device_models.figures import Figure
from workloads.program import Address, Buffer, Instruction, Loop, Program

I = Instruction  # noqa: E741 - as in assembly listings


def at(offset: int = 0) -> Address:
    return Address("b", offset)


def steady(core: Core, block) -> float:
    return block_cost(issues_of(tuple(block), core, core.isa()), core).steady


def single_issue(core: Core) -> Core:
    width = Figure[int].model_construct(value=1, source="test", low=None, high=None, text="1")
    return replace(core, timing=core.timing.model_copy(update={"issue_width": width}))


def inner_block():
    """16 products of CMSIS-NN's DSP matrix multiply: 4 word loads, 8 SXTB16 and 8 SMLAD, in a well-paired order."""
    for index in range(0, 4, 2):
        yield I("ldr", f"r{index}", (at(4 * index),))
        yield I("ldr", f"r{index + 1}", (at(4 * index + 4),))
    for index in range(8):
        yield I("sxtb16", f"r{4 + index % 4}", (f"r{index % 4}",))
        yield I("smlad", f"r{8 + index % 4}", ("r12", "r13", f"r{8 + index % 4}"))


def test_sixteen_products_take_ten_cycles_on_the_m7_and_twenty_on_a_single_issue_core():
    core = load_core("cortex-m7")
    assert steady(core, inner_block()) == 10
    assert steady(single_issue(core), inner_block()) >= 20


@pytest.mark.parametrize(
    ("block", "cycles"),
    [
        ([I("add", "r0", ("r1", "r2")), I("sub", "r3", ("r4", "r5"))], 1),  # two ALUs
        ([I("ldr", "r0", (at(0),)), I("ldr", "r1", (at(4),))], 1),  # two loads pair
        ([I("mul", "r0", ("r1", "r2")), I("mul", "r3", ("r4", "r5"))], 2),  # two multiplies never do
        ([I("mul", "r0", ("r1", "r2")), I("str", at(0), ("r5",))], 2),  # nor multiply and store
        ([I("sxtb16", "r0", ("r1",)), I("smlad", "r2", ("r3", "r4", "r2"))], 1),  # DSP older, multiply younger
        ([I("smlad", "r2", ("r3", "r4", "r2"))], 1),  # the accumulator is read late: chains run every cycle
        ([I("mul", "r2", ("r3", "r2"))], 2),  # a factor is not
        ([I("add", "r0", ("r0", "r2")), I("sub", "r0", ("r0", "r5"))], 2),  # a dependence
        ([I("ldrd", "r0", (at(0),))], 1),
        ([I("ldrd", "r0", (at(0),)), I("add", "r3", ("r4", "r5"))], 2),  # never pairs
    ],
)
def test_the_m7_pairs_as_measured(block, cycles):
    assert steady(load_core("cortex-m7"), block) == cycles


def test_a_multiply_cannot_use_a_load_of_the_cycle_before():
    core = load_core("cortex-m7")

    def first(consumer: str) -> float:
        block = (I("ldr", "r0", (at(0),)), I(consumer, "r2", ("r0", "r1")))
        return block_cost(issues_of(block, core, core.isa()), core).first

    assert first("add") == 2
    assert first("mul") == 3


def test_dsp_instructions_issue_in_the_older_slot_only():
    core = load_core("cortex-m7")
    block = (I("smlad", "r2", ("r3", "r4", "r2")), I("sxtb16", "r0", ("r1",))) * 2
    assert block_cost(issues_of(block, core, core.isa()), core).first == 3  # multiply | DSP, multiply | DSP


def test_a_stream_of_byte_stores_takes_two_and_a_half_cycles_each():
    block = [I("strb", at(index), ("r0",)) for index in range(10)]
    assert steady(load_core("cortex-m7"), block) / 10 == pytest.approx(2.4, rel=0.02)


def test_the_u74_multiplies_once_per_cycle_with_latency_three():
    core = load_core("u74")
    assert steady(core, [I("mul", f"x{index}", ("x20", "x21")) for index in range(8)]) == 8
    assert steady(core, [I("mul", "x1", ("x1", "x2"))]) == 3
    assert steady(core, [I("mulw", "x1", ("x2", "x3")), I("addw", "x4", ("x4", "x1"))]) == 1  # through the late ALU
    assert steady(core, [I("add", f"x{index}", ("x20", "x21")) for index in range(8)]) == 4


def test_vector_instructions_cost_by_their_register_group():
    core = load_core("x60")
    for group, cycles in ((1, 1), (2, 2), (4, 4), (8, 8)):
        block = [I("vadd.vv.e32", "v8", ("v16", "v24"), count=8 * group)]
        assert steady(core, block) == cycles


def test_a_group_is_written_register_by_register():
    core = load_core("x60")
    issues = issues_of((I("vwmacc.vx.e16", "v8", ("x5", "v4"), count=16),), core, core.isa())
    assert issues[0].writes == ("v8", "v9")
    assert issues[0].accumulates == ("v8", "v9")
    assert issues[0].reads == ("x5", "v4")


REGISTERS = st.integers(0, 7).map(lambda number: f"r{number}")
INSTRUCTIONS = st.one_of(
    st.builds(
        lambda op, d, a, b: I(op, d, (a, b)),
        st.sampled_from(["add", "sub", "mul", "lsl", "and"]), REGISTERS, REGISTERS, REGISTERS,
    ),
    st.builds(lambda d: I("ldr", d, (at(0),)), REGISTERS),
    st.builds(lambda s: I("strb", at(0), (s,)), REGISTERS),
    st.builds(lambda d, s: I("sxtb16", d, (s,)), REGISTERS, REGISTERS),
)  # fmt: skip


@given(st.lists(INSTRUCTIONS, min_size=1, max_size=12))
@settings(max_examples=80, deadline=None)
def test_a_block_takes_at_least_its_issue_and_unit_bounds_and_at_most_its_latencies(block):
    core = load_core("cortex-m7")
    found = block_cost(issues_of(tuple(block), core, core.isa()), core)
    assert found.steady >= len(block) / 2 - 0.51  # the last pair may be shared with the next iteration
    assert all(found.steady >= value - 0.51 for name, value in found.by_resource)
    assert found.first <= sum(3 + 3 * (each.op == "strb") for each in block) + 1


@given(st.lists(INSTRUCTIONS, min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_a_wider_core_is_never_slower(block):
    core = load_core("cortex-m7")
    assert steady(core, block) <= steady(single_issue(core), block) + 0.5


def test_a_loop_costs_its_trips_and_a_mispredict_at_the_end():
    core = load_core("cortex-m7")
    body = tuple(inner_block())
    program = Program("p", core.isa(), (Buffer("b", 64),), (Loop("i", 100, body),))
    found = cost(program, core)
    assert found.cycles == pytest.approx(100 * 10 + 8, abs=3)
    assert found.by_resource["branch"] == 8
    nested = Program("p", core.isa(), (Buffer("b", 64),), (Loop("o", 7, (Loop("i", 100, body),)),))
    assert cost(nested, core).cycles == pytest.approx(7 * found.cycles + 8)
