"""The one error for wrong input: what is wrong, where, and what to do, all faults at once."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Wrong input from a user: a file, a name or an option.

    Parameters
    ----------
    path
        The file or option in which the faults were found.
    problems
        One line per fault: where, what was found, what was expected, what to do.
    """

    def __init__(self, path: object, problems: Sequence[str]) -> None:
        self.path = str(path)
        self.problems = tuple(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        return "\n".join([f"{self.path}: {count}", *(f"  {problem}" for problem in self.problems)])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name, but names that begin like this one first; else list all; for an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    longer = [each for each in names if name and each.startswith(name)]
    if longer and not (close and close[0] in longer):
        return f"did you mean {' or '.join(repr(each) for each in longer)}?"
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
