"""Layers with a state on the sets that have them: Programs leave the outputs and the states of the integer kernels."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads import execute as kernels
from workloads import run_programs as programs
from workloads.arithmetic import quantize_multipliers
from workloads.builder import GraphBuilder
from workloads.codegen import PROFILE_OF, gates, generate, lanes_rvv, lanes_scalar, pack, svdf
from workloads.codegen.lanes import each
from workloads.codegen.rv64gc import describe as rv64
from workloads.codegen.rvv_types import typed
from workloads.codegen.specs import specify
from workloads.codegen.specs_rows import LstmSpec, SvdfSpec
from workloads.codegen.thumb2_dsp import describe as thumb2
from workloads.executor import execute
from workloads.isa import load_isa
from workloads.kernels.gemmlowp import logistic_q15, tanh_q15
from workloads.kernels.recurrent import Gate, LstmConstants, SvdfConstants, lstm, lstm_start, svdf_step
from workloads.operands import Factors, Operands
from workloads.operators import Lstm, Svdf
from workloads.program import Address, Buffer, Program, count
from workloads.run_programs import prepare
from workloads.tensor import Quantization

SETS = [
    ("thumb2-dsp", {}), ("rv32im", {}), ("rv64gc", {}), ("rv64im", {}), ("rvv", {"vlen": 128}), ("rvv", {"vlen": 512}),
    ("avx2", {}), ("avx512-vnni", {}),
]  # fmt: skip
# x86 has no fixed point of its own for these layers, and follows LiteRT's.
PROFILES = PROFILE_OF | dict.fromkeys(("avx2", "avx512-vnni"), "tflite-double")
SEEDS = st.integers(0, 2**32 - 1)


def factor(random, low, high):
    return Factors(*quantize_multipliers(np.array([2.0 ** random.uniform(low, high)])))


def bytes_of(random, *shape):
    return random.integers(-128, 128, shape).astype(np.int8)


def operands_of(own):
    return Operands((1.0,), (0,), 1.0, 0, -128, 127, recurrent=own)


def run(spec, isa, own, given):
    """Return the buffers that a Program leaves, with its counts checked on the way."""
    program = generate(spec, isa)
    execution, counts = execute(program, {**given, **pack(program, spec, operands_of(own))}), count(program)
    assert execution.instructions == counts.instructions
    assert execution.loaded_bytes == counts.loaded_bytes
    assert execution.stored_bytes == counts.stored_bytes
    return execution.buffers


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@settings(max_examples=5, deadline=None)
@given(
    batch=st.integers(1, 3), depth=st.integers(1, 30), units=st.integers(1, 40), rank=st.integers(1, 3),
    steps=st.integers(1, 10), sizes=st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2])), seed=SEEDS,
)  # fmt: skip
@example(batch=2, depth=33, units=37, rank=2, steps=9, sizes=(2, 2), seed=1)
def test_a_filter_over_time_equals_the_kernel_step_by_step(
    name, parameters, batch, depth, units, rank, steps, sizes, seed
):
    random = np.random.default_rng(seed)
    spec = SvdfSpec(batch, depth, units, rank, steps, *sizes)
    state_type, time_type = (f"int{8 * size}" for size in sizes)
    limits, times = np.iinfo(state_type), np.iinfo(time_type)
    low = int(random.integers(-128, 0))
    own = SvdfConstants(
        bytes_of(random, units * rank, depth), random.integers(times.min, times.max + 1, (units * rank, steps)),
        random.integers(-9999, 9999, units).astype(np.int32) if seed % 3 else None, rank,
        int(random.integers(-128, 128)), int(random.integers(-128, 128)), factor(random, -10, 2),
        factor(random, -26, -6), int(limits.min), int(limits.max), low, int(random.integers(low, 128)),
    )  # fmt: skip
    state = random.integers(limits.min, limits.max + 1, (batch, units * rank, steps)).astype(state_type)
    isa, profile = load_isa(name, **parameters), PROFILES[name]
    for _ in range(2):
        x = bytes_of(random, batch, depth)
        buffers = run(spec, isa, own, {"input": x, "state": svdf.to_program(spec, state)})
        expected, state = svdf_step(x, state, own, profile)
        np.testing.assert_array_equal(buffers["output"].view(np.int8).reshape(expected.shape), expected)
        np.testing.assert_array_equal(svdf.from_program(spec, buffers["state"].view(state_type)), state)


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@settings(max_examples=5, deadline=None)
@given(
    steps=st.integers(1, 4), batch=st.integers(1, 2), depth=st.integers(1, 30), units=st.integers(1, 40),
    power=st.integers(-15, -9), time_major=st.booleans(), seed=SEEDS,
)  # fmt: skip
@example(steps=3, batch=2, depth=20, units=37, power=-11, time_major=False, seed=1)
def test_a_long_short_term_memory_equals_the_kernel(
    name, parameters, steps, batch, depth, units, power, time_major, seed
):
    random = np.random.default_rng(seed)

    def gate():
        bias = random.integers(-9999, 9999, units).astype(np.int32) if random.integers(3) else None
        weights = bytes_of(random, units, depth), bytes_of(random, units, units)
        return Gate(*weights, bias, factor(random, -12, 1), factor(random, -12, 1))

    own = LstmConstants(
        (gate(), gate(), gate(), gate()), int(random.integers(-128, 128)), int(random.integers(-128, 128)),
        factor(random, -24, -20), power, int(random.choice([2**15, 9000])),
    )  # fmt: skip
    x, state = bytes_of(random, steps, batch, depth), lstm_start(own, batch)
    state[0], state[1] = random.integers(-128, 128, (batch, units)), random.integers(-9000, 9000, (batch, units))
    expected, following = lstm(x, state, own, PROFILES[name])
    given = {
        "input": x if time_major else np.ascontiguousarray(x.swapaxes(0, 1)), "hidden": state[0].astype(np.int8),
        "cell": state[1].astype(np.int16),
    }  # fmt: skip
    spec = LstmSpec(steps, batch, depth, units, power, time_major)
    buffers = run(spec, load_isa(name, **parameters), own, given)
    found = buffers["output"].view(np.int8).reshape((steps, batch, units) if time_major else (batch, steps, units))
    np.testing.assert_array_equal(found if time_major else found.swapaxes(0, 1), expected)
    np.testing.assert_array_equal(buffers["hidden"].view(np.int8).reshape(batch, units), following[0])
    np.testing.assert_array_equal(buffers["cell"].view(np.int16).reshape(batch, units), following[1])


@pytest.mark.parametrize(
    "lanes",
    [
        lanes_scalar.lanes_of(thumb2(load_isa("thumb2-dsp"))), lanes_scalar.lanes_of(rv64(load_isa("rv64im"))),
        lanes_rvv.lanes_of(load_isa("rvv")),
    ],
    ids=lambda lanes: lanes.isa.name,
)  # fmt: skip
@pytest.mark.parametrize(
    ("write", "kernel", "integer_bits"),
    [(gates.logistic, logistic_q15, 3), *((gates.tanh, tanh_q15, bits) for bits in range(7))],
)
def test_every_16_bit_number_has_the_function_of_the_kernel(lanes, write, kernel, integer_bits):
    def part(s, first):
        at = Address("input", 2 * first, (("strip", 2 * s.count),))
        s.load(lanes.words[0], 2, at)
        write(s, integer_bits)
        s.store(lanes.words[0], 2, Address("output", at.offset, at.strides))

    x = np.arange(-(2**15), 2**15).astype(np.int16)
    space = lanes.isa.spaces[0]
    buffers = Buffer("input", x.nbytes, space, "input"), Buffer("output", x.nbytes, space, "output")
    program = Program("function", lanes.isa, buffers, (*lanes.before, *each(lanes, x.size, part)))
    program = typed(program) if lanes.isa.name == "rvv" else program
    found = execute(program, {"input": x}).buffers["output"].view(np.int16)
    np.testing.assert_array_equal(found, kernel(x, integer_bits))


def quantized(builder, name, values, scale, zero_point=0):
    quantization = Quantization(np.array([scale]), np.array([zero_point]))
    return builder.constant(name, values.shape, values, values.dtype.name, quantization)


def filter_network(random):
    builder = GraphBuilder("filter")
    x = builder.input("x", (2, 12), "int8", Quantization(np.array([0.05]), np.array([4])))
    feature = quantized(builder, "feature", bytes_of(random, 10, 12), 0.01)
    time = quantized(builder, "time", random.integers(-999, 999, (10, 6)).astype(np.int16), 0.001)
    out = Quantization(np.array([0.2]), np.array([-3]))
    return builder.build([builder.layer(Svdf(2, 0.003), [x, feature, time], output="y", quantization=out)], "litert")


def memory_network(random):
    builder = GraphBuilder("memory")
    x = builder.input("x", (2, 5, 12), "int8", Quantization(np.array([0.05]), np.array([4])))
    weights = [quantized(builder, f"w{n}", bytes_of(random, 7, 12 if n < 4 else 7), 0.01) for n in range(8)]
    biases = [builder.constant(f"b{n}", (7,), random.integers(-999, 999, 7, np.int32), "int32") for n in range(4)]
    out = Quantization(np.array([1 / 128]), np.array([2]))
    layer = builder.layer(Lstm(cell_clip=3.0), [x, *weights, *biases], output="y", quantization=out)
    return builder.build([layer], "litert")


@pytest.mark.parametrize(("name", "parameters"), SETS, ids=str)
@pytest.mark.parametrize(
    ("network", "spec"),
    [(filter_network, SvdfSpec(2, 12, 5, 2, 6)), (memory_network, LstmSpec(5, 2, 12, 7, -11))],
    ids=["svdf", "lstm"],
)
def test_a_layer_with_a_state_in_a_network_runs_as_a_program_and_keeps_its_state(network, spec, name, parameters):
    random = np.random.default_rng(5)
    graph, isa = network(random), load_isa(name, **parameters)
    assert specify(graph, graph.layers[0]) == spec
    prepared = prepare(graph, isa)
    assert not prepared.fallbacks
    plan, ours, theirs = kernels.plan(graph, profile=PROFILE_OF[name]), {}, {}
    for _ in range(3):
        x = {"x": bytes_of(random, *graph["x"].shape)}
        found, expected = kernels.run(prepared.plan, x, ours), kernels.run(plan, x, theirs)
        np.testing.assert_array_equal(found["y"], expected["y"])
    np.testing.assert_array_equal(kernels.run(prepared.plan, x)["y"], kernels.run(plan, x)["y"])


@pytest.mark.parametrize("name", ["davinci"])
@pytest.mark.parametrize("spec", [SvdfSpec(1, 8, 4, 1, 3), LstmSpec(2, 1, 8, 4, -11)])
def test_sets_whose_arithmetic_has_no_integer_factors_say_so(name, spec):
    with pytest.raises(NotImplementedError, match=rf"{PROFILE_OF[name]} has none"):
        generate(spec, load_isa(name))


def test_a_set_without_a_program_for_it_leaves_a_layer_with_a_state_to_the_kernel():
    graph = filter_network(np.random.default_rng(5))
    (fallback,) = prepare(graph, load_isa("davinci")).fallbacks
    assert "layers with a state need integer factors" in fallback.reason
    x = {"x": bytes_of(np.random.default_rng(6), 2, 12)}
    expected = kernels.execute(graph, x, profile="tflite-double")["y"]
    np.testing.assert_array_equal(programs.run(graph, x, load_isa("davinci"))["y"], expected)


def test_cells_whose_scale_the_functions_do_not_take_are_refused():
    with pytest.raises(NotImplementedError, match=r"cells of scale 2\*\*-8; expected 2\*\*-15 to 2\*\*-9"):
        generate(LstmSpec(1, 1, 4, 4, -8), load_isa("rv64gc"))


def test_operands_of_another_layer_are_refused():
    isa, none = load_isa("rv64gc"), operands_of(None)
    for spec in (SvdfSpec(1, 8, 4, 1, 3), LstmSpec(2, 1, 8, 4, -11)):
        with pytest.raises(ValueError, match="needs its constants"):
            pack(generate(spec, isa), spec, none)
