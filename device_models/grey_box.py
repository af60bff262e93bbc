"""Grey box: a network on a device with a fitted runtime; structure from the layers, a few multipliers from rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from device_models.amounts import COMPUTE, MEMORY, LayerAmounts, layer_amounts
from device_models.energy import Activity, energy
from device_models.placement import placed
from device_models.result import Estimate, LayerEstimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device_models.estimate import Setting
    from device_models.memory import Working
    from device_models.runtime import Runtime, Term, Way
    from workloads.graph import Graph

KEPT = 4  # networks, and what they ask: fits and estimates come back to the same ones


@dataclass(frozen=True)
class Demand:
    """What a network asks of a device: per layer, the time of each term with a multiplier of one. [s]

    Parameters
    ----------
    seconds
        float64, (layers, terms); zero where a term does not apply.
    uncovered
        Layers for which no term, or none with a known amount, stands.
    """

    layers: tuple[LayerAmounts, ...]
    seconds: NDArray[np.float64]
    uncovered: tuple[LayerAmounts, ...]

    @property
    def total_s(self) -> NDArray[np.float64]:
        """Sums over the layers, (terms,). [s]"""
        return np.asarray(self.seconds.sum(axis=0))


def runtime_graph(graph: Graph, runtime: Runtime, precision: str, batch: int) -> Graph:
    """Return the network as a runtime executes it, ready to be costed."""
    return _executed(graph, precision, batch, drops_dead_channels=runtime.drops_dead_channels)


@lru_cache(maxsize=KEPT)
def _executed(graph: Graph, precision: str, batch: int, *, drops_dead_channels: bool) -> Graph:
    from device_models.estimate import prepared_for
    from workloads.passes.dead_channels import dead_channels, without_dead_channels

    dead = dead_channels(graph) if drops_dead_channels else {}
    return prepared_for(without_dead_channels(graph, dead) if dead else graph, precision, batch)


def demand(prepared: Graph, runtime: Runtime, setting: Setting, working: Working, precision: str) -> Demand:
    """Return what a prepared network asks of a device, in the terms of a runtime."""
    found = _asked(prepared, setting, working, precision, runtime.way)
    factor = runtime.core_factor(setting.device.core.name)
    rows = [_seconds(each, runtime, factor) for each in found]
    covered = [(each, row) for each, row in zip(found, rows, strict=True) if row is not None]
    uncovered = tuple(each for each, row in zip(found, rows, strict=True) if row is None)
    seconds = np.array([row for _, row in covered], float).reshape(len(covered), len(runtime.terms))
    return Demand(tuple(each for each, _ in covered), seconds, uncovered)


@lru_cache(maxsize=KEPT)
def _asked(prepared: Graph, setting: Setting, working: Working, precision: str, way: Way) -> tuple[LayerAmounts, ...]:
    """Return what each layer asks, whatever the runtime."""
    return tuple(layer_amounts(prepared, layer, setting, working, precision, way) for layer in prepared.layers)


def _seconds(amounts: LayerAmounts, runtime: Runtime, factor: float) -> list[float] | None:
    """Return a layer's time by term; None where what it computes has no term, or a term no amount. [s]"""
    if amounts.kind == "free":
        return [0.0] * len(runtime.terms)
    applied = [term for term in runtime.terms.values() if term.covers(amounts.kind)]
    computed = [amounts.seconds.get(term.quantity) for term in applied if term.quantity in COMPUTE]
    if not computed or None in computed:
        return None
    return [_amount(amounts, term, factor) for term in runtime.terms.values()]


def _amount(amounts: LayerAmounts, term: Term, factor: float) -> float:
    """Return a layer's time in one term, with the core's factor where it computes. [s]"""
    seconds = (amounts.seconds.get(term.quantity) or 0.0) if term.covers(amounts.kind) else 0.0
    return seconds * factor if term.quantity in COMPUTE else seconds


def multipliers(runtime: Runtime) -> NDArray[np.float64]:
    """Return the multipliers in the order of the terms, (terms,)."""
    return np.array([term.multiplier.value for term in runtime.terms.values()])


def covariance(runtime: Runtime) -> NDArray[np.float64]:
    """Return how uncertain the multipliers are together, (terms, terms); zero for fixed ones."""
    spread = np.array([term.spread for term in runtime.terms.values()])
    fitted = np.flatnonzero(spread)
    correlation = np.eye(len(spread))
    if runtime.band.correlation:
        correlation[np.ix_(fitted, fitted)] = runtime.band.correlation
    return np.asarray(correlation * np.outer(spread, spread))


