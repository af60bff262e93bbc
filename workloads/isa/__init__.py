"""Instruction sets as data: mnemonic -> meaning, from a small closed set; one TOML file per set."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ELEMENT_BYTES = {
    "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "s64": 8, "u64": 8, "f16": 2, "f32": 4,
    "f64": 8,
}  # fmt: skip
_REGISTER = re.compile(r"([a-z_]+)([0-9]+)")


@dataclass(frozen=True)
class Meaning:
    """What one instruction computes, lane by lane, on typed views of its registers or of memory.

    Parameters
    ----------
    kind
        The integer meaning; the closed set is documented in the module docstring of ``workloads.executor``.
    result
        Element type of the destination (for a store: of the memory).
    sources
        Element type of each source.
    lanes
        Destination lanes at full width (an instruction's ``count`` may ask for fewer).
    group
        Products summed into one lane (dot products: SMLAD 2, VPDPBUSD 4).
    step, start
        Which source lanes an ``extend`` takes: start, start + step, ...
    accumulate
        The destination is also a source.
    saturate
        The result is clamped to its type instead of wrapped.
    shift
        Right shift of a ``multiply_high``, with ``rounding`` "none" (floor) or "up" (half up).
    holds
        Element type the destination register keeps when wider than ``result``: ADDW computes s32, holds s64.
    scalar_sources
        Positions of sources that give one element to every lane (vwmacc.vx: 0).
    zeroing
        The destination register's bytes beyond the active lanes become zero instead of staying as they were.
    zero_quotient
        What a ``divide`` of integers gives for a zero divisor.
    indices
        Source lane of each destination lane of a ``permute``; empty when the instruction's ``shape`` gives them.
    unit
        Bytes that the indices of a ``gather`` count; 0 stands for elements. [B]
    spaces
        Memory space that each operand must lie in, destination first; "" allows any.
    align
        What addresses of its memory operands must be multiples of; 1 allows any. [B]
    """

    kind: str
    result: str = "s32"
    sources: tuple[str, ...] = ()
    lanes: int = 1
    group: int = 1
    step: int = 1
    start: int = 0
    accumulate: bool = False
    saturate: bool = False
    rounding: str = "none"
    shift: int = 0
    holds: str = ""
    scalar_sources: tuple[int, ...] = ()
    zeroing: bool = False
    zero_quotient: int = 0
    indices: tuple[int, ...] = ()
    unit: int = 0
    spaces: tuple[str, ...] = ()
    align: int = 1


@dataclass(frozen=True)
class RegisterClass:
    """Registers ``<prefix>0 .. <prefix>count-1`` of ``bytes`` each, consecutive in the register file.

    ``alias`` names the class whose low bytes these registers are (ymm3 is the low half of zmm3).
    """

    count: int
    bytes: int
    alias: str = ""


@dataclass(frozen=True)
class InstructionSet:
    """An instruction set: its registers, its instructions, and what closes a loop.

    Parameters
    ----------
    load_store
        Only loads and stores take operands in memory.
    whole_groups
        Groups of vector registers (LMUL) are of one register or more, and those of results and sources of another
        width multiples of it, however few lanes there are.
    """

    name: str
    title: str
    source: str
    registers: Mapping[str, RegisterClass]
    instructions: Mapping[str, Meaning]
    loop_control: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ("memory",)
    parameters: Mapping[str, int] = field(default_factory=dict)
    load_store: bool = False
    whole_groups: bool = False

    def __hash__(self) -> int:
        return hash((self.name, *sorted(self.parameters.items())))

    def meaning(self, mnemonic: str) -> Meaning:
        """Return what ``mnemonic`` computes; an instruction the set lacks is an error, never an alias."""
        if mnemonic not in self.instructions:
            raise ValueError(
                f"{self.name} has no instruction {mnemonic!r}; {did_you_mean(mnemonic, self.instructions)}"
            )
        return self.instructions[mnemonic]

    def register(self, name: str) -> tuple[int, int, int]:
        """Return (first byte, bytes of the register, end of its class) in the flat register file.

        Raises
        ------
        ValueError
            No class has that prefix, or the class has fewer registers.
        """
        match = _REGISTER.fullmatch(name)
        if match is None or match[1] not in self.registers:
            raise ValueError(f"{self.name} has no register {name!r}; known prefixes: {', '.join(self.registers)}")
        prefix, index = match[1], int(match[2])
        own = self.registers[prefix]
        if index >= own.count:
            raise ValueError(f"{self.name} has no register {name!r}; the last is {prefix}{own.count - 1}")
        storage = self.registers[own.alias] if own.alias else own
        start = self._class_start(own.alias or prefix)
        return start + index * storage.bytes, own.bytes, start + storage.count * storage.bytes

    def _class_start(self, prefix: str) -> int:
        """Return where a class begins; each class that is no alias begins at a multiple of 64 bytes."""
        start = 0
        for name, item in self.registers.items():
            if name == prefix:
                return start
            start += 0 if item.alias else -(-item.count * item.bytes // 64) * 64
        raise KeyError(prefix)

    @property
    def register_file_bytes(self) -> int:
        """Size of the flat register file. [B]"""
        return sum(-(-item.count * item.bytes // 64) * 64 for item in self.registers.values() if not item.alias)


_TUPLES = ("sources", "scalar_sources", "indices", "spaces")


def _each_width(table: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each instruction; one with ``widths`` stands for one per element width, whose numbers its texts name."""
    for name, entry in table.items():
        for width in entry.get("widths", (0,)):
            numbers = {"e": width, "half": width // 2, "quarter": width // 4, "double": 2 * width,
                       "top": width - 1, "bytes": width // 8, "double_bytes": width // 4}  # fmt: skip
            filled = {key: _filled(value, numbers) for key, value in entry.items() if key != "widths"}
            yield name.format(**numbers), filled if width else entry


def _filled(value: Any, numbers: Mapping[str, int]) -> Any:
    """Fill numbers into a text, or into each text of a list; a text that is a number then becomes one."""
    if isinstance(value, list):
        return [_filled(item, numbers) for item in value]
    text = value.format(**numbers) if isinstance(value, str) else value
    return int(text) if isinstance(text, str) and text.isdigit() else text


def _meaning(entry: dict[str, Any], parameters: Mapping[str, int], aligned: bool) -> Meaning:
    """Read one entry; ``lanes = "vlen/8"`` divides a parameter (in bits) by an element width."""
    entry = dict(entry)
    if aligned and (at := {"load": "sources", "store": "result"}.get(entry["kind"])):
        element = entry[at][0] if at == "sources" else entry[at]
        entry.setdefault("align", ELEMENT_BYTES[element])
    if isinstance(lanes := entry.get("lanes"), str):
        parameter, _, divisor = lanes.partition("/")
        entry["lanes"] = parameters[parameter] // int(divisor)
    values: dict[str, Any] = {key: tuple(value) if key in _TUPLES else value for key, value in entry.items()}
    return Meaning(**values)


@cache
def load_isa(name: str, **parameters: int) -> InstructionSet:
    """Return a shipped instruction set, e.g. ``load_isa("rvv", vlen=256)``.

    Raises
    ------
    InputError
        There is no such set.
    """
    folder = files("workloads.isa")
    known = [item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")]
    if name not in known:
        raise InputError("instruction set", [f"{name!r} is unknown; {did_you_mean(name, known)}"])
    table = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    values = {**table.get("parameters", {}), **parameters}
    if unknown := set(parameters) - set(table.get("parameters", {})):
        raise ValueError(f"{name} has no parameter {sorted(unknown)}")
    classes = {
        prefix: RegisterClass(
            item["count"],
            values[item["bytes"].partition("/")[0]] // 8 if isinstance(item["bytes"], str) else item["bytes"],
            item.get("alias", ""),
        )
        for prefix, item in table["registers"].items()
    }
    aligned = table.get("aligned", False)  # memory operands start at multiples of their element
    return InstructionSet(
        name=name,
        title=table["title"],
        source=table["source"],
        registers=classes,
        instructions={key: _meaning(entry, values, aligned) for key, entry in _each_width(table["instructions"])},
        loop_control=tuple(table.get("loop_control", ())),
        spaces=tuple(table.get("spaces", ("memory",))),
        parameters=values,
        load_store=table.get("load_store", False),
        whole_groups=table.get("whole_groups", False),
    )
