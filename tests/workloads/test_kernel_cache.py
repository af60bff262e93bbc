"""The machine code kept on disk belongs to the sources it was made from, wherever these and the folder lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workloads"
CALLER = """
from workloads.kernels.callee import scaled
from workloads.kernels.jit import cache_folder, kernel

@kernel
def tripled(x):
    return scaled(x)
"""
CALLEE = """
from workloads.kernels.jit import kernel

@kernel
def scaled(x):
    return 3 * x
"""
RUN = """
from workloads.kernels.caller import tripled, cache_folder
hits = tripled(5), sum(tripled.stats.cache_hits.values()), cache_folder()
print(*hits)
"""


@pytest.fixture
def copied(tmp_path):
    """A copy of the package with two kernels, one calling the other from another file."""
    shutil.copytree(PACKAGE, tmp_path / "site/workloads", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "site/workloads/kernels/caller.py").write_text(CALLER)
    (tmp_path / "site/workloads/kernels/callee.py").write_text(CALLEE)
    return tmp_path


def run(folder, code=RUN, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    environment |= {"PYTHONPATH": str(folder / "site"), "XDG_CACHE_HOME": str(folder / "cache"), **variables}
    command = [sys.executable, "-B", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_editing_a_callee_in_another_file_invalidates_the_cache(copied):
    value, hits, first = run(copied)
    assert (value, hits) == ("15", "0")
    assert run(copied) == ["15", "1", first]
    callee = copied / "site/workloads/kernels/callee.py"
    callee.write_text(CALLEE.replace("3 * x", "7 * x"))
    value, hits, second = run(copied)
    assert (value, hits) == ("35", "0")
    assert second != first
    callee.write_text(CALLEE)
    assert run(copied) == ["15", "1", first]


EDIT_EACH = """
from pathlib import Path
import workloads.executor
from workloads.kernels.jit import source_hash
hashes = [source_hash.__wrapped__()]
for path in sorted(Path(workloads.executor.__file__).parent.glob("*.py")):
    path.write_text(path.read_text() + "# edited")
    hashes.append(source_hash.__wrapped__())
print(*hashes)
"""


def test_editing_any_source_of_the_executor_invalidates_the_cache(copied):
    hashes = run(copied, EDIT_EACH)
    assert len(hashes) == 1 + len(list((PACKAGE / "executor").glob("*.py")))
    assert len(set(hashes)) == len(hashes)


def test_only_the_newest_versions_stay_on_disk(copied):
    folders = []
    for factor in range(6):
        (copied / "site/workloads/kernels/callee.py").write_text(CALLEE.replace("3 * x", f"{factor} * x"))
        folders.append(Path(run(copied)[2]))
    assert [folder.exists() for folder in folders] == [False, False, True, True, True, True]


def test_the_cache_lies_in_the_folder_the_user_names(copied):
    folder = run(copied, NUMBA_CACHE_DIR=str(copied / "named"))[2]
    assert Path(folder).is_relative_to(copied / "named")
    assert not (copied / "cache").exists()


def test_a_read_only_installation_is_cached_in_the_users_folder(copied):
    for path in (copied / "site").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (copied / "site").chmod(0o555)
    run(copied)
    value, hits, folder = run(copied)
    assert (value, hits) == ("15", "1")
    assert Path(folder).is_relative_to(copied / "cache")
    assert not list((copied / "site").rglob("*.nb?"))


def test_kernels_run_uncached_where_nothing_may_be_written(copied):
    (copied / "cache").write_text("a file, so that no folder can be made here")
    for _ in range(2):
        assert run(copied) == ["15", "0", "None"]
    assert not list(copied.rglob("*.nb?"))


def test_numba_keeps_its_own_setting_for_the_kernels_of_others(copied):
    code = "import numba, workloads.kernels.caller; print(repr(numba.config.CACHE_DIR))"
    assert run(copied, code) == ["''"]
