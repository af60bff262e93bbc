"""Estimates: a network on a device with a runtime, layer by layer: time, energy, memory, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from device_models.costing import Kernel, layer_kernel, precisions_of, together
from device_models.device import Device, load_device
from device_models.dvfs import supply_notes
from device_models.energy import Activity, energy
from device_models.memory import Traffic, Working, home, memory_time
from device_models.placement import placed
from device_models.result import Estimate, LayerEstimate
from device_models.runtime import GENERATED, Runtime, load_runtime
from workloads.errors import InputError
from workloads.graph import layer_macs, with_batch

if TYPE_CHECKING:
    from workloads.graph import Graph, Layer

KEPT_GRAPHS = 2  # many devices are asked about one network after the other


@dataclass(frozen=True)
class Setting:
    """How a network is run: on which device, with how many threads, at which clock. [Hz]"""

    device: Device
    threads: int
    frequency_hz: float


@dataclass(frozen=True)
class Needs:
    """What a network takes of a device: its constants, all that lies in flash, and working memory. [B]"""

    weights_bytes: int
    flash_bytes: int
    ram_bytes: int


def estimate(
    graph: Graph,
    device: Device | str,
    *,
    runtime: Runtime | str = GENERATED,
    precision: str = "int8",
    batch: int = 1,
    threads: int | None = None,
    frequency_hz: float | None = None,
    allow_uncovered: bool = False,
) -> Estimate:
    """Predict what one inference of a network costs on a device.

    Parameters
    ----------
    graph
        As read or built; it is folded, fused and, if float, retyped here.
    device
        A device, or the name or path of one.
    runtime
        A kernel library, or the name or path of one; "generated" prices presage's own Programs.
    batch
        Inputs per inference.
    threads
        Cores that share each layer: all of an accelerator by default, else one.
    frequency_hz
        Clock, the device's nominal one by default. [Hz]
    allow_uncovered
        Go on without a cost for unknown operators; they are listed and the coverage is below 1.

    Raises
    ------
    InputError
        With all reasons: an option out of range, or operators without a cost.
    """
    chosen = load_device(device) if isinstance(device, str) else device
    frequency = chosen.frequency_hz if frequency_hz is None else frequency_hz
    threads = chosen.default_threads if threads is None else threads
    if problems := option_problems(chosen, runtime, precision, batch, threads, frequency):
        raise InputError(chosen.name, problems)
    setting = Setting(chosen, threads, frequency)
    if runtime != GENERATED:
        library = load_runtime(runtime) if isinstance(runtime, str) else runtime
        return _with_runtime(graph, library, setting, precision, batch, allow_uncovered=allow_uncovered)
    prepared = prepared_for(graph, precision, batch)
    working = working_set(prepared)
    kernels = [(layer, layer_kernel(prepared, layer, chosen, working)) for layer in prepared.layers]
    uncovered = [layer for layer, kernel in kernels if kernel is None]
    if uncovered and not allow_uncovered:
        raise InputError(graph.name, _uncovered_problems(uncovered, chosen))
    rows = [
        (layer_estimate(layer.name, layer.op, layer_macs(prepared, layer), kernel, setting), kernel)
        for layer, kernel in kernels
        if kernel is not None
    ]
    result = _total(prepared, setting, rows, working)
    share = 1.0 - len(uncovered) / len(prepared.layers) if prepared.layers else 1.0
    return replace(
        result,
        runtime=GENERATED,
        precision=precision,
        batch=batch,
        coverage=share,
        uncovered=tuple(f"{layer.name} ({layer.op})" for layer in uncovered),
        notes=(*result.notes, *supply_notes(chosen)),
    )


def _with_runtime(
    graph: Graph, runtime: Runtime, setting: Setting, precision: str, batch: int, *, allow_uncovered: bool
) -> Estimate:
    """Return the estimate of a network with a fitted runtime."""
    from device_models import grey_box

    prepared = grey_box.runtime_graph(graph, runtime, precision, batch)
    result, found = grey_box.estimated(prepared, runtime, setting, working_set(prepared), precision)
    if found.uncovered and not allow_uncovered:
        raise InputError(graph.name, grey_box.uncovered_problems(found, runtime))
    covered = grey_box.with_coverage(result, found, len(prepared.layers))
    notes = (*covered.notes, *supply_notes(setting.device))
    return replace(covered, precision=precision, batch=batch, notes=notes)


def option_problems(
    device: Device, runtime: Runtime | str, precision: str, batch: int, threads: int, frequency_hz: float
) -> list[str]:
    """Return a line per option that the device or presage cannot do."""
    problems = []
    low, high = device.clock.minimum, device.clock.maximum
    problems += _runtime_problems(device, runtime, precision)
    if batch < 1:
        problems.append(f"batch: {batch} inputs; expected at least 1")
    most = device.cores if runtime == GENERATED else device.threads
    if not 1 <= threads <= most:
        what = "cores" if most == device.cores else "hardware threads"
        problems.append(f"threads: {threads}; expected 1 to {most}, the {what} of {device.name}")
    if not low.value <= frequency_hz <= high.value:
        problems.append(f"frequency: {frequency_hz / 1e6:g} MHz; expected {low.text} to {high.text}")
    return problems


def _runtime_problems(device: Device, runtime: Runtime | str, precision: str) -> list[str]:
    """Return what is wrong with a runtime, or with a precision in it."""
    if runtime == GENERATED:
        precisions = precisions_of(device)
        supported = f"no {precision!r} kernels are generated; supported: {', '.join(precisions)}"
        return [] if precision in precisions else [f"precision: {supported}"]
    try:
        library = load_runtime(runtime) if isinstance(runtime, str) else runtime
    except InputError as error:
        return [f"runtime: {problem}" for problem in error.problems]
    problems = []
    if library.way != "programs" and (device.compute.vector is None or device.compute.fp32_peak is None):
        problems.append(
            f"runtime: {library.name} needs fp32_peak and vector under [compute], which {device.name} does not give"
        )
    if precision not in library.precisions:
        known = ", ".join(library.precisions)
        problems.append(f"precision: runtime {library.name} has no {precision!r}; supported: {known}")
    return problems


def _uncovered_problems(layers: list[Layer], device: Device) -> list[str]:
    """Return a line per operator that has no cost, with the layers it is in."""
    problems = []
    for op in dict.fromkeys(layer.op for layer in layers):
        names = [repr(layer.name) for layer in layers if layer.op == op]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        problems.append(
            f"operator {op!r} has no cost on {device.name} (layers {shown}); "
            f"add cycles per element under [operators] of a device file, or allow uncovered layers"
        )
    return problems


@lru_cache(maxsize=KEPT_GRAPHS)
def prepared_for(graph: Graph, precision: str, batch: int) -> Graph:
    """Return the graph as it is costed."""
    from workloads.passes.prepare import prepare

    ready = prepare(graph, precision)
    return with_batch(ready, batch) if batch > 1 else ready


@lru_cache(maxsize=KEPT_GRAPHS)
def working_set(graph: Graph) -> Working:
    """Return what the whole network keeps in memory."""
    from workloads.passes.memory_plan import plan

    return Working(graph.weights_bytes, plan(graph).peak_bytes)


def layer_estimate(name: str, op: str, macs: int, kernel: Kernel, setting: Setting) -> LayerEstimate:
    """Return one layer's row."""
    device = setting.device
    compute_s = kernel.cycles / setting.frequency_hz / setting.threads
    memory_s, slowest = memory_time(kernel.moved, device, setting.frequency_hz, setting.threads, compute_s)
    overhead_s = _overhead(setting) if kernel.cycles else 0.0
    latency_s = together(compute_s, memory_s, device) + overhead_s
    bound = max(((compute_s, kernel.bound), (memory_s, slowest), (overhead_s, "overhead")), key=lambda item: item[0])[1]
    activity = Activity(latency_s, macs, outer_bytes(kernel.moved, device))
    return LayerEstimate(
        name=name,
        op=op,
        macs=macs,
        cycles=kernel.cycles,
        compute_s=compute_s,
        memory_s=memory_s,
        overhead_s=overhead_s,
        latency_s=latency_s,
        energy_j=energy(device, activity, setting.threads, setting.frequency_hz),
        bytes=kernel.distinct_bytes,
        bound=bound,
    )


