"""Whole networks of float32 as Programs: as near to the float kernels as rounding allows, with few layers left out."""

import numpy as np
import pytest

from workloads.execute import execute
from workloads.isa import load_isa
from workloads.models import build
from workloads.passes.prepare import prepare as ready
from workloads.run_programs import prepare, run


@pytest.fixture(scope="module")
def network():
    graph = ready(build("resnet8"))
    random = np.random.default_rng(3)
    inputs = {name: random.normal(size=graph[name].shape).astype(np.float32) for name in graph.inputs}
    return graph, inputs, execute(graph, inputs)


@pytest.mark.parametrize("name", ["avx2", "avx512-vnni", "rv64gc", "rvv", "thumb2-dsp"])
def test_a_float_network_runs_as_programs_all_but_its_softmax(network, name):
    graph, inputs, expected = network
    prepared = prepare(graph, load_isa(name))
    assert {fallback.op for fallback in prepared.fallbacks} == {"softmax"}
    found = run(graph, inputs, load_isa(name))
    for tensor, values in expected.items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(found[tensor], values, rtol=0, atol=1e-5 * scale)


def test_sets_agree_on_every_bit_where_they_add_in_the_same_order(network):
    """Each set's own choice is direct; what lanes hold changes no sum."""
    graph, inputs, _ = network
    first, *others = (run(graph, inputs, load_isa(name)) for name in ("avx2", "rv64gc", "rvv"))
    for other in others:
        assert all(np.array_equal(first[tensor], other[tensor]) for tensor in first)
