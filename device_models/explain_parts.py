"""Terms of an explanation: one formula each, over inputs that are figures with sources or earlier terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from device_models.dvfs import access_rate, point_at, supply_factor, supply_notes, voltage_factor
from device_models.energy import busy_power
from device_models.estimate import outer_bytes
from device_models.memory import memory_time

if TYPE_CHECKING:
    from device_models.device import Device
    from device_models.estimate import Setting
    from device_models.figures import Figure
    from device_models.memory import Traffic
    from device_models.result import LayerEstimate
    from device_models.runtime import Runtime
    from device_models.runtime import Term as RuntimeTerm


@dataclass(frozen=True)
class Input:
    """A value in a formula, with its unit and, for a figure, its source ("file: key") and range as written."""

    name: str
    value: float
    unit: str
    source: str = ""
    text: str = ""


@dataclass(frozen=True)
class Term:
    """A value, the formula that gives it (in Python's notation), and the formula's inputs."""

    name: str
    value: float
    unit: str
    formula: str = ""
    inputs: tuple[Input, ...] = ()
    note: str = ""
    sources: tuple[str, ...] = ()

    def all_sources(self) -> tuple[str, ...]:
        """Return the sources of the term and of its inputs."""
        return (*(each.source for each in self.inputs if each.source), *self.sources)


def given(name: str, value: float, unit: str, source: str = "") -> Input:
    """Return an input that is no figure of a file, or one derived from such."""
    return Input(name, value, unit, source)


def figure(name: str, found: Figure[float], unit: str, owner: str) -> Input:
    """Return a figure of a file as an input."""
    return Input(name, found.value, unit, f"{owner}: {found.source}", found.text)


def compute(row: LayerEstimate, setting: Setting) -> Term:
    """Return the time of the cycles."""
    device = setting.device
    clock = given("clock", setting.frequency_hz, "Hz", f"{device.name}: {device.clock.frequency.source}")
    inputs = (given("cycles", row.cycles, "cycle"), clock, given("threads", setting.threads, ""))
    return Term("compute_s", row.compute_s, "s", "cycles / clock / threads", inputs)


def memory(moved: tuple[Traffic, ...], row: LayerEstimate, setting: Setting) -> tuple[Term, ...]:
    """Return the time of each level's traffic, and that of the slowest."""
    levels = [_level(each, row, setting) for each in moved]
    found = [term for term in levels if term is not None]
    names = [term.name for term in found]
    formula = f"max({', '.join(names)})" if len(names) > 1 else "".join(names) or "0"
    inputs = tuple(given(term.name, term.value, "s") for term in found)
    note = "" if found else "all data is near the core"
    return (*found, Term("memory_s", row.memory_s, "s", formula, inputs, note))


def _level(moved: Traffic, row: LayerEstimate, setting: Setting) -> Term | None:
    """Return the time of one level; None where it costs nothing."""
    device, clock_hz = setting.device, setting.frequency_hz
    level, rate = device.memory[moved.level], device.read_bytes_per_s(moved.level, clock_hz)
    if rate is None or not (moved.read_bytes or moved.written_bytes):
        return None
    own = level.bandwidth or level.bytes_per_cycle
    source = "" if own is None else f"{device.name}: {own.source}"
    inputs = [given("read", moved.read_bytes, "B"), given("written", moved.written_bytes, "B")]
    inputs.append(Input("read_rate", rate, "B/s", source, "" if own is None else own.text))
    write = "read_rate"
    if level.write_bandwidth is not None:
        write = "write_rate"
        inputs.append(figure(write, level.write_bandwidth, "B/s", device.name))
    inputs.append(given("threads", setting.threads, ""))
    formula = f"(read / read_rate + written / {write}) / threads"
    if level.total_bandwidth is not None:
        inputs.append(figure("total_rate", level.total_bandwidth, "B/s", device.name))
        shared = "(read + written) / total_rate"
        if device.core.model == "inorder":
            inputs.append(given("compute_s", row.compute_s, "s"))
            shared += " - compute_s"
        formula = f"max({formula}, {shared})"
    if level.latency is not None:
        inputs.append(figure("first_access", level.latency, "s", device.name))
        formula = f"first_access + {formula}"
    share = access_rate(device, clock_hz)
    note = f"wait states leave {share:.3g} of the rate at the nominal clock" if level.waits and share != 1 else ""
    seconds = memory_time((moved,), device, clock_hz, setting.threads, row.compute_s)[0]
    return Term(f"{identifier(moved.level)}_s", seconds, "s", formula, tuple(inputs), note)


def overhead(row: LayerEstimate, setting: Setting) -> Term:
    """Return the time of starting a layer."""
    device, costs, inputs, sums = setting.device, setting.device.overhead, [], []
    if costs.layer is not None:
        inputs += [figure("call", costs.layer, "cycle", device.name), given("clock", setting.frequency_hz, "Hz")]
        sums.append("call / clock")
    if costs.launch is not None:
        inputs.append(figure("launch", costs.launch, "s", device.name))
        sums.append("launch")
    if costs.fork_join is not None and setting.threads > 1:
        inputs.append(figure("fork_join", costs.fork_join, "s", device.name))
        sums.append("fork_join")
    if not row.cycles:
        return Term("overhead_s", row.overhead_s, "s", "0", note="no kernel is called")
    return Term("overhead_s", row.overhead_s, "s", " + ".join(sums) or "0", tuple(inputs))


def latency(row: LayerEstimate, device: Device) -> Term:
    """Return how work and memory add up."""
    inputs = tuple(given(name, getattr(row, name), "s") for name in ("compute_s", "memory_s", "overhead_s"))
    if device.core.model == "inorder":
        return Term("latency_s", row.latency_s, "s", "compute_s + memory_s + overhead_s", inputs,
                    "an in-order core waits for memory")  # fmt: skip
    return Term("latency_s", row.latency_s, "s", "max(compute_s, memory_s) + overhead_s", inputs,
                "work and memory overlap")  # fmt: skip


def scaled(name: str, term: RuntimeTerm, amount_s: float, runtime: Runtime, setting: Setting) -> Term:
    """Return a multiplier of a runtime times the amount that it multiplies; cycles are shown as such."""
    from device_models.amounts import COMPUTE, QUANTITIES

    inputs = [figure("multiplier", term.multiplier, "", runtime.name)]
    formula = "multiplier * amount"
    if term.quantity in COMPUTE:
        factor = runtime.core_factor(setting.device.core.name)
        count = amount_s / factor * setting.frequency_hz * setting.threads
        inputs += [given("amount", count, "cycle"), given("clock", setting.frequency_hz, "Hz")]
        inputs.append(given("threads", setting.threads, ""))
        formula += " / clock / threads"
        if factor != 1.0:
            source = next(each.source for each in runtime.core_factors.values() if each.value == factor)
            inputs.append(given("core_factor", factor, "", f"{runtime.name}: {source}"))
            formula = formula.replace("amount", "core_factor * amount")
    else:
        inputs.append(given("amount", amount_s, "s"))
    note = f"amount: {QUANTITIES[term.quantity]}"
    return Term(f"{identifier(name)}_s", term.multiplier.value * amount_s, "s", formula, tuple(inputs), note)


def energy_terms(row: LayerEstimate, moved: tuple[Traffic, ...], setting: Setting) -> tuple[Term, ...]:
    """Return the power while busy, and the energy."""
    device, power = setting.device, setting.device.power
    busy = _busy(setting)
    inputs = [given("busy_w", busy.value, "W"), given("latency_s", row.latency_s, "s")]
    formula = "busy_w * latency_s"
    own = "{} * " if device.supply_v is None else "supply * {} * "
    if power.per_mac is not None:
        inputs += [figure("per_mac", power.per_mac, "J/MAC", device.name), given("macs", row.macs, "MAC")]
        formula += f" + {own.format('per_mac')}macs"
    if power.per_byte is not None:
        outer = given("outer", outer_bytes(moved, device), "B")
        inputs += [figure("per_byte", power.per_byte, "J/B", device.name), outer]
        formula += f" + {own.format('per_byte')}outer"
    if "supply" in formula:
        inputs.append(given("supply", supply_factor(device), ""))
    return busy, Term("energy_j", row.energy_j, "J", formula, tuple(inputs))


def _busy(setting: Setting) -> Term:
    """Return the power while computing, at the supply of the device."""
    found, device = _busy_as_filed(setting), setting.device
    if device.supply is None or device.supply_v is None:
        return found
    supply = given("supply", supply_factor(device), "", f"{device.name}: {device.supply.voltage.source}")
    words = "; ".join(filter(None, (found.note, *supply_notes(device))))
    return replace(found, formula=f"supply * ({found.formula})", inputs=(supply, *found.inputs), note=words)


def _busy_as_filed(setting: Setting) -> Term:
    """Return the power while computing, by what is known about the device."""
    device, power, clock_hz = setting.device, setting.device.power, setting.frequency_hz
    point, name = point_at(device, clock_hz), device.name
    value = busy_power(device, setting.threads, clock_hz)
    idle = figure("idle", power.idle if point is None or point.idle is None else point.idle, "W", name)
    scale = (given("clock", clock_hz, "Hz"), given("nominal", device.frequency_hz, "Hz"))
    volts = given("voltage", voltage_factor(device, clock_hz), "")
    waiting = figure("waiting", power.idle, "W", name)
    if point is not None and point.per_cycle is not None:
        reference = given("reference", point.frequency.value, "Hz")
        known = (idle, figure("per_cycle", point.per_cycle, "J/cycle", name), scale[0], reference)
        formula = "idle + max(0, per_cycle * reference - idle) * clock / reference"
        return Term("busy_w", value, "W", formula, known, f"operating point {point.name}")
    formula = "idle + max(0, {} - waiting) * clock / nominal * voltage"
    if power.per_cycle is not None:
        per_cycle = figure("per_cycle", power.per_cycle, "J/cycle", name)
        return Term(
            "busy_w", value, "W", formula.format("per_cycle * nominal"), (idle, per_cycle, *scale, waiting, volts)
        )
    if power.active is None or power.active_all is None:
        return Term("busy_w", value, "W", "idle", (idle,), "what is above idle is counted per operation")
    share = (setting.threads - 1) / (device.cores - 1) if device.cores > 1 else 0.0
    one, every = figure("one", power.active, "W", name), figure("every", power.active_all, "W", name)
    inputs = (idle, one, every, given("share", share, ""), waiting, *scale, volts)
    return Term("busy_w", value, "W", formula.format("one + (every - one) * share"), inputs)


def identifier(name: str) -> str:
    """Return a name that may stand in a formula."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)
