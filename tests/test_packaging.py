"""The built wheel: five plain packages with all their data, which work without the sources."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"simulator", "device_models", "workloads", "reports", "scenarios"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    return next(folder.glob("presage-*.whl"))


def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_every_data_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    kinds = (".toml", ".j2", ".css", ".typed")
    data = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*")}
    assert {name for name in data if name.endswith(kinds)} <= packed


def test_the_command_works_from_the_wheel_alone(wheel, tmp_path):
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = f"import sys, simulator; assert simulator.__file__.startswith({str(installed)!r}); "
    code += "from simulator.cli import main; main(['check', 'village_clinic'])"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert finished.returncode == 0, finished.stderr
    assert "fine" in finished.stdout
