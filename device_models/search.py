"""The best of what a code generator offers for a kernel: every option is priced, the fewest cycles win."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.cores import cost
from device_models.kernel_cache import core_fingerprint, remembered
from workloads.options import Options

if TYPE_CHECKING:
    from device_models.cores import Core, CoreCost
    from workloads.codegen.float_spec import AnySpec
    from workloads.program import Program


@dataclass(frozen=True)
class Found:
    """The fastest kernel of a core.

    Parameters
    ----------
    tried
        Cycles of everything that is offered, the fastest first. [cycle]
    """

    options: Options
    program: Program
    cost: CoreCost
    tried: tuple[tuple[Options, float], ...]


def fastest(spec: AnySpec, core: Core, isa: str | None = None) -> Found:
    """Return the kernel that takes a core the fewest cycles; of equal ones, the first that the generator offers.

    Parameters
    ----------
    isa
        One of the core's instruction sets, the best one unless named.

    Raises
    ------
    NotImplementedError
        No kernel is generated for it on that instruction set.
    """
    from workloads.codegen import generate

    tried = ranked(spec, core, isa)
    program = generate(spec, core.isa(isa), tried[0][0])
    return Found(tried[0][0], program, cost(program, core), tried)


@lru_cache(maxsize=4096)
def ranked(spec: AnySpec, core: Core, isa: str | None = None) -> tuple[tuple[Options, float], ...]:
    """Return every option that is offered with its cycles, the fastest first; kept by content like other costs.

    Raises
    ------
    NotImplementedError
        As ``fastest``.
    """
    key = f"ranked {spec!r} {isa!r} {core_fingerprint(core)}"
    kept = json.loads(remembered(key, lambda: json.dumps(_priced(spec, core, isa))))
    return tuple((Options(**options), cycles) for options, cycles in kept)


def _priced(spec: AnySpec, core: Core, isa: str | None) -> list[tuple[dict[str, int | str | bool | None], float]]:
    """Price all that is offered; sorting is stable, so that equal ones stay in the generator's order."""
    from workloads.codegen import choices, generate

    chosen = core.isa(isa)
    found = [(asdict(one), cost(generate(spec, chosen, one), core).cycles) for one in choices(spec, chosen)]
    return sorted(found, key=lambda item: item[1])
