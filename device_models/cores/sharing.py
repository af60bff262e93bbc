"""Ports that micro-operations share: what each set of them must do, and what the sharing itself costs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from device_models.cores.timing import Micro

Ports = frozenset[str]


def port_loads(micros: Iterable[Micro]) -> dict[Ports, float]:
    """Return, per set of ports, the cycles of the work that only its ports can do.

    The sets are those that micro-operations ask for and their unions, as long as they overlap. The largest entry is
    exactly the optimum of the fractional assignment (Hall's theorem): no linear programme.
    """
    work: defaultdict[Ports, float] = defaultdict(float)
    for ports, cycles in micros:
        work[frozenset(ports)] += cycles
    found, new = set(work), list(work)
    while new:
        one = new.pop()
        grown = {one | other for other in work if one & other} - found
        found |= grown
        new += grown
    ordered = sorted(found, key=sorted)
    return {union: sum(cycles for ports, cycles in work.items() if ports <= union) / len(union) for union in ordered}


def shared(loads: Mapping[Ports, float], exponent: float | None) -> float:
    """Return the cycles of work on shared ports: the largest load, and more where several sets are loaded alike.

    A micro-operation is bound to a port before it is known what will wait there, so sets that overlap and are all
    nearly full cannot all be kept full: their loads add as a power mean does. Without an exponent nothing is lost.
    """
    most = max(loads.values(), default=0.0)
    if exponent is None or not most:
        return most
    widest = [union for union in loads if not any(union < other for other in loads)]
    sums = [sum((load / most) ** exponent for ports, load in loads.items() if ports <= union) for union in widest]
    return float(most * max(max(sums), 1.0) ** (1 / exponent))
