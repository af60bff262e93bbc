"""The pytest plugin: ``presage_bench`` fails a test whose kernel costs more than in the baseline beside the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from simulator.bench.fixture import Checks

_NOTES = pytest.StashKey[list[str]]()
_PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--presage-accept``."""
    group = parser.getgroup("presage", "cost of generated kernels")
    group.addoption("--presage-accept", action="store_true", help="Make today's figures the baseline of presage_bench.")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to accept from several processes, which would overwrite each other's baseline."""
    config.stash[_NOTES] = []
    if config.getoption("presage_accept") and hasattr(config, "workerinput"):
        raise pytest.UsageError("--presage-accept writes one file per module; run it with -n 0")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Remember whether the test itself passed."""
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def presage_bench(request: pytest.FixtureRequest) -> Generator[Checks]:
    """Check what Programs cost: ``presage_bench.check(program_or_function, on="stm32h7a3")``.

    The baseline is ``<test module>.presage.json`` beside the test; ``pytest --presage-accept`` writes it.
    """
    from simulator.bench.fixture import Checks

    accept = bool(request.config.getoption("presage_accept"))
    path, test = request.path, request.node.nodeid.partition("::")[2]
    checks = Checks(path.with_name(f"{path.stem}.presage.json"), test, accept)
    yield checks
    if request.node.stash.get(_PASSED, False):
        checks.finish()
    request.config.stash[_NOTES] += checks.notes


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List what changed without failing a test."""
    notes = config.stash.get(_NOTES, [])
    if notes:
        terminalreporter.section("presage: kernels that changed")
        for note in notes:
            terminalreporter.write_line(note)
