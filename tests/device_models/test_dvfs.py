"""Operating points: clocks choose a supply; wait states and power follow it."""

from __future__ import annotations

from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_models.device import load_device
from device_models.dvfs import (
    access_rate,
    at_supply,
    point_at,
    supply_factor,
    supply_notes,
    voltage_factor,
    wait_states,
)
from device_models.energy import Activity, busy_power, energy, idle_power
from device_models.memory import Traffic, memory_time
from workloads.errors import InputError

UNIT = (files("device_models") / "catalog" / "unit.toml").read_text(encoding="utf-8")

# A made-up microcontroller whose numbers one can do in the head: 100 MHz, three supplies, flash of 400 MB/s.
BOARD = (
    UNIT.replace('frequency = ["1 MHz"', 'frequency = ["100 MHz"')
    .replace('maximum = ["1 MHz"', 'maximum = ["200 MHz"')
    .replace('holds = ["weights", "activations"]', 'holds = ["activations"]')
    .replace('per_cycle = ["1 J/cycle"', 'per_cycle = ["2 nJ/cycle"')
    .replace('idle = ["0 W"', 'idle = ["40 mW"')
    .replace(
        "[power]",
        '[memory.flash]\nsize = ["1 GiB", "double"]\nbandwidth = ["400 MB/s", "double"]\nwaits = true\n'
        'bytes_per_cycle = ["10 B/cycle", "double"]\n'
        'holds = ["weights"]\n\n[power]',
    )
)
POINTS = """
[[operating_point]]
name = "slow"
frequency = ["40 MHz", "double"]
voltage = ["0.5 V", "double"]
wait_step = ["20 MHz", "double"]
idle = ["10 mW", "double"]
per_cycle = ["1 nJ/cycle", "double"]

[[operating_point]]
name = "usual"
frequency = ["100 MHz", "double"]
voltage = ["1 V", "double"]
wait_step = ["25 MHz", "double"]

[[operating_point]]
name = "fast"
frequency = ["200 MHz", "double"]
voltage = ["1.5 V", "double"]
wait_step = ["50 MHz", "double"]

[sources]"""


@pytest.fixture
def written(tmp_path):
    """Return a function that writes the board, changed by replacements, and gives its path."""

    def write(*replacements: tuple[str, str]) -> str:
        text = BOARD.replace("[sources]", POINTS)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "board.toml").write_text(text, encoding="utf-8")
        return str(tmp_path / "board.toml")

    return write


@pytest.fixture
def board(written):
    return load_device(written())


@pytest.mark.parametrize(
    ("clock_mhz", "name"), [(1, "slow"), (40, "slow"), (41, "usual"), (100, "usual"), (101, "fast"), (200, "fast")]
)
def test_a_clock_runs_at_the_lowest_supply_that_serves_it(board, clock_mhz, name):
    assert point_at(board, clock_mhz * 1e6).name == name


@pytest.mark.parametrize(("clock_mhz", "states"), [(10, 0), (20, 0), (21, 1), (40, 1), (41, 1), (100, 3), (200, 3)])
def test_wait_states_are_counted_in_steps_of_the_clock(board, clock_mhz, states):
    assert wait_states(board, clock_mhz * 1e6) == states


def test_flash_takes_an_access_per_cycle_and_its_wait_states(board):
    """At 100 MHz an access takes 4 cycles, so 16 B; at 40 MHz 2 cycles: 20 MHz x 16 B."""
    assert board.read_bytes_per_s("flash", 100e6) == pytest.approx(400e6)
    assert board.read_bytes_per_s("flash", 40e6) == pytest.approx(320e6)
    assert board.read_bytes_per_s("flash", 200e6) == pytest.approx(800e6)
    assert board.read_bytes_per_s("flash", 20e6) == pytest.approx(200e6)  # the bus: 10 B x 20 MHz
    moved = [Traffic("flash", 320, 0)]
    assert memory_time(moved, board, 40e6) == (pytest.approx(1e-6), "flash")


def test_power_of_a_point_of_its_own_is_taken_there(board):
    assert idle_power(board, 40e6) == pytest.approx(10e-3)
    assert busy_power(board, 1, 40e6) == pytest.approx(40e-3)  # 1 nJ x 40 MHz
    assert busy_power(board, 1, 20e6) == pytest.approx(25e-3)  # half way to idle
    assert energy(board, Activity(2.0, 0, 0), 1, 40e6) == pytest.approx(80e-3)


def test_switching_goes_with_the_clock_and_the_square_of_the_voltage(board):
    """200 mW at 100 MHz and 1 V, 40 of them idle: at 200 MHz and 1.5 V, 40 + 160 x 2 x 2.25."""
    assert busy_power(board, 1, 100e6) == pytest.approx(200e-3)
    assert busy_power(board, 1, 200e6) == pytest.approx(760e-3)
    assert voltage_factor(board, 40e6) == pytest.approx(0.25)


def test_the_square_of_the_voltage_is_what_a_measured_chip_follows():
    """GAP9, MLPerf Tiny v1.0: 28.93 mW at 240 MHz and 0.65 V, 64.91 mW at 370 MHz and 0.8 V."""
    chip = load_device("gap9")
    assert busy_power(chip, 9, 240e6) == pytest.approx(28.93e-3, rel=1e-3)
    assert busy_power(chip, 9, 370e6) == pytest.approx(64.91e-3, rel=1e-3)
    assert voltage_factor(chip, 240e6) == pytest.approx((28.93 / 240) / (64.91 / 370), rel=0.05)


