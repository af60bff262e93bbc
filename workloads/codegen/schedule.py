"""Order of instructions for in-order cores: list scheduling of straight-line code, by the longest path to its end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from workloads.isa import ELEMENT_BYTES
from workloads.program import Address, Instruction, Loop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.codegen.common import Body
    from workloads.isa import InstructionSet

_REGISTER = re.compile(r"([a-z]+)(\d+)")


@dataclass(frozen=True, eq=False)
class Tuning:
    """What the order assumes of a core, as a compiler's ``-mtune`` does; it ranks orders and prices nothing.

    Parameters
    ----------
    unit
        The unit an instruction needs, each takes one a cycle; "" or absent for those that any slot takes.
    latency
        Cycles to a consumer, and to an ``early`` one: (1, 1) unless given.
    early
        Mnemonics that need their operands early.
    older
        Mnemonics that never issue second in a cycle.
    glued
        Mnemonics that stay right before the next instruction: it reads what they leave in no register.
    """

    width: int
    unit: Mapping[str, str]
    latency: Mapping[str, tuple[int, int]]
    early: frozenset[str] = frozenset()
    older: frozenset[str] = frozenset()
    glued: frozenset[str] = frozenset()


@dataclass(eq=False)
class _Node:
    """Instructions that stay together, and what must come before them."""

    first: int
    size: int
    ops: tuple[str, ...]
    waits: dict[int, int] = field(default_factory=dict)  # node -> cycles after its issue
    height: int = 0


Shape = tuple[str, tuple[str, ...], tuple[str, ...]]  # mnemonic, what is written, what is read


def arrange(body: Body, isa: InstructionSet, tuning: Tuning, known: dict[Shape, Shape] | None = None) -> Body:
    """Return ``body`` with each straight run of instructions reordered; loops, and what closes them, stay in place.

    ``known`` holds what instructions that were seen read and write.
    """
    known = {} if known is None else known
    arranged: Body = ()
    for is_loop, group in groupby(body, key=lambda statement: isinstance(statement, Loop)):
        if is_loop:
            arranged += tuple(
                Loop(item.variable, item.trips, arrange(item.body, isa, tuning, known))
                for item in group
                if isinstance(item, Loop)
            )
            continue
        run = tuple(item for item in group if isinstance(item, Instruction))
        closing = tuple(item.op for item in run[-len(isa.loop_control) :]) == isa.loop_control
        end = len(run) - len(isa.loop_control) * closing
        shapes = tuple([_shape(instruction, isa, known) for instruction in run[:end]])
        arranged += tuple([run[place] for place in order(shapes, tuning)]) + run[end:]
    return arranged


def _shape(instruction: Instruction, isa: InstructionSet, known: dict[Shape, Shape]) -> Shape:
    """Return what an order depends on: registers by name, memory by buffer."""
    target = instruction.destination
    written = () if target is None else (_name(target),)
    seen = (instruction.op, written, tuple([_name(source) for source in instruction.sources]))
    if seen not in known:
        known[seen] = _accessed(seen, isa)
    return known[seen]


def _name(operand: object) -> str:
    """Return the name of a register, of a buffer in memory, or none for an immediate."""
    if isinstance(operand, Address):
        return f"@{operand.buffer}"
    return operand if isinstance(operand, str) else ""


def _accessed(seen: Shape, isa: InstructionSet) -> Shape:
    """Return an instruction with every register that it covers, accumulators among what is read."""
    op, targets, sources = seen
    meaning = isa.meaning(op)
    nbytes = ELEMENT_BYTES[meaning.holds or meaning.result] * meaning.lanes
    written = tuple(name for target in targets for name in _covered(target, nbytes, isa))
    read = [name for source in sources for name in _covered(source, 1, isa)]
    return op, written, (*read, *(written if meaning.accumulate else ()))


def _covered(name: str, nbytes: int, isa: InstructionSet) -> tuple[str, ...]:
    """Return the registers that ``nbytes`` from a register on cover; a buffer is itself, an immediate nothing."""
    return (name,) if name.startswith("@") else _registers(name, nbytes, isa)


def _registers(name: str, nbytes: int, isa: InstructionSet) -> tuple[str, ...]:
    """Return the registers that ``nbytes`` from a register on cover."""
    match = _REGISTER.fullmatch(name)
    if match is None or match[1] not in isa.registers:
        return ()
    number = -(-nbytes // isa.registers[match[1]].bytes)
    return tuple(f"{match[1]}{int(match[2]) + index}" for index in range(max(1, number)))


@lru_cache(maxsize=4096)
def order(shapes: tuple[Shape, ...], tuning: Tuning) -> tuple[int, ...]:
    """Return the places of instructions in their new order; equal code at other addresses has the same.

    Instructions are listed by three rankings (longest path to the end, as written, and the mean of both); the first
    list that takes the fewest cycles when repeated is kept.
    """
    twice = _nodes((*shapes, *shapes), tuning)
    nodes = twice[: len(twice) // 2]
    _climb(nodes)
    last, tallest = max(len(nodes), 1), max([1, *(node.height for node in nodes)])
    rankings = (
        [-node.height / tallest for node in nodes],
        [number / last for number in range(len(nodes))],
        [number / last - node.height / tallest for number, node in enumerate(nodes)],
    )
    lists = [_listed(nodes, ranking, tuning) for ranking in rankings]
    best = min(lists, key=lambda listed: _cycles(twice, [*listed, *(n + len(nodes) for n in listed)], tuning))
    return tuple(place for n in best for place in range(nodes[n].first, nodes[n].first + nodes[n].size))


def _climb(nodes: list[_Node]) -> None:
    """Set the heights: cycles from an instruction's issue to the end."""
    for node in reversed(nodes):
        for before, wait in node.waits.items():
            nodes[before].height = max(nodes[before].height, node.height + max(wait, 1))


