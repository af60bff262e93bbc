"""The command as a user meets it: what it prints, what it refuses, and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator import cli

ROOT = Path(__file__).parents[1]
TINY = ROOT.parent / "shared" / "models" / "mlperf_tiny"
DEVICES = ["stm32h7a3", "ascend310b1", "epyc-9v45", "xeon-8275cl", "jh7110", "spacemit-k1"]
BUILT_IN = [
    "resnet8", "dscnn_kws", "mobilenet_v1_025_96", "fc_autoencoder", "resnet18", "resnet50", "mobilenet_v2", "vgg16",
    "squeezenet1_1",
]  # fmt: skip
ROW_FIELDS = {
    "model", "device", "runtime", "precision", "batch", "threads", "frequency_hz", "macs", "weights_bytes",
    "peak_ram_bytes", "fits", "latency_s", "latency_low_s", "latency_high_s", "energy_j", "average_power_w", "coverage",
}  # fmt: skip
LAYER_FIELDS = {
    "name", "op", "macs", "cycles", "compute_s", "memory_s", "overhead_s", "latency_s", "energy_j", "bytes",
}  # fmt: skip


@pytest.fixture
def presage(capsys, monkeypatch):
    def call(*arguments):
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, printed.err

    return call


def test_every_device_predicts_every_built_in_network(presage):
    options = [word for device in DEVICES for word in ("--on", device)]
    status, out, _ = presage("predict", *BUILT_IN, *options, "--layers", "--format", "json")
    rows = json.loads(out)
    assert status == 0
    assert [(row["model"], row["device"]) for row in rows] == [(model, chip) for model in BUILT_IN for chip in DEVICES]
    for row in rows:
        assert row.keys() >= ROW_FIELDS
        assert 0 < row["latency_low_s"] <= row["latency_s"] <= row["latency_high_s"]
        assert row["energy_j"] > 0
        assert row["coverage"] == 1
        assert row["average_power_w"] == pytest.approx(row["energy_j"] / row["latency_s"])
        assert all(layer.keys() >= LAYER_FIELDS for layer in row["layers"])
        assert sum(layer["latency_s"] for layer in row["layers"]) == pytest.approx(row["latency_s"])
        assert sum(layer["macs"] for layer in row["layers"]) == row["macs"]


def test_a_supply_voltage_changes_the_power_and_nothing_else(presage):
    low, high = (
        json.loads(presage("predict", "resnet8", "--on", "stm32l4r5", *options, "--format", "json")[1])[0]
        for options in ((), ("--supply-voltage", "3 V"))
    )
    assert high["latency_s"] == low["latency_s"]
    assert high["average_power_w"] == pytest.approx(low["average_power_w"] * 3 / 1.8)
    assert "supplied with 3 V through a linear regulator: 1.67 times the power at 1.8 V" in high["notes"]
    status, _, err = presage("predict", "resnet8", "--on", "stm32l4r5", "--on", "jh7110", "--supply-voltage", "5 V")
    assert status == 2
    assert "stm32l4r5: supply voltage: 5 V; expected 1.71 V to 3.6 V" in err
    assert "jh7110: supply voltage: how its power follows is not known" in err


def test_vgg16_does_not_fit_a_microcontroller_and_resnet8_does(presage):
    _, out, _ = presage("predict", "vgg16", "resnet8", "--on", "stm32h7a3", "--format", "json")
    assert [row["fits"] for row in json.loads(out)] == [False, True]


def test_a_prediction_for_people_names_the_band_and_that_it_is_not_calibrated(presage):
    status, out, _ = presage("predict", "resnet8", "--on", "stm32h7a3", "--on", "jh7110")
    assert status == 0
    assert "uncalibrated" in out
    assert "jh7110" in out


def test_all_wrong_names_of_a_call_are_refused_at_once_with_the_nearest_ones(presage):
    status, out, err = presage("predict", "resnet5", "mobilenet_v3", "--on", "stm32h7a4")
    assert status == 2
    assert out == ""
    assert "did you mean 'resnet50'?" in err
    assert "mobilenet_v3" in err
    assert "did you mean 'stm32h7a3'?" in err


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--frequency", "280"], "'280' has no unit"),
        (["--frequency", "3 W"], "has unit 'W'; expected Hz"),
        (["--frequency", "9 GHz"], "9"),
        (["--precision", "int3"], "int3"),
        (["--runtime", "x-cube"], "x-cube"),
        (["--threads", "64"], "64"),
        (["--batch", "0"], "--batch"),
        (["--size", "batch"], "'batch' is not of the form name=value"),
    ],
)
def test_a_wrong_option_is_one_clear_error(presage, options, fault):
    status, out, err = presage("predict", "resnet8", "--on", "stm32h7a3", *options)
    assert status == 2
    assert out == ""
    assert fault in err
    assert "Traceback" not in err


def test_devices_shows_every_figure_with_its_source(presage):
    status, out, _ = presage("devices", "stm32h7a3", "--format", "json")
    (device,) = json.loads(out)
    assert status == 0
    used = {source for rows in device["sections"].values() for _, _, source, _ in rows}
    assert used <= set(device["sources"])
    assert "280 MHz" in out


def test_devices_lists_the_catalogue(presage):
    status, out, _ = presage("devices")
    assert status == 0
    assert all(device in out for device in DEVICES)
    families = ["Arm Cortex-M", "RISC-V", "x86", "DaVinci accelerators", "Test doubles"]
    assert [line.strip() for line in out.splitlines() if line.strip() in families] == families


def test_an_unknown_device_is_refused_with_a_suggestion(presage):
    status, _, err = presage("devices", "jh7111")
    assert status == 2
    assert "did you mean 'jh7110'?" in err


def test_inference_needs_arrays_of_the_models_names(presage, tmp_path):
    np.savez(tmp_path / "in.npz", wrong=np.zeros((1, 32, 32, 3), np.int8))
    status, _, err = presage("infer", "resnet8", tmp_path / "in.npz", "--output", tmp_path / "out.npz")
    assert status == 2
    assert "wrong" in err
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.skipif(not TINY.exists(), reason="the MLPerf Tiny files are not beside this repository")
def test_inference_writes_raw_integers_named_by_the_models_outputs(presage, tmp_path):
    from workloads.readers.load import load

    model = TINY / "kws_dscnn_int8.tflite"
    (name,) = load(str(model)).inputs
    np.savez(tmp_path / "in.npz", **{name: np.zeros((1, 49, 10, 1), np.int8)})
    for options in ([], ["--profile", "tflite-double"], ["--programs", "stm32h7a3"]):
        status, _, _ = presage("infer", model, tmp_path / "in.npz", "--output", tmp_path / "out.npz", *options)
        assert status == 0
        (result,) = np.load(tmp_path / "out.npz").values()
        assert result.dtype == np.int8
        assert result.shape == (1, 12)


def test_the_version_is_that_of_the_distribution(presage):
    from importlib.metadata import version

    assert presage("--version")[1].strip() == f"presage {version('presage')}"


def test_help_imports_nothing_heavy():
    code = (
        "import sys, simulator.cli; "
        "print([m for m in ('numpy', 'numba', 'pandas', 'onnx', 'pint') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_built_in_network_is_quantised_and_runs_as_integers(presage, tmp_path):
    generator = np.random.default_rng(3)
    np.savez(tmp_path / "samples.npz", spectrogram=generator.standard_normal((4, 640), np.float32))
    model = tmp_path / "autoencoder.onnx"
    status, out, _ = presage("quantize", "fc_autoencoder", model, "--calibration", tmp_path / "samples.npz")
    assert status == 0
    assert "int8" in out
    np.savez(tmp_path / "in.npz", spectrogram=generator.integers(-128, 128, (1, 640), np.int8))
    status, out, _ = presage("infer", model, tmp_path / "in.npz", "--output", tmp_path / "out.npz")
    assert status == 0
    assert "onnxruntime arithmetic" in out
    assert next(iter(np.load(tmp_path / "out.npz").values())).dtype == np.int8


def test_a_network_is_inferred_whole_as_the_programs_of_a_device(presage, tmp_path):
    """The bytes are those of the arithmetic that the device's Programs follow, and no layer is left out."""
    model = tmp_path / "keywords.onnx"
    assert presage("quantize", "dscnn_kws", model)[0] == 0
    sounds = np.random.default_rng(4).integers(-128, 128, (2, 49, 10, 1), np.int8)
    np.savez(tmp_path / "in.npz", spectrogram=sounds)
    found = {}
    for options in (
        ["--programs", "stm32h7a3"], ["--profile", "tflite-double"], ["--programs", "jh7110"],
        ["--profile", "tflite-single"], ["--programs", "ascend310b1"], ["--profile", "ascend-fixpipe"],
    ):  # fmt: skip
        status, out, _ = presage("infer", model, tmp_path / "in.npz", "--output", tmp_path / "out.npz", *options)
        assert status == 0
        assert "no Program" not in out
        (found[options[1]],) = np.load(tmp_path / "out.npz").values()
    for device, profile in (
        ("stm32h7a3", "tflite-double"), ("jh7110", "tflite-single"), ("ascend310b1", "ascend-fixpipe")
    ):  # fmt: skip
        assert found[device].shape == (2, 12)
        np.testing.assert_array_equal(found[device], found[profile])