def spread_of(total_s: NDArray[np.float64], runtime: Runtime, core: str) -> float:
    """Return the standard deviation of ln(measured / predicted): of the rows, of the multipliers, of another core."""
    latency_s = float(total_s @ multipliers(runtime))
    if latency_s <= 0.0:
        return runtime.band.residual.value
    shares = total_s / latency_s
    elsewhere = 0.0 if runtime.knows(core) else runtime.band.elsewhere.value
    return math.sqrt(runtime.band.residual.value**2 + float(shares @ covariance(runtime) @ shares) + elsewhere**2)


def estimated(prepared: Graph, runtime: Runtime, setting: Setting, working: Working, precision: str) -> tuple[
    Estimate, Demand
]:  # fmt: skip
    """Return the estimate of a prepared network, and the demand that it was made from."""
    found = demand(prepared, runtime, setting, working, precision)
    layers = tuple(
        _row(each, seconds, runtime, setting) for each, seconds in zip(found.layers, found.seconds, strict=True)
    )
    reach = runtime.band.factor.value * spread_of(found.total_s, runtime, setting.device.core.name)
    return _total(prepared, runtime, setting, working, layers, found, reach), found


def part_of(term: Term) -> str:
    """Return which part of a layer's time a term adds to."""
    return "compute" if term.quantity in COMPUTE else "memory" if term.quantity in MEMORY else "overhead"


def _row(amounts: LayerAmounts, seconds: NDArray[np.float64], runtime: Runtime, setting: Setting) -> LayerEstimate:
    """Return one layer's row."""
    from device_models.estimate import outer_bytes

    scaled = dict(zip(runtime.terms, seconds * multipliers(runtime), strict=True))
    parts = {"compute": 0.0, "memory": 0.0, "overhead": 0.0}
    for name, term in runtime.terms.items():
        parts[part_of(term)] += float(scaled[name])
    latency_s = sum(parts.values())
    activity = Activity(latency_s, amounts.macs, outer_bytes(amounts.moved, setting.device))
    return LayerEstimate(
        name=amounts.layer.name,
        op=amounts.layer.op,
        macs=amounts.macs,
        cycles=parts["compute"] * setting.frequency_hz * setting.threads,
        compute_s=parts["compute"],
        memory_s=parts["memory"],
        overhead_s=parts["overhead"],
        latency_s=latency_s,
        energy_j=energy(setting.device, activity, setting.threads, setting.frequency_hz),
        bytes=amounts.distinct_bytes,
        bound=max(scaled, key=lambda name: scaled[name]) if latency_s else "none",
    )


def _total(
    prepared: Graph, runtime: Runtime, setting: Setting, working: Working, layers: tuple[LayerEstimate, ...],
    found: Demand, reach: float,
) -> Estimate:  # fmt: skip
    """Return the sums over the layers, with a band of ``reach`` to either side of ln(latency)."""
    from device_models.estimate import Needs, energy_notes, total

    latency_s = sum(row.latency_s for row in layers)
    ends_s = (latency_s * math.exp(-reach), latency_s * math.exp(reach))
    memory = placed(prepared, runtime.name, {each.layer.name: each.scratch_bytes for each in found.layers})
    needs = Needs(working.weights_bytes, memory.flash_bytes, memory.ram_bytes)
    result = total(prepared.name, setting, layers, [each.moved for each in found.layers], needs, ends_s)
    notes = (*_notes(runtime, setting, reach), *energy_notes(setting.device, result))
    return replace(result, runtime=runtime.name, calibrated=runtime.calibrated, notes=notes)


def _notes(runtime: Runtime, setting: Setting, reach: float) -> tuple[str, ...]:
    """Return what the numbers rest on."""
    share = f"80 % of measurements are expected within a factor of {math.exp(reach):.2f}"
    if not runtime.calibrated:
        return (f"not calibrated: {runtime.title} is where a fit starts; {share}",)
    families = len({row.family for row in runtime.rows})
    notes = [f"calibrated on {len(runtime.rows)} measured rows of {families} families of networks; {share}"]
    if not runtime.knows(setting.device.core.name):
        notes.append(f"no row is from a {setting.device.core.name}: the band is wider for it")
    return tuple(notes)


def uncovered_problems(found: Demand, runtime: Runtime) -> list[str]:
    """Return a line per operator that a runtime has no cost for, with the layers it is in."""
    problems = []
    for op in dict.fromkeys(each.layer.op for each in found.uncovered):
        names = [repr(each.layer.name) for each in found.uncovered if each.layer.op == op]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        problems.append(
            f"operator {op!r} has no cost in runtime {runtime.name} (layers {shown}); "
            f"add a term for its layer class to a runtime file, or allow uncovered layers"
        )
    return problems


def with_coverage(result: Estimate, found: Demand, layers: int) -> Estimate:
    """Return the estimate with its share of layers that carry a cost."""
    share = 1.0 - len(found.uncovered) / layers if layers else 1.0
    names = tuple(f"{each.layer.name} ({each.layer.op})" for each in found.uncovered)
    return replace(result, coverage=share, uncovered=names)
