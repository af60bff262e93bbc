"""What jobs cost: rows of the record, equal to the last digit in every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_models.estimate import Setting, layer_estimate
from device_models.kernel_cache import generator_hash, table_hash
from device_models.memory import memory_time
from reports.bench_compare import UNDIVIDED
from reports.bench_record import Bench, Chip, Measured
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from device_models.costing import Amounts, Kernel
    from device_models.device import Device
    from simulator.bench.plan import Job


@dataclass(frozen=True)
class Clocking:
    """How many threads share each kernel, and the clock; None is the nominal one. [Hz]"""

    threads: int = 1
    frequency_hz: float | None = None

    def setting(self, device: Device) -> Setting:
        """Return the setting on a device."""
        return Setting(device, self.threads, self.frequency_hz or device.frequency_hz)


def bench(
    title: str, found: Sequence[Job], clocking: Clocking, progress: Callable[[int, int, str], None] | None = None
) -> Bench:
    """Price every job.

    Raises
    ------
    InputError
        With every job that cannot be priced, and every one that is there twice.
    """
    rows, problems = [], []
    for number, job in enumerate(found):
        if progress is not None:
            progress(number, len(found), f"{job.kernel} on {job.target.device.name}")
        try:
            rows.append(measured(job, clocking.setting(job.target.device)))
        except InputError as error:
            problems += [f"{job.place}: {error.path}: {problem}" for problem in error.problems]
        except (NotImplementedError, ValueError) as error:
            problems.append(f"{job.place}: {job.kernel} on {job.target.device.name}: {error}")
    problems += _repeated(rows, found) if not problems else []
    if problems:
        raise InputError("bench", list(dict.fromkeys(problems)))
    devices = {job.target.device.name: job.target.device for job in found}
    chips = {name: _chip(clocking.setting(device)) for name, device in devices.items()}
    return Bench(schema=1, suite=title, generators=generator_hash(), devices=chips, kernels=tuple(rows))


def _repeated(rows: Sequence[Measured], found: Sequence[Job]) -> Iterable[str]:
    places: dict[str, str] = {}
    for row, job in zip(rows, found, strict=True):
        if row.name in places:
            yield f"{job.place}: {row.name} is there already, in {places[row.name]}; name each kernel once"
        places.setdefault(row.name, job.place)


def measured(job: Job, setting: Setting) -> Measured:
    """Price one job; cycles are rounded to thousandths, times and energies to nine digits."""
    device, kernel = setting.device, job.price()
    macs = job.macs if kernel.detail is None else kernel.detail.macs
    row = layer_estimate(job.kernel, job.op, macs, kernel, setting)
    causes = _causes(kernel, setting)
    cycles = _cycles(sum(causes.values()))
    peak = _peak(device, job.precision) * setting.threads
    detail = kernel.detail
    return Measured(
        group=job.group,
        kernel=job.kernel,
        options=job.options,
        chosen="" if detail is None else detail.options,
        device=device.name,
        isa=job.target.isa if detail is not None else "rate",
        layers=job.layers,
        macs=macs,
        cycles=cycles,
        time_s=_digits(row.latency_s),
        energy_j=_digits(row.energy_j),
        loaded_bytes=0 if detail is None else detail.loaded_bytes,
        stored_bytes=0 if detail is None else detail.stored_bytes,
        read_bytes={level.level: level.read_bytes for level in kernel.moved},
        written_bytes={level.level: level.written_bytes for level in kernel.moved},
        code_bytes=None if detail is None else detail.code_bytes,
        macs_per_cycle=_digits(macs / cycles) if cycles else 0.0,
        share_of_peak=_digits(macs / (cycles * peak)) if cycles and peak else 0.0,
        bound="launch" if row.bound == "overhead" else row.bound,
        causes={name: _cycles(value) for name, value in causes.items() if _cycles(value)},
        resources={} if detail is None else _amounts(detail.by_resource, setting.threads),
        instructions={} if detail is None else {name: int(times) for name, times in detail.instructions},
        program=None if detail is None else detail.program,
    )


def _peak(device: Device, precision: str) -> float:
    """Return a core's peak, 0 where it is not known. [MAC/cycle]"""
    found = device.compute.fp32_peak if precision == "fp32" else device.compute.int8_peak
    return 0.0 if found is None else found.value


def _causes(kernel: Kernel, setting: Setting) -> dict[str, float]:
    """Return where the cycles of a call go: in the core by cause, waiting for memory, and for the launch."""
    row = layer_estimate("", "", 0, kernel, setting)
    core = row.compute_s * setting.frequency_hz
    _, slowest = memory_time(kernel.moved, setting.device, setting.frequency_hz, setting.threads, row.compute_s)
    waiting = (row.latency_s - row.overhead_s - row.compute_s) * setting.frequency_hz
    known = {} if kernel.detail is None else dict(kernel.detail.by_cause)
    causes = {name: value / setting.threads for name, value in known.items()} or {UNDIVIDED: core}
    causes["launch"] = causes.get("launch", 0.0) + row.overhead_s * setting.frequency_hz
    causes[f"memory {slowest}"] = max(0.0, waiting)
    return causes


def _amounts(amounts: Amounts, threads: int) -> dict[str, float]:
    return {name: _cycles(value / threads) for name, value in amounts if _cycles(value / threads)}


def _chip(setting: Setting) -> Chip:
    device = setting.device
    return Chip(
        title=device.title,
        core=device.core.name,
        frequency_hz=setting.frequency_hz,
        threads=setting.threads,
        peak_macs_per_cycle=device.compute.int8_peak.value * setting.threads,
        tables=table_hash(device),
    )


def _cycles(value: float) -> float:
    """Round cycles: what is left are differences that no change of a kernel makes."""
    return round(value, 3)


def _digits(value: float) -> float:
    return float(f"{value:.9g}")
