"""Measured int8 and requantising loops on Zen 5: every one is priced, and closer to the core than other tools come."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files
from statistics import mean, median

import pytest
from x86_loops import LOOPS, assembly

from device_models.cores import cost, load_core, timeline
from device_models.cores.drawing import LEGEND

TRIPS = 30  # no mispredict at the end
NOT_EXPLAINED = "dot_scalar_imul"


def predicted(name: str) -> float:
    return cost(LOOPS[name].program(name, TRIPS), load_core("zen5")).cycles / TRIPS


def test_all_sixteen_loops_are_priced_within_five_percent_on_average():
    errors = [abs(predicted(name) / loop.cycles - 1) for name, loop in LOOPS.items()]
    assert len(errors) == 16
    assert mean(errors) <= 0.05
    assert median(errors) <= 0.02


@pytest.mark.parametrize("name", LOOPS)
def test_the_page_shows_what_is_measured_predicted_and_said_by_others(name):
    text = (files("device_models.cores") / "checks.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    loop, cycles = LOOPS[name], predicted(name)
    osaca = "–" if loop.osaca is None else f"{loop.osaca}"  # noqa: RUF001 - the page's own dash
    bound = cost(loop.program(name, TRIPS), load_core("zen5")).bound
    error = f"{100 * (cycles / loop.cycles - 1):+.1f} %"
    shown = [f"{loop.cycles:.3f}", f"{cycles:.2f}", error, bound, f"{loop.mca:g}", osaca]
    assert row == f"| {name} | {' | '.join(shown)} |"


def test_the_tools_are_further_off_and_one_of_them_leaves_four_out():
    llvm_mca = [abs(loop.mca / loop.cycles - 1) for loop in LOOPS.values()]
    osaca = [abs(loop.osaca / loop.cycles - 1) for loop in LOOPS.values() if loop.osaca is not None]
    assert mean(llvm_mca) == pytest.approx(0.58, abs=0.005)
    assert mean(osaca) == pytest.approx(0.108, abs=0.0005)
    assert len(osaca) == 12


@pytest.mark.parametrize("name", [name for name in LOOPS if name != NOT_EXPLAINED])
def test_a_loop_is_within_ten_percent_of_its_measurement(name):
    assert predicted(name) == pytest.approx(LOOPS[name].cycles, rel=0.1)


def test_the_scalar_loop_takes_at_least_its_four_additions_in_a_row():
    assert 4 <= predicted(NOT_EXPLAINED) <= LOOPS[NOT_EXPLAINED].cycles


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("dot_u8s8_vnni512", "ld0+ld1"),  # eight loads
        ("dot_u8s8_vnni512_1acc", "chain"),  # two VPDPBUSD in a row
        ("relu_s8_512", "st0+st1"),  # two stores of 64 bytes
        ("pack_saturate", "fp1+fp2"),  # three shuffles
        ("binary_popcnt_xnor", "chain"),  # one addition of two cycles
    ],
)
def test_the_binding_resource_is_named(name, bound):
    assert cost(LOOPS[name].program(name, TRIPS), load_core("zen5")).bound == bound


def llvm_mca_19() -> str:
    found = shutil.which("llvm-mca-19")
    if found is None:
        pytest.skip("llvm-mca-19 is not installed")
    return found


@pytest.mark.parametrize("name", LOOPS)
def test_llvm_mca_prints_its_published_figure_for_our_listing(name):
    """So the Programs here are the loops that were measured, as far as a tool can tell."""
    command = [llvm_mca_19(), "-mtriple=x86_64-linux-gnu", "-mcpu=znver5", "-iterations=10000"]
    shown = subprocess.run(command, input=assembly(LOOPS[name]), capture_output=True, text=True, check=True).stdout
    match = re.search(r"Total Cycles:\s+(\d+)", shown)
    assert match is not None
    assert int(match[1]) / 10_000 == pytest.approx(LOOPS[name].mca, abs=0.005)


def test_a_timeline_shows_ports_waits_and_what_binds():
    loop = LOOPS["dot_u8s8_vnni512_1acc"]
    drawn = timeline(loop.program("sums", TRIPS), load_core("zen5"), iterations=2).splitlines()
    assert drawn[0] == "AMD Zen 5, sums, loop i of 30 trips, once: 240 of 240 cycles"
    assert drawn[1] == LEGEND
    sums = [line for line in drawn if "vpdpbusd" in line]
    assert len(sums) == 4
    assert [int(line.split()[0]) for line in sums] == [int(sums[0].split()[0]) + 4 * index for index in range(4)]
    assert sums[-1].endswith("zmm0")
    assert drawn[-1].startswith("chain binds: 8 cycles per iteration; ")