def test_a_board_saves_more_than_the_clock_where_its_voltage_falls():
    """JH7110: 0.8 V up to 750 MHz, 1.04 V at 1.5 GHz."""
    board = load_device("jh7110")
    above = busy_power(board, 4, 1.5e9) - idle_power(board, 1.5e9)
    assert busy_power(board, 4, 750e6) - idle_power(board, 750e6) == pytest.approx(above / 2 * (0.8 / 1.04) ** 2)


SUPPLY = """
[supply]
voltage = ["2 V", "double"]
minimum = ["1.5 V", "double"]
maximum = ["3 V", "double"]
regulator = "linear"

[power]"""


def test_power_goes_with_the_supply_through_a_linear_regulator(written):
    """200 mW busy and 40 mW idle at 2 V: half as much again at 3 V."""
    board = at_supply(load_device(written(("\n[power]", SUPPLY))), 3.0)
    assert busy_power(board, 1, 100e6) == pytest.approx(300e-3)
    assert idle_power(board, 100e6) == pytest.approx(60e-3)
    assert idle_power(board, 40e6) == pytest.approx(15e-3)
    assert energy(board, Activity(2.0, 0, 0), 1, 100e6) == pytest.approx(0.6)


def test_power_stays_through_a_switching_regulator(written):
    board = load_device(written(("\n[power]", SUPPLY.replace("linear", "switching"))))
    assert busy_power(at_supply(board, 3.0), 1, 100e6) == busy_power(board, 1, 100e6)


def test_what_a_layer_adds_per_byte_goes_with_the_supply_too(written):
    board = load_device(written(("\n[power]", SUPPLY + '\nper_byte = ["1 nJ/B", "double"]')))
    per_byte_j = energy(at_supply(board, 3.0), Activity(0.0, 0, 10**9), 1, 100e6)
    assert per_byte_j == pytest.approx(1.5)


def test_the_supply_of_the_figures_changes_nothing(written):
    board = load_device(written(("\n[power]", SUPPLY)))
    assert at_supply(board, 2.0) is board
    assert supply_factor(board) == 1.0
    assert supply_notes(board) == ()


@pytest.mark.parametrize(("volts", "problem"), [(3.1, "3.1 V; expected 1.5 V to 3 V"), (1.4, "1.4 V; expected 1.5 V")])
def test_a_supply_that_the_chip_does_not_take_is_refused(written, volts, problem):
    with pytest.raises(InputError, match="supply voltage") as caught:
        at_supply(load_device(written(("\n[power]", SUPPLY))), volts)
    assert problem in str(caught.value)


def test_a_supply_of_which_nothing_is_known_is_refused(board):
    with pytest.raises(InputError, match="how its power follows is not known"):
        at_supply(board, 3.0)


def test_a_supply_outside_its_own_ends_is_refused(written):
    with pytest.raises(InputError, match="expected 0 < minimum <= voltage <= maximum"):
        load_device(written(("\n[power]", SUPPLY.replace("1.5 V", "2.5 V"))))


@given(st.floats(1e6, 280e6))
@settings(max_examples=50, deadline=None)
def test_accesses_never_come_faster_than_a_step_of_the_clock(clock_hz):
    device = load_device("stm32h7a3")
    accesses_hz = access_rate(device, clock_hz) * device.frequency_hz / (1 + wait_states(device, device.frequency_hz))
    assert clock_hz / (2 + wait_states(device, clock_hz)) < accesses_hz
    assert accesses_hz <= point_at(device, clock_hz).wait_step.value * (1 + 1e-12)


def test_a_device_without_points_has_one_supply_for_all_clocks():
    device = load_device("unit")
    assert point_at(device, 1e6) is None
    assert wait_states(device, 1e6) is None
    assert (access_rate(device, 0.5e6), voltage_factor(device, 0.5e6)) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('frequency = ["200 MHz", "double"]\nv', 'frequency = ["190 MHz", "double"]\nv', "expected rising frequencies"),
        ('frequency = ["40 MHz"', 'frequency = ["120 MHz"', "expected rising frequencies"),
        ('name = "usual"', 'name = "usual"\nidle = ["1 mW", "double"]', "power at the nominal clock belongs under"),
        ('wait_step = ["25 MHz", "double"]\n', "", "a memory waits, so each point needs a wait_step"),
        ('per_cycle = ["2 nJ/cycle", "double"]', 'per_mac = ["2 nJ/MAC", "double"]', "per_cycle needs that of the"),
    ],
)
def test_points_that_contradict_the_device_are_refused(written, old, new, problem):
    with pytest.raises(InputError, match="operating_point: ") as caught:
        load_device(written((old, new)))
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]


def test_a_memory_that_waits_needs_a_bandwidth(written):
    with pytest.raises(InputError, match=r"memory\.flash: waits needs the bandwidth at the nominal clock"):
        load_device(written(('bandwidth = ["400 MB/s", "double"]\n', "")))
