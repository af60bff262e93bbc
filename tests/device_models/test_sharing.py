"""What ports lose when several kinds of work share them, calibrated on mixes of vector operations measured on Zen 3."""

from __future__ import annotations

from statistics import mean

import pytest

from device_models.cores import load_core
from device_models.cores.sharing import port_loads, shared

PORTS = {  # S shuffle, M integer product, F float product, A integer sum
    "S": ("fp1", "fp2"),
    "M": ("fp0", "fp3"),
    "F": ("fp0", "fp1"),
    "A": ("fp0", "fp1", "fp2", "fp3"),
}
# Cycles per iteration on a Zen 3 (EPYC, family 25 model 1) virtual machine; in a group each result feeds the next
# (two shuffles both feed a product); the least of 6,000 runs, three times the same.
MIXES = {
    "SSMA SSMA": 2.375,
    "SSM SSM SSM SSM": 4.001,
    "SSF SSF SSF SSF": 4.230,
    "SSFA SSFA": 2.733,
    "MMA MMA": 2.082,
    "MASAS": 1.301,
    "MAAS": 1.041,
    "SA SA": 1.203,
    "SAA SAA": 1.724,
    "SSA SSA": 2.017,
    "SSAA SSAA": 2.440,
    "SMA SMA": 1.529,
}


def error(exponent: float | None) -> float:
    """The mean error over the mixes."""
    return mean(abs(predicted(mix, exponent) / measured - 1) for mix, measured in MIXES.items())


def predicted(mix: str, exponent: float | None) -> float:
    return shared(port_loads((PORTS[kind], 1.0) for kind in mix.replace(" ", "")), exponent)


@pytest.mark.parametrize("core", ["zen3", "zen4", "zen5"])
def test_the_exponent_of_the_cores_fits_the_measured_mixes(core):
    assert error(load_core(core).timing.port_sharing.value) == pytest.approx(0.043, abs=0.0005)


def test_the_plain_maximum_is_further_off_and_so_are_exponents_outside_the_range():
    assert error(None) == pytest.approx(0.092, abs=0.0005)
    found = load_core("zen3").timing.port_sharing
    assert error(found.lowest) < 0.055
    assert error(found.highest) < 0.055
    assert error(found.lowest - 0.5) > 0.055


def test_kinds_of_work_on_ports_of_their_own_lose_nothing():
    assert predicted("SSM SSM SSM SSM", 4.0) == 4.0
