"""Arguments that mean something without a value, which the parser of options does not know."""

from __future__ import annotations

LONGEST = "longest"  # what is explained where no layer is named


def completed(arguments: list[str]) -> list[str]:
    """Return the arguments with the longest layer after an ``--explain`` that names none."""
    found = []
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        found.append(argument)
        if argument == "--explain" and following.startswith("-"):
            found.append(LONGEST)
    return found
