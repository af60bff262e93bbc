"""What float32 kernels cost: work, bounds, and what Winograd's algorithm saves."""

from dataclasses import replace

import pytest

from device_models.cores import cost, load_core
from device_models.search import fastest, ranked
from workloads.codegen import choices, generate
from workloads.codegen.float_spec import FloatSpec
from workloads.codegen.specs import ConvSpec, MatrixSpec

CORES = (
    "zen2",
    "zen3",
    "zen5",
    "skylake-sp",
    "ice-lake-client",
    "gracemont",
    "cortex-m7",
    "u74",
    "p550",
    "x60",
    "c908",
    "x280",
)
LAYER = ConvSpec(1, 14, 14, 32, 14, 14, 32, (3, 3), padding=(1, 1))


def cycles(name, shape, bounds=("low",), lowering="direct"):
    core = load_core(name)
    spec = FloatSpec(shape, bounds)
    options = next(one for one in choices(spec, core.isa()) if one.lowering == lowering)
    return cost(generate(spec, core.isa(), options), core).cycles


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize(
    "change", [{"batch": 2}, {"channels": 64}, {"channels_out": 64}, {"height": 28, "height_out": 28}]
)
def test_twice_the_work_takes_about_twice_the_cycles(name, change):
    for lowering in ("direct", "winograd"):
        once, twice = (cycles(name, replace(LAYER, **more), lowering=lowering) for more in ({}, change))
        assert 1.6 * once <= twice <= 2.1 * once, (lowering, once, twice)


@pytest.mark.parametrize("name", CORES)
def test_bounds_cost_little_or_hide_behind_stores(name):
    none, one, both = (cycles(name, LAYER, bounds) for bounds in ((), ("low",), ("low", "high")))
    assert none <= one <= both < 1.1 * none


@pytest.mark.parametrize("name", CORES)
def test_winograd_is_found_where_it_can_be_and_never_beats_its_count_of_products(name):
    core = load_core(name)
    found = fastest(FloatSpec(LAYER), core)
    direct = min(value for options, value in ranked(FloatSpec(LAYER), core) if options.lowering == "direct")
    assert found.options.lowering in ("winograd", "winograd-4x4")
    assert direct / 4 < found.cost.cycles < direct


def test_a_kernel_that_no_option_serves_by_winograd_is_direct():
    core = load_core("zen3")
    for shape in (
        MatrixSpec(8, 32, 32),
        replace(LAYER, channels=31),
        replace(LAYER, stride=(2, 2), height_out=7, width_out=7),
    ):
        assert {options.lowering for options in choices(FloatSpec(shape), core.isa())} == {"direct"}


# device_models/cores/checks.md, as tests/benchmarks/test_float_kernels.py measures: MAC per cycle, measured and here
TIMED = {
    (ConvSpec(1, 28, 28, 64, 28, 28, 64, (3, 3), padding=(1, 1)), "direct"): (13.8, 15.7),
    (ConvSpec(1, 28, 28, 64, 28, 28, 64, (3, 3), padding=(1, 1)), "winograd"): (24.9, 31.5),
    (ConvSpec(1, 28, 28, 64, 28, 28, 64, (3, 3), padding=(1, 1)), "winograd-4x4"): (40.0, 52.8),
    (ConvSpec(1, 28, 28, 128, 28, 28, 128, (1, 1)), "direct"): (13.5, 15.5),
    (ConvSpec(1, 28, 28, 64, 28, 28, 64, (3, 3), padding=(1, 1), depthwise=True), "direct"): (8.2, 9.5),
    (MatrixSpec(96, 128, 128), "direct"): (13.8, 15.7),
}


@pytest.mark.parametrize(("kernel", "rates"), TIMED.items(), ids=str)
def test_kernels_timed_on_a_zen_3_took_little_more_than_the_core_model_says(kernel, rates):
    shape, lowering = kernel
    measured, here = rates
    assert shape.macs / cycles("zen3", shape, lowering=lowering) == pytest.approx(here, abs=0.06)
    assert 0.7 < measured / here < 1