def outer_bytes(moved: tuple[Traffic, ...], device: Device) -> int:
    """Return the bytes to and from the outermost memory of the device. [B]"""
    outermost = list(device.memory)[-1]
    return sum(level.read_bytes + level.written_bytes for level in moved if level.level == outermost)


def _overhead(setting: Setting) -> float:
    """Return the time of starting one layer: call, launch, and fork and join of the threads. [s]"""
    overhead = setting.device.overhead
    call_s = overhead.layer.value / setting.frequency_hz if overhead.layer is not None else 0.0
    launch_s = overhead.launch.value if overhead.launch is not None else 0.0
    fork_s = overhead.fork_join.value if overhead.fork_join is not None and setting.threads > 1 else 0.0
    return call_s + launch_s + fork_s


def _total(graph: Graph, setting: Setting, rows: list[tuple[LayerEstimate, Kernel]], working: Working) -> Estimate:
    """Return the sums over the layers, with the band of the core model and of assumed figures."""
    band = setting.device.core.band
    low_s = sum(row.latency_s * kernel.low for row, kernel in rows) * band.latency.lowest
    high_s = sum(row.latency_s * kernel.high for row, kernel in rows) * band.latency.highest
    moved = [kernel.moved for _, kernel in rows]
    ram_bytes = placed(graph, GENERATED, {row.name: kernel.scratch_bytes for row, kernel in rows}).ram_bytes
    needs = Needs(working.weights_bytes, working.weights_bytes, ram_bytes)
    factors = (band.energy.lowest, band.energy.highest)
    found = total(graph.name, setting, tuple(row for row, _ in rows), moved, needs, (low_s, high_s), factors)
    return replace(found, notes=(*_notes(setting.device, rows), *energy_notes(setting.device, found)))


