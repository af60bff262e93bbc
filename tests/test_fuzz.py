"""The fuzz command as a user meets it: what it prints, what it saves, what it refuses, and its exit status."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator import cli

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "tests" / "workloads" / "planted_kernels.py"
VECTORS = ROOT.parent / "shared" / "vectors" / "cmsis_nn_vectors.npz"


@pytest.fixture
def presage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    shutil.copy(KERNELS, tmp_path / "my_planted_kernels.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    yield call
    sys.modules.pop("my_planted_kernels", None)


def test_a_correct_kernel_is_told_what_was_covered(presage: Any) -> None:
    status, out, _ = presage(
        "fuzz", "my_planted_kernels:conv", "--op", "conv2d", "--profile", "cmsis-nn", "--examples", 60
    )
    assert status == 0
    assert "60 examples, no difference" in out
    assert "examples/s" in out
    assert "odd number of pixels" in out
    assert "empty batch" in out


def test_a_difference_is_shown_saved_and_replayed(presage: Any) -> None:
    options = ("--op", "conv2d", "--profile", "cmsis-nn", "--examples", 200, "--format", "json")
    status, out, _ = presage("fuzz", "my_planted_kernels:wrong_padding", *options)
    found = json.loads(out)
    assert status == 1
    difference = found["difference"]
    assert difference["step"] == "accumulate"
    assert "padded positions hold 0" in difference["explanation"]
    assert difference["expected"] != difference["found"]
    assert [row["step"] for row in difference["steps"]] == ["accumulate", "scale", "round", "offset", "clamp"]
    assert Path(difference["saved"]).is_file()
    status, out, _ = presage("fuzz", "--replay", difference["saved"], "--format", "json")
    assert status == 1
    again = json.loads(out)["difference"]
    assert (again["expected"], again["found"]) == (difference["expected"], difference["found"])
    # The same case agrees once the kernel is right.
    status, out, _ = presage("fuzz", "my_planted_kernels:conv", "--replay", difference["saved"])
    assert (status, "no difference" in out) == (0, True)


def test_the_text_shows_steps_case_and_how_to_replay(presage: Any) -> None:
    status, out, _ = presage(
        "fuzz", "my_planted_kernels:wrong_padding", "--op", "conv2d", "--profile", "ascend-fixpipe"
    )
    assert status == 1
    assert "unverified" in out
    assert "Step by step" in out
    assert "input_zero_point" in out
    assert "presage fuzz --replay" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("my_planted_kernels:conv", "--op", "convd"), "did you mean 'conv2d'"),
        (("my_planted_kernels:conv", "--op", "conv2d", "--profile", "cmsis"), "did you mean 'cmsis-nn'"),
        (("my_planted_kernels:conw", "--op", "conv2d"), "did you mean 'conv'"),
        (("no_such_module_here:conv", "--op", "conv2d"), "cannot be imported"),
        (("my_planted_kernels", "--op", "conv2d"), "module:function"),
        (("my_planted_kernels:KERNEL", "--op", "conv2d"), "has no 'KERNEL'"),
        (("my_planted_kernels:misnamed", "--op", "conv2d"), "did you mean 'weights'"),
        (("my_planted_kernels:raising", "--op", "conv2d"), "raised KeyError"),
        (("my_planted_kernels:wrong_shape", "--op", "conv2d"), "expected int8"),
        (("my_planted_kernels:wrong_type", "--op", "conv2d"), "returned int32"),
        (("my_planted_kernels:conv", "--op", "matmul", "--profile", "cmsis-nn-s16"), "16-bit"),
        (("my_planted_kernels:conv",), "no --op"),
        (("--op", "conv2d"), "no kernel given"),
        (("--library", "none.so", "--symbol", "f", "--op", "conv2d"), "is no file"),
        (("--library", "none.so", "--op", "conv2d"), "--symbol"),
        (("--symbol", "f", "--op", "conv2d"), "--symbol goes with --library"),
        (("--replay", "none.npz"), "none.npz"),
        (("--vectors", "none.npz"), "none.npz"),
        (("--vectors", "a.npz", "--replay", "b.npz"), "exclude each other"),
        (("--agreement", "resnet8", "--profile", "ruyy"), "did you mean 'ruy'"),
        (("--agreement", "resnet8", "--layer", "nowhere"), "does not exist"),
    ],
)
def test_wrong_input_is_refused_with_a_reason(presage: Any, arguments: tuple[str, ...], words: str) -> None:
    status, _, err = presage("fuzz", *arguments)
    assert status == 2
    assert words in err
    assert "Traceback" not in err


def test_a_kernel_that_raises_leaves_a_case_to_replay(presage: Any, tmp_path: Path) -> None:
    _, _, err = presage("fuzz", "my_planted_kernels:raising", "--op", "conv2d")
    assert "presage fuzz --replay" in err
    assert list((tmp_path / "out" / "fuzz").glob("*-broken.npz"))


def test_a_crash_of_a_c_kernel_is_reported_by_its_signal(presage: Any, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    _, out, _ = presage("fuzz", "--abi")
    (tmp_path / "presage_layer.h").write_text(out, encoding="utf-8")
    source = '#include "presage_layer.h"\nint32_t f(const presage_layer *l) { return *(volatile int *)0 + l->abi; }\n'
    (tmp_path / "k.c").write_text(source, encoding="utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "k.c", "-o", "libk.so"], check=True, cwd=tmp_path)
    status, _, err = presage("fuzz", "--library", "libk.so", "--symbol", "f", "--op", "softmax")
    assert status == 2
    assert "signal SIGSEGV" in err


def test_a_missing_hypothesis_is_one_clear_error(presage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    status, _, err = presage("fuzz", "my_planted_kernels:conv", "--op", "conv2d")
    assert status == 2
    assert "pip install 'presage[fuzz]'" in err


def test_the_agreement_of_one_layer_is_a_table(presage: Any) -> None:
    options = ("--agreement", "fc_autoencoder", "--profile", "tflite-double", "--profile", "tflite-single")
    status, out, _ = presage("fuzz", *options, "--format", "json")
    found = json.loads(out)
    assert status == 0
    assert found["pairs"]
    layer = found["pairs"][0]["layer"]
    status, out, _ = presage("fuzz", *options, "--layer", layer)
    assert status == 0
    assert "Against tflite-double" in out
    assert "tflite-single" in out


def test_predictions_carry_the_numerics_on_demand(presage: Any) -> None:
    status, out, _ = presage("predict", "dscnn_kws", "--on", "stm32h7a3", "--numerics", "--format", "json")
    (row,) = json.loads(out)
    assert status == 0
    assert {"pairs", "ends", "layers", "profiles"} <= row["numerics"].keys()
    status, out, _ = presage("predict", "dscnn_kws", "--on", "stm32h7a3", "--format", "json")
    assert "numerics" not in json.loads(out)[0]


def test_foreign_vectors_are_counted_per_operator(presage: Any) -> None:
    if not VECTORS.exists():
        pytest.skip("the sibling folder 'shared' with the foreign vectors is absent")
    status, out, _ = presage("fuzz", "--vectors", VECTORS, "--format", "json")
    found = json.loads(out)
    assert status == 0
    assert {"op", "passed", "failed", "unsupported"} == found["operators"][0].keys()
    assert sum(row["failed"] for row in found["operators"]) == 0
    assert (len(found["problems"]) == 0) == all(row["unsupported"] == 0 for row in found["operators"])


def test_the_kit_needs_no_hypothesis_to_replay() -> None:
    assert importlib.util.find_spec("hypothesis") is not None
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from workloads.testing import Case, expected, load, save, compare\n"
        "try:\n    from workloads.testing import layers\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "pip install 'presage[fuzz]'" in done.stdout
