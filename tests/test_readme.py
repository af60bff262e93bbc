"""The README is executed: its console blocks are real output, its Python is a doctest.

``ACCEPT=1 pytest tests/test_readme.py`` writes the output of today into the README.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?<=^```console\n)\$ (?P<command>[^\n]+)\n(?P<output>.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
COMMANDS = [match["command"] for match in BLOCK.finditer(README.read_text(encoding="utf-8"))]


def printed(command: str) -> str:
    program, *arguments = shlex.split(command)
    finished = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        check=True,
        capture_output=True,
        encoding="utf-8",
        cwd=README.parent,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    return "\n".join(line.rstrip() for line in finished.stdout.splitlines()).strip() + "\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_console_block_shows_what_the_command_prints(command):
    text = README.read_text(encoding="utf-8")
    match = next(match for match in BLOCK.finditer(text) if match["command"] == command)
    output = printed(command)
    if os.environ.get("ACCEPT"):
        README.write_text(text[: match.start("output")] + output + text[match.end("output") :], encoding="utf-8")
    else:
        assert match["output"] == output


def test_the_python_of_the_readme_runs():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0
