"""Cases of a foreign vector file: read completely, checked against their description, and given one vocabulary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import InputError
from workloads.infer import read_inputs
from workloads.kernels.tables import exp_table, reciprocal_table, sigmoid_table
from workloads.operands import Factors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from workloads.operators import Pair
    from workloads.tensor import Array

# Generators of the vectors spell the same array differently.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "input": ("input", "input_data", "input_tensor"),
    "weights": ("weights", "input_weights"),
    "biases": ("biases", "bias", "input_bias"),
    "output_mult": ("output_mult", "output_multiplier"),
}

TABLES: Mapping[str, Callable[[], Array]] = {
    "softmax_s16_exp_lut": exp_table,
    "softmax_s16_one_by_one_lut": reciprocal_table,
    "sigmoid_table_uint16": sigmoid_table,
}

_FIELDS = {"ops": list, "expected": str, "accumulator": str, "arrays": dict, "defines": dict}
_DEFINE_TYPES = (bool, int, str, list)
INT32 = range(-(2**31), 2**31)


class UnsupportedCaseError(Exception):
    """A case asks for what no operator of ours does; the message says what."""


class CaseFaultError(ValueError):
    """A case lacks an array or a define, or they contradict each other; the message says how."""


@dataclass(frozen=True, eq=False)
class VectorCase:
    """One case: arrays and defines under their own names, read through the methods below.

    Parameters
    ----------
    ops
        The functions that the case tests.
    wide
        64-bit sums and the reduced multiplier.
    output
        The expected output.
    """

    name: str
    ops: tuple[str, ...]
    arrays: Mapping[str, Array]
    defines: Mapping[str, Any]
    wide: bool
    output: Array

    def array(self, name: str) -> Array:
        """Return an array under any of its spellings."""
        found = self.optional(name)
        if found is None:
            raise CaseFaultError(f"array {name!r} is missing; found {', '.join(sorted(self.arrays)) or 'none'}")
        return found

    def optional(self, name: str) -> Array | None:
        """Return an array under any of its spellings, None if absent."""
        spellings = ALIASES.get(name, (name,))
        return next((self.arrays[spelling] for spelling in spellings if spelling in self.arrays), None)

    def define(self, *names: str, default: int | None = None) -> int:
        """Return an integer define under the first spelling that exists."""
        name = next((name for name in names if name in self.defines), None)
        value = default if name is None else self.defines[name]
        if value is None:
            raise CaseFaultError(f"define {' or '.join(names)} is missing")
        if not isinstance(value, int) or value not in INT32:
            raise CaseFaultError(f"define {name} is {value!r}; expected an integer of 32 bits")
        return int(value)

    def pair(self, *stems: str, default: int | None = None) -> Pair:
        """Return a (vertical, horizontal) define, spelt _Y and _X or _H and _W."""
        vertical = [f"{stem}_{letter}" for stem in stems for letter in "YH"]
        horizontal = [f"{stem}_{letter}" for stem in stems for letter in "XW"]
        return self.define(*vertical, default=default), self.define(*horizontal, default=default)

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a define that lists integers."""
        value = self.defines.get(name)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise CaseFaultError(f"define {name} is {value!r}; expected a list of integers")
        return tuple(value)

    def factors(self, multiplier: str, shift: str) -> Factors:
        """Return a scalar multiplier and shift."""
        pair = self.define(multiplier), self.define(shift)
        return checked_factors(np.array([pair[0]]), np.array([pair[1]]))

    def bounds(self) -> tuple[int, int]:
        """Return the final clamp; without one, the range of the output's type."""
        limits = np.iinfo(self.output.dtype)
        low = self.define("OUT_ACTIVATION_MIN", "ACTIVATION_MIN", default=int(limits.min))
        high = self.define("OUT_ACTIVATION_MAX", "ACTIVATION_MAX", default=int(limits.max))
        if not limits.min <= low <= high <= limits.max:
            raise CaseFaultError(f"the output is clamped to {low} .. {high}, not a range of {self.output.dtype}")
        return low, high


