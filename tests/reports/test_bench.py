"""Benches as records and reports: equal after reading, compared by resource, and readable by people and machines."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reports import bench as views
from reports import bench_record
from reports.bench_compare import Gate, compare, sentence
from reports.bench_record import Bench, Chip, Measured
from reports.store import RecordError

CHIP = Chip(title="Cortex-M7", core="cortex-m7", frequency_hz=280e6, threads=1, peak_macs_per_cycle=2.0, tables="t1")
ROW = Measured(
    group="net", kernel="dwconv 3x3 8x8x16 > 8x8x16", options="", chosen="rows=2", device="m7", isa="thumb2-dsp",
    layers=("block1/depthwise", "block2/depthwise"), macs=9216, cycles=10_000.0, time_s=10_000 / 280e6, energy_j=4.5e-6,
    loaded_bytes=4096, stored_bytes=1024, read_bytes={"flash": 160}, written_bytes={"flash": 0}, code_bytes=420,
    macs_per_cycle=0.9216, share_of_peak=0.4608, bound="issue",
    causes={"issue": 8000.0, "branch": 1000.0, "launch": 1000.0}, resources={"issue": 8000.0, "load": 5000.0},
    instructions={"smlad": 4608, "ldrsb": 512, "bne": 200}, program="0123456789ab",
)  # fmt: skip


def bench(*rows: Measured, generators: str = "g1", **chips: Chip) -> Bench:
    return Bench(schema=1, suite="Mine", generators=generators, devices={"m7": CHIP, **chips}, kernels=rows)


def changed(**fields: object) -> Measured:
    return ROW.model_copy(update=fields)


WORSE = changed(
    cycles=10_312.0, energy_j=4.64e-6, program="ba9876543210", code_bytes=428,
    causes={"issue": 8300.0, "branch": 1012.0, "launch": 1000.0},
    instructions={"smlad": 4592, "ldrsb": 544, "bne": 200}, read_bytes={"flash": 224},
)  # fmt: skip
BETTER = changed(kernel="add 64", cycles=9_000.0, causes={"issue": 7000.0, "branch": 1000.0, "launch": 1000.0})
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
sizes = st.integers(0, 2**50)
amounts = st.floats(0, 1e15, allow_nan=False)


@st.composite
def rows(draw: st.DrawFn) -> Measured:
    return changed(
        group=draw(names), kernel=draw(names), layers=tuple(draw(st.lists(names, max_size=3))), cycles=draw(amounts),
        energy_j=draw(amounts), code_bytes=draw(st.none() | sizes), read_bytes=draw(st.dictionaries(names, sizes)),
        causes=draw(st.dictionaries(names, amounts)), instructions=draw(st.dictionaries(names, sizes)),
        program=draw(st.none() | names),
    )  # fmt: skip


@given(st.lists(rows(), max_size=3, unique_by=lambda row: row.name))
def test_a_record_is_read_back_equal_and_written_in_one_order(found: list[Measured]) -> None:
    text = bench_record.to_json(bench(*found))
    again = bench_record.from_data(json.loads(text))
    assert sorted(again.kernels, key=lambda row: row.name) == sorted(found, key=lambda row: row.name)
    assert again.devices == {"m7": CHIP}
    assert bench_record.to_json(bench(*reversed(found))) == text == bench_record.to_json(again)


def test_a_record_has_a_kernel_a_line_so_that_a_difference_reads_well() -> None:
    before, after = (bench_record.to_json(bench(row)).splitlines() for row in (ROW, changed(cycles=10_001.0)))
    ((old, new),) = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert old.startswith(f'    "{ROW.name}": {{')
    assert new == old.replace('"cycles": 10000.0,', '"cycles": 10001.0,')


def test_a_record_leaves_out_empty_fields_and_data_for_programs_has_them() -> None:
    rate = bench(changed(isa="rate", instructions={}, resources={}, code_bytes=None, program=None))
    (row,) = json.loads(bench_record.to_json(rate))["kernels"].values()
    assert row.keys() == ROW.model_fields_set - {"instructions", "resources", "code_bytes", "program", "options"}
    (whole,) = bench_record.to_data(rate)["kernels"].values()
    assert whole.keys() == type(ROW).model_fields.keys()
    assert (whole["instructions"], whole["program"]) == ({}, None)


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda raw: raw.update(schema=2), "schema: found 2; this version reads 1; accept a new baseline"),
        (lambda raw: raw.pop("kernels"), "kernels: expected a table of kernels by name"),
        (lambda raw: raw["kernels"][ROW.name].pop("cycles"), f"kernels.{ROW.name!r}.cycles: field required"),
        (lambda raw: raw["kernels"][ROW.name].update(cycles="9"), "input should be a valid number; found '9'"),
        (lambda raw: raw["kernels"][ROW.name].update(more=1), "extra inputs are not permitted; found 1"),
        (
            lambda raw: raw["kernels"].update(other=raw["kernels"].pop(ROW.name)),
            "'other' is the name of another kernel",
        ),
    ],
)
def test_a_wrong_record_is_refused_by_field(edit, fault, tmp_path) -> None:
    raw = json.loads(bench_record.to_json(bench(ROW)))
    edit(raw)
    (tmp_path / "baseline.json").write_text(json.dumps(raw))
    with pytest.raises(RecordError) as caught:
        bench_record.read(tmp_path / "baseline.json")
    assert fault in str(caught.value)


def test_two_kernels_of_one_name_are_no_record() -> None:
    with pytest.raises(ValueError, match="is there twice"):
        bench(ROW, ROW)


def test_a_difference_is_attributed_to_resources_instructions_and_bytes() -> None:
    (found,) = compare(bench(WORSE), bench(ROW), Gate()).differences
    assert sentence(found) == (
        "+312 cycles (+3.1 %) in net: dwconv 3x3 8x8x16 > 8x8x16 on m7 (thumb2-dsp), 2 times: issue +300, branch +12; "
        "instructions ldrsb +32, smlad -16; bytes read flash +64; code +8 B; energy +140 nJ"
    )
    assert found.failed == ("cycles", "energy", "bytes")


def test_another_choice_of_the_search_is_named() -> None:
    (found,) = compare(bench(changed(cycles=9_000.0, chosen="rows=4")), bench(ROW), Gate()).differences
    assert "options rows=4, were rows=2" in sentence(found)


def test_the_same_program_on_a_changed_model_is_said_to_be_the_same() -> None:
    other = changed(cycles=9_900.0, causes={"issue": 7900.0, "branch": 1000.0, "launch": 1000.0})
    tables = CHIP.model_copy(update={"tables": "t2"})
    compared = compare(bench(other, m7=tables), bench(ROW, generators="g0"), Gate())
    assert sentence(compared.differences[0]).endswith("issue -100 (the Program is the same)")
    assert compared.notes == (
        "The code generators or instruction sets are not those of the baseline.",
        "The tables of m7 are not those of the baseline: core model, timings, memories or power changed.",
    )


def test_cycles_that_one_side_does_not_divide_are_not_attributed() -> None:
    undivided = changed(cycles=9_000.0, causes={"core": 8000.0, "launch": 1000.0})
    (found,) = compare(bench(ROW), bench(undivided), Gate()).differences
    assert sentence(found).startswith("+1 000 cycles (+11.1 %)")
    assert "issue" not in sentence(found)


@pytest.mark.parametrize(
    ("gate", "failed"),
    [
        (Gate(), ("cycles", "energy", "bytes")),
        (Gate(("cycles",)), ("cycles",)),
        (Gate(("code",)), ("code",)),
        (Gate(percent=3.12), ()),
        (Gate(percent=3.11), ("cycles", "energy")),
        (Gate(percent=1.2), ("cycles", "energy", "bytes")),
        (Gate(cycles=311), ("cycles",)),
        (Gate(cycles=312), ()),
    ],
)
def test_a_gate_fails_what_grows_beyond_it(gate: Gate, failed: tuple[str, ...]) -> None:
    more = WORSE.model_copy(update={"energy_j": 4.6404e-6})  # 3.12 % more, as are the cycles; bytes are 1.2 % more
    (found,) = compare(bench(more), bench(ROW), gate).differences
    assert found.failed == failed


@given(st.floats(1, 1e9), st.floats(1, 1e9))
def test_what_is_better_one_way_is_worse_the_other(first: float, second: float) -> None:
    one, two = bench(changed(cycles=first)), bench(changed(cycles=second))
    kinds = [[found.kind for found in compare(*pair, Gate()).differences] for pair in ((one, two), (two, one))]
    assert kinds in ([[], []], [["regression"], ["improvement"]], [["improvement"], ["regression"]])


def test_a_bench_equals_itself_and_names_what_has_no_partner() -> None:
    compared = compare(bench(ROW, BETTER), bench(ROW, BETTER), Gate())
    assert (compared.compared, compared.differences, compared.appeared, compared.vanished) == (2, (), (), ())
    compared = compare(bench(ROW), bench(BETTER), Gate())
    assert (compared.compared, compared.appeared, compared.vanished) == (0, (ROW.name,), (BETTER.name,))
    assert views.failure(bench(ROW), compared) == views.NOTHING_COMPARED
    assert views.failure(bench(), None) == views.NOTHING


def test_the_costliest_regression_comes_first() -> None:
    small = changed(kernel="a", layers=(), cycles=10_400.0)
    old = [ROW, changed(kernel="a", layers=()), BETTER.model_copy(update={"cycles": 10_000.0})]
    compared = compare(bench(small, BETTER, WORSE), bench(*old), Gate())
    # 312 cycles twice are more than 400 once.
    assert [found.after.kernel for found in compared.differences] == [WORSE.kernel, "a", BETTER.kernel]


def test_the_text_fits_a_hundred_columns() -> None:
    old = BETTER.model_copy(update={"cycles": 10_000.0})
    file = io.StringIO()
    views.render(
        bench(WORSE, BETTER), compare(bench(WORSE, BETTER), bench(ROW, old), Gate()), Console(file=file, width=100)
    )
    text = file.getvalue()
    tables, sentences = text.split("Regressions")
    assert max(len(line.rstrip()) for line in tables.splitlines()) <= 100
    assert "dwconv 3x3 8x8x16 > 8x8x16      2  10 312   +3.1 %" in tables
    assert "46.1 %" in tables
    assert sentences.rstrip().endswith("FAILED: 1 of 2 kernels is worse: cycles or energy or bytes grew at all.")


def test_without_a_baseline_the_verdict_says_that_nothing_was_gated() -> None:
    assert views.verdict(bench(ROW), None) == (
        "OK: 1 kernel measured, none compared: there is no baseline; write one with --accept."
    )


def test_markdown_leads_with_the_verdict_and_folds_the_kernels_away() -> None:
    text = views.markdown(bench(WORSE), compare(bench(WORSE), bench(ROW), Gate()))
    lines = text.splitlines()
    assert lines[:3] == ["## Mine", "", "**FAILED: 1 of 1 kernels is worse: cycles or energy or bytes grew at all.**"]
    assert text.index("### Regressions") < text.index("### In all") < text.index("<details>") < text.index("</details>")
    assert "dwconv 3x3 8x8x16 \\> 8x8x16" in text


def test_json_is_the_baseline_with_the_comparison_beside_it() -> None:
    table = json.loads(views.data(bench(WORSE), compare(bench(WORSE), bench(ROW), Gate())))
    assert table["failed"] is True
    (difference,) = table["comparison"]["differences"]
    assert difference["causes"] == {"branch": 12.0, "issue": 300.0}
    assert difference["instructions"] == {"ldrsb": 32, "smlad": -16}
    assert (difference["before"]["cycles"], difference["after"]["cycles"]) == (10_000, 10_312)
    kept = {key: table[key] for key in ("schema", "suite", "generators", "devices", "kernels")}
    assert bench_record.from_data(kept) == bench(WORSE)


# Elements, their attributes and children as in jenkinsci/xunit-plugin@0c3752259ca1:.../types/model/xsd/junit-10.xsd
XSD = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": ({"name", "classname", "time", "status", "file", "line"},
                 {"skipped", "error", "failure", "system-out", "system-err"}),
    "failure": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}  # fmt: skip
REQUIRED = {"testsuite": {"tests"}, "testcase": {"name"}}


def test_junit_has_a_case_per_kernel_and_device_and_follows_the_schema() -> None:
    elsewhere = WORSE.model_copy(update={"device": "m4", "cycles": 10_000.0, "energy_j": 4.5e-6})
    new, gone = changed(kernel='new <&">'), changed(kernel="gone")
    now = bench(WORSE, elsewhere, BETTER, new, m4=CHIP)
    old = bench(ROW, elsewhere, BETTER.model_copy(update={"cycles": 10_000.0}), gone, m4=CHIP)
    root = ET.fromstring(views.junit(now, compare(now, old, Gate())))  # noqa: S314 - our own text
    for element in root.iter():
        attributes, children = XSD[element.tag]
        assert REQUIRED.get(element.tag, set()) <= element.attrib.keys() <= attributes
        assert {child.tag for child in element} <= children
    (suite,) = root
    cases = {(case.get("classname"), case.get("name")): case for case in suite.iter("testcase")}
    assert len(cases) == len(now.kernels) + 1
    title = "net: dwconv 3x3 8x8x16 > 8x8x16 (thumb2-dsp)"
    assert "+312 cycles" in cases["Mine.m7", title].find("failure").get("message")
    assert cases["Mine.m4", title].find("failure") is None
    assert cases["Mine.m7", 'net: new <&"> (thumb2-dsp)'].find("skipped").get("message") == "not in the baseline"
    assert ("Mine.vanished", gone.name) in cases
    assert "Better: -1 000 cycles" in cases["Mine.m7", "net: add 64 (thumb2-dsp)"].find("system-out").text
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "1", "2")
    assert float(cases["Mine.m7", title].get("time")) == pytest.approx(WORSE.time_s, abs=1e-9)


def test_junit_of_a_bench_that_measured_nothing_fails() -> None:
    (suite,) = ET.fromstring(views.junit(bench(), None))  # noqa: S314 - our own text
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
