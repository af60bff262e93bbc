"""Quantities are read exactly, and every wrong one is answered in the house style."""

from __future__ import annotations

import contextlib
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from device_models.quantities import (
    BitsPerSecond,
    Bytes,
    BytesPerCycle,
    CyclesPerElement,
    Dimension,
    GramsPerKilowattHour,
    Hertz,
    Joules,
    JoulesPerBit,
    JoulesPerByte,
    PerSecond,
    Ratio,
    Seconds,
    Watts,
    WattsPerBitPerSecond,
    faults_of,
    parse_quantity,
)

TIME = Dimension("s", ("s", "min", "h", "d"), "100 ms")


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Battery(Strict):
    capacity: Joules
    state_of_charge: Ratio = 1.0


class Workload(Strict):
    deadline: Seconds = 1.0
    rate: PerSecond = 1.0
    count: int = 1
    battery: Battery | None = None


def read(annotation, text):
    model = type("One", (BaseModel,), {"__annotations__": {"value": annotation}})
    return model.model_validate({"value": text}).value


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Watts, "121.9 mW", 0.1219),
        (Seconds, "100 ms", 0.1),
        (Seconds, "8 h", 28800.0),
        (Seconds, "9.4 ns", 9.4e-9),
        (Seconds, "5 µs", 5e-6),
        (Seconds, "5us", 5e-6),
        (Hertz, "4.3 GHz", 4.3e9),
        (Joules, "3.7 Wh", 13320.0),
        (Joules, "165.728 uJ", 165.728e-6),
        (Bytes, "512 KiB", 524288.0),
        (Bytes, "1 kB", 1000.0),
        (BitsPerSecond, "5 Mbit/s", 5e6),
        (BitsPerSecond, "1 MB/s", 8e6),
        (PerSecond, "6 /h", 6 / 3600),
        (PerSecond, "10 / s", 10.0),
        (GramsPerKilowattHour, "581 gCO2e/kWh", 581.0),
        (GramsPerKilowattHour, "0.581 kg/kWh", 581.0),
        (BytesPerCycle, "64 B/cycle", 64.0),
        (CyclesPerElement, "100 cycle/element", 100.0),
        (JoulesPerByte, "12.5 pJ/bit", 100e-12),
        (JoulesPerBit, "20 nJ/bit", 20e-9),
        (WattsPerBitPerSecond, "20 mW/(Mbit/s)", 20e-9),
        (Ratio, 0.9, 0.9),
        (Ratio, "90 %", 0.9),
    ],
)
def test_text_with_a_unit_becomes_the_nearest_si_float(annotation, text, value):
    assert read(annotation, text) == value


@given(st.decimals(min_value=0, max_value=10**6, places=6, allow_nan=False), st.sampled_from(["m", "u", "n", "k", ""]))
@settings(max_examples=60, deadline=None)
def test_parsing_rounds_once(magnitude, prefix):
    factor = {"m": Decimal("1e-3"), "u": Decimal("1e-6"), "n": Decimal("1e-9"), "k": Decimal(1000), "": Decimal(1)}
    assert parse_quantity(f"{magnitude} {prefix}s", TIME) == float(magnitude * factor[prefix])


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (0.5, '0.5 has no unit; write it as text, e.g. "100 ms"'),
        ("5", "'5' has no unit; write it as text, e.g. \"100 ms\""),
        ("3.7 W", "'3.7 W' has unit 'W'; expected one of s, min, h, d (with an SI prefix)"),
        ("3 parsec", "'3 parsec' has unit 'parsec'; expected one of s, min, h, d (with an SI prefix)"),
        ("3 __import__('os')", "has unit \"__import__('os')\"; expected one of"),
        ("3 (s", "'3 (s' has unit '(s'; expected one of s, min, h, d (with an SI prefix)"),
        ("soon", "'soon' is not a number with a unit; write e.g. \"100 ms\""),
        ("nan s", "'nan s' is not a number with a unit; write e.g. \"100 ms\""),
        ("-3 s", "'-3 s' is negative; expected at least 0 s"),
        ("1e999 s", "'1e999 s' is too large"),
        (True, 'True is not a quantity; write it as text, e.g. "100 ms"'),
        ([1], '[1] is not a quantity; write it as text, e.g. "100 ms"'),
    ],
)
def test_a_wrong_quantity_says_what_was_found_and_what_was_expected(raw, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_quantity(raw, TIME)


@given(st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_quantity_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse_quantity(text, TIME) >= 0


def test_all_faults_of_a_file_are_listed_with_suggestions():
    wrong = {"deadlin": "1 s", "rate": 0.5, "count": "many", "battery": {"capacity": "3.7 W", "state_of_charg": 1}}
    with pytest.raises(ValidationError) as caught:
        Workload.model_validate(wrong)
    assert faults_of(caught.value, Workload) == [
        'rate: 0.5 has no unit; write it as text, e.g. "1 /s"',
        "count: 'many'; expected a valid integer, unable to parse string as an integer",
        "battery.capacity: '3.7 W' has unit 'W'; expected one of J, Wh (with an SI prefix)",
        "battery.state_of_charg: unknown key; did you mean 'state_of_charge'?",
        "deadlin: unknown key; did you mean 'deadline'?",
    ]


def test_a_missing_key_is_named():
    with pytest.raises(ValidationError) as caught:
        Workload.model_validate({"battery": {}})
    assert faults_of(caught.value, Workload) == ["battery.capacity: required key is missing"]


def test_quantities_appear_as_text_in_the_schema():
    field = Battery.model_json_schema()["properties"]["capacity"]
    assert field["type"] == "string"
    assert field["examples"] == ["3.7 Wh"]