def energy_notes(device: Device, found: Estimate) -> tuple[str, ...]:
    """Return what must be said of energies that no measurement is known for."""
    if device.core.model != "davinci":
        return ()
    bound = f"the chip's powers bound it to {found.energy_low_j:.2g} .. {found.energy_high_j:.2g} J"
    return (f"energy is unvalidated: none per inference is public for such a chip; {bound}",)


def total(
    model: str,
    setting: Setting,
    layers: tuple[LayerEstimate, ...],
    moved: list[tuple[Traffic, ...]],
    needs: Needs,
    ends_s: tuple[float, float],
    energy_factors: tuple[float, float] = (1.0, 1.0),
) -> Estimate:
    """Return the sums over layers, without runtime, precision and notes.

    Parameters
    ----------
    moved
        Traffic of each layer.
    ends_s
        Of the latency's band. [s]
    energy_factors
        Of the energy's band, beyond what the latency's makes of it.
    """
    device, at = setting.device, (setting.threads, setting.frequency_hz)
    macs, latency_s, energy_j = (
        sum(getattr(row, name) for row in layers) for name in ("macs", "latency_s", "energy_j")
    )
    outer = sum(outer_bytes(each, device) for each in moved)
    low_j, high_j = (
        energy(device, Activity(end_s, macs, outer), *at, end) * factor
        for end_s, end, factor in zip(ends_s, ("low", "high"), energy_factors, strict=True)
    )
    return Estimate(
        model=model,
        device=device.name,
        runtime="",
        precision="",
        batch=1,
        threads=setting.threads,
        frequency_hz=setting.frequency_hz,
        macs=macs,
        weights_bytes=needs.weights_bytes,
        peak_ram_bytes=needs.ram_bytes,
        fits=fits(device, needs.flash_bytes, needs.ram_bytes),
        latency_s=latency_s,
        latency_low_s=ends_s[0],
        latency_high_s=ends_s[1],
        energy_j=energy_j,
        energy_low_j=min(low_j, energy_j),
        energy_high_j=max(high_j, energy_j),
        average_power_w=energy_j / latency_s if latency_s else 0.0,
        coverage=1.0,
        calibrated=False,
        layers=layers,
    )


def fits(device: Device, weights_bytes: int, peak_ram_bytes: int) -> bool:
    """Whether a network's weights and its arena fit the device, together where one memory holds both."""
    weights, activations = home(device, "weights", weights_bytes), home(device, "activations", peak_ram_bytes)
    if weights == activations:
        return weights_bytes + peak_ram_bytes <= device.memory[weights].size.value
    return weights_bytes <= device.memory[weights].size.value and (
        peak_ram_bytes <= device.memory[activations].size.value
    )


def _notes(device: Device, rows: list[tuple[LayerEstimate, Kernel]]) -> tuple[str, ...]:
    """Return what a reader must know: how sure the numbers are, and which layers rest on a rate."""
    notes = [f"uncalibrated: no measurement of generated kernels on {device.name}; the band is assumed"]
    rated = sorted({row.op for row, kernel in rows if kernel.low != 1.0 or kernel.high != 1.0})
    if rated:
        notes.append(f"no kernel is generated for {', '.join(rated)}: cycles per element from the device file")
    return tuple(notes)
