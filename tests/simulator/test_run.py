"""Run: from a scenario to its record; every argument matters, and nothing else does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from reports.record import Record
from simulator.metrics import METRICS, measure
from simulator.results import PHASES_J, PHASES_S
from simulator.run import run
from simulator.scenario import load_scenario, parse_scenario
from workloads.errors import InputError

BASE = """# Does every argument matter?
title = "Arguments"
duration = "20 min"
seed = 3
replications = 1

[workload]
model = "fc_autoencoder"
arrivals = { process = "poisson", rate = "12 /min" }
deadline = "150 ms"
privacy = "none"
sensitive = 0.5
input_bytes = "20 kB"
output_bytes = "2 kB"

[device]
chip = "stm32h7a3"
frequency = "200 MHz"
grid = "china-2023"
idle = "10 mW"
sleep = "1 mW"
sleep_after = "2 s"

[device.battery]
capacity = "5 Wh"
state_of_charge = 0.9
cutoff = 0.05
efficiency = 0.95
charge_efficiency = 0.9
model = "kibam"
available_share = 0.5
rate = "0.01 /s"

[cloud]
chip = "xeon-8275cl"
threads = 1
workers = 1
grid = "france-2023"
pue = 1.2

[link]
profile = "lte"
up = "5 Mbit/s"
down = "8 Mbit/s"
round_trip = "40 ms"
patience = "5 s"
outages = { every = "5 min", last = "20 s" }
weak = { every = "4 min", last = "30 s", factor = 0.1 }

