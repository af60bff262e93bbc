"""A name that means another generation of kernels every few years: rows are chosen by year, the file says which."""

from __future__ import annotations

import pytest

from device_models.measured import read_measured
from device_models.runtime import load_runtime
from simulator.calibrate_command import Request, answer
from simulator.measurement_commands import _years
from workloads.errors import InputError

ROWS = """device,freq_mhz,threads,runtime,model,precision,latency_ms,note,source
Ryzen 5700G,3800,1,mine,mobilenet_v1_025_96,fp32,0.35,line added 2022-06-05,a/board@1234567:log
Ryzen 5700G,3800,1,mine,resnet8,fp32,0.40,line added 2022-06-05,a/board@1234567:log
Ryzen 5700G,3800,1,mine,resnet8,fp32,0.20,line added 2026-01-13,a/board@1234567:log
Ryzen 5700G,3800,1,mine,dscnn_kws,fp32,0.10,,a/board@1234567:log
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("years") / "mine.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def test_the_year_of_a_row_is_read_from_its_note(measured):
    assert [row.year for row in read_measured(measured)] == [2022, 2022, 2026, None]


def test_only_rows_of_the_years_are_fitted_and_the_file_names_years_title_and_aliases(measured, tmp_path):
    asked = Request(measured, "old", title="Old kernels", aliases=("mine too",), years=(2020, 2023))
    path = tmp_path / "old.toml"
    path.write_text(answer(asked).text, encoding="utf-8")
    found = load_runtime(str(path))
    assert (found.title, found.aliases, found.years) == ("Old kernels", ("mine", "mine too"), (2020, 2023))
    assert [row.model for row in found.rows] == ["mobilenet_v1_025_96", "resnet8"]
    assert found.prior == "cpu"  # of the core and the precision


def test_years_without_rows_are_refused(measured):
    with pytest.raises(InputError, match="no row of these is from 2010 to 2012"):
        answer(Request(measured, "none", years=(2010, 2012)))


def test_a_range_of_years_is_two_numbers_in_order():
    assert _years(None) is None
    assert _years("2022") == (2022, 2022)
    assert _years("2022-2023") == (2022, 2023)
    for text in ("2023-2022", "last year", "-2022"):
        with pytest.raises(InputError, match="is no range of years; write it like 2022-2023"):
            _years(text)
