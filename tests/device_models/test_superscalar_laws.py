"""Laws of out-of-order cores, for random loops: more work, fewer ports or later results never make one faster."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.cores import CAUSES, Core, cost, load_core, timeline
from device_models.cores.chains import chain_cycles
from device_models.cores.sharing import port_loads, shared
from device_models.cores.superscalar import block_cost
from device_models.cores.timing import issues_of
from workloads.program import Address, Buffer, Instruction, Loop, Program

CORES = st.sampled_from(["skylake-sp", "ice-lake-sp", "zen3", "zen4", "zen5"]).map(load_core)
REGISTERS = st.integers(0, 7).map("ymm{}".format)
FEW = settings(max_examples=40, deadline=None)


def at(offset: int = 0) -> Address:
    return Address("b", offset)


INSTRUCTIONS = st.one_of(
    st.builds(
        lambda op, d, a, b: Instruction(op, d, (a, b)),
        st.sampled_from(["vpaddd", "vpmaddwd", "vpmulld", "vpmaxsb", "vaddps", "vpsubd", "vfmadd231ps"]),
        REGISTERS,
        REGISTERS,
        st.one_of(REGISTERS, st.just(at(32))),
    ),
    st.builds(
        lambda op, d: Instruction(op, d, (at(),)), st.sampled_from(["vmovdqu.load", "vpmovsxbw.load"]), REGISTERS
    ),
    st.builds(lambda a: Instruction("vmovdqu.store", at(), (a,)), REGISTERS),
)
BODIES = st.lists(INSTRUCTIONS, min_size=1, max_size=12).map(tuple)
CONTROL = (Instruction("add"), Instruction("sub"), Instruction("jnz"))


def program(core: Core, body, trips: int = 10, buffer: str = "b") -> Program:
    inner = Loop("i", trips, (*body, *CONTROL))
    return Program("p", core.isa("avx2"), (Buffer(buffer, 4096),), (*body[:1], Loop("o", 3, (inner, *body[:2]))))


def cycles(core: Core, body, trips: int = 10) -> float:
    return cost(program(core, body, trips), core).cycles


@given(CORES, BODIES, st.integers(1, 100))
@FEW
def test_causes_add_up_to_the_cycles_exactly_and_no_resource_needs_more(core, body, trips):
    found = cost(program(core, body, trips), core)
    assert sum(found.by_cause.values()) == found.cycles
    assert set(found.by_cause) <= set(CAUSES)
    assert all(value >= 0 for value in found.by_cause.values())
    assert found.bound in found.by_resource
    assert max(found.by_resource.values()) <= found.cycles * (1 + 1e-9)


@given(CORES, BODIES, INSTRUCTIONS, st.integers(1, 20))
@FEW
def test_more_trips_and_independent_instructions_never_cost_less(core, body, more, trips):
    assert cycles(core, body, trips) <= cycles(core, body, trips + 1)
    beside = replace(more, destination="ymm9") if isinstance(more.destination, str) else more
    first, second = (block_cost(issues_of(block, core, core.isa("avx2")), core) for block in (body, (*body, beside)))
    assert first.issue <= second.issue
    assert first.steady <= second.steady


@given(CORES, BODIES, st.permutations(range(8)))
@FEW
def test_names_of_buffers_and_registers_do_not_matter(core, body, order):
    def renamed(operand):
        if isinstance(operand, Address):
            return Address("c", operand.offset)
        return f"ymm{order[int(operand.removeprefix('ymm'))]}" if isinstance(operand, str) else operand

    other = tuple(
        replace(each, destination=renamed(each.destination), sources=tuple(map(renamed, each.sources))) for each in body
    )
    assert cost(program(core, body), core) == cost(program(core, other, buffer="c"), core)


def with_timing(core: Core, **changes) -> Core:
    return replace(core, timing=core.timing.model_copy(update=changes))


@given(CORES, BODIES, st.data())
@FEW
def test_one_more_port_of_a_kind_never_slows_anything(core, body, data):
    port = data.draw(st.sampled_from(core.timing.ports))

    def more(text: str) -> str:
        return f"{text} twin" if port in text.split() else text

    rows = tuple(row.model_copy(update={"ports": tuple(map(more, row.ports))}) for row in core.timing.timing)
    memory = core.timing.memory_operand.model_copy(update={"ports": more(core.timing.memory_operand.ports)})
    wider = with_timing(core, ports=(*core.timing.ports, "twin"), timing=rows, memory_operand=memory)
    assert cycles(wider, body) <= cycles(core, body) * (1 + 1e-12)


@given(CORES, BODIES, st.data())
@FEW
def test_a_lower_latency_never_slows_anything(core, body, data):
    op = data.draw(st.sampled_from([instruction.op for instruction in body]))
    share = data.draw(st.floats(0, 1))

    def sooner(row):
        return row.model_copy(update={"latency": row.latency * share}) if op in row.instructions else row

    faster = with_timing(core, timing=tuple(map(sooner, core.timing.timing)))
    assert cycles(faster, body) <= cycles(core, body) * (1 + 1e-12)


@given(CORES, BODIES)
@FEW
def test_a_repeated_block_takes_each_bound_and_no_more_than_all_of_them_in_a_row(core, body):
    issues = issues_of(body, core, core.isa("avx2"))
    found = block_cost(issues, core)
    loads = port_loads(micro for issue in issues for micro in issue.micros)
    front = sum(issue.slots for issue in issues) / core.timing.issue_width.value
    assert found.steady >= max(front, chain_cycles(issues), *loads.values()) * (1 - 1e-12)
    held = sum(held for issue in issues for _, held in issue.micros)
    assert found.steady <= max(front, held, sum(issue.latency for issue in issues)) * (1 + 1e-12)


@given(BODIES, st.sampled_from(["zen3", "ice-lake-sp"]).map(load_core))
@FEW
def test_the_chain_is_the_rate_at_which_results_come_without_other_limits(body, core):
    """Against many iterations one after another; Karp's theorem gives the limit at once."""
    issues = issues_of(body, core, core.isa("avx2"))
    ready: dict[str, float] = {}
    last = []
    for _ in range(400):
        for issue in issues:
            done = max(
                (ready.get(each, 0.0) + issue.latency for each in (*issue.reads, *issue.accumulates)), default=0.0
            )
            ready |= dict.fromkeys(issue.writes, done)
        last.append(max(ready.values(), default=0.0))
    assert (last[-1] - last[-1 - 120]) / 120 == pytest.approx(chain_cycles(issues), abs=1e-9)


