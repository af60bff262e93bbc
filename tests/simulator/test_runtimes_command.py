"""``presage runtimes``: what error to expect of each runtime, from the rows recorded in its file alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from device_models.runtime import load_runtime


def test_each_runtime_tells_its_errors_on_families_left_out(presage):
    status, out, _ = presage("runtimes", "--format", "json")
    found = {each["runtime"]: each for each in json.loads(out)}
    assert status == 0
    rows = load_runtime("x-cube-ai-10").rows
    errors = [abs(row.held_out / row.measured - 1) for row in rows]
    told = found["x-cube-ai-10"]
    assert (told["rows"], told["families"]) == (len(rows), len({row.family for row in rows}))
    assert told["held_out"]["median"] == pytest.approx(np.median(errors))
    assert told["held_out"]["worst"] == pytest.approx(max(errors))
    inside = [row.held_out * math.exp(-row.reach) <= row.measured <= row.held_out * math.exp(row.reach) for row in rows]
    assert told["coverage"] == pytest.approx(sum(inside) / len(inside))
    assert found["all"]["rows"] == sum(each["rows"] for name, each in found.items() if name != "all")
    assert found["cortex-m"]["held_out"] is None


def test_the_table_has_a_line_for_each(presage):
    _, out, _ = presage("runtimes")
    (line,) = [line.split() for line in out.splitlines() if line.startswith(" x-cube-ai-10 ")]
    assert line[:3] == ["x-cube-ai-10", "int8", "cortex-m7"]
    (start,) = [line.split() for line in out.splitlines() if line.startswith(" cortex-m ")]
    assert start[3:] == ["-"] * 6


def test_every_multiplier_of_one_is_shown_with_its_range_and_rows(presage):
    _, out, _ = presage("runtimes", "x-cube-ai-10", "--format", "json")
    (found,) = json.loads(out)
    terms = load_runtime("x-cube-ai-10").terms
    assert len(found["sections"]["terms"]) == len(terms)
    name, value, source, spread = found["sections"]["terms"][0]
    assert name.startswith("conv: program of conv")
    assert float(value) == terms["conv"].multiplier.value
    assert [float(end) for end in spread.split(" .. ")] == [terms["conv"].multiplier.low, terms["conv"].multiplier.high]
    assert source in found["sources"]
    assert len(found["sections"]["rows: measured, and the fit without the family"]) == 12
    _, text, _ = presage("runtimes", "x-cube-ai-10")
    assert "Fitted by presage to 12 rows of 6 families" in text.replace("\n", " ")


def test_an_unknown_name_is_wrong_input(presage):
    status, _, err = presage("runtimes", "x-cube-ai-11")
    assert status == 2
    assert "did you mean 'x-cube-ai-10'?" in err
