"""Predictions of several models on several devices, as the rows that ``presage predict`` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from device_models.device import load_device
from device_models.dvfs import at_supply
from device_models.estimate import estimate
from device_models.explain import explain as explain_layer
from device_models.quantities import Dimension, parse_quantity
from workloads.errors import InputError
from workloads.readers.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from device_models.device import Device
    from workloads.graph import Graph


@dataclass(frozen=True)
class Options:
    """What the user chose for every prediction of one call."""

    runtime: str = "generated"
    precision: str = "int8"
    batch: int = 1
    threads: int | None = None
    frequency: str | None = None
    supply_voltage: str | None = None
    allow_uncovered: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


def _quantity(option: str, text: str | None, unit: str, example: str) -> float | None:
    """Read an option that is a number with a unit, as SI value."""
    if text is None:
        return None
    try:
        return parse_quantity(text, Dimension(unit, (unit,), example))
    except ValueError as error:
        raise InputError(option, [str(error)]) from error


def _collect(names: Sequence[str], read: Callable[[str], Any], problems: list[str]) -> list[Any]:
    """Read every name, gathering the faults of all instead of stopping at the first."""
    found = []
    for name in names:
        try:
            found.append(read(name))
        except InputError as error:
            problems.extend(f"{error.path}: {problem}" for problem in error.problems)
    return found


def _chip(name: str, supply_v: float | None) -> Device:
    """Return a device, supplied as the user says."""
    return load_device(name) if supply_v is None else at_supply(load_device(name), supply_v)


def predict(
    models: Sequence[str],
    devices: Sequence[str],
    options: Options,
    *,
    layers: bool = False,
    numerics: bool = False,
    explain: bool = False,
    layer: str | None = None,
) -> list[dict[str, Any]]:
    """Predict each model on each device.

    Returns
    -------
    rows
        One per model and device, models outermost; the fields of ``Estimate``, ``layers`` only when asked for, and so
        ``numerics``: how far targets' arithmetics agree on the model, as ``simulator.numerics.compare_graph`` returns,
        and, with ``explain``, ``explanation``: how the numbers of a layer, by default the longest, came to be.

    Raises
    ------
    InputError
        With the faults of all models and devices at once.
    """
    problems: list[str] = []
    graphs = _collect(models, lambda name: load(name, sizes=options.sizes), problems)
    frequency_hz = _quantity("--frequency", options.frequency, "Hz", "280 MHz")
    supply_v = _quantity("--supply-voltage", options.supply_voltage, "V", "3.3 V")
    chips = _collect(devices, lambda name: _chip(name, supply_v), problems)
    if problems:
        raise InputError("predict", problems)

    rows = []
    for graph in graphs:
        agreed = _numerics(graph) if numerics else {}
        for chip in chips:
            chosen: dict[str, Any] = {
                "runtime": options.runtime,
                "precision": options.precision,
                "batch": options.batch,
                "threads": options.threads,
                "frequency_hz": frequency_hz,
                "allow_uncovered": options.allow_uncovered,
            }
            row = asdict(estimate(graph, chip, **chosen))
            if not layers:
                del row["layers"]
            explained = {"explanation": explain_layer(graph, chip, layer, **chosen).as_dict()} if explain else {}
            rows.append(row | agreed | explained)
    return rows


def _numerics(graph: Graph) -> dict[str, Any]:
    from simulator.numerics import compare_graph

    return {"numerics": compare_graph(graph)}
