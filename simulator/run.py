"""Run: a scenario is played through, point by point, and becomes a record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

from reports.record import Record, Run
from simulator.account import assumptions_of, sources_of
from simulator.bounds import NodeFacts
from simulator.build import Draw, build, pue_of
from simulator.engine import simulate
from simulator.profiles import load_grid
from simulator.results import node_result, requests_of, timeline_of
from simulator.services import HIGH, LOW, NOMINAL, Estimates, model_row
from simulator.verdicts import Predicted, judge, speaks_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from reports.record import ModelRow
    from simulator.engine import Outcome
    from simulator.node import NodeSpec
    from simulator.scenario import Point, Scenario
    from simulator.schema import Machine

    Progress = Callable[[int, int, str], None]

TIMELINE_POINTS = 4000
LIBRARIES = ("presage", "numpy", "pydantic", "simpy")
ONE_PLACE = {"local": ("local",), "remote": ("remote",)}


def run(scenario: Scenario, *, progress: Progress | None = None, timeline_points: int = TIMELINE_POINTS) -> Record:
    """Play a scenario through.

    Parameters
    ----------
    progress
        Called with (steps done, all steps, what comes next).
    timeline_points
        Most points of a node's timeline; it changes nothing else.

    Raises
    ------
    InputError
        A model cannot run where the scenario wants it; all such faults at once, before anything runs.
    """
    tell: Progress = progress or (lambda _done, _total, _what: None)
    # Only a claim needs the ends of the band.
    variants = [
        (NOMINAL, LOW, HIGH) if any(speaks_of(claim, point.values) for claim in scenario.claims) else (NOMINAL,)
        for point in scenario.points
    ]
    total = 1 + scenario.replications * sum(map(len, variants))
    tell(0, total, "estimating models on devices")
    estimates = Estimates(scenario.folder)
    _estimate_all(scenario, estimates)
    played = _Played(scenario, estimates, tell, total, timeline_points)
    points = [played.point(point, which) for point, which in zip(scenario.points, variants, strict=True)]
    tell(total, total, "judging")
    runs = tuple(run for point in points for run in point.runs)
    return Record(
        schema=1,
        title=scenario.title,
        question=scenario.question,
        scenario=scenario.text,
        seed=scenario.seed,
        duration_s=scenario.duration_s,
        versions={"python": python_version(), **{name: version(name) for name in LIBRARIES}},
        models=_models(scenario, estimates),
        sources=sources_of(scenario, estimates),
        assumptions=assumptions_of(scenario, estimates, averaged=played.averaged, timeline_points=timeline_points),
        runs=runs,
        verdicts=judge(scenario.expects, scenario.claims, points),
    )


def _estimate_all(scenario: Scenario, estimates: Estimates) -> None:
    """Estimate every model on every machine, and raise all faults at once."""
    wanted: list[tuple[str, str, Machine]] = []
    for point in scenario.points:
        for name, sections in point.nodes:
            work, device, cloud = sections.workload, sections.device, sections.cloud
            wanted.append((f"node {name}, device", work.model, device))
            if cloud is not None:
                wanted.append((f"node {name}, cloud", work.model, cloud))
    estimates.prepare(wanted, scenario.title)


@dataclass
class _Played:
    """The state of one call: what is done, and whether a timeline had to be averaged."""

    scenario: Scenario
    estimates: Estimates
    tell: Progress
    total: int
    timeline_points: int
    done: int = 1
    averaged: bool = False

    def point(self, point: Point, variants: tuple[str, ...]) -> Predicted:
        """Play one point, all replications, at the nominal estimates and at the ends of their band."""
        found: dict[str, list[Run]] = {variant: [] for variant in variants}
        specs: list[NodeSpec] = []
        for replication in range(self.scenario.replications):
            for variant in variants:
                self.tell(self.done, self.total, f"{point.label}, {variant} estimates")
                specs = build(self.scenario, point, self.estimates, Draw(self.scenario.seed, replication, variant))
                workers = point.cloud.workers if point.cloud else 1
                outcomes = simulate(specs, point.duration_s, workers)
                found[variant].append(self._run(point, outcomes, replication, whole=variant == NOMINAL))
                self.done += 1
        band = tuple(run for variant in variants if variant != NOMINAL for run in found[variant])
        return Predicted(
            point.label, point.values, tuple(found[NOMINAL]), band, self._facts(point, specs), point.duration_s
        )

    def _run(self, point: Point, outcomes: list[Outcome], replication: int, *, whole: bool) -> Run:
        """Return a run; only those that go into the record carry timelines."""
        folder = self.scenario.folder
        cloud_grid = load_grid(point.cloud.grid, folder) if point.cloud else None
        pue = pue_of(point.cloud) if point.cloud else 1.0
        nodes, timelines = [], {}
        for (name, sections), outcome in zip(point.nodes, outcomes, strict=True):
            nodes.append(node_result(outcome, load_grid(sections.device.grid, folder), cloud_grid, pue))
            if whole:
                timelines[name], averaged = timeline_of(outcome, self.timeline_points)
                self.averaged |= averaged
        label, settings = point.label, dict(point.settings)
        if self.scenario.replications > 1:
            label, settings["replication"] = f"{label} #{replication + 1}", str(replication + 1)
        return Run(
            label=label, settings=settings, nodes=tuple(nodes), timelines=timelines, requests=requests_of(outcomes)
        )

    def _facts(self, point: Point, specs: list[NodeSpec]) -> tuple[NodeFacts, ...]:
        """Return what bounds need, the nominal service included."""
        facts = []
        for (_, sections), spec in zip(point.nodes, specs, strict=True):
            here = self.estimates.of(sections.workload.model, sections.device)
            there = self.estimates.of(sections.workload.model, sections.cloud) if sections.cloud else here
            facts.append(
                NodeFacts(
                    spec=replace(spec, service=here.service()),
                    macs=here.estimate.macs,
                    local_macs_per_s=here.chip.peak_macs_per_s,
                    cloud_macs_per_s=there.chip.peak_macs_per_s,
                    places=("local",) if spec.stays else ONE_PLACE.get(sections.offload.policy, ("local", "remote")),
                    carbon_g_per_kwh=load_grid(sections.device.grid, self.scenario.folder).intensity_g_per_kwh,
                )
            )
        return tuple(facts)


def _models(scenario: Scenario, estimates: Estimates) -> tuple[ModelRow, ...]:
    """Return each model on each machine once, by role."""
    rows: dict[tuple[str, int], ModelRow] = {}
    for point in scenario.points:
        for name, sections in point.nodes:
            machines = [(f"node {name}", sections.device), ("cloud", sections.cloud)]
            for role, machine in machines:
                if machine is not None:
                    found = estimates.of(sections.workload.model, machine)
                    rows.setdefault((role, id(found)), model_row(role, found))
    return tuple(rows.values())
