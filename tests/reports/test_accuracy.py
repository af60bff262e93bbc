"""Predicted against measured: errors one can do in the head, tables that fit, plots of what there is, quiet pages."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import spearmanr

from reports import page as pages
from reports.accuracy import Pair, coverage, energies, errors, rank_correlation, signed
from reports.accuracy_pages import calibration_page, validation_page
from reports.accuracy_plots import residuals, scatter
from reports.accuracy_tables import Unpredicted, as_it_is, energy, left_out, not_predicted, spans
from reports.runtime_tables import Multiplier


def pair(measured_s: float, predicted_s: float, held_s: float | None = None, **more: object) -> Pair:
    """Return a row whose band reaches 10 % to either side, 20 % without the family."""
    around = (held_s or 0.0) * 0.8, (held_s or 0.0) * 1.2
    row = Pair("net", "resnet", "x-cube-ai-10", "stm32h747", measured_s, predicted_s, predicted_s * 0.9,
               predicted_s * 1.1, held_s, *around)  # fmt: skip
    return replace(row, **more)


# Off by 10, 20 and 0 %, without the family by 30, 10 and 20 %; MACs are better in the median, nine features worse.
ROWS = [
    pair(1.0, 1.1, 1.3, baselines_s={"MACs": 1.1, "nine features": 2.0}),
    pair(2.0, 1.6, 1.8, family="mobilenet", baselines_s={"MACs": 2.2, "nine features": 3.0}),
    pair(4.0, 4.0, 4.8, family="vgg", baselines_s={"MACs": 5.0, "nine features": 9.0}, measured_j=2.0, predicted_j=1.5),
]
OTHER = pair(3.0, 3.3, 3.0, runtime="microtvm-cmsis-nn", device="threadripper-3970x", baselines_s={"MACs": None})
UNPREDICTED = [Unpredicted("a.csv", line, "board, library", "nobody <knows> it") for line in (3, 5, 6, 7)]


def text_of(table, row=0):
    return [cell.text for cell in table.rows[row]]


def test_errors_are_shares_of_the_measurement():
    found = errors([(1.1, 1.0), (1.6, 2.0), (4.0, 4.0)])
    assert found.median == pytest.approx(0.1)
    assert found.mean == pytest.approx(0.1)
    assert found.worst == pytest.approx(0.2)
    assert found.p90 == pytest.approx(0.18)  # eight tenths of the way from the second to the third
    assert errors([]) is None
    assert signed(1.031, 1.0) == "+3.1 %"


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=3, max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_rank_correlation_is_spearmans(found):
    pairs = [(float(one), float(other)) for one, other in found]
    ours = rank_correlation(pairs)
    if ours is None:
        assert min(len({one for one, _ in pairs}), len({other for _, other in pairs})) < 3
    else:
        assert ours == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)


def test_a_band_covers_the_rows_between_its_ends():
    assert coverage(ROWS, held_out=False) == pytest.approx(2 / 3)  # 1.6 reaches to 1.76, not to 2
    assert coverage(ROWS, held_out=True) == pytest.approx(2 / 3)  # 1.3 reaches down to 1.04, not to 1
    assert coverage([pair(1.0, 1.0)], held_out=True) is None


def test_a_row_of_the_summary_has_errors_rank_band_and_baselines():
    assert text_of(left_out(ROWS)) == [
        "x-cube-ai-10", "stm32h747", "3", "20.0", "28.0", "30.0", "1.00", "67", "10.0", "100"
    ]  # fmt: skip
    assert text_of(as_it_is(ROWS)) == ["x-cube-ai-10", "stm32h747", "3", "10.0", "18.0", "20.0", "1.00", "67"]
    assert text_of(energy(ROWS)) == ["x-cube-ai-10", "stm32h747", "1", "25.0", "25.0", "25.0"]
    assert energies(ROWS) == [(1.5, 2.0)]


def test_only_a_baseline_that_is_better_is_marked():
    cells = left_out(ROWS).rows[0]
    assert [cell.alarm for cell in cells] == [False] * 8 + [True, False]
    assert not any(cell.alarm for cell in left_out([pair(1.0, 1.0, 1.1, baselines_s={"MACs": 1.2})]).rows[0])


def test_where_no_family_can_be_left_out_nothing_is_said_of_it():
    alone = [pair(1.0, 1.1)]
    assert left_out(alone) is None
    assert energy(alone) is None
    assert [table.title[:7] for table in validation_page("t", alone, []).tables] == ["Latency", "Latency"]
    assert [plot.title for plot in scatter(alone, "as it is")] == ["Predicted against measured"]


def test_rows_without_a_prediction_are_listed_by_reason_with_their_lines():
    assert text_of(not_predicted(UNPREDICTED)) == ["board, library", "a.csv:3, 5-7", "nobody <knows> it"]
    assert not_predicted([]) is None


@given(st.sets(st.integers(1, 40), min_size=1))
@settings(max_examples=40, deadline=None)
def test_spans_name_every_line_once(lines):
    ends = [[int(end) for end in part.split("-")] for part in spans(sorted(lines)).split(", ")]
    assert [line for each in ends for line in range(each[0], each[-1] + 1)] == sorted(lines)


def shown(found, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    pages.show(found, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_text_fits_its_columns_and_breaks_no_name_and_no_number(width):
    text = shown(validation_page("Predicted and measured", [*ROWS, OTHER], UNPREDICTED), width)
    lines = text.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    for whole in ("x-cube-ai-10", "microtvm-cmsis-nn", "threadripper-3970x"):
        assert any(whole in line for line in lines)
    rows = [" ".join(line.split()) for line in lines]
    assert "stm32h747 3 20.0 28.0 30.0 1.00 67 ! 10.0 100" in rows
    assert "all 4 15.0 27.0 30.0 1.00 75 ! 10.0 100" in rows


def test_the_text_ends_with_the_summary():
    text = shown(validation_page("Predicted and measured", ROWS, UNPREDICTED), 100)
    parts = ("Latency of every row", "Not predicted: 4 rows", "runtimes as they are: errors", "family left out: errors")
    places = [text.index(part) for part in (*parts, "3 rows predicted, 4 not")]
    assert places == sorted(places)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_has_its_plots_and_tables_and_executes_nothing():
    attack = "<script>alert(1)</script>"
    rows = [*ROWS, replace(OTHER, label=attack, runtime=attack, family=attack)]
    text = pages.html(validation_page(attack, rows, UNPREDICTED))
    found = Tags(text)
    assert found.open == []
    assert found.seen.count("svg") == 3
    assert found.seen.count("table") == 6
    assert "script" not in found.seen
    assert "nobody &lt;knows&gt; it" in text
    assert len(text) < 200_000


def test_markdown_shows_the_plots_that_have_a_file():
    found = validation_page("Predicted and measured", ROWS, UNPREDICTED)
    text = pages.markdown(found, ("a-1.svg", "a-2.svg", "a-3.svg"))
    assert text.count("](a-") == 3
    assert "| x-cube-ai-10 | stm32h747 | 3 | 20.0 |" in text
    assert "10.0 (!)" in text
    assert "](a-" not in pages.markdown(found)


def test_a_row_that_was_not_predicted_has_no_dot():
    """Nothing is drawn where nothing is known: not a hundred per cent below the measurement."""
    (plot,) = residuals(ROWS, "family", {"fitted": [1.1, 1.6, None], "left out": [None] * 3})
    assert ">left out<" not in plot.svg
    (all_known,) = residuals(ROWS, "family", {"fitted": [1.1, 1.6, 4.0]})
    assert all_known.svg.count("<use") == plot.svg.count("<use") + 1


def test_the_same_rows_give_the_same_plots():
    assert scatter(ROWS, "fitted") == scatter(ROWS, "fitted")
    assert scatter([], "fitted") == []
    assert residuals([], "runtime", {}) == []


def test_more_runtimes_than_colors_are_drawn_as_one():
    many = [replace(OTHER, runtime=f"library-{index}") for index in range(9)]
    assert "9 rows in 1 groups" in scatter(many, "as it is")[0].alt
    assert "8 rows in 8 groups" in scatter(many[:8], "as it is")[0].alt


def test_a_calibration_shows_errors_before_and_after_and_every_multiplier():
    terms = [
        Multiplier("conv", "conv, winograd", "program", "cycles of a Program", 1.0, 1.25, 1.0, 1.5),
        Multiplier("calls", "all", "calls", "overhead", 1.0, 1.0, 1.0, 1.0),
    ]
    found = calibration_page("Calibration of mine", ROWS, [2.0, 4.0, 8.0], terms)
    stages, multipliers, rows = found.tables
    assert [text_of(stages, row)[1] for row in range(3)] == ["100 %", "10.0 %", "20.0 %"]
    assert multipliers.note == "program: cycles of a Program; calls: overhead"
    assert text_of(multipliers)[3:] == ["1.00", "1.25", "1.00 to 1.50"]
    assert text_of(multipliers, 1)[-1] == "fixed"
    assert len(rows.rows) == 3
    (sentence,) = found.headline
    assert sentence.startswith("Fitted to 3 rows of 3 families of networks. Expect a mean error of 20.0 %")
    assert [plot.title for plot in found.plots] == ["Predicted against measured", "Errors by family"]
    assert max(len(line.rstrip()) for line in shown(found, 80).splitlines()) <= 80


def test_a_calibration_of_one_family_promises_nothing_for_others():
    found = calibration_page("Calibration of mine", [pair(1.0, 1.0)], [1.5], [])
    assert "1 row of 1 family" in found.headline[0]
    assert "is not known" in found.headline[0]
    assert math.isclose(errors([(1.5, 1.0)]).mean, 0.5)
