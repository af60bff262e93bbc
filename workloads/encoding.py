"""How many bytes of machine code a Program takes, from the sizes in ``encoding.toml``."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from workloads.program import accesses, walk

if TYPE_CHECKING:
    from workloads.isa import InstructionSet
    from workloads.program import Instruction, Operand, Program

_REGISTER = re.compile(r"[a-z]+(\d+)")
_SHORT_VEX, _FIRST_EXTENDED = 4, 8


def code_bytes(program: Program) -> int | None:
    """Return the encoded size of a Program, each instruction once; None where the set has no known encoding. [B]"""
    if program.isa.name not in _tables():
        return None
    return sum(instruction_bytes(instruction, program.isa) for instruction, _ in walk(program.body))


def instruction_bytes(instruction: Instruction, isa: InstructionSet) -> int:
    """Return the encoded size of one instruction of a set in ``encoding.toml``. [B]"""
    table = _tables()[isa.name]
    size: int = table["lengths"].get(instruction.op, table["bytes"])
    operands = (instruction.destination, *instruction.sources)
    constants = [value for value in instruction.sources if isinstance(value, int)]
    if constants and (forms := table.get("constants", {}).get(instruction.op)):
        fitting = (length for low, high, length in forms if low <= constants[0] <= high)
        size = next(fitting, table["constant"])
    if size == _SHORT_VEX and _is_extended(operands[-1]):
        size += int(table.get("extended", 0))
    if "displacement" in table:
        scaled = table["displacement"] == "scaled"
        size += sum(
            _displacement(address.offset, nbytes if scaled else 1) for address, nbytes, _ in accesses(instruction, isa)
        )
    return size


@cache
def _tables() -> dict[str, dict[str, Any]]:
    """Return the sizes of every set, with a flat table of lengths by mnemonic."""
    tables = tomllib.loads((files("workloads") / "encoding.toml").read_text(encoding="utf-8"))
    for table in tables.values():
        sizes = table.get("sizes", {})
        table["lengths"] = {mnemonic: int(size) for size, names in sizes.items() for mnemonic in names}
    return tables


def _is_extended(operand: Operand | None) -> bool:
    """Whether an operand is a register that needs a longer prefix."""
    match = _REGISTER.fullmatch(operand) if isinstance(operand, str) else None
    return match is not None and int(match[1]) >= _FIRST_EXTENDED


def _displacement(offset: int, unit: int) -> int:
    """Return the bytes that an address's constant part takes. [B]"""
    if offset == 0:
        return 0
    return 1 if offset % unit == 0 and -128 <= offset // unit <= 127 else 4
