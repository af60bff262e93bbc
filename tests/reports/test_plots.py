"""Plots: what is there, that nothing is lost by thinning, and that they are safe inside a page."""

import re
import warnings
import xml.etree.ElementTree as ET

import pytest

from reports import layer_plots, palette, plots
from reports.canvas import label_room_in
from reports.record import Requests, Timeline


@pytest.fixture(scope="module")
def found(record):
    return plots.plots(record)


def _only(record, **changes):
    run = record.runs[0].model_copy(update=changes)
    return record.model_copy(update={"runs": (run,)})


def test_every_plot_of_the_report_is_there_in_reading_order(found):
    assert [plot.title for plot in found] == [
        "Latency", "Power of phone", "Power of wristband", "State of charge", "Energy and carbon", "Roofline",
        "Layers of mobilenet on npu", "Layers of mobilenet on mcu", "Layers of mobilenet on server",
    ]  # fmt: skip


def test_every_plot_has_words_for_those_who_cannot_see_it(found):
    for plot in found:
        assert len(plot.alt) > 40
        assert re.search(r"\d", plot.alt)
        assert plot.caption


def test_axes_are_labelled_with_quantity_and_unit(found):
    labels = {
        "Latency": ("latency, arrival to result (log scale)", "share of requests", "10 ms", "100 %"),
        "Power of phone": ("time since the start", "power", "100 s", "3 W"),
        "State of charge": ("time since the start", "state of charge", "90.0 %"),
        "Energy and carbon": ("phone: energy", "phone: carbon (CO2e)", "40 J", "5 mg"),
        "Roofline": ("arithmetic intensity [MAC/B]", "rate", "200 MMAC/s"),
        "Layers of mobilenet on npu": ("latency of the layer", "4.00 ms, 80.0 %"),
    }
    by_title = {plot.title: plot.svg for plot in found}
    for title, texts in labels.items():
        for text in texts:
            assert f">{text}</text>" in by_title[title]


def test_svg_is_well_formed_and_refers_to_nothing_outside(found):
    ids = []
    for plot in found:
        root = ET.fromstring(plot.svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))  # noqa: S314 (our own markup)
        ids += [element.get("id") for element in root.iter() if element.get("id")]
        assert "http" not in plot.svg
        assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', plot.svg))
    assert len(ids) == len(set(ids))


def test_the_same_record_gives_the_same_bytes(record, found):
    assert plots.latency(record) == found[0]


def test_text_follows_the_color_of_the_page(found):
    assert all("currentColor" in plot.svg and "var(--line)" in plot.svg for plot in found)


def test_names_are_text_and_neither_markup_nor_mathematics(record):
    run = record.runs[0].model_copy(update={"label": "<script>$x_1$"})
    svg = plots.charge(record.model_copy(update={"runs": (run,)})).svg
    assert "&lt;script&gt;$x_1$" in svg
    assert "<script" not in svg


def test_power_panels_state_the_true_mean_and_peak(record):
    assert "local mean 1.00 W, peak 11.0 W" in plots.power(record, "phone").alt
    assert "remote mean 1.20 W, peak 3.00 W" in plots.power(record, "phone").alt


def test_a_long_series_is_thinned_to_what_can_be_seen(record):
    count = 100_000
    time_s = [100.0 * index / count for index in range(count)]
    timeline = Timeline(
        time_s=time_s,
        power_w={"compute": [float(index % 2) for index in range(count)], "idle": [1.0] * count},
        state_of_charge=[0.9 - 0.5 * index / count for index in range(count)],
    )
    columns = {"node": ["phone"] * count, "latency_s": [0.001 * (1 + index / count) for index in range(count)]}
    node = record.runs[0].nodes[0].model_copy(update={"requests": count})
    long = _only(record, timelines={"phone": timeline}, requests=Requests(columns=columns), nodes=(node,))
    for plot in (plots.power(long, "phone"), plots.charge(long), plots.latency(long)):
        assert len(plot.svg) < 80_000
    # Evenly spaced steps are means already, whose highest is no peak.
    assert plots.power(long, "phone").alt.endswith("local mean 1.50 W.")