[offload]
policy = "battery-aware"
low_battery = 0.1
minimum_uplink = "100 kbit/s"
"""


POLICY = ('policy = "battery-aware"', "low_battery = 0.1", 'minimum_uplink = "100 kbit/s"')


def play(text: str, **options) -> Record:
    return run(parse_scenario(text), **options)


def figures(record: Record) -> str:
    """All that was predicted, without the words of the scenario itself."""
    return "".join(run.model_dump_json(exclude={"label", "settings"}) for run in record.runs)


@pytest.fixture(scope="module")
def base() -> Record:
    return play(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 3", "seed = 4"),
        ("replications = 1", "replications = 2"),
        ('duration = "20 min"', 'duration = "21 min"'),
        ('"fc_autoencoder"', '"dscnn_kws"'),
        ('"12 /min"', '"13 /min"'),
        ('process = "poisson", rate = "12 /min"', 'process = "periodic", every = "5 s"'),
        ('deadline = "150 ms"', 'deadline = "1 ms"'),
        ('privacy = "none"', 'privacy = "regions"'),
        ('privacy = "none"', 'privacy = "all"'),
        ("sensitive = 0.5", "sensitive = 0.6"),
        ('"20 kB"', '"21 kB"'),
        ('"2 kB"', '"3 kB"'),
        ('chip = "stm32h7a3"\nfrequency = "200 MHz"', 'chip = "unit"\nfrequency = "1 MHz"'),
        ('frequency = "200 MHz"', 'frequency = "220 MHz"'),
        ('grid = "china-2023"', 'grid = "india-2023"'),
        ('idle = "10 mW"', 'idle = "11 mW"'),
        ('sleep = "1 mW"', 'sleep = "2 mW"'),
        ('sleep_after = "2 s"', 'sleep_after = "3 s"'),
        ('"5 Wh"', '"6 Wh"'),
        ("state_of_charge = 0.9", "state_of_charge = 0.8"),
        ("cutoff = 0.05", "cutoff = 0.06"),
        ("efficiency = 0.95", "efficiency = 0.96"),
        ("charge_efficiency = 0.9", "charge_efficiency = 0.8"),
        ('model = "kibam"\navailable_share = 0.5\nrate = "0.01 /s"', ""),
        ("available_share = 0.5", "available_share = 0.4"),
        ('rate = "0.01 /s"', 'rate = "0.02 /s"'),
        ('chip = "xeon-8275cl"', 'chip = "epyc-9v45"'),
        ("threads = 1", "threads = 2"),
        ('grid = "france-2023"', 'grid = "usa-2023"'),
        ("pue = 1.2", "pue = 1.3"),
        ("pue = 1.2", ""),
        ('profile = "lte"', 'profile = "5g-nsa"'),
        ('up = "5 Mbit/s"', 'up = "6 Mbit/s"'),
        ('down = "8 Mbit/s"', 'down = "9 Mbit/s"'),
        ('round_trip = "40 ms"', 'round_trip = "50 ms"'),
        ('patience = "5 s"', 'patience = "6 s"'),
        ('every = "5 min"', 'every = "6 min"'),
        ('last = "20 s"', 'last = "21 s"'),
        ('every = "4 min"', 'every = "3 min"'),
        ('last = "30 s"', 'last = "31 s"'),
        ("factor = 0.1", "factor = 0.2"),
        ("factor = 0.1", 'up = "1 Mbit/s", down = "1 Mbit/s"'),
        ("\n".join(POLICY), 'policy = "remote"'),
        ("low_battery = 0.1", "low_battery = 0.89"),
        ('minimum_uplink = "100 kbit/s"', 'minimum_uplink = "6 Mbit/s"'),
    ],
)
def test_every_argument_matters(old, new):
    # Most arguments show when everything is offloaded, some only on the device, or with a battery that empties.
    text = BASE if "deadline" in old else BASE.replace('deadline = "150 ms"\n', "")
    if not any(key in old for key in POLICY):
        place = "local" if "frequency" in old else "remote"
        text = text.replace("\n".join(POLICY), f'policy = "{place}"')
    if any(key in old for key in ("cutoff", "kibam", '/s"')):
        text = text.replace('"5 Wh"', '"0.2 Wh"')
    assert old in text
    assert figures(play(text)) != figures(play(text.replace(old, new, 1)))


def test_workers_matter_when_they_are_few():
    text = BASE.replace('chip = "xeon-8275cl"\nthreads = 1', 'chip = "unit"').replace('"12 /min"', '"200 /min"')
    text = text.replace("\n".join(POLICY), 'policy = "remote"')
    text = text.replace('profile = "lte"', 'profile = "wifi"').replace('duration = "20 min"', 'duration = "2 min"')
    assert figures(play(text)) != figures(play(text.replace("workers = 1", "workers = 2")))


def test_the_same_seed_gives_the_same_record_byte_for_byte(base):
    assert play(BASE).model_dump_json(by_alias=True) == base.model_dump_json(by_alias=True)


def test_the_reporting_interval_changes_nothing(base):
    coarse = play(BASE, timeline_points=20)
    assert coarse.runs[0].nodes == base.runs[0].nodes
    assert coarse.runs[0].requests == base.runs[0].requests
    assert len(coarse.runs[0].timelines["device"].time_s) <= 21
    fine, rough = (record.runs[0].timelines["device"] for record in (base, coarse))
    for part in fine.power_w:
        assert _under(rough, part) == pytest.approx(_under(fine, part), rel=1e-9)


def _under(timeline, part: str) -> float:
    spans = [after - before for before, after in zip(timeline.time_s, timeline.time_s[1:], strict=False)]
    return math.fsum(span * watts for span, watts in zip(spans, timeline.power_w[part], strict=False))


def test_a_node_adds_up(base):
    (node,) = base.runs[0].nodes
    columns = base.runs[0].requests.columns
    assert node.requests == node.served + node.missed + node.lost == len(columns["node"])
    assert node.local + node.remote == node.requests
    spent = math.fsum(node.energy_by_part_j.values())
    assert spent == pytest.approx(5 * 3600 * (node.battery_start - node.battery_end), rel=1e-9)
    assert node.average_power_w * node.span_s == pytest.approx(spent)
    assert node.carbon_by_part_g["device"] == pytest.approx(spent / 0.9 / 3.6e6 * 582)
    assert node.carbon_by_part_g["cloud"] == pytest.approx(node.cloud_energy_j * 1.2 / 3.6e6 * 56)
    assert node.carbon_g == pytest.approx(math.fsum(node.carbon_by_part_g.values()))
    assert node.sensitive_bytes == 10_000 * node.remote
    assert len({len(column) for column in columns.values()}) == 1
    for phase in (*PHASES_S, *PHASES_J):
        assert min(columns[phase]) >= 0.0
    assert math.fsum(columns["compute_j"]) == pytest.approx(node.energy_by_part_j["compute"], rel=1e-6)
    assert math.fsum(columns["cloud_j"]) == pytest.approx(node.cloud_energy_j)


def test_a_record_survives_writing_and_reading(base):
    assert Record.model_validate_json(base.model_dump_json(by_alias=True)) == base


def test_the_record_accounts_for_itself(base):
    assert base.question == "Does every argument matter?"
    assert {model.role for model in base.models} == {"node device", "cloud"}
    assert all(model.layers for model in base.models)
    assert any(name.startswith("link lte") for name in base.sources)
    assert any(name.startswith("device stm32h7a3") for name in base.sources)
    assert any("idle power of node device to 10.0 mW" in line for line in base.assumptions)
    assert {"presage", "python", "simpy"} <= set(base.versions)


def test_compared_points_share_their_random_numbers():
    text = BASE + '[compare]\n"offload.policy" = ["local", "remote"]\n'
    text = text.replace('low_battery = 0.1\nminimum_uplink = "100 kbit/s"\n', "")
    local, remote = play(text).runs
    assert local.requests.columns["arrival_s"] == remote.requests.columns["arrival_s"]
    assert (local.label, remote.label) == ("local", "remote")
    assert set(local.requests.columns["place"]) == {"local"}
    assert set(remote.requests.columns["place"]) == {"remote"}


def test_replications_differ_and_are_labelled():
    first, second = play(BASE.replace("replications = 1", "replications = 2")).runs
    assert (first.label, second.label) == ("as written #1", "as written #2")
    assert first.requests != second.requests


def test_private_input_stays_on_the_device():
    record = play(BASE.replace('privacy = "none"', 'privacy = "all"'))
    assert set(record.runs[0].requests.columns["place"]) == {"local"}
    assert measure("privacy.sensitive_bytes", record.runs[0]) == 0.0


def test_every_metric_exists_for_a_node_with_a_battery(base):
    for name in METRICS:
        assert measure(f"device:{name}", base.runs[0]) == measure(name, base.runs[0])
        assert measure(name, base.runs[0]) is not None


def test_a_node_on_mains_has_no_battery_figures():
    start, end = BASE.index("[device.battery]"), BASE.index("[cloud]")
    (run_,) = play(BASE[:start] + BASE[end:]).runs
    assert run_.nodes[0].battery_end is None
    assert measure("battery.life", run_) is None
    assert set(run_.nodes[0].energy_by_part_j) == {"compute", "radio", "idle"}


def test_a_run_without_requests_is_a_record():
    record = play(BASE.replace('rate = "12 /min"', 'rate = "0.000001 /d"'))
    assert record.runs[0].nodes[0].requests == 0
    assert record.runs[0].nodes[0].latency_mean_s is None


def test_what_a_machine_cannot_do_is_said_before_anything_runs():
    wrong = BASE.replace("threads = 1", 'threads = 999\nprecision = "int3"').replace('"200 MHz"', '"9 GHz"')
    with pytest.raises(InputError) as caught:
        play(wrong)
    text = "\n".join(caught.value.problems)
    assert "device.frequency: 9000 MHz" in text
    assert "cloud.threads: 999" in text
    assert "cloud.precision: no 'int3'" in text


def test_progress_counts_to_the_end():
    told = []
    play(BASE, progress=lambda done, total, what: told.append((done, total, what)))
    assert [done for done, _, _ in told] == [0, 1, 2]
    assert all(total == 2 for _, total, _ in told)


@pytest.fixture(scope="module")
def clinic() -> Record:
    return run(load_scenario(Path(__file__).parents[2] / "scenarios" / "village_clinic.toml"))


def test_the_village_clinic_compares_four_policies(clinic):
    assert [found.label for found in clinic.runs] == ["local", "remote", "deadline", "battery-aware"]
    assert all({node.node for node in found.nodes} == {"phone", "wristband"} for found in clinic.runs)
    assert {verdict.verdict for verdict in clinic.verdicts if verdict.kind == "expect"} == {"met"}
    assert sum(verdict.kind == "claim" for verdict in clinic.verdicts) >= 5


def test_the_village_clinic_keeps_its_laws(clinic):
    for found in clinic.runs:
        for node in found.nodes:
            assert node.requests == node.served + node.missed + node.lost
        local = next(item for item in clinic.runs if item.label == "local")
        assert found.requests.columns["arrival_s"] == local.requests.columns["arrival_s"]
    reasons = set(clinic.runs[3].requests.columns["reason"])
    assert {"weak network", "battery low", "good network, battery not low"} <= reasons