@given(
    st.dictionaries(
        st.sets(st.sampled_from("0123"), min_size=1).map(frozenset), st.floats(0.1, 8), min_size=1, max_size=6
    ),
    st.floats(1, 8),
)
@FEW
def test_sharing_costs_nothing_alone_and_less_the_higher_the_exponent(work, exponent):
    loads = port_loads((tuple(ports), cycles) for ports, cycles in work.items())
    most = max(loads.values())
    found = [shared(loads, each) for each in (exponent, exponent + 1, 400.0, None)]
    assert all(first >= second * (1 - 1e-12) for first, second in pairwise(found))
    assert found[-1] == most
    assert shared({ports: load for ports, load in loads.items() if load == most}, None) == most
    alone = {ports: cycles / len(ports) for ports, cycles in list(work.items())[:1]}
    assert shared(alone, exponent) == pytest.approx(next(iter(alone.values())))


@given(CORES, BODIES)
@settings(max_examples=10, deadline=None)
def test_a_timeline_has_a_line_per_instruction_and_names_the_bound(core, body):
    drawn = timeline(program(core, body), core, iterations=2)
    shown = [line for line in drawn.splitlines() if line[:5].strip().lstrip("-").isdigit()]
    assert len(shown) == 2 * (len(body) + len(CONTROL))
    assert " binds: " in drawn.splitlines()[-1]
