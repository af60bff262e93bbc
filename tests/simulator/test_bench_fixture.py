"""The fixture ``presage_bench`` in a user's repository: pass, fail, accept, and never silently measure nothing."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from simulator.bench.fixture import Checks
from workloads.codegen import generate
from workloads.codegen.specs import MatrixSpec
from workloads.isa import load_isa

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

INSTALLED = any(point.value == "simulator.pytest_plugin" for point in entry_points(group="pytest11"))
pytestmark = pytest.mark.skipif(not INSTALLED, reason="presage is not installed with its pytest plugin; run make")

TEST = """
from workloads.codegen import generate
from workloads.codegen.specs import MatrixSpec
from workloads.isa import load_isa

DEPTH = 40

def dense(isa, columns=10):
    return generate(MatrixSpec(1, DEPTH, columns), isa)

def test_dense(presage_bench):
    row = presage_bench.check(dense, on="stm32h7a3")
    assert row.macs == DEPTH * 10
    assert row.cycles < 10_000

def test_program(presage_bench):
    program = generate(MatrixSpec(1, DEPTH, 8), load_isa("rv64gc"))
    presage_bench.check(program, on="jh7110")
    presage_bench.check(dense, on="jh7110", name="wide", arguments={"columns": 32})
"""


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load what is loaded when needed: a run inside this process forgets what it was the first to import."""
    checks = Checks(tmp_path_factory.mktemp("loaded") / "x.json", "test", accept=True)
    for device, isa in (("stm32h7a3", "thumb2-dsp"), ("jh7110", "rv64gc")):
        checks.check(generate(MatrixSpec(1, 40, 10), load_isa(isa)), on=device)
    checks.finish()


@pytest.fixture
def repository(pytester: pytest.Pytester) -> Path:
    pytester.makepyfile(test_kernels=TEST)
    return pytester.path


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the user's tests; other plugins would only take time."""
    # Edits of the same length within a second would be taken for the compiled file of before.
    shutil.rmtree(pytester.path / "__pycache__", ignore_errors=True)
    return pytester.runpytest_inprocess("-p", "no:hypothesispytest", "-p", "no:benchmark", *options)


def rewritten(pytester: pytest.Pytester, old: str, new: str) -> None:
    assert old in TEST
    pytester.makepyfile(test_kernels=TEST.replace(old, new))


def test_a_baseline_is_asked_for_accepted_and_met(pytester: pytest.Pytester, repository: Path) -> None:
    first = run(pytester)
    first.assert_outcomes(failed=2)
    first.stdout.fnmatch_lines(["*not in test_kernels.presage.json; accept it with pytest --presage-accept"])
    run(pytester, "--presage-accept").assert_outcomes(passed=2)
    kernels = json.loads((repository / "test_kernels.presage.json").read_text())["kernels"]
    assert len(kernels) == 3
    assert all(name.startswith(("test_dense: ", "test_program: ")) for name in kernels)
    run(pytester).assert_outcomes(passed=2)


def test_a_regression_fails_with_its_reason_at_the_users_line(pytester: pytest.Pytester, repository: Path) -> None:
    run(pytester, "--presage-accept")
    rewritten(pytester, "DEPTH = 40", "DEPTH = 48")
    result = run(pytester)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(['>*presage_bench.check(dense, on="stm32h7a3")', "E*+*cycles (+*in test_dense: *:*"])
    result.stdout.no_fnmatch_line("*fixture.py:*: RegressionError*")


def test_an_improvement_passes_and_is_told(pytester: pytest.Pytester, repository: Path) -> None:
    run(pytester, "--presage-accept")
    rewritten(pytester, "DEPTH = 40", "DEPTH = 32")
    result = run(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*presage: kernels that changed*", "-*cycles (-*in test_dense: *"])


def test_accepting_one_test_leaves_the_others_as_they_were(pytester: pytest.Pytester, repository: Path) -> None:
    run(pytester, "--presage-accept")
    before = json.loads((repository / "test_kernels.presage.json").read_text())["kernels"]
    rewritten(pytester, "DEPTH = 40", "DEPTH = 48")
    run(pytester, "--presage-accept", "-k", "dense").assert_outcomes(passed=1)
    after = json.loads((repository / "test_kernels.presage.json").read_text())["kernels"]
    changed = {name for name in after if after[name] != before[name]}
    assert {name.partition(":")[0] for name in changed} == {"test_dense"}


def test_a_kernel_no_longer_checked_is_named_and_leaves_the_baseline(
    pytester: pytest.Pytester, repository: Path
) -> None:
    run(pytester, "--presage-accept")
    rewritten(pytester, '    presage_bench.check(program, on="jh7110")\n', "")
    result = run(pytester, "--presage-accept")
    result.stdout.fnmatch_lines(["test_program: * on jh7110 (rv64gc): in test_kernels.presage.json, but no longer*"])
    assert len(json.loads((repository / "test_kernels.presage.json").read_text())["kernels"]) == 2


def test_a_failing_test_accepts_nothing(pytester: pytest.Pytester, repository: Path) -> None:
    rewritten(pytester, "row.cycles < 10_000", "row.cycles < 1")
    run(pytester, "--presage-accept").assert_outcomes(passed=1, failed=1)
    kernels = json.loads((repository / "test_kernels.presage.json").read_text())["kernels"]
    assert not any(name.startswith("test_dense") for name in kernels)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", "*asks for presage_bench, but checks nothing"),
        ("presage_bench.check(lambda: 7, on='unit')", "*returned int; expected a workloads.program.Program"),
        ("presage_bench.check(lambda: 7, on='stm32')", "*'stm32' is unknown; did you mean*"),
        ("[presage_bench.check(dense, on='jh7110') for _ in range(2)]", "*is checked twice; tell the kernels apart*"),
        ("presage_bench.check(dense, on='jh7110', isa='avx2')", "*'avx2' is not executed*"),
    ],
)
def test_what_cannot_be_checked_is_an_error(
    pytester: pytest.Pytester, repository: Path, body: str, message: str
) -> None:
    pytester.makepyfile(test_kernels=f"{TEST.partition('def test_dense')[0]}\ndef test(presage_bench):\n    {body}\n")
    result = run(pytester, "--presage-accept")
    assert result.ret == 1
    result.stdout.fnmatch_lines([message])


def test_accepting_from_several_processes_is_refused(pytester: pytest.Pytester) -> None:
    from simulator.pytest_plugin import pytest_configure

    config = pytester.parseconfig("--presage-accept")
    config.workerinput = {}  # as pytest-xdist marks its workers
    with pytest.raises(pytest.UsageError, match="-n 0"):
        pytest_configure(config)


def test_the_plugin_imports_nothing_heavy_until_it_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
import sys

def test_nothing_is_loaded():
    assert not {"numpy", "numba", "pydantic", "simulator.bench.fixture"} & set(sys.modules)
""")
    pytester.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)