def test_a_layer_that_no_program_computes_is_named(presage, tmp_path):
    from workloads.builder import GraphBuilder
    from workloads.operators import Softmax
    from workloads.tensor import Quantization
    from workloads.writers import onnx

    net = GraphBuilder("odd")
    tenths = Quantization(np.float32([0.1]), np.int32([0]))
    x = net.input("x", (1, 4), "int8", tenths)
    model = tmp_path / "odd.onnx"
    onnx.write(net.build([net.layer(Softmax(), [x], quantization=tenths)], "onnxruntime"), model)
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 4), np.int8))
    status, out, _ = presage(
        "infer", model, tmp_path / "in.npz", "--output", tmp_path / "out.npz", "--programs", "jh7110"
    )
    assert status == 0
    assert "no Program, so the integer kernel of the same arithmetic ran: softmax gives scale 1/256" in out


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--method", "median"], "median"),
        (["--form", "qoperato"], "did you mean 'qoperator'?"),
        (["--calibration", "nowhere.npz"], "nowhere.npz"),
        (["--percentile", "3"], "3"),
    ],
)
def test_a_wrong_quantisation_is_refused_and_writes_nothing(presage, tmp_path, options, fault):
    status, _, err = presage("quantize", "fc_autoencoder", tmp_path / "model.onnx", *options)
    assert status == 2
    assert fault in err
    assert list(tmp_path.iterdir()) == []


