"""Ordered code computes what it computed, and an in-order core waits less for it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen import generate, scalar_kernels, thumb2_dsp
from workloads.codegen.schedule import Tuning, arrange, order
from workloads.codegen.specs import ConvSpec
from workloads.isa import load_isa
from workloads.program import Address, Instruction, Loop, walk

ISA = load_isa("thumb2-dsp")
TUNING = Tuning(2, {"smlad": "multiply"}, {"ldr": (1, 3), "smlad": (2, 1)}, early=frozenset({"smlad"}))
REGISTERS = st.sampled_from(["r0", "r1", "r2"])


@st.composite
def straight(draw):
    """Draw code over three registers and two buffers, so that every kind of dependence occurs."""
    at = st.sampled_from([Address("a"), Address("b")])
    one = st.one_of(
        st.builds(lambda register, place: Instruction("ldr", register, (place,)), REGISTERS, at),
        st.builds(lambda register, place: Instruction("str", place, (register,)), REGISTERS, at),
        st.builds(lambda d, a, b: Instruction("add", d, (a, b)), REGISTERS, REGISTERS, REGISTERS),
        st.builds(lambda d, a, b: Instruction("smlad", d, (a, b, d)), REGISTERS, REGISTERS, REGISTERS),
    )
    return tuple(draw(st.lists(one, min_size=1, max_size=14)))


def meaning(body):
    """Return what every register and buffer holds in the end, as the term that was computed."""
    held: dict[str, object] = {}
    for instruction in body:
        terms = tuple(
            held.get(source.buffer if isinstance(source, Address) else source, source) for source in instruction.sources
        )
        target = instruction.destination
        name = target.buffer if isinstance(target, Address) else target
        held[name] = (instruction.op, terms, held.get(name) if isinstance(target, Address) else None)
    return held


@settings(max_examples=200, deadline=None)
@given(straight())
def test_ordered_code_computes_the_same_terms(body):
    arranged = arrange(body, ISA, TUNING)
    assert sorted(map(repr, arranged)) == sorted(map(repr, body))
    assert meaning(arranged) == meaning(body)


def test_a_load_moves_away_from_its_use():
    loads = [Instruction("ldr", f"r{n}", (Address("a", 4 * n),)) for n in range(2)]
    sums = [Instruction("add", f"r{n + 2}", (f"r{n}", f"r{n}")) for n in range(2)]
    body = (loads[0], sums[0], loads[1], sums[1])
    tuning = Tuning(1, {}, {"ldr": (2, 2)})
    assert arrange(body, ISA, tuning) == (*loads, *sums)


def test_what_closes_a_loop_stays_last_and_glued_instructions_stay_together():
    program = generate(ConvSpec(1, 4, 4, 16, 4, 4, 16, (1, 1)), ISA)
    found = [i for i, _ in walk(program.body)]
    compares = [number for number, i in enumerate(found) if i.op == "cmp"]
    assert compares
    assert all(found[n + 1].op == "it" and found[n + 2].op in ("movlt", "movgt") for n in compares)

    def loops(body):
        for statement in body:
            if isinstance(statement, Loop):
                yield statement
                yield from loops(statement.body)

    for loop in loops(program.body):
        assert tuple(i.op for i in loop.body[-2:]) == ISA.loop_control


def test_equal_code_has_equal_orders_whatever_its_addresses():
    shapes = (("ldr", ("r0",), ("@a",)), ("add", ("r1",), ("r0", "r0")), ("ldr", ("r0",), ("@a",)))
    assert order(shapes, TUNING) == order(tuple(shapes), TUNING)
    assert sorted(order(shapes, TUNING)) == [0, 1, 2]


@pytest.mark.parametrize("spec", [ConvSpec(1, 8, 8, 64, 8, 8, 64, (3, 3), padding=(1, 1))])
def test_ordering_changes_no_count(spec):
    written = scalar_kernels._generate(spec, thumb2_dsp.describe(ISA), thumb2_dsp.choices(spec, ISA)[0])
    assert sorted(i.op for i, _ in walk(written.body)) == sorted(i.op for i, _ in walk(generate(spec, ISA).body))
