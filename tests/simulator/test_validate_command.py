"""``presage validate`` as a user meets it: small files of measurements in, errors, reasons and pages out."""

from __future__ import annotations

import json

import pytest

from device_models.estimate import estimate
from simulator.arguments import completed
from workloads.models import build

NETWORKS = ("resnet8", "dscnn_kws", "mobilenet_v2_0.35_128", "fc_autoencoder")
OFF = {"resnet8": 1.04, "dscnn_kws": 0.97, "mobilenet_v2_0.35_128": 1.1, "fc_autoencoder": 0.9}


@pytest.fixture(scope="module")
def predicted():
    """What the runtime says of the four networks. [ms]"""
    found = {name: estimate(build(name), "stm32h7a3", runtime="x-cube-ai-9") for name in NETWORKS}
    return {name: each.latency_s * 1e3 for name, each in found.items()}


@pytest.fixture
def measured(tmp_path, predicted):
    """A file whose rows are off by what ``OFF`` says; one of its rows names a network that nobody knows."""
    rows = [f"NUCLEO-H7A3ZI-Q,X-CUBE-AI 9.0.0,{name},{predicted[name] * OFF[name]:.6f},5000" for name in NETWORKS]
    rows.append("NUCLEO-H7A3ZI-Q,X-CUBE-AI 9.0.0,nobody_knows,1.0,")
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["device,runtime,model,latency_ms,energy_uj", *rows]) + "\n", encoding="utf-8")
    return path


def test_rows_come_with_what_they_were_matched_to_and_with_every_prediction(presage, measured, predicted):
    status, out, _ = presage("validate", "--measured", measured, "--format", "json")
    found = json.loads(out)
    assert status == 0
    for row in found["rows"]:
        name = row["model"]
        assert (row["device"], row["runtime"], row["network"], row["file"]) == ("stm32h7a3", "x-cube-ai-9", name,
                                                                              "mine.csv")  # fmt: skip
        assert row["predicted_latency_s"] == pytest.approx(predicted[name] / 1e3, rel=1e-6)
        assert row["predicted_latency_low_s"] < row["predicted_latency_s"] < row["predicted_latency_high_s"]
        assert row["held_out_latency_low_s"] < row["held_out_latency_s"] < row["held_out_latency_high_s"]
        assert row["measured_energy_j"] == 5e-3
        assert min(row["predicted_energy_j"], row["baseline_macs_latency_s"], row["baseline_features_latency_s"]) > 0
    (unmatched,) = found["unmatched"]
    assert (unmatched["file"], unmatched["line"], unmatched["model"]) == ("mine.csv", 6, "nobody_knows")
    assert "is in no folder of models" in unmatched["reason"]


def test_the_summary_counts_the_errors_of_its_rows(presage, measured):
    _, out, _ = presage("validate", "--measured", measured, "--format", "json")
    (block,) = json.loads(out)["summary"]
    shares = sorted(abs(1 / off - 1) for off in OFF.values())
    assert (block["device"], block["runtime"], block["rows"]) == ("stm32h7a3", "x-cube-ai-9", 4)
    assert block["fitted"]["worst"] == pytest.approx(shares[-1], rel=1e-4)
    assert block["fitted"]["median"] == pytest.approx((shares[1] + shares[2]) / 2, rel=1e-4)
    assert block["rank_correlation"] == 1.0
    assert {"held_out", "held_out_coverage", "energy", "baseline_macs", "baseline_features"} <= block.keys()


def test_the_text_ends_with_errors_by_runtime_and_device_and_lists_what_is_missing(presage, measured):
    status, out, _ = presage("validate", "--measured", measured)
    assert status == 0
    places = [out.index(part) for part in ("mine.csv:6", "family left out: errors in %", "4 rows predicted, 1 not.")]
    assert places == sorted(places)