def test_results_cannot_go_where_a_file_is(presage, tmp_path):
    (tmp_path / "file").write_text("mine")
    scenario = ROOT / "scenarios" / "village_clinic.toml"
    status, _, err = presage("run", scenario, "--output", tmp_path / "file")
    assert status == 2
    assert "is a file; expected a folder" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_is_interrupted_leaves_the_finished_one_intact(presage, tmp_path, monkeypatch):
    scenario = ROOT / "scenarios" / "village_clinic.toml"
    assert presage("run", scenario, "--output", tmp_path)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "village_clinic").iterdir()}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("reports.html.render", interrupted)
    status, _, err = presage("run", scenario, "--output", tmp_path, "--seed", "8")
    assert status == 130
    assert "intact" in err
    assert {path.name: path.read_bytes() for path in (tmp_path / "village_clinic").iterdir()} == before


def test_a_violated_expectation_is_exit_status_one(presage, tmp_path):
    text = (ROOT / "scenarios" / "village_clinic.toml").read_text(encoding="utf-8")
    (tmp_path / "strict.toml").write_text(text.replace('at_most = "200 ms"', 'at_most = "1 us"'), encoding="utf-8")
    status, out, _ = presage("run", tmp_path / "strict.toml", "--output", tmp_path / "out")
    assert status == 1
    assert "violated" in out


def test_a_finished_run_is_rendered_again_and_compared(presage, tmp_path):
    scenario = ROOT / "scenarios" / "village_clinic.toml"
    presage("run", scenario, "--output", tmp_path)
    run = tmp_path / "village_clinic"
    page = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert presage("report", run)[0] == 0
    assert (run / "report.html").read_bytes() == page
    status, out, _ = presage("compare", run, run)
    assert status == 0
    assert "phone" in out


def test_a_record_that_is_none_is_refused(presage, tmp_path):
    (tmp_path / "record.json").write_text("{}")
    status, _, err = presage("report", tmp_path)
    assert status == 2
    assert "Traceback" not in err
