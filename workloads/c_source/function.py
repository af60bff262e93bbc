"""A Program as one C function: buffers are byte pointers, loops are for loops, registers are locals.

The placeholders of a dialect's lines: ``{d}`` the destination, ``{a} {b} {c}`` the sources, as C; of each ``.at`` the
address of one in memory, ``.next`` the register that follows, ``.type`` the type of a vector; ``{lanes}`` the active
lanes and ``{mask}`` a bit for each; ``{op}`` and ``{form}`` the parts of the mnemonic. In lines for memory operands
``{at}``, and ``{bits}`` of one lane.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING

from workloads.c_source.views import Views, view
from workloads.isa import ELEMENT_BYTES
from workloads.listing import text
from workloads.program import Address, Instruction, Loop, operand_elements, walk

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from workloads.c_source.dialect import Dialect
    from workloads.isa import Meaning
    from workloads.program import Program, Statement

_INDENT = "    "
_LETTERS = {"i": "int", "u": "uint", "f": "float"}


@dataclass(frozen=True)
class Term:
    """An operand as C: its value, and where they exist its address, the register after it, its vector type."""

    value: str
    at: str = ""
    next: str = ""
    type: str = ""

    def __str__(self) -> str:
        return self.value


@dataclass
class _Writer:
    """What the lines of a function share."""

    program: Program
    dialect: Dialect
    names: Mapping[str, str]
    views: Views
    missing: dict[str, None] = field(default_factory=dict)


def function(program: Program, dialect: Dialect, name: str) -> str:
    """Return a legal Program as the C function ``name``.

    Raises
    ------
    NotImplementedError
        An instruction has no C form; the message names all that have none.
    ValueError
        A vector register is read where no single write filled it.
    """
    writer = _Writer(program, dialect, _variables(program, dialect), Views(program.isa))
    body = "".join(_body(writer, program.body, _INDENT))
    if writer.missing:
        raise NotImplementedError(
            f"program {program.name!r}: {program.isa.name} has no C form for {', '.join(writer.missing)}"
        )
    locals_ = "".join(f"{_INDENT}{line}\n" for line in _locals(dialect, body))
    head = "\n".join(_wrapped(f"void {name}({_parameters(writer)}) {{"))
    return f"{head}\n{locals_}{body}}}\n"


def function_names(programs: Iterable[Program], dialect: Dialect) -> list[str]:
    """Return a C name for each Program: its own, with a number where one comes again."""
    found: list[str] = []
    for program in programs:
        first = name = identifier(program.name, dialect.reserved)
        number = 1
        while name in found:
            number += 1
            name = f"{first}_{number}"
        found.append(name)
    return found


def identifier(name: str, reserved: Container[str] = ()) -> str:
    """Return ``name`` as a C identifier that is not ``reserved``."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    found = found if found[:1].isalpha() else f"_{found}"
    while found in reserved:
        found += "_"
    return found


def _variables(program: Program, dialect: Dialect) -> dict[str, str]:
    """Return a C name for each buffer and loop variable, apart from each other and from registers."""
    loops = (loop.variable for _, around in walk(program.body) for loop in around)
    registers = rf"(?:{'|'.join(dialect.registers)})\d+"
    found: dict[str, str] = {}
    for name in dict.fromkeys((*(buffer.name for buffer in program.buffers), *loops)):
        own = identifier(name, dialect.reserved)
        while own in found.values() or re.fullmatch(registers, own):
            own += "_"
        found[name] = own
    return found


def _parameters(writer: _Writer) -> str:
    """Return the parameters: a byte pointer per buffer, const where nothing is stored."""
    program = writer.program
    stored = {one.destination.buffer for one, _ in walk(program.body) if isinstance(one.destination, Address)}
    return ", ".join(
        f"{'' if buffer.name in stored else 'const '}uint8_t *restrict {writer.names[buffer.name]}"
        for buffer in program.buffers
    )


def _locals(dialect: Dialect, body: str) -> Iterator[str]:
    """Yield the declarations of the registers that ``body`` names, those of one type together."""
    for prefix, registers in dialect.registers.items():
        pattern = rf"\b{prefix}\d+_([iuf]\d+mf?\d)\b" if registers.typed else rf"\b{prefix}\d+()\b"
        found = {match[0]: match[1] for match in re.finditer(pattern, body)}
        for kind in sorted(set(found.values())):
            names = sorted((name for name in found if found[name] == kind), key=lambda name: (len(name), name))
            first = f" = {registers.zero}" if registers.zero else ""
            of = _LETTERS.get(kind[:1], "") + kind[1:]
            yield from _wrapped(f"{registers.type.format(type=of)} {', '.join(name + first for name in names)};")


def _wrapped(line: str) -> list[str]:
    """Break a long line at spaces, the rest indented."""
    return wrap(line, 112, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)


