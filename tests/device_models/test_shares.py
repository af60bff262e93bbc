"""The page on shares of the peak is what the core models say, and the shares are credible."""

from pathlib import Path

import pytest

from device_models.device import load_device
from device_models.shares import LAYERS, page, references, shares

PAGE = Path(__file__).parents[2] / "workloads" / "codegen" / "shares.md"


@pytest.fixture(scope="module")
def found():
    return {(share.core, share.isa, share.layer): share for share in shares()}


def test_the_page_is_what_the_models_say_today():
    hint = "rewrite it: python -c 'from device_models.shares import page; print(page(), end=\"\")'"
    assert PAGE.read_text(encoding="utf-8") == page(), hint


def test_no_kernel_beats_its_peak_and_the_search_never_loses(found):
    assert len(found) == len(references()[0]) * len(LAYERS)
    for share in found.values():
        assert 0 < share.own <= share.best <= share.peak


@pytest.mark.parametrize("layer", ["3x3", "1x1"])
def test_convolutions_reach_most_of_every_peak(found, layer):
    for share in found.values():
        if share.layer == layer:
            assert share.share > 0.6, share


def test_generated_kernels_stand_beside_the_published_ones(found):
    """A model without memory effects may exceed a measurement; falling far below would be a poor generator."""
    for share in found.values():
        if share.published is not None:
            assert share.best > 0.65 * share.published, share


@pytest.fixture(scope="module")
def floats():
    return {(share.core, share.layer): share for share in shares("fp32")}


def test_in_float32_only_winograd_beats_a_peak_and_by_no_more_than_it_multiplies_less(floats):
    for share in floats.values():
        assert 0 < share.own <= min(share.best, share.peak)
        assert share.best <= share.peak * (4 if share.options.lowering == "winograd-4x4" else 1), share


def test_float_products_reach_most_of_every_peak_and_stand_beside_the_published_ones(floats):
    for (_, layer), share in floats.items():
        if layer in ("3x3", "1x1"):
            assert share.share > 0.9, share
        if share.published is not None:
            assert share.best > share.published, share


@pytest.mark.parametrize(
    ("core", "device"),
    [("cortex-m7", "stm32h7a3"), ("u74", "jh7110"), ("zen5", "epyc-9v45"), ("cascade-lake", "xeon-8275cl")],
)
def test_peaks_are_those_of_the_devices(core, device):
    best = max(reference.peak.value for reference in references()[0] if reference.name == core)
    assert best == load_device(device).compute.int8_peak.value
