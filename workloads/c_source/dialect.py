"""How one instruction set reads in C, as data: one TOML file per set, a line of C per instruction."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMON = "common"  # the file of what all dialects share


@dataclass(frozen=True)
class Registers:
    """The C type of a register's local variable and its first value; ``{type}`` in it stands for a vector's type."""

    type: str
    zero: str = ""

    @property
    def typed(self) -> bool:
        """Whether a register has one local per type that its Program gives it."""
        return "{type}" in self.type


@dataclass(frozen=True)
class Dialect:
    """How one instruction set reads in C.

    Parameters
    ----------
    flags
        What a compiler must be told for this text.
    prelude
        Text before everything else: what to include.
    registers
        By prefix.
    instructions, masked
        Mnemonic, or a pattern of mnemonics as of file names -> C on all lanes, and on fewer: a statement where it ends
        in a semicolon, else the value that the destination gets. A name precedes patterns, and those each other in
        their order. The placeholders are those of ``workloads.c_source.function``.
    memory, masked_memory
        C of a memory operand where a value is expected.
    functions
        C functions by name, each after those that it calls; a text holds those that it uses.
    reserved
        Names that neither a function nor a variable can have.
    """

    flags: tuple[str, ...]
    registers: Mapping[str, Registers]
    instructions: Mapping[str, str]
    functions: Mapping[str, str]
    reserved: frozenset[str]
    masked: Mapping[str, str]
    prelude: str = ""
    memory: str = ""
    masked_memory: str = ""

    def line(self, mnemonic: str, *, partial: bool = False) -> str:
        """Return the C of an instruction, on all lanes or on fewer (``partial``); empty where it has none."""
        whole = _first(self.instructions, mnemonic)
        return _first(self.masked, mnemonic) if partial and "{lanes}" not in whole else whole

    def functions_of(self, text: str) -> str:
        """Return the functions that ``text`` calls, and those that they call."""
        found: list[str] = []
        for name in reversed(tuple(self.functions)):
            if re.search(rf"\b{name}\(", "\n".join((text, *found))):
                found.append(self.functions[name].strip() + "\n")
        return "".join(reversed(found))


def _first(lines: Mapping[str, str], mnemonic: str) -> str:
    """Return the line of a mnemonic, else the first whose pattern fits."""
    return lines.get(mnemonic) or next((line for key, line in lines.items() if fnmatchcase(mnemonic, key)), "")


@cache
def load_dialect(name: str) -> Dialect:
    """Return how the instruction set ``name`` reads in C.

    Raises
    ------
    NotImplementedError
        It has no C form.
    """
    folder = files("workloads.c_source")
    found = folder / f"{name}.toml"
    if not found.is_file():
        known = sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))
        known.remove(_COMMON)
        raise NotImplementedError(
            f"instruction set {name!r} has no C form; C is written for those that a public compiler takes: "
            f"{', '.join(known)}"
        )
    table = tomllib.loads(found.read_text(encoding="utf-8"))
    common = tomllib.loads((folder / f"{_COMMON}.toml").read_text(encoding="utf-8"))
    functions = common["functions"] | table.get("functions", {})
    return Dialect(
        flags=tuple(table["flags"]),
        registers={prefix: Registers(**entry) for prefix, entry in table["registers"].items()},
        instructions=table["instructions"],
        functions=functions,
        reserved=frozenset((*common["keywords"].split(), *functions)),
        masked=table.get("masked", {}),
        prelude=table.get("prelude", "").strip(),
        memory=table.get("memory", ""),
        masked_memory=table.get("masked_memory", ""),
    )
