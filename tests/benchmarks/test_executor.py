"""Speed of the executor on generated convolutions, and the MLPerf Tiny networks whole on every instruction set.

Rates are of processor time, which a busy machine disturbs least; a warm Program runs nine times.
"""

import statistics
import time

import numpy as np
import pytest

from workloads import execute as kernels
from workloads.codegen import PROFILE_OF, generate, pack
from workloads.codegen.specs import ConvSpec
from workloads.executor import Executable
from workloads.isa import load_isa
from workloads.models import build
from workloads.operands import Operands
from workloads.passes.quantize import quantize
from workloads.program import count
from workloads.run_programs import prepare

SPEC = ConvSpec(1, 16, 16, 64, 16, 16, 64, (3, 3), (1, 1), (1, 1))
SCALAR, VECTOR, CUBE = 50e6, 1e9, 5e9  # instructions/s, MAC/s, MAC/s
RVV = [("rvv", {"vlen": vlen}) for vlen in (128, 256, 512)]
SETS = [each for name in PROFILE_OF for each in (RVV if name == "rvv" else [(name, {})])]
TINY = ("resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder")


def ready(name, parameters):
    """Return a convolution ready to run, its Program, and its buffers."""
    random = np.random.default_rng(1)
    weights = random.integers(-127, 128, (64, 3, 3, 64)).astype(np.int8)
    operands = Operands((0.05,), (3,), 0.1, -5, -128, 127, weights, random.uniform(0.001, 0.01, 64))
    program = generate(SPEC, load_isa(name, **parameters))
    x = random.integers(-128, 128, (1, 16, 16, 64)).astype(np.int8)
    return Executable(program), program, {"input": x, **pack(program, SPEC, operands)}


def seconds(executable, buffers) -> list[float]:
    """Return the processor time of nine warm runs."""
    executable.run(buffers)
    times = []
    for _ in range(9):
        start = time.thread_time()
        executable.run(buffers)
        times.append(time.thread_time() - start)
    return times


@pytest.mark.benchmark(group="executor")
@pytest.mark.parametrize(
    ("name", "parameters", "least"),
    [
        *((name, {}, SCALAR) for name in ("thumb2-dsp", "rv32im", "rv64gc")),
        *((name, parameters, VECTOR) for name, parameters in (*RVV, ("avx2", {}), ("avx512-vnni", {}))),
        ("davinci", {}, CUBE),
    ],
    ids=str,
)
def test_a_generated_convolution_executes_at_the_promised_rate(benchmark, name, parameters, least):
    executable, program, buffers = ready(name, parameters)
    work = count(program).total_instructions if least == SCALAR else SPEC.macs
    times = benchmark.pedantic(seconds, (executable, buffers), rounds=1)
    rates = work / min(times), work / statistics.median(times)
    benchmark.extra_info.update(best_per_s=rates[0], median_per_s=rates[1])
    assert rates[1] >= least


@pytest.mark.benchmark(group="executor")
def test_the_tiny_networks_execute_whole_on_all_sets_within_a_minute(benchmark):
    graphs = {
        (model, arithmetic): quantize(build(model), arithmetic=arithmetic)
        for model in TINY
        for arithmetic in ("litert", "onnxruntime")
    }

    def run_all():
        for name, parameters in SETS:
            arithmetic = "onnxruntime" if PROFILE_OF[name] == "onnxruntime" else "litert"
            for model in TINY:
                graph = graphs[model, arithmetic]
                prepared = prepare(graph, load_isa(name, **parameters))
                assert prepared.fallbacks == ()
                x = {
                    each: np.random.default_rng(5).integers(-128, 128, graph[each].shape).astype(np.int8)
                    for each in graph.inputs
                }
                found = kernels.run(prepared.plan, x)
                for tensor, values in kernels.execute(graph, x, profile=PROFILE_OF[name]).items():
                    np.testing.assert_array_equal(found[tensor], values)

    benchmark.pedantic(run_all, rounds=1)
    assert benchmark.stats.stats.max < 60
