"""``presage calibrate`` as a user meets it: five timings of a board in, a runtime to name out; none: the prior."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from device_models.estimate import estimate
from device_models.runtime import load_runtime
from workloads.models import build

BOARD = "stm32h7a3"
FIVE = ("resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder", "mobilenet_v2_0.35_128")
NEW = "squeezenet1_1"
# A library of the user's own: like the prior, but not as good at convolutions, and better at products.
FACTORS = {"conv": 1.5, "pointwise": 1.3, "first": 1.4, "depthwise": 1.6, "dense": 0.8}


@pytest.fixture(scope="module")
def taken():
    """What the networks take with the user's library. [s]"""
    prior = load_runtime("cortex-m")
    terms = {
        name: term.model_copy(
            update={
                "multiplier": term.multiplier.model_copy(update={"value": FACTORS.get(name, term.multiplier.value)})
            }
        )
        for name, term in prior.terms.items()
    }
    library = replace(prior, terms=terms)
    return {name: estimate(build(name), BOARD, runtime=library).latency_s for name in (*FIVE, NEW)}


@pytest.fixture
def timings(tmp_path, taken):
    path = tmp_path / "timings.csv"
    lines = [f"{name},{taken[name] * 1e3:.4f}" for name in FIVE]
    path.write_text("\n".join(["model,latency_ms", *lines]) + "\n", encoding="utf-8")
    return path


def predicted(presage, runtime):
    """Return what a user is told of a network that was not timed."""
    status, out, _ = presage("predict", NEW, "--on", BOARD, "--runtime", runtime, "--format", "json")
    assert status == 0
    return json.loads(out)[0]


def test_five_timings_and_one_command_give_a_runtime_that_predicts_another_network(presage, timings, taken):
    status, out, _ = presage("calibrate", timings, "--on", BOARD)
    assert status == 0
    assert "Use it with --runtime timings.toml" in out
    assert "5 rows of 5 families" in out
    mine, prior = predicted(presage, "timings.toml"), predicted(presage, "cortex-m")
    assert mine["calibrated"]
    assert mine["latency_s"] == pytest.approx(taken[NEW], rel=0.15)
    assert abs(mine["latency_s"] / taken[NEW] - 1) < abs(prior["latency_s"] / taken[NEW] - 1)
    assert mine["latency_low_s"] <= taken[NEW] <= mine["latency_high_s"]
    assert mine["latency_high_s"] / mine["latency_low_s"] < prior["latency_high_s"] / prior["latency_low_s"]


@pytest.mark.parametrize("text", [None, "model,latency_ms\n"])
def test_without_timings_the_answer_is_the_prior_of_the_core_with_its_wide_band(presage, tmp_path, text, taken):
    arguments = []
    if text is not None:
        (tmp_path / "prior.csv").write_text(text, encoding="utf-8")
        arguments = ["prior.csv"]
    status, out, _ = presage("calibrate", *arguments, "--on", BOARD)
    assert status == 0
    assert "No timings: prior.toml is where a fit would start" in out
    found, prior = predicted(presage, "prior.toml"), predicted(presage, "cortex-m")
    assert not found["calibrated"]
    assert {**found, "runtime": ""} == {**prior, "runtime": ""}
    assert found["latency_high_s"] / found["latency_low_s"] > 2
    assert found["latency_low_s"] <= taken[NEW] <= found["latency_high_s"]


@pytest.mark.parametrize(
    ("device", "precision", "title"),
    [
        ("stm32u575", "int8", "Cortex-M"),
        ("epyc-9v45", "int8", "8-bit networks on CPUs"),
        ("epyc-9v45", "fp32", "a kernel library for CPUs, not"),
        ("ascend310b1", "fp16", "DaVinci"),
        ("esp32-c3", "int8", "an 8-bit kernel library on RISC-V"),
        ("jh7110", "int8", "plain loops on a CPU"),
        ("jh7110", "fp32", "CPUs without vectors"),
    ],
)
def test_every_core_has_a_prior_for_its_precision(presage, device, precision, title):
    name = f"{device}-{precision}.toml"
    status, out, _ = presage("calibrate", "--on", device, "--precision", precision, "-o", name)
    assert status == 0
    assert title in out
    options = ("--runtime", name, "--precision", precision, "--format", "json")
    status, out, _ = presage("predict", "resnet8", "--on", device, *options)
    (row,) = json.loads(out)
    assert not row["calibrated"]
    assert row["latency_high_s"] / row["latency_low_s"] > 1.5


