"""The record on disk: exact, strict, whole or not at all."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import html, store
from reports.record import Record, Requests

FILES = {"record.json", "requests.parquet", "report.html", "report.md"}


@pytest.fixture(autouse=True)
def light_page(monkeypatch):
    """Storage does not care what is on the page."""
    monkeypatch.setattr(html, "render", lambda record: f"<title>{record.title}</title>")


def _with_columns(record: Record, columns: dict[str, list[object]]) -> Record:
    run = record.runs[0].model_copy(update={"requests": Requests(columns=columns)})
    return record.model_copy(update={"runs": (run,)})


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_record_reads_back_equal_from_its_folder_and_from_its_file(record, tmp_path):
    folder = store.write(record, tmp_path / "out" / "clinic")
    assert {path.name for path in folder.iterdir()} == FILES
    assert store.read(folder) == record
    assert store.read(folder / "record.json") == record


def test_writing_what_was_read_gives_the_same_bytes(record, tmp_path):
    first = store.write(record, tmp_path / "a")
    second = store.write(store.read(first), tmp_path / "b")
    assert (first / "record.json").read_bytes() == (second / "record.json").read_bytes()


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), FLOATS, st.text())


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(CELLS, max_size=8), duration_s=FLOATS)
def test_json_keeps_every_bit_of_every_cell(record, tmp_path_factory, cells, duration_s):
    changed = _with_columns(record, {"cell": cells}).model_copy(update={"duration_s": duration_s})
    path = tmp_path_factory.mktemp("json") / "record.json"
    path.write_text(store.to_json(changed), encoding="utf-8")
    found = store.read(path)
    assert found == changed
    assert [math.copysign(1, x) for x in found.runs[0].requests.columns["cell"] if isinstance(x, float)] == [
        math.copysign(1, x) for x in cells if isinstance(x, float)
    ]
    assert [type(x) for x in found.runs[0].requests.columns["cell"]] == [type(x) for x in cells]


@pytest.mark.parametrize("cell", [math.nan, math.inf, np.float32(1), np.int64(1), [1]])
def test_a_cell_that_json_cannot_hold_is_refused_before_anything_is_written(record, tmp_path, cell):
    with pytest.raises(store.RecordError, match=r"record: 1 problem\n  runs\.0\.requests\.columns\.cell\.1: found"):
        store.write(_with_columns(record, {"cell": [1.0, cell]}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_contradictions_of_a_record_are_named_at_once(record):
    run = record.runs[0]
    timeline = run.timelines["phone"]
    broken = timeline.model_copy(update={"time_s": [*timeline.time_s[:-1], -1.0], "state_of_charge": [0.5]})
    odd = run.model_copy(
        update={
            "requests": Requests(columns={"a": [1], "b": []}),
            "timelines": {"phone": broken, "wristband": timeline},
        }
    )
    problems = list(store.faults(record.model_copy(update={"runs": (odd, run)})))
    assert [problem.split(":")[0] for problem in problems] == [
        "runs", "runs.0.requests.columns", "runs.0.timelines.phone", "runs.0.timelines.phone.time_s",
    ]  # fmt: skip


def _edited(record: Record, path: Path, edit) -> Path:
    raw = json.loads(store.to_json(record))
    edit(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")
    return path


def test_every_fault_of_a_file_is_named_with_its_place(record, tmp_path):
    def edit(raw):
        raw["seed"] = "seven"
        raw["colour"] = "red"
        del raw["title"]
        raw["runs"][1]["nodes"][0]["served"] = 1.5

    with pytest.raises(store.RecordError) as caught:
        store.read(_edited(record, tmp_path / "record.json", edit))
    places = [problem.split(":")[0] for problem in caught.value.problems]
    assert sorted(places) == ["colour", "runs.1.nodes.0.served", "seed", "title"]
    assert "seed: input should be a valid integer; found 'seven'" in caught.value.problems
    assert str(caught.value).startswith(f"{tmp_path / 'record.json'}: 4 problems\n  ")


@pytest.mark.parametrize("schema", [0, 2, "1", None, True])
def test_another_schema_is_refused_and_nothing_else_is_said(record, tmp_path, schema):
    path = _edited(record, tmp_path / "record.json", lambda raw: raw.update(schema=schema, title=3))
    with pytest.raises(store.RecordError) as caught:
        store.read(path)
    assert caught.value.problems == (f"schema: found {schema!r}; this version reads schema 1",)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("key", ['"duration_s":', '"arrival_s":['])
def test_numbers_that_are_not_finite_are_refused(record, tmp_path, number, key):
    text = store.to_json(record)
    start = text.index(key) + len(key)
    end = text.index(",", start)
    (tmp_path / "record.json").write_text(text[:start] + number + text[end:], encoding="utf-8")
    with pytest.raises(store.RecordError, match=r"finite number"):
        store.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"schema": 1}', "[" * 100_000, '{"schema": 1, "title": "x'])
def test_what_is_no_record_is_refused_as_one_error(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(store.RecordError, match="problem"):
        store.read(path)


def test_a_missing_or_binary_file_is_refused_as_one_error(tmp_path):
    with pytest.raises(store.RecordError, match="cannot be read as text"):
        store.read(tmp_path)
    (tmp_path / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(store.RecordError, match="cannot be read as text"):
        store.read(tmp_path)


def test_parquet_has_a_row_per_request_with_its_run(record, tmp_path):
    store.write(record, tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "requests.parquet")
    assert table.num_rows == 4 * 2 * 10
    rows = table.to_pylist()
    assert {row["run"] for row in rows} == {"local", "remote", "deadline", "battery-aware"}
    assert {row["node"] for row in rows} == {"phone", "wristband"}
    lost = [row for row in rows if row["outcome"] == "lost"]
    assert {row["latency_s"] for row in lost} == {None}
    assert [row["latency_s"] for row in rows if row["run"] == "local" and row["node"] == "phone"] == [0.005] * 10


def test_parquet_joins_runs_with_different_columns_and_mixed_numbers(record, tmp_path):
    first = _with_columns(record, {"a": [1, 2.5]}).runs[0]
    second = first.model_copy(update={"label": "other", "requests": Requests(columns={"a": [None], "b": [True]})})
    store.write_requests(record.model_copy(update={"runs": (first, second)}), tmp_path / "x.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist() == [
        {"run": "local", "a": 1.0, "b": None},
        {"run": "local", "a": 2.5, "b": None},
        {"run": "other", "a": None, "b": True},
    ]


def test_an_interrupted_write_leaves_the_earlier_run_as_it_was(record, tmp_path, monkeypatch):
    store.write(record, tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    before = _contents(tmp_path)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(html, "render", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(record.model_copy(update={"title": "Another"}), tmp_path)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_an_interruption_between_two_files_puts_the_earlier_ones_back(record, tmp_path, monkeypatch, moves):
    store.write(record, tmp_path)
    before = _contents(tmp_path)
    replace, calls = Path.replace, []

    def interrupting(self, target):
        calls.append(target)
        if len(calls) == moves + 1:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupting)
    with pytest.raises(KeyboardInterrupt):
        store.write(record.model_copy(update={"title": "Another"}), tmp_path)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("moves", [0, 2])
def test_an_interrupted_first_write_leaves_nothing(record, tmp_path, monkeypatch, moves):
    replace, calls = Path.replace, []

    def interrupting(self, target):
        calls.append(target)
        if len(calls) == moves + 1:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupting)
    with pytest.raises(KeyboardInterrupt):
        store.write(record, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_finished_run_is_replaced_as_a_whole_and_other_files_stay(record, tmp_path):
    store.write(record, tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    store.write(record.model_copy(update={"title": "Another"}), tmp_path)
    assert store.read(tmp_path).title == "Another"
    assert "Another" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}


PRESENT = st.one_of(
    *(
        st.lists(st.none() | kind, max_size=20)
        for kind in (st.booleans(), st.integers(-(2**63), 2**63 - 1), FLOATS, st.text())
    )
)


@settings(max_examples=100, deadline=None)
@given(cells=PRESENT)
def test_a_column_of_one_kind_reads_back_from_parquet_as_it_was(record, tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("parquet") / "requests.parquet"
    store.write_requests(_with_columns(record, {"cell": cells}), path)
    assert pyarrow.parquet.read_table(path).column("cell").to_pylist() == cells
