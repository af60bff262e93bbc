"""What the terminal shows, as plain text of a fixed width."""

import io

import pytest
from rich.console import Console

from reports import text


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), width=160, color_system=None)


def _shown(console):
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_a_record_is_printed_answer_first_then_tables_then_what_it_rests_on(record, screen):
    text.render(record, screen)
    shown = _shown(screen)
    places = [
        shown.index(part)
        for part in (
            record.title, record.question, "local is best in every respect", "On wristband\n", "Expectations and",
            "Models and devices", "Uncalibrated", "rests on 2 assumptions", "seed 7; presage 0.1.0, python 3.11.",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_markup_in_a_name_is_printed_as_it_is(record, screen):
    text.render(record.model_copy(update={"title": "[bold]x[/bold] [/] :smile:"}), screen)
    assert _shown(screen).startswith("[bold]x[/bold] [/] :smile:\n")


ROW = {
    "model": "resnet8", "device": "stm32h7a3", "runtime": "generated", "precision": "int8", "batch": 1, "threads": 1,
    "frequency_hz": 280e6, "macs": 12_500_000, "weights_bytes": 78 * 1024, "peak_ram_bytes": 52 * 1024, "fits": False,
    "latency_s": 0.0113, "latency_low_s": 0.007, "latency_high_s": 0.018, "energy_j": 0.00138, "energy_low_j": 0.001,
    "energy_high_j": 0.002, "average_power_w": 0.122, "coverage": 1.0, "calibrated": False, "uncovered": (),
    "notes": ("clock assumed",),
}  # fmt: skip
LAYERS = [
    {"name": "conv1", "op": "conv", "macs": 12_000_000, "cycles": 3e6, "compute_s": 0.01, "memory_s": 0.001,
     "overhead_s": 0.0003, "latency_s": 0.0103, "energy_j": 0.0012, "bytes": 4096, "bound": "compute"},
    {"name": "dense", "op": "fully_connected", "macs": 500_000, "cycles": 3e5, "compute_s": 0.0, "memory_s": 0.001,
     "overhead_s": 0.0, "latency_s": 0.001, "energy_j": 0.0001, "bytes": 512, "bound": "memory"},
]  # fmt: skip


def test_predictions_show_the_band_and_what_does_not_fit(screen):
    text.predictions_table([ROW], screen)
    shown = _shown(screen)
    assert "11.3 ms (7-18 ms, uncalibrated)" in shown
    for part in ("280 MHz", "12.5 MMAC", "78.0 KiB", "52.0 KiB", " no ", "1.38 mJ", "122 mW"):
        assert part in shown
    assert "resnet8 on stm32h7a3: clock assumed" in shown
    assert "bound by" not in shown


def test_what_all_predictions_share_is_said_once_and_what_differs_has_a_column(screen):
    text.predictions_table([ROW, {**ROW, "device": "jh7110", "threads": 4}], screen)
    shown = _shown(screen)
    assert shown.startswith("Predictions (runtime generated, precision int8, batch 1)\n")
    assert "threads" in shown
    assert "resnet8 on stm32h7a3, resnet8 on jh7110: clock assumed" in shown


def test_predictions_with_layers_show_what_binds_each_and_most_of_the_time(screen):
    text.predictions_table([{**ROW, "layers": LAYERS}], screen, layers=True)
    shown = _shown(screen)
    assert "compute (91 %)" in shown
    assert "resnet8 on stm32h7a3, layer by layer" in shown
    dense = next(line for line in shown.splitlines() if line.lstrip().startswith("dense"))
    assert [part for part in dense.split("  ") if part.strip()][-1].strip() == "memory"
    assert "8.8 %" in dense
    assert "512 B" in dense


def test_an_uncovered_operator_is_named_beside_its_prediction(screen):
    text.predictions_table([{**ROW, "coverage": 0.9, "uncovered": ("attention (Attention)",), "notes": ()}], screen)
    assert "only 90.0 % of the layers carry a cost; without one: attention (Attention)" in _shown(screen)


def test_a_device_shows_every_figure_with_its_source_and_range(screen):
    device = {
        "title": "STM32H7A3 (Cortex-M7)",
        "sections": {
            "clock": [("frequency", "280 MHz", "system", "")],
            "power": [["active", "121.9 mW", "kws-energy", None],
                      {"name": "idle", "value": "1 mW", "source": "assumed", "range": "0.1 mW .. 5 mW"}],
        },
        "sources": {"system": "MLPerf Tiny v1.2", "assumed": "No source found."},
    }  # fmt: skip
    text.device_tables(device, screen)
    shown = _shown(screen)
    for part in ("STM32H7A3 (Cortex-M7)", "280 MHz", "kws-energy", "0.1 mW .. 5 mW", "MLPerf Tiny v1.2"):
        assert part in shown
    assert shown.count("range") == 1


def test_the_overview_reads_units_from_the_names_of_its_columns(screen):
    rows = [
        {"name": "a", "cores": 4, "frequency_hz": 1.5e9, "peak_macs_per_s": 1e12, "ram_bytes": 2**30, "share": 0.25,
         "note": None, "validated": True},
        {"name": "b", "cores": 1, "frequency_hz": 2.8e8, "peak_macs_per_s": 5.6e8, "ram_bytes": 1024, "share": 1.0,
         "note": "x", "validated": False},
    ]  # fmt: skip
    text.overview_table(rows, screen)
    shown = _shown(screen)
    for part in ("frequency", "1.50 GHz", "280 MHz", "1.00 TMAC/s", "1.00 GiB", "0.250", "True"):
        assert part in shown
    assert "_hz" not in shown


def test_an_empty_overview_says_so(screen):
    text.overview_table([], screen)
    assert _shown(screen) == "No device is known."
