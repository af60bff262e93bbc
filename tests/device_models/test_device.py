"""Device files are validated at the edge, completely: every figure has a source, every source a figure."""

from __future__ import annotations

from importlib.resources import files

import pytest

from device_models.cores import load_core
from device_models.device import load_device
from device_models.figures import figures
from workloads.errors import InputError

UNIT = (files("device_models") / "catalog" / "unit.toml").read_text(encoding="utf-8")


@pytest.fixture
def changed(tmp_path):
    """Return a function that writes the unit device with some text replaced, and gives its path."""

    def write(*replacements: tuple[str, str]) -> str:
        text = UNIT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "board.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def problems_of(path: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_device(path)
    assert caught.value.path == path
    return list(caught.value.problems)


def test_a_device_file_at_any_path_is_a_device(changed):
    device = load_device(
        changed(('frequency = ["1 MHz"', 'frequency = ["2 MHz"'), ('maximum = ["1 MHz"', 'maximum = ["4 MHz"'))
    )
    assert device.name == "board"
    assert device.frequency_hz == 2e6
    assert device.core.name == "unit"


def test_all_faults_are_listed_at_once(changed):
    path = changed(
        ('cores = [1, "double"]', 'cores = [0, "double"]'),
        ('softmax = ["0 cycle/element"', 'softmax = ["0 J"'),
        ("[overhead]", '[overhead]\nlayr = ["1 cycle", "double"]'),
        ('idle = ["0 W", "double"]', 'idle = "0 W"'),
    )
    assert problems_of(path) == [
        "compute.cores: 0 is not a number of cores; expected at least 1",
        "power.idle: '0 W' is a figure without a source; write [value, source]",
        "overhead.layr: unknown key; did you mean 'layer'?",
        "operators.softmax: '0 J' has unit 'J'; expected cycle/element (with an SI prefix)",
    ]


def test_a_figure_whose_source_is_missing_is_refused(changed):
    path = changed(('idle = ["0 W", "double"]', 'idle = ["0 W", "data-sheet"]'))
    assert problems_of(path) == ["power.idle: source 'data-sheet' is not in [sources]"]


def test_a_source_that_nothing_uses_is_refused(changed):
    path = changed(("[sources]", '[sources]\nspare = "A data sheet."'))
    assert problems_of(path) == ["sources.spare: no figure uses it; remove it or name it beside a figure"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            '["0 W", "double"]',
            '["0 W", "double", "0 to 1"]',
            "power.idle: '0 to 1' is not a range; write \"low .. high\"",
        ),
        (
            '["0 W", "double"]',
            '["0 W", "double", "1 W .. 2 W"]',
            "power.idle: the value of '0 W (1 W .. 2 W)' is outside",
        ),
        ('["0 W", "double"]', '["0 W", "double", "0 W .. 2 J"]', "power.idle (range): '2 J' has unit 'J'; expected W"),
        ('["0 W", "double"]', '["0 W"]', "power.idle: ['0 W'] is not a figure; write [value, source]"),
        ("schema = 1", "schema = 2", "schema: 2 is unknown; expected 1"),
        ("schema = 1", "schema = ", "is not TOML"),
        ('core = "unit"', 'core = "unti"', "core: 'unti' is unknown; did you mean 'unit'?"),
        ('holds = ["weights", "activations"]', 'holds = ["weights"]', "memory: no level holds activations"),
        (
            "[power]",
            '[power]\nactive = ["1 W", "double"]',
            "power: expected exactly one of per_cycle, active and per_mac",
        ),
        ('minimum = ["1 MHz"', 'minimum = ["2 MHz"', "clock: expected 0 < minimum <= frequency <= maximum"),
        (
            'size = ["1 GiB", "double"]',
            'size = ["1 GiB", "double"]\nbandwidth = ["1 GB/s", "double"]\nbytes_per_cycle = ["1 B/cycle", "double"]',
            "memory.ram: bandwidth and bytes_per_cycle exclude each other; keep one",
        ),
    ],
)
def test_each_fault_says_where_and_what_to_do(changed, old, new, problem):
    found = problems_of(changed((old, new)))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_device(str(tmp_path / "none.toml"))


def test_an_unknown_device_suggests_the_nearest():
    with pytest.raises(InputError, match="'stm32h7a' is unknown; did you mean 'stm32h7a3'"):
        load_device("stm32h7a")


def test_an_alias_names_the_same_device():
    assert load_device("StarFive VisionFive 2 (JH7110)") is load_device("jh7110")


def test_a_timing_whose_source_is_missing_is_refused(tmp_path):
    text = (files("device_models.cores") / "u74.toml").read_text(encoding="utf-8")
    path = tmp_path / "core.toml"
    path.write_text(text.replace('source = "gcc"', 'source = "gem6"', 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_core(str(path))
    assert list(caught.value.problems) == ["timing[1]: source 'gem6' is not in [sources]"]


def test_a_core_file_is_checked_like_a_device(tmp_path):
    text = (files("device_models.cores") / "zen5.toml").read_text(encoding="utf-8")
    path = tmp_path / "core.toml"
    path.write_text(text.replace('"vpshufb"', '"vpaddd"').replace("issue_width", "isue_width"), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_core(str(path))
    assert any("isue_width: unknown key; did you mean 'issue_width'?" in problem for problem in caught.value.problems)
    path.write_text(text.replace('model = "superscalar"', 'model = "superscaler"'), encoding="utf-8")
    with pytest.raises(InputError, match="did you mean 'superscalar'"):
        load_core(f"{tmp_path}/./core.toml")


def test_figures_are_walked_with_their_places():
    found = list(figures(load_device("unit").power, "power"))
    assert ("power.idle", "0 W", "double") in found
