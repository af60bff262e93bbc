"""The catalogue: every shipped device and core loads, and states what its sources say."""

from __future__ import annotations

import csv
import re
import tomllib
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from device_models.cores import core_names, load_core
from device_models.device import device_names, load_device
from device_models.energy import busy_power
from device_models.figures import figures

MEASURED = Path(__file__).parents[2].parent / "shared" / "measured"
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
    parts = (
        device.clock, device.compute, device.memory, device.power, device.overhead, device.operators,
        device.operating_points,
    )  # fmt: skip
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


# Names of boards and chips in published results; the same board is spelled in several ways.
SPELLINGS = {
    "NUCLEO-F746ZG": "stm32f746", "STM32H743": "stm32h743", "STM32H747I-DISCO": "stm32h747",
    "NUCLEO_H7A3ZI_int8_min_ram": "stm32h7a3", "STM32U5": "stm32u575", "B-U585I-IOT02A": "stm32u575",
    "NUCLEO_L4R5ZI-zephyr": "stm32l4r5", "NUCLEO-L4R5ZI_MicroTVM_Native": "stm32l4r5", "NRF5340-DK": "nrf5340",
    "EK-RA6M4": "ra6m4", "CY8CPROTO_062_4343W_float": "psoc62", "NUMAKER_M467HJ-zephyr": "numaker-m467",
    "gap9_650_240": "gap9", "ESP32-C3": "esp32-c3", "StarFive VisionFive 2 (JH7110)": "jh7110",
    "LicheePi 4A (TH1520, C910) 2.0GHz": "th1520", "Milk-V DuoS (SG2000, C906)": "sg2000", "BPI-F3": "spacemit-k1",
    "ClockworkPi R-01 (Allwinner D1, C906)": "allwinner-d1", "ESWIN EIC7700X (SiFive P550)": "eic7700x",
    "Hyper-V guest (i7-7700K)": "i7-7700k", "Ryzen 5700G": "ryzen-5700g", "Azure D64as v7": "epyc-9v45",
    "AMD Ryzen 9 7950X 16-Core Processor": "ryzen-7950x", "AMD Ryzen Threadripper 3970X (Zen2)": "threadripper-3970x",
    "Intel N100 (Alder Lake-N, Gracemont)": "intel-n100", "Ascend310": "ascend310", "Ascend310B1": "ascend310b1",
    "Ascend310P3": "ascend310p3", "Kirin990-5G": "kirin990-5g",
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_published_spellings_name_devices(spelling):
    assert load_device(spelling).name == SPELLINGS[spelling]


def test_the_catalogue_spans_what_it_is_meant_for():
    cores = {load_device(name).core.name for name in REAL}
    assert len(REAL) >= 30
    assert {"cortex-m4", "cortex-m7", "cortex-m33", "u74", "x60", "c908", "p550", "zen2", "zen5", "gracemont"} <= cores
    assert {"davinci-m100", "davinci-m200", "davinci-m300", "davinci-c100", "davinci-c220", "davinci-lite"} <= cores


# Without an entry, and why: no code is generated for their instruction sets, or nothing is public about their cores.
ABSENT = {
    "Armv6-M": ("NUCLEO_G0B1RE", "NUCLEO_G0B1RE_int8"),
    "Helium": ("EK-RA8D1",),
    "Xtensa": ("ESP32", "ESP32-S3"),
    "its vectors": ("ESP32-P4", "AndesCore_d25_tflite_micro_framework", "AndesCore_nx27v_tflite_micro_framework"),
    "RX and RH850": (
        "RX65N-Cloud-Kit", "RENESAS_RH850_F1KMS4_float", "RENESAS_RH850_F1KMS4_int8",
        "RENESAS_RH850_F1KMS4_int8_max_performance",
    ),
    "accelerators of their own": (
        "silicon_labs_xG24_DK2601B", "syntiant_9120_0v9_30mhz", "syntiant_9120_1v0_49mhz", "syntiant_9120_1v1_98mhz",
    ),
    "an unnamed RV32 core": ("PCL SCEPU02", "PCL Scepu02 (SMIC 55nm)"),
    "SSE": ("ROCK Pi X",),
}  # fmt: skip


@pytest.mark.skipif(not MEASURED.is_dir(), reason="the folder of published measurements is not beside the repository")
@pytest.mark.parametrize("table", ["mcu", "riscv", "x86", "ascend"])
def test_every_published_board_is_in_the_catalogue_or_known_to_be_absent(table):
    with (MEASURED / f"{table}.csv").open(encoding="utf-8", newline="") as rows:
        boards = {row["device"] for row in csv.DictReader(rows)}
    known = {alias for name in REAL for alias in (name, *load_device(name).aliases)}
    absent = {board for group in ABSENT.values() for board in group}
    assert boards - known <= absent
    assert not known & absent


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
