"""Checks across tables: names that must exist, and values that only make sense together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator import arrivals, profiles
from simulator.metrics import metric_faults, parse_stated
from simulator.names import read_chip
from simulator.policy import bind
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from simulator.inheritance import Nodes
    from simulator.schema import Claim, Document, Expect, Machine, Sections

MOST_REQUESTS, MOST_IN_ALL_RUNS, MOST_SPELLS = 1_000_000, 3_000_000, 100_000


def _tried(where: str, read: Callable[[], Any]) -> list[str]:
    """Return the faults of reading something, at the key that names it."""
    try:
        read()
    except InputError as error:
        return [f"{where}: {problem}" for problem in error.problems]
    return []


def node_faults(name: str, node: Sections, folder: Path, duration_s: float) -> list[str]:
    """Return what is wrong with a node although each of its tables is well formed."""
    work, link = node.workload, node.link
    faults = _machine_faults("device", node.device, folder)
    if node.cloud is not None:
        faults += _machine_faults("cloud", node.cloud, folder)
    if work.arrivals.file is not None:
        file = work.arrivals.file
        faults += _tried("workload.arrivals.file", lambda: arrivals.read_trace(folder / file))
    if (count := work.arrivals.expected(duration_s)) > MOST_REQUESTS:
        faults.append(
            f"workload.arrivals: about {count:.3g} requests on node {name!r}; "
            f"expected at most {MOST_REQUESTS:,}; shorten the duration or let fewer come"
        )
    for key, spell in (("outages", link.outages), ("weak", link.weak)) if link is not None else ():
        if spell is not None and duration_s / spell.every_s > MOST_SPELLS:
            faults.append(
                f"link.{key}: about {duration_s / spell.every_s:.3g} spells; expected at most {MOST_SPELLS:,}"
            )
    return faults + _policy_faults(node, folder) + _battery_faults(node)


def total_faults(runs: Sequence[tuple[Nodes, float]], document: Document | None) -> list[str]:
    """Return whether all runs together are too many requests for one record."""
    expected = [node.workload.arrivals.expected(duration_s) for nodes, duration_s in runs for _, node in nodes]
    count = sum(expected) * (document.replications if document is not None else 1)
    if count <= MOST_IN_ALL_RUNS or max(expected) > MOST_REQUESTS:
        return []
    hint = "compare fewer points, ask for fewer replications, or shorten the duration"
    return [f"file: about {count:.3g} requests in all runs; expected at most {MOST_IN_ALL_RUNS:,}; {hint}"]


def _machine_faults(section: str, machine: Machine, folder: Path) -> list[str]:
    from device_models.estimate import option_problems

    chip = read_chip(machine.chip, folder)
    frequency_hz = chip.frequency_hz if machine.frequency_hz is None else machine.frequency_hz
    threads = chip.default_threads if machine.threads is None else machine.threads
    problems = option_problems(chip, machine.runtime, machine.precision, 1, threads, frequency_hz)
    return [f"{section}.{problem}" for problem in problems]


def _policy_faults(node: Sections, folder: Path) -> list[str]:
    policy = node.offload.policy
    try:
        bind(policy, node.offload.parameters, folder)
    except InputError as error:
        keyed = any(problem.partition(":")[0] in node.offload.parameters for problem in error.problems)
        return [f"offload.{problem}" if keyed else f"offload.policy: {problem}" for problem in error.problems]
    missing = [f"[{name}]" for name, table in (("cloud", node.cloud), ("link", node.link)) if table is None]
    if policy != "local" and missing:
        return [f'offload.policy: {policy!r} needs {" and ".join(missing)}; add it, or use "local"']
    return []


def _battery_faults(node: Sections) -> list[str]:
    battery = node.device.battery
    if battery is None or battery.cutoff is not None:
        return []
    cutoff = profiles.load_defaults().battery.cutoff.value
    if battery.state_of_charge > cutoff:
        return []
    fault = (
        f"device.battery: state_of_charge ({battery.state_of_charge:g}) is not above the default cutoff "
        f"({cutoff:g}); give a cutoff below it"
    )
    return [fault]


def stated_faults(document: Document, nodes: Sequence[str]) -> list[str]:
    """Return what is wrong with expectations and claims: metrics, values and points."""
    faults = []
    for where, stated, values in _stated(document):
        wrong = metric_faults(stated.metric, nodes)
        faults += [f"{where}.metric: {fault}" for fault in wrong]
        for key, raw in values.items():
            if not wrong and raw is not None:
                faults += _value_faults(f"{where}.{key}", stated.metric, raw)
        faults += [f"{where}.when: {fault}" for fault in _when_faults(stated.when, document.compare)]
    return faults


def _stated(document: Document) -> Iterator[tuple[str, Expect | Claim, dict[str, Any]]]:
    for index, expect in enumerate(document.expect):
        yield f"expect[{index}]", expect, {"at_most": expect.at_most, "at_least": expect.at_least}
    for index, claim in enumerate(document.claim):
        yield f"claim[{index}]", claim, {"value": claim.value}


def _value_faults(where: str, metric: str, raw: Any) -> list[str]:
    try:
        parse_stated(metric, raw)
    except ValueError as error:
        return [f"{where}: {error}"]
    return []


def _when_faults(when: Mapping[str, Any], compare: Mapping[str, list[Any]]) -> list[str]:
    faults = []
    for key, value in when.items():
        if key not in compare:
            hint = did_you_mean(key, compare) if compare else "there is no [compare]"
            faults.append(f"{key!r} is not compared; {hint}")
        elif value not in compare[key]:
            faults.append(f"{value!r} is no value of {key!r}; known: {', '.join(map(repr, compare[key]))}")
    return faults
