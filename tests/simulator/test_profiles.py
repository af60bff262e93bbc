"""Profiles: every figure has its source; wrong files are refused."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from simulator.arrivals import periodic, poisson, stream
from simulator.grid import operational_g
from simulator.profiles import known, load_defaults, load_grid, load_link, sources_of
from workloads.errors import InputError

GRIDS = {  # gCO2e/kWh, 2023
    "china-2023": 582,
    "usa-2023": 369,
    "germany-2023": 381,
    "france-2023": 56,
    "united-kingdom-2023": 238,
    "india-2023": 713,
    "japan-2023": 485,
    "sweden-2023": 41,
}


def test_all_bundled_profiles_load_with_sources():
    for name in known("links"):
        assert load_link(name).the_radio().idle.last_s == math.inf
        assert sources_of(name, "links")
    assert {name: load_grid(name).intensity_g_per_kwh for name in known("grids")} == GRIDS
    assert load_defaults().cloud.pue.value >= 1.0


def test_lte_and_5g_have_the_measured_round_trips():
    assert load_link("lte").link.round_trip.value == 0.0745
    assert load_link("5g-nsa").link.round_trip.value == 0.0675
    assert load_link("5g-nsa").link.up.value == 71.6e6
    assert 10.5 <= load_link("5g-nsa").the_radio().tail_s <= 10.7


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(InputError, match=re.escape("did you mean '5g-nsa'?")):
        load_link("5g-nsb")


def test_a_profile_with_a_bare_figure_is_refused(tmp_path):
    path = tmp_path / "g.toml"
    path.write_text(
        'schema = 1\ntitle = "x"\nkind = "average"\nintensity = "5 g/kWh"\n[sources]\na = "b"\n', encoding="utf-8"
    )
    with pytest.raises(InputError, match="is a figure without a source"):
        load_grid("g.toml", tmp_path)


def test_a_profile_with_an_unused_source_is_refused(tmp_path):
    path = tmp_path / "g.toml"
    path.write_text(
        'schema = 1\ntitle = "x"\nkind = "average"\nintensity = ["5 g/kWh", "a"]\n[sources]\na = "b"\nc = "d"\n',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="no figure uses it"):
        load_grid("g.toml", tmp_path)


def test_carbon_follows_the_way_of_the_energy():
    assert operational_g(3.6e6, 582.0) == 582.0
    assert operational_g(3.6e6, 582.0, efficiency=0.5) == 1164.0
    assert operational_g(3.6e6, 582.0, pue=1.5) == 873.0
    # (1.85 - 1.27) kWh at China's mix of 2023 is 0.34 kg.
    assert operational_g((1.85 - 1.27) * 3.6e6, 582.0) == pytest.approx(338, abs=1)


def test_poisson_arrivals_have_their_rate_and_their_spread():
    times = poisson(stream(1, 0, 0, 0), 5.0, 10_000.0)
    assert len(times) == pytest.approx(50_000, rel=0.02)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.05)
    assert all(0.0 <= time < 10_000.0 for time in times)


def test_periodic_arrivals_are_in_step_and_end_before_the_horizon():
    assert periodic(2.0, 0.0, 6.0) == [0.0, 2.0, 4.0]
    assert periodic(2.0, 1.0, 6.0) == [1.0, 3.0, 5.0]
    assert periodic(2.0, 7.0, 6.0) == []


def test_streams_are_independent_of_each_other():
    first = [stream(1, 0, 0, purpose).random() for purpose in range(5)]
    assert len(set(first)) == 5
    assert stream(1, 0, 0, 0).random() == first[0]
    assert stream(1, 1, 0, 0).random() != first[0] != stream(1, 0, 1, 0).random()
