"""Arguments that mean something without a value or with several, which the parser of options does not know."""

from __future__ import annotations

LONGEST = "longest"  # what is explained where no layer is named
SEVERAL = {"validate": ("--measured", "--models")}  # by command, options that take every value up to the next option


def completed(arguments: list[str]) -> list[str]:
    """Return the arguments with the longest layer after an ``--explain`` that names none, and options repeated."""
    if not arguments:
        return []
    found = []
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        found.append(argument)
        if argument == "--explain" and following.startswith("-"):
            found.append(LONGEST)
    return _repeated(found)


def _repeated(arguments: list[str]) -> list[str]:
    """Return the arguments with an option before each of its values: ``--models a b`` as ``--models a --models b``."""
    options = SEVERAL.get(arguments[0], ())
    found: list[str] = []
    last = ""
    for argument, before in zip(arguments, ["", *arguments[:-1]], strict=True):
        if argument.startswith("-"):
            last = argument
        elif last in options and before != last:
            found.append(last)
        found.append(argument)
    return found
