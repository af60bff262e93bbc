"""The command as a user calls it; a scenario for tests with one text replaced, and the faults of a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simulator import cli
from simulator.scenario import parse_scenario
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = Path(__file__).with_name("base_scenario.toml").read_text(encoding="utf-8")


@pytest.fixture
def presage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Return what runs a command in an empty folder: its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def faults() -> Callable[[str], tuple[str, ...]]:
    """Return what finds the faults of a scenario's text."""

    def found(text: str) -> tuple[str, ...]:
        with pytest.raises(InputError) as caught:
            parse_scenario(text)
        return caught.value.problems

    return found


@pytest.fixture(scope="session")
def changed() -> Callable[[str, str], str]:
    """Return what replaces a text of the base scenario."""

    def replaced(old: str, new: str) -> str:
        assert old in BASE
        return BASE.replace(old, new)

    return replaced
