"""Timelines read like the pipeline: who issues when and where, what it waited for, and what binds."""

from __future__ import annotations

import re

import pytest

from device_models.cores import cost, load_core, timeline
from device_models.cores.drawing import Step, binding, draw
from workloads.codegen import generate
from workloads.codegen.specs import ConvSpec
from workloads.program import Address, Buffer, Instruction, Loop, Program

I = Instruction  # noqa: E741 - as in assembly listings


def looped(core: str, *body: Instruction, trips: int = 10) -> Program:
    return Program("p", load_core(core).isa(), (Buffer("b", 64),), (Loop("k", trips, body),))


def test_a_timeline_of_the_m7_shows_pairs_waits_and_what_binds():
    address = Address("b", 0, (("k", 4), ("o", 8)))
    body = (I("ldr", "r0", (address,)), I("mul", "r1", ("r0", "r2")), I("mul", "r3", ("r4", "r5")), I("subs"), I("bne"))
    drawn = timeline(looped("cortex-m7", *body), load_core("cortex-m7"))
    assert drawn == (
        "Arm Cortex-M7, p, loop k of 10 trips, once: 41 of 49 cycles\n"
        ". waits   # issues   = under way   + beside the one above\n"
        "\n"
        "cycle   iteration 0                 on    0    5      waited for\n"
        "    0 + ldr          r0, [b + 4*k]  ld0   #\n"
        "    2   mul          r1, r0, r2     mac    .#=        r0 of ldr\n"
        "    3   mul          r3, r4, r5     mac     .#=       not beside mul\n"
        "    3 + subs                        alu0     #\n"
        "    4   bne                         br        #\n"
        "\n"
        "cycle   iteration 1                 on    0    5      waited for\n"
        "    4 + ldr          r0, [b + 4*k]  ld0       #\n"
        "    6   mul          r1, r0, r2     mac        .#=    r0 of ldr\n"
        "    7   mul          r3, r4, r5     mac         .#=   not beside mul\n"
        "    7 + subs                        alu0         #\n"
        "    8   bne                         br            #\n"
        "\n"
        "issue binds: 4 cycles per iteration; by resource: issue 2.5, mac 2, br 1, latency 1, alu 0.5, "
        "ld 0.5, order 0.5\n"
    )


def test_a_core_without_prediction_shows_that_fetch_starts_anew():
    drawn = timeline(looped("cortex-m4", I("add", "r0", ("r0", "r1")), I("subs"), I("bne")), load_core("cortex-m4"))
    assert re.search(r"add +r0, r0, r1 +ex +\.# +fetch after a taken branch", drawn)
    assert drawn.endswith("issue binds: 4 cycles per iteration; by resource: ex 3, issue 3, branch 1\n")


def test_a_port_that_is_held_is_named_with_its_holder():
    drawn = timeline(
        looped("cortex-m4", I("ldr", "r0", (Address("b"),)), I("add", "r1", ("r2", "r3"))), load_core("cortex-m4")
    )
    assert re.search(r"add +r1, r2, r3 +ex +\.# +ex, held by ldr", drawn)


@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m7", "cortex-m33", "u74", "ibex"])
def test_the_costliest_loop_is_drawn_whole_and_at_the_rate_that_is_paid(name):
    core = load_core(name)
    program = generate(ConvSpec(1, 8, 8, 16, 8, 8, 16, (1, 1)), core.isa())
    one, three = (timeline(program, core, iterations) for iterations in (1, 3))
    rows = [re.match(r" *(\d+) [ +] (\S+)", line) for line in three.splitlines()[2:]]
    drawn = [(int(row[1]), row[2]) for row in rows if row]
    assert len(drawn) % 3 == 0
    size = len(drawn) // 3
    assert [op for _, op in drawn] == [op for _, op in drawn[:size]] * 3
    rate = float(re.search(r"([\d.]+) cycles per iteration", three)[1])
    assert drawn[2 * size][0] - drawn[0][0] == 2 * rate  # the same place, two iterations later
    assert one.splitlines()[0] == three.splitlines()[0]
    assert "loop depth" in one.splitlines()[0]
    assert f"of {cost(program, core).cycles:.0f} cycles" in one


def test_a_program_without_loops_is_drawn_once():
    program = Program("p", load_core("u74").isa(), (), (I("mul", "x5", ("x6", "x7")), I("sub", "x5", ("x5", "x7"))))
    drawn = timeline(program, load_core("u74"), iterations=5)
    assert [line.split()[1] for line in drawn.splitlines()[4:6]] == ["mul", "sub"]
    assert "no loop: 2 of 2 cycles" in drawn


def test_a_long_iteration_goes_on_under_a_new_ruler():
    steps = [Step(0, f"op{index}", 30 * index, 30 * index, 30 * index + 1) for index in range(4)]
    drawn = draw("title", steps, "last")
    rulers = [line for line in drawn.splitlines() if line.startswith("cycle")]
    assert len(rulers) == 2
    assert "90" in rulers[1]
    assert [line.index("#") for line in drawn.splitlines() if " op" in line] == [17, 47, 77, 17]


def test_what_lasts_beyond_the_page_is_marked():
    drawn = draw("title", [Step(0, "division", 0, 0, 100)], "last")
    assert "=>" in drawn
    assert len(next(line for line in drawn.splitlines() if "division" in line)) < 100


def test_the_last_line_orders_resources_by_need_and_leaves_out_the_idle():
    assert binding("mac", 9.5, {"alu": 1 / 3, "mac": 8.0, "br": 0.0}) == (
        "mac binds: 9.5 cycles per iteration; by resource: mac 8, alu 0.33"
    )
