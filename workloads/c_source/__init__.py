"""Programs as C: a function that a public compiler takes, with intrinsics where the instruction set has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.c_source.dialect import load_dialect
from workloads.c_source.function import function, function_names
from workloads.legality import check
from workloads.listing import heading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workloads.program import Program


def c_text(program: Program) -> str:
    """Return a Program as a C file with one function: what it needs, what it computes, which flags it takes.

    The function's parameters are the Program's buffers in their order, as byte pointers.

    Raises
    ------
    NotImplementedError
        The instruction set, or an instruction, has no C form; the message names it.
    ValueError
        The Program is not legal.
    """
    return c_file((program,))


def c_file(programs: Iterable[Program]) -> str:
    """Return Programs of one instruction set as a C file with one function each, named like it."""
    chosen = tuple(programs)
    dialect = load_dialect(chosen[0].isa.name)
    functions = ""
    for program, name in zip(chosen, function_names(chosen, dialect), strict=True):
        check(program)
        functions += f"\n{''.join(_comment(program))}{function(program, dialect, name)}"
    first = f"// {chosen[0].isa.title}. Compile with: -O2 {' '.join(dialect.flags)}\n"
    includes = first + "#include <stddef.h>\n#include <stdint.h>"
    parts = (includes, dialect.prelude, dialect.functions_of(functions).rstrip())
    return "\n\n".join(part for part in parts if part) + "\n" + functions


def _comment(program: Program) -> Iterator[str]:
    """Yield the lines that introduce a function."""
    yield from (f"// {line}\n" for line in heading(program))
    for buffer in program.buffers:
        yield f"//   {buffer.name}: {buffer.bytes} B, {buffer.space}, {buffer.role}\n"
