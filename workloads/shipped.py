"""Files that come with presage: found by name among the TOML files of a folder, where no path is given."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from workloads.errors import InputError, did_you_mean


def folder_of(package: str, *below: str) -> Path:
    """Return a folder of a package of ours."""
    return Path(str(files(package))).joinpath(*below)


def names_in(folder: Path) -> tuple[str, ...]:
    """Return the names of the TOML files of a folder, sorted."""
    return tuple(sorted(file.stem for file in folder.glob("*.toml")))


def find(name: str | Path, folder: Path, what: str) -> Path:
    """Return the path that ends in ``.toml``, the file of ``folder`` that a name stands for, or another file's path.

    Parameters
    ----------
    what
        The kind of file, for the message.

    Raises
    ------
    InputError
        The name is none of them.
    """
    text, known = str(name), names_in(folder)
    if text in known:
        return folder / f"{text}.toml"
    if not text.endswith(".toml") and not Path(name).is_file():
        raise InputError(what, [f"{text!r} is unknown; {did_you_mean(text, known)}"])
    return Path(name)
