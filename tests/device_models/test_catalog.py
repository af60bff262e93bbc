"""The catalogue: every shipped device and core loads, and states what its sources say."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from itertools import pairwise

import pytest

from device_models.cores import core_names, load_core
from device_models.device import device_names, load_device
from device_models.energy import busy_power
from device_models.figures import figures

REAL = tuple(name for name in device_names() if name not in ("null", "unit"))
FOLDERS = (("device_models", "catalog"), ("device_models", "cores"), ("simulator", "links"), ("simulator", "grids"))
FILES = {
    "/".join((*folder, item.name)): item
    for folder in (*FOLDERS, ("simulator", "."), ("workloads", "isa"))
    for item in files(folder[0]).joinpath(folder[1]).iterdir()
    if item.name.endswith(".toml")
}
UNSURE = re.compile(r"assumed|unverified|not checked|no source", re.IGNORECASE)
REFERENCE = re.compile(
    r"@[0-9a-f]{5,}"  # a commit
    r"|\b\w[\w-]*/[\w-]+:\w"  # a file of a repository
    r"|\b[\w-]+\.(?:com|org|dev|edu|ai)\b"
    r"|\bdoi |\barXiv|\bDS\d{5}|\bDDI \d{4}|\border number \d{6}"
    r"|LLVM \d+\.\d+|OSACA \d|CANN \d|MLPerf Tiny v\d|stm32h7xx_ll_utils\.c"
    r"|^Assumed|^Unverified|^No source|^Derived|^Measured|^By definition"
)


def sourced(table):
    """Yield (text of the figure, or None for a row of several, key of its source) of everything in a file's tables."""
    if isinstance(table, dict):
        if isinstance(table.get("source"), str) and len(table) > 1 and "title" not in table:
            yield None, table["source"]
        for key, item in table.items():
            if key != "sources":
                yield from sourced(item)
    elif isinstance(table, list):
        if len(table) in (2, 3) and not isinstance(table[0], list | dict) and isinstance(table[1], str):
            yield " ".join(map(str, (table[0], *table[2:]))), table[1]
        else:
            for item in table:
                yield from sourced(item)


def test_the_six_devices_and_the_two_doubles_are_there():
    expected = {"ascend310b1", "epyc-9v45", "jh7110", "null", "spacemit-k1", "stm32h7a3", "unit", "xeon-8275cl"}
    assert expected <= set(device_names())


@pytest.mark.parametrize("name", device_names())
def test_every_device_loads_with_sourced_figures(name):
    device = load_device(name)
    places = [
        place for part in ("clock", "compute", "memory", "power") for place, _, _ in figures(getattr(device, part))
    ]
    assert len(places) >= 5
    assert all(len(text) > 20 for text in device.sources.values())


@pytest.mark.parametrize("name", core_names())
def test_every_core_loads_and_names_an_instruction_set(name):
    core = load_core(name)
    assert core.isa().instructions
    assert core.band.latency.lowest <= 1.0 <= core.band.latency.highest


@pytest.mark.parametrize("name", FILES)
def test_what_is_assumed_or_unverified_has_a_range(name):
    table = tomllib.loads(FILES[name].read_text(encoding="utf-8"))
    sources = table.get("sources", {})
    for text, source in sourced(table):
        if UNSURE.search(sources.get(source, "")):  # a row has no place for a range: its source states it
            assert " .. " in (sources[source] if text is None else text), (text, sources[source])


@pytest.mark.parametrize("name", FILES)
def test_every_source_is_a_reference_or_says_what_it_rests_on(name):
    table = tomllib.loads(FILES[name].read_text(encoding="utf-8"))
    texts = list(table["sources"].values()) if "sources" in table else [table["source"]]
    assert texts
    for text in texts:
        assert REFERENCE.search(text), text
        assert not re.match(r"(the )?same (file|table|cost model|results)", text, re.IGNORECASE), text


def test_the_walk_over_the_files_finds_every_figure():
    device = load_device("jh7110")
    parts = (device.clock, device.compute, device.memory, device.power, device.overhead, device.operators)
    expected = sorted(source for part in parts for _, _, source in figures(part))
    table = tomllib.loads(FILES["device_models/catalog/jh7110.toml"].read_text(encoding="utf-8"))
    walked = [source for text, source in sourced(table) if source in table["sources"]]
    assert sorted(walked) == expected
    core = load_core("zen5")
    table = tomllib.loads(FILES["device_models/cores/zen5.toml"].read_text(encoding="utf-8"))
    walked = [source for text, source in sourced(table) if source in table["sources"]]
    assert sorted(walked) == sorted(source for part in (core.timing, core.band) for _, _, source in figures(part))


@pytest.mark.parametrize(
    ("name", "macs_per_s"),
    [("stm32h7a3", 2 * 280e6), ("epyc-9v45", 128 * 32 * 4.3e9), ("jh7110", 2 * 4 * 1.5e9), ("unit", 1e6)],
)
def test_peak_rates_follow_from_the_figures(name, macs_per_s):
    assert load_device(name).peak_macs_per_s == pytest.approx(macs_per_s)


def test_memory_bandwidth_is_that_of_the_outermost_level():
    assert load_device("jh7110").memory_bytes_per_s == pytest.approx(1379e6)
    assert load_device("stm32h7a3").memory_bytes_per_s == pytest.approx(953.2e6)


def test_aliases_belong_to_one_device():
    seen = [alias for name in device_names() for alias in (name, *load_device(name).aliases)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("name", REAL)
def test_nothing_moves_faster_than_the_peak_and_caches_grow_outwards(name):
    device = load_device(name)
    assert device.peak_macs_per_s > 0
    caches = [level.size.value for level in device.memory.values() if not level.holds]
    assert caches == sorted(caches)


@pytest.mark.parametrize("name", REAL)
def test_every_operating_point_is_cheaper_per_cycle_than_the_next(name):
    """At the fastest clock of each point; a tenth is left for idle power, spread over fewer cycles of slow clocks."""
    device = load_device(name)
    clocks = [point.frequency.value for point in device.operating_points if device.power.per_cycle is not None]
    per_cycle = [busy_power(device, 1, clock) / clock for clock in clocks]
    assert all(slower <= faster * 1.1 for slower, faster in pairwise(per_cycle))
