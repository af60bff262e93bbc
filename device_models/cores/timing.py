"""Timing tables shared by the in-order and superscalar cores: micro-operations, ports and dependences of a block."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from device_models.figures import Figure, Sourced
from workloads.errors import InputError, did_you_mean
from workloads.isa import ELEMENT_BYTES
from workloads.program import Address, Instruction, Loop, Statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from device_models.cores import Core
    from workloads.isa import InstructionSet, Meaning

Micro = tuple[tuple[str, ...], float]  # the ports that can take a micro-operation, and how long it holds one


class Row(Sourced):
    """Timing of a group of mnemonics that share a source.

    Parameters
    ----------
    instructions
        Mnemonics; one without its element width (``vadd.vv`` for ``vadd.vv.e32``) stands for all widths.
    sets
        The instruction sets it is about; empty means all.
    ports
        One text per micro-operation: the ports that can take it, separated by spaces; none for a free instruction.
    cycles
        How long a micro-operation holds its port. [cycle]
    group_cycles
        The same for vector groups of 1, 2, 4 and 8 registers, by element width in bits ("8", "16", "32", "64"), or
        for "all" widths that have none of their own.
    latency
        From the operands to the result. [cycle]
    accumulator_latency
        From the accumulator to the result, where it is read late. [cycle]
    latency_to
        Latency to consumers that read their operands elsewhere in the pipeline, by the name they go by. [cycle]
    reads
        The name its own operands (not the accumulator) go by in other rows' ``latency_to``; empty for the usual.
    skewed
        It executes in an early stage when its operands are there for it, else as late as ``latency_to`` tells.
    late
        How long after issue the operands are read. [cycle]
    holds
        Ports that it keeps from others without needing them free, and for how long. [cycle]
    slots
        Issue slots it takes; 0 for the second half of a fused pair.
    pairing
        "older": only first of a pair; "alone": never in a pair.
    spread
        "low .. high" of a value that depends on more than the table knows, or on which sources differ, by its name
        here or in ``latency_to``.
    """

    instructions: tuple[str, ...] = Field(min_length=1)
    sets: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    cycles: float = Field(default=1.0, gt=0)
    group_cycles: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    latency: float = Field(ge=0)
    accumulator_latency: float | None = None
    latency_to: dict[str, float] = Field(default_factory=dict)
    reads: str = ""
    skewed: bool = False
    late: float = Field(default=0.0, ge=0)
    holds: dict[str, float] = Field(default_factory=dict)
    slots: int = Field(default=1, ge=0)
    pairing: Literal["any", "older", "alone"] = "any"
    spread: dict[str, str] = Field(default_factory=dict)
    source: str

    @model_validator(mode="after")
    def _inside(self) -> Row:
        for name, text in self.spread.items():
            value = self.latency_to.get(name, getattr(self, name, None))
            ends = [float(end) for end in text.split(" .. ") if re.fullmatch(r"[0-9.]+", end)]
            if not isinstance(value, float) or len(ends) != 2 or not ends[0] <= value <= ends[1]:
                raise ValueError(f'the spread of {name} is {text!r}; write "low .. high" around its value, {value!r}')
        return self


class Branch(Sourced):
    """What branches cost beyond their issue.

    Parameters
    ----------
    mispredict
        Leaving a loop, unless it is short enough for the predictor to know its trips. [cycle]
    predicted_trips
        Of the longest loop whose end is predicted.
    taken
        Between a taken branch and the next instruction, where fetch starts anew; None where it runs on. [cycle]
    """

    mispredict: Figure[float]
    predicted_trips: Figure[int]
    taken: Figure[float] | None = None


class Lack(Sourced):
    """Instructions of a set that the core does not execute, and why."""

    instructions: tuple[str, ...] = Field(min_length=1)
    reason: str
    source: str


class MemoryOperand(Sourced):
    """The load ports, which an arithmetic instruction with a source in memory needs besides its own.

    Parameters
    ----------
    bytes
        The most that one port loads in one cycle; wider sources hold it longer. [B]
    """

    ports: str
    bytes: int = Field(default=64, gt=0)
    source: str


class Tables(Sourced):
    """What both core models read from a core file."""

    issue_width: Figure[int]
    ports: tuple[str, ...]
    branch: Branch
    memory_operand: MemoryOperand | None = None
    lacks: tuple[Lack, ...] = ()
    timing: tuple[Row, ...]

    @field_validator("timing", mode="after")
    @classmethod
    def _unique(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        seen: set[tuple[str, str]] = set()
        for row in rows:
            for key in [(name, one) for name in row.instructions for one in row.sets or ("",)]:
                if key in seen:
                    raise ValueError(f"{key[0]!r} has two timings")
                seen.add(key)
        return rows


@dataclass(frozen=True)
class Issue:
    """One instruction of a block as a core sees it: micro-operations and register dependences, no values.

    Parameters
    ----------
    reads_as
        The ``reads`` of its row.
    reads, accumulates, writes
        Registers, by name; a group or pair is listed register by register.
    """

    op: str
    micros: tuple[Micro, ...]
    latency: float
    accumulator_latency: float
    latency_to: tuple[tuple[str, float], ...]
    reads_as: str
    skewed: bool
    late: float
    holds: tuple[tuple[str, float], ...]
    slots: int
    pairing: str
    reads: tuple[str, ...]
    accumulates: tuple[str, ...]
    writes: tuple[str, ...]

    def latency_for(self, reads_as: str) -> float:
        """Return the latency to consumers whose operands go by a name. [cycle]"""
        return next((cycles for name, cycles in self.latency_to if name == reads_as), self.latency)

    @property
    def longest(self) -> float:
        """How long the result may still be waited for. [cycle]"""
        return max((self.latency, *(cycles for _, cycles in self.latency_to)))


@cache
def row_of(core: Core, mnemonic: str, isa: str) -> Row:
    """Return the timing of an instruction; a row made for the set wins over one for all sets.

    Raises
    ------
    InputError
        The core does not execute it, or has no timing for it.
    """
    tables: Tables = core.timing
    if lack := next((lack for lack in tables.lacks if mnemonic in lack.instructions), None):
        raise InputError(core.name, [f"{mnemonic!r} is not executed: {lack.reason}"])
    names = {mnemonic, _without_width(mnemonic)}
    rows = [row for row in tables.timing if names & set(row.instructions) and (not row.sets or isa in row.sets)]
    if not rows:
        known = {name for row in tables.timing for name in row.instructions}
        raise InputError(core.name, [f"{mnemonic!r} of {isa} has no timing; {did_you_mean(mnemonic, known)}"])
    return max(rows, key=lambda row: (mnemonic in row.instructions, len(row.sets)))


_REGISTER = re.compile(r"([a-z]+)(\d+)")


def _registers(name: str, nbytes: int, isa: InstructionSet) -> tuple[str, ...]:
    """Return the registers that ``nbytes`` from register ``name`` on cover; none for an immediate or memory."""
    match = _REGISTER.fullmatch(name)
    if match is None or match[1] not in isa.registers:
        return ()
    size = isa.registers[match[1]].bytes
    return tuple(f"{match[1]}{int(match[2]) + index}" for index in range(max(1, -(-nbytes // size))))


_WIDTH = re.compile(r"(.+)\.e(\d+)")


def _without_width(mnemonic: str) -> str:
    """Return a vector mnemonic without its element width: vadd.vv.e32 is a vadd.vv."""
    match = _WIDTH.fullmatch(mnemonic)
    return match[1] if match else mnemonic


def _holding(row: Row, op: str, meaning: Meaning, lanes: int, parameters: Mapping[str, int]) -> float:
    """Return how long an instruction holds its port: by its register group where the row says so.

    Half a register takes half of one, and so on; where the core has a ``dlen`` [bit], any length takes as long as the
    pieces of ``dlen`` that it fills.
    """
    if not row.group_cycles:
        return row.cycles
    match = _WIDTH.fullmatch(op)
    width = int(match[2]) if match else min(ELEMENT_BYTES[kind] * 8 for kind in (meaning.result, *meaning.sources))
    by_group = row.group_cycles.get(str(width), row.group_cycles.get("all"))
    vlen, used = parameters["vlen"], lanes * width
    place = max(0, (-(-used // vlen) - 1).bit_length())
    if by_group is None or place >= len(by_group):
        raise InputError(
            row.instructions[0], [f"{op!r}: no cycles for groups of {1 << place} with {width}-bit elements"]
        )
    piece = parameters.get("dlen", 1 << (used - 1).bit_length())
    return max(1.0, by_group[place] * -(-used // piece) * piece / (vlen << place))


def _source_lanes(meaning: Meaning, lanes: int, index: int) -> int:
    """Return the elements of a source operand that a destination of ``lanes`` needs."""
    if index in meaning.scalar_sources:
        return 1
    if meaning.kind == "dot" and index < 2:
        return lanes * meaning.group
    if meaning.kind == "extend":
        return lanes * meaning.step
    return lanes


def issues_of(block: tuple[Instruction, ...], core: Core, isa: InstructionSet) -> tuple[Issue, ...]:
    """Return a block as the core sees it: equal blocks at other addresses give equal results."""
    return tuple(
        _issue(
            instruction.op,
            instruction.destination if isinstance(instruction.destination, str) else None,
            tuple("@" if isinstance(source, Address) else str(source) for source in instruction.sources),
            instruction.count,
            core,
            isa,
        )
        for instruction in block
    )


@lru_cache(maxsize=65536)
def _issue(
    op: str, destination: str | None, sources: tuple[str, ...], count: int | None, core: Core, isa: InstructionSet
) -> Issue:
    """Return what a core sees of an instruction; "@" stands for memory."""
    tables: Tables = core.timing
    row, meaning = row_of(core, op, isa.name), isa.meaning(op)
    lanes = count or meaning.lanes
    holding = _holding(row, op, meaning, lanes, core.parameters)
    micros = [(tuple(text.split()), holding) for text in row.ports]
    if tables.memory_operand is not None and "@" in sources:
        ports = tuple(tables.memory_operand.ports.split())
        if not any(set(ports) & set(own) for own, _ in micros):
            place = sources.index("@")
            loaded = ELEMENT_BYTES[meaning.sources[place]] * _source_lanes(meaning, lanes, place)
            micros.append((ports, float(max(1, -(-loaded // tables.memory_operand.bytes)))))
    kinds = meaning.sources + ("s8",) * max(0, len(sources) - len(meaning.sources))
    late = 2 if meaning.kind in ("dot", "multiply_add") else len(sources)  # sources from here on are accumulators
    operands = [
        _registers(source, ELEMENT_BYTES[kind] * _source_lanes(meaning, lanes, index), isa)
        for index, (source, kind) in enumerate(zip(sources, kinds, strict=False))
    ]
    writes = _registers(destination, ELEMENT_BYTES[meaning.holds or meaning.result] * lanes, isa) if destination else ()
    return Issue(
        op=op,
        micros=tuple(micros),
        latency=row.latency,
        accumulator_latency=row.latency if row.accumulator_latency is None else row.accumulator_latency,
        latency_to=tuple(row.latency_to.items()),
        reads_as=row.reads,
        skewed=row.skewed,
        late=row.late,
        holds=tuple(row.holds.items()),
        slots=row.slots,
        pairing=row.pairing,
        reads=tuple(register for found in operands[:late] for register in found),
        accumulates=(
            *(register for found in operands[late:] for register in found),
            *(writes if meaning.accumulate else ()),
        ),
        writes=writes,
    )


def blocks(body: tuple[Statement, ...]) -> Iterator[tuple[Instruction, ...] | Loop]:
    """Yield maximal runs of instructions, and the loops between them, in order."""
    run: list[Instruction] = []
    for statement in body:
        if isinstance(statement, Loop):
            if run:
                yield tuple(run)
                run = []
            yield statement
        else:
            run.append(statement)
    if run:
        yield tuple(run)


def innermost(body: tuple[Statement, ...], times: int = 1) -> Iterator[tuple[Loop, int]]:
    """Yield the loops without loops inside, and how often each runs."""
    for statement in body:
        if isinstance(statement, Loop):
            inside = tuple(innermost(statement.body, times * statement.trips))
            yield from inside or ((statement, times),)


def instructions_of(loop: Loop) -> tuple[Instruction, ...]:
    """Return the body of an innermost loop."""
    return tuple(statement for statement in loop.body if isinstance(statement, Instruction))


class Split(NamedTuple):
    """Cycles by cause: were each result there at once and no fetch started anew; for results; for fetch."""

    issue: float
    latency: float
    branch: float

    @property
    def cycles(self) -> float:
        """All of them."""
        return sum(self)


def exit_cost(tables: Tables, trips: int) -> float:
    """Cycles lost when a loop ends. [cycle]"""
    return tables.branch.mispredict.value if trips > tables.branch.predicted_trips.value else 0.0