def checked_factors(multipliers: Array, shifts: Array) -> Factors:
    """Return multipliers and shifts that a fixed-point profile can apply."""
    if multipliers.shape != shifts.shape or not multipliers.size:
        raise CaseFaultError(f"{multipliers.shape} multipliers and {shifts.shape} shifts")
    if multipliers.min() < 0 or shifts.min() < -31 or shifts.max() > 30:
        raise CaseFaultError("a multiplier below 0, or a shift outside -31 .. 30")
    return Factors(multipliers.astype(np.int32).ravel(), shifts.astype(np.int32).ravel())


def read_cases(path: Path) -> list[VectorCase]:
    """Read an .npz of arrays and the .json of the same stem.

    Raises
    ------
    InputError
        A file is missing or damaged, or they contradict each other; all faults at once.
    """
    arrays = read_inputs(path)
    described = _description(path.with_suffix(".json"))
    problems = [*_table_faults(arrays), *_stray_arrays(arrays, described)]
    cases = []
    for name, entry in described.items():
        found = {key.partition("/")[2]: array for key, array in arrays.items() if key.partition("/")[0] == name}
        faults = list(_case_faults(entry, found))
        problems += [f"case {name!r}: {fault}" for fault in faults]
        if not faults:
            output = found[entry["expected"]]
            wide = entry["accumulator"] == "int64"
            cases.append(VectorCase(name, tuple(entry["ops"]), found, entry["defines"], wide, output))
    if problems:
        raise InputError(path, problems)
    return cases


def _description(path: Path) -> Mapping[str, Any]:
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, [f"cannot be read: {error}; it describes the cases of the .npz beside it"]) from error
    cases = text.get("cases") if isinstance(text, dict) else None
    if not isinstance(cases, dict) or not cases:
        raise InputError(path, ["key 'cases' is missing or empty; expected a table of cases by name"])
    return cases


def _table_faults(arrays: Mapping[str, Array]) -> Iterator[str]:
    """Find tables that are not those our kernels use."""
    for name, make in TABLES.items():
        table = arrays.get(f"tables/{name}")
        if table is not None and not np.array_equal(table, make()):
            yield f"array 'tables/{name}' differs from the function's table"


def _stray_arrays(arrays: Mapping[str, Array], described: Mapping[str, Any]) -> Iterator[str]:
    known = {"tables", *described}
    for owner in sorted({key.partition("/")[0] for key in arrays} - known):
        yield f"arrays of {owner!r} belong to no described case"


def _case_faults(entry: Any, found: Mapping[str, Array]) -> Iterator[str]:
    """Find what is wrong with a case's description, and with its arrays against it."""
    if not isinstance(entry, dict):
        yield f"described by {type(entry).__name__}; expected a table"
        return
    wrong = [key for key, kind in _FIELDS.items() if not isinstance(entry.get(key), kind)]
    for key in wrong:
        yield f"field {key!r} is {type(entry.get(key)).__name__}; expected {_FIELDS[key].__name__}"
    if wrong:
        return
    if not entry["ops"] or not all(isinstance(op, str) for op in entry["ops"]):
        yield "field 'ops' must list the functions that the case tests"
    if entry["accumulator"] not in ("int32", "int64"):
        yield f"accumulator {entry['accumulator']!r}; expected 'int32' or 'int64'"
    for key, value in entry["defines"].items():
        if not isinstance(value, _DEFINE_TYPES):
            yield f"define {key} is {value!r}; expected a number, text or a list"
    for key in sorted(set(entry["arrays"]) | {entry["expected"]}):
        yield from _array_faults(key, entry["arrays"].get(key), found.get(key))


def _array_faults(name: str, declared: Any, array: Array | None) -> Iterator[str]:
    if array is None:
        yield f"array {name!r} is missing from the .npz"
        return
    actual = f"{array.dtype} {'x'.join(map(str, array.shape))}"
    if declared is not None and declared != actual:
        yield f"array {name!r} is {actual}, described as {declared}"
    if array.dtype.kind not in "iu" or not array.size:
        yield f"array {name!r} is {actual}; expected integers"