def test_timings_in_one_precision_start_from_the_prior_for_it(presage, tmp_path):
    (tmp_path / "t.csv").write_text("model,latency_ms,precision\nresnet8,20,int8\n", encoding="utf-8")
    status, _, _ = presage("calibrate", "t.csv", "--on", "jh7110", "-o", "mine.toml")
    assert status == 0
    assert load_runtime(str(tmp_path / "mine.toml")).precisions == ("int8",)


def test_the_fit_is_told_as_json_and_as_a_page_with_residuals(presage, timings, tmp_path):
    page, text = tmp_path / "fit.html", tmp_path / "fit.md"
    _, out, _ = presage("calibrate", timings, "--on", BOARD, "-o", "mine.toml", "--report", page, "--format", "json")
    found = json.loads(out)
    assert found["runtime"] == "mine.toml"
    assert found["errors"]["fitted"]["worst"] < 0.05 < found["errors"]["before"]["worst"]
    assert [row["label"] for row in found["rows"]] == list(FIVE)
    conv = next(each for each in found["multipliers"] if each["name"] == "conv")
    assert conv["low"] < conv["after"] < conv["high"]
    assert abs(conv["after"] - 1.5) < 0.25
    shown = page.read_text(encoding="utf-8")
    assert shown.count("<svg") == 2
    assert "Errors by family" in shown
    presage("calibrate", timings, "--on", BOARD, "--report", text)
    assert "(fit-1.svg)" in text.read_text(encoding="utf-8")
    assert (tmp_path / "fit-2.svg").is_file()


def test_rows_that_cannot_be_used_are_told_and_the_others_are(presage, tmp_path):
    rows = "model,device,latency_ms,note\nresnet8,a board,3,\nresnet8,stm32h7a3,44,\nno_net,stm32h7a3,44,\n"
    (tmp_path / "mix.csv").write_text(rows + "dscnn_kws,stm32h7a3,4,DUTY-CYCLED\n", encoding="utf-8")
    status, out, _ = presage("calibrate", "mix.csv")
    assert status == 0
    assert "1 row of 1 family" in out
    for line, reason in ((2, "device 'a board' is not in the catalogue"), (4, "network 'no_net'"), (5, "duty-cycled")):
        assert f"not used, line {line}: {reason}" in out


ON_BOARD = ["--on", BOARD]
WRONG = [
    (
        "model,latency_ms\nresnet8,fast\n,3\n",
        ON_BOARD,
        ["line 2: latency_ms is 'fast', expected a number", "line 3: model is empty, expected the name of a network"],
    ),
    (
        "model,latency_ms\nresnet8,3\n",
        [],
        ["no row names a board that presage knows; name it: a device, or your own TOML file"],
    ),
    (
        "model,latency_ms\nno_net,3\n",
        ON_BOARD,
        ["line 2: network 'no_net' is in no folder of models, and is not built in"],
    ),
    (
        "model,latency_ms,runtime\nresnet8,3,a\nresnet8,3,b\n",
        ON_BOARD,
        ["the file has rows of 2 runtimes ('a', 'b'); name one"],
    ),
    ("model,latency_ms\nresnet8,3\n", [*ON_BOARD, "-o", "x.txt"], ["x.txt does not end in .toml"]),
    ("model,latency_ms\nresnet8,3\n", [*ON_BOARD, "--report", "x"], ["x ends neither in .html nor in .md"]),
]


@pytest.mark.parametrize(("text", "options", "expected"), WRONG)
def test_wrong_input_is_one_error_with_every_reason_and_writes_nothing(presage, tmp_path, text, options, expected):
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    status, out, err = presage("calibrate", "bad.csv", *options)
    assert (status, out) == (2, "")
    assert [line.strip() for line in err.splitlines()[1:]] == expected
    assert [each.name for each in tmp_path.iterdir()] == ["bad.csv"]
