"""Finding a policy: a file of ``policies/`` by its name, or the user's own function as "my_module:decide"."""

from __future__ import annotations

import functools
import inspect
from importlib import import_module
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_models.quantities import Dimension, parse_quantity
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from simulator.policies import Decision

# A parameter's suffix decides which units the file may use.
DIMENSIONS = {
    "_bytes": Dimension("B", ("B", "bit"), "512 KiB"),
    "_bps": Dimension("bit/s", ("bit/s", "B/s"), "5 Mbit/s"),
    "_s": Dimension("s", ("s", "min", "h", "d"), "100 ms"),
    "_j": Dimension("J", ("J", "Wh"), "3.7 Wh"),
    "_w": Dimension("W", ("W",), "121.9 mW"),
}


def known_policies() -> list[str]:
    """Return the names of the bundled policies, as a scenario writes them."""
    entries = (entry.name for entry in files("simulator.policies").iterdir())
    names = {name.removesuffix(".py") for name in entries if name.endswith(".py")}
    return sorted(name.replace("_", "-") for name in names - {"__init__"})


def find_policy(name: str, folder: Path = Path()) -> Callable[..., Any]:
    """Return a policy's function; a user's module is looked for in ``folder`` first.

    Raises
    ------
    InputError
        There is no such policy; the message names the known ones.
    """
    if ":" in name:
        return _own(name, folder)
    if name not in known_policies():
        hint = did_you_mean(name, known_policies())
        listed = "" if hint.startswith("known") else f" (known: {', '.join(known_policies())})"
        raise InputError(name, [f'{name!r} is no policy; {hint}{listed}, or write "my_module:decide"'])
    return import_module(f"simulator.policies.{name.replace('-', '_')}").decide  # type: ignore[no-any-return]  # by name


def _own(name: str, folder: Path) -> Callable[..., Any]:
    """Return the function of a user's module."""
    module, _, function = name.partition(":")
    file = folder / f"{module}.py"
    try:
        found = getattr(_from_file(file) if file.is_file() else import_module(module), function)
    except Exception as error:
        # The user's module may fail in any way; whatever it says belongs into the message.
        raise InputError(name, [f"{name!r} cannot be imported: {error}"]) from None
    if not callable(found):
        raise InputError(name, [f"{name!r} is no function; expected decide(request, view)"])
    return found  # type: ignore[no-any-return]  # the user's own function


@functools.cache
def _from_file(file: Path) -> ModuleType:
    """Run a user's module from its file, once."""
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parameters_of(decide: Callable[..., Any]) -> dict[str, str]:
    """Return a policy's parameters, key in the file -> keyword: ``minimum_uplink`` -> ``minimum_uplink_bps``."""
    keywords = [name for name, item in inspect.signature(decide).parameters.items() if item.kind is item.KEYWORD_ONLY]
    return {_key(keyword): keyword for keyword in keywords}


def _key(keyword: str) -> str:
    suffix = next((suffix for suffix in DIMENSIONS if keyword.endswith(suffix)), "")
    return keyword.removesuffix(suffix)


def bind(name: str, given: Mapping[str, Any], folder: Path = Path()) -> Callable[..., Decision | str]:
    """Return a policy with its parameters set.

    Raises
    ------
    InputError
        The policy or one of its parameters is unknown or wrong; all faults at once.
    """
    decide = find_policy(name, folder)
    known = parameters_of(decide)
    faults = []
    values = {}
    for key, raw in given.items():
        if key not in known:
            expected = did_you_mean(key, known) if known else "it takes none"
            faults.append(f"{key}: policy {name!r} has no such parameter; {expected}")
            continue
        try:
            values[known[key]] = _value(known[key], raw)
        except ValueError as error:
            faults.append(f"{key}: {error}")
    if faults:
        raise InputError(name, faults)
    return functools.partial(decide, **values) if values else decide


def _value(keyword: str, raw: Any) -> Any:
    dimension = next((dimension for suffix, dimension in DIMENSIONS.items() if keyword.endswith(suffix)), None)
    if dimension is not None:
        return parse_quantity(raw, dimension)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw < float("inf"):
        raise ValueError(f"{raw!r}; expected a finite number of at least 0")
    return raw
