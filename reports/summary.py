"""The answer of a run in sentences: which policy is best in what, and what the reader must not forget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.formats import duration, engineering, percent, significant
from reports.tables import grams, nodes, results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reports.record import ModelRow, NodeResult, Record, Run

Pairs = list[tuple["Run", "NodeResult"]]


@dataclass(frozen=True)
class Standing:
    """Who leads in one respect: the labels that tie for it, what they are, and the figure that shows it."""

    winners: tuple[str, ...]
    merit: str
    figure: str
    doubt: str = ""


def headline(record: Record) -> list[str]:
    """One sentence per node that answers the question; plain text."""
    return [_node_sentence(record, node) for node in nodes(record)]


def caveats(record: Record) -> list[str]:
    """Say what the reader must know before trusting the answer: violations, what does not fit, error bands."""
    violated = [verdict for verdict in record.verdicts if verdict.verdict == "violated"]
    found = [
        f"Expectation violated: {verdict.metric} of {verdict.run} is {verdict.predicted}, expected {verdict.stated}."
        for verdict in violated
    ]
    found += [
        f"{row.model} does not fit {row.device} ({row.role})."
        for row in _distinct(record.models)
        if not row.fits
    ]  # fmt: skip
    fitted = [row for row in _distinct(record.models) if row.calibrated]
    assumed = [row for row in _distinct(record.models) if not row.calibrated]
    if fitted:
        found.append(f"Latencies fitted to measurements, and the error to expect: {_bands(fitted)}.")
    if assumed:
        found.append(f"Uncalibrated latencies, fitted to no measurement, and the error to expect: {_bands(assumed)}.")
    return found


def _distinct(rows: Sequence[ModelRow]) -> list[ModelRow]:
    return list({(row.model, row.device, row.runtime, row.precision): row for row in rows}.values())


def _bands(rows: Sequence[ModelRow]) -> str:
    return ", ".join(f"{row.model} on {row.device} ({row.runtime}) {_factors(row)}" for row in rows)


def _factors(row: ModelRow) -> str:
    low, high = _ratio(row.latency_low_s, row.latency_s), _ratio(row.latency_high_s, row.latency_s)
    return f"{significant(low, 2)} to {significant(high, 2)} times"


def _ratio(value: float, reference: float) -> float:
    # A device that costs nothing has no band.
    return value / reference if reference else 1.0


def _node_sentence(record: Record, node: str) -> str:
    pairs = results(record, node)
    if not any(result.requests for _, result in pairs):
        return f"On {node}, no request arrived."
    if len(pairs) == 1:
        return f"On {node}, {_single(pairs[0][1])}{_brownouts(pairs)}."
    standings = [standing for standing in _standings(pairs, band_factor(record, node)) if standing]
    return f"On {node}, {_joined(standings, len(pairs))}{_contrast(pairs)}{_brownouts(pairs)}."


def _single(result: NodeResult) -> str:
    clauses = []
    if result.latency_p50_s is not None:
        tail = "" if result.latency_p95_s is None else f" and {duration(result.latency_p95_s)} at the 95th percentile"
        clauses.append(f"answers take {duration(result.latency_p50_s)} at the median{tail}")
    clauses.append(_reliability(result))
    if result.battery_end is not None:
        start = "" if result.battery_start is None else f"goes from {percent(result.battery_start)} to "
        clauses.append(f"the battery {start or 'ends at '}{percent(result.battery_end)}")
    clauses.append(f"carbon is {grams(result.carbon_g)} CO2e")
    return "; ".join(clauses)


def _reliability(result: NodeResult) -> str:
    if not result.missed and not result.lost:
        return f"all {result.requests} requests are answered in time"
    return (
        f"{result.served} of {result.requests} requests are answered in time, {result.missed} late, {result.lost} never"
    )


def _standings(pairs: Pairs, factor: float) -> list[Standing | None]:
    def late(result: NodeResult) -> float:
        return result.missed + result.lost

    ends = {percent(result.battery_end) for _, result in pairs if result.battery_end is not None}
    return [
        _leader(pairs, lambda r: r.latency_p95_s, duration, "fastest", "95 % of answers within {}", factor),
        _leader(pairs, late, _late_text, "most dependable", "{}"),
        _leader(pairs, lambda r: r.battery_end, percent, "easiest on the battery", "{} of the battery left", high=True)
        if len(ends) > 1
        else _leader(pairs, lambda r: r.average_power_w, _watts, "thriftiest", "{} on average"),
        _leader(pairs, lambda r: r.carbon_g, _carbon, "lowest in carbon", "{}"),
    ]


def _watts(value: float) -> str:
    return engineering(value, "W")


def _carbon(value: float) -> str:
    return f"{grams(value)} CO2e"


def _late_text(value: float) -> str:
    return f"{value:.0f} late or lost" if value else "none late or lost"


def _leader(
    pairs: Pairs,
    value: Callable[[NodeResult], float | None],
    show: Callable[[float], str],
    merit: str,
    figure: str,
    factor: float = 1.0,
    *,
    high: bool = False,
) -> Standing | None:
    """Who is best by one figure: those that show the same best text tie; others within the band leave it open."""
    found = [(run.label, measured) for run, result in pairs if (measured := value(result)) is not None]
    if not found:
        return None
    best = (max if high else min)(measured for _, measured in found)
    winners = tuple(label for label, measured in found if show(measured) == show(best))
    near = [label for label, measured in found if factor > 1 and label not in winners and measured <= best * factor]
    doubt = f"{_and(near)} {'is' if len(near) == 1 else 'are'} within the error band of that" if near else ""
    return Standing(winners, merit, figure.format(show(best)), doubt)


def band_factor(record: Record, node: str) -> float:
    """How far off, as a factor, the predicted latencies of what this node uses may be."""
    used = [row for row in record.models if row.role == f"node {node}" or not row.role.startswith("node ")]
    ratios = [max(_ratio(row.latency_high_s, row.latency_s), _ratio(row.latency_s, row.latency_low_s)) for row in used]
    return max(ratios, default=1.0)


def _joined(standings: Sequence[Standing], count: int) -> str:
    leaders = [label for label in standings[0].winners if all(label in standing.winners for standing in standings)]
    if len(leaders) == 1:
        return (
            f"{leaders[0]} is best in every respect: {_and([_shared(standing, leaders[0]) for standing in standings])}"
        )
    groups: dict[tuple[str, ...], list[Standing]] = {}
    for standing in standings:
        groups.setdefault(standing.winners, []).append(standing)
    if len(leaders) == count:
        return f"{_all(count)} are alike: {_and([standing.figure for standing in standings])}"
    # What tells the policies apart comes first; what is the same for all comes last.
    ordered = sorted(groups.items(), key=lambda item: (len(item[0]) == count, -len(item[1])))
    return "; ".join(
        f"{_all(count)} are alike in the rest ({_and([standing.figure for standing in group])})"
        if len(winners) == count
        else _group(winners, group)
        for winners, group in ordered
    )


def _all(count: int) -> str:
    return "both" if count == 2 else f"all {count}"


def _shared(standing: Standing, leader: str) -> str:
    others = [label for label in standing.winners if label != leader]
    remarks = [*([f"equal to {_and(others)}"] if others else []), *([standing.doubt] if standing.doubt else [])]
    return f"{standing.figure} ({'; '.join(remarks)})" if remarks else standing.figure


def _group(winners: tuple[str, ...], group: Sequence[Standing]) -> str:
    merits = _and([f"{standing.merit} ({_figure(standing)})" for standing in group])
    return f"{winners[0]} is {merits}" if len(winners) == 1 else f"{_and(winners)} tie as {merits}"


def _figure(standing: Standing) -> str:
    return f"{standing.figure}; {standing.doubt}" if standing.doubt else standing.figure


def _contrast(pairs: Pairs) -> str:
    """Clause on the policy that serves worst, so that the best has something to be compared with."""

    def badness(pair: tuple[Run, NodeResult]) -> tuple[int, float]:
        return pair[1].missed + pair[1].lost, pair[1].latency_p95_s or 0.0

    worst = max(badness(pair) for pair in pairs)
    labels = [pair[0].label for pair in pairs if badness(pair) == worst]
    if len(labels) > len(pairs) / 2:
        return ""
    late, p95_s = worst
    tail = f", with {late} of {pairs[0][1].requests} requests late or lost" if late else ""
    verb = "serves" if len(labels) == 1 else "serve"
    return f"; {_and(labels)} {verb} worst (95 % of answers within {duration(p95_s)}{tail})"


def _brownouts(pairs: Pairs) -> str:
    stops = [(run.label, result.brownout_s) for run, result in pairs if result.brownout_s is not None]
    if not stops:
        return ""
    if len(pairs) == 1:
        return f"; the battery reaches its cut-off after {duration(stops[0][1])}"
    texts = [f"under {label} after {duration(time_s)}" for label, time_s in stops]
    return f"; the battery reaches its cut-off {_and(texts)}"


def _and(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
