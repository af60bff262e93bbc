"""Every explained figure follows from its formula and inputs, and is the one that predictions print."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from device_models.device import device_names, load_device
from device_models.dvfs import at_supply, supply_factor
from device_models.estimate import estimate
from device_models.explain import explain
from workloads.errors import InputError
from workloads.models import build

if TYPE_CHECKING:
    from device_models.explain import Explanation
    from device_models.result import Estimate

NETWORKS = ("resnet8", "mobilenet_v1_025_96")
# One of each kind: in order with flash and waits, with caches, out of order, an accelerator, at another clock, fitted.
SETTINGS = (
    ("stm32h7a3", {}),
    ("stm32h7a3", {"frequency_hz": 80e6}),
    ("jh7110", {"threads": 4}),
    ("spacemit-k1", {}),
    ("xeon-8275cl", {"threads": 8}),
    ("ascend310b1", {}),
    ("stm32h7a3", {"runtime": "x-cube-ai-10"}),
    ("stm32h7a3", {"runtime": "cmsis-nn"}),
    ("ascend310p3", {"runtime": "cann", "precision": "fp16", "batch": 4}),
)


def evaluated(formula: str, inputs: dict[str, float]) -> float:
    """The value of a formula, which stands in Python's notation."""
    known = {"max": max, "min": min, "exp": math.exp}
    return float(eval(formula, {"__builtins__": {}}, known | inputs))  # noqa: S307 - our own formulas


def assert_sound(found: Explanation, result: Estimate) -> None:
    """Each formula gives its value, each input is a figure with a source, an earlier value, or a fact of the layer."""
    values: dict[str, float] = {}
    for term in (term for group in found.terms.values() for term in group):
        inputs = {each.name: each.value for each in term.inputs}
        if term.formula:
            assert evaluated(term.formula, inputs) == pytest.approx(term.value, rel=1e-9, abs=1e-30), term
        for each in term.inputs:
            if each.name in values:
                assert each.value == values[each.name], (term.name, each.name)
            if each.source:
                assert each.source in found.sources
        values[term.name] = term.value
    row = next(row for row in result.layers if row.name == found.layer)
    for name in ("macs", "compute_s", "memory_s", "overhead_s", "latency_s", "energy_j"):
        assert values[name] == pytest.approx(getattr(row, name), rel=1e-12), name
    assert found.latency_s == row.latency_s
    assert found.total_s == result.latency_s


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("device", "options"), SETTINGS, ids=lambda each: str(each))
def test_figures_of_every_layer_follow_from_their_formulas(
    network: str, device: str, options: dict[str, object]
) -> None:
    graph, chip = build(network), load_device(device)
    result = estimate(graph, chip, **options)  # type: ignore[arg-type]  # a table of options of several types
    names = [row.name for row in result.layers]
    kinds = {row.op: row.name for row in result.layers}
    for layer in {*kinds.values(), names[0]}:
        assert_sound(explain(graph, chip, layer, **options), result)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("device", device_names())
def test_the_longest_layer_is_explained_on_every_device(device: str) -> None:
    graph, chip = build("resnet8"), load_device(device)
    result = estimate(graph, chip)
    found = explain(graph, chip)
    assert found.latency_s == max(row.latency_s for row in result.layers)
    assert_sound(found, result)


@pytest.mark.parametrize(
    ("device", "volts"), [("stm32l4r5", 3.0), ("stm32h7a3", 1.8), ("stm32h743", 3.3)]
)  # linear, switching with energy per byte, linear
def test_a_supply_of_its_own_is_part_of_the_formulas(device: str, volts: float) -> None:
    graph, board = build("fc_autoencoder"), at_supply(load_device(device), volts)
    found = explain(graph, board)
    assert_sound(found, estimate(graph, board))
    busy, energy_j = found.terms["energy"]
    assert busy.formula.startswith("supply * (")
    assert f"supplied with {volts:g} V through a" in busy.note
    plain = explain(graph, load_device(device)).terms["energy"][1]
    assert energy_j.value == pytest.approx(plain.value * supply_factor(board))


def test_bands_of_layers_add_up_to_the_networks() -> None:
    graph, chip = build("resnet8"), load_device("stm32h7a3")
    result = estimate(graph, chip)
    ends = {"low_s": 0.0, "high_s": 0.0}
    for row in result.layers:
        for term in explain(graph, chip, row.name).terms["band"]:
            ends[term.name] += term.value
    assert ends["low_s"] == pytest.approx(result.latency_low_s)
    assert ends["high_s"] == pytest.approx(result.latency_high_s)


def test_instructions_are_those_of_the_program() -> None:
    found = explain(build("resnet8"), load_device("stm32h7a3"), "conv9")
    # Each SMLAD multiplies two pairs of the layer's 2 359 296.
    assert found.program["instructions"]["smlad"] == 2_359_296 / 2
    assert found.program["instruction_set"] == "thumb2-dsp"


def test_figures_of_devices_cores_and_runtimes_name_their_sources() -> None:
    found = explain(build("resnet8"), load_device("stm32h7a3"), "conv9", runtime="x-cube-ai-10")
    owners = {key.partition(":")[0] for key in found.sources}
    assert owners == {"stm32h7a3", "cortex-m7", "x-cube-ai-10"}
    assert all(found.sources.values())


def test_an_unknown_layer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'conv9'"):
        explain(build("resnet8"), load_device("stm32h7a3"), "conv99")