def test_energy_without_a_power_over_time_is_said_to_be_missing_there(record):
    node = record.runs[0].nodes[0].model_copy(update={"energy_by_part_j": {"idle": 1.0, "losses": 2.0}})
    caption = plots.power(_only(record, nodes=(node,)), "phone").caption
    assert caption.endswith("Not a power over time, but in the energies below: losses.")


def test_a_spike_of_the_charge_survives_thinning():
    levels = [0.9] * 50_000
    levels[25_000:] = [0.4] * 25_000
    time_s = [index / 500 for index in range(50_000)]
    timeline = Timeline(time_s=time_s, power_w={}, state_of_charge=levels)
    shown_s, shown = plots._charge_curve(timeline, 100.0, 0.3)
    assert (shown_s[0], shown[0], shown_s[-1], shown[-1]) == (0.0, 0.9, 100.0, 0.3)
    drop = shown.index(0.4)
    assert abs(shown_s[drop] - 50.0) <= 100.0 / plots.BINS
    assert len(shown) <= 2 * plots.BINS + 3


def test_a_record_without_material_has_no_plots(record):
    nothing = record.model_copy(update={"runs": (), "models": ()})
    assert plots.plots(nothing) == []
    silent = _only(record, timelines={}, requests=Requests(columns={}))
    assert plots.latency(silent) is None
    assert plots.power(silent, "phone") is None
    assert plots.charge(silent) is None


def test_odd_but_possible_records_are_drawn_without_a_warning(record):
    node = record.runs[0].nodes[0]
    zero = node.model_copy(
        update={"energy_by_part_j": {"idle": 0.0}, "carbon_g": 0.0, "cloud_energy_j": 0.0, "average_power_w": 0.0}
    )
    still = Timeline(time_s=[0.0], power_w={"idle": [0.0]}, state_of_charge=[0.5])
    columns = {"node": ["phone"], "latency_s": [0.0], "deadline_s": [1.0]}
    odd = _only(record, nodes=(zero,), timelines={"phone": still}, requests=Requests(columns=columns))
    free = record.models[0].layers[0].model_copy(update={"latency_s": 0.0, "macs": 0})
    models = (record.models[0].model_copy(update={"layers": (free,), "latency_s": 0.0, "latency_low_s": 0.0}),)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(plots.plots(odd.model_copy(update={"models": models}))) == 5


def test_layers_beyond_the_longest_are_summed_up_in_the_caption(record):
    layer = record.models[0].layers[1]
    many = tuple(layer.model_copy(update={"name": f"conv{index}"}) for index in range(40))
    plot = layer_plots.layers(record.models[0].model_copy(update={"layers": many}), {"compute": palette.BLUE})
    assert "24 shorter layers, 12.0 ms (60.0 %) together, are not shown." in plot.caption
    assert plot.svg.count("(conv)") == layer_plots.LONGEST


def test_a_model_on_a_device_is_drawn_once_however_many_nodes_use_it(record):
    twice = record.model_copy(update={"models": (record.models[0], record.models[0])})
    assert len(layer_plots.plots(twice)) == 2


def test_runs_keep_color_and_dash_apart_and_parts_keep_their_color():
    styles = palette.run_styles([f"run {index}" for index in range(16)])
    assert len(set(styles.values())) == 16
    assert palette.part_colors(["idle", "compute"]) == {"idle": palette.GREY, "compute": palette.BLUE}
    spare = palette.part_colors(["compute", "display", "camera"])
    assert len(set(spare.values())) == 3


def test_longer_labels_get_more_room():
    assert label_room_in(["battery-aware"]) > label_room_in(["local"]) > label_room_in([])
