"""Transforms of one axis in registers: a line of vectors in, the steps of its matrix, a line of vectors out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workloads.codegen.common import Body
    from workloads.codegen.float_set import FloatSet
    from workloads.codegen.float_winograd_transforms import Step, Transform
    from workloads.codegen.regions import Constants
    from workloads.program import Address


@dataclass(frozen=True)
class Lines:
    """Registers of transforms: ``load`` fills those of the factors that no vector in memory gives.

    Parameters
    ----------
    free
        Registers for values.
    factors
        Where the steps' factors are.
    """

    kit: FloatSet
    free: tuple[str, ...]
    factors: Mapping[float, str | Address]
    load: Body


def lines_of(kit: FloatSet, table: Constants, transform: Transform) -> Lines:
    """Assign registers: factors stay in memory where multiply-adds read it, else they take the last registers."""
    places = {factor: table.address(f"factor{number}") for number, factor in enumerate(transform.factors)}
    if kit.memory_operands or not places:
        return Lines(kit, kit.vectors, dict(places), ())
    held = dict(zip(places, reversed(kit.factors or kit.vectors), strict=False))
    load = tuple(kit.splat(register, places[factor]) for factor, register in held.items())
    return Lines(kit, tuple(name for name in kit.vectors if name not in held.values()), dict(held), load)


def line(
    lines: Lines, steps: Sequence[Step], sources: Sequence[Address], targets: Sequence[Address], lanes: int,
    finish: Callable[[str], Body] = lambda _: (), reserved: Sequence[str] = (),
) -> Body:  # fmt: skip
    """Load x0, x1 ... from ``sources``, run the steps that y0, y1 ... for ``targets`` need, finish and store those.

    Registers are taken over in turn, so that an in-order core rarely waits for one; ``reserved`` ones are left alone.
    """
    kit, kept = lines.kit, needed(steps, [f"y{number}" for number in range(len(targets))])
    last = {name: place for place, step in enumerate(kept) for name in (step[1], step[3])}
    free = deque(name for name in lines.free if name not in reserved)
    held: dict[str, str] = {}
    body = kit.begin()
    for number, source in enumerate(sources):
        if f"x{number}" in last:
            held[f"x{number}"] = free.popleft()
            body += kit.load(held[f"x{number}"], source, lanes)
    for place, (result, start, factor, operand) in enumerate(kept):
        ends = {name for name in (start, operand) if last[name] == place}
        held[result], computed = _step(lines, held, factor, (start, operand), free, start in ends, lanes)
        body += computed
        free.extend(held.pop(name) for name in sorted(ends) if held[name] != held[result])
        if result[0] == "y":
            body += finish(held[result]) + kit.store(held[result], targets[int(result[1:])], lanes)
            free.append(held[result])
    return body


def _step(
    lines: Lines, held: Mapping[str, str], factor: float, names: tuple[str, str], free: deque[str], ends: bool,
    lanes: int,
) -> tuple[str, Body]:  # fmt: skip
    """Return the register of a result and what computes it; a sum that ends in it may take its start's over."""
    kit, start, operand = lines.kit, held[names[0]], held[names[1]]
    if abs(factor) == 1:
        register = free.popleft()
        return register, (kit.emit("add" if factor > 0 else "subtract", register, start, operand, lanes=lanes),)
    where = lines.factors[factor]
    if not kit.accumulates:
        register = free.popleft()
        return register, (kit.emit("multiply_add", register, where, operand, start, lanes=lanes),)
    register = start if ends else free.popleft()
    copied = () if ends else kit.copies(start, (register,), lanes)
    first, second = (where, operand) if isinstance(where, str) else (operand, where)
    return register, (*copied, kit.multiply_add(register, first, second, lanes))


def needed(steps: Sequence[Step], results: Sequence[str]) -> tuple[Step, ...]:
    """Return the steps that some results depend on, in their order."""
    wanted, kept = set(results), []
    for step in reversed(steps):
        if step[0] in wanted:
            kept.append(step)
            wanted |= {step[1], step[3]}
    return tuple(reversed(kept))