def _listed(nodes: list[_Node], ranking: list[float], tuning: Tuning) -> list[int]:
    """Return nodes cycle by cycle: of those that are ready, the lowest rankings first."""
    after: list[list[tuple[int, int]]] = [[] for _ in nodes]
    for number, node in enumerate(nodes):
        for before, wait in node.waits.items():
            after[before].append((number, wait))
    missing, earliest = [len(node.waits) for node in nodes], [0] * len(nodes)
    waiting = {number for number, count in enumerate(missing) if not count}
    found: list[int] = []
    cycle = 0
    while waiting:
        ready = sorted((ranking[number], number) for number in waiting if earliest[number] <= cycle)
        for number in _pick([number for _, number in ready], nodes, tuning):
            waiting.remove(number)
            found.append(number)
            for later, wait in after[number]:
                earliest[later] = max(earliest[later], cycle + wait)
                missing[later] -= 1
                if not missing[later]:
                    waiting.add(later)
        cycle += 1
    return found


def _cycles(nodes: list[_Node], listed: list[int], tuning: Tuning) -> int:
    """Return when the last of ``listed`` issues, in that order."""
    issued: dict[int, int] = {}
    cycle, room, units = 0, tuning.width, set[str]()
    for number in listed:
        node = nodes[number]
        at = max((issued[before] + wait for before, wait in node.waits.items()), default=0)
        needed = {unit for op in node.ops if (unit := tuning.unit.get(op, ""))}
        if at <= cycle and room < tuning.width and (room < 1 or needed & units or node.ops[0] in tuning.older):
            at = cycle + 1
        if at > cycle:
            cycle, room, units = at, tuning.width, set()
        issued[number] = cycle
        room, units = room - node.size, units | needed
    return cycle


def _pick(ready: list[int], nodes: list[_Node], tuning: Tuning) -> list[int]:
    """Choose what issues in one cycle from the best first: one instruction a unit, older ones in front."""
    chosen: list[int] = []
    units: set[str] = set()
    older, room = False, tuning.width
    for number in ready:
        node = nodes[number]
        needed = {unit for op in node.ops if (unit := tuning.unit.get(op, ""))}
        first = node.ops[0] in tuning.older
        if needed & units or (first and older) or (chosen and node.size > room):
            continue
        chosen.insert(0 if first else len(chosen), number)
        units |= needed
        older, room = older or first, room - node.size
        if room <= 0:
            break
    return chosen


def _nodes(shapes: tuple[Shape, ...], tuning: Tuning) -> list[_Node]:
    """Return the instructions with what each waits for: results, and registers that are still read or written."""
    nodes: list[_Node] = []
    writer: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    start = 0
    while start < len(shapes):
        size = 1
        while shapes[start + size - 1][0] in tuning.glued and start + size < len(shapes):
            size += 1
        node = _Node(start, size, tuple(shape[0] for shape in shapes[start : start + size]))
        number = len(nodes)
        for op, written, read in shapes[start : start + size]:
            for name in read:
                if (before := writer.get(name, number)) != number:
                    last = nodes[before].ops[-1]
                    _wait(node, before, tuning.latency.get(last, (1, 1))[op in tuning.early])
            for name in written:
                for before in (*readers.get(name, ()), writer.get(name, number)):
                    if before != number:
                        _wait(node, before, 0)
        for _, written, read in shapes[start : start + size]:
            for name in read:
                readers.setdefault(name, []).append(number)
            for name in written:
                writer[name], readers[name] = number, []
        nodes.append(node)
        start += size
    return nodes


def _wait(node: _Node, before: int, cycles: int) -> None:
    """Make a node wait for another."""
    node.waits[before] = max(node.waits.get(before, 0), cycles)
