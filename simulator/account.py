"""Account: the sources that a run rests on and the assumptions that it makes, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.figures import figures
from reports.formats import engineering
from simulator import profiles

if TYPE_CHECKING:
    from simulator.scenario import Scenario
    from simulator.services import Estimates

ALWAYS = (
    "A device computes one request at a time, first come first served, at the mean power of its estimate.",
    "Requests in flight at the end of the duration are finished; energy is counted until the last of them is.",
    "Energy is integrated exactly at each change of power; state changes of the chip cost no energy of their own.",
)
RADIO = (
    "A radio moves one transfer at a time, whichever direction; in sleep cycles it draws the mean of the cycle.",
    "A transfer waits through an outage and is lost when it would wait longer than the link's patience.",
    "The link is good after the end of the duration; half of the round trip lies on each side of the server.",
    "Of the cloud, only the energy of the requests counts, times its PUE; idle servers are not charged to anyone.",
)


def sources_of(scenario: Scenario, estimates: Estimates) -> dict[str, str]:
    """Return every source that a figure of this run comes from."""
    found: dict[str, str] = {}
    for estimated in estimates.found.values():
        chip = estimated.chip
        found |= {f"device {chip.name}, {key}": text for key, text in chip.sources.items()}
    for point in scenario.points:
        for _, sections in point.nodes:
            grids = [sections.device.grid, *([sections.cloud.grid] if sections.cloud else [])]
            for grid in grids:
                found |= profiles.sources_of(grid, "grids", scenario.folder)
            if sections.link is not None:
                found |= profiles.sources_of(sections.link.profile, "links", scenario.folder)
    defaults = profiles.load_defaults()
    return found | {f"defaults, {key}": text for key, text in defaults.sources.items()}


def assumptions_of(
    scenario: Scenario, estimates: Estimates, *, averaged: bool, timeline_points: int
) -> tuple[str, ...]:
    """Return what a reader must know to judge the record."""
    lines = list(ALWAYS)
    nodes = [sections for point in scenario.points for _, sections in point.nodes]
    if any(node.link is not None for node in nodes):
        lines += RADIO
    if any(node.device.battery is not None for node in nodes):
        lines.append("Battery life is the usable charge over the run's average power; batteries are not charged.")
    if any(node.workload.privacy == "regions" for node in nodes):
        lines.append("With privacy by regions, sensitive regions are blanked: the upload keeps its size.")
    if any(node.workload.privacy == "none" for node in nodes):
        lines.append("Of an upload, the workload's sensitive share counts as sensitive bytes; by default all of it.")
    lines.append("Carbon is operational: device from the meter through the charger's losses, cloud times PUE.")
    lines += _set_by_hand(scenario)
    lines += _assumed(scenario)
    lines += _notes(estimates)
    if averaged:
        lines.append(f"Timelines with more than {timeline_points} steps show mean powers of equal intervals.")
    return tuple(dict.fromkeys(lines))


def _notes(estimates: Estimates) -> list[str]:
    lines = []
    for estimated in estimates.found.values():
        found = estimated.estimate
        lines += [f"{found.model} on {found.device}: {note}" for note in found.notes]
        if not found.fits:
            lines.append(f"{found.model} does not fit {found.device}: every request placed there is lost.")
    return lines


def _set_by_hand(scenario: Scenario) -> list[str]:
    """Return the powers that the scenario puts in place of the device file's."""
    return [
        f"The scenario sets the {state} power of node {name} to {engineering(power_w, 'W')}, not the device file."
        for point in scenario.points
        for name, sections in point.nodes
        for state, power_w in (("idle", sections.device.idle_w), ("sleep", sections.device.sleep_w))
        if power_w is not None
    ]


def _assumed(scenario: Scenario) -> list[str]:
    """Return the figures of link profiles that were assumed, with their ranges."""
    names = [
        sections.link.profile for point in scenario.points for _, sections in point.nodes if sections.link is not None
    ]
    return [
        f"Assumed in link {name}: {place} = {text}."
        for name in dict.fromkeys(names)
        for place, text, _ in figures(profiles.load_link(name, scenario.folder))
        if " .. " in text
    ]
