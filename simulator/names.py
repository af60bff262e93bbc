"""Names in a scenario that must exist: of models, chips, links, grids and policies, shipped or beside the file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo

from simulator import profiles
from simulator.policy import find_policy
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from device_models.device import Device as Chip
    from workloads.graph import Graph

# Control characters have no place in names, paths and sources.
Text = Annotated[str, Field(strict=True, pattern=r"^[^\x00-\x1f]+$")]


def read_model(name: str, folder: Path) -> Graph:
    """Return the network of a built-in name, or of a path beside the scenario."""
    is_path = "/" in name or Path(name.partition("#")[0]).suffix != ""
    if not is_path:
        return _loaded(name, 0)
    file = folder / name.partition("#")[0]
    return _loaded(str(folder / name), file.stat().st_mtime_ns if file.exists() else 0)


@lru_cache(maxsize=16)  # every point of a comparison asks again
def _loaded(text: str, changed_ns: int) -> Graph:  # noqa: ARG001 - a changed file is read again
    from workloads.readers.load import load

    return load(text)


def read_chip(name: str, folder: Path) -> Chip:
    """Return a device of the catalogue, or of a path beside the scenario."""
    from device_models.device import load_device

    return load_device(chip_path(name, folder))


def chip_path(name: str, folder: Path) -> str:
    """Return what ``load_device`` takes: a name as it is, a path beside the scenario."""
    return str(folder / name) if name.endswith(".toml") else name


def _must_exist(read: Callable[[str, Path], Any]) -> AfterValidator:
    """Return the validator of a name: what ``read`` finds wrong with it is a fault at its key."""

    def check(name: str, info: ValidationInfo) -> str:
        try:
            read(name, (info.context or {}).get("folder", Path()))
        except InputError as error:
            raise ValueError("; ".join(error.problems)) from None
        return name

    return AfterValidator(check)


ModelName = Annotated[Text, _must_exist(read_model)]
ChipName = Annotated[Text, _must_exist(read_chip)]
PolicyName = Annotated[Text, _must_exist(find_policy)]
LinkName = Annotated[Text, _must_exist(lambda name, folder: profiles.load_link(name, folder))]
GridName = Annotated[Text, _must_exist(lambda name, folder: profiles.load_grid(name, folder))]
