# Two commands do everything: `make run` installs presage and plays the default scenario, `make test` proves it.
PYTHON ?= python3
BIN := .venv/bin
SCENARIO ?= scenarios/village_clinic.toml

.PHONY: run test lint benchmark clean

run: .venv/installed
	$(BIN)/presage run $(SCENARIO)

test: .venv/installed-for-tests
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: .venv/installed-for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

benchmark: .venv/installed-for-tests
	$(BIN)/python -m pytest -o addopts= --import-mode=importlib tests/benchmarks

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("presage needs Python 3.11 or newer, found " + sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-for-tests: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv out
