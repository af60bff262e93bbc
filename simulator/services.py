"""Services: each model on each device, estimated once, as the figures that the engine needs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.record import LayerRow, ModelRow
from simulator.names import read_chip, read_model
from simulator.service import Service
from workloads.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from device_models.device import Device as Chip
    from device_models.result import Estimate
    from simulator.schema import Machine

NOMINAL, LOW, HIGH = "nominal", "low", "high"
Key = tuple[str, str, str, str, int | None, float | None]


@dataclass(frozen=True)
class Estimated:
    """A model on a device: the estimate, and the device and the sizes of its input and output."""

    estimate: Estimate
    chip: Chip
    input_bytes: int
    output_bytes: int

    def service(self, variant: str = NOMINAL) -> Service:
        """Return the service, nominal or at an end of the estimate's band; the power stays inside the energy's."""
        found = self.estimate
        pairs = {
            NOMINAL: (found.latency_s, found.energy_j),
            LOW: (found.latency_low_s, found.energy_low_j),
            HIGH: (found.latency_high_s, found.energy_high_j),
        }
        latency_s, energy_j = pairs[variant]
        return Service(latency_s, energy_j, fits=found.fits)


@dataclass
class Estimates:
    """All estimates of one run of the command; asking twice computes once."""

    folder: Path
    found: dict[Key, Estimated] = field(default_factory=dict)

    def of(self, model: str, machine: Machine) -> Estimated:
        """Return the estimate of a model on a machine.

        Raises
        ------
        InputError
            The model cannot run there as asked; with all reasons.
        """
        key = (model, machine.chip, machine.runtime, machine.precision, machine.threads, machine.frequency_hz)
        if key not in self.found:
            self.found[key] = _estimate(model, machine, self.folder)
        return self.found[key]

    def prepare(self, wanted: list[tuple[str, str, Machine]], path: object) -> None:
        """Make the estimates of (place, model, machine) and raise the faults of all at once."""
        faults: list[str] = []
        for where, model, machine in wanted:
            try:
                self.of(model, machine)
            except InputError as error:
                lines = [f"{where}: {problem}" for problem in error.problems]
                faults += [line for line in lines if line not in faults]
        if faults:
            raise InputError(path, faults)


def _estimate(model: str, machine: Machine, folder: Path) -> Estimated:
    from device_models.estimate import estimate

    graph, chip = read_model(model, folder), read_chip(machine.chip, folder)
    found = estimate(
        graph,
        chip,
        runtime=machine.runtime,
        precision=machine.precision,
        threads=machine.threads,
        frequency_hz=machine.frequency_hz,
    )
    # What is uploaded is the tensor as the device computes on it: one byte per element for int8.
    sizes = [sum(graph[name].elements for name in names) for names in (graph.inputs, graph.outputs)]
    return Estimated(found, chip, sizes[0], sizes[1])


def model_row(role: str, estimated: Estimated) -> ModelRow:
    """Return what the record tells about a model on a device."""
    found, chip = estimated.estimate, estimated.chip
    layers = tuple(LayerRow(**{name: getattr(layer, name) for name in LayerRow.model_fields}) for layer in found.layers)
    shared = {name: getattr(found, name) for name in ModelRow.model_fields if hasattr(found, name) and name != "layers"}
    return ModelRow(
        role=role,
        **shared,
        peak_macs_per_s=chip.peak_macs_per_s,
        # A device whose memory costs nothing has no bandwidth: the largest number stands for it.
        memory_bytes_per_s=min(chip.memory_bytes_per_s, sys.float_info.max),
        layers=layers,
    )
