"""Whole Programs on the executor: loops, counts, buffers, and the same values without compilation."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.executor import execute
from workloads.isa import InstructionSet, Meaning, RegisterClass
from workloads.program import Address, Buffer, Instruction, Loop, Program, count


def isa_of(**meanings: Meaning) -> InstructionSet:
    return InstructionSet("toy", "Toy", "these tests", {"v": RegisterClass(8, 64)}, meanings, spaces=("memory", "near"))


def _nested(draw, depth, variables):
    """Draw statements that store bytes at addresses that move with the loops around them."""
    statements = []
    for _ in range(draw(st.integers(1, 2))):
        if depth and draw(st.booleans()):
            variable = f"i{len(variables)}"
            trips = draw(st.integers(0, 3))
            statements.append(Loop(variable, trips, tuple(_nested(draw, depth - 1, (*variables, variable)))))
        else:
            strides = tuple((variable, draw(st.integers(-3, 3))) for variable in variables)
            lanes = draw(st.integers(1, 4))
            statements.append(Instruction("load", "v0", (Address("input", 40, strides),), lanes))
            statements.append(Instruction("add", Address("out", 40, strides), (Address("out", 40, strides), 1), lanes))
    return statements


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_executed_equals_the_closed_form(data):
    isa = isa_of(load=Meaning("load", "s8", ("s8",), 4), add=Meaning("add", "u8", ("u8", "u8"), 4))
    body = tuple(_nested(data.draw, 3, ()))
    buffers = (Buffer("input", 90, "near", role="input"), Buffer("out", 90))
    execution = execute(Program("nest", isa, buffers, body), {"input": np.zeros(90, np.uint8)})
    counts = count(Program("nest", isa, buffers, body))
    assert execution.instructions == {key: value for key, value in counts.instructions.items() if value}
    for found, expected in (
        (execution.loaded_bytes, counts.loaded_bytes), (execution.stored_bytes, counts.stored_bytes)
    ):  # fmt: skip
        assert {k: v for k, v in found.items() if v} == {k: v for k, v in expected.items() if v}
    assert execution.buffers["out"].astype(int).sum() % 256 == counts.stored_bytes.get("memory", 0) % 256


def test_a_loop_that_moves_a_single_operand_moves_nothing_else():
    isa = isa_of(take=Meaning("copy_block", "s8", ("s8",)))
    last = Instruction("take", Address("y"), (Address("x", 0, (("i", 1),)),), shape=(1, 1, 1, 1))
    program = Program("last", isa, (Buffer("x", 9, role="input"), Buffer("y", 1)), (Loop("i", 9, (last,)),))
    for _ in range(50):  # what lies behind the table of moves differs from run to run
        assert execute(program, {"x": np.arange(9, dtype=np.uint8)}).buffers["y"].tolist() == [8]


def test_buffers_that_do_not_fit_are_all_named():
    program = Program("p", isa_of(), (Buffer("input", 4, role="input"), Buffer("weights", 8, role="weights")), ())
    with pytest.raises(ValueError, match="cannot run") as caught:
        execute(program, {"input": np.zeros(3, np.int8), "extra": np.zeros(1, np.int8)})
    assert str(caught.value).splitlines() == [
        "program 'p' cannot run:",
        "  buffer 'extra' is not declared; known: input, weights",
        "  buffer 'input' has 3 bytes; 4 expected",
        "  buffer 'weights' (weights) is not given; 8 bytes expected",
    ]


def test_plain_python_runs_the_same_as_compiled_code():
    code = (
        "import numpy as np\n"
        "from workloads.codegen import generate, pack\n"
        "from workloads.codegen.specs import ElementwiseSpec\n"
        "from workloads.executor import execute\n"
        "from workloads.isa import load_isa\n"
        "from workloads.operands import Operands\n"
        "spec = ElementwiseSpec('add', 6, 6)\n"
        "operands = Operands((0.5, 0.3), (3, -4), 0.4, 5, -100, 100, weight_scales=np.empty(0))\n"
        "x, y = np.arange(-60, 60, 20).astype(np.int8), np.arange(120, -120, -40).astype(np.int8)\n"
        "for name in ('thumb2-dsp', 'rv64gc', 'avx2'):\n"
        "    program = generate(spec, load_isa(name))\n"
        "    packed = pack(program, spec, operands)\n"
        "    print(execute(program, {'input': x, 'input2': y, **packed}).buffers['output'].tolist())\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True,
            env={**os.environ, "NUMBA_DISABLE_JIT": flag},
        ).stdout
        for flag in ("0", "1")
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert outputs[0].count("[") == 3
