"""The page on requantisation profiles is executed."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "workloads" / "arithmetic.md"


def test_every_example_of_the_page_on_profiles_gives_what_it_shows():
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.attempted > 15
    assert result.failed == 0
