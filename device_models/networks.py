"""Networks by the names that measurements give them: files in folders, layer tables, built-ins; and their families."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from device_models.figures import Sourced, read_toml
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workloads.graph import Graph


class Network(Sourced):
    """Names of one network, the most informative first.

    Parameters
    ----------
    dead_channels
        Output channels that always hold zero, by the number of the convolution; for shapes without weights.
    """

    names: tuple[str, ...] = Field(min_length=1)
    dead_channels: dict[int, int] = Field(default_factory=dict)


class Rule(Sourced):
    """A built-in network for all names that a regular expression describes.

    Parameters
    ----------
    like
        Fits the whole of a measurement's name, case included.
    name
        The built-in's, with what the groups fitted.
    runtime
        Pattern of the runtimes in whose measurements names mean that.
    """

    like: str
    name: str
    runtime: str = "*"


class NetworkFile(Sourced):
    """The tables of the file of names."""

    schema_version: int = Field(alias="schema")
    families: dict[str, tuple[str, ...]]
    network: tuple[Network, ...]
    rule: tuple[Rule, ...]


@cache
def known_networks() -> NetworkFile:
    """Return the names of networks that presage knows."""
    return NetworkFile.model_validate(read_toml(Path(str(files("device_models") / "networks.toml"))))


def family(model: str) -> str:
    """Return the architecture a network's name stands for: networks of one family are left out together."""
    name = model.lower()
    for found, patterns in known_networks().families.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return found
    return name


def plain(name: str) -> str:
    """Return a name without case, spaces and punctuation."""
    return re.sub(r"[^a-z0-9.+]", "", name.lower())


@dataclass(frozen=True)
class Models:
    """Where networks are found.

    Parameters
    ----------
    places
        What ``workloads.readers.load`` takes, by plain name.
    """

    places: Mapping[str, str] = field(repr=False)

    def find(self, model: str, runtime: str = "") -> str | None:
        """Return where a network is, by any of its names; None where no folder, table or built-in has it.

        A runtime's own networks come before others of their names, and files before both.
        """
        found = next((self.places[plain(name)] for name in _names(model) if plain(name) in self.places), None)
        if found is not None and not _is_built_in(found):
            return found
        return _own(model, runtime) or found or described(model) or (model if _is_built_in(model) else None)

    def graph(self, model: str, runtime: str = "", *, drops_dead_channels: bool = False) -> Graph:
        """Return a network as some runtime executes it.

        Raises
        ------
        InputError
            There is no such network, or its file is wrong.
        """
        place = self.find(model, runtime)
        if place is None:
            raise InputError("model", [f"{model!r} is in no folder of models; {did_you_mean(model, self.places)}"])
        known = next((each for each in known_networks().network if model in each.names), None)
        dead = known.dead_channels if drops_dead_channels and known is not None else {}
        return _narrowed(place, tuple(dead.items())) if dead else _load(place)


def described(model: str) -> str | None:
    """Return the built-in network that a rule gives a name, None where none fits."""
    return _by_rules(model, [rule for rule in known_networks().rule if rule.runtime == "*"])


def _own(model: str, runtime: str) -> str | None:
    """Return the built-in network that a name means in measurements of a runtime alone."""
    special = [rule for rule in known_networks().rule if rule.runtime != "*"]
    return _by_rules(model, [rule for rule in special if fnmatchcase(runtime.lower(), rule.runtime)])


def _by_rules(model: str, rules: Iterable[Rule]) -> str | None:
    """Return the built-in network that the first fitting rule gives a name."""
    fitting = ((re.fullmatch(rule.like, model), rule.name) for rule in rules)
    names = (fitted.expand(name) for fitted, name in fitting if fitted)
    return next((name for name in names if _is_built_in(name)), None)


def _is_built_in(name: str) -> bool:
    """Whether a name, its numbers included, is one of a built-in network."""
    from workloads.models import find

    try:
        return find(name) is not None
    except InputError:
        return False


@lru_cache(maxsize=256)
def _load(place: str) -> Graph:
    from workloads.readers.load import load

    return load(place)


def _names(model: str) -> tuple[str, ...]:
    """Return all names of a network, the most informative first."""
    wanted = plain(model)
    known = next((each.names for each in known_networks().network if wanted in map(plain, each.names)), ())
    return (*known, model)


@lru_cache(maxsize=64)
def _narrowed(place: str, dead: tuple[tuple[int, int], ...]) -> Graph:
    """Leave out what is known to be dead in a network whose own weights do not tell."""
    from workloads.operators import Conv2d, DepthwiseConv2d
    from workloads.passes.dead_channels import dead_channels, without_dead_channels

    graph = _load(place)
    if dead_channels(graph):
        return graph
    convolutions = [layer for layer in graph.layers if isinstance(layer.operator, Conv2d | DepthwiseConv2d)]
    return without_dead_channels(graph, {convolutions[index].outputs[0]: count for index, count in dead})


def find_models(folders: Iterable[Path]) -> Models:
    """Return the built-ins, and what folders hold at any depth: model files and the networks of layer tables.

    Raises
    ------
    InputError
        A folder does not exist.
    """
    from workloads.models import BUILT_IN
    from workloads.readers import table

    places = {plain(name): name for name in BUILT_IN}
    chosen = list(folders)
    if missing := [folder for folder in chosen if not folder.is_dir()]:
        raise InputError("--models", [f"{folder} is no folder" for folder in missing])
    for folder in chosen:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".tflite", ".onnx", ".param"):
                places[plain(path.stem)] = str(path)
            elif path.suffix == ".csv":
                try:
                    places |= {plain(name): f"{path}#{name}" for name in table.networks(path)}
                except InputError:
                    continue  # another kind of table
    return Models(places)
