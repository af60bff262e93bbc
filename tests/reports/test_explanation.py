"""Explanations fit a screen, and every number in a formula carries its unit and the number of its source."""

from __future__ import annotations

from typing import Any

from reports.explanation import WIDTH, render, value

SOURCES = {"chip: clock": "the data sheet, " + "and what else it says " * 8, "chip: flash": "measured"}


def term(name: str, number: float, unit: str, formula: str = "", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "value": number,
        "unit": unit,
        "formula": formula,
        "inputs": [],
        "note": "",
        "sources": [],
    } | more


def entry(name: str, number: float, unit: str, source: str = "") -> dict[str, Any]:
    return {"name": name, "value": number, "unit": unit, "source": source, "text": ""}


EXPLAINED: dict[str, Any] = {
    "model": "net", "device": "chip", "runtime": "generated", "layer": "conv", "op": "conv2d", "latency_s": 0.003,
    "total_s": 0.012, "sources": SOURCES,
    "terms": {
        "cycles": [term("cycles", 1234567, "cycle", note="by a model", sources=["chip: clock"])],
        "compute": [
            term(
                "compute_s", 0.002, "s", "cycles / clock / threads",
                inputs=[entry("cycles", 1234567, "cycle"), entry("clock", 280e6, "Hz", "chip: clock"),
                        entry("threads", 2, "")],
            )
        ],
        "memory": [term("flash_s", 0.001, "s", "read / read_rate",
                        inputs=[entry("read", 2048, "B"), entry("read_rate", 5e8, "B/s", "chip: flash")])],
    },
    "program": {
        "instruction_set": "thumb2-dsp", "options": "rows=2", "code_bytes": 864, "loaded_bytes": 4096,
        "stored_bytes": 10, "by_resource": {"issue": 1.5e6},
        "instructions": {f"instruction{number}": 1000 * number for number in range(1, 30)},
    },
}  # fmt: skip


def test_formulas_are_shown_with_values_units_and_numbers_of_sources() -> None:
    lines = [" ".join(line.split()) for line in render(EXPLAINED).splitlines()]
    assert "3.00 ms of 12.0 ms (25.0 %)" in lines
    assert "compute_s 2.00 ms = cycles / clock / threads" in lines
    assert "= 1 234 567 cycle / 280 MHz [1] / 2" in lines
    assert "= 2.00 KiB / 500 MB/s [2]" in lines
    assert "by a model [1]" in lines


def test_lines_are_at_most_a_hundred_characters_and_keep_numbers_whole() -> None:
    text = render(EXPLAINED)
    assert max(map(len, text.splitlines())) <= WIDTH == 100
    assert "instruction29 29 000" in text
    assert "[1] chip: clock: the data sheet" in " ".join(text.split())


def test_values_are_counts_in_full_bytes_in_binary_units_the_rest_with_prefixes() -> None:
    shown = [
        value(*each).replace("\u00a0", " ")
        for each in ((4096, ""), (0.8, ""), (2.5e6, "cycle"), (53248, "B"), (1e-3, "s"))
    ]
    assert shown == ["4 096", "0.800", "2 500 000 cycle", "52.0 KiB", "1.00 ms"]
