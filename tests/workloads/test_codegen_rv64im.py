"""RV64IM: the kernels of RV64GC without MIN and MAX, and with the same values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.codegen import generate
from workloads.codegen.rv64gc import describe
from workloads.codegen.specs import ConvSpec, PoolSpec
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.models import build
from workloads.passes.quantize import quantize
from workloads.program import Address, Buffer, Instruction, Program, count
from workloads.run_programs import run

INT32 = st.integers(-(2**31), 2**31 - 1)


def test_the_set_is_rv64gc_without_zbb_and_single_precision():
    small, full = load_isa("rv64im"), load_isa("rv64gc")
    single = {name for name, meaning in full.instructions.items() if "f32" in (meaning.result, *meaning.sources)}
    assert set(full.instructions) - set(small.instructions) == {"min", "max", *single}
    assert all(full.instructions[name] == meaning for name, meaning in small.instructions.items())


@pytest.mark.parametrize("role", ["minimum", "maximum"])
@given(value=INT32, limit=INT32)
@settings(max_examples=60, deadline=None)
def test_bounds_through_a_mask_are_bounds(role, value, limit):
    isa = load_isa("rv64im")
    body = (
        Instruction("lw", "x5", (Address("input", 0),)),
        Instruction("lw", "x6", (Address("input", 4),)),
        *describe(isa).bound(role, "x5", "x6"),
        Instruction("sw", Address("output", 0), ("x5",)),
    )
    buffers = (Buffer("input", 8, "memory", "input"), Buffer("output", 4, "memory", "output"))
    found = execute(Program("bound", isa, buffers, body), {"input": np.array([value, limit], np.int32)})
    expected = min(value, limit) if role == "minimum" else max(value, limit)
    assert np.frombuffer(found.buffers["output"].tobytes(), np.int32)[0] == expected


@pytest.mark.parametrize(
    "spec",
    [
        ConvSpec(1, 6, 6, 8, 6, 6, 8, (3, 3), padding=(1, 1)),
        PoolSpec("max", 1, 6, 6, 8, 3, 3, (2, 2), (2, 2)),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_programs_differ_in_bounds_alone(spec):
    small, full = (count(generate(spec, load_isa(name))) for name in ("rv64im", "rv64gc"))
    bounds = sum(full.instructions.get(name, 0) for name in ("min", "max"))
    assert bounds > 0
    assert sum(small.instructions.values()) == sum(full.instructions.values()) + 3 * bounds


def test_a_network_gives_the_values_of_rv64gc():
    graph = quantize(build("dscnn_kws"), arithmetic="litert")
    generator = np.random.default_rng(3)
    (name,) = graph.inputs
    inputs = {name: generator.integers(-128, 128, graph[name].shape).astype(np.int8)}
    found, expected = (run(graph, inputs, load_isa(isa)) for isa in ("rv64im", "rv64gc"))
    for output in graph.outputs:
        assert np.array_equal(found[output], expected[output])