def _body(writer: _Writer, body: tuple[Statement, ...], indent: str) -> Iterator[str]:
    """Yield the lines of statements at one depth."""
    for statement in body:
        if not isinstance(statement, Loop):
            if line := _line(writer, statement):
                yield f"{indent}{line}\n"
            continue
        variable = writer.names[statement.variable]
        if statement.trips:
            writer.views.enter(statement)
            yield f"{indent}for (ptrdiff_t {variable} = 0; {variable} < {statement.trips}; ++{variable}) {{\n"
            yield from _body(writer, statement.body, indent + _INDENT)
            yield f"{indent}}}\n"


def _line(writer: _Writer, instruction: Instruction) -> str:
    """Return one instruction as a statement; what only controls loops is none."""
    dialect, meaning = writer.dialect, writer.program.isa.meaning(instruction.op)
    if meaning.kind == "control":
        return ""
    partial = instruction.count not in (None, meaning.lanes)
    line = dialect.line(instruction.op, partial=partial)
    if not line or instruction.shape:
        writer.missing[_described(instruction)] = None
        return ""
    lanes = instruction.count or meaning.lanes
    mask = f"0x{(1 << lanes) - 1:x}{'ull' if lanes > 32 else 'u'}"
    try:
        terms = dict(zip("abc", _sources(writer, instruction, meaning, mask), strict=False))
        terms["d"], new = _destination(writer, instruction, meaning)
    except ValueError as error:
        raise ValueError(f"program {writer.program.name!r}: {text(instruction)}: {error}") from error
    if any(f"{{{letter}.at}}" in line and not term.at for letter, term in terms.items()):
        writer.missing[f"{_described(instruction)} without an address"] = None
    op, _, form = instruction.op.partition(".")
    form = form.partition(".")[0].replace("i", "x")  # intrinsics take immediates as scalars
    line = line.format(op=op, form=form, lanes=lanes, mask=mask, **terms)
    return line if line.endswith(";") else f"{new} = {line};"


def _described(instruction: Instruction) -> str:
    """Name an instruction, with what makes it special."""
    lanes = f" on {instruction.count} lanes" if instruction.count is not None else ""
    return f"{instruction.op}{lanes}{' with a shape' if instruction.shape else ''}"


def _sources(writer: _Writer, instruction: Instruction, meaning: Meaning, mask: str) -> Iterator[Term]:
    """Yield each source as C."""
    _, elements = operand_elements(instruction, meaning)
    masked = instruction.count not in (None, meaning.lanes)
    for operand, kind, lanes in zip(instruction.sources, meaning.sources, elements, strict=True):
        if isinstance(operand, Address):
            at = _address(writer, operand)
            dialect = writer.dialect
            line = dialect.masked_memory if masked else dialect.memory
            group = meaning.group if meaning.kind == "dot" and lanes > (instruction.count or meaning.lanes) else 1
            yield Term(line.format(at=at, mask=mask, bits=8 * ELEMENT_BYTES[kind] * group), at)
        elif not isinstance(operand, str):
            yield Term(_number(operand, kind))
        elif writer.dialect.registers[_prefix(operand)].typed:
            wanted = view(writer.program.isa, operand, kind, lanes)
            yield Term(writer.views.read(wanted), type=wanted.type)
        else:
            yield _register(operand)


def _destination(writer: _Writer, instruction: Instruction, meaning: Meaning) -> tuple[Term, str]:
    """Return the destination as it is read, and the variable that takes the result."""
    operand = instruction.destination
    if isinstance(operand, Address):
        at = _address(writer, operand)
        return Term(at, at), at
    if operand is None or not writer.dialect.registers[_prefix(operand)].typed:
        term = _register(operand or "")
        return term, term.value
    written, _ = operand_elements(instruction, meaning)
    to = view(writer.program.isa, operand, meaning.holds or meaning.result, written)
    old = writer.views.read(to) if meaning.accumulate else to.name
    return Term(old, type=to.type), writer.views.write(to)


def _register(name: str) -> Term:
    """Return a register and the one after it."""
    return Term(name, next=f"{_prefix(name)}{int(name.removeprefix(_prefix(name))) + 1}")


def _prefix(name: str) -> str:
    """Return the letters of a register's name."""
    return name.rstrip("0123456789")


def _number(value: float, kind: str) -> str:
    """Return an immediate as C."""
    if kind[0] == "f":
        return f"{float(value)!r}f"
    whole = int(value)
    return f"({whole})" if whole < 0 else str(whole) if whole < 2**63 else f"0x{whole:x}ull"


def _address(writer: _Writer, address: Address) -> str:
    """Return a byte pointer: buffer + offset + stride * variable."""
    strides: dict[str, int] = {}
    for variable, stride in address.strides:
        strides[variable] = strides.get(variable, 0) + stride
    terms: Iterable[str] = (
        f"{stride} * {writer.names[variable]}" if stride != 1 else writer.names[variable]
        for variable, stride in strides.items()
        if stride
    )
    offset = (str(address.offset),) if address.offset else ()
    return " + ".join((writer.names[address.buffer], *offset, *terms)).replace("+ -", "- ")
