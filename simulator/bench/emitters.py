"""A user's generators and saved Programs: found, called with what they ask for, and refused with a reason."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, did_you_mean
from workloads.legality import faults
from workloads.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def find(target: str) -> Callable[..., Any]:
    """Import ``module:function``, also from the current folder.

    Raises
    ------
    InputError
        There is none.
    """
    from simulator.fuzz import import_function

    return import_function(target)


def asks_for(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has a parameter of that name, or takes any."""
    parameters = signature(function).parameters
    return name in parameters or any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())


def emit(function: Callable[..., Any], given: Mapping[str, Any], optional: Mapping[str, Any]) -> Program:
    """Call a generator.

    Parameters
    ----------
    given
        Arguments that it must take.
    optional
        Arguments that it gets if it has a parameter of that name.

    Raises
    ------
    InputError
        Its parameters do not fit, it fails, or it returns no Program that its instruction set can run.
    """
    name = getattr(function, "__qualname__", str(function))
    arguments = {**given, **{key: value for key, value in optional.items() if asks_for(function, key)}}
    if problems := _misfits(function, arguments):
        raise InputError(name, problems)
    try:
        found = function(**arguments)
    except Exception as error:
        raise InputError(name, [f"failed: {type(error).__name__}: {error}"]) from error
    if not isinstance(found, Program):
        raise InputError(name, [f"returned {type(found).__name__}; expected a workloads.program.Program"])
    check(found, name)
    return found


def check(program: Program, path: object) -> None:
    """Refuse a Program that its instruction set cannot run.

    Raises
    ------
    InputError
        With every fault.
    """
    if problems := list(faults(program)):
        raise InputError(path, [f"Program {program.name!r}: {problem}" for problem in problems])


def _misfits(function: Callable[..., Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return what keeps a function from being called by these names."""
    parameters = signature(function).parameters
    named = [name for name, each in parameters.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    needed = [name for name in named if parameters[name].default is Parameter.empty]
    unknown = [name for name in arguments if not asks_for(function, name)]
    return [f"has no parameter {name!r}; {did_you_mean(name, named)}" for name in unknown] + [
        f"needs {name!r}; give it under arguments" for name in needed if name not in arguments
    ]
