"""The house keeps its shape: imports point one way, nothing happens at import, names are found."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "workloads": set(),
    "reports": set(),
    "scenarios": set(),
    "device_models": {"workloads"},
    "simulator": {"workloads", "device_models", "reports", "scenarios"},
}
SOURCES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


def imported_packages(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may_know(package):
    for path in (ROOT / package).rglob("*.py"):
        ours = imported_packages(path.read_text(encoding="utf-8")) & set(ALLOWED) - {package}
        assert ours <= ALLOWED[package], f"{path.relative_to(ROOT)} imports {sorted(ours - ALLOWED[package])}"


def test_the_import_rule_notices_a_forbidden_import():
    assert imported_packages("def f():\n    from simulator.run import run\n") == {"simulator"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_in_one_sentence(path):
    documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert documentation, "a module docstring is missing"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_grows_beyond_four_hundred_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_package_is_typed():
    assert all((ROOT / package / "py.typed").exists() for package in ALLOWED)
