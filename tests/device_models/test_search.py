"""The search prices all that is offered, picks the same everywhere, and makes no estimate worse."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models import costing, kernel_cache, search
from device_models.cores import cost, load_core
from device_models.device import load_device
from device_models.estimate import estimate
from workloads.codegen import choices, generate
from workloads.codegen.specs import ConvSpec, CopySpec, MatrixSpec
from workloads.models import build
from workloads.options import DEFAULT

ROOT = Path(__file__).parents[2]
CORES = ["cortex-m7", "u74", "zen5", "cascade-lake"]
LAYER = ConvSpec(1, 14, 14, 32, 14, 14, 32, (3, 3), padding=(1, 1))


@st.composite
def specs(draw):
    """Draw small layers of every form that has options."""
    channels, filters = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    size, kernel = draw(st.integers(3, 9)), draw(st.sampled_from([1, 3]))
    match draw(st.sampled_from(["conv", "depthwise", "product"])):
        case "conv":
            edge = (kernel // 2, kernel // 2)
            return ConvSpec(1, size, size, channels, size, size, filters, (kernel, kernel), padding=edge)
        case "depthwise":
            edge, shape = (1, 1), (1, size, size, channels)
            return ConvSpec(*shape, size, size, channels, (3, 3), padding=edge, groups=channels, depthwise=True)
    return MatrixSpec(draw(st.integers(1, 3)), channels, filters)


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=12, deadline=None)
@given(spec=specs())
def test_nothing_that_is_offered_is_faster_than_what_is_found(name, spec):
    core = load_core(name)
    found = search.fastest(spec, core)
    offered = choices(spec, core.isa())
    assert {options for options, _ in found.tried} == set(offered)
    priced = {options: cost(generate(spec, core.isa(), options), core).cycles for options in offered}
    assert dict(found.tried) == priced
    assert found.cost.cycles == min(priced.values())
    assert found.program == generate(spec, core.isa(), found.options)
    assert found.cost.cycles <= cost(generate(spec, core.isa()), core).cycles


def test_of_equal_kernels_the_generators_first_is_taken(monkeypatch):
    monkeypatch.setenv("PRESAGE_NO_CACHE", "1")
    kernel_cache.cache_file.cache_clear()
    search.ranked.cache_clear()
    equal = cost(generate(LAYER, load_core("u74").isa()), load_core("u74"))
    monkeypatch.setattr(search, "cost", lambda program, core: equal)
    tried = search.ranked(LAYER, load_core("u74"))
    assert tuple(options for options, _ in tried) == choices(LAYER, load_core("u74").isa())
    search.ranked.cache_clear()
    kernel_cache.cache_file.cache_clear()


def test_a_kernel_without_choices_is_the_only_one():
    found = search.fastest(CopySpec(100, 10), load_core("cortex-m7"))
    assert found.tried == ((DEFAULT, found.cost.cycles),)


def test_what_has_no_kernel_is_not_searched():
    with pytest.raises(NotImplementedError, match="'matmul'"):
        search.fastest(MatrixSpec(4, 4, 4, batch=2), load_core("u74"))


def test_another_instruction_set_of_a_core_is_searched_by_name():
    found = search.fastest(LAYER, load_core("zen5"), "avx2")
    assert found.program.isa.name == "avx2"
    assert found.cost.cycles > search.fastest(LAYER, load_core("zen5")).cost.cycles


SCRIPT = """
from device_models.cores import load_core
from device_models.search import fastest
from workloads.codegen.specs import ConvSpec
found = fastest(ConvSpec(1, 14, 14, 32, 14, 14, 32, (3, 3), padding=(1, 1)), load_core("cortex-m7"))
print(found.tried, found.cost)
"""


def test_the_search_finds_the_same_in_every_process(tmp_path):
    outputs = set()
    for seed, cache in (("1", "1"), ("2", "1"), ("3", "")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PRESAGE_NO_CACHE": cache, "XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize("device", ["stm32h7a3", "jh7110", "epyc-9v45", "xeon-8275cl"])
@pytest.mark.parametrize("model", ["dscnn_kws", "resnet8", "fc_autoencoder"])
def test_the_search_makes_no_layer_slower_at_any_clock_or_number_of_threads(monkeypatch, device, model):
    on = load_device(device)
    ends = (on.clock.minimum.value, on.clock.maximum.value)
    at = [{"frequency_hz": frequency, "threads": threads} for frequency in ends for threads in {1, on.cores}]
    found = [estimate(build(model), device, **setting) for setting in at]
    monkeypatch.setattr(costing, "best_options", lambda *_: DEFAULT)
    own = [estimate(build(model), device, **setting) for setting in at]
    for mine, other in zip(found, own, strict=True):
        assert mine.latency_s <= other.latency_s
        assert mine.energy_j <= other.energy_j * (1 + 1e-12)
        pairs = zip(mine.layers, other.layers, strict=True)
        assert all(one.latency_s <= two.latency_s * (1 + 1e-12) for one, two in pairs)


def test_gathered_windows_pay_on_in_order_cores():
    """Each byte is extended once and not for each pair of channels: the search must see that."""
    for name in ("cortex-m7", "u74"):
        found = search.fastest(ConvSpec(1, 28, 28, 64, 28, 28, 64, (3, 3), padding=(1, 1)), load_core(name))
        assert found.options.lowering == "im2col"
        cycles = [number for _, number in found.tried]
        assert all(first <= second for first, second in pairwise(cycles))
        assert cycles[0] < 0.9 * dict(found.tried)[choices(LAYER, load_core(name).isa())[0]]
