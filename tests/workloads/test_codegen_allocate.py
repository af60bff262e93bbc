"""Straight code on more words than there are registers: what it computes does not depend on how many there are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen.allocate import Code, Machine, allocated
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.program import Address, Buffer, Instruction, Program, walk

ISA = load_isa("rv32im")
ROLES = {"add": np.add, "sub": np.subtract, "xor": np.bitwise_xor, "mul": np.multiply}


def emit(role, destination, operands):
    match role:
        case "load":
            return (Instruction("lw", destination, operands),)
        case "store":
            return (Instruction("sw", operands[1], operands[:1]),)
        case "immediate":
            return (Instruction("li", destination, operands),)
    return (Instruction(role, destination, operands),)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(sorted(ROLES)), st.integers(0, 99), st.integers(0, 99)), min_size=1,
                   max_size=40),
    registers=st.integers(3, 8), apart=st.booleans(), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_number_of_registers_gives_the_same_words(steps, registers, apart, seed):
    inputs = np.random.default_rng(seed).integers(-(2**31), 2**31, 4).astype(np.int32)
    code = Code()
    words = [code.load(Address("input", 4 * place)) for place in range(4)] + [code.number(-7)]
    values = [*inputs, np.int32(-7)]
    with np.errstate(over="ignore"):
        for role, a, b in steps:
            places = a % len(words), b % len(words)
            words.append(code.do(role, *(words[place] for place in places)))
            values.append(ROLES[role](*(values[place] for place in places)))
    for place, word in enumerate(words[5:]):
        code.store(word, Address("output", 4 * place))
    machine = Machine(tuple(f"x{5 + n}" for n in range(registers)), emit, frozenset(ROLES) if apart else frozenset())
    body = allocated(code, machine, lambda number: Address("frame", 4 * number))
    buffers = (Buffer("input", 16, role="input"), Buffer("frame", 400), Buffer("output", 4 * len(steps), role="output"))
    found = execute(Program("code", ISA, buffers, body), {"input": inputs}).buffers["output"].view(np.int32)
    np.testing.assert_array_equal(found, values[5:])
    assert {one.destination for one, _ in walk(body) if isinstance(one.destination, str)} <= set(machine.registers)