def test_several_files_are_one_validation_that_counts_no_measurement_twice(presage, measured, tmp_path, predicted):
    again = tmp_path / "again.csv"
    text = "model,latency_ms,runtime,device\n" + "".join(
        f"{name},{factor * predicted[name] * OFF[name]:.6f},X-CUBE-AI 9.0.0,stm32h7a3\n"
        for name, factor in (("resnet8", 1.0), ("dscnn_kws", 1.2))
    )
    again.write_text(text, encoding="utf-8")
    _, out, _ = presage("validate", "--measured", measured, "--measured", again, "--format", "json")
    found = json.loads(out)
    assert [(row["file"], row["line"]) for row in found["rows"]] == [*(("mine.csv", n) for n in range(2, 6)),
                                                                     ("again.csv", 3)]  # fmt: skip
    assert ("again.csv", 2, "the same measurement as mine.csv:2") in [
        (each["file"], each["line"], each["reason"]) for each in found["unmatched"]
    ]


def test_an_option_takes_every_value_up_to_the_next_option():
    given = ["validate", "--measured", "a", "b", "--models", "c", "d", "e", "--format", "json"]
    assert completed(given) == ["validate", "--measured", "a", "--measured", "b", "--models", "c", "--models", "d",
                                "--models", "e", "--format", "json"]  # fmt: skip
    for same in (
        ["validate"],
        [],
        ["predict", "a", "b", "--on", "c"],
        ["validate", "--measured", "a", "--measured", "b"],
    ):
        assert completed(same) == same


def test_a_device_and_a_runtime_may_stand_for_those_of_the_rows(presage, tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("model,latency_ms\nresnet8,40\n", encoding="utf-8")
    _, out, _ = presage(
        "validate", "--measured", path, "--on", "stm32h747", "--runtime", "x-cube-ai-10", "--format", "json"
    )
    (row,) = json.loads(out)["rows"]
    assert (row["device"], row["runtime"]) == ("stm32h747", "x-cube-ai-10")
    assert row["held_out_latency_s"] is None  # one family only: none can be left out


def test_a_page_is_written_and_markdown_has_its_pictures_beside_it(presage, measured, tmp_path):
    page, text = tmp_path / "page.html", tmp_path / "page.md"
    for path in (page, text):
        form = {".md": "markdown", ".html": "html"}[path.suffix]
        status, out, _ = presage("validate", "--measured", measured, "--format", form, "--output", path)
        assert (status, out) == (0, "")
    assert page.read_text(encoding="utf-8").count("<svg") == 3
    assert [each.name for each in sorted(tmp_path.glob("*.svg"))] == ["page-1.svg", "page-2.svg", "page-3.svg"]
    assert "(page-1.svg)" in text.read_text(encoding="utf-8")


def test_every_fault_of_every_file_is_told_with_its_line(presage, tmp_path):
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("device,model,freq_mhz,latency_ms\nb,resnet8,280,fast\nb,,zero,1\nb,a,1\n", encoding="utf-8")
    other.write_text("model,speed\na,1\n", encoding="utf-8")
    status, out, err = presage("validate", "--measured", one, "--measured", other)
    assert (status, out) == (2, "")
    *lines, last = err.splitlines()
    assert last.startswith(f"  {other}: no column holds a latency or an energy; name one of latency_min_ms, latency_ms")
    assert lines == [
        "--measured: 5 problems",
        f"  {one}: line 2: latency_ms is 'fast', expected a number",
        f"  {one}: line 3: model is empty, expected the name of a network",
        f"  {one}: line 3: freq_mhz is 'zero', expected a number",
        f"  {one}: line 4: it has fewer fields than there are columns",
    ]


def test_a_file_without_rows_is_refused(presage, tmp_path):
    path = tmp_path / "none.csv"
    path.write_text("model,latency_ms\n", encoding="utf-8")
    status, _, err = presage("validate", "--measured", path)
    assert status == 2
    assert "there are no rows below the names of the columns" in err
